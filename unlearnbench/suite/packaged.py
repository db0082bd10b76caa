"""The suites that come with the package, and what a user may give for a suite: a file, or the name of such a suite."""

from __future__ import annotations

from pathlib import Path

from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.package_code import subpackage
from unlearnbench.system.roots import root

CLAIMS = ".claims"  # those about suites/paper.yaml are in suites/paper.claims.yaml


def names() -> list[str]:
    """The suites that come with the package. Quick: nothing is read."""
    return sorted(name for name in _files() if "." not in name)  # not the claims about them


def suite_file(given: str) -> Path:
    """The absolute path of a suite file, given as a path or as the name of a suite that comes with the package.

    Only what has a slash or ends in .yaml is a path, so that no file in the working folder hides a suite.

    Raises:
        InputError: no suite has this name.
    """
    return root(Path(given)) if is_path(given) else root(_packaged(given, ""), given)


def claims_file(given: str) -> Path:
    """The same for a file of claims: the claims about a suite that comes with the package have its name."""
    return Path(given) if is_path(given) else _packaged(given, CLAIMS)


def claims_about(name: str, suites: Path = Path("suites")) -> Path | None:
    """The claims about a suite: a file in the folder `suites`, else the one that comes with the package, if any."""
    own = suites / f"{name}{CLAIMS}.yaml"
    return own if own.is_file() else _files().get(f"{name}{CLAIMS}")


def is_path(given: str) -> bool:
    """Whether a text names a file, not a suite that comes with the package."""
    return "/" in given or "\\" in given or given.lower().endswith((".yaml", ".yml"))


def _packaged(name: str, ending: str) -> Path:
    """The file of a suite, or with `ending` that of the claims about it."""
    files = {file.removesuffix(ending): path for file, path in _files().items() if file.endswith(ending)}
    files = {suite: path for suite, path in files.items() if "." not in suite}
    if name in files:
        return files[name]
    what = "no claims about a suite of this name come" if ending else "no suite of this name comes"
    path = "the path of a file has a slash or ends in .yaml"
    raise InputError(f"'{name}'", f"{what} with unlearnbench ({path}){suggest(name, files)}")


def _files() -> dict[str, Path]:
    """The YAML files of the package's suites, by name without .yaml."""
    return {path.stem: path for folder in subpackage("suites") for path in folder.glob("*.yaml")}
