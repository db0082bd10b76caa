"""ROC curves beside the records: one picture for each attack in its setting, one line per method, logarithmic axes.

Low false positive rates are what matters, but with few scored negatives these rates say little: below ten expected
false alarms (docs/protocol.md#few-false-alarms) a curve is dotted.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnbench.metrics.membership import FALSE_ALARMS
from unlearnbench.report import drawing, pictures
from unlearnbench.report.pictures import answer, draw_owed, together
from unlearnbench.report.wording import in_words
from unlearnbench.system import escaping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unlearnbench.suite.plan import Cell
    from unlearnbench.system.store import Artifact, Store

    Rates = NDArray[np.float64]

POINTS = 200  # on a curve


@dataclass(frozen=True)
class Curve:
    """A method's curve: the mean over seeds of step functions.

    Attributes:
        rates: false positive rates, ascending.
        found: the true positive rates at these.
        trusted: the false positive rate from which ten false alarms are expected.
        seeds: the number of seeds.
    """

    rates: Rates
    found: Rates
    trusted: float
    seeds: int


def draw_curves(cells: Iterable[Cell], store: Store, results: Path) -> list[Path | None]:
    """Draw the ROC curves of each membership attack, over all seeds whose artifacts are in the store.

    Args:
        cells: the cells of a plan; those without such an artifact are left out.
        store: where the attacks' artifacts are.
        results: the results folder; pictures go to its folder `pictures` as PNG, and complete ones are not redrawn.

    Returns:
        The files written; None for each that could not be drawn.
    """

    def draw(shared: Sequence[str], found: pictures.Answers, about: str) -> bytes:
        answers: dict[str, list[Artifact]] = defaultdict(list)
        for cell, artifact in found:
            answers[cell.method_id].append(artifact)
        heading = f"ROC curves of {in_words(shared[-1])}: {pictures.setting_in_words(shared)}"
        return _png(heading, {name: curve(some) for name, some in answers.items()}, about)

    return draw_owed(together(cells, _group), results, file_name, lambda cell: _answers(store, cell), draw)


def curve(artifacts: Sequence[Artifact]) -> Curve:
    """The mean of the seeds' curves at logarithmically spaced false positive rates.

    Args:
        artifacts: one per seed, each with `membership`, the scores, and `member`, the truth.
    """
    from sklearn.metrics import roc_curve

    negatives = min(int((~artifact.tensors["member"]).sum()) for artifact in artifacts)
    rates = np.geomspace(1 / negatives, 1, POINTS)
    found = []
    for artifact in artifacts:
        truth, scores = (artifact.tensors[name].flatten().numpy() for name in ("member", "membership"))
        false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
        # The largest true positive rate at no more false alarms.
        found.append(true[np.searchsorted(false, rates * (1 + 1e-9), side="right") - 1])
    return Curve(rates, np.mean(found, 0), min(1.0, FALSE_ALARMS / negatives), len(artifacts))


def file_name(shared: Sequence[str]) -> str:
    """The picture's file in the folder `pictures`."""
    return pictures.file_name(shared, "roc_")


def _group(cell: Cell) -> tuple[str, ...]:
    """What the cells of one picture share: all but method and seed."""
    return cell.experiment, cell.dataset_shown, cell.scenario_id, str(cell.attack_id)


def _answers(store: Store, cell: Cell) -> Artifact | None:
    artifact = answer(store, cell, "membership")
    if artifact is None or artifact.tensors["member"].unique().numel() < 2:
        return None
    return artifact


def _png(heading: str, curves: Mapping[str, Curve], about: str) -> bytes:
    lines = textwrap.wrap(escaping.figure(heading), 62)
    with drawing.settings():
        import seaborn

        figure = drawing.blank((6.2, 4.6 + 0.14 * len(lines)), dpi=110, layout="constrained")
        axes: Any = figure.add_subplot()
        lowest = min(float(each.rates[0]) for each in curves.values())
        axes.plot([lowest, 1], [lowest, 1], color="0.6", linewidth=0.8, linestyle="--", label="chance")
        colours = seaborn.color_palette("colorblind", len(curves))
        for (name, each), colour in zip(curves.items(), colours, strict=True):
            sure = each.rates >= each.trusted
            # Points below the axis are drawn on it: a logarithmic axis has no 0.
            height = np.maximum(each.found, lowest / 2)
            axes.plot(each.rates[sure], height[sure], color=colour, linewidth=1.6, label=escaping.label(name))
            axes.plot(each.rates[~sure], height[~sure], color=colour, linewidth=1, linestyle=":")
        axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest / 2, 1.1))
        for axis in (axes.xaxis, axes.yaxis):
            drawing.plain_ticks(axis)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.set_title("\n".join(lines), fontsize=7, loc="left")
        return drawing.saved(figure, "png", about)
