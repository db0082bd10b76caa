"""Notes on numbers that were computed with several versions of a package, which are never mixed silently.

Keys include the versions, so a single run never mixes them, but records of several machines may, and so may cells
outside a plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd

from unlearnbench.leaderboard.contenders import TABLE_COLUMNS, group_codes
from unlearnbench.registry.plugin_info import DATASET_PACKAGES
from unlearnbench.system.package_versions import COMPUTING, shown
from unlearnbench.system.provenance import PACKAGES

# Packages in records that change no number; changes of the harness show in versions of their own.
_NO_NUMBERS = {"unlearnbench", "code", "python", *PACKAGES} - set(COMPUTING)


def notes(rows: pd.DataFrame) -> pd.Series:
    """Text for each contender whose seeds, or whose table, come from several versions of one package.

    Args:
        rows: results, with the columns contender and versions and those of `TABLE_COLUMNS`.
    """
    frame = rows[["contender", "versions", "dataset"]].assign(table=group_codes(rows, TABLE_COLUMNS))
    of_contender, of_table = dict[int, dict[str, set[str]]](), dict[int, dict[str, set[str]]]()
    table_of: dict[int, int] = {}
    distinct = frame.drop_duplicates().astype(object)
    for contender, versions, dataset, table in distinct.itertuples(index=False, name=None):
        table_of[contender] = table
        for package, version in _versions(versions, dataset).items():
            for sets in (of_contender.setdefault(contender, {}), of_table.setdefault(table, {})):
                sets.setdefault(package, set()).add(version)
    found = {}
    for contender, table in table_of.items():
        own = of_contender.get(contender, {})
        mixed = [f"{package} {_and(own[package])}" for package in sorted(own) if len(own[package]) > 1]
        beside = [
            f"{package} {_and(own[package])} (others: {_and(others)})"
            for package in sorted(own)
            if len(own[package]) == 1 and (others := of_table[table][package] - own[package])
        ]
        parts = [f"averages seeds of {', '.join(mixed)}"] if mixed else []
        parts += [f"stands beside numbers of other versions: {', '.join(beside)}"] if beside else []
        if parts:
            found[contender] = "; ".join(parts)
    return pd.Series(found, dtype=object)


def _versions(versions: str, dataset: str) -> dict[str, str]:
    """The versions in a record that may change its numbers."""
    unimportant = _NO_NUMBERS - set(DATASET_PACKAGES.get(dataset, ()))
    return {name: shown(name, str(full)) for name, full in json.loads(versions).items() if name not in unimportant}


def _and(versions: Iterable[str]) -> str:
    *first, last = sorted(versions)
    return f"{', '.join(first)} and {last}" if first else last
