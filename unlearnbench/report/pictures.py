"""Galleries beside the records: what was erased, what each attack made of it, and the mean image it must beat.

One picture for each attack in its setting. All methods erase the same images of the same seed, so their rows compare.
"""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnbench.errors import UnreadableError
from unlearnbench.parquet_files import write_atomically
from unlearnbench.report.tables import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unlearnbench.plan import Cell
    from unlearnbench.store import Artifact, Store

    Pixels = NDArray[np.float32]  # [n, C, H, W] in [0, 1]

FOLDER = "pictures"
COLUMNS = 12  # images of a gallery
_INCH = 0.62  # side of an image
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")


def draw_galleries(
    cells: Iterable[Cell], store: Store, results: Path, changed: Iterable[Cell] | None = None
) -> list[Path]:
    """Draw a gallery for each attack that rebuilt images, of the first seed whose artifacts are in the store.

    Args:
        cells: of a plan; those that have no such artifact are left out.
        store: where the attacks' artifacts are.
        results: the pictures go to its folder `pictures`, as PNG; older ones of the same settings are replaced.
        changed: cells whose galleries are to be drawn; None: all.

    Returns:
        The files written.
    """
    written = []
    for shared, members in together(cells, _group, changed).items():
        first = min(cell.seed for cell in members)
        rows: dict[str, Artifact] = {}
        for cell in members:
            if cell.seed == first and (artifact := answer(store, cell, "rebuilt")) is not None:
                rows[_row_name(cell)] = artifact
        if rows:
            path = results / FOLDER / file_name(shared)
            write_atomically(path, _png(f"{' / '.join(shared)} / seed {first}", rows))
            written.append(path)
    return written


def together(
    cells: Iterable[Cell], key: Callable[[Cell], tuple[str, ...]], changed: Iterable[Cell] | None
) -> dict[tuple[str, ...], list[Cell]]:
    """The attacked cells of each picture, by what `key` says they share; `changed`: of these cells' pictures only."""
    groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.attack_id is not None and cell.skip is None and "attack" in cell.stages:
            groups[key(cell)].append(cell)
    wanted = groups.keys() if changed is None else {key(cell) for cell in changed}
    return {shared: members for shared, members in groups.items() if shared in wanted}


def answer(store: Store, cell: Cell, tensor: str) -> Artifact | None:
    """What an attack answered, if it is in the store, can be read and has the tensor."""
    from unlearnbench.store import CorruptArtifactError

    try:
        artifact = store.get(cell.stages["attack"])
    except (CorruptArtifactError, UnreadableError):
        return None  # the next run computes it again, or says what it can't read; the records are there
    return artifact if artifact is not None and tensor in artifact.tensors else None


def title(experiment: str, dataset: str, scenario: str, attack: str) -> tuple[str, str, str, str]:
    """What a gallery is called: a scenario's beta is left out, for methods and betas share a gallery."""
    scenario = ",".join(part for part in scenario.split(",") if not part.startswith("beta="))
    return experiment, dataset, scenario, attack


def file_name(title: Sequence[str], kind: str = "") -> str:
    """The picture's file in the folder `FOLDER`; `kind` is part of it."""
    digest = hashlib.sha256("\n".join(title).encode()).hexdigest()[:8]
    experiment, dataset, _, attack = (_UNSAFE.sub("-", plain(part))[:40].strip("-") for part in title)
    return f"{experiment}_{dataset}_{attack}_{kind}{digest}.png"


def _group(cell: Cell) -> tuple[str, ...]:
    """Cells of one gallery agree on this: all but method, beta and seed."""
    return title(cell.experiment, cell.dataset_shown, cell.scenario_id, str(cell.attack_id))


def _row_name(cell: Cell) -> str:
    return f"{cell.method_id}, beta {cell.setting.scenario.beta:g}"


def _png(title: str, rows: Mapping[str, Artifact]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    some = next(iter(rows.values())).tensors
    strips: dict[str, Pixels] = {"true image": _images(some["true"])}
    strips |= {name: _images(artifact.tensors["rebuilt"]) for name, artifact in rows.items()}
    strips["mean image"] = np.repeat(_images(some["mean"][None]), len(strips["true image"]), 0)
    columns = min(COLUMNS, len(strips["true image"]))
    label = 0.058 * max(len(name) for name in strips) + 0.2  # inches
    width = label + columns * _INCH
    lines = textwrap.wrap(plain(title), max(20, int(width / 0.058)))
    head = 0.2 + 0.12 * len(lines)
    height = len(strips) * _INCH + head
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    figure.text(0.01, 1 - 0.08 / height, "\n".join(lines), fontsize=7, va="top", parse_math=False)
    for row, (name, images) in enumerate(strips.items()):
        top = (height - head - (row + 1) * _INCH) / height
        figure.text(0.01, top + 0.5 * _INCH / height, plain(name), fontsize=8, va="center", parse_math=False)
        for column in range(columns):
            left, side = (label + column * _INCH) / width, 0.94 * _INCH
            axes = figure.add_axes((left, top, side / width, side / height))
            axes.set_axis_off()
            _show(axes, images[column])
    buffer = io.BytesIO()
    # Without the library's version: the same numbers give the same file.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _show(axes: Any, image: Pixels) -> None:
    if image.shape[0] == 1:
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(image.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")


def _images(tensor: Any) -> Pixels:
    """f32[n, C, H, W] of f32[T, s, C, H, W] or of n images."""
    array: Pixels = tensor.numpy()
    return array.reshape(-1, *array.shape[-3:])
