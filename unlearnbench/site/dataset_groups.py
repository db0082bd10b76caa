"""The groups that get a figure each: a dataset with its parameters, in one suite and under one protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from unlearnbench.settings.protocols import titled
from unlearnbench.site.rows import BoardRow
from unlearnbench.system.escaping import plain

GROUP_COLUMNS = ("protocol_version", "suite", "dataset_id", "dataset_params")
"""The columns that define a group."""


@dataclass(frozen=True)
class DatasetGroup:
    """One group: `number` makes the names of its figures unique, `title` describes it."""

    number: int
    title: str


def by_dataset(rows: Iterable[BoardRow]) -> dict[DatasetGroup, list[BoardRow]]:
    """The rows of each group, those of the newest protocol first, otherwise in order of appearance."""
    groups: dict[tuple[Any, ...], list[BoardRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in GROUP_COLUMNS), []).append(row)
    order = sorted(groups, key=lambda key: -key[0])
    several = len({suite for _, suite, *_ in order}) > 1
    found = {}
    for number, (protocol, suite, dataset, params) in enumerate(order):
        title = titled(f"{dataset} ({suite})" if several else dataset, protocol)
        found[DatasetGroup(number, plain(title))] = groups[protocol, suite, dataset, params]
    return found
