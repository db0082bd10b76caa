"""Which cells to compute again: a sample in which every kind of cell has its share, and what it may cost."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import defaultdict
from collections.abc import Sequence

from unlearnbench.submissions.reading import Submitted

Order = tuple[float, str]


def comparable(record: Submitted) -> bool:
    """Whether a record has values to compare: results other than times."""
    return record.status == "ok" and not record.is_timing


def sample(records: Sequence[Submitted], count: int, seed: int, cheapest: bool = False) -> list[Submitted]:
    """A sample of `count` cells: one of every (experiment, method, attack) before a second one of any.

    The choice depends on the cells and the seed alone: a cell's place is the hash of its key with the seed. It is
    the same on every machine, and unknown to whoever computed the cells.

    Args:
        cheapest: take the shortest cells of each kind, and the kinds in the order of these.
    """
    strata: dict[tuple[str, ...], list[tuple[Order, Submitted]]] = defaultdict(list)
    for record in records:
        common = record.common
        kind = (common["experiment"], common["method"], common["attack"] or "")
        strata[kind].append(((estimate(record) if cheapest else 0.0, _place(seed, record.key)), record))
    ordered = [sorted(cells, key=lambda pair: pair[0]) for cells in strata.values()]
    rounds = [((turn, place), record) for cells in ordered for turn, (place, record) in enumerate(cells)]
    return [record for _, record in heapq.nsmallest(count, rounds, key=lambda pair: pair[0])]


def estimate(record: Submitted) -> float:
    """A rough estimate of the seconds that computing a cell again takes, from its record.

    Training the original (with those of seeds that are computed together) and the attack take the recorded seconds.
    Erasures, including those of shadows, are counted at the speed of that training.
    """
    common, scenario = record.common, json.loads(record.common["scenario"])
    train, attack = common["train_seconds"] or 0.0, common["attack_seconds"] or 0.0
    training, sizes = scenario.get("training", {}), json.loads(common["sizes"])
    seen = training.get("epochs", 1) * max(sizes.values(), default=1) or 1
    work = next((row["value"] for row in record.measured if row["metric"] == "samples_processed"), None) or 0.0
    erasures = scenario.get("targets", 1) + (common["n_shadows"] or 0)
    return float(train * scenario.get("seeds_together", 1) + attack + train / seen * work * erasures)


def _place(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()
