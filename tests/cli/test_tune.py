"""`unlearnbench tune` from the command line on: rounds, choice, files, and that no test image is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from tiny_runs import Place, Ran, rows, write_method

from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.registry.registry import discover
from unlearnbench.suite.suite import load_suite

SUITE = """
name: tiny
seed: 3
seeds: 3
experiments:
  forget:
    datasets: [DATASET]
    scenario:
      kind: utility
      erased_ratio: 0.06
      backdoor: {base: 1, target: 0}
      stop: {rule: backdoor}
      network: {hidden: 16, latent: 8}
      training: {epochs: 8, lr: 0.01, batch: 50}
      train_size: 500
      validation: 200
    methods:
      - suppress: {shift: [0, 5, 60]}
      - suppress: {shift: 60, lost: [3, 1, 0]}
    tune:
      metric: accuracy
      subject_to: {backdoor_accuracy: 0.02}
"""
# The target class's bias goes down by `shift`: 0 keeps the backdoor, 5 a part of it, 60 neither it nor the class.
# So many other classes are `lost`, each with its tenth of the accuracy. The optimum is shift=60, lost=0.
SUPPRESS = """
from unlearnbench.settings.scenario import PluginParams
class Params(PluginParams):
    shift: float = 1.0
    lost: int = 0
"""
LOWER = """
lower = torch.zeros(10)
lower[0] = self.params.shift
lower[1 : 1 + self.params.lost] = 100
tensors = before.expand(sets.replicas).tensors
return before.expand(sets.replicas).with_tensors(
    {name: value - lower if name == "approximator.2.bias" else value for name, value in tensors.items()}
)
"""
DATASET = """
import unlearnbench.datasets.digits as digits
from unlearnbench.plugin import Images

class Hands(digits.Digits):
    def load(self, root):
        data = super().load(root)
        CHANGE
        return data
"""
WRONG = "data = data._replace(test=Images(data.test.pixels * 0, (data.test.labels + 1) % 10, data.test.ids))"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests here: they share their originals and retrained models."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def place(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    write_method(tmp_path / "own", "suppress", body=SUPPRESS, unlearn=LOWER)
    write_suite(tmp_path)
    there = Place(tmp_path, capsys, monkeypatch)
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(store))
    return there


def write_suite(folder: Path, tune: str = "", dataset: str = "digits") -> None:
    """The suite as a file; `tune` is added to its section of that name."""
    (folder / "suite.yaml").write_text(SUITE.replace("DATASET", dataset) + tune)


def tune(place: Place, *arguments: str, code: int = 0) -> tuple[dict[str, int], Ran]:
    """What the closing line says, and all the rest."""
    ran = place.run("--plugins", "own", *arguments, verb="tune")
    assert ran.code == code, ran
    line = ran.out.splitlines()[-1]
    assert line.startswith("cells: ")
    return {key: int(value) for key, value in (part.split("=") for part in line.split()[1:])}, ran


def tuned(place: Place) -> dict[str, Any]:
    """The method's choice."""
    content = yaml.safe_load((place.results / "tuned.yaml").read_text())
    (at,) = content["experiments"]["forget"]["choices"]
    assert at["dataset"] in ("digits", "hands")
    choice: dict[str, Any] = at["methods"]["suppress"]
    assert list(at["methods"]) == ["suppress"]
    return choice


def tried(place: Place) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(place.results / "tuning.parquet").to_pylist()
    return rows


