"""A short run of the fuzz target, from a fixed seed."""

from __future__ import annotations

import random
from pathlib import Path

import fuzz_records
import pytest

from unlearnbench.system.parquet_files import write_parquet


def test_damaged_files_are_what_was_written_or_refused(tmp_path: Path) -> None:
    assert fuzz_records.run(fuzz_records.Folder(tmp_path), seconds=3, seed=1) > 20


def test_the_target_takes_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = fuzz_records.Folder(tmp_path)
    monkeypatch.setattr(fuzz_records, "folder", lambda: place)
    draw = random.Random(0)
    for data in (b"", b"x", b"PAR1", b"\0" * 8, *place.records, place.artifact, *map(draw.randbytes, range(40))):
        fuzz_records.fuzz(data)


def test_the_target_notices_other_rows(tmp_path: Path) -> None:
    place = fuzz_records.Folder(tmp_path)
    write_parquet(place.tables[1].slice(0, 1), tmp_path / "less.parquet")
    with pytest.raises(AssertionError, match="other rows"):
        place.check_record((tmp_path / "less.parquet").read_bytes())
    with pytest.raises(AssertionError):
        place.check_artifact(_other_artifact(place))


def _other_artifact(place: fuzz_records.Folder) -> bytes:
    place.store.put(fuzz_records.KEY, fuzz_records.Artifact(fuzz_records.TENSORS, {"seconds": 2}))
    return place.store.path(fuzz_records.KEY).read_bytes()
