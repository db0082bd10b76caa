"""Stages that are killed go on from their checkpoints in the store, and end with the same artifacts."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interruptions import Killed, bits

from unlearnbench.registry.registry import discover
from unlearnbench.running import worker
from unlearnbench.running.worker import JobPlace, carry_out
from unlearnbench.stages import resumption
from unlearnbench.stages.jobs import run_job
from unlearnbench.stages.resources import Workplace
from unlearnbench.stages.resumption import StoreShelf, checkpoints_of, key_of
from unlearnbench.suite.plan import build
from unlearnbench.suite.suite import load_suite
from unlearnbench.suite.tasks import Job, Task
from unlearnbench.system.checkpoint_interval import VARIABLE
from unlearnbench.system.store import Artifact, Store

SUITE = """
name: small
seeds: 1
experiments:
  leak:
    datasets: [digits]
    references: false
    scenario:
      kind: leak
      erased_count: 1
      targets: 3
      erased: memorised
      selection_models: 8
      judging: {retrained: 4}
      network: {hidden: 8, latent: 4}
      leak: {target: 60, known: 40, pool: 150, validation: 20, probe: 10, spare: 60}
      stop: {rule: steps, steps: 4}
      training: {epochs: 2}
      replicas: 2
    methods: [crfu, {sisa: {shards: 2}}]
    attacks:
      - membership: {shadows: 10}
      - membership: {shadows: 10, tier: disjoint}
      - retrained_distance: {retrained: 4}
  utility:
    datasets: [digits]
    references: false
    scenario:
      kind: utility
      erased_count: 12
      train_size: 400
      backdoor: {base: 1, target: 0}
      network: {hidden: 8, latent: 4}
      stop: {rule: none, epochs: 4}
      training: {epochs: 2, batch: 10}
      trajectory: {every_epochs: 1}
    methods: [crfu]
"""
ONE_RUN = ("seconds", "peak_bytes", "provenance")  # differ between any two runs
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    """All stages but attacks, each after those that it needs."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "suite.yaml").write_text(SUITE)
    plan = build(load_suite(folder / "suite.yaml", discover()).settings(), folder)
    return [task for task in plan.tasks if task.stage != "attack"]


@pytest.fixture(autouse=True)
def _at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of times


def workplace(folder: Path) -> Workplace:
    return Workplace(folder, Store(folder / "store"), discover(), CPU)


def content(artifact: Artifact) -> tuple[dict[str, bytes], dict[str, Any]]:
    values = {name: value for name, value in artifact.values.items() if name not in ONE_RUN}
    return bits(artifact.tensors), values