def test_the_best_setting_that_meets_the_rule_is_chosen_with_its_evidence(place: Place) -> None:
    counts, ran = tune(place)
    assert counts == {"planned": 21, "done": 21, "cached": 0, "failed": 0, "skipped": 0}
    choice = tuned(place)
    assert (choice["chosen"], choice["method_id"]) == ({"shift": 60.0}, "suppress[shift=60]")
    assert (choice["tried"], choice["met"], choice["finalists"]) == (5, 3, 5)  # shift=60 stands in both grids
    assert "suppress[shift=60]" in ran.out.splitlines()[1]
    # The evidence is that of the records.
    own = [row for row in rows(place.results) if row["method_id"] == "suppress[shift=60]"]
    assert {f"{row['cell_key']}.parquet" for row in own} == set(choice["records"])
    accuracies = [row["value"] for row in own if row["metric"] == "accuracy"]
    metric, bound = choice["metric"], choice["constraints"]["backdoor_accuracy"]
    assert (metric["name"], metric["n"]) == ("accuracy", 3)
    assert metric["mean"] == pytest.approx(sum(accuracies) / 3)
    assert metric["low"] < metric["mean"] < metric["high"]
    assert bound["mean"] <= bound["bound"] == 0.02
    # All that was tried, best first: what meets the rule by accuracy, then the rest by its distance.
    settings = [row for row in tried(place) if row["method"] == "suppress"]
    assert [row["method_id"] for row in settings] == [
        "suppress[shift=60]",
        "suppress[lost=1,shift=60]",
        "suppress[lost=3,shift=60]",
        "suppress[shift=5]",
        "suppress[shift=0]",
    ]
    assert [row["state"] for row in settings] == ["chosen", "met", "met", "not_met", "not_met"]
    assert [row["place"] for row in settings] == [1, 2, 3, 4, 5]
    best = [row["accuracy"] for row in settings[:3]]
    assert best == sorted(best, reverse=True)
    assert {row["method"]: row["state"] for row in tried(place) if row["method"] != "suppress"} == {
        "original": "reference", "retrain": "reference",
    }  # fmt: skip
    assert settings[0]["target_class_accuracy_n"] == 3
    assert {"other_classes_accuracy", "gradient_steps", "forgot"} <= set(settings[0])
    text = (place.results / "tuning.md").read_text()
    assert "suppress\\[shift=60\\]" in text
    assert "retrain" in text
    # The parameters make the setting that was chosen when a suite is written from them.
    (place.folder / "then.yaml").write_text(
        "name: then\nexperiments: {one: {datasets: [digits], scenario: {kind: utility, erased_count: 3},"
        f" methods: [suppress: {choice['chosen']}]}}}}"
    )
    settings = load_suite(place.folder / "then.yaml", discover([place.folder / "own"])).settings()
    assert choice["method_id"] in {setting.method.id for setting in settings}
    # The leaderboard and `report` are as ever.
    assert len(leaderboard.read(place.results / "leaderboard.parquet")) == 7
    assert cli.main(["report", "results/tiny"]) == 0


def test_tuning_again_computes_nothing_and_chooses_the_same(place: Place) -> None:
    write_suite(place.folder, "      screening_seeds: 1\n      finalists: 2\n")
    tune(place)
    files = {name: (place.results / name).read_bytes() for name in ("tuned.yaml", "tuning.parquet", "tuning.md")}
    counts, _ = tune(place)
    assert counts["cached"] == counts["planned"] > 0
    assert {name: (place.results / name).read_bytes() for name in files} == files


def test_only_finalists_and_references_are_run_with_all_seeds(place: Place) -> None:
    write_suite(place.folder, "      screening_seeds: 1\n      finalists: 2\n")
    assert len(load_suite(Path("suite.yaml"), discover([Path("own")])).settings()) == 7  # what `plan` shows
    counts, _ = tune(place)
    assert counts["planned"] == 7 + 2 * 4
    seeds: dict[str, set[int]] = {}
    for row in rows(place.results):
        seeds.setdefault(row["method_id"], set()).add(row["seed"])
    complete = {name for name, some in seeds.items() if some == {0, 1, 2}}
    assert complete == {"original", "retrain", "suppress[shift=60]", "suppress[lost=1,shift=60]"}
    assert all(some == {0} for name, some in seeds.items() if name not in complete)
    choice = tuned(place)
    assert (choice["method_id"], choice["tried"], choice["finalists"]) == ("suppress[shift=60]", 5, 2)
    states = {row["method_id"]: row["state"] for row in tried(place)}
    assert states["suppress[lost=3,shift=60]"] == states["suppress[shift=0]"] == "screened_out"


def test_where_no_setting_meets_the_rule_nothing_is_chosen_and_the_closest_is_told(place: Place) -> None:
    write_suite(place.folder, "      samples: 1000\n")
    text = (place.folder / "suite.yaml").read_text()
    text = text.replace("[0, 5, 60]", "[0, 5]").replace("shift: 60, lost: [3, 1, 0]", "shift: 0.5")
    (place.folder / "suite.yaml").write_text(text)
    _, ran = tune(place)
    choice = tuned(place)
    assert choice["chosen"] is None
    assert choice["reason"] == "no setting meets forgot on every seed and backdoor_accuracy <= 0.02"
    assert choice["closest"]["params"] == {"shift": 5.0}
    assert "backdoor_accuracy is" in choice["closest"]["why_not"]
    assert (choice["tried"], choice["met"]) == (3, 0)
    assert "nothing chosen: forget / digits / suppress: no setting meets" in ran.err
    assert ran.out.splitlines()[1].split()[4] == "-"


