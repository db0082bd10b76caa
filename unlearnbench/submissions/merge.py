"""Joins the records of several people or machines: one record per cell, and every disagreement reported.

Among the records of one key

- a result counts and a failure does not, wherever they come from;
- equal records are one, and records from different kinds of machines are one if they agree within tolerance
  (agreement.py). Which one is kept depends on their content, not on the order of the folders or on whether they are
  merged at once or in steps;
- all others are a conflict. Only the user can say which of them is right.

The same holds for the records of one cell under several keys (computed from other code, data or versions, or with
another suite's seed): if they agree, one of the newest versions counts and the others go to records/stale, where `run`
puts such records too; if they do not, that is a conflict. Dates decide nothing: whoever writes a record sets its date.

Records of other protocols must not be averaged with these, and get a folder and a leaderboard of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from unlearnbench.submissions.agreement import RecordDifference, differences
from unlearnbench.submissions.reading import Submitted
from unlearnbench.system.package_versions import COMPUTING
from unlearnbench.system.version import PROTOCOL_VERSION

ConflictRule = Literal["first", "none"]


@dataclass(frozen=True)
class Conflict:
    """Records of one cell that do not agree, with their differences; `kept` is the one decided on, if any."""

    cells: list[Submitted]
    differences: list[RecordDifference]
    kept: Submitted | None

    @property
    def keys(self) -> list[str]:
        """The records' keys: several if they were computed from different code, data or versions."""
        return sorted({cell.key for cell in self.cells})


@dataclass(frozen=True)
class Duplicate:
    """Records of one key that agree, and the one that is kept; `exact` if they agree to the last bit."""

    cells: list[Submitted]
    kept: Submitted
    exact: bool


@dataclass(frozen=True)
class Apart:
    """A record that stays out of the leaderboard, because another record of the same cell counts."""

    cell: Submitted
    counts: Submitted


