"""The ends of the ranges of versions that pyproject.toml allows, as constraints for pip.

python tests/version_bounds.py lowest NAME...     the lowest versions, as `make lowest` installs them
python tests/version_bounds.py highest NAME...    nothing, so that pip takes the newest, as `make highest` does

Packages NAME are pinned to the version of constraints.txt instead.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parent.parent
NEED = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9][0-9.]*)")


def lowest(project: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """The lowest version of each package that the program, or its extra `dask`, needs.

    Raises:
        ValueError: a package without a lower bound, which nobody could test.
    """
    declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    found = {}
    for need in [*declared["dependencies"], *declared["optional-dependencies"]["dask"]]:
        match = NEED.match(need)
        if match is None:
            raise ValueError(f"{project}: '{need}' has no lowest version; write name>=version")
        found[match[1]] = match[2]
    return found


def constraints(end: str, pinned: Collection[str] = ()) -> list[str]:
    """Lines for pip's option -c."""
    bounds = {name: version for name, version in lowest().items() if end == "lowest" and name not in pinned}
    lines = [f"{name}=={version}" for name, version in bounds.items()]
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [*lines, *(line for line in tested if line.partition("==")[0] in pinned)]


if __name__ == "__main__":
    sys.stdout.write("\n".join([*constraints(sys.argv[1], sys.argv[2:]), ""]))
