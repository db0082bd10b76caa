"""The canvas of the site's figures: one style, SVG with the reader's own font, and a dark version of each.

The dark version is the same file with other colours, so that both always show the same numbers. A figure with so many
marks that its SVG becomes large is saved as PNG.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from unlearnbench.report import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unlearnbench.metrics.catalog import Metric
    from unlearnbench.site.rows import BoardRow

INK, MUTED, RULE = "#16191d", "#57606a", "#d6dbe1"
PALETTE = ("#0173b2", "#c75000", "#017a58", "#a1459a", "#8a5a2b", "#b8860b", "#3a6ea5", "#d1498b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")

_HEAVY = 400_000  # bytes of an SVG, above which a PNG is smaller and faster
_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_COLOUR = re.compile(rb"#[0-9a-fA-F]{6}\b")
_LOOK = {
    "svg.hashsalt": "unlearnbench", "svg.fonttype": "none", "font.size": 8.0, "axes.titlesize": 8.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 8.0, "axes.edgecolor": MUTED,
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": RULE, "grid.linewidth": 0.5, "xtick.major.width": 0.7, "ytick.major.width": 0.7,
    "legend.frameon": False, "legend.fontsize": 7.5, "lines.linewidth": 1.4, "lines.markersize": 5.0,
    "axes.axisbelow": True,
}  # fmt: skip


def style() -> AbstractContextManager[None]:
    """Figures drawn inside look like the site, whatever the user's own settings are."""
    return drawing.settings(_LOOK, "ticks")


def panels(count: int, across: int = 3, size: tuple[float, float] = (3.1, 2.6)) -> tuple[Figure, list[Axes]]:
    """A figure with panels of a size in inches, row by row."""
    columns = min(across, count)
    rows = -(-count // columns)
    figure = drawing.blank((size[0] * columns, size[1] * rows + 0.5), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for each in axes:
        each.patch.set_alpha(0.0)
    return figure, axes


def colours(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name, so that colour is never the only cue."""
    return {
        name: (PALETTE[number % len(PALETTE)], MARKERS[(number + number // len(PALETTE)) % len(MARKERS)])
        for number, name in enumerate(names)
    }


def trivial_line(axes: Axes, rows: Iterable[BoardRow], metric: Metric) -> None:
    """A dashed line at the mean score of an attacker who looks at no output, where that was measured."""
    gaps = ((row[metric.name], row.get(f"{metric.name}_gap_trivial")) for row in rows)
    scores = [score - gap for score, gap in gaps if gap is not None]
    if scores:
        axes.axhline(sum(scores) / len(scores), color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))


def within_a_share(low: float, high: float) -> tuple[float, float]:
    """The limits of an axis of shares: a Student interval may exceed 0 and 1, a share cannot."""
    return max(low, -0.02), min(high, 1.02)


def saved(figure: Figure) -> tuple[bytes, bytes, str]:
    """The figure's files for light and dark pages, and their file name's ending."""
    svg = drawing.saved(figure, "svg").replace(b"'DejaVu Sans'", _FONTS.encode())
    if len(svg) <= _HEAVY:
        return svg, dark(svg), "svg"
    figure.patch.set_alpha(1.0)
    png = drawing.saved(figure, "png", dpi=160)
    return png, png, "png"


def dark(svg: bytes) -> bytes:
    """An SVG with colours for a dark page: greys are inverted, other colours keep their hue and become lighter."""
    return _COLOUR.sub(lambda match: _dark(match.group().decode()).encode(), svg)


def _dark(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if max(red, green, blue) - min(red, green, blue) < 0.1:
        lightness, saturation = 0.94 - 0.87 * lightness, min(saturation, 0.08)
    else:
        lightness = max(lightness, 0.66)
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, saturation))
