"""Results as objects: tables, verdicts and figures, made from records and safe to show."""

from __future__ import annotations

import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT
from hostile_text import EVERYTHING, commanding
from sample_records import row, rows, write_cells

import unlearnbench as ub


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> ub.Results:
    """A copy of published results."""
    folder = tmp_path_factory.mktemp("results") / "zoo"
    shutil.copytree(ROOT / "results" / "zoo", folder)
    return ub.load(folder)


def test_the_frame_is_the_leaderboard_and_belongs_to_the_caller(published: ub.Results) -> None:
    frame = published.to_pandas()
    on_disk = pd.read_parquet(published.path / "leaderboard.parquet")
    assert list(frame["method_id"]) == list(on_disk["method_id"])
    assert {"accuracy", "accuracy_low", "auc_gap_retrain"} <= set(frame.columns)
    frame["method_id"] = "mine"
    assert "mine" not in set(published.to_pandas()["method_id"])


def test_records_are_one_row_per_cell_and_metric(tmp_path: Path) -> None:
    write_cells(tmp_path / "records", [*rows("crfu", "accuracy", [0.9, 0.8]), *rows("crfu", "auc", [0.5, 0.6])])
    found = ub.load(tmp_path).records()
    assert sorted(zip(found["seed"], found["metric"], found["value"], strict=True)) == [
        (0, "accuracy", 0.9), (0, "auc", 0.5), (1, "accuracy", 0.8), (1, "auc", 0.6),
    ]  # fmt: skip


def test_a_leaderboard_shows_one_experiment_or_all(published: ub.Results) -> None:
    text = str(published.leaderboard("table3"))
    assert "table3 / " in text.replace("table3", "table3 /", 1)
    assert "digits" not in text
    assert "<table>" in published.leaderboard("table3")._repr_html_()
    with pytest.raises(ub.InputError, match=r"experiment: no 'table4' .* did you mean 'table3'\?"):
        published.leaderboard("table4")


def test_verdicts_say_of_each_contender_what_is_shown(published: ub.Results) -> None:
    found = published.verdicts()
    assert len(found) == len(published.to_pandas())
    bare = found[found["attack_id"].isna()]
    assert bare["leaks"].isna().all()
    attacked = found[found["attack_id"].notna() & (found["method_id"] == "crfu")]
    assert attacked["leaks"].any()
    assert not found.loc[found["method_id"] == "retrain", "leaks"].fillna(False).any()
    assert found["verdict"].notna().all()


def test_the_frontier_is_a_figure_that_pyplot_does_not_know(published: ub.Results) -> None:
    figure = published.plot_frontier("digits_leak")
    assert {"test accuracy →"} == {axes.get_xlabel() for axes in figure.axes}
    assert figure._repr_png_().startswith(b"\x89PNG")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or figure not in map(pyplot.figure, pyplot.get_fignums())


def test_a_plot_of_several_asks_which(published: ub.Results) -> None:
    with pytest.raises(ub.InputError, match=r"results: \d figures; choose experiment and dataset: .*digits_leak"):
        published.plot_frontier()
    with pytest.raises(ub.InputError, match=r"dataset: no 'mnits' in these results; did you mean 'mnist'\?"):
        published.plot_frontier(dataset="mnits")
    with pytest.raises(ub.InputError, match=r"results: nothing to draw: this needs a gallery"):
        published.plot_reconstructions()


def test_what_failed_is_counted_by_cell(tmp_path: Path) -> None:
    made = [*rows("crfu", "accuracy", [0.9]), *rows("crfu", "auc", [0.9])]
    made.append(row("crfu", 1, "accuracy", None, status="failed", error="train: boom"))
    made.append(row("crfu", 2, "accuracy", None, status="timeout", error="train: longer than 1 s"))
    made.append(row("vbu", 0, "accuracy", None, status="skipped", error="no"))
    write_cells(tmp_path / "records", made)
    results = ub.load(tmp_path)
    assert results.failed == 2
    assert repr(results).endswith("4 cells: 1 failed, 1 ok, 1 skipped, 1 timeout")


class _Tags(HTMLParser):
    """The tags and attributes of a page, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_and_errors_of_strangers_are_text_wherever_they_are_shown(tmp_path: Path) -> None:
    evil = EVERYTHING.replace("\x00", "")
    made = [*rows("crfu", "accuracy", [0.9, 0.8, 0.7], method_id=evil, experiment=evil, dataset=evil)]
    made.append(row("vbu", 0, "accuracy", None, status="failed", error=evil, method_id=evil + "2", experiment=evil))
    write_cells(tmp_path / "records", made)
    results = ub.load(tmp_path)
    for shown in (results._repr_html_(), results.leaderboard()._repr_html_()):
        page = _Tags(shown)
        assert page.tags <= {"p", "code", "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li"}
        assert page.attributes == []
        assert not commanding(page.text)
        assert "<script>alert(1)</script>" in page.text
    assert not commanding(repr(results) + str(results.leaderboard()))


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ub.InputError, match="holds no folder 'records'"):
        ub.load(tmp_path)
