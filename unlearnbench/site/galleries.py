"""The galleries that a run drew beside its records, found again for the rows of its leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unlearnbench.report import pictures
from unlearnbench.report.tables import plain
from unlearnbench.site.cells import Row
from unlearnbench.site.figures import Picture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def galleries(rows: Sequence[Row], folder: Path, part: str) -> list[Picture]:
    """The galleries of some rows, in the order of the rows; what is no PNG is left out.

    Args:
        rows: of one experiment.
        folder: the results folder.
        part: the source's, in paths.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["attack_id"] is not None:
            title = pictures.title(row["experiment"], row["dataset"], row["scenario_id"], row["attack_id"])
            found.setdefault(pictures.file_name(title), []).append(row)
    made = []
    for name, members in found.items():
        path = folder / pictures.FOLDER / name
        if path.is_file() and (content := path.read_bytes()).startswith(_SIGNATURE):
            made.append(Picture(f"pictures/{part}/{name}", _title(members), _alt(members), content))
    return made


def _title(rows: Sequence[Row]) -> str:
    return plain(f"{rows[0]['attack_id']} on {rows[0]['dataset']}")


def _alt(rows: Sequence[Row]) -> str:
    methods = list(dict.fromkeys(plain(row["method_id"]) for row in rows))
    return (
        f"Rows of small images. First the erased images, then what {plain(rows[0]['attack_id'])} rebuilt of them"
        f" from each method's models ({', '.join(methods)}), last the mean image, which an attacker has for nothing."
    )
