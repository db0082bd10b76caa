"""What figures are drawn for each of: a dataset with its parameters, of one suite and under one protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from unlearnbench.settings.protocols import titled
from unlearnbench.site.rows import BoardRow
from unlearnbench.system.escaping import plain

GROUP_COLUMNS = ("protocol_version", "suite", "dataset_id", "dataset_params")
"""The columns in which they differ."""


@dataclass(frozen=True)
class DatasetGroup:
    """One of them; `number` tells its figures apart, `title` says which it is."""

    number: int
    title: str


def by_dataset(rows: Iterable[BoardRow]) -> dict[DatasetGroup, list[BoardRow]]:
    """The rows of each dataset and protocol, those of the newest protocol first, else in order of appearance."""
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
