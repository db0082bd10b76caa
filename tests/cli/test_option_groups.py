"""Groups of options: declared once, taken by several verbs as one value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from unlearnbench.cli.option_groups import grouped


@dataclass(frozen=True)
class Colours:
    paint: Annotated[str, typer.Option("--paint", help="Which.")] = "red"
    coats: Annotated[int, typer.Option("--coats", min=1)] = 1


seen: list[tuple[str, Colours, bool]] = []


def decorate(wall: str, how: Colours, dry: Annotated[bool, typer.Option("--dry")] = False) -> int:
    """Paint a wall."""
    seen.append((wall, how, dry))
    return 0


@pytest.mark.parametrize(
    ("without", "arguments", "expected"),
    [
        ((), ["north"], ("north", Colours(), False)),
        ((), ["--coats", "3", "north", "--paint", "blue", "--dry"], ("north", Colours("blue", 3), True)),
        (("paint",), ["north", "--coats", "2"], ("north", Colours("red", 2), False)),
    ],
)
def test_a_verb_gets_its_group_as_one_value(
    without: tuple[str, ...], arguments: list[str], expected: tuple[str, Colours, bool]
) -> None:
    app = typer.Typer()
    app.command()(partial(grouped, without=without)(decorate))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert seen.pop() == expected


def test_what_a_verb_goes_without_is_no_option_of_it() -> None:
    app = typer.Typer()
    app.command()(partial(grouped, without=("paint",))(decorate))
    assert CliRunner().invoke(app, ["north", "--paint", "blue"]).exit_code == 2
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "--coats" in shown
    assert "Paint a wall." in shown
