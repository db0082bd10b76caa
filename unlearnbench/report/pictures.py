"""Galleries beside the records: the erased images, what each attack rebuilt, and the mean image that it must beat.

There is one picture for each attack in its setting. All methods erase the same images of the same seed, so their rows
can be compared. A picture's file names the answers that it was drawn from, so that a resumed run knows what to draw.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnbench.report import drawing
from unlearnbench.report.wording import in_words
from unlearnbench.system import escaping
from unlearnbench.system.errors import UnreadableError
from unlearnbench.system.parquet_files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unlearnbench.suite.plan import Cell
    from unlearnbench.system.store import Artifact, Store

    Pixels = NDArray[np.float32]  # [n, C, H, W] in [0, 1]
    Answers = Sequence[tuple[Cell, Artifact]]

FOLDER = "pictures"
COLUMNS = 12  # images per row of a gallery
_INCH = 0.62  # side of an image
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")


def draw_galleries(cells: Iterable[Cell], store: Store, results: Path) -> list[Path | None]:
    """Draw a gallery for each attack that rebuilt images, of the first seed.

    Args:
        cells: the cells of a plan; those whose attack left no images in the store are left out.
        store: where the attacks' artifacts are.
        results: the results folder; pictures go to its folder `pictures` as PNG, and complete ones are not redrawn.

    Returns:
        The files written; None for each that could not be drawn.
    """
    groups = {}
    for shared, members in together(cells, _group).items():
        first = min(cell.seed for cell in members)
        groups[shared] = [cell for cell in members if cell.seed == first]

    def draw(shared: Sequence[str], found: Answers, about: str) -> bytes:
        rows = {_row_name(cell): artifact for cell, artifact in found}
        heading = (
            f"Erased images as rebuilt by {in_words(shared[-1])}: {setting_in_words(shared)}, seed {found[0][0].seed}"
        )
        return _png(heading, rows, about)

    return draw_owed(groups, results, file_name, lambda cell: answer(store, cell, "rebuilt"), draw)


def together(cells: Iterable[Cell], key: Callable[[Cell], tuple[str, ...]]) -> dict[tuple[str, ...], list[Cell]]:
    """The attacked cells of each picture, grouped by `key`."""
    groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.attack_id is not None and cell.skip is None and "attack" in cell.stages:
            groups[key(cell)].append(cell)
    return groups


def draw_owed(
    groups: Mapping[tuple[str, ...], Sequence[Cell]],
    results: Path,
    name: Callable[[Sequence[str]], str],
    answer_of: Callable[[Cell], Artifact | None],
    draw: Callable[[Sequence[str], Answers, str], bytes],
) -> list[Path | None]:
    """Draw each picture that is missing, or that lacks an answer which is in the store.

    It does not matter which run computed the answers: a killed run has drawn nothing, and a run whose store was cleared
    must not replace a picture by one of the few answers that are left.

    Args:
        groups: the cells of each picture.
        results: the results folder.
        name: the name of a picture's file.
        answer_of: what to draw for a cell, if there is anything.
        draw: makes the picture of some answers, as a PNG whose metadata hold the last argument.

    Returns:
        The files written; None for each that could not be drawn.
    """
    written: list[Path | None] = []

    def draw_one(path: Path, shared: Sequence[str], members: Sequence[Cell]) -> bool:
        there = drawn_of(path)
        if all(_mark(cell) in there for cell in members):
            return False
        found = [(cell, artifact) for cell in members if (artifact := answer_of(cell)) is not None]
        if all(_mark(cell) in there for cell, _ in found):
            return False
        write_atomically(path, draw(shared, found, ",".join(sorted({_mark(cell) for cell, _ in found}))))
        return True

    for shared, members in groups.items():
        path = results / FOLDER / name(shared)
        made = drawing.attempt(str(path), draw_one, path, shared, members)
        if made is not False:
            written.append(path if made else None)
    return written


def drawn_of(path: Path) -> frozenset[str]:
    """The marks of the answers that a picture was drawn from; empty without a picture of ours."""
    from PIL import Image

    if not path.is_file():
        return frozenset()
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return frozenset(str(picture.info.get("Source", "")).split(","))
    except (OSError, ValueError, SyntaxError):  # damaged, so it is drawn again
        return frozenset()


def _mark(cell: Cell) -> str:
    return cell.stages["attack"][:16]


def answer(store: Store, cell: Cell, tensor: str) -> Artifact | None:
    """An attack's answer, if it is in the store, can be read and has the tensor."""
    from unlearnbench.system.store import CorruptArtifactError

    try:
        artifact = store.get(cell.stages["attack"])
    except (CorruptArtifactError, UnreadableError):
        return None  # the next run computes it again, or says what it cannot read; the records exist
    return artifact if artifact is not None and tensor in artifact.tensors else None


