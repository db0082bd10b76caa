"""A figure that a notebook shows, also where pyplot, which would teach it that, was never imported."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that belongs to whoever holds it: pyplot neither keeps nor shows it."""

    def _repr_png_(self) -> bytes:
        """What IPython asks an object for."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()
