import math
import random
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_records import START, row, rows, write_cells

from unlearnbench.records import reading
from unlearnbench.records import writing as records
from unlearnbench.records.writing import RecordError, read, read_folder, write
from unlearnbench.system.errors import InputError
from unlearnbench.system.parquet_files import write_parquet

CELL = [row("crfu", 0, "mse", 0.03, attack="ridge"), row("crfu", 0, "auc", 0.7, attack="ridge")]


def test_rows_come_back_as_written(tmp_path):
    write(CELL, tmp_path / "deep" / "k.parquet")
    table = read(tmp_path / "deep" / "k.parquet")
    assert table.schema.equals(records.SCHEMA)
    assert table.to_pylist() == [{name: each[name] for name in records.SCHEMA.names} for each in CELL]


def test_columns_are_those_of_the_protocol():
    assert records.SCHEMA.names[:4] == ["suite", "experiment", "dataset", "dataset_params"]
    assert len(records.SCHEMA) == 45
    assert {field.name for field in records.SCHEMA if field.nullable} == {
        *("attack", "attack_params", "attack_id", "tier", "observation", "n_shadows", "step", "value", "low", "high"),
        *("n_samples", "error", "train_seconds", "unlearn_seconds", "attack_seconds", "peak_bytes"),
        *("git_sha", "git_dirty", "reference", "own_original", "ranked_by", "scores_erased", "scores_unseen"),
    }


def test_json_columns_are_stored_canonically(tmp_path):
    write([row("crfu", 0, "mse", 0.1, method_params='{"b": 1,\n "a": {"ü": null}}')], tmp_path / "k.parquet")
    assert read(tmp_path / "k.parquet").column("method_params").to_pylist() == ['{"a":{"ü":null},"b":1}']


def test_times_are_stored_in_utc(tmp_path):
    local = datetime(2025, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    write([row("crfu", 0, "mse", 0.1, started_at=local)], tmp_path / "k.parquet")
    assert read(tmp_path / "k.parquet").column("started_at").to_pylist() == [START]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": math.nan}, "'value' is nan"),
        ({"low": math.inf}, "'low' is inf"),
        ({"value": "0.1"}, "'value' must be double"),
        ({"value": True}, "'value' must be double"),
        ({"seed": 1.0}, "'seed' must be int64"),
        ({"seed": None}, "'seed' must not be null"),
        ({"seed": 2**63}, "64 bits"),
        ({"metric": "msee"}, "unknown metric 'msee'; did you mean 'mse'"),
        ({"status": "done"}, "status 'done' is not one of ok, failed"),
        ({"status": "failed"}, "status 'failed' with a value"),
        ({"scenario": "{"}, "column 'scenario'"),
        ({"sizes": '["a"]'}, "'sizes': must be a JSON object"),
        ({"error": "\ud800"}, "column 'error'"),
        ({"device": 3}, "'device' must be text"),
        ({"started_at": datetime(2025, 1, 1)}, "needs a time zone"),
        ({"started_at": "2025-01-01"}, "'started_at' must be timestamp"),
        ({"git_dirty": 1}, "'git_dirty' must be bool"),
        ({"schema_version": 3}, "schema_version 3, this version writes 2"),
        ({"valeu": 1}, "unknown column 'valeu'; did you mean 'value'"),
    ],
)
def test_rows_that_break_a_rule_are_refused(tmp_path, change, message):
    with pytest.raises(RecordError, match="row 0") as caught:
        write([{**CELL[0], **change}], tmp_path / "k.parquet")
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_columns_and_empty_cells_are_refused(tmp_path):
    short = {key: value for key, value in CELL[0].items() if key != "device"}
    with pytest.raises(RecordError, match="'device' is missing"):
        write([short], tmp_path / "k.parquet")
    with pytest.raises(RecordError, match="at least one row"):
        write([], tmp_path / "k.parquet")


