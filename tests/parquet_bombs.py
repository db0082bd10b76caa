"""Small files that fill a memory, or keep a reader busy, if they are read as they say they should be.

python tests/parquet_bombs.py FOLDER    reads its files in each way that records are read, and says what came of it
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from submitted_folders import cell, hand_in, table

from unlearnbench.cli import main as cli
from unlearnbench.records import writing as records
from unlearnbench.records.folder import first_rows, is_intact
from unlearnbench.records.schema import SCHEMA, RecordError
from unlearnbench.submissions import reading as submitted
from unlearnbench.system.parquet_files import _BLANK, _last_seal, parse, read_sealed, write_parquet

GOOD = cell("vbu", 0)
NAME = f"{GOOD[0]['cell_key']}.parquet"
LARGEST_NUMBER = 2**31 - 1
_DATA, _DICTIONARY = 0, 2  # kinds of pages
_PLAIN, _DELTA, _DELTA_TEXT, _BY_DICTIONARY = 0, 5, 7, 8  # encodings
_DELTA_HEADER = (
    b"\x80\x80\x80\x80\x08" + b"\xff\xff\xff\xff\x07" * 2 + b"\x00"
)  # block, miniblocks, values: 2^31 and so


# --- files that pyarrow writes ---------------------------------------------------------------------------------------


def wrong(**columns: Any) -> pa.Table:
    return pa.table(columns)


def said_often(text: str, count: int) -> pa.Array:
    """A text once, and the number of its place very often."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


def with_column(name: str, values: pa.Array) -> pa.Table:
    """The good record's columns with as many rows, one of them replaced; the type in the file stays."""
    rows = pa.concat_tables([table(GOOD[:1])]).take(pa.array(np.zeros(len(values), np.int64)))
    return rows.set_column(SCHEMA.get_field_index(name), name, values)


def nested(deep: int) -> pa.Array:
    values: pa.Array = pa.array([1])
    for _ in range(deep):
        values = pa.StructArray.from_arrays([values], ["a"])
    return values


def written(
    made: Callable[[], pa.Table], about: dict[str, str] | None = None, **options: Any
) -> Callable[[Path], None]:
    """Writes a table with a valid seal, and options of Parquet's own."""

    def write(path: Path) -> None:
        original = pq.ParquetWriter

        def writer(*arguments: Any, **given: Any) -> Any:
            return original(*arguments, **{**given, **options})

        with mock.patch("pyarrow.parquet.ParquetWriter", writer):
            write_parquet(made(), path, about)

    return write


def many_groups(path: Path) -> None:
    original = pq.ParquetWriter.write_table
    with mock.patch.object(pq.ParquetWriter, "write_table", lambda self, made: original(self, made, row_group_size=1)):
        write_parquet(table(GOOD * 1_000), path)


# --- files whose bytes lie -------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def page(kind: int, size: int, compressed: int, values: int, encoding: int = _PLAIN) -> bytes:
    """The header of a page, in Thrift's compact protocol; whole numbers are zigzagged."""
    head = b"".join(b"\x15" + varint(2 * number) for number in (kind, size, compressed))
    about = b"".join(b"\x15" + varint(2 * number) for number in (values, encoding))
    if kind == _DATA:
        return head + b"\x2c" + about + b"\x15\x06\x15\x06\x00\x00"  # field 5; levels as run lengths
    return head + b"\x4c" + about + b"\x00\x00"  # field 7


def lying(
    column: str, *headers: tuple[int, int, int, int], data: bytes = b"", **options: Any
) -> Callable[[Path], None]:
    """The good record, the pages of a column replaced by others that take as many bytes and say what no page holds.

    Args:
        headers: of each page its kind, its size once decompressed, its values and their encoding; the last one has what
            bytes are left.
    """

    def write(path: Path) -> None:
        long = [{**row, "error": f"{number} {'x' * 300}"} for number, row in enumerate(GOOD)]
        written(lambda: table(long), **options)(path)
        content = read_sealed(path)
        about = parse(content).metadata.row_group(0).column(SCHEMA.get_field_index(column))
        start, length = about.dictionary_page_offset or about.data_page_offset, about.total_compressed_size
        made = b""
        for kind, size, values, encoding in headers[:-1]:
            made += page(kind, size, 0, values, encoding)
        kind, size, values, encoding = headers[-1]
        for guess in range(length):
            last = page(kind, size, guess, values, encoding)
            if len(made) + len(last) + guess == length:
                made += last + (data + b"\0" * guess)[:guess]
                break
        assert len(made) == length
        path.write_bytes(resealed(content[:start] + made + content[start + length :]))

    return write


