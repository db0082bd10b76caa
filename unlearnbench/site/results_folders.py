"""Reads results folders: the leaderboard, the records behind it, and the claims about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.site.naming import slug
from unlearnbench.suite.packaged import claims_about
from unlearnbench.system.errors import InputError, records_of

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.claims.comparison import Comparison

_COLUMNS = (
    "suite", "experiment", "dataset", "dataset_params", "scenario", "scenario_id", "method", "method_id", "attack",
    "attack_id", "seed", "metric", "step", "value", "status", "error", "device", "cell_key", "git_sha", "git_dirty",
    "plugin_sha256", "data_sha256", "versions", "started_at", "protocol_version",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ResultsFolder:
    """One results folder.

    Attributes:
        name: the folder's name.
        slug: the name in paths; unique among the folders.
        board: the leaderboard, as `leaderboard.read` returns it.
        records: all rows, including points of trajectories, with the columns that pages need.
        comparison: the comparison with claims about it, if there are any.
    """

    name: str
    slug: str
    folder: Path
    board: pd.DataFrame
    records: pd.DataFrame
    comparison: Comparison | None = None


def read(
    folders: Sequence[Path], out: Path, claims: Sequence[Path] = (), suites: Path = Path("suites")
) -> list[ResultsFolder]:
    """Read results folders, and write each one's leaderboard to ``out/data/<slug>``.

    Args:
        folders: results folders as `run` writes them.
        out: the folder where the site is being built.
        claims: files of claims; by default ``<suites>/<folder's name>.claims.yaml``, or the file of that name that
            comes with the package, if there is one.

    Raises:
        InputError: a folder has no records or no results, two folders have one name, a record is damaged, or claims are
            about none of the folders.
    """
    from unlearnbench.claims import model

    names = [folder.resolve().name for folder in folders]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(twice, "two folders have this name, which their pages would share; rename one")
    about = {path: model.load(path).suite for path in claims}
    sources = [_read(folder, name, out, about, suites) for folder, name in zip(folders, names, strict=True)]
    held = {suite for source in sources for suite in source.board["suite"].unique()}
    for path, suite in about.items():
        if suite not in held:
            raise InputError(str(path), f"is about the suite '{suite}', but no folder holds its results")
    return sources


def _read(folder: Path, name: str, out: Path, about: dict[Path, str], suites: Path) -> ResultsFolder:
    records_of(folder)
    from unlearnbench.claims import comparison
    from unlearnbench.leaderboard.contenders import dataset_ids
    from unlearnbench.records.reading import read_folder
    from unlearnbench.report.files import write_leaderboard

    part = slug(name)
    board = write_leaderboard(folder / "records", out / "data" / part)
    if board.empty:
        raise InputError(str(folder), "holds no records; run its suite first")
    table, _ = read_folder(folder / "records", _COLUMNS)
    rows = table.to_pandas()
    rows["dataset_id"] = dataset_ids(rows)
    suite = set(board["suite"].unique())
    path = next((path for path, claimed in about.items() if claimed in suite), claims_about(name, suites))
    found = None if path is None else comparison.compare(folder, path)
    return ResultsFolder(name, part, folder, board, rows, found)
