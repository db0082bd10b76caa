"""What stands on the pages: numbers with their intervals, reasons for what is missing, links that lead somewhere."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from sample_records import rows
from site_records import Page, forget_rows, leak_rows, pages, results

from unlearnbench import leaderboard
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.site import boards, cells, glance, tradeoffs
from unlearnbench.site.boards import Board, rows_of
from unlearnbench.site.cells import Cell, Row


@pytest.fixture(scope="module")
def board_rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = results(tmp_path_factory.mktemp("rows"), [*leak_rows(), *forget_rows()])
    return [*rows_of(leaderboard.build(folder / "records", folder), "leaks", "leaks")]


@pytest.fixture(scope="module")
def membership(board_rows: list[Row]) -> Board:
    return boards.boards([row for row in board_rows if row["experiment"] == "leak"])[0]


def cell(board: Board, method: str, column: str, **where: str) -> Cell:
    place = [each.key for each in board.columns].index(column)
    wanted = {"dataset": "mnist", "beta": "0", "tier": "same", **where}
    (line,) = [
        line
        for line in board.lines
        if line.filters["method"] == method and all(line.filters[name] == value for name, value in wanted.items())
    ]
    return line.cells[place]


def test_a_number_says_its_mean_interval_and_n(membership: Board) -> None:
    found = cell(membership, "crfu", "auc")
    assert found.text == "0.8000 ± 0.0038"
    assert found.value == pytest.approx(0.8)
    assert found.details[0].endswith("mean 0.8")
    assert found.details[1] == "95 % interval 0.7962 to 0.8038"
    assert found.details[2] == "n = 5 seeds"


def test_beside_it_stand_the_differences_to_retraining_and_to_the_trivial_attacker(membership: Board) -> None:
    gap = cell(membership, "crfu", "auc_gap_retrain")
    assert (gap.text, gap.state) == ("+0.25 ± 0", "leak")
    assert "betrays more" in gap.details[-1]
    assert cell(membership, "renew", "auc_gap_retrain").state == ""
    assert cell(membership, "crfu", "auc_gap_trivial").text == "+0.300"
    assert cell(membership, "renew", "auc", tier="disjoint", beta="0.1").text.startswith("0.4000")
    below = cell(membership, "renew", "auc_gap_trivial", tier="disjoint", beta="0.1")
    assert below.text == "\u22120.100"


def test_ties_are_shown_as_ties(membership: Board) -> None:
    assert cell(membership, "renew", "rank").text == "1"
    tied = cell(membership, "crfu", "rank")
    assert tied.text == "2="
    assert tied.details[0] == "rank 2 of 3 by auc, tied with 1 more"


@pytest.mark.parametrize(
    ("method", "column", "why"),
    [
        ("lazy", "rank", "not ranked: did not forget in every seed (in 0% of them)"),
        ("retrain", "rank", "not ranked: a reference, not a contender"),
        ("retrain", "auc_gap_retrain", "retraining itself: what the others are compared with"),
        ("broken", "auc", "failed: ValueError: no <b>"),
        ("broken", "rank", "not ranked: failed: ValueError: no <b>"),
    ],
)
def test_what_is_missing_says_why(membership: Board, method: str, column: str, why: str) -> None:
    found = cell(membership, method, column)
    assert (found.text, found.value, found.state) == ("\u2013", None, "null")
    assert found.details == (why,)


def test_rates_that_too_few_images_allow_say_so(membership: Board) -> None:
    found = cell(membership, "crfu", "tpr_at_1pct_fpr", tier="disjoint")
    assert found.details == ("not given: too few never-seen images for so few false alarms",)


def test_two_seeds_have_no_interval(tmp_path: Path) -> None:
    folder = results(tmp_path, rows("crfu", "accuracy", [0.9, 0.8]))
    (row,) = rows_of(leaderboard.build(folder / "records", folder), "x", "x")
    assert "no interval: fewer than three seeds" in cells.measured(row, METRICS["accuracy"]).details


def test_filters_are_the_dimensions_in_which_rows_differ(membership: Board) -> None:
    assert boards.choices(membership.lines) == {
        "dataset": ["digits", "mnist"],
        "method": ["renew", "crfu", "vbu", "retrain", "lazy", "broken"],
        "attack": ["membership[tier=disjoint]", "membership[tier=same]"],
        "tier": ["disjoint", "same"],
        "beta": ["0", "0.1"],
    }


def test_what_all_rows_share_is_said_once(membership: Board) -> None:
    assert ("observes", "log probabilities") in membership.shared
    assert "observes" not in [column.key for column in membership.columns]


def test_erased_ratios_are_a_column_in_order_of_size(board_rows: list[Row]) -> None:
    (board,) = boards.boards([row for row in board_rows if row["experiment"] == "figure4"])
    assert boards.choices(board.lines)["edr"] == ["2 %", "6 %", "10 %"]
    assert "edr" in [column.key for column in board.columns]


def test_the_glance_marks_leaks_in_text(board_rows: list[Row]) -> None:
    (board,) = glance.boards([row for row in board_rows if row["experiment"] == "leak"])
    texts = [each.text for line in board.lines for each in line.cells]
    assert "▲ 0.800 (+0.25)" in texts
    assert "▲ 0.900 (+0.35) †" in texts
    tallied = {tally.method: (tally.leaking, tally.accesses) for tally in glance.tallies(
        row for row in board_rows if row["attack"])}  # fmt: skip
    assert tallied["crfu"] == (8, 8)
    assert tallied["renew"] == (0, 8)


def test_the_front_is_who_nobody_beats_on_both() -> None:
    accuracy, auc = METRICS["accuracy"], METRICS["auc"]

    def point(x: float, y: float, method: str = "m", forgot: float = 1) -> tradeoffs.Point:
        return tradeoffs.Point({"method": method, "accuracy": x, "auc": y, "forgot": forgot}, accuracy, auc)

    points = [point(0.9, 0.6), point(0.8, 0.5), point(0.85, 0.7), point(0.99, 0.5, "retrain"), point(0.99, 0.1, "z", 0)]
    assert [each.at for each in tradeoffs.front(points)] == [(0.8, 0.5), (0.9, 0.6)]


# --- the site --------------------------------------------------------------------------------------------------------


def test_there_is_a_page_for_everything(site: Path) -> None:
    found = set(pages(site))
    assert {
        "index.html",
        "measured.html",
        "experiments/leaks/leak.html",
        "experiments/forgetting/figure4.html",
    } <= found
    assert {"methods/crfu.html", "methods/lazy.html", "attacks/membership.html"} <= found


@pytest.mark.parametrize("which", ["site", "hostile_site"])
def test_every_link_and_file_is_there_and_relative(which: str, request: pytest.FixtureRequest) -> None:
    site: Path = request.getfixturevalue(which)
    ids = {(site / path).resolve(): {each.get("id") for _, each in page.elements} for path, page in pages(site).items()}
    for path, page in pages(site).items():
        for tag, attributes in page.elements:
            for name in ("href", "src"):
                target = attributes.get(name)
                if target is None:
                    continue
                assert not re.match(r"[a-z]+:|/", target), (path, target)
                file, _, part = target.partition("#")
                place = (site / path).parent / unquote(file) if file else site / path
                assert place.is_file(), (path, target)
                if part:
                    assert part in ids[place.resolve()], (path, target)
            assert tag != "iframe"


def test_ids_are_there_once_and_references_exist(site: Path) -> None:
    for path, page in pages(site).items():
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), path
        for _, attributes in page.elements:
            assert attributes.get("aria-labelledby", ids[0]) in ids, path


def test_headings_descend_one_level_at_a_time(site: Path) -> None:
    for path, page in pages(site).items():
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
        assert levels.count(1) == 1, path
        assert all(after - before <= 1 for before, after in pairwise(levels)), (path, levels)


def test_every_picture_has_words(site: Path) -> None:
    pictures = [each for page in pages(site).values() for each in page.all("img")]
    assert pictures
    assert all(len(each["alt"] or "") > 40 for each in pictures)


@pytest.mark.parametrize(
    ("experiment", "figures"),
    [
        ("leaks/leak", ["leaks-leak-0-tradeoff", "leaks-leak-0-beta", "leaks-leak-0-rates-membership"]),
        ("forgetting/figure4", ["forgetting-figure4-0-edr", "forgetting-figure4-0-cost"]),
        ("forgetting/figure5", ["forgetting-figure5-0-trajectory"]),
    ],
)
def test_what_can_be_drawn_is_drawn_for_light_and_for_dark(site: Path, experiment: str, figures: list[str]) -> None:
    content = (site / f"experiments/{experiment}.html").read_text()
    for name in figures:
        light, dark = ((site / f"plots/{name}.{scheme}.svg").read_text() for scheme in ("light", "dark"))
        assert f"figure-{name}" in content
        assert light != dark
        assert re.sub("#[0-9a-f]{6}", "", light) == re.sub("#[0-9a-f]{6}", "", dark)
        assert "<script" not in light


def test_a_trajectory_is_drawn_over_epochs(site: Path) -> None:
    text = Page((site / "experiments/forgetting/figure5.html").read_text()).text
    assert "0.9500 ± 0.0038" in text
    assert "epoch (first, lowest, last)" in text


def test_provenance_and_failures_are_on_the_page_about_measuring(site: Path) -> None:
    text = pages(site)["measured.html"].text
    assert "ValueError: no <b>" in text
    assert "2025-01-01" in text
    assert "torch 2.11" in text
    assert "no curves" in text  # no ROC curves, and why


def test_without_scripts_the_tables_are_whole_and_controls_are_hidden(site: Path) -> None:
    page = pages(site)["experiments/leaks/leak.html"]
    assert "95 % interval 0.7962 to 0.8038" in page.text
    assert all("hidden" in attributes for attributes in page.all("fieldset"))
    assert not any("hidden" in attributes for attributes in page.all("tr"))


def test_leaderboards_lie_beside_the_pages(site: Path) -> None:
    folder = site / "data/leaks"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"leaderboard.{e}" for e in ("csv", "md", "parquet", "tex")
    ]
    assert len(leaderboard.read(folder / "leaderboard.parquet")) == 41
