"""The columns of a record, and the error for a record that breaks their rules."""

from __future__ import annotations

import pyarrow as pa

from unlearnbench.system.errors import InputError

SCHEMA_VERSION = 2
FAILED = ".failed.parquet"  # after a cell's key: a failure has a file of its own, and a result beside it counts
MOST_SCORES = 1_000_000  # of either kind in a record; with more, rates need no pooling
MOST_ROWS = 5_000  # of a record: every metric once, and four at each point of the longest trajectory (settings.py)
STATUSES = ("ok", "failed", "timeout", "skipped", "not_run")
CELL = ("suite", "experiment", "dataset", "dataset_params", "scenario_id", "method_id", "attack_id", "seed")
"""The columns that identify a cell, whatever it was computed from."""

JSON_COLUMNS = ("dataset_params", "scenario", "method_params", "attack_params", "sizes", "versions")

_NULLABLE = True


def _field(name: str, kind: pa.DataType, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


_FIRST: pa.Schema = pa.schema(
    [
        _field("suite", pa.string()),
        _field("experiment", pa.string()),
        _field("dataset", pa.string()),
        _field("dataset_params", pa.string()),  # JSON
        _field("scenario", pa.string()),  # JSON
        _field("scenario_id", pa.string()),
        _field("method", pa.string()),
        _field("method_params", pa.string()),  # JSON
        _field("method_id", pa.string()),  # the name and the parameters that differ from the defaults
        _field("attack", pa.string(), _NULLABLE),  # null: measured without an adversary
        _field("attack_params", pa.string(), _NULLABLE),  # JSON
        _field("attack_id", pa.string(), _NULLABLE),
        _field("tier", pa.string(), _NULLABLE),
        _field("observation", pa.string(), _NULLABLE),
        _field("n_shadows", pa.int64(), _NULLABLE),
        _field("seed", pa.int64()),
        _field("metric", pa.string()),
        _field("step", pa.int64(), _NULLABLE),  # null: the final value; else a point of a trajectory
        _field("value", pa.float64(), _NULLABLE),
        _field("low", pa.float64(), _NULLABLE),  # bootstrap over images within this seed
        _field("high", pa.float64(), _NULLABLE),
        _field("n_samples", pa.int64(), _NULLABLE),
        _field("direction", pa.string()),
        _field("status", pa.string()),
        _field("error", pa.string(), _NULLABLE),
        _field("train_seconds", pa.float64(), _NULLABLE),
        _field("unlearn_seconds", pa.float64(), _NULLABLE),
        _field("attack_seconds", pa.float64(), _NULLABLE),
        _field("peak_bytes", pa.int64(), _NULLABLE),
        _field("device", pa.string()),
        _field("sizes", pa.string()),  # JSON: images in every set
        _field("cell_key", pa.string()),
        _field("git_sha", pa.string(), _NULLABLE),
        _field("git_dirty", pa.bool_(), _NULLABLE),
        _field("plugin_sha256", pa.string()),
        _field("data_sha256", pa.string()),
        _field("versions", pa.string()),  # JSON: packages
        _field("started_at", pa.timestamp("us", tz="UTC")),
        _field("protocol_version", pa.int64()),
        _field("schema_version", pa.int64()),
    ]
)

SCORES = ("scores_erased", "scores_unseen")
_SCORES: pa.DataType = pa.list_(pa.field("element", pa.float32(), nullable=False))

_ADDED: dict[int, tuple[pa.Field, ...]] = {
    2: (
        _field("reference", pa.bool_(), _NULLABLE),  # whether the method is shown unranked (`Method.reference`)
        _field("own_original", pa.bool_(), _NULLABLE),  # whether it trains an original that no other method shares
        _field(
            "ranked_by", pa.string(), _NULLABLE
        ),  # `Attack.ranks_by`, separated by commas; null: derived from the evidence
        # An attack's membership scores of the erased and of the never-seen candidates, in the row of `auc` only.
        _field("scores_erased", _SCORES, _NULLABLE),
        _field("scores_unseen", _SCORES, _NULLABLE),
    ),
}
"""The columns that each version added, at the end and nullable; they are null when older records are read."""


def _schemas() -> dict[int, pa.Schema]:
    found = {1: _FIRST}
    for version, fields in _ADDED.items():
        found[version] = pa.schema([*found[version - 1], *fields])
    return found


SCHEMAS: dict[int, pa.Schema] = _schemas()
"""The schema of every version that can be read."""

SCHEMA: pa.Schema = SCHEMAS[SCHEMA_VERSION]


def texts(version: int) -> list[str]:
    """The text columns of a version."""
    return [field.name for field in SCHEMAS[version] if field.type == pa.string()]


READABLE = " and ".join([", ".join(map(str, range(1, SCHEMA_VERSION))), str(SCHEMA_VERSION)])
"""The versions of `SCHEMAS`, in words."""


class RecordError(InputError):
    """A record file that can't be trusted: `where` is its path or the faulty row, `what` says what is wrong."""


class NewerRecordError(RecordError):
    """A record that a later version of unlearnbench wrote: nothing is wrong with it, but this version can't read it."""
