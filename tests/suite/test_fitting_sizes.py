"""Sizes of a suite that fit the dataset before anything is keyed: 600 pictures in a folder, and no sizes given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_runs import Place, rows

from unlearnbench.registry.registry import discover
from unlearnbench.suite.plan import Plan, build
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.errors import InputError

LEAK: dict[str, Any] = {"kind": "leak", "erased_count": 1, "network": {"hidden": 8, "latent": 4},
                        "training": {"epochs": 2}, "stop": {"rule": "steps", "steps": 2},
                        "judging": {"retrained": 4}}  # fmt: skip
FITTING = {"target": 152, "known": 121, "pool": 224, "validation": 24, "probe": 32, "spare": 48}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    """A data root with 600 pictures of three classes in images/."""
    generator = np.random.default_rng(0)
    for number in range(600):
        folder = tmp_path / "data" / "images" / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8)).save(folder / f"{number}.png")
    return Place(tmp_path, capsys, monkeypatch)


def write(folder: Path, dataset: Any = "images", attacks: Any = (), **scenario: Any) -> Path:
    experiment = {"datasets": [dataset], "scenario": {**LEAK, **scenario}, "methods": ["vbu"], "attacks": [*attacks]}
    text = {"name": "tiny", "seeds": 1, "experiments": {"one": experiment}}
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


def planned(folder: Path, plugins: tuple[Path, ...] = (), **scenario: Any) -> Plan:
    return build(load_suite(write(folder, **scenario), discover(plugins)).settings(), folder / "data")


def sizes(plan: Plan) -> dict[str, int]:
    (found,) = {cell.setting.scenario.leak for cell in plan.cells}
    assert found is not None
    return found.model_dump()


def test_a_folder_of_600_pictures_is_attacked_without_a_word_about_sizes(place: Place) -> None:
    shadows = [{"update_leak": {"shadows": 10, "members": 1}}, {"membership": {"shadows": 10}},
               {"membership": {"shadows": 16, "shadow_models": 8, "tier": "disjoint"}},
               {"likelihood_ratio": {"models": 32}}]  # fmt: skip
    write(place.folder, attacks=shadows)
    ran = place.run()
    assert (ran.code, ran.counts["done"]) == (0, 15), ran.err
    recorded = rows(place.results)
    assert {row["status"] for row in recorded} == {"ok"}
    for text in {row["scenario"] for row in recorded}:
        assert json.loads(text)["leak"] == FITTING
    for text in {row["sizes"] for row in recorded}:
        assert {name: json.loads(text)[name] for name in FITTING} == FITTING


def test_sizes_that_fit_are_the_same_cells_as_the_same_sizes_typed(place: Place) -> None:
    open_, typed = planned(place.folder), planned(place.folder, leak=FITTING)
    assert sizes(open_) == FITTING
    assert [cell.key for cell in open_.cells] == [cell.key for cell in typed.cells]
    assert [cell.scenario_id for cell in open_.cells] == [cell.scenario_id for cell in typed.cells]


def test_given_sizes_stay_and_the_others_fit_around_them(place: Place) -> None:
    found = sizes(planned(place.folder, leak={"target": 200, "spare": 60}))
    assert (found["target"], found["known"], found["spare"]) == (200, 160, 60)
    assert sum(found[name] for name in ("target", "pool", "validation", "probe", "spare")) <= 480


def test_a_datasets_declared_sizes_stay_where_they_fit(place: Place) -> None:
    found = sizes(planned(place.folder, dataset="digits"))
    assert found == {"target": 600, "known": 440, "pool": 600, "validation": 80, "probe": 40, "spare": 117}
    found = sizes(planned(place.folder, dataset="digits", leak={"target": 900}))
    assert (found["target"], found["known"]) == (900, 440)
    assert sum(found[name] for name in ("target", "pool", "validation", "probe", "spare")) <= 1_437


def test_sizes_that_leave_too_little_are_one_line_with_what_would_fit(place: Place) -> None:
    with pytest.raises(InputError) as caught:
        planned(place.folder, leak={"target": 500})
    assert str(caught.value).startswith(
        "tiny:experiments.one.scenario.leak (dataset images): its parts need 35500 training images, the dataset has"
        " 480: target 500 + pool 30000 + validation 4000 + probe 100 + spare 900; target "
    )
    with pytest.raises(InputError, match=r"one\.scenario\.train_size \(dataset images\): 500 of 480 training images"):
        planned(place.folder, kind="utility", train_size=500)


def test_copies_that_are_dropped_are_made_up_for_by_validation(place: Place) -> None:
    folder = place.folder / "data" / "images" / "class0"
    for number in range(0, 60, 3):
        (folder / f"{number}.png").write_bytes((folder / "300.png").read_bytes())
    write(place.folder, duplicates="drop")
    ran = place.run()
    assert (ran.code, ran.counts["done"]) == (0, 3), ran.err
    (drawn,) = {row["sizes"] for row in rows(place.results)}
    assert json.loads(drawn)["target"] == FITTING["target"]
    assert json.loads(drawn)["validation"] < FITTING["validation"]


DATASET = """
from unlearnbench.plugin import Dataset
from unlearnbench.datasets.images import OwnImages

class Mine(OwnImages):
    def image_counts(self, root):
        {answer}
"""


@pytest.mark.parametrize(
    ("answer", "target", "error"),
    [
        ("return None", 25_000, None),
        ("return 480, 120", 152, None),
        ("return 480", 25_000, "plan: dataset mine: image_counts: TypeError: must be the numbers of training and test"),
        ("raise RuntimeError('odd')", 25_000, "plan: dataset mine: image_counts: RuntimeError: odd"),
    ],
)
def test_a_dataset_that_can_not_say_is_taken_to_be_large(
    place: Place, answer: str, target: int, error: str | None
) -> None:
    (place.folder / "own" / "datasets").mkdir(parents=True)
    (place.folder / "own" / "datasets" / "mine.py").write_text(DATASET.format(answer=answer))
    plan = planned(place.folder, (place.folder / "own",), dataset="mine")
    assert sizes(plan)["target"] == target
    for cell in plan.cells:
        assert (cell.error is None) if error is None else (cell.error or "").startswith(error)