def scores_in_run_lengths(path: Path, count: int = 10**8) -> None:
    """A list that has 400 scores by the footer, and 10^8 in its page, which says one of them that often in 40 bytes.

    Only the page itself knows how many a reader will make room for.
    """
    membership = {"attack": "a", "attack_params": "{}", "attack_id": "a", "metric": "auc"}
    scores = {"scores_erased": [float(number) for number in range(400)], "scores_unseen": [0.5]}
    written(lambda: table([{**GOOD[0], **membership, **scores}]))(path)
    content = read_sealed(path)
    about = parse(content).metadata.row_group(0).column(SCHEMA.get_field_index("scores_erased"))
    assert about.path_in_schema == "scores_erased.list.element"
    levels = [said_by_runs((1, 0), (count - 1, 1)), said_by_runs((count, 2))]  # one row, all elements there
    body = b"".join(len(each).to_bytes(4, "little") + each for each in levels) + b"\1" + said_by_runs((count, 0))
    dictionary = filled(_DICTIONARY, 1, _PLAIN, b"", about.data_page_offset - about.dictionary_page_offset)
    data = filled(_DATA, count, _BY_DICTIONARY, body, about.total_compressed_size - len(dictionary))
    start = about.dictionary_page_offset
    path.write_bytes(resealed(content[:start] + dictionary + data + content[start + len(dictionary + data) :]))


def said_by_runs(*runs: tuple[int, int]) -> bytes:
    """Small numbers, each so many times."""
    return b"".join(varint(times << 1) + bytes([number]) for times, number in runs)


def filled(kind: int, values: int, encoding: int, body: bytes, length: int) -> bytes:
    """A page that takes so many bytes, zeros behind what it holds."""
    guesses = (page(kind, size, size, values, encoding) + body.ljust(size, b"\0") for size in range(len(body), length))
    return next(made for made in guesses if len(made) == length)


