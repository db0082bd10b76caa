"""Fuzzing what reads files: records and artifacts are what was written, or refused with the one error meant for it.

    python tests/fuzz_records.py --seconds 60          mutates valid files, from a seed, and says how many

`fuzz` is a target for atheris:

    import atheris, sys, fuzz_records
    atheris.Setup(sys.argv, fuzz_records.fuzz); atheris.Fuzz()
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
from functools import cache
from pathlib import Path

import pyarrow as pa
import torch
from sample_records import row

from unlearnbench.records import writing as records
from unlearnbench.records.folder import is_intact
from unlearnbench.system.parquet_files import write_parquet
from unlearnbench.system.store import Artifact, CorruptArtifactError, Store

KEY = "ab" * 32
TENSORS = {"weights": torch.arange(6.0).reshape(2, 3), "flags": torch.tensor([True, False]), "none": torch.empty(0, 2)}
VALUES = {"seconds": 1.25, "names": ["é", "b"], "nothing": None}


class Folder:
    """Files to be damaged, as they were written, and a place for those that are."""

    def __init__(self, root: Path) -> None:
        self.root, self.store, self.tables = root, Store(root / "cache"), list[pa.Table]()
        self.path = root / "damaged" / "record.parquet"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records: list[bytes] = []
        one = [row("crfu", 0, "mse", 0.03, attack="ridge"), row("crfu", 0, "auc", 0.7, attack="ridge", error="ü")]
        many = [row("vbu", 0, "accuracy", step / 300, cell_key="long", step=step) for step in range(250)]
        failed = [row("hbu", 1, "status", None, status="failed", error="x" * 5_000, n_samples=None)]
        for number, cell in enumerate((one, many, failed)):
            written = root / f"{number}.parquet"
            records.write(cell, written)
            self.records.append(written.read_bytes())
            self.tables.append(records.read(written))
        self.store.put(KEY, Artifact(TENSORS, VALUES))
        self.artifact = self.store.path(KEY).read_bytes()

    def check_record(self, content: bytes) -> None:
        """A file of this content is one of the records or no record, whoever reads it."""
        self.path.write_bytes(content)
        found, refusal = None, None
        try:
            found = records.read(self.path)
        except records.RecordError as error:
            refusal = error
        if refusal is not None:
            assert refusal.where == str(self.path)
            assert "\n" not in str(refusal)
        else:
            assert found is not None
            assert any(found.equals(table) for table in self.tables), "other rows than were written"
            assert is_intact(self.path)
        table, bad = records.read_folder(self.path.parent)
        assert len(bad) == (found is None)
        assert table.num_rows == (0 if found is None else found.num_rows)

    def check_artifact(self, content: bytes) -> None:
        """An artifact of this content is the one that was written, or refused."""
        self.store.path(KEY).write_bytes(content)
        try:
            found = self.store.get(KEY)
        except CorruptArtifactError:
            pass
        else:
            assert found is not None
            assert found.values == VALUES
            assert found.tensors.keys() == TENSORS.keys()
            assert all(torch.equal(found.tensors[name], value) for name, value in TENSORS.items())
        with contextlib.suppress(CorruptArtifactError):
            assert self.store.values(KEY) == VALUES


@cache
def folder() -> Folder:
    """One for a process that is fuzzed from outside."""
    return Folder(Path(tempfile.mkdtemp(prefix="fuzz_records_")))


def fuzz(data: bytes) -> None:
    """Any bytes as a record file and as an artifact, and what they make of valid ones."""
    place = folder()
    place.check_record(data)
    place.check_artifact(data)
    if len(data) >= 4:
        start = int.from_bytes(data[:3], "little")
        for whole, check in [*((each, place.check_record) for each in place.records),
                             (place.artifact, place.check_artifact)]:  # fmt: skip
            at = start % len(whole)
            check(whole[:at] + data[4:] + whole[at + (len(data) - 4) * (data[3] & 1) :])


def mutated(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """`content` with one to four changes: bits, bytes, regions, lengths, parts of other files."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at, size = draw.randrange(len(found) + 1), draw.choice((1, 1, 2, 4, 8, 64, 1_000))
        kind = draw.randrange(8)
        if kind == 0 and found:
            found[at % len(found)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            found[at : at + size] = draw.randbytes(size)
        elif kind == 2:
            del found[at : at + size]
        elif kind == 3:
            found[at:at] = draw.randbytes(size)
        elif kind == 4:
            del found[at:]
        elif kind == 5:
            found[at : at + size] = draw.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
        elif kind == 6:
            other = draw.choice(others)
            place = draw.randrange(len(other))
            found[at : at + size] = other[place : place + size]
        else:
            found[at:at] = found[at : at + size]
    return bytes(found)


def resealed(table: pa.Table, place: Folder, draw: random.Random) -> None:
    """A file with a valid seal whose columns are others: what another program, or a bug, may have written."""
    columns = list(table.column_names)
    name = draw.choice(columns)
    change = draw.randrange(4)
    if change == 0:
        table = table.drop_columns([name])
    elif change == 1:
        table = table.append_column(f"{name}{draw.choice(('', '2'))}", table.column(name))
    elif change == 2:
        table = table.set_column(columns.index(name), name, pa.nulls(table.num_rows))
    else:
        draw.shuffle(columns)
        table = table.select(columns)
    write_parquet(table, place.root / "other.parquet")
    place.check_record((place.root / "other.parquet").read_bytes())


def run(place: Folder, seconds: float, seed: int) -> int:
    """Check mutations until the time is over; how many there were."""
    draw, end, count = random.Random(seed), time.monotonic() + seconds, 0
    others = [*place.records, place.artifact]
    while time.monotonic() < end:
        place.check_record(mutated(draw.choice(place.records), others, draw))
        place.check_artifact(mutated(place.artifact, others, draw))
        if count % 10 == 0:
            resealed(draw.choice(place.tables), place, draw)
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        count = run(Folder(Path(root)), given.seconds, given.seed)
    print(f"{count} damaged records and artifacts, seed {given.seed}: all whole or refused")


if __name__ == "__main__":
    main()
