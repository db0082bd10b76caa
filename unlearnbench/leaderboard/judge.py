"""Contenders and their per-seed values -> verdicts, places and what is shown to leak, one row a contender.

Nothing is measured here: margins stand in the records' scenarios, values in their rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from unlearnbench.leaderboard import ranking, verdicts
from unlearnbench.leaderboard.verdicts import Accuracy, Beside, Forgetting
from unlearnbench.metrics.catalog import METRICS, describe
from unlearnbench.metrics.intervals import Floats
from unlearnbench.settings.scenario import Judging, StopRule

COLUMNS: Mapping[str, pa.DataType] = {
    "reference": pa.bool_(),  # whether it is there to be compared with
    "verdict": pa.string(),  # a Forgetting
    "verdict_half": pa.string(),  # the same under half and double of the margin
    "verdict_double": pa.string(),
    "forgot_seeds": pa.int64(),  # seeds within the margin, of `judged_seeds`
    "judged_seeds": pa.int64(),
    "utility": pa.string(),  # an Accuracy
    "utility_half": pa.string(),
    "utility_double": pa.string(),
    "accuracy_to_retrain": pa.float64(),
    "accuracy_to_retrain_low": pa.float64(),
    "accuracy_to_retrain_high": pa.float64(),
    "rank": pa.int64(),
    "rank_metric": pa.string(),
    "near_best": pa.bool_(),  # whether it can't be told from the best of its table
    "beside_retrain": pa.string(),  # a Beside, of what the table ranks by
    "power": pa.float64(),  # of the table's tests, for a difference of `power_for`
    "power_for": pa.float64(),
}
"""The columns that are made here, and their types."""

JUDGED_FROM = 2
"""The protocol version from which records hold what verdicts are made of."""

ADVANTAGE = "advantage"
_NO_ERASED_IMAGE = ("representation", "representation_sampled", "blind")  # attacks, where records do not say


INVERTED = 0.025
"""Level of the test that an AUC is below one half."""

_JUDGED = (
    ADVANTAGE, "memory", "memory_original", "memory_square", "memory_square_original", "retrained_accuracy", "accuracy",
    "backdoor_accuracy",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seeds:
    """Values of C contenders by metric, f64[C, S] with NaN where there is none, the images behind one, f64[C], and the
    numbers of the S seeds."""

    values: Mapping[str, Floats]
    images: Mapping[str, Floats]
    numbers: Sequence[int]
    contenders: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.contenders, len(self.numbers)

    def of(self, metric: str) -> Floats:
        return self.values.get(metric, np.full(self.shape, np.nan))

    def behind(self, metric: str, contender: int) -> int:
        return int(self.images[metric][contender]) if metric in self.images else 0

    def trivial(self, metric: str) -> Floats:
        """What an attacker gets for nothing, seed by seed."""
        trivial = describe(metric).trivial
        return (
            self.of(trivial)
            if isinstance(trivial, str)
            else np.full(self.shape, np.nan if trivial is None else trivial)
        )


def seeds_of(contenders: pd.DataFrame, values: pd.DataFrame) -> Seeds:
    """What judging looks at.

    Args:
        contenders: indexed 0, 1, ...
        values: columns contender, seed, metric, value, n.
    """
    found_by = [metric for metric in METRICS.values() if metric.leak]
    trivial = [metric.trivial for metric in found_by if isinstance(metric.trivial, str)]
    needed = values[values["metric"].isin([*_JUDGED, *(metric.name for metric in found_by), *trivial])]
    columns = sorted(needed["seed"].unique())
    found, images = {}, {}
    for metric, part in needed.groupby("metric"):
        table = part.pivot(index="contender", columns="seed", values="value")
        found[str(metric)] = table.reindex(index=contenders.index, columns=columns).to_numpy(dtype=np.float64)
        behind = part.groupby("contender")["n"].max().reindex(contenders.index)
        images[str(metric)] = behind.fillna(0).to_numpy(dtype=np.float64)
    return Seeds(found, images, columns, len(contenders))


# --- verdicts ---------------------------------------------------------------------------------------------------------


def judged(contenders: pd.DataFrame, seeds: Seeds, failed: pd.Series) -> pd.DataFrame:
    """`COLUMNS` but for the ranks: of what was not attacked, and for attacked contenders those of the same models.

    Args:
        failed: by contender the seeds without a result. They count as seeds that did not forget, and while there are
            any nothing is said to be forgotten or kept: a method that fails where it does badly must not pass for it.
    """
    table = pd.DataFrame({name: pd.Series(None, index=contenders.index, dtype=object) for name in COLUMNS})
    table["reference"] = contenders["reference_method"]
    retrain, originals = _retrain(contenders), _of_table(contenders, "original")
    scenarios: dict[str, tuple[Judging, float | None]] = {}
    rows = {}
    bare = contenders[contenders["attack"].isna()]
    keys = (bare[name] for name in ("scenario", "protocol_version", "own_original", "table"))
    for number, text, version, own, place in zip(bare.index, *keys, strict=True):
        if text not in scenarios:
            scenarios[text] = _margins(text)
        margins, threshold = scenarios[text]
        if version < JUDGED_FROM:
            rows[number] = {"verdict": Forgetting.BEFORE.value}
        else:
            other = -1 if own is True else retrain.get(place, -1)
            # What a method trained itself may hold as much memory as it likes to throw away.
            held = number if own is not True else originals.get(place, -1)
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


def _margins(scenario: str) -> tuple[Judging, float | None]:
    """What a scenario declares, and the accuracy on stamped images under which it counts as forgotten."""
    values = json.loads(scenario)
    values = values if isinstance(values, dict) else {}
    margins, stop = values.get("judging"), StopRule.model_validate(values.get("stop") or {})
    threshold = stop.threshold if values.get("backdoor") else None
    return Judging.model_validate(margins or {}), threshold


def _withheld(value: Any) -> Any:
    passed = (Forgetting.FORGOTTEN.value, Accuracy.KEPT.value)
    return Forgetting.OPEN.value if isinstance(value, str) and value in passed else value


def _retrain(contenders: pd.DataFrame) -> dict[int, int]:
    """For each table its retraining."""
    return _of_table(contenders, "retrain")


def _of_table(contenders: pd.DataFrame, method_id: str) -> dict[int, int]:
    """For each table the contender of this id."""
    there = contenders["method_id"] == method_id
    return dict(zip(contenders.loc[there, "table"], contenders.index[there], strict=True))


def _forgetting(
    number: int, held: int, seeds: Seeds, margins: Judging, threshold: float | None, failed: int
) -> dict[str, Any]:
    """The verdicts and seeds.

    Args:
        held: the contender whose original's memory counts if it is the smaller one; -1: there is none.
        failed: seeds without a result.
    """
    places = {"verdict": 1.0, "verdict_half": 0.5, "verdict_double": 2.0}
    if threshold is not None:
        accuracy = _there(seeds.of("backdoor_accuracy")[number])
        if not len(accuracy):
            return {"verdict": Forgetting.NOT_JUDGED.value}
        accuracy = np.concatenate([accuracy, np.ones(failed)])
        found = {name: verdicts.backdoor_forgetting(accuracy, scale * threshold) for name, scale in places.items()}
        counts = {"forgot_seeds": found["verdict"][1], "judged_seeds": len(accuracy)}
        return {name: verdict.value for name, (verdict, _) in found.items()} | counts
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
    verdict = {}
    for name, scale in places.items():
        margin = scale * margins.memory
        told = verdicts.forgetting(memory, original, margin, images)
        if told == Forgetting.FORGOTTEN and verdicts.uneven(square, original_square, margin):
            told = Forgetting.UNEVEN
        verdict[name] = told.value
    met = verdicts.forgetting_seeds(memory, original, margins.memory)
    return {**verdict, "forgot_seeds": met, "judged_seeds": len(memory) + failed}


def _accuracy(number: int, retrain: int, seeds: Seeds, margins: Judging) -> dict[str, Any]:
    """Beside models retrained for it, of the method's own architecture; else beside retraining in its table."""
    accuracy, other = seeds.of("accuracy")[number], seeds.of("retrained_accuracy")[number]
    if np.isnan(other).all() and retrain >= 0:
        other = seeds.of("accuracy")[retrain]
    apart = _there(accuracy - other)
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


