"""Records that are set apart are never deleted, not by another of their name either."""

from __future__ import annotations

from pathlib import Path

from unlearnbench.records.folder import move


def test_what_is_set_apart_joins_what_was_there(tmp_path: Path) -> None:
    moved = []
    for text in ("first", "second", "third"):
        (tmp_path / "key.parquet").write_text(text)
        moved.append(move(tmp_path / "key.parquet", "damaged"))
    assert [path.read_text() for path in moved] == ["first", "second", "third"]
    assert len(set(moved)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]
