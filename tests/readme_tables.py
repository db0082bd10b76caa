"""README's tables of quickstart, from a run: `python tests/readme_tables.py results/quickstart` writes them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.report.summary import results

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"(<!-- quickstart: .*? -->\n)(.*?)(<!-- end of quickstart -->)", re.DOTALL)
TITLES = {"utility": "`utility`: forget 86 stamped images", "leak": "`leak`: forget one image that it has memorised"}


def tables(folder: Path) -> str:
    """One table for each experiment of a results folder of the suite quickstart."""
    parts = []
    for table in results(leaderboard.read(folder / "leaderboard.parquet")):
        experiment = table.title.removeprefix("Result: ").split(" / ")[0]
        heads = [TITLES[experiment], *table.headers[1:]]
        lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        lines += [f"| {' | '.join(row)} |" for row in table.rows]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def shown() -> str:
    """What README has."""
    found = BLOCK.search(README.read_text(encoding="utf-8"))
    assert found is not None, "README has lost the marks of its tables"
    return found.group(2).strip() + "\n"


def cells(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """Tables as cells: by experiment and method, then by column."""
    found = {}
    for block in text.strip().split("\n\n"):
        head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
        for line in lines:
            found[head[0].split("`")[1], line[0]] = dict(zip(head[1:], line[1:], strict=True))
    return found


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    made = tables(Path(sys.argv[1]))
    README.write_text(BLOCK.sub(lambda found: f"{found.group(1)}\n{made}\n{found.group(3)}", text), encoding="utf-8")
