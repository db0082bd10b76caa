"""What stands on the pages: numbers with their intervals, reasons for what is missing, links that lead somewhere."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from sample_records import judged, rows
from site_records import Page, forget_rows, leak_rows, pages, results, scene

from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.site import boards, cells, leak_table, standing, tradeoffs
from unlearnbench.site.board import Board, choices
from unlearnbench.site.cells import TableCell
from unlearnbench.site.rows import BoardRow, site_rows


@pytest.fixture(scope="module")
def board_rows(tmp_path_factory: pytest.TempPathFactory) -> list[BoardRow]:
    folder = results(tmp_path_factory.mktemp("rows"), [*leak_rows(), *forget_rows()])
    return [*site_rows(leaderboard.build(folder / "records", folder), "leaks", "leaks")]


@pytest.fixture(scope="module")
def membership(board_rows: list[BoardRow]) -> Board:
    return boards.boards([row for row in board_rows if row["experiment"] == "leak"])[0]


def built(folder: Path, made: list[dict[str, Any]]) -> list[BoardRow]:
    """Rows as pages have them."""
    results(folder, made)
    return [*site_rows(leaderboard.build(folder / "records", folder), "x", "x")]


def cell(board: Board, method: str, column: str, **where: str) -> TableCell:
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
    assert found.text == "0.800 [0.762, 0.834]"
    assert found.value == pytest.approx(0.8)
    assert found.details[0].endswith("mean 0.8")
    assert found.details[1] == "95 % interval 0.7622 to 0.8342"
    assert found.details[2] == "n = 5 seeds"


def test_beside_it_stand_the_differences_to_retraining_and_to_the_trivial_attacker(membership: Board) -> None:
    gap = cell(membership, "crfu", "auc_gap_retrain")
    assert (gap.text, gap.state) == ("+0.25 ± 0", "leak")
    assert gap.details[-1].startswith("shown to leak: betrays more than retraining does, p < 0.001, adjusted for all")
    assert cell(membership, "renew", "auc_gap_retrain").state == ""
    assert cell(membership, "crfu", "auc_gap_trivial").text == "+0.300"
    assert cell(membership, "renew", "auc", tier="disjoint", beta="0.1").text.startswith("0.400 [")
    below = cell(membership, "renew", "auc_gap_trivial", tier="disjoint", beta="0.1")
    assert below.text == "\u22120.100"


def test_places_are_those_of_the_means_and_say_what_the_tests_can_tell(membership: Board) -> None:
    best, other = cell(membership, "renew", "rank"), cell(membership, "crfu", "rank")
    assert (best.text, other.text) == ("1", "2")
    assert other.details == (
        "place 2 of 3 by the mean of advantage",
        "distinguished from the best by a paired test over seeds",
        "a difference of 0.05 to the best is detected with probability 1.00",
    )
    assert not any("distinguished from the best" in line for line in best.details)


def test_what_can_not_be_told_from_the_best_is_marked(tmp_path: Path) -> None:
    noisy = {"crfu": [0.6, 0.7, 0.65, 0.6, 0.7], "vbu": [0.7, 0.61, 0.62, 0.68, 0.66], "hbu": [0.9] * 5}
    made = [each for method in noisy for each in judged(method)]
    made += [each for method, values in noisy.items() for each in rows(method, "auc", values, attack="a")]
    (board,) = boards.boards(built(tmp_path, made))
    assert [line.cells[0].text for line in board.lines] == ["1≈", "2≈", "3"]
    assert board.lines[1].cells[0].details[1].startswith("2 cannot be distinguished from one another at the top")
    (note,) = board.notes
    assert note.startswith("Power: a difference of 0.05 in advantage to the best is detected with probability 0.")


def test_every_table_has_the_verdict_with_k_of_n_and_accuracy_beside_retraining(membership: Board) -> None:
    assert [column.key for column in membership.columns][:2] == ["rank", "method"]
    forgot, kept = cell(membership, "crfu", "forgot"), cell(membership, "crfu", "kept")
    assert (forgot.text, forgot.details[0]) == ("forgotten 5/5", "forgotten: 5 of 5 seeds within the margin")
    assert kept.text == "kept"
    assert kept.details == ("test accuracy minus retraining's, seed by seed: \u22120.0024 ± 0.0048",)
    lazy = cell(membership, "lazy", "forgot")
    assert (lazy.text, lazy.state) == ("remembered 0/5", "null")
    assert "cannot be told under double the margin" in lazy.details
    assert cell(membership, "crfu", "beside").text == "worse"
    assert cell(membership, "renew", "beside").text == "no worse"
    assert any(line.startswith("forgot: ") for line in membership.legend)


def without(metric: str, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in made if each["metric"] != metric]


STAMPED = scene(backdoor={"target": 0}, stop={"threshold": 0.1})


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (judged("m", "over-forgotten"), "not ranked: over-forgotten (0 of 5 seeds within the margin)"),
        (
            judged("m", "cannot be told"),
            "not ranked: cannot be told whether it forgot (1 of 5 seeds within the margin)",
        ),
        (judged("m", seeds=2), "not ranked: fewer than three seeds to judge forgetting by"),
        (judged("m", utility="below the floor"), "not ranked: accuracy below the floor"),
        (
            judged("m", utility="cannot be told"),
            "not ranked: cannot be told whether accuracy is kept (\u22120.06 ± 0.26 beside retraining)",
        ),
        (without("retrained_accuracy", judged("m")), "not ranked: accuracy not judged: no retraining to compare with"),
        (judged("m", protocol_version=1), "not ranked: measured before protocol 2"),
        (
            without("memory", judged("m")),
            "not judged: one retraining passes over more images than judging.largest_retraining",
        ),
        (
            without("memory", judged("m", **scene(judging={"largest_retraining": 9}))),
            "not judged: one retraining passes over more images than judging.largest_retraining (9)",
        ),
        (rows("m", "auc", [0.7] * 5, attack="a"), "not judged: its models were not measured without an attack"),
        (
            [*without("memory_original", judged("m")), *rows("m", "memory_original", [0.1, -0.1, 0.0, 0.1, -0.1])],
            "not ranked: nothing to forget: that the original remembers the erased images is not shown",
        ),
        (judged("m", **STAMPED), "not judged: accuracy on the stamped images was not measured"),
        (
            [*judged("m", **STAMPED), *rows("m", "backdoor_accuracy", [0.05, 0.9, 0.9, 0.9, 0.9, 0.9], **STAMPED)],
            "not ranked: cannot be told whether it forgot (1 of 6 seeds under the threshold)",
        ),
        (
            [*judged("m"), *rows("m", "mse", [0.1] * 5, attack="a")],
            "not ranked: nothing to rank by was measured",
        ),
        (
            [*judged("m"), *rows("m", "auc", [0.7, 0.7], attack="a")],
            "not ranked: fewer than three seeds of advantage",
        ),
        (judged("seed_noise"), "not ranked: a reference, not a contender"),
    ],
)  # fmt: skip
def test_why_a_contender_has_no_place(tmp_path: Path, made: list[dict[str, Any]], why: str) -> None:
    (row,) = built(tmp_path, made)
    assert standing.place(row).details == (why,)
    assert standing.place(row).state == "null"


@pytest.mark.parametrize(
    ("method", "column", "why"),
    [
        ("lazy", "rank", "not ranked: remembered (0 of 5 seeds within the margin)"),
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
    (row,) = site_rows(leaderboard.build(folder / "records", folder), "x", "x")
    assert "no interval: fewer than three seeds" in cells.measured(row, METRICS["accuracy"]).details


def test_filters_are_the_dimensions_in_which_rows_differ(membership: Board) -> None:
    assert choices(membership.lines) == {
        "dataset": ["digits", "mnist"],
        "method": ["renew", "crfu", "vbu", "lazy", "retrain", "broken"],
        "attack": ["membership[tier=disjoint]", "membership[tier=same]"],
        "tier": ["disjoint", "same"],
        "beta": ["0", "0.1"],
    }


def test_what_all_rows_share_is_said_once(membership: Board) -> None:
    assert ("observes", "log probabilities") in membership.shared
    assert "observes" not in [column.key for column in membership.columns]


def test_erased_ratios_are_a_column_in_order_of_size(board_rows: list[BoardRow]) -> None:
    (board,) = boards.boards([row for row in board_rows if row["experiment"] == "figure4"])
    assert choices(board.lines)["edr"] == ["2 %", "6 %", "10 %"]
    assert "edr" in [column.key for column in board.columns]


def test_the_glance_marks_leaks_in_text(board_rows: list[BoardRow]) -> None:
    (board,) = leak_table.boards([row for row in board_rows if row["experiment"] == "leak"])
    texts = [each.text for line in board.lines for each in line.cells]
    assert "▲ 0.800 (+0.25)" in texts
    assert "▲ 0.900 (+0.35) †" in texts
    tallied = {tally.method: (tally.leaking, tally.accesses) for tally in leak_table.tallies(
        row for row in board_rows if row["attack"])}  # fmt: skip
    assert tallied["crfu"] == (8, 8)
    assert tallied["renew"] == (0, 8)
    judged_as = {tally.method: (tally.forgot, tally.kept, tally.settings) for tally in leak_table.tallies(board_rows)}
    assert (judged_as["crfu"], judged_as["lazy"]) == ((4, 4, 4), (0, 4, 4))


def test_the_glance_has_the_verdicts_of_each_setting_above_its_attacks(board_rows: list[BoardRow]) -> None:
    board = leak_table.boards([row for row in board_rows if row["experiment"] == "leak"])[0]
    assert board is not None
    verdicts = [line for line in board.lines if line.every]
    assert verdicts == list(board.lines[:8])  # two lines for each of four settings
    keys = [column.key for column in board.columns]
    where = {name: keys.index(f"method-{name}") for name in ("crfu", "lazy", "retrain")}
    forgot, kept = verdicts[0].cells, verdicts[1].cells
    assert (forgot[0].text, kept[0].text) == ("forgot?", "accuracy kept?")
    assert [forgot[place].text for place in where.values()] == ["forgotten 5/5", "remembered 0/5", "forgotten 5/5"]
    assert [kept[place].text for place in where.values()] == ["kept"] * 3
    assert set(verdicts[0].filters) == {"dataset", "beta", "edr"}
    (lazy,) = {line.cells[where["lazy"]].details[-2:] for line in board.lines[8:]}
    assert lazy == ("remembered 0/5", "accuracy: kept")


def test_without_retraining_the_glance_says_what_is_beyond_looking_at_nothing(tmp_path: Path) -> None:
    board = leak_table.boards(built(tmp_path, [*judged("crfu"), *rows("crfu", "auc", [0.8] * 5, attack="a")]))[0]
    assert board is not None
    assert [line.cells[-1].text for line in board.lines] == ["forgotten 5/5", "kept", "△ 0.800"]
    assert all(line.cells[-1].state != "leak" for line in board.lines)


@pytest.mark.parametrize("words", ["one in forty", "cell in forty", "in every seed", "Ties are", "tied"])
def test_no_page_tells_of_rules_that_are_gone(site: Path, words: str) -> None:
    assert not [path for path, page in pages(site).items() if words in page.text.replace("not in every seed", "")]


def test_the_front_is_who_nobody_beats_on_both() -> None:
    accuracy, auc = METRICS["accuracy"], METRICS["auc"]

    def point(
        x: float, y: float, verdict: str = "forgotten", utility: str = "kept", reference: bool = False
    ) -> tradeoffs.Point:
        row = {"method": "m", "accuracy": x, "auc": y, "verdict": verdict, "utility": utility, "reference": reference}
        return tradeoffs.Point(row, accuracy, auc)

    able = [point(0.9, 0.6), point(0.8, 0.5), point(0.85, 0.7)]
    not_able = [
        point(0.99, 0.5, reference=True),
        point(0.99, 0.1, "remembered"),
        point(0.99, 0.1, "over-forgotten"),
        point(0.99, 0.1, "cannot be told"),
        point(0.99, 0.1, utility="below the floor"),
        point(0.99, 0.1, utility="cannot be told"),
    ]
    assert [each.at for each in tradeoffs.front([*able, *not_able])] == [(0.8, 0.5), (0.9, 0.6)]


def test_leaks_are_drawn_by_the_attackers_advantage_first(board_rows: list[BoardRow]) -> None:
    figure = tradeoffs.leakage([row for row in board_rows if row["experiment"] == "leak"], "x")[0]
    assert figure.rows[0][2] == "membership[tier=same] (advantage)"
    assert figure.headers[-3:] == ("forgot", "accuracy kept", "on the front")
    assert {row[-3:-1] for row in figure.rows} == {("forgotten 5/5", "kept"), ("remembered 0/5", "kept")}
    assert {row[0] for row in figure.rows if row[-1]} <= {"crfu", "vbu", "renew"}


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
    assert "95 % interval 0.7622 to 0.8342" in page.text
    assert all("hidden" in attributes for attributes in page.all("fieldset"))
    assert not any("hidden" in attributes for attributes in page.all("tr"))


def test_the_overview_begins_with_the_results_one_line_a_method(site: Path) -> None:
    page = pages(site)["index.html"]
    headings = [each.get("id") for tag, each in page.elements if tag == "h2"]
    assert headings[:2] == ["results-title", "leaks-title"]
    assert "strongest leak - retrain" in page.text
    assert "crfu forgotten 5/5 -0.0024 ± 0.0048 0.5 ± 0 membership leaks" in page.text
    links = {str(each.get("href")) for each in page.all("a")}
    # Four settings of leak, three of figure4 and figure5's one: six in full, and links to all.
    assert {f"experiments/leaks/leak.html#result-{number}" for number in (1, 2, 3, 4)} <= links
    assert {f"experiments/forgetting/figure4.html#result-{number}" for number in (1, 2, 3)} <= links
    assert "And for 2 more settings:" in page.text


def test_a_site_of_an_attack_that_finds_something_where_nothing_was_erased_is_not_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [*rows("seed_noise", "auc", [0.8] * 5, attack="a"), *rows("retrain", "auc", [0.5] * 5, attack="a")]
    folder = results(tmp_path / "some", made)
    assert cli.main(["publish", str(folder), "--out", str(tmp_path / "site")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("error: leak, a, same, log probabilities: 'seed_noise', which erases nothing, is shown")
    assert not (tmp_path / "site").exists()


def test_leaderboards_lie_beside_the_pages(site: Path) -> None:
    folder = site / "data/leaks"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"leaderboard.{e}" for e in ("csv", "md", "parquet", "tex")
    ]
    assert len(leaderboard.read(folder / "leaderboard.parquet")) == 41
