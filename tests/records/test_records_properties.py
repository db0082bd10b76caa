"""Whatever fits a record comes back from its file as it was."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_records import row

from unlearnbench.records import writing as records
from unlearnbench.records.schema import JSON_COLUMNS, SCHEMA, SCORES

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers() | TEXTS | st.floats(allow_nan=False,
                       allow_infinity=False), max_size=3)  # fmt: skip
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).flatmap(
    lambda when: st.integers(-14, 14).map(lambda hours: when.replace(tzinfo=timezone(timedelta(hours=hours))))
)
FIXED = ("metric", "status", "cell_key", "schema_version", "step")


def values(field: pa.Field) -> st.SearchStrategy[Any]:
    """What may stand in a column."""
    if field.name in JSON_COLUMNS:
        found: st.SearchStrategy[Any] = JSON.map(json.dumps)
    elif field.type == pa.string():
        found = TEXTS
    elif field.type == pa.bool_():
        found = st.booleans()
    elif field.type == pa.int64():
        found = st.integers(-(2**63), 2**63 - 1)
    elif field.type == pa.float64():
        found = st.floats(allow_nan=False, allow_infinity=False)
    elif pa.types.is_list(field.type):
        found = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5)
    else:
        found = TIMES
    return st.none() | found if field.nullable else found


def of_both_sides(row: dict[str, Any]) -> dict[str, Any]:
    """Scores of erased and of never-seen candidates go together."""
    return row if all(row[name] for name in SCORES) else {**row, **dict.fromkeys(SCORES)}


ROWS = st.fixed_dictionaries({field.name: values(field) for field in SCHEMA if field.name not in FIXED}).map(
    of_both_sides
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=st.lists(ROWS, min_size=1, max_size=3))
def test_rows_come_back_as_they_were_written(tmp_path: Path, made: list[dict[str, Any]]) -> None:
    written = [{**row("vbu", 0, "auc", 0.5, cell_key="one", step=step), **each} for step, each in enumerate(made)]
    records.write(written, tmp_path / "k.parquet")
    found = records.read(tmp_path / "k.parquet").to_pylist()
    for one, other in zip(found, written, strict=True):
        for name in SCHEMA.names:
            if name in JSON_COLUMNS and other[name] is not None:
                assert json.loads(one[name]) == json.loads(other[name])
            else:
                assert one[name] == other[name], name
    assert records.read_folder(tmp_path)[0].cast(SCHEMA).to_pylist() == found
    records.write(found, tmp_path / "again" / "k.parquet")
    assert (tmp_path / "again" / "k.parquet").read_bytes() == (tmp_path / "k.parquet").read_bytes()