@dataclass
class Merged:
    """What several folders hold together.

    Attributes:
        read: the number of files.
        kept: the record of each cell, by protocol.
        superseded: failures of cells for which there is a result.
    """

    read: int = 0
    kept: dict[int, list[Submitted]] = field(default_factory=dict)
    duplicates: list[Duplicate] = field(default_factory=list)
    superseded: list[Submitted] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of the last line: files, and what became of the cells."""
        cells = [cell for some in self.kept.values() for cell in some]
        return {
            "read": self.read,
            "kept": len(cells),
            "duplicates": sum(len(each.cells) - 1 for each in self.duplicates),
            "within_tolerance": sum(len(each.cells) - 1 for each in self.duplicates if not each.exact),
            "conflicts": len(self.conflicts),
            "failed": sum(cell.is_failure for cell in cells),
            "superseded": len(self.superseded),
            "apart": len(self.apart)
            + sum(len(some) for number, some in self.kept.items() if number != PROTOCOL_VERSION),
        }


def merge(folders: Sequence[Sequence[Submitted]], keep: ConflictRule | None = None) -> Merged:
    """Decide which record of each cell counts.

    Args:
        folders: the cells of each folder, in the order in which the folders were named.
        keep: what to do about conflicts: keep the record from the folder that was named first, or none of them. With
            None conflicts stay undecided, and their cells are left out.
    """
    merged, by_key = Merged(), defaultdict[str, list[Submitted]](list)
    named = dict[str, int]()  # the number of the first folder with a result of a key
    for number, cells in enumerate(folders):
        merged.read += len(cells)
        for cell in cells:
            by_key[cell.key].append(cell)
            if not cell.is_failure:
                named.setdefault(cell.key, number)
    protocols = defaultdict[int, list[Submitted]](list)
    for key in sorted(by_key):
        counting = _settled(by_key[key], keep, merged)
        if counting is not None:
            protocols[counting.common["protocol_version"]].append(counting)
    merged.kept = {number: _current(protocols[number], keep, named, merged) for number in sorted(protocols)}
    return merged


def _settled(cells: list[Submitted], keep: ConflictRule | None, merged: Merged) -> Submitted | None:
    """The record of a key that counts, if any."""
    results = [cell for cell in cells if not cell.is_failure]
    if not results:  # there is no result, and the reasons of failures need not agree
        chosen = _chosen(cells)
        if len(cells) > 1:
            merged.duplicates.append(Duplicate(cells, chosen, all(_same_failure(chosen, cell) for cell in cells)))
        return chosen
    merged.superseded += [cell for cell in cells if cell.is_failure]
    found = _pairwise(results)
    if large := [each for each in found if not each.is_small]:
        kept = results[0] if keep == "first" else None
        merged.conflicts.append(Conflict(results, large, kept))
        return kept
    chosen = _chosen(results)
    if len(results) > 1:
        merged.duplicates.append(Duplicate(results, chosen, not found))
    return chosen


def _pairwise(cells: Sequence[Submitted]) -> list[RecordDifference]:
    return [each for one, other in combinations(cells, 2) for each in differences(one, other)]


def _chosen(cells: Sequence[Submitted]) -> Submitted:
    """One of several records that agree: the first by a hash of their content without dates.

    A record of the latest schema, or one with its suite's seed, comes before those that say less. Among records that
    differ only in their dates the oldest is chosen.
    """
    return min(cells, key=_order) if len(cells) > 1 else cells[0]


def _order(cell: Submitted) -> tuple[int, bool, str, str]:
    rows = [{name: value for name, value in row.items() if name != "started_at"} for row in cell.rows]
    digest = hashlib.sha256(repr((rows, sorted(cell.about.items()))).encode()).hexdigest()
    return -int(cell.common["schema_version"]), not cell.about, digest, cell.started_at


def _packages(cell: Submitted) -> list[list[int]]:
    """The versions of the packages that compute, as numbers; a missing one is older than all others."""
    said = json.loads(cell.common["versions"])
    return [[int(number) for number in re.findall(r"\d{1,9}", said.get(name, ""))[:3]] for name in COMPUTING]


def _same_failure(one: Submitted, other: Submitted) -> bool:
    return (one.status, one.common["error"]) == (other.status, other.common["error"])


def _current(
    cells: list[Submitted], keep: ConflictRule | None, named: Mapping[str, int], merged: Merged
) -> list[Submitted]:
    """The one record of each cell that counts, among those under several keys; none where that is undecided.

    Args:
        named: for each key the number of the first folder with a result.
    """
    by_name = defaultdict[tuple[object, ...], list[Submitted]](list)
    for cell in cells:
        by_name[cell.identity].append(cell)
    current = []
    for same in by_name.values():
        results = [cell for cell in same if not cell.is_failure]
        if large := [each for each in _pairwise(results) if not each.is_small]:
            # Within one folder the first by name, as there is no better reason.
            best = min(results, key=lambda cell: (named[cell.key], cell.key)) if keep == "first" else None
            merged.conflicts.append(Conflict(results, large, best))
        else:
            # The newest, so that a table is of one version where possible.
            newest = max(_packages(cell) for cell in results or same)
            best = _chosen([cell for cell in results or same if _packages(cell) == newest])
        if best is not None:
            current.append(best)
            merged.apart += [Apart(cell, best) for cell in same if cell is not best]
        else:
            merged.superseded += [cell for cell in same if cell.is_failure]
    return sorted(current, key=lambda cell: cell.key)


def as_json(merged: Merged) -> Mapping[str, object]:
    """As JSON values: counts, and every duplicate, conflict and record that is kept apart, with its origin."""
    return {
        **merged.counts,
        "duplicate_cells": [
            {"key": each.kept.key, "kept": each.kept.origin, "exact": each.exact,
             "folders": [str(cell.folder) for cell in each.cells]}
            for each in merged.duplicates
        ],
        "conflicting_cells": [
            {"key": each.cells[0].key, "keys": each.keys, "what": each.cells[0].what,
             "kept": each.kept and str(each.kept.folder),
             "differences": [{"what": one.what, "values": [one.left, one.right]} for one in each.differences],
             "origins": [cell.origin for cell in each.cells]}
            for each in merged.conflicts
        ],
        "superseded_failures": [
            {"key": cell.key, "what": cell.what, "error": cell.common["error"], "origin": cell.origin}
            for cell in merged.superseded
        ],
        "apart_cells": [
            {"key": each.cell.key, "what": each.cell.what, "origin": each.cell.origin, "counts": each.counts.key}
            for each in merged.apart
        ],
        "protocols": {str(number): len(cells) for number, cells in merged.kept.items()},
    }  # fmt: skip
