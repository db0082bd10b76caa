"""Small files that would become large: each is refused in little memory and time, however records are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import parquet_bombs
import pytest

MOST_MIB = 300  # a file of 16 MiB, once as bytes and a few times in pieces
MOST_SECONDS = 5  # of all ways to read it, on one core


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of each file in a process with 3 GiB of addresses, which a bomb would have ended."""
    base = tmp_path_factory.mktemp("bombs")
    for name, make in parquet_bombs.BOMBS.items():
        place = base / f"bomb {name}" / "records"
        place.mkdir(parents=True)
        make(place / parquet_bombs.NAME)
    script = Path(parquet_bombs.__file__)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, str(script), str(base)], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr[-2_000:]
    assert max(map(len, ran.stderr.splitlines()), default=0) < 2_100, "a text of the file was printed whole"
    assert not (base / "never").exists() or list((base / "never" / "records").iterdir())
    result: dict[str, dict[str, Any]] = json.loads((base / "found.json").read_text())
    return result


@pytest.mark.parametrize("name", parquet_bombs.BOMBS)
def test_a_bomb_is_refused_in_little_memory_and_time(found: dict[str, dict[str, Any]], name: str) -> None:
    said = found[name]
    assert said["MiB"] < MOST_MIB
    assert said["seconds"] < MOST_SECONDS
    assert all(len(text) < 1_000 for text in said.values() if isinstance(text, str))
    if name == "index that lies":  # which nobody reads
        return
    assert said["exit"] == 2
    assert said["merge"].startswith("refused: ")
