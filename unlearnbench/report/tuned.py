"""The files that `unlearnbench tune` writes: the choice with its evidence, and every setting that was tried.

`tuned.yaml` is the choice for programs and people, `tuning.parquet` has one row per setting with its measurements,
and `tuning.md` the same as tables.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from unlearnbench.leaderboard.tuning_choice import Estimate, Pick, Trial
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.records import cell_rows
from unlearnbench.report.markdown import draw
from unlearnbench.report.text_tables import Table, format_interval
from unlearnbench.report.wording import in_words
from unlearnbench.settings.scenario import canonical
from unlearnbench.suite.suite import Suite
from unlearnbench.system import yaml_values
from unlearnbench.system.escaping import plain
from unlearnbench.system.parquet_files import write_atomically, write_parquet
from unlearnbench.system.version import PROTOCOL_VERSION, __version__

HEADER = """\
# Written by `unlearnbench tune`, replaced by its next call. Measured on validation images, set aside from the training
# images; the test images were not looked at. `chosen` has the parameters that differ from the method's defaults;
# where it is null no setting met the rule, `reason` says why and `closest` which setting missed it by least.
"""
_KEYS = ("suite", "experiment", "dataset", "scenario_id", "method", "method_id", "method_params", "state", "why")
_COUNTS = ("place", "n_seeds", "planned_seeds")


def write(folder: Path, suite: Suite, picks: Sequence[Pick]) -> None:
    """Write or replace tuned.yaml, tuning.parquet and tuning.md in a result folder."""
    about = {"protocol_version": PROTOCOL_VERSION, "unlearnbench": __version__}
    write_parquet(table(suite, picks), folder / "tuning.parquet", {"unlearnbench": json.dumps(about)})
    write_atomically(folder / "tuning.md", markdown(picks).encode())
    text = yaml_values.dump({**about, **choices(suite, picks)}, width=110)
    write_atomically(folder / "tuned.yaml", (HEADER + text).encode())


# --- tuned.yaml ------------------------------------------------------------------------------------------------------


def choices(suite: Suite, picks: Sequence[Pick]) -> dict[str, Any]:
    """The choices as plain values: by experiment, then a list of datasets with their scenarios, then by method."""
    experiments: dict[str, dict[str, Any]] = {}
    for pick in picks:
        if pick.is_reference:
            continue
        first = pick.first
        if first.experiment not in experiments:
            experiments[first.experiment] = {"rule": _rule(suite, pick), "choices": []}
        listed = experiments[first.experiment]["choices"]
        place = {"dataset": first.dataset.id, "scenario": first.scenario_id}
        at = next((each for each in listed if place.items() <= each.items()), None)
        if at is None:
            at = {**place, "methods": {}}
            listed.append(at)
        at["methods"][first.method.info.name] = _choice(pick)
    return {"suite": suite.name, "seed": suite.seed, "experiments": experiments}


def _rule(suite: Suite, pick: Pick) -> dict[str, Any]:
    tune = suite.file.experiments[pick.first.experiment].tune
    assert tune is not None
    return {
        **tune.model_dump(mode="json"),
        "better": METRICS[tune.metric].better,
        "must_forget": pick.rule.must_forget,
        "seeds": pick.rule.seeds,
        "ties": "fewer gradient_steps, then method_id",
    }


def _choice(pick: Pick) -> dict[str, Any]:
    counts: dict[str, Any] = {"tried": len(pick.trials), "met": pick.met, "finalists": pick.finalists}
    if pick.incomplete:
        counts["incomplete"] = pick.incomplete
    if pick.chosen is not None:
        return {**_evidence(pick.chosen, pick, "chosen"), **counts}
    nothing: dict[str, Any] = {"chosen": None, "reason": pick.reason, **counts}
    if pick.closest is not None:
        why = "; ".join(pick.rule.broken(pick.closest))
        nothing["closest"] = {**_evidence(pick.closest, pick, "params"), "why_not": why}
    return nothing


def _evidence(trial: Trial, pick: Pick, name: str) -> dict[str, Any]:
    rule = pick.rule
    bounds = {m: {"bound": bound, **vars(trial.estimates[m])} for m, bound in rule.bounds.items()}
    method = trial.setting.method
    return {
        name: method.params.model_dump(mode="json", exclude_defaults=True),
        "method_id": method.id,
        "metric": {"name": rule.metric, **vars(trial.estimates[rule.metric])},
        "constraints": bounds,
        "records": [cell_rows.path(Path(), cell).name for cell in trial.cells],
    }


# --- tuning.parquet and tuning.md ------------------------------------------------------------------------------------


def table(suite: Suite, picks: Sequence[Pick]) -> pa.Table:
    """One row per setting, best first within its method: state and `why`, and mean, low, high, n of each metric."""
    metrics = _metrics(picks)
    fields = [pa.field(key, pa.string(), nullable=key == "why") for key in _KEYS]
    fields += [pa.field(key, pa.int64(), nullable=False) for key in _COUNTS]
    for name in metrics:
        fields += [pa.field(f"{name}{end}", pa.float64()) for end in ("", "_low", "_high")]
        fields.append(pa.field(f"{name}_n", pa.int64()))
    rows = [
        _row(suite, pick, trial, place, metrics) for pick in picks for place, trial in enumerate(pick.trials, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _row(suite: Suite, pick: Pick, trial: Trial, place: int, metrics: Sequence[str]) -> dict[str, Any]:
    setting, (state, why) = trial.setting, pick.state(trial)
    params = json.dumps(canonical(setting.method.params), sort_keys=True, separators=(",", ":"))
    row: dict[str, Any] = {
        "suite": suite.name,
        "experiment": setting.experiment,
        "dataset": setting.dataset.id,
        "scenario_id": setting.scenario_id,
        "method": setting.method.info.name,
        "method_id": setting.method.id,
        "method_params": params,
        "state": state,
        "why": why,
        "place": place,
        "n_seeds": len(trial.finished),
        "planned_seeds": len(trial.cells),
    }
    for name in metrics:
        if (found := trial.estimates.get(name)) is not None:
            row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": found.n}
    return row


def markdown(picks: Sequence[Pick]) -> str:
    """One table for each experiment, dataset and scenario."""
    places: dict[tuple[str, str, str], list[Pick]] = {}
    for pick in picks:
        first = pick.first
        places.setdefault((first.experiment, first.dataset.id, first.scenario_id), []).append(pick)
    return "\n".join(draw(_table(place, some)) for place, some in places.items())


def _table(place: tuple[str, str, str], picks: Sequence[Pick]) -> Table:
    rule, metrics = picks[0].rule, _metrics(picks)
    rows, notes = [], []
    for pick in picks:
        for number, trial in enumerate(pick.trials, start=1):
            state, why = pick.state(trial)
            cells = [shown(trial.estimates.get(name), name) for name in metrics]
            rows.append(
                (str(number), plain(trial.setting.method.id), state.replace("_", " "), *cells, plain(why or ""))
            )
        if pick.reason is not None and not pick.is_reference:
            notes.append(plain(f"{pick.first.method.info.name}: {pick.reason}"))
    best = f"{'highest' if METRICS[rule.metric].better == 'higher' else 'lowest'} mean {rule.metric}"
    where = f", where {' and '.join(rule.conditions)}" if rule.conditions else ""
    legend = [f"chosen: {best} over {rule.seeds} seeds on validation images{where}"]
    legend.append("mean ± 95 % interval over the seeds that a setting was run with; # within the method, best first")
    headers = ("#", "method", "state", *metrics, "why not")
    return Table(plain(" / ".join(map(in_words, place))), headers, tuple(rows), tuple(legend), tuple(notes))


def shown(estimate: Estimate | None, metric: str) -> str:
    """An estimate as text: ``0.93 ± 0.02``."""
    if estimate is None:
        return format_interval(None, None, None)
    return format_interval(estimate.mean, estimate.low, estimate.high, METRICS[metric].unit)


def _metrics(picks: Sequence[Pick]) -> list[str]:
    return list(dict.fromkeys(name for pick in picks for name in pick.rule.shown))
