"""What is wrong with data or scenarios is said before any work, and nothing is written."""

from dataclasses import replace
from pathlib import Path

import pytest
from checkout import ROOT

from unlearnbench.cli.main import main
from unlearnbench.registry.registry import discover
from unlearnbench.running.find_finished import check_data
from unlearnbench.splits import world as scenario
from unlearnbench.suite.plan import build
from unlearnbench.suite.suite import load_suite

SUITE = str(ROOT / "suites" / "quickstart.yaml")


@pytest.mark.parametrize(
    ("override", "place", "what"),
    [
        ("leak.target=5000", "experiments.leak.scenario.leak", "the dataset has 1437"),
        ("erased_ratio=0.5", "experiments.utility.scenario.erased_ratio", "stamps 718 images of class 1"),
    ],
)
def test_a_scenario_that_does_not_fit_the_data_is_bad_input(tmp_path, capsys, override, place, what):
    experiment = place.split(".")[1]
    code = main(["run", SUITE, "-e", experiment, "--set", override, "--results", str(tmp_path / "r"),
                 "--cache", str(tmp_path / "c")])  # fmt: skip
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert f"error: quickstart:{place} (dataset digits): " in said.err
    assert what in said.err
    assert len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_damaged_data_is_bad_input_and_no_failed_cell(tmp_path, capsys):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{part}-ubyte.gz").write_bytes(b"cut short")
    paper = str(Path(SUITE).with_name("paper.yaml"))
    code = main(["run", paper, "-e", "table3", "-d", "mnist", "--data", str(tmp_path / "data"),
                 "--results", str(tmp_path / "r"), "--cache", str(tmp_path / "c")])  # fmt: skip
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert "train-images-idx3-ubyte.gz: " in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_sets_of_every_seed_are_drawn_once_whatever_else_differs(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        scenario, "build_world", lambda data, scenario, seed, device: drawn.append((scenario.kind, seed))
    )
    suite = load_suite(Path(SUITE), discover())
    settings = [each for each in suite.settings() if each.attack is None]
    others = [replace(each, scenario=each.scenario.model_copy(update={"beta": 0.5})) for each in settings]
    check_data(build([*settings, *others], tmp_path).cells, tmp_path)
    assert len(drawn) == len(set(drawn)) == 2 * 10  # two experiments, ten seeds
