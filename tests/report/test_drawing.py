"""Drawing under the package's own settings: what a user has set changes no picture and stops none."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from unlearnbench.report import drawing

PROGRAM = """
import os
from hashlib import sha256
from unlearnbench.report import drawing
from unlearnbench.site import canvas

def draw():
    with drawing.settings():
        figure = drawing.blank((2, 1))
        figure.text(0.1, 0.5, "$\\\\frac{1}$ _x_")
        return drawing.saved(figure, "png", "made of this")

def draw_site():
    with canvas.style():
        import seaborn
        figure, (axes,) = canvas.panels(1)
        seaborn.lineplot(x=[0, 1], y=[1, 0], ax=axes, label="$x", errorbar=None, legend=False)
        drawing.legend_below(figure, columns=4)
        return canvas.saved(figure)[0]

for each in (draw, draw_site):
    made = drawing.attempt("picture", each)
    print(made and sha256(made).hexdigest(), os.environ.get("MPLBACKEND"))
"""

HOSTILE = """backend: module://matplotlib_inline.backend_inline
text.usetex: True
savefig.bbox: tight
savefig.dpi: 17
font.family: No Such Font
axes.prop_cycle: nonsense
"""


def drawn(folder: Path, **environment: str) -> tuple[list[list[str]], str]:
    """What the program prints, line by line, and what it says on stderr."""
    folder.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "DISPLAY" and not name.startswith("MPL")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env={**kept, **environment}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return [line.split() for line in ran.stdout.splitlines()], ran.stderr


def test_no_setting_of_the_users_changes_or_stops_a_picture(tmp_path: Path) -> None:
    plain, _ = drawn(tmp_path / "plain")
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "matplotlibrc").write_text(HOSTILE)
    (tmp_path / "other").write_bytes(b"\xff\xfe not text")
    (tmp_path / "in the way").write_text("")
    found, _ = drawn(
        hostile,
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        MATPLOTLIBRC=str(tmp_path / "other"),
        MPLCONFIGDIR=str(tmp_path / "in the way"),
    )
    assert [digest for digest, _ in found] == [digest for digest, _ in plain]
    assert len({digest for digest, _ in plain}) == 2
    assert {backend for _, backend in found} == {"module://matplotlib_inline.backend_inline"}  # is left as it was


def test_settings_that_stop_matplotlib_stop_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe not text")  # beside the suite, where matplotlib looks first
    found, said = drawn(tmp_path)
    assert [digest for digest, _ in found] == ["None", "None"]
    complaints = [line for line in said.splitlines() if line.startswith("not drawn: ")]
    assert len(complaints) == 2
    assert all("UnicodeDecodeError" in line for line in complaints)


def test_a_session_that_draws_too_is_left_as_it_was() -> None:
    import matplotlib as mpl

    def draw() -> str:
        with drawing.settings():
            figure = drawing.blank((1, 1))
            figure.text(0, 0.5, "\u4e2d $x$")
            return sha256(drawing.saved(figure, "png")).hexdigest()

    plain = draw()
    with mpl.rc_context({"text.usetex": True, "savefig.bbox": "tight", "figure.facecolor": "red"}):
        assert draw() == plain
        assert mpl.rcParams["text.usetex"] is True


@pytest.mark.parametrize("error", [ValueError("no\x1b[31m room"), OSError(28, "No space left"), MemoryError()])
def test_what_fails_is_one_harmless_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def draw() -> bytes:
        raise error

    assert drawing.attempt("pictures/a.png", draw) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"not drawn: pictures/a.png: {type(error).__name__}")
    assert "\x1b" not in line
