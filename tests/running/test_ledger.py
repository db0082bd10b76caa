"""The cells of a run, and what becomes of each."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from unlearnbench.running.ledger import Ledger


def test_a_cell_that_no_longer_waits_is_not_recorded_again(tmp_path: Path) -> None:
    """Two cells of one key are one: fewer models at a time may make them so."""
    nothing: Any = None
    ledger = Ledger(tmp_path, nothing, "cpu", became := {}, nothing)
    cell: Any = SimpleNamespace(key="k", stages={"train": "t"})
    ledger.record(cell, "the cell")
    assert became == {}
    assert not list(tmp_path.rglob("*"))
