"""Drawing with matplotlib's own defaults, whatever the user's settings, and never at the cost of a result.

A picture accompanies a result: if it cannot be drawn, one line says so, and everything else goes on.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from unlearnbench.system.printing import complain, error_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn = TypeVar("Drawn")
Asked = ParamSpec("Asked")

_PLAIN_TEXT = {"text.parse_math": False}  # names are text, never formulas


def attempt(what: str, draw: Callable[Asked, Drawn], *args: Asked.args, **kwargs: Asked.kwargs) -> Drawn | None:
    """What `draw` returns; if it fails None, with a line on stderr that `what` was not drawn, and why."""
    try:
        return draw(*args, **kwargs)
    except Exception as error:
        complain(f"not drawn: {what}: {error_line(error)}")
        return None


@contextmanager
def settings(look: Mapping[str, Any] | None = None, theme: str | None = None) -> Iterator[None]:
    """Figures drawn inside look the same everywhere: matplotlib's defaults, then one of seaborn's themes, then `look`.

    The user's backend, settings files and styles have no effect, not even those that would stop matplotlib.
    """
    mpl = _matplotlib()
    # A thread of the user's notebook may draw too, so changes are undone.
    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have the name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        mpl.rcdefaults()
        if theme is not None:
            import seaborn

            seaborn.set_style(theme, {"font.family": ["DejaVu Sans"]})
        mpl.rcParams.update({**_PLAIN_TEXT, **(look or {})})
        yield


def blank(size: tuple[float, float], **options: Any) -> Figure:
    """A figure of a size in inches that needs no screen and that pyplot does not keep."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from unlearnbench.report.shown_figure import ShownFigure

    figure = ShownFigure(figsize=size, **options)
    FigureCanvasAgg(figure)
    return figure


def picture(png: bytes) -> Figure:
    """A figure that shows a PNG file, pixel by pixel."""
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=("PNG",)) as read:
        pixels = read.convert("RGB")
    with settings():
        dpi = 110
        figure = blank((pixels.width / dpi, pixels.height / dpi), dpi=dpi)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        return figure


def legend_below(figure: Figure, columns: int, fontsize: float | None = None) -> None:
    """One legend below all panels, with an entry for each label."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        columns = min(columns, len(handles))
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns, fontsize=fontsize)


def plain_ticks(axis: Any) -> None:
    """Plain numbers on a logarithmic axis instead of powers, which would be formulas."""
    axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_minor_formatter(lambda *_: "")


def saved(figure: Figure, form: str, about: str | None = None, dpi: float | None = None) -> bytes:
    """The figure as a file without date and library version: the same numbers give the same file.

    Args:
        form: svg or png.
        about: the source that a PNG's metadata names.
        dpi: pixels per inch; None: the figure's own.
    """
    metadata: dict[str, str | None] = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    if about is not None:
        metadata["Source"] = about
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata=metadata, dpi=dpi or "figure")
    return buffer.getvalue()


def _matplotlib() -> Any:
    """matplotlib, imported without the user's backend and settings file, which may be broken."""
    if "matplotlib" in sys.modules:
        import matplotlib

        return matplotlib
    found = importlib.util.find_spec("matplotlib")
    own = {"MPLBACKEND": "agg"}
    if found is not None and found.origin is not None:
        own["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
    kept = {name: os.environ.get(name) for name in own}
    os.environ |= own
    try:
        import matplotlib

        return matplotlib
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