def test_a_file_is_one_cell_without_repetitions(tmp_path):
    with pytest.raises(RecordError, match="several cells"):
        write([CELL[0], {**CELL[1], "cell_key": "other"}], tmp_path / "k.parquet")
    with pytest.raises(RecordError, match="twice"):
        write([CELL[0], CELL[0]], tmp_path / "k.parquet")
    write([CELL[0], {**CELL[0], "step": 20}, {**CELL[0], "step": 40}], tmp_path / "k.parquet")


def test_a_failed_cell_keeps_a_row_with_any_metric_name(tmp_path):
    write([row("crfu", 0, "cell", None, status="failed", error="OutOfMemoryError")], tmp_path / "k.parquet")
    assert read(tmp_path / "k.parquet").column("error").to_pylist() == ["OutOfMemoryError"]


def test_writing_again_replaces_and_leaves_nothing_else(tmp_path):
    write(CELL, tmp_path / "k.parquet")
    write(CELL[:1], tmp_path / "k.parquet")
    assert read(tmp_path / "k.parquet").num_rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["k.parquet"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    write(CELL, tmp_path / "k.parquet")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(CELL[:1], tmp_path / "k.parquet")
    assert read(tmp_path / "k.parquet").num_rows == 2
    assert [path.name for path in tmp_path.iterdir()] == ["k.parquet"]


def test_a_folder_name_is_not_read_as_a_column(tmp_path):
    write(CELL, tmp_path / "seed=7" / "k.parquet")
    assert read(tmp_path / "seed=7" / "k.parquet").column("seed").to_pylist() == [0, 0]


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.99, 0.9999])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, share):
    path = tmp_path / "k.parquet"
    write(CELL, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(RecordError) as caught:
        read(path)
    assert caught.value.where == str(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_noticed(tmp_path, data):
    path = tmp_path / "k.parquet"
    if not path.exists():
        write(CELL, path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(content)
    with pytest.raises(RecordError):
        read(damaged)


def test_a_whole_region_overwritten_is_noticed(tmp_path):
    path = tmp_path / "k.parquet"
    write(CELL, path)
    content = bytearray(path.read_bytes())
    content[100:200] = random.Random(0).randbytes(100)
    path.write_bytes(content)
    with pytest.raises(RecordError, match="SHA-256"):
        read(path)


def test_foreign_files_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    (tmp_path / "text.parquet").write_text("not parquet")
    write_parquet(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for name, message in (("foreign", "not written by"), ("text", "not written by"), ("other", "'suite' is missing")):
        with pytest.raises(RecordError, match=message):
            read(tmp_path / f"{name}.parquet")
    with pytest.raises(RecordError, match="no such record file"):
        read(tmp_path / "absent.parquet")


def test_another_schema_version_is_refused_naming_both(tmp_path):
    table = pa.Table.from_pylist([{**CELL[0], "schema_version": 3}], schema=records.SCHEMA)
    write_parquet(table, tmp_path / "same_columns.parquet")
    write_parquet(table.append_column("new", pa.array([1])), tmp_path / "more_columns.parquet")
    for name in ("same_columns", "more_columns"):
        with pytest.raises(RecordError, match="schema_version 3, this version reads 1 and 2"):
            read(tmp_path / f"{name}.parquet")


def test_other_types_or_order_are_refused(tmp_path):
    table = pa.Table.from_pylist([CELL[0]], schema=records.SCHEMA)
    write_parquet(table.select(list(reversed(table.column_names))), tmp_path / "order.parquet")
    with pytest.raises(RecordError, match="other types or another order"):
        read(tmp_path / "order.parquet")


def test_a_file_without_rows_is_refused(tmp_path):
    write_parquet(records.SCHEMA.empty_table(), tmp_path / "k.parquet")
    with pytest.raises(RecordError, match="schema_version none, this version reads 1 and 2"):
        read(tmp_path / "k.parquet")


def test_the_schema_may_be_noted_in_another_form(tmp_path, monkeypatch):
    write(CELL, tmp_path / "k.parquet")
    content = (tmp_path / "k.parquet").read_bytes()
    assert reading._stored_schema(2) in content  # else thousands of records take ten times as long to look up
    monkeypatch.setattr(reading, "_stored_schema", lambda version: b"as another version of pyarrow writes it")
    assert reading.schema_version(content) == 2
    assert read(tmp_path / "k.parquet").num_rows == 2
    write_parquet(pa.table({"a": [1]}), tmp_path / "other.parquet")
    assert reading.schema_version((tmp_path / "other.parquet").read_bytes()) is None


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_gives_all_rows_and_names_the_bad_files(tmp_path):
    folder = write_cells(tmp_path / "records", rows("crfu", "mse", [0.1, 0.2, 0.3]))
    (folder / "bad.parquet").write_bytes(b"PAR1")
    (folder / ".temporary.parquet").write_bytes(b"half")
    (folder / "readme.txt").write_text("ignored")
    table, bad = read_folder(folder)
    assert table.column("value").to_pylist() == [0.1, 0.2, 0.3]
    assert [error.where for error in bad] == [str(folder / "bad.parquet")]
    decoded = table.cast(records.SCHEMA)
    assert decoded.slice(0, 1).equals(read(folder / "000000.parquet"))


@pytest.mark.parametrize("many", [False, True])
def test_only_the_wanted_columns_are_read(tmp_path, many):
    folder = write_cells(tmp_path / "records", rows("crfu", "mse", [0.1, 0.2]))
    if many:
        write(LONG, folder / "long.parquet")
    wanted = ["method", "value", "schema_version"]
    some, bad = read_folder(folder, ["value", "method"])
    assert (some.column_names, bad) == (wanted, [])
    assert some.equals(read_folder(folder)[0].select(wanted))


def test_an_empty_folder_gives_no_rows_and_a_missing_one_is_an_error(tmp_path):
    table, bad = read_folder(tmp_path)
    assert (table.num_rows, bad) == (0, [])
    assert table.column_names == records.SCHEMA.names
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "absent")


LONG = [row("vbu", 0, "accuracy", 0.5, cell_key="long", step=step) for step in range(reading._SHORT + 1)]


@pytest.mark.parametrize("order", ["alb", "lab", "abl", "l"])
def test_files_of_few_and_of_many_rows_come_as_one_table(tmp_path, order):
    cells = {"a": CELL, "l": LONG, "b": rows("hbu", "mse", [0.2], error="none", cell_key="b")}
    for number, name in enumerate(order):
        write(cells[name], tmp_path / f"{number}.parquet")
    table, bad = read_folder(tmp_path)
    assert bad == []
    assert {str(table.schema.field(name).type) for name in ("suite", "error", "versions")} == {
        "dictionary<values=string, indices=int32, ordered=0>"
    }
    read_one_by_one = [each for path in sorted(tmp_path.iterdir()) for each in read(path).to_pylist()]
    assert table.cast(records.SCHEMA).to_pylist() == read_one_by_one


@pytest.mark.parametrize("made", [CELL, LONG])
def test_a_value_that_is_none_is_found_in_its_file(tmp_path, made):
    for number in range(3):
        write(made, tmp_path / f"{number}.parquet")
    table = read(tmp_path / "1.parquet")
    offsets, data = pa.array([0] + [1] * table.num_rows, pa.int32()).buffers()[1], pa.py_buffer(b"\xff")
    broken = pa.StringArray.from_buffers(table.num_rows, offsets, data)  # not UTF-8
    index = table.column_names.index("device")
    write_parquet(table.set_column(index, records.SCHEMA.field(index), broken), tmp_path / "1.parquet")
    (tmp_path / "0.parquet").write_bytes(b"half")
    write_parquet(pa.Table.from_pylist([{**CELL[0], "schema_version": 3}], records.SCHEMA), tmp_path / "2.parquet")
    write(made, tmp_path / "3.parquet")
    found, bad = read_folder(tmp_path)
    assert found.num_rows == len(made)
    assert [error.where for error in bad] == [str(tmp_path / f"{number}.parquet") for number in range(3)]
    for word, error in zip(("truncated", "UTF8", "schema_version 3"), bad, strict=True):
        assert word in error.what
