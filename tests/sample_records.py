"""Rows of records for tests: one call is one row, what is not said has a default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from unlearnbench import PROTOCOL_VERSION
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.records import writing as records

START = datetime(2025, 1, 1, tzinfo=UTC)

_DEFAULTS: dict[str, Any] = {
    "suite": "paper",
    "experiment": "leak",
    "dataset": "mnist",
    "dataset_params": "{}",
    "scenario": '{"kind":"leak"}',
    "scenario_id": "single",
    "method_params": "{}",
    "attack_params": None,
    "attack_id": None,
    "tier": None,
    "observation": None,
    "n_shadows": None,
    "step": None,
    "low": None,
    "high": None,
    "n_samples": 100,
    "status": "ok",
    "error": None,
    "train_seconds": 1.5,
    "unlearn_seconds": 0.5,
    "attack_seconds": None,
    "peak_bytes": None,
    "device": "cpu",
    "sizes": '{"target":25000}',
    "git_sha": None,
    "git_dirty": None,
    "plugin_sha256": "0" * 64,
    "data_sha256": "1" * 64,
    "versions": '{"torch":"2.11"}',
    "started_at": START,
    "protocol_version": PROTOCOL_VERSION,
    "schema_version": 2,
    "reference": None,
    "own_original": None,
    "ranked_by": None,
    "scores_erased": None,
    "scores_unseen": None,
}


def row(method: str, seed: int, metric: str, value: float | None, **other: Any) -> dict[str, Any]:
    """A record; ``attack="ridge"`` sets what goes with an attack."""
    attack = other.get("attack")
    attacked = {"attack_params": "{}", "attack_id": attack, "tier": "same", "observation": "log_probabilities"}
    made = {
        **_DEFAULTS,
        **({**attacked, "n_shadows": 512} if attack else {}),
        "method": method,
        "method_id": method,
        "attack": attack,
        "seed": seed,
        "metric": metric,
        "value": value,
        "direction": METRICS[metric].direction if metric in METRICS else "info",
        **other,
    }
    made.setdefault("cell_key", f"{made['method_id']}-{made['experiment']}-{made['dataset']}-{attack}-{seed}")
    return made


def rows(method: str, metric: str, values: Iterable[float | None], **other: Any) -> list[dict[str, Any]]:
    """One record for each of the seeds 0, 1, ..."""
    return [row(method, seed, metric, value, **other) for seed, value in enumerate(values)]


HELD = (0.20, 0.22, 0.19, 0.21, 0.18)
"""The original's memory of the erased images, seed by seed: clearly above 0."""

LEFT = {
    "forgotten": (0.005, -0.01, 0.01, -0.005, 0.0),
    "remembered": HELD,
    "over-forgotten": tuple(-held for held in HELD),
    "cannot be told": (0.3, -0.3, 0.2, -0.2, 0.0),
}
"""What a method leaves of it, by the verdict on that in five seeds."""

APART = {
    "kept": (-0.004, 0.0, -0.008, 0.002, -0.002),
    "below the floor": (-0.3, -0.28, -0.31, -0.29, -0.3),
    "cannot be told": (-0.3, 0.2, -0.2, 0.1, -0.1),
}
"""Accuracy minus that of retrained models, by the verdict on that in five seeds."""


def judged(
    method: str, verdict: str = "forgotten", utility: str = "kept", seeds: int = 5, **other: Any
) -> list[dict[str, Any]]:
    """Records of a cell without an attack from which a method gets these verdicts (on clean erasures, at the default
    margins, with three seeds or more): by default a contender that may be ranked.

    Accuracy is 0.9 in retrained models; ``accuracy=`` is that of the method, seed by seed, and they have as much more
    or less as the verdict asks.
    """
    levels = other.pop("accuracy", None)
    held, left, apart = (_cycled(each, seeds) for each in (HELD, LEFT[verdict], APART[utility]))
    accuracy = [0.9 + each for each in apart] if levels is None else list(levels)
    retrained = [own - each for own, each in zip(accuracy, apart, strict=True)]
    return [
        *rows(method, "memory", left, **other),
        *rows(method, "memory_original", held, **other),
        *rows(method, "accuracy", accuracy, **{"n_samples": 1_000, **other}),
        *rows(method, "retrained_accuracy", retrained, **{"n_samples": 1_000, **other}),
    ]


def _cycled(values: Iterable[float], count: int) -> list[float]:
    each = list(values)
    return [each[number % len(each)] for number in range(count)]


def write_cells(folder: Path, made: Iterable[Mapping[str, Any]]) -> Path:
    """The rows as record files, one for each cell_key."""
    cells: dict[str, list[Mapping[str, Any]]] = {}
    for each in made:
        cells.setdefault(each["cell_key"], []).append(each)
    folder.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(cells.values()):
        records.write(cell, folder / f"{number:06d}.parquet")
    return folder


def later(hours: float) -> datetime:
    return START + timedelta(hours=hours)