class Killing:
    """Saving kills the work after a number of checkpoints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.saved, save = 0, 0, StoreShelf.save

        def killing(
            shelf: StoreShelf, name: str, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
        ) -> bool:
            assert save(shelf, name, tensors, values)
            self.saved += 1
            self.left -= 1
            if self.left == 0:
                raise Killed
            return True

        monkeypatch.setattr(StoreShelf, "save", killing)


def test_every_stage_that_is_killed_ends_with_the_same_artifact(
    tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killing, moments = Killing(monkeypatch), random.Random(3)
    undisturbed, disturbed = workplace(tmp_path / "undisturbed"), workplace(tmp_path / "disturbed")
    stages = set()
    for task in tasks:
        killing.saved, killing.left = 0, 0
        (expected,) = run_job((task,), undisturbed)
        assert isinstance(expected, Artifact)
        undisturbed.store.put(task.key, expected)
        assert killing.saved > 2, task.stage
        kills = 0
        for _ in range(4):
            killing.left = moments.randint(1, max(1, killing.saved // 3)) if kills < 3 else 0
            try:
                (found,) = run_job((task,), disturbed)
                break
            except Killed:
                kills += 1
        assert isinstance(found, Artifact)
        assert content(found) == content(expected), task.stage
        assert found.values["provenance"]["resumed"] == kills > 0
        assert "resumed" not in expected.values["provenance"]
        disturbed.store.put(task.key, found)
        stages.add((task.stage, getattr(task.work, "draw", None)))
    assert stages == {("select", None), ("train", None), ("retrained", None), ("unlearn", None), ("shadows", "same"),
                      ("shadow_models", "disjoint"), ("shadows", "disjoint"), ("shadow_models", "retrained"),
                      ("shadows", "retrained")}  # fmt: skip


# --- one training ----------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tasks: list[Task]) -> Job:
    return (next(task for task in tasks if task.stage == "train"),)


@pytest.fixture
def selected(tasks: list[Task], tmp_path: Path) -> Iterator[Path]:
    """A store in which a training finds what it needs."""
    place = workplace(tmp_path)
    (scores,) = run_job((tasks[0],), place)
    assert tasks[0].stage == "select"
    assert isinstance(scores, Artifact)
    place.store.discard_checkpoints(tasks[0].key)
    place.store.put(tasks[0].key, scores)
    return tmp_path


def killed_after(job: Job, folder: Path, checkpoints: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        killing = Killing(patch)
        killing.left = checkpoints
        with pytest.raises(Killed):
            run_job(job, workplace(folder))


def outcome(job: Job, folder: Path) -> Artifact:
    (found,) = run_job(job, workplace(folder))
    assert isinstance(found, Artifact)
    return found


def undisturbed(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(VARIABLE, "1000")
    expected = content(outcome(job, folder))
    assert not Store(folder / "store").interrupted()
    monkeypatch.setenv(VARIABLE, "0")
    return expected


def test_a_damaged_checkpoint_is_reported_and_the_work_starts_again(
    job: Job, selected: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = undisturbed(job, selected, monkeypatch)
    killed_after(job, selected, 3, monkeypatch)
    (file,) = Store(selected / "store").checkpoints(job[0].key).root.rglob("*.safetensors")
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    for content_ in (bytes(damaged), bytes(damaged[:1000]), b""):
        file.write_bytes(content_)
        capsys.readouterr()
        found = outcome(job, selected)
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith("warning: a checkpoint can't be used (")
        assert said[0].endswith("this part of train starts again")
        assert content(found) == expected
        assert "resumed" not in found.values["provenance"]


@pytest.mark.parametrize("what", ["code", "torch", "device", "threads"])
def test_a_checkpoint_by_other_code_versions_or_hardware_is_not_used(
    job: Job, selected: Path, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = undisturbed(job, selected, monkeypatch)
    killed_after(job, selected, 3, monkeypatch)
    if what in ("code", "torch"):
        made_by = resumption._software() | {what: "another"}
        monkeypatch.setattr(resumption, "_software", lambda: made_by)
    else:
        changed = ("describe", lambda _: "cpu: another") if what == "device" else ("torch.get_num_threads", lambda: 77)
        monkeypatch.setattr(f"unlearnbench.stages.resumption.{changed[0]}", changed[1])
    found = outcome(job, selected)
    assert "by other code, versions or hardware are not used" in capsys.readouterr().err
    assert content(found) == expected
    assert "resumed" not in found.values["provenance"]


@pytest.mark.parametrize(("number", "left"), [(errno.ENOSPC, 0), (errno.EROFS, 1), (errno.EACCES, 1)])
def test_a_full_disk_or_one_that_is_read_only_costs_the_checkpoints_and_nothing_else(
    job: Job,
    selected: Path,
    number: int,
    left: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = undisturbed(job, selected, monkeypatch)
    writes, put = [0], Store.put

    def full(store: Store, key: str, artifact: Artifact) -> None:
        writes[0] += 1
        if writes[0] > 3:
            raise OSError(number, os.strerror(number), "a file")
        put(store, key, artifact)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", full)
        assert content(outcome(job, selected)) == expected
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("warning: no checkpoints of train are written (")
    assert os.strerror(number) in said[0]
    assert writes[0] == 4
    assert len(Store(selected / "store").interrupted()) == left, "results need the room"


def test_no_memory_for_a_checkpoint_is_no_failure(
    job: Job, selected: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = undisturbed(job, selected, monkeypatch)

    def exhausted(tree: Any) -> Any:
        raise MemoryError("no memory")

    monkeypatch.setattr("unlearnbench.training.checkpoints.packed", exhausted)
    capsys.readouterr()
    assert content(outcome(job, selected)) == expected
    assert "warning: no checkpoints of train are written (" in capsys.readouterr().err


def test_a_checkpoint_goes_when_its_artifact_is_there(
    job: Job, selected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(job, selected, 3, monkeypatch)
    store = Store(selected / "store")
    assert store.interrupted() == [job[0].key]
    assert store.get(job[0].key) is None
    assert job[0].key not in store.keys()  # noqa: SIM118 (not a mapping)
    worker._workplace.cache_clear()
    done = carry_out(job, JobPlace(selected, selected / "store", (), "cpu"))
    assert done.errors == {}
    assert done.values[job[0].key]["provenance"]["resumed"] == 1
    assert store.interrupted() == []
    assert store.get(job[0].key) is not None


def test_seconds_are_those_of_all_attempts(job: Job, selected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_after(job, selected, 3, monkeypatch)
    inside = Store(selected / "store").checkpoints(job[0].key)
    (key,) = inside.keys()
    kept = inside.get(key)
    assert kept is not None
    inside.put(key, Artifact(kept.tensors, {**kept.values, "seconds": 5_000.0}))
    assert 5_000 < outcome(job, selected).values["seconds"] < 5_100


def test_tasks_that_are_computed_together_are_kept_together(job: Job) -> None:
    first, second = replace(job[0], together=("a", "b")), replace(job[0], key="b", together=("a", "b"))
    assert key_of((first, second)) == key_of((second,)) == "a"


def test_attacks_and_times_have_no_checkpoints(job: Job, tmp_path: Path) -> None:
    for stage in ("attack", "timing"):
        checkpoints = checkpoints_of((replace(job[0], stage=stage),), Store(tmp_path), CPU)
        assert not checkpoints.is_due
    assert checkpoints_of(job, Store(tmp_path), CPU).is_due
