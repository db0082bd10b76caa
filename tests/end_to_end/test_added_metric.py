"""A metric that is added to the catalogue, and nowhere else, is found wherever metrics are shown or checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sample_records import judged, rows, write_cells
from submitted_folders import taken

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.metrics import catalog
from unlearnbench.metrics.catalog import Metric
from unlearnbench.records import writing
from unlearnbench.records.schema import RecordError
from unlearnbench.report import export
from unlearnbench.site import publishing
from unlearnbench.submissions.agreement import differences
from unlearnbench.submissions.plausibility import contradiction

ADDED = Metric(
    "edge_recall", "share", "privacy", "lower", "edges of erased images that were found", 0.1, short="edges",
    title="Edges found", bounds=(0.0, 0.9), leak="inferred", shown={"attacked": 25, "tradeoff": 5, "beta": 5},
)  # fmt: skip
NOISE = (0.0, 0.004, -0.003, 0.002, -0.003)


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog._BY_NAME, ADDED.name, ADDED)


def measured(method: str, level: float, beta: float = 0.1, **other: Any) -> list[dict[str, Any]]:
    place = {"scenario": f'{{"beta":{beta},"kind":"leak"}}', "scenario_id": f"beta={beta}"}
    made = rows(method, ADDED.name, [level + each for each in NOISE], attack="outlines", n_samples=50, **place)
    made += judged(method, accuracy=[0.9 + each for each in NOISE], **place)
    return [{**each, **other, "cell_key": f"{each['cell_key']} {beta}"} for each in made]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    levels = (("crfu", 0.7), ("vbu", 0.5), ("retrain", 0.3))
    made = [row for beta in (0.1, 0.2) for method, level in levels for row in measured(method, level, beta)]
    write_cells(tmp_path / "results" / "records", made)
    return tmp_path / "results"


@pytest.fixture
def frame(results: Path) -> pd.DataFrame:
    return leaderboard.build(results / "records", results)


def test_the_leaderboard_compares_tests_and_ranks_by_it(frame: pd.DataFrame, results: Path) -> None:
    crfu = frame[(frame["method_id"] == "crfu") & frame["attack"].notna()].iloc[0]
    assert crfu["edge_recall"] == pytest.approx(0.7)
    assert crfu["edge_recall_gap_retrain"] == pytest.approx(0.4)
    assert crfu["edge_recall_gap_trivial"] == pytest.approx(0.6)
    assert max(crfu["edge_recall_p_retrain"], crfu["edge_recall_p_trivial"]) < 0.001
    assert (crfu["rank_metric"], crfu["rank"], crfu["advantage"]) == ("advantage", 2, pytest.approx(0.6 / 0.9))
    assert leaderboard.read(results / "leaderboard.parquet").equals(frame)


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_tables_show_it_by_its_short_name_and_explain_it(frame: pd.DataFrame, format: str) -> None:
    text = " ".join(export.export(frame, format).split())
    assert "edges" in text
    assert "edges of erased images that were found (privacy: lower is better; trivial attacker 0.1)" in text
    lines = export.export(frame, "markdown").splitlines()
    header = next(line for line in lines if "edges" in line)
    assert header.index("adv.") < header.index("edges")


@pytest.mark.parametrize("format", ["csv", "json"])
def test_exports_for_programs_have_its_columns(frame: pd.DataFrame, format: str) -> None:
    text = export.export(frame, format)
    assert all(f"edge_recall{end}" in text for end in ("_low", "_n", "_gap_retrain", "_gap_trivial", "_p_trivial"))


def test_a_leak_is_reported_by_it(frame: pd.DataFrame) -> None:
    text = export.export(frame, "leaks")
    assert "edge_recall" in text.replace("\\", "")
    assert "edges of erased images that were found" in text


def test_the_site_shows_it_in_tables_and_figures(results: Path, tmp_path: Path) -> None:
    publishing.publish([results], tmp_path / "site")
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site" / "experiments").rglob("*.html")]
    assert any("Edges found" in page and "edges of erased images that were found" in page for page in pages)
    assert any("Edges found of 6 contenders" in page for page in pages)  # leakage against accuracy
    assert any(
        "line plots. Edges found: " in page and "crfu from 0.7 at 0.1 to 0.7 at 0.2" in page for page in pages
    )  # over beta


def test_records_take_it_and_submissions_are_checked_for_its_range() -> None:
    cell = measured("crfu", 0.7)[:1]
    good, bad = writing.check(cell, "cell"), writing.check([{**cell[0], "value": 0.95}], "cell")
    assert contradiction(good, good[0]["cell_key"], failed=False) is None
    wrong = contradiction(bad, bad[0]["cell_key"], failed=False)
    assert wrong == "value of 'edge_recall' is 0.95; it lies between 0 and 0.9"
    with pytest.raises(RecordError, match="unknown metric 'edge_recal'"):
        writing.check([{**cell[0], "metric": "edge_recal"}], "cell")


def test_values_of_two_machines_agree_within_its_tolerance() -> None:
    one = taken(measured("crfu", 0.7)[:1], "one")
    near, far = (taken(measured("crfu", level, device="other")[:1], "other") for level in (0.74, 0.85))
    assert [each.is_small for each in differences(one, near)] == [True]  # within 4 of 50 images
    assert [each.is_small for each in differences(one, far)] == [False]
