"""Every choice of what is erased, from a suite to records: two methods, one attack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from tiny_runs import Place

from unlearnbench.records.reading import read_folder
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import CHOSEN_BY_MODELS
from unlearnbench.stages.retraining import scored
from unlearnbench.suite.plan import Plan, build
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.errors import InputError

SUITE = """
name: tiny
seeds: 1
experiments:
  leak:
    datasets: [DATASET]
    scenario:
      kind: leak
      erased: ERASED
      erased_count: 2
      targets: 4
      negatives: 1
      selection_models: 8
      network: {hidden: 8, latent: 4}
      leak: {target: 100, known: 70, pool: 260, validation: 0, probe: 10, spare: 80}
      stop: {rule: steps, steps: 2}
      training: {epochs: 2}
      judging: {retrained: 4}
    methods: [gradient_ascent, fine_tune]
    attacks: ATTACKS
"""
PERSONS = "images: {params: {path: persons, mode: L, groups: folder}}"
CHOICES = ("class", "hardest", "entangled", "group")


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


def write_persons(folder: Path) -> None:
    """Digits under `persons/<digit>/<person>/`: 250 persons of two to five digits each."""
    digits, generator = load_digits(), np.random.default_rng(0)
    persons = np.repeat(np.arange(250), generator.integers(2, 6, 250))
    for number, person in enumerate(persons):
        path = folder / "persons" / str(digits.target[number] % 3) / f"person{person}"
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15.9).astype("uint8")).save(path / f"{number}.png")


def write(folder: Path, erased: str, attacks: str = "[membership: {shadows: 10}]") -> Path:
    if erased == "group":
        write_persons(folder / "data")
    text = SUITE.replace("ERASED", erased).replace("ATTACKS", attacks)
    path = folder / "suite.yaml"
    path.write_text(text.replace("DATASET", PERSONS if erased == "group" else "digits"))
    return path


def planned(folder: Path) -> Plan:
    return build(load_suite(folder / "suite.yaml", discover()).settings(), folder / "data")


@pytest.mark.parametrize("erased", CHOICES)
def test_a_suite_runs_to_its_leaderboard_and_records_say_what_was_erased(place: Place, erased: str) -> None:
    write(place.folder, erased)
    assert place.run().counts == {"planned": 8, "done": 8, "cached": 0, "failed": 0, "skipped": 0}
    table, bad = read_folder(place.results / "records")
    assert not bad
    records: pd.DataFrame = table.to_pandas()
    assert {json.loads(text)["erased"] for text in records["scenario"].unique()} == {erased}
    measured = records[records["metric"].isin(["auc", "memory"])]
    assert set(measured["method"]) >= {"gradient_ascent", "fine_tune", "retrain"}
    assert measured["value"].between(-1, 1).all()
    assert place.run().counts["cached"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("erased", CHOICES)
def test_adversaries_with_models_of_their_own_attack_it_too(place: Place, erased: str) -> None:
    attacks = "[membership: {shadows: 16, shadow_models: 8, tier: disjoint}, likelihood_ratio: {models: 32}]"
    path = write(place.folder, erased, attacks)
    path.write_text(path.read_text().replace(", fine_tune]", "]\n    references: false"))
    ran = place.run()
    assert ran.counts["done"] == 3, ran.err


def test_the_hardest_images_are_those_that_models_without_them_get_most_wrong() -> None:
    margin = torch.tensor([[3.0, -1.0, 2.0], [-5.0, -3.0, 9.0], [1.0, 7.0, -4.0]])
    learned = torch.tensor([[False, False, True], [True, False, True], [False, True, False]])
    assert scored(margin, learned, "hardest").tolist() == [-2.0, 2.0, 4.0]
    assert scored(margin, learned, "memorised").tolist() == [-1.0, 1.0, 1.0]


def test_models_choose_anew_where_another_score_decides_and_originals_are_shared(tmp_path: Path) -> None:
    keys = {}
    for erased in ("random", "memorised", "hardest", "entangled", "class"):
        write(tmp_path, erased, "[]")
        keys[erased] = {task.stage: task.key for task in planned(tmp_path).tasks if task.stage in ("select", "train")}
    assert len({stages["train"] for stages in keys.values()}) == 1
    assert {erased for erased, stages in keys.items() if "select" in stages} == set(CHOSEN_BY_MODELS)
    assert keys["memorised"]["select"] != keys["hardest"]["select"]


def test_groups_of_a_dataset_without_any_are_refused_before_any_work(tmp_path: Path) -> None:
    path = write(tmp_path, "class")
    path.write_text(path.read_text().replace("erased: class", "erased: group"))
    with pytest.raises(InputError, match=r"^tiny:experiments.leak.scenario.erased \(dataset digits\): 'group' needs"):
        planned(tmp_path)
