"""Finds the galleries and ROC curves that a run drew beside its records, for the rows of its leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from unlearnbench.report import curves, pictures
from unlearnbench.report.wording import in_words
from unlearnbench.site.figures import DrawnPicture
from unlearnbench.site.rows import BoardRow
from unlearnbench.system import regular_files
from unlearnbench.system.escaping import plain

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def galleries(rows: Sequence[BoardRow], folder: Path, part: str) -> list[DrawnPicture]:
    """The galleries of some rows, in the order of the rows; files that are not PNG are left out.

    Args:
        rows: the rows of one experiment.
        folder: the results folder.
        part: the name of the results folder in paths.
    """
    return _found(rows, folder, part, lambda title: pictures.file_name(pictures.title(*title)), _gallery_alt)


def roc_curves(rows: Sequence[BoardRow], folder: Path, part: str) -> list[DrawnPicture]:
    """The same for ROC curves."""
    return _found(rows, folder, part, curves.file_name, _curves_alt)


def _found(
    rows: Sequence[BoardRow],
    folder: Path,
    part: str,
    file_name: Callable[[tuple[str, str, str, str]], str],
    alt: Callable[[Sequence[BoardRow]], str],
) -> list[DrawnPicture]:
    found: dict[str, list[BoardRow]] = {}
    for row in rows:
        if row["attack_id"] is not None:
            title = row["experiment"], row["dataset_id"], row["scenario_id"], row["attack_id"]
            found.setdefault(file_name(title), []).append(row)
    made = []
    for name, rows_there in found.items():
        # A picture is replaced when its setting is run again.
        newest = max(row["protocol_version"] for row in rows_there)
        members = [row for row in rows_there if row["protocol_version"] == newest]
        path = folder / pictures.FOLDER / name
        try:
            content = regular_files.read(path)
        except FileNotFoundError:
            continue
        if content.startswith(_SIGNATURE):
            made.append(DrawnPicture(f"pictures/{part}/{name.lstrip('.')}", _title(members), alt(members), content))
    return made


def _title(rows: Sequence[BoardRow]) -> str:
    return plain(f"{in_words(rows[0]['attack_id'])} on {rows[0]['dataset_id']}")


def _methods(rows: Sequence[BoardRow]) -> str:
    return ", ".join(dict.fromkeys(plain(row["method_id"]) for row in rows))


def _gallery_alt(rows: Sequence[BoardRow]) -> str:
    return (
        f"Rows of small images. First the erased images, then what {plain(rows[0]['attack_id'])} rebuilt of them"
        f" from each method's models ({_methods(rows)}), last the mean image, which an attacker has without an attack."
    )


def _curves_alt(rows: Sequence[BoardRow]) -> str:
    areas_of = [f"{plain(row['method_id'])} {row['auc']:.2f}" for row in rows if row.get("auc") is not None]
    areas = f" Areas below the curves: {', '.join(dict.fromkeys(areas_of))}." if areas_of else ""
    return f"ROC curves of {plain(rows[0]['attack_id'])} against {_methods(rows)}, on logarithmic axes.{areas}"