def _there(values: Floats) -> Floats:
    return values[~np.isnan(values)]


# --- the attacker's advantage -----------------------------------------------------------------------------------------


def advantages(contenders: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Rows of the metric `advantage`: columns contender, seed, metric, value, n.

    Of what an attack infers (image, label, membership) the largest (score - trivial) / (1 - trivial), at least 0: the
    share that the attacker gains of all that there is to gain beyond looking at nothing.
    """
    seeds = seeds_of(contenders, values)
    found, behind = np.full(seeds.shape, np.nan), np.zeros(seeds.shape[0])
    for metric in _inferred():
        asked = np.array([metric in ranked_by(contenders, number, seeds) for number in contenders.index], dtype=bool)
        trivial = seeds.trivial(metric)
        with np.errstate(invalid="ignore", divide="ignore"):
            gained = np.clip((seeds.of(metric) - trivial) / (1 - trivial), 0.0, None)
        gained[~asked] = np.nan
        found = np.fmax(found, gained)
        behind = np.fmax(behind, np.where(asked, seeds.images.get(metric, np.zeros(len(asked))), 0))
    rows, columns = np.nonzero(~np.isnan(found))
    return pd.DataFrame(
        {
            "contender": contenders.index.to_numpy()[rows],
            "seed": np.array(seeds.numbers, dtype=np.int64)[columns],
            "metric": ADVANTAGE,
            "value": found[rows, columns],
            "n": behind[rows],
        }
    )


def _inferred() -> list[str]:
    """What an attack may infer of erased images: the metrics that advantages are made of."""
    return [name for name, metric in METRICS.items() if metric.leak == "inferred"]


def ranked_by(contenders: pd.DataFrame, number: int, seeds: Seeds) -> tuple[str, ...]:
    """The metrics of what an attack infers: as it declares, else those of its evidence; empty if of no erased image."""
    declared, attack = contenders.at[number, "ranked_by"], contenders.at[number, "attack"]
    if not isinstance(attack, str):
        return ()
    if isinstance(declared, str):
        names = tuple(name for name in declared.split(",") if name)
    elif attack in _NO_ERASED_IMAGE:
        return ()
    else:
        measured = [each for each in METRICS.values() if each.leak and not np.isnan(seeds.of(each.name)[number]).all()]
        names = tuple(each.name for each in measured if each.leak == "inferred")
        names = names or tuple(each.name for each in measured[-1:])
    return tuple(_superseding(name, number, seeds) for name in names)


def _superseding(name: str, number: int, seeds: Seeds) -> str:
    """The metric that stands in this one's place, if it was measured."""
    other = METRICS[name].superseded_by if name in METRICS else None
    return name if other is None or np.isnan(seeds.of(other)[number]).all() else other


# --- ranks ------------------------------------------------------------------------------------------------------------


def ranked(contenders: pd.DataFrame, state: pd.DataFrame, seeds: Seeds, failed: pd.Series) -> pd.DataFrame:
    """The columns rank, rank_metric, near_best, beside_retrain, power and power_for.

    Args:
        state: what `judged` gave.
        failed: by contender the seeds without a result. Only those that have all seeds of their table are ranked: the
            best seeds of one say nothing beside all of another.
    """
    names = ["rank", "rank_metric", "near_best", "beside_retrain", "power", "power_for"]
    table = pd.DataFrame({name: pd.Series(None, index=contenders.index, dtype=object) for name in names})
    able = (
        (state["verdict"] == Forgetting.FORGOTTEN.value)
        & (state["utility"] == Accuracy.KEPT.value)
        & ~state["reference"].astype(bool)
    )
    retrain = _retrain(contenders)
    for number, rows in contenders.groupby("table").groups.items():
        metric = _rank_metric(contenders, rows, seeds)
        if metric is None:
            continue
        table.loc[rows, "rank_metric"] = metric
        margins, _ = _margins(str(contenders.at[rows[0], "scenario"]))
        # Distances to retrained models are in nats: no margin is declared for them.
        least = {"accuracy": margins.accuracy, ADVANTAGE: margins.leak}.get(metric)
        there = ~np.isnan(seeds.of(metric)[rows])
        whole = there[:, there.any(0)].all(1) & (failed.reindex(rows).fillna(0).to_numpy() == 0)
        if metric != "accuracy":  # a leak of another architecture is compared with nothing
            whole &= contenders.loc[rows, "own_original"].to_numpy() != True  # noqa: E712
        some = rows[able[rows].to_numpy() & whole]
        values, floor = seeds.of(metric), _floor(metric, seeds, rows)
        for contender, standing in zip(
            some, ranking.standings(values[some], describe(metric).better, floor), strict=True
        ):
            if standing is not None:
                table.at[contender, "rank"], table.at[contender, "near_best"] = standing.place, standing.near_best
        other = retrain.get(int(str(number)), -1)
        compared = [*some, other] if other >= 0 else [*some]
        if least is not None:
            table.loc[rows, "power_for"] = least
            table.loc[rows, "power"] = ranking.power(values[compared], least, floor)
        if metric == ADVANTAGE and other >= 0:
            for contender in rows[rows != other]:
                if contenders.at[contender, "own_original"] is not True:
                    apart = _there(values[contender] - values[other])
                    if len(apart):
                        beside = verdicts.beside_retraining(apart, margins.leak, floor)
                        if beside == Beside.NO_WORSE and _is_inverted(seeds.of("auc")[contender]):
                            beside = Beside.OPEN
                        table.at[contender, "beside_retrain"] = beside.value
    return table


def _is_inverted(auc: Floats) -> bool:
    """Whether an attack is shown to be right by being wrong: who turns its answers round has an advantage."""
    return verdicts.one_sided(0.5 - _there(auc)) < INVERTED


def _rank_metric(contenders: pd.DataFrame, rows: pd.Index, seeds: Seeds) -> str | None:
    """What a table ranks by; None if nothing was measured, or of no erased image."""
    if contenders.loc[rows, "attack"].isna().all():
        return "accuracy" if not np.isnan(seeds.of("accuracy")[rows]).all() else None
    named = [ranked_by(contenders, number, seeds) for number in rows]
    names = next((each for each in named if each), ())
    if any(name in _inferred() for name in names):
        return ADVANTAGE
    return next((name for name in names if name in METRICS and not np.isnan(seeds.of(name)[rows]).all()), None)


def _floor(metric: str, seeds: Seeds, rows: pd.Index) -> float:
    """The least standard error of a mean difference: one image's. Test images are the same for all seeds."""
    images = max((seeds.behind(metric, number) for number in rows), default=0)
    if not images or describe(metric).unit != "share":
        return 0.0
    counts = (~np.isnan(seeds.of(metric)[rows])).sum(1).max(initial=1)
    return float(1 / images if metric == "accuracy" else 1 / (images * max(1, counts)))


# --- what is shown to leak --------------------------------------------------------------------------------------------


def leak_p_values(contenders: pd.DataFrame, seeds: Seeds, metric: str) -> tuple[Floats, Floats]:
    """One-sided p of each contender: that the attack beats the trivial attacker, and that it does so by more than the
    same attack on retraining, both scores clipped at the trivial attacker's: f64[C] each, NaN where there is nothing to
    compare with."""
    sign = 1.0 if describe(metric).better == "lower" else -1.0
    values, trivial = sign * seeds.of(metric), sign * seeds.trivial(metric)
    beyond, retrain = np.full(seeds.shape[0], np.nan), np.full(seeds.shape[0], np.nan)
    clipped = np.fmax(values, trivial) if not np.isnan(trivial).all() else values
    clipped[np.isnan(values)] = np.nan
    references = contenders["reference"].to_numpy(dtype=np.int64)
    for number in np.flatnonzero(~np.isnan(values).all(1)):
        floor = _floor(metric, seeds, pd.Index([number]))
        if len(_there(values[number] - trivial[number])):
            beyond[number] = verdicts.one_sided(values[number] - trivial[number], floor)
        other = references[number]
        if other >= 0 and len(_there(clipped[number] - clipped[other])):
            retrain[number] = verdicts.one_sided(clipped[number] - clipped[other], floor)
    return beyond, retrain
