"""A finished cell -> the rows of its record file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from unlearnbench.metrics.catalog import METRICS, describe
from unlearnbench.records import writing
from unlearnbench.records.folder import is_intact
from unlearnbench.records.schema import FAILED, MOST_SCORES, SCHEMA_VERSION
from unlearnbench.settings.scenario import canonical
from unlearnbench.suite.plan import Cell
from unlearnbench.system import regular_files
from unlearnbench.system.escaping import lines, visible
from unlearnbench.system.provenance import git_state, versions
from unlearnbench.system.version import PROTOCOL_VERSION

Failure = Literal["failed", "timeout"]


def path(folder: Path, cell: Cell, failed: bool = False) -> Path:
    """A cell's record file."""
    return folder / file_name(cell, failed)


def file_name(cell: Cell, failed: bool = False) -> str:
    """The name of a cell's record file. A failure has one of its own, so that it is never taken for a result."""
    return f"{cell.key}{FAILED if failed else '.parquet'}"


def write_result(folder: Path, cell: Cell, stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Record a cell from the values of its stages' artifacts (stage -> values)."""
    last = stages[cell.last_stage]["provenance"]
    common = _common(cell, last["device"], datetime.fromisoformat(last["started_at"]))
    measured = stages["timing" if cell.setting.timing else "unlearn"]
    common |= {"sizes": json.dumps(measured["sizes"]), "status": "ok"}
    # Of the code that computed the numbers, which need not be the code that writes them down.
    hashes = [last["plugin_sha256"][kind] for kind in ("method", "attack") if kind in last["plugin_sha256"]]
    common |= {"git_sha": last["git_sha"], "git_dirty": last["git_dirty"], "versions": json.dumps(last["versions"]),
               "plugin_sha256": "+".join(hashes)}  # fmt: skip
    common["train_seconds"] = stages["train"]["seconds"]
    peaks = [values["peak_bytes"] for values in stages.values() if values["peak_bytes"] is not None]
    common["peak_bytes"] = max(peaks, default=None)
    rows = []
    if cell.setting.timing is not None:
        # Nowhere else: the time of many replicas, or beside other work, is not that of an erasure.
        common["unlearn_seconds"], low, high, n = measured["unlearn_seconds"]
        rows.append(_row(common, "unlearn_seconds", common["unlearn_seconds"], low, high, n))
    elif cell.setting.attack is None:
        for name, (value, n) in measured["measures"].items():
            rows.append(_row(common, name, value, n=n))
        for step, name, value, n in measured["trajectory"]:
            rows.append({**_row(common, name, value, n=n), "step": step})
    else:
        common["attack_seconds"] = stages["attack"]["seconds"]
        for name, (value, low, high, n) in stages["attack"]["scores"].items():
            rows.append(_row(common, name, value, low, high, n))
            if name == "auc":
                rows[-1] |= _membership(stages["attack"])
        # So that a record of an attack says how much work the attacked erasures were.
        for name, metric in METRICS.items():
            if metric.good == "cost" and name in measured["measures"]:
                value, n = measured["measures"][name]
                rows.append(_row(common, name, value, n=n))
    writing.write(rows, path(folder, cell), _about(cell), cell.classes)
    path(folder, cell, failed=True).unlink(missing_ok=True)


def write_failure(folder: Path, cell: Cell, error: str, device: str, at: datetime, status: Failure = "failed") -> bool:
    """Record that a cell failed: one row with a null value. Where there is a result nothing is recorded: it stays.

    The result may be another run's that came first, or an earlier one that --force was to replace: it has the cell's
    key, and so was computed from the same. A result is looked for last here, and a failure removed last where a result
    is written, so that in whichever order two runs do this, the result is all that is left.

    Returns:
        Whether the failure is what counts.
    """
    row = {**_common(cell, device, at), "status": status, "error": error}
    writing.write([_row(row, "status")], path(folder, cell, failed=True), _about(cell), cell.classes)
    if not is_intact(path(folder, cell)):
        return True
    path(folder, cell, failed=True).unlink(missing_ok=True)
    return False


def write_skip(folder: Path, cell: Cell, device: str, at: datetime) -> None:
    """Record why a plugin can't take part in a cell's scenario."""
    row = {**_common(cell, device, at), "status": "skipped", "error": cell.skip}
    writing.write([_row(row, "status")], path(folder, cell), _about(cell), cell.classes)


def log(file: Path, what: str, trace: str) -> None:
    """Add a failure with its traceback to the error log."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = f"--- {datetime.now(UTC).isoformat()} {visible(what)}\n{lines(trace.rstrip())}\n\n"
    regular_files.append(file, text)


def _row(
    common: Mapping[str, Any], metric: str, value: float | None = None, low: float | None = None,
    high: float | None = None, n: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    direction = describe(metric).direction if metric != "status" else ""
    samples = None if value is None else n
    return {**common, "metric": metric, "value": value, "low": low, "high": high, "n_samples": samples,
            "direction": direction}  # fmt: skip


def _membership(attacked: Mapping[str, Any]) -> dict[str, list[float]]:
    """The columns of an attack's scores; none where they are not about erased images, or too many."""
    found = attacked.get("membership")
    if found is None or max(map(len, found.values())) > MOST_SCORES:
        return {}
    return {f"scores_{of}": scores for of, scores in found.items()}


def _about(cell: Cell) -> dict[str, int]:
    """The one part of a cell's recipe that has no column."""
    return {"suite_seed": cell.setting.suite_seed}


def _common(cell: Cell, device: str, at: datetime) -> dict[str, Any]:
    """Everything a row says whatever its metric."""
    setting, attack = cell.setting, cell.setting.attack
    commit, dirty = git_state()
    chosen = [setting.dataset, setting.method, *([attack] if attack else [])]
    plugins = [setting.method.info.sha256, *([attack.info.sha256] if attack else [])]
    return {
        "suite": setting.suite,
        "experiment": setting.experiment,
        "dataset": setting.dataset.info.name,
        "dataset_params": json.dumps(canonical(setting.dataset.params)),
        "scenario": json.dumps(canonical(setting.scenario)),
        "scenario_id": setting.scenario_id,
        "method": setting.method.info.name,
        "method_params": json.dumps(canonical(setting.method.params)),
        "method_id": setting.method.id,
        "attack": attack.info.name if attack else None,
        "attack_params": json.dumps(canonical(attack.params)) if attack else None,
        "attack_id": attack.id if attack else None,
        "tier": cell.tier,
        "observation": cell.observation,
        "n_shadows": cell.shadows,
        "seed": setting.seed,
        "step": None,
        "error": None,
        "train_seconds": None,
        "unlearn_seconds": None,
        "attack_seconds": None,
        "peak_bytes": None,
        "device": device,
        "sizes": "{}",
        "cell_key": cell.key,
        "git_sha": commit,
        "git_dirty": dirty,
        "plugin_sha256": "+".join(plugins),  # method, attack
        "data_sha256": cell.data_sha256,
        "versions": json.dumps(versions(*(package for each in chosen for package in each.info.packages))),
        "started_at": at,
        "protocol_version": PROTOCOL_VERSION,
        "schema_version": SCHEMA_VERSION,
        "reference": cell.reference,
        "own_original": cell.own_original,
        "ranked_by": None if cell.ranks_by is None else ",".join(cell.ranks_by),
        "scores_erased": None,
        "scores_unseen": None,
    }
