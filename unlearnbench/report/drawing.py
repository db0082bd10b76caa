"""Drawing on matplotlib's own defaults, whatever the user's settings, and never at the cost of a result.

A picture goes with a result and is none: what can't be drawn is said in a line, and everything else goes on.
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
    """What `draw` returns; None, with a line on stderr that `what` is missing and why, if it fails."""
    try:
        return draw(*args, **kwargs)
    except Exception as error:
        complain(f"not drawn: {what}: {error_line(error)}")
        return None


@contextmanager
def settings(look: Mapping[str, Any] | None = None, theme: str | None = None) -> Iterator[None]:
    """What is drawn inside looks the same everywhere: matplotlib's defaults, then one of seaborn's themes, then `look`.

    Backend, files of settings and styles of the user's, also those that would stop matplotlib, have no say.
    """
    mpl = _matplotlib()
    # A thread of the user's notebook may draw too: what is changed here is put back.
    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the name stands in the tables.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        mpl.rcdefaults()
        if theme is not None:
            import seaborn

            seaborn.set_style(theme, {"font.family": ["DejaVu Sans"]})
        mpl.rcParams.update({**_PLAIN_TEXT, **(look or {})})
        yield


def blank(size: tuple[float, float], **options: Any) -> Figure:
    """A figure of a size in inches that needs no screen and is kept by nobody but the caller."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, **options)
    FigureCanvasAgg(figure)
    return figure


def plain_ticks(axis: Any) -> None:
    """Numbers of a logarithmic axis as people write them, not as powers, which would be formulas."""
    axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_minor_formatter(lambda *_: "")


def saved(figure: Figure, form: str, about: str | None = None, dpi: float | None = None) -> bytes:
    """The figure as a file, without date and library version: the same numbers give the same file.

    Args:
        form: svg or png.
        about: what a PNG says of where it comes from.
        dpi: pixels an inch; None: the figure's own.
    """
    told: dict[str, str | None] = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    if about is not None:
        told["Source"] = about
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata=told, dpi=dpi or "figure")
    return buffer.getvalue()


def _matplotlib() -> Any:
    """matplotlib; the first import reads the user's backend and file of settings, and stops where they are no good."""
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