def test_the_test_images_have_no_say(place: Place) -> None:
    write_suite(place.folder, dataset="hands")
    found = []
    for change in ("pass", WRONG):
        (place.folder / "own" / "datasets").mkdir(exist_ok=True)
        (place.folder / "own" / "datasets" / "hands.py").write_text(DATASET.replace("CHANGE", change))
        tune(place, "--results", f"results/{len(found)}", "--seeds", "1")
        results = place.folder / "results" / str(len(found))
        found.append(pq.read_table(results / "tuning.parquet").to_pylist())
    assert found[0] == found[1]
    assert any(row["state"] == "chosen" for row in found[0])


def test_a_setting_that_fails_can_not_win_and_the_choice_says_so(place: Place) -> None:
    fails = "if self.params.shift == 60 and not self.params.lost:\n    raise RuntimeError('no luck')\n"
    write_method(place.folder / "own", "suppress", body=SUPPRESS, unlearn=fails + LOWER)
    counts, ran = tune(place, code=1)
    assert (counts["done"], counts["failed"]) == (18, 3)
    choice = tuned(place)
    assert (choice["method_id"], choice["incomplete"]) == ("suppress[lost=1,shift=60]", 1)
    assert "1 of 5 settings lack results and can't win" in ran.err
    (row,) = [row for row in tried(place) if row["method_id"] == "suppress[shift=60]"]
    assert row["state"] == "incomplete"
    assert "no luck" in row["why"]
    assert row["accuracy"] is None


def test_fail_fast_ends_before_the_second_round_and_nothing_is_chosen(place: Place) -> None:
    write_suite(place.folder, "      screening_seeds: 1\n      finalists: 2\n")
    fails = "if self.params.lost == 3:\n    raise RuntimeError('no luck')\n"
    write_method(place.folder / "own", "suppress", body=SUPPRESS, unlearn=fails + LOWER)
    counts, _ = tune(place, "--fail-fast", code=1)
    assert (counts["planned"], counts["failed"]) == (7, 1)
    choice = tuned(place)
    assert choice["chosen"] is None
    assert choice["reason"].startswith("no setting has results for all 3 seeds")


def test_ctrl_c_is_130_and_the_next_call_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = "if self.params.lost == 1 and not Path('go').exists():\n    raise KeyboardInterrupt\n"
    write_method(place.folder / "own", "suppress", body=SUPPRESS, unlearn=stops + LOWER)
    first, _ = tune(place, code=130)
    assert not (place.results / "tuned.yaml").exists()
    (place.folder / "go").touch()
    second, _ = tune(place)
    assert second["cached"] == first["done"] > 0
    assert second["done"] == second["planned"] - first["done"]
    assert tuned(place)["method_id"] == "suppress[shift=60]"


def test_run_ignores_the_section_unless_it_draws_or_screens(place: Place) -> None:
    assert place.run("--plugins", "own", "-m", "suppress[shift=60,lost=0]", "--seeds", "1").counts["done"] == 3
    for more in ("      samples: 2\n", "      screening_seeds: 1\n      finalists: 2\n"):
        write_suite(place.folder, more)
        ran = place.run("--plugins", "own")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            "error: suite.yaml:experiments.forget: this experiment is for 'unlearnbench tune': it runs only a part of"
            " its grid\n"
        )
        assert cli.main(["validate", "suite.yaml", "--plugins", "own"]) == 0


def test_mistakes_are_one_line_and_write_nothing(place: Place) -> None:
    ran = place.run("--plugins", "own", "-e", "forgt", verb="tune")
    assert ran.err == "error: -e forgt: no experiment 'forgt' in suite 'tiny'; did you mean 'forget'?\n"
    text = (place.folder / "suite.yaml").read_text().replace("[3, 1, 0]", "1")
    (place.folder / "suite.yaml").write_text(text[: text.index("    tune:")])
    ran = place.run("--plugins", "own", verb="tune")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == ("error: suite.yaml: no experiment has a section 'tune'; 'unlearnbench run' runs this suite\n")
    assert not (place.folder / "results").exists()
