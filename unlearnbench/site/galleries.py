"""The galleries and ROC curves that a run drew beside its records, found again for the rows of its leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from unlearnbench.report import curves as report_curves
from unlearnbench.report import pictures
from unlearnbench.site.cells import Row
from unlearnbench.site.figures import Picture
from unlearnbench.system import regular_files
from unlearnbench.system.escaping import plain

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def galleries(rows: Sequence[Row], folder: Path, part: str) -> list[Picture]:
    """The galleries of some rows, in the order of the rows; what is no PNG is left out.

    Args:
        rows: of one experiment.
        folder: the results folder.
        part: the source's, in paths.
    """

    def name(row: Row) -> str:
        return pictures.file_name(
            pictures.title(row["experiment"], row["dataset_id"], row["scenario_id"], row["attack_id"])
        )

    return _found(rows, folder, part, name, _gallery_alt)


def curves(rows: Sequence[Row], folder: Path, part: str) -> list[Picture]:
    """The same for ROC curves."""

    def name(row: Row) -> str:
        return report_curves.file_name(
            report_curves.title(row["experiment"], row["dataset_id"], row["scenario_id"], row["attack_id"])
        )

    return _found(rows, folder, part, name, _curves_alt)


def _found(
    rows: Sequence[Row], folder: Path, part: str, name_of: Callable[[Row], str], alt: Callable[[Sequence[Row]], str]
) -> list[Picture]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["attack_id"] is not None:
            found.setdefault(name_of(row), []).append(row)
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
            made.append(Picture(f"pictures/{part}/{name.lstrip('.')}", _title(members), alt(members), content))
    return made


def _title(rows: Sequence[Row]) -> str:
    return plain(f"{rows[0]['attack_id']} on {rows[0]['dataset_id']}")


def _methods(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(plain(row["method_id"]) for row in rows))


def _gallery_alt(rows: Sequence[Row]) -> str:
    return (
        f"Rows of small images. First the erased images, then what {plain(rows[0]['attack_id'])} rebuilt of them"
        f" from each method's models ({_methods(rows)}), last the mean image, which an attacker has for nothing."
    )


def _curves_alt(rows: Sequence[Row]) -> str:
    told = [f"{plain(row['method_id'])} {row['auc']:.2f}" for row in rows if row.get("auc") is not None]
    areas = f" Areas below the curves: {', '.join(dict.fromkeys(told))}." if told else ""
    return f"ROC curves of {plain(rows[0]['attack_id'])} against {_methods(rows)}, on logarithmic axes.{areas}"