def title(experiment: str, dataset: str, scenario: str, attack: str) -> tuple[str, str, str, str]:
    """The title of a gallery, without the scenario's beta, as the cells of all betas share a gallery."""
    scenario = ",".join(part for part in scenario.split(",") if not part.startswith("beta="))
    return experiment, dataset, scenario, attack


def setting_in_words(title: Sequence[str]) -> str:
    """What a picture was measured on, for its heading."""
    experiment, dataset, scenario, _ = title
    return f"{in_words(experiment)} on {dataset}; {in_words(scenario)}"


def file_name(title: Sequence[str], kind: str = "") -> str:
    """The picture's file in the folder `FOLDER`; `kind` is part of it."""
    digest = hashlib.sha256("\n".join(title).encode()).hexdigest()[:8]
    experiment, dataset, _, attack = (_UNSAFE.sub("-", escaping.plain(part))[:40].strip("-") for part in title)
    return f"{experiment}_{dataset}_{attack}_{kind}{digest}.png"


def _group(cell: Cell) -> tuple[str, ...]:
    """What the cells of one gallery share: all but method, beta and seed."""
    return title(cell.experiment, cell.dataset_shown, cell.scenario_id, str(cell.attack_id))


def _row_name(cell: Cell) -> str:
    return f"{cell.method_id}, β {cell.setting.scenario.beta:g}"


def _png(heading: str, rows: Mapping[str, Artifact], about: str) -> bytes:
    some = next(iter(rows.values())).tensors
    strips: dict[str, Pixels] = {"true image": _images(some["true"])}
    strips |= {escaping.label(name): _images(artifact.tensors["rebuilt"]) for name, artifact in rows.items()}
    strips["mean image"] = np.repeat(_images(some["mean"][None]), len(strips["true image"]), 0)
    columns = min(COLUMNS, len(strips["true image"]))
    beside = 0.062 * max(len(name) for name in strips) + 0.2  # inches
    width = beside + columns * _INCH
    lines = textwrap.wrap(escaping.figure(heading), max(20, int(width / 0.058)))
    head = 0.2 + 0.12 * len(lines)
    height = len(strips) * _INCH + head
    with drawing.settings():
        figure = drawing.blank((width, height), dpi=110)
        figure.text(0.01, 1 - 0.08 / height, "\n".join(lines), fontsize=7, va="top")
        for row, (name, images) in enumerate(strips.items()):
            top = (height - head - (row + 1) * _INCH) / height
            figure.text(0.01, top + 0.5 * _INCH / height, name, fontsize=8, va="center")
            for column in range(columns):
                left, side = (beside + column * _INCH) / width, 0.94 * _INCH
                axes = figure.add_axes((left, top, side / width, side / height))
                axes.set_axis_off()
                _show(axes, images[column])
        return drawing.saved(figure, "png", about)


def _show(axes: Any, image: Pixels) -> None:
    if image.shape[0] == 1:
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(image.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")


def _images(tensor: Any) -> Pixels:
    """f32[n, C, H, W] from f32[T, s, C, H, W] or from n images."""
    array: Pixels = tensor.numpy()
    return array.reshape(-1, *array.shape[-3:])
