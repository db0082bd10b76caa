"""From a finished cell to the rows of its record file."""

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
    """The name of a cell's record file. A failure has its own, so that it is never mistaken for a result."""
    return f"{cell.key}{FAILED if failed else '.parquet'}"


def write_result(folder: Path, cell: Cell, stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the record of a cell, given the values of its artifacts by stage."""
    last = stages[cell.last_stage]["provenance"]
    common = _common(cell, last["device"], datetime.fromisoformat(last["started_at"]))
    measured = stages["timing" if cell.setting.timing else "unlearn"]
    common |= {"sizes": json.dumps(measured["sizes"]), "status": "ok"}
    # Hashes of the code that computed the numbers, which need not be the code that records them.
    hashes = [last["plugin_sha256"][kind] for kind in ("method", "attack") if kind in last["plugin_sha256"]]
    common |= {"git_sha": last["git_sha"], "git_dirty": last["git_dirty"], "versions": json.dumps(last["versions"]),
               "plugin_sha256": "+".join(hashes)}  # fmt: skip
    common["train_seconds"] = stages["train"]["seconds"]
    peaks = [values["peak_bytes"] for values in stages.values() if values["peak_bytes"] is not None]
    common["peak_bytes"] = max(peaks, default=None)
    rows = []
    if cell.setting.timing is not None:
        # Only here: the time of many replicas, or one measured beside other work, is not the time of an erasure.
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
        # So that the record of an attack states the work done by the erasures that it attacked.
        for name, metric in METRICS.items():
            if metric.good == "cost" and name in measured["measures"]:
                value, n = measured["measures"][name]
                rows.append(_row(common, name, value, n=n))
    writing.write(rows, path(folder, cell), _about(cell), cell.classes)
    path(folder, cell, failed=True).unlink(missing_ok=True)


def write_failure(folder: Path, cell: Cell, error: str, device: str, at: datetime, status: Failure = "failed") -> bool:
    """Record that a cell failed, as one row with a null value. An existing result stays, and the failure is dropped.

    That result may come from another run that was faster, or from an earlier one that --force was meant to replace. It
    has the same key, so it was computed from the same inputs. This function looks for a result last, and writing a
    result removes the failure last: in whichever order two runs do this, only the result is left.

    Returns:
        Whether the failure counts, as there is no result.
    """
    row = {**_common(cell, device, at), "status": status, "error": error}
    writing.write([_row(row, "status")], path(folder, cell, failed=True), _about(cell), cell.classes)
    if not is_intact(path(folder, cell)):
        return True
    path(folder, cell, failed=True).unlink(missing_ok=True)
    return False


def write_skip(folder: Path, cell: Cell, device: str, at: datetime) -> None:
    """Record why a plugin can't take part in the scenario of a cell."""
    row = {**_common(cell, device, at), "status": "skipped", "error": cell.skip}
    writing.write([_row(row, "status")], path(folder, cell), _about(cell), cell.classes)


def log(file: Path, what: str, trace: str) -> None:
    """Append a failure and its traceback to the error log."""
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
    """The columns with an attack's scores; empty if the scores do not concern erased images or are too many."""
    found = attacked.get("membership")
    if found is None or max(map(len, found.values())) > MOST_SCORES:
        return {}
    return {f"scores_{of}": scores for of, scores in found.items()}


def _about(cell: Cell) -> dict[str, int]:
    """The one part of a cell's recipe that has no column of its own."""
    return {"suite_seed": cell.setting.suite_seed}


def _common(cell: Cell, device: str, at: datetime) -> dict[str, Any]:
    """The values that all rows of a cell share."""
    setting, attack = cell.setting, cell.setting.attack
    commit, dirty = git_state()
    chosen = [setting.dataset, setting.network, setting.method, *([attack] if attack else [])]
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
        "versions": json.dumps(versions(*(package for each in chosen for package in each.packages))),
        "started_at": at,
        "protocol_version": PROTOCOL_VERSION,
        "schema_version": SCHEMA_VERSION,
        "reference": cell.reference,
        "own_original": cell.own_original,
        "ranked_by": None if cell.ranks_by is None else ",".join(cell.ranks_by),
        "scores_erased": None,
        "scores_unseen": None,
    }
