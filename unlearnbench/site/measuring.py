"""Where a folder's numbers come from: code, machines, data, dates, and what failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearnbench.claims.comparison import versions_in_words
from unlearnbench.settings.protocols import titled
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.site.results_folders import ResultsFolder

_SHORT = 12  # characters of a hash that people compare


@dataclass(frozen=True)
class FailedCell:
    """A cell without a result."""

    experiment: str
    dataset: str
    method: str
    attack: str
    seed: int
    status: str
    error: str


@dataclass(frozen=True)
class Origin:
    """Where a folder's records come from; lists are sorted and without repetition."""

    suites: tuple[str, ...]
    protocol: str
    cells: int
    rows: int
    seeds: int
    commits: tuple[str, ...]
    devices: tuple[str, ...]
    versions: tuple[str, ...]
    data: tuple[tuple[str, str], ...]
    plugins: tuple[tuple[str, str], ...]
    first: str
    last: str
    failures: tuple[FailedCell, ...]

    @property
    def dates(self) -> str:
        """The dates of the first and the last record."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


def origin(source: ResultsFolder) -> Origin:
    """The origin of one results folder's numbers."""
    rows = source.records
    started = rows["started_at"]
    ok = rows[rows["status"] == "ok"]
    plugins = _pairs(ok[ok["attack"].isna()], "method", "plugin_sha256")
    plugins += _pairs(ok[ok["attack"].notna()], "attack", "plugin_sha256")
    return Origin(
        suites=_texts(rows["suite"].unique()),
        protocol=", ".join(_texts(sorted(rows["protocol_version"].unique()))),
        cells=int(rows["cell_key"].nunique()),
        rows=len(rows),
        seeds=int(rows["seed"].nunique()),
        commits=_commits(rows),
        devices=_texts(sorted(rows["device"].unique())),
        versions=tuple(plain(versions_in_words(text)) for text in sorted(rows["versions"].unique())),
        data=tuple(dict.fromkeys(_pairs(ok, "dataset_id", "data_sha256"))),
        plugins=tuple(dict.fromkeys(plugins)),
        first=f"{started.min():%Y-%m-%d}",
        last=f"{started.max():%Y-%m-%d}",
        failures=_failures(rows),
    )


def _pairs(rows: pd.DataFrame, name: str, digest: str) -> list[tuple[str, str]]:
    """Each name with its shortened hash; a name with several hashes is repeated."""
    found = rows[[name, digest]].drop_duplicates().sort_values([name, digest])
    return [(plain(each), plain(sha)[:_SHORT]) for each, sha in found.itertuples(index=False)]


def _commits(rows: pd.DataFrame) -> tuple[str, ...]:
    found = rows[["git_sha", "git_dirty"]].drop_duplicates()
    named = {_commit(sha, dirty) for sha, dirty in found.itertuples(index=False)}
    return tuple(sorted(named))


def _commit(sha: Any, dirty: Any) -> str:
    if not isinstance(sha, str):
        return "unknown"
    return f"{plain(sha)[:_SHORT]}{' with changes' if dirty is True else ''}"


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(plain(value) for value in values)


def _failures(rows: pd.DataFrame) -> tuple[FailedCell, ...]:
    failed = rows[rows["status"] != "ok"].drop_duplicates("cell_key").astype(object)
    failed = failed.where(failed.notna(), None)
    return tuple(
        FailedCell(
            plain(row["experiment"]), plain(titled(row["dataset_id"], row["protocol_version"])),
            plain(row["method_id"]), plain(row["attack_id"] or ""),
            int(row["seed"]), plain(row["status"]), plain(row["error"] or "no reason was recorded"),
        )
        for row in failed.to_dict("records")
    )  # fmt: skip
