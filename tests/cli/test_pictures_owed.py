"""Pictures come after the result and never at its cost, and a run that goes on draws what an undisturbed one has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Place, write_suite

from unlearnbench.report import curves


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    there = Place(tmp_path, capsys, monkeypatch)
    write_suite(tmp_path, methods="vbu, fine_tune")
    return there


def pictures(results: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (results / "pictures").glob("*")}


def test_a_run_that_goes_on_draws_what_an_undisturbed_one_has(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # killed before it drew, once amid the cells and once after the last
        patch.setattr("unlearnbench.workflow.finish.draw", lambda *_: False)
        assert place.run("--method", "vbu").counts["done"] > 0
        assert place.run().counts["cached"] > 0
    assert pictures(place.results) == {}
    ran = place.run()
    assert (ran.code, ran.counts["done"], ran.err) == (0, 0, "")
    assert place.run("--results", "undisturbed").code == 0
    assert len(pictures(place.results)) == 1
    assert pictures(place.results) == pictures(place.folder / "undisturbed")


def test_a_picture_that_fails_costs_no_result(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> bytes:
        assert (place.results / "leaderboard.parquet").is_file()  # the result comes first
        raise RuntimeError("no font")

    with monkeypatch.context() as patch:
        patch.setattr(curves, "_png", broken)
        for _ in range(2):  # no receipt is kept of what is still owed
            ran = place.run()
            assert (ran.code, ran.counts["failed"]) == (0, 0)
            (said,) = [line for line in ran.err.splitlines() if line.startswith("not drawn: ")]
            assert said.endswith("RuntimeError: no font")
            assert (place.results / "leaderboard.md").is_file()
    assert place.run().err == ""
    assert len(pictures(place.results)) == 1
