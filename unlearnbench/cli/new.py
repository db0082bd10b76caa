"""The verb `new`: writes the smallest working plugin of a kind, and its test, as a start."""

from __future__ import annotations

import contextlib
import keyword
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlearnbench.cli.exit_codes import OK
from unlearnbench.system.errors import InputError, an
from unlearnbench.system.printing import emit, one_line

if TYPE_CHECKING:
    from unlearnbench.registry.base import Kind

LONGEST = 40  # characters of a name, which appears in tables

app = typer.Typer(rich_markup_mode=None, help="Start a plugin: the smallest working one, and its test.")

PluginName = Annotated[
    str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and _; also the file's name.")
]
Into = Annotated[
    Path | None,
    typer.Option(
        "--into", metavar="DIR", help="Folder of both files [in a checkout methods/ etc. and tests/, else .]."
    ),
]


@app.command()
def method(name: PluginName, into: Into = None) -> int:
    """Write an unlearning method and its test."""
    return start("method", name, into)


@app.command()
def attack(name: PluginName, into: Into = None) -> int:
    """Write an inference attack and its test."""
    return start("attack", name, into)


@app.command()
def dataset(name: PluginName, into: Into = None) -> int:
    """Write a dataset and its test."""
    return start("dataset", name, into)


@app.command()
def model(name: PluginName, into: Into = None) -> int:
    """Write a network and its test."""
    return start("model", name, into)


def start(kind: Kind, name: str, into: Path | None) -> int:
    """Write both files, or neither, and print the next steps."""
    from unlearnbench.registry.base import BUILT_IN
    from unlearnbench.registry.registry import named

    _check_name(name)
    inside = into is None and _is_checkout(Path())
    if inside:
        outside = kind in ("method", "attack")  # in folders at the top of a checkout
        folder = Path(BUILT_IN[kind]) if outside else Path("unlearnbench", BUILT_IN[kind])
        test = _test_file(Path("tests"), kind, name)
    else:
        folder = into or Path()
        test = folder / f"test_{name}.py"
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "not a folder")
    taken = named(kind, [folder] if folder.is_dir() and not inside else []).get(name)
    if taken is not None:
        raise InputError(name, f"there is {an(kind)} of this name: {taken}; choose another")
    values = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "folders": "FOLDERS: list[Path] = []  # of plugins beside the built-in ones"
        if inside else "FOLDERS = [Path(__file__).parent]",
    }  # fmt: skip
    _write({folder / f"{name}.py": _filled(f"{kind}.py.txt", values), test: _filled(f"test_{kind}.py.txt", values)})
    emit(f"wrote {one_line(str(folder / f'{name}.py'))} and {one_line(str(test))}")
    emit("next, after each change:")
    emit(f"    unlearnbench check {name} --kind {kind}" + ("" if inside else f" --plugins {one_line(str(folder))}"))
    emit(f"    pytest {one_line(str(test))}")
    return OK


def _check_name(name: str) -> None:
    from unlearnbench.registry.base import PLUGIN_NAME

    shown = one_line(name, 60)
    if not PLUGIN_NAME.fullmatch(name) or len(name) > LONGEST:
        what = f"a name is lower-case letters, digits and _, starts with a letter, and is at most {LONGEST} long"
        raise InputError(f"'{shown}'", what)
    if keyword.iskeyword(name) or name.startswith("test_") or name == "conftest":
        raise InputError(shown, "means something else to Python or pytest; choose another")


def _is_checkout(folder: Path) -> bool:
    """Whether a folder is the checkout that this program runs from: plugins written there become built-in."""
    own = Path(__file__).resolve().parents[1]
    return (folder / "unlearnbench").resolve() == own and (folder / "tests").is_dir() and (folder / "methods").is_dir()


def _test_file(tests: Path, kind: Kind, name: str) -> Path:
    from unlearnbench.registry.base import BUILT_IN

    # pytest requires file names that are unique across folders.
    alone = not any(tests.rglob(f"test_{name}.py"))
    return tests / BUILT_IN[kind] / (f"test_{name}.py" if alone else f"test_{name}_{kind}.py")


def _filled(template: str, values: dict[str, str]) -> str:
    from importlib import resources
    from string import Template

    text = (resources.files("unlearnbench.registry") / "templates" / template).read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _write(files: dict[Path, str]) -> None:
    """Write all files or, if one can't be written, none."""
    for path in files:
        if path.exists() or path.is_symlink():
            raise InputError(str(path), "exists already and is not overwritten")
    made: list[Path] = []
    at = next(iter(files))
    try:
        for at, text in files.items():
            made += _make_folder(at.parent)
            with at.open("x", encoding="utf-8") as file:
                made.append(at)
                file.write(text)
    except OSError as error:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        raise InputError(str(at), f"can't be written: {error.strerror or error}") from error


def _make_folder(folder: Path) -> list[Path]:
    """Create a folder; returns the folders that were missing, outermost first."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]