def footer_says(length: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        records.write(GOOD, path)
        content = path.read_bytes()
        path.write_bytes(resealed(content[:-8] + length.to_bytes(4, "little") + content[-4:]))

    return write


def index_lies(path: Path) -> None:
    """With an index of pages, all of whose places are somewhere else."""
    written(lambda: table(GOOD), write_page_index=True, write_statistics=True)(path)
    content = read_sealed(path)
    group = parse(content).metadata.row_group(0)
    last = max(
        group.column(n).data_page_offset + group.column(n).total_compressed_size for n in range(group.num_columns)
    )
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    noise = np.random.default_rng(0).bytes(max(end - last, 0))
    path.write_bytes(resealed(content[:last] + noise + content[end:]))


def resealed(content: bytes) -> bytes:
    """The content with a valid seal, if there is still a place for one."""
    import hashlib

    seal = _last_seal(content)
    if seal is None:
        return content
    blank = content[: seal.start(1)] + _BLANK + content[seal.end(1) :]
    return blank[: seal.start(1)] + hashlib.sha256(blank).hexdigest().encode() + blank[seal.end(1) :]


HUGE = LARGEST_NUMBER
BOMBS: dict[str, Callable[[Path], None]] = {
    "version is a text": written(lambda: wrong(schema_version=said_often("x" * 1_000_000, 20_000))),
    "version is a text, compressed": written(lambda: wrong(schema_version=["x" * 50_000_000] * 4), compression="zstd"),
    "version in many rows": written(lambda: wrong(schema_version=np.full(20_000_000, 7)), compression="zstd"),
    "versions without end": written(lambda: wrong(schema_version=np.arange(2_000_000)), compression="zstd"),
    "version within parts": written(lambda: wrong(schema_version=nested(60))),
    "version is a list": written(lambda: wrong(schema_version=[np.zeros(5_000_000, np.int64)]), compression="zstd"),
    "one text in many rows": written(lambda: with_column("error", said_often("x" * 1_000_000, 4_900))),
    "a record's text in many rows": written(
        lambda: table([{**GOOD[0], "step": step, "error": "x" * 50_000} for step in range(3_000)]),
        dictionary_pagesize_limit=2**30,
    ),
    "texts that compress": written(lambda: table([{**GOOD[0], "error": "x" * 100_000_000}]), compression="zstd"),
    "pretending": written(lambda: wrong(suite=said_often("x" * 1_000_000, 20_000), note=[SCHEMA.to_string()] * 20_000)),
    "many groups": many_groups,
    "many rows": written(lambda: with_column("step", pa.array(np.arange(500_000)))),
    "many scores": written(
        lambda: table([{**GOOD[0], "metric": "auc", "scores_erased": [0.0] * 3_000_000}]), compression="zstd"
    ),
    "many columns": written(lambda: wrong(**{f"c{number}": [0] for number in range(20_000)})),
    "a long name": written(lambda: wrong(**{"x" * 2_000_000: [0]})),
    "much beside it": written(lambda: table(GOOD), about={"unlearnbench": "x" * 10_000_000}),
    "footer as long as it gets": footer_says(2**32 - 1),
    "footer longer than the file": footer_says(60_000),
    "footer of nothing": footer_says(0),
    "page as large as it gets": lying("error", (_DATA, HUGE, 2, _PLAIN)),
    "page as large as it gets, compressed": lying("error", (_DATA, HUGE, 2, _PLAIN), compression="zstd"),
    "values without end": lying("error", (_DATA, 10, HUGE, _PLAIN)),
    "numbers without end": lying("seed", (_DATA, 10, HUGE, _PLAIN)),
    "scores without end": lying("scores_erased", (_DATA, 10, HUGE, _PLAIN)),
    "scores in run lengths": scores_in_run_lengths,
    "dictionary without end": lying("error", (_DICTIONARY, 10, HUGE, _PLAIN)),
    "dictionary of numbers without end": lying("seed", (_DICTIONARY, 10, HUGE, _PLAIN)),
    "steps without end": lying("seed", (_DATA, 10, 2, _DELTA), data=_DELTA_HEADER),
    "prefixes without end": lying("error", (_DATA, 10, 2, _DELTA_TEXT), data=b"\x02\0\0\0\x02\x01" + _DELTA_HEADER * 2),
    "index that lies": index_lies,
}


def readings(place: Path) -> dict[str, str]:
    """What comes of reading a results folder's one record in every way there is."""
    path = place / "records" / NAME
    found = {}
    for name, read in {
        "merge": lambda: submitted.read_cell(path, place),
        "read": lambda: records.read(path),
        "report": lambda: str(records.read_folder(path.parent)[1][0]),
        "run": lambda: is_intact(path) and list(first_rows(path.parent, [path.name], "scenario")),
    }.items():
        try:
            found[name] = "refused: " + made if isinstance(made := read(), str) else "read" if made else "refused"
        except RecordError as error:
            found[name] = f"refused: {error}"
        except IndexError:
            found[name] = "read"  # nothing was wrong
    return found


def main() -> None:
    """For a process of its own, whose memory is limited, so that a bomb ends nothing else."""
    limit = 3 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    base = Path(sys.argv[1])
    good = hand_in(base / "good", [GOOD])
    assert set(readings(good).values()) == {"read"}
    assert cli.main(["merge", str(good), "--out", str(base / "out")]) == 0
    found, before = {}, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # which never falls
    for place in sorted(each for each in base.iterdir() if each.name.startswith("bomb ")):
        start = time.process_time()
        said: dict[str, Any] = dict(readings(place))
        said["exit"] = cli.main(["merge", str(place), "--out", str(base / "never")])
        said["seconds"] = time.process_time() - start
        said["MiB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
        said["bytes"] = (place / "records" / NAME).stat().st_size
        found[place.name.removeprefix("bomb ")] = said
    (base / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
