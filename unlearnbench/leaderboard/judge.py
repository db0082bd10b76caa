"""From contenders and their values to verdicts on forgetting and accuracy, one row per contender.

Nothing is measured here: margins come from the scenarios in the records, values from their rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from unlearnbench.leaderboard import verdicts
from unlearnbench.leaderboard.contenders import NOBODY, by_table
from unlearnbench.leaderboard.seeds import SeedValues, there
from unlearnbench.leaderboard.verdicts import Accuracy, Forgetting
from unlearnbench.settings.scenario import Judging, StopRule

COLUMNS: Mapping[str, pa.DataType] = {
    "reference": pa.bool_(),  # whether the method is a reference
    "verdict": pa.string(),  # a Forgetting
    "verdict_half": pa.string(),  # the same with half and with twice the margin
    "verdict_double": pa.string(),
    "forgot_seeds": pa.int64(),  # seeds within the margin, out of `judged_seeds`
    "judged_seeds": pa.int64(),
    "utility": pa.string(),  # an Accuracy
    "utility_half": pa.string(),
    "utility_double": pa.string(),
    "accuracy_to_retrain": pa.float64(),
    "accuracy_to_retrain_low": pa.float64(),
    "accuracy_to_retrain_high": pa.float64(),
}
"""The columns made here, and their types."""

JUDGED_FROM = 2
"""The first protocol version whose records hold what verdicts need."""

_SCALES = {"verdict": 1.0, "verdict_half": 0.5, "verdict_double": 2.0}
"""The factors of the margin, by column."""


def judged(contenders: pd.DataFrame, seeds: SeedValues, failed: pd.Series) -> pd.DataFrame:
    """`COLUMNS` of every contender; an attacked one has the verdicts of the same models without the attack.

    Args:
        failed: the number of seeds without a result, by contender. They count as seeds that did not forget, and no
            verdict is "forgotten" or "kept" while there are any: a method must not pass by failing where it does badly.
    """
    table = pd.DataFrame({name: pd.Series(None, index=contenders.index, dtype=object) for name in COLUMNS})
    table["reference"] = contenders["reference_method"]
    retrain, originals = by_table(contenders, "retrain"), by_table(contenders, "original")
    scenarios: dict[str, tuple[Judging, float | None]] = {}
    rows = {}
    bare = contenders[contenders["attack"].isna()]
    keys = (bare[name] for name in ("scenario", "protocol_version", "own_original", "table"))
    for number, text, version, own, place in zip(bare.index, *keys, strict=True):
        if text not in scenarios:
            scenarios[text] = margins_of(text)
        margins, threshold = scenarios[text]
        if version < JUDGED_FROM:
            rows[number] = {"verdict": Forgetting.BEFORE.value}
        else:
            other = NOBODY if own is True else retrain.get(place, NOBODY)
            # A method's own original may hold as much memory as the method likes to discard later.
            held = number if own is not True else originals.get(place, NOBODY)
            missing = int(failed.get(number, 0))
            forgot = _forgetting(number, held, seeds, margins, threshold, missing)
            rows[number] = forgot | _accuracy(number, other, seeds, margins)
            if missing:
                rows[number] = {name: _withheld(value) for name, value in rows[number].items()}
    for number, base in contenders["base"].items():
        if base in rows:
            rows[number] = rows[base]
    found = pd.DataFrame.from_dict(rows, orient="index")
    for name in found.columns:
        table.loc[found.index, name] = found[name].astype(object)
    return table


def margins_of(scenario: str) -> tuple[Judging, float | None]:
    """The margins of a scenario, and the accuracy on stamped images below which they count as forgotten."""
    values = json.loads(scenario)
    values = values if isinstance(values, dict) else {}
    margins, stop = values.get("judging"), StopRule.model_validate(values.get("stop") or {})
    threshold = stop.threshold if values.get("backdoor") else None
    return Judging.model_validate(margins or {}), threshold


def _withheld(value: Any) -> Any:
    passed = (Forgetting.FORGOTTEN.value, Accuracy.KEPT.value)
    return Forgetting.OPEN.value if isinstance(value, str) and value in passed else value


def _forgetting(
    number: int, held: int, seeds: SeedValues, margins: Judging, threshold: float | None, failed: int
) -> dict[str, Any]:
    """The verdicts on forgetting, and the numbers of seeds.

    Args:
        held: the contender whose original's memory counts if it is the smaller one, or `NOBODY`.
        failed: the number of seeds without a result.
    """
    if threshold is not None:
        return _forgetting_stamped(number, seeds, threshold, failed)
    memory, square = seeds.of("memory")[number], seeds.of("memory_square")[number]
    original, original_square = (
        np.minimum(seeds.of(name)[number], seeds.of(name)[held]) if held >= 0 else np.full(seeds.shape[1], np.nan)
        for name in ("memory_original", "memory_square_original")
    )
    both = ~np.isnan(memory) & ~np.isnan(original)
    if not both.any():
        return {"verdict": Forgetting.NOT_JUDGED.value}
    memory, original, square, original_square = (x[both] for x in (memory, original, square, original_square))
    images = seeds.behind("memory", number) * len(memory)
    found = {}
    for name, scale in _SCALES.items():
        margin = scale * margins.memory
        verdict = verdicts.forgetting(memory, original, margin, images)
        if verdict == Forgetting.FORGOTTEN and verdicts.uneven(square, original_square, margin):
            verdict = Forgetting.UNEVEN
        found[name] = verdict.value
    met = verdicts.forgetting_seeds(memory, original, margins.memory)
    return {**found, "forgot_seeds": met, "judged_seeds": len(memory) + failed}


def _forgetting_stamped(number: int, seeds: SeedValues, threshold: float, failed: int) -> dict[str, Any]:
    """The same for stamped images, where forgetting means misclassifying."""
    accuracy = there(seeds.of("backdoor_accuracy")[number])
    if not len(accuracy):
        return {"verdict": Forgetting.NOT_JUDGED.value}
    accuracy = np.concatenate([accuracy, np.ones(failed)])
    found = {name: verdicts.backdoor_forgetting(accuracy, scale * threshold) for name, scale in _SCALES.items()}
    counts = {"forgot_seeds": found["verdict"][1], "judged_seeds": len(accuracy)}
    return {name: verdict.value for name, (verdict, _) in found.items()} | counts


def _accuracy(number: int, retrain: int, seeds: SeedValues, margins: Judging) -> dict[str, Any]:
    """Compared with models of the method's own architecture that were retrained for it, else with retraining in its
    table."""
    accuracy, other = seeds.of("accuracy")[number], seeds.of("retrained_accuracy")[number]
    if np.isnan(other).all() and retrain >= 0:
        other = seeds.of("accuracy")[retrain]
    apart = there(accuracy - other)
    if not len(apart):
        return {"utility": Accuracy.NOT_JUDGED.value}
    images = seeds.behind("accuracy", number)
    mean, low, high = verdicts.interval(apart, 1 / images if images else 0.0)
    places = {"utility": 1.0, "utility_half": 0.5, "utility_double": 2.0}
    kept = {
        name: verdicts.accuracy_kept(apart, scale * margins.accuracy, images).value for name, scale in places.items()
    }
    return {
        **kept, "accuracy_to_retrain": mean, "accuracy_to_retrain_low": low, "accuracy_to_retrain_high": high,
    }  # fmt: skip
