"""Seeds that are trained and unlearned together give each what it would have had, whichever of them are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from planned_tasks import method_of
from small_worlds import image_data, leak, utility
from tiny_runs import Place, rows, write_method

from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Backdoor, StopRule
from unlearnbench.splits.world import build_world, join
from unlearnbench.stages.jobs import run_job
from unlearnbench.stages.resources import Workplace
from unlearnbench.suite.plan import Plan, build
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.store import Artifact, Store

SUITE = """
name: tiny
seeds: 3
experiments:
  utility:
    datasets: [digits]
    scenario:
      kind: utility
      erased_count: 12
      train_size: 200
      backdoor: {base: 1, target: 0}
      network: {hidden: 8, latent: 4}
      stop: {rule: backdoor, epochs: 3}
      training: {epochs: 2, batch: 10}
      seeds_together: 3
    methods: [METHODS]
    attacks: [ATTACKS]
"""


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


def write(folder: Path, methods: str = "crfu", attacks: str = "", together: int = 3) -> None:
    text = SUITE.replace("METHODS", methods).replace("ATTACKS", attacks)
    (folder / "suite.yaml").write_text(text.replace("seeds_together: 3", f"seeds_together: {together}"))


def of_seed(results: Path, seed: int) -> list[dict[str, Any]]:
    return [row for row in rows(results) if row["seed"] == seed]


def planned(folder: Path) -> tuple[Plan, Workplace]:
    registry = discover()
    plan = build(load_suite(folder / "suite.yaml", registry).settings(), folder)
    return plan, Workplace(folder, Store(folder / "cache"), registry, torch.device("cpu"))


def test_a_seed_has_the_same_numbers_whoever_else_is_asked_for(place: Place) -> None:
    write(place.folder, attacks="representation: {epochs: 2}")
    assert place.run("--seeds", "1").counts == {"planned": 6, "done": 6, "cached": 0, "failed": 0, "skipped": 0}
    first = of_seed(place.results, 0)
    artifacts = set((place.folder / "cache").rglob("*.safetensors"))
    assert len(artifacts) == 3 + 9 + 3  # all of the group's originals and unlearned models, one seed's attacks
    assert place.run().counts["done"] == 12
    assert of_seed(place.results, 0) == first
    assert len(set((place.folder / "cache").rglob("*.safetensors")) - artifacts) == 6  # attacks only
    everything = rows(place.results)
    assert place.run("--force", "--jobs", "2", engine="loky").counts["done"] == 18
    assert rows(place.results) == everything


def test_a_group_is_its_seeds_alone_but_for_rounding(place: Place) -> None:
    write(place.folder, methods="crfu, vbu, hbu, renew")
    place.run()
    together = {(r["method"], r["seed"], r["metric"]): r["value"] for r in rows(place.results)}
    write(place.folder, methods="crfu, vbu, hbu, renew", together=1)
    place.run("--results", "alone")
    alone = {(r["method"], r["seed"], r["metric"]): r["value"] for r in rows(Path("alone"))}
    assert together.keys() == alone.keys()
    values = [(together[key], alone[key]) for key in alone if alone[key] is not None]
    assert len(values) > 100
    for grouped, single in values:
        assert grouped == pytest.approx(single, rel=1e-3, abs=0.006)  # an image of 200 either way


def test_trajectories_of_a_group_are_each_seeds_own(place: Place) -> None:
    found = {}
    for name, together, more in (("alone", 1, ""), ("group", 3, ""), ("chunks", 3, "replicas: 2")):
        write(place.folder, together=together)
        text = (
            (place.folder / "suite.yaml").read_text().replace("{rule: backdoor, epochs: 3}", "{rule: none, epochs: 3}")
        )
        text = text.replace(
            "erased_count: 12", f"erased_count: 12\n      trajectory: {{every_epochs: 1}}\n      {more}"
        )
        (place.folder / "suite.yaml").write_text(text)
        assert place.run("--results", name).code == 0
        points = [row for row in rows(Path(name)) if row["step"] is not None and row["method"] == "crfu"]
        found[name] = {(row["seed"], row["step"], row["metric"]): row["value"] for row in points}
    assert {seed for seed, _, _ in found["alone"]} == {0, 1, 2}
    assert len({step for _, step, _ in found["alone"]}) == 4  # the original, and three epochs
    assert found["group"] == pytest.approx(found["alone"], abs=0.006)
    assert found["chunks"] == pytest.approx(found["alone"], abs=0.006)
    assert len({found["alone"][seed, 0, "remaining_accuracy"] for seed in (0, 1, 2)}) > 1


def test_a_model_that_breaks_takes_no_other_seed_with_it(place: Place) -> None:
    body = (
        "after = before.expand(sets.replicas).apply(torch.clone)\nafter.params[PARAM][1] = float('nan')\nreturn after"
    )
    write_method(place.folder / "own", "breaks", unlearn=body.replace("PARAM", "'approximator.0.bias'"))
    write(place.folder, methods="breaks")
    ran = place.run("--plugins", "own")
    assert ran.code == 1
    assert ran.counts["failed"] == 1
    assert [row["error"] for row in rows(place.results) if row["status"] == "failed"] == [
        "unlearn: PluginError: unlearning with breaks made approximator.0.bias not finite in 1 of 1 models"
    ]
    assert {row["seed"] for row in rows(place.results) if row["method"] == "breaks" and row["status"] == "ok"} == {0, 2}


def test_a_group_without_one_of_its_seeds_has_the_same_numbers(place: Place) -> None:
    write(place.folder)
    plan, workplace = planned(place.folder)
    for stage in ("train", "unlearn"):
        jobs: dict[tuple[str, ...], list[Any]] = {}
        for task in plan.tasks:
            if task.stage == stage:
                jobs.setdefault(task.together, []).append(task)
        for job in map(tuple, jobs.values()):
            assert len(job) == 3
            whole = run_job(job, workplace)
            less = run_job((job[2], job[0]), workplace)
            for result, other in zip((whole[2], whole[0]), less, strict=True):
                assert isinstance(result, Artifact)
                assert isinstance(other, Artifact)
                assert all(torch.equal(value, other.tensors[name]) for name, value in result.tensors.items())
                assert result.values.get("measures") == other.values.get("measures")
            for task, result in zip(job, whole, strict=True):
                assert isinstance(result, Artifact)
                workplace.store.put(task.key, result)


def test_groups_are_of_seeds_in_their_order_and_part_of_the_key(place: Place) -> None:
    write(place.folder, together=2)
    plan, _ = planned(place.folder)
    seeds = {task.key: task.work.seed for task in plan.tasks}
    groups = {tuple(seeds[key] for key in task.together) for task in plan.tasks}
    assert groups == {(0, 1), (2, 3)}  # seed 3 is there for company
    write(place.folder, together=3)
    other, _ = planned(place.folder)
    assert not {task.key for task in plan.tasks} & {task.key for task in other.tasks}
    text = (place.folder / "suite.yaml").read_text()
    (place.folder / "suite.yaml").write_text(text.replace("seeds: 3", "seeds: 2"))
    fewer, _ = planned(place.folder)
    assert {cell.key for cell in fewer.cells} < {cell.key for cell in other.cells}


def test_methods_without_a_batched_form_are_not_grouped(place: Place) -> None:
    write_method(place.folder / "own", "plain")
    source = (place.folder / "own" / "methods" / "plain.py").read_text()
    source = source.replace("unlearn_many(self, before, sets, context)", "unlearn(self, model, splits, context)")
    (place.folder / "own" / "methods" / "plain.py").write_text(
        source.replace("return before.expand(sets.replicas)", "return model")
    )
    write(place.folder, methods="plain")
    suite = load_suite(place.folder / "suite.yaml", discover([place.folder / "own"]))
    plan = build(suite.settings(), place.folder)
    sizes = {(t.stage, method_of(t)): len(t.together) for t in plan.tasks}
    assert sizes == {("train", None): 3, ("unlearn", "original"): 3, ("unlearn", "retrain"): 3, ("unlearn", "plain"): 0}


@pytest.mark.parametrize(
    "scenario",
    [utility(), utility(backdoor=Backdoor(), stop=StopRule(rule="backdoor")), leak()],
    ids=["utility", "backdoor", "leak"],
)
def test_joined_worlds_are_the_worlds_images(scenario: Any) -> None:
    data = image_data()
    data.train.pixels[..., -2:, -2:] = 0  # room for a trigger
    worlds = [build_world(data, scenario, seed, torch.device("cpu")) for seed in (3, 4, 5)]
    joined = join(worlds)
    own = [len(world.pool) - world.shared for world in worlds]
    assert len(joined.pool) == worlds[0].shared + sum(own)
    for k, world in enumerate(worlds):
        target = world.targets.take(0, 1)
        for ours, theirs in ((joined.splits(k).erased, target.splits(0).erased),
                             (joined.splits(k).remaining, target.splits(0).remaining)):  # fmt: skip
            assert torch.equal(ours.pixels, theirs.pixels)
            assert torch.equal(ours.labels, theirs.labels)
            assert torch.equal(ours.ids, theirs.ids)
