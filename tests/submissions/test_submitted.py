"""Records that others wrote: what breaks a rule is refused by name, in one line, and nothing is written."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fuzz_records
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import ROOT
from sample_records import later, row
from submitted_folders import Cell, cell, everything, file_of, hand_in, key, table

from unlearnbench.cli import main as cli
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.records import bounds as record_bounds
from unlearnbench.records import writing as records
from unlearnbench.records.parquet_pages import pages
from unlearnbench.records.schema import RecordError
from unlearnbench.settings.scenario import MOST_POINTS
from unlearnbench.submissions import reading as submitted
from unlearnbench.system.parquet_files import parse, read_sealed, write_parquet

GOOD = cell("vbu", 0)
PATH = f"{GOOD[0]['cell_key']}.parquet"


def changed(**change: Any) -> Cell:
    return [{**row, **change} for row in GOOD]


def sealed(made: Cell) -> Callable[[Path], None]:
    """Writes rows with a valid seal, unchecked, as somebody would who means harm."""

    def write(path: Path) -> None:
        write_parquet(table(made), path)

    return write


def raw(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def first_half(path: Path) -> None:
    records.write(GOOD, path)
    path.write_bytes(path.read_bytes()[:3_000])


def foreign(path: Path) -> None:
    pq.write_table(table(GOOD), path)


def resealed(path: Path, **options: Any) -> None:
    """As `write_parquet`, but with options of Parquet's own."""
    from unittest import mock

    original = pq.ParquetWriter

    def writer(*arguments: Any, **given: Any) -> Any:
        return original(*arguments, **{**given, **options})

    with mock.patch("pyarrow.parquet.ParquetWriter", writer):
        write_parquet(options.pop("rows", table(GOOD)), path)


def bomb(path: Path) -> None:
    """A kilobyte that becomes 200 MB."""
    made = table(changed(error="x" * 100_000_000))
    resealed(path, rows=made, compression="zstd")
    assert path.stat().st_size < 200_000


def repeated(path: Path) -> None:
    """A text that stands in the file once, and in every row of the table."""
    made = [{**row, "step": step, "error": "x" * 15_000} for step in range(5_000) for row in GOOD[:1]]
    write_parquet(table(made), path)
    assert path.stat().st_size < 500_000


def many_rows(path: Path) -> None:
    write_parquet(pa.concat_tables([table(GOOD)] * 60_000), path)


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(record_bounds.LARGEST_FILE + 1)  # sparse: no such file need be written


def link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def pretending(path: Path) -> None:
    """Another schema, and the bytes by which a quick look knows the right one in a text of it."""
    from unlearnbench.records.reading import _stored_schema
    from unlearnbench.records.schema import SCHEMA_VERSION

    write_parquet(pa.table({"suite": [_stored_schema(SCHEMA_VERSION).decode()]}), path)


def other_metadata(path: Path) -> None:
    write_parquet(table(GOOD), path, {"unlearnbench": '{"suite_seed": -1}'})


def failed_with_number(path: Path) -> None:
    made = {**GOOD[0], "status": "skipped", "metric": "status", "direction": "", "value": None, "n_samples": None}
    write_parquet(table([{**made, "step": 1}]), path)


TO_COME = datetime.now(UTC) + timedelta(days=2)
LAST_DATE = datetime(9999, 12, 31, tzinfo=UTC)

REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no Parquet": (raw(b"not parquet"), "not written by unlearnbench"),
    "empty": (raw(b""), "truncated, or not written by unlearnbench"),
    "truncated": (first_half, "truncated, or not written by unlearnbench"),
    "another program's": (foreign, "not written by unlearnbench"),
    "another schema": (lambda p: write_parquet(pa.table({"a": [1]}), p), "column 'suite' is missing"),
    "pretending": (pretending, "column 'experiment' is missing"),
    "a later schema": (sealed(changed(schema_version=3)), "schema_version 3, this version writes 2"),
    "no rows": (sealed([]), "at least one row"),
    "gzip": (lambda p: resealed(p, compression="gzip"), "column 'suite' is compressed by GZIP; records never are"),
    "decompression bomb": (bomb, "over 67,108,864 bytes once decompressed"),
    "one text in many rows": (repeated, "bytes of text; a record has at most 67,108,864"),
    "many rows": (many_rows, "120,000 rows in 1 groups; a record has at most 5,000 in one"),
    "large": (large, "16,777,217 bytes; such a file has at most 16,777,216"),
    "link": (link, "a link; a record is a file of its own"),
    "pipe": (lambda p: os.mkfifo(p), "not an ordinary file"),
    "folder": (lambda p: p.mkdir(), "not an ordinary file"),
    "metadata": (other_metadata, "unknown metadata"),
    "long text": (sealed(changed(error="x" * 20_001)), "column 'error' holds a text of 20,001 bytes; at most 20,000"),
    "another's key": (sealed(changed(cell_key=key("other"))), f"the record of another cell: its key is {key('other')}"),
    "two cells": (sealed([GOOD[0], {**GOOD[1], "cell_key": key("b")}]), "rows of several cells"),
    "two methods": (sealed([GOOD[0], {**GOOD[1], "method": "hbu"}]), "column 'method' differs between the rows"),
    "the same row twice": (sealed([GOOD[0], GOOD[0]]), "appears twice"),
    "NaN": (sealed(changed(value=float("nan"))), "'value' is nan"),
    "infinite": (sealed(changed(high=float("inf"))), "'high' is inf"),
    "a null": (sealed(changed(metric="msee")), "unknown metric 'msee'"),
    "not JSON": (sealed(changed(scenario="{")), "column 'scenario'"),
    "NaN in JSON": (sealed(changed(scenario='{"beta":NaN}')), "NaN is not JSON"),
    "deep JSON": (sealed(changed(scenario='{"a":' * 3_000 + "1" + "}" * 3_000)), "not a readable record file"),
    "control characters": (sealed(changed(device="\x1b[2Jcpu")), "'device' holds control characters (\\x1b[2Jcpu)"),
    "direction marks": (sealed(changed(error="\u202eabc")), "'error' holds control characters (\\u202eabc)"),
    "a path": (sealed(changed(suite="../../etc")), "column 'suite': '../../etc' is not the name of one"),
    "a method's name": (
        sealed(changed(method="a/b", method_id="a/b")),
        "column 'method': 'a/b' is not the name of one",
    ),
    "another's name": (sealed(changed(method_id="renew")), "column 'method_id': 'renew' is not an id of method 'vbu'"),
    "half an attack": (sealed(changed(attack="ridge")), "are null"),
    "hash": (sealed(changed(plugin_sha256="x")), "holds something other than a SHA-256"),
    "commit": (sealed(changed(git_sha="HEAD")), "column 'git_sha': 'HEAD' is not a commit"),
    "a date to come": (sealed(changed(started_at=TO_COME)), "which is yet to come by this machine's clock"),
    "the year 9999": (sealed(changed(started_at=LAST_DATE)), "column 'started_at' is 9999-12-31, which is yet to come"),
    "a date of before": (sealed(changed(started_at=later(-24))), "2024-12-31, before there was unlearnbench"),
    "shadows": (
        sealed(changed(n_shadows=2**63 - 1)),
        "column 'n_shadows' is 9223372036854775807; it lies between 0 and",
    ),
    "samples": (sealed(changed(n_samples=2**63 - 1)), "column 'n_samples' is 9223372036854775807"),
    "step": (sealed(changed(step=-1)), "column 'step' is -1; it lies between 0 and"),
    "largest": (
        sealed([{**GOOD[1], "value": 1.7e308}]),
        "value of 'gradient_steps' is 1.7e+308; it lies between 0 and",
    ),
    "large beta": (
        sealed(changed(scenario=f'{{"beta":{10**400}}}')),
        "'scenario' holds a number too large for any setting",
    ),
    "large parameter": (sealed(changed(method_params='{"lr":1.7e308}')), "'method_params' holds a number too large"),
    "deep parameter": (
        sealed(changed(method_params='{"a":' * 20 + "1" + "}" * 20)),
        "parts within parts, over 16 deep",
    ),
    "no beta": (sealed(changed(scenario='{"beta":"x"}')), "column 'scenario': beta must be a number, not \"x\""),
    "no judging": (sealed(changed(scenario='{"judging":{"powr":1}}')), "judging.powr unknown key 'powr'; did you mean"),
    "escapes in JSON": (sealed(changed(method_params='{"a":"\\u001b[2J"}')), "holds control characters (\\x1b[2J)"),
    "half a character": (sealed(changed(method_params='{"a":"\\ud800"}')), "surrogates not allowed"),
    "a failure's number": (failed_with_number, "a cell that is not ok has a number in 'step'"),
    "negative seed": (sealed(changed(seed=-1)), "column 'seed' is -1"),
    "negative time": (sealed(changed(train_seconds=-1.0)), "column 'train_seconds' is -1.0"),
    "sizes": (sealed(changed(sizes='{"target":-1}')), "column 'sizes'"),
    "over 1": (sealed([{**GOOD[0], "value": 1.5}]), "value of 'accuracy' is 1.5; it lies between 0 and 1"),
    "interval": (sealed([{**GOOD[0], "low": 0.9, "high": 0.1}]), "with an interval from 0.9 to 0.1"),
    "direction": (sealed([{**GOOD[0], "direction": "info"}]), "direction of 'accuracy' is 'info'"),
    "status": (sealed(changed(status="failed", value=None)), "status 'failed' does not go with the file's name"),
    "unknown status": (sealed(changed(status="great", value=None)), "status 'great' is not one of"),
    "value of none": (sealed(changed(status="skipped")), "status 'skipped' with a value"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_file_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    make, message = REFUSED[what]
    good = hand_in(tmp_path / "good", [GOOD, cell("hbu", 0)])
    (tmp_path / "bad" / "records").mkdir(parents=True)
    path = tmp_path / "bad" / "records" / PATH
    make(path)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    for verb in (["merge", str(good), str(tmp_path / "bad"), "--out", str(tmp_path / "out")],
                 ["verify", str(tmp_path / "bad"), "--sample", "1"]):  # fmt: skip
        assert cli.main(verb) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"error: {path}")
        assert message in err
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["0.parquet", "A" * 64 + ".parquet", "a" * 63 + ".parquet", "a" * 64 + ".PARQUET", "a\x1b[2J.parquet"]
)
def test_a_name_that_is_no_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    hand_in(tmp_path / "a", [GOOD])
    (tmp_path / "a" / "records" / name).write_bytes(file_of(tmp_path / "a", GOOD).read_bytes())
    assert cli.main(["merge", str(tmp_path / "a"), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "not the name of a record: its key, then .parquet or .failed.parquet" in err
    assert "\x1b" not in err
    assert not (tmp_path / "out").exists()


def test_clocks_may_be_hours_apart(tmp_path: Path) -> None:
    made = changed(started_at=datetime.now(UTC) + timedelta(hours=20))
    assert submitted.read_cell(file_of(hand_in(tmp_path, [made]), made), tmp_path).rows == records.check(made, "a")


def test_the_longest_record_is_merged_at_once(tmp_path: Path) -> None:
    """A record of 49,000 rows once took 77 seconds; as many as a cell can have take less than one."""
    long = [row("vbu", 0, "accuracy", 0.5, step=step, cell_key=key("long")) for step in range(records.MOST_ROWS)]
    folder = hand_in(tmp_path / "a", [long])
    start = time.process_time()
    assert cli.main(["merge", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert time.process_time() - start < 10
    with pytest.raises(RecordError, match="5,001 rows; a record has at most 5,000"):
        records.write([*long, {**long[0], "step": None}], tmp_path / "longer.parquet")


def test_a_cell_records_no_more_rows_than_a_record_has() -> None:
    at_each_point = ("remaining_accuracy", "erased_accuracy", "accuracy", "backdoor_accuracy")
    assert len(METRICS) + MOST_POINTS * len(at_each_point) <= records.MOST_ROWS


def test_a_result_is_not_taken_for_a_failure(tmp_path: Path) -> None:
    hand_in(tmp_path, [GOOD])
    path = file_of(tmp_path, GOOD)
    path.rename(path.with_suffix(".failed.parquet"))
    with pytest.raises(RecordError, match="status 'ok' does not go with the file's name"):
        submitted.read_folder(tmp_path)


def test_folders_without_records_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "records").symlink_to(hand_in(tmp_path / "a", [GOOD]) / "records")
    for folder, message in (("absent", "holds no folder 'records'"), ("linked", "a link; give a folder")):
        assert cli.main(["merge", str(tmp_path / folder), "--out", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_no_record_is_left_out_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = hand_in(tmp_path / "a", [GOOD])
    (folder / "records" / "stale").mkdir()
    (folder / "records" / "notes.txt").write_text("x")
    (folder / "errors.log").write_text("x")
    assert cli.main(["merge", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == f"left out of {folder / 'records'}, not records: notes.txt\n"
    assert set(everything(tmp_path / "out")) == {f"records/{PATH}", "leaderboard.md", "leaderboard.parquet"}


def test_damaged_files_are_what_was_written_or_refused(tmp_path: Path) -> None:
    place, draw, path = fuzz_records.Folder(tmp_path / "fuzz"), random.Random(4), tmp_path / PATH
    records.write(GOOD, path)
    whole, rows = path.read_bytes(), records.read(path).to_pylist()
    others = [*place.records, whole]
    refusals = []
    for _ in range(300):
        path.write_bytes(fuzz_records.mutated(whole, others, draw))
        try:
            assert submitted.read_cell(path, tmp_path).rows == rows
        except RecordError as error:
            refusals.append(str(error))
    assert len(refusals) > 250
    assert all(text.startswith(str(path)) and "\n" not in text for text in refusals)


def test_damaged_files_with_a_valid_seal_are_refused_or_make_sense(tmp_path: Path) -> None:
    """A seal is no signature: here it is made anew after every change, so that all the parsing is reached."""
    draw, path = random.Random(5), tmp_path / PATH
    records.write(GOOD, path)
    whole = path.read_bytes()
    refusals = []
    for _ in range(300):
        path.write_bytes(reseal(fuzz_records.mutated(whole, [whole], draw)))
        try:
            found = submitted.read_cell(path, tmp_path)
        except RecordError as error:
            refusals.append(str(error))
        else:
            assert found.rows == records.check(found.rows, path)
            assert found.key == GOOD[0]["cell_key"]
    assert len(refusals) > 100
    assert all(text.startswith(str(path)) and "\n" not in text for text in refusals)


def reseal(content: bytes) -> bytes:
    """The content with a valid seal, if there is still a place for one."""
    import hashlib

    from unlearnbench.system.parquet_files import _BLANK, _last_seal

    seal = _last_seal(content)
    if seal is None:
        return content
    blank = content[: seal.start(1)] + _BLANK + content[seal.end(1) :]
    return blank[: seal.start(1)] + hashlib.sha256(blank).hexdigest().encode() + blank[seal.end(1) :]


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_the_sizes_in_page_headers_are_those_of_the_columns(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "k.parquet"
    rows = table([{**GOOD[0], "step": step, "error": f"{step} {'x' * 300}"} for step in range(500)])
    resealed(path, rows=rows, compression=codec)
    content = read_sealed(path)
    group = parse(content).metadata.row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        # Parquet counts the headers too, which are a few bytes a page.
        assert 0 < column.total_uncompressed_size - pages(content, column).size < 200


def test_published_records_pass(tmp_path: Path) -> None:
    """Also those of older versions, which are compressed and do not say the suite's seed."""
    for suite in ("zoo", "attacks"):
        for path in sorted((ROOT / "results" / suite / "records").glob("*.parquet"))[::40]:
            found = submitted.read_cell(path, path.parent.parent)
            assert found.rows == records.read(path).to_pylist()
