"""Numbers of every plugin and stage on one tiny experiment: they change only together with a version.

Run this file (`python tests/end_to_end/test_golden.py`) to record new numbers after a version was raised.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # also where this file is run as a program

from planned_tasks import method_of

import unlearnbench
from unlearnbench.registry.base import KINDS
from unlearnbench.registry.registry import Registry, discover
from unlearnbench.stages.jobs import run_job
from unlearnbench.stages.resources import Workplace
from unlearnbench.suite.keys import STAGE_VERSIONS
from unlearnbench.suite.plan import build
from unlearnbench.suite.suite import load_suite
from unlearnbench.suite.tasks import ShadowsWork, UnlearnWork
from unlearnbench.system.store import Artifact, Store

GOLDEN = Path(__file__).with_name("golden.json")
RELEASED = Path(unlearnbench.__file__).parent / "registry" / "released.json"
SCENARIO = (
    "{kind: leak, erased_count: 1, targets: 6, network: {hidden: 8, latent: 4}, training: {epochs: 2},"
    " leak: {target: 80, known: 60, pool: 300, validation: 20, probe: 10, spare: 100}, stop: {rule: steps, steps: 3}}"
)
SUITE = """
name: golden
seeds: 1
experiments:
  all:
    datasets: [digits]
    scenario: SCENARIO
    methods: [METHODS]
    attacks: [membership: {shadows: 20}]
  attacks:
    datasets: [digits]
    references: false
    scenario: SCENARIO
    methods: [crfu]
    attacks:
      - update_leak: {shadows: 20, epochs: 5}
      - update_leak: {shadows: 20, epochs: 5, decoder: gan}
      - membership: {shadows: 20}
      - likelihood_ratio: {models: 32}
      - rmia: {models: 32}
      - ruli: {models: 32}
      - deletion_inference
      - label_only: {budget: 400}
      - apollo: {budget: 40, epochs: 2}
      - reminiscence: {steps: 3}
      - weights
      - stolen_parameters: {draws: 2}
      - unlearning_inversion: {iterations: 3}
      - label_probing: {budget: 3000, inputs: 2}
      - model_inversion: {iterations: 3}
      - substitute: {images: 40, fit: 20, further: 3, iterations: 3}
      - representation: {epochs: 1}
      - representation_sampled: {epochs: 1}
      - blind: {epochs: 1}
  remaining:
    datasets: [digits]
    references: false
    scenario: LARGER
    methods: [crfu]
    attacks: [remaining_membership]
  chosen:
    datasets: [digits]
    references: false
    scenario:
      kind: leak
      erased_count: 1
      targets: 6
      erased: memorised
      selection_models: 8
      leak: {target: 80, known: 60, pool: 300, validation: 20, probe: 10, spare: 100}
      network: {hidden: 8, latent: 4}
      training: {epochs: 2}
    methods: [original]
"""
# Other processors and library versions round differently, and training makes more of it.
TOLERANCE = 2e-3


def measure(folder: Path, registry: Registry) -> dict[str, dict[str, Any]]:
    """Version and numbers of each method, attack and stage, where they first come."""
    path = folder / "golden.yaml"
    text = SUITE.replace("METHODS", ", ".join(sorted(registry.methods))).replace("SCENARIO", SCENARIO)
    text = text.replace("LARGER", SCENARIO.replace("target: 80", "target: 200"))
    path.write_text(text, encoding="utf-8")
    plan = build(load_suite(path, registry).settings(), folder)
    place = Workplace(folder, Store(folder / "store"), registry, torch.device("cpu"))
    found: dict[str, dict[str, Any]] = {}
    for task in plan.tasks:
        (artifact,) = run_job((task,), place)
        assert isinstance(artifact, Artifact), artifact
        place.store.put(task.key, artifact)
        method = method_of(task)
        if task.stage == "train" and method is None:  # the shared trainer's, not a method's own original
            found.setdefault("stage train", {"version": STAGE_VERSIONS["train"], "numbers": norms(artifact)})
        elif task.stage == "select":
            (scores,) = artifact.tensors.values()
            found.setdefault(
                "stage select", {"version": STAGE_VERSIONS["select"], "numbers": {"scores": float(scores.nansum())}}
            )
        elif task.stage == "retrained" and method is None and "select" not in task.needs:
            found.setdefault("stage retrained", {"version": STAGE_VERSIONS["retrained"], "numbers": norms(artifact)})
        elif task.stage == "unlearn" and "select" not in task.needs and not cast(UnlearnWork, task.work).keep:
            found.setdefault(
                f"method {method}", {"version": registry.methods[method].version, "numbers": norms(artifact)}
            )
        elif task.stage == "shadows" and cast(ShadowsWork, task.work).draw == "same" and method == "crfu":
            found.setdefault("stage shadows", {"version": STAGE_VERSIONS["shadows"], "numbers": norms(artifact)})
        elif task.stage == "attack" and method == "crfu":
            attack = task.work.plugins["attack"]
            name = f"{attack.name} gan" if attack.params.get("decoder") == "gan" else attack.name
            scores = {metric: score[0] for metric, score in artifact.values["scores"].items() if score[0] is not None}
            found.setdefault(f"attack {name}", {"version": registry.attacks[attack.name].version, "numbers": scores})
    return found


def norms(artifact: Artifact) -> dict[str, float]:
    """The length of every tensor of numbers: any change of behaviour shows in one of them."""
    floats = {name: value for name, value in artifact.tensors.items() if value.is_floating_point()}
    return {name: float(value.double().norm()) for name, value in floats.items()}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return measure(tmp_path_factory.mktemp("golden"), discover())


def test_every_plugin_and_stage_has_golden_numbers(measured: dict[str, dict[str, Any]]) -> None:
    assert set(json.loads(GOLDEN.read_text())) == set(measured)


@pytest.mark.parametrize("name", sorted(json.loads(GOLDEN.read_text())) if GOLDEN.is_file() else [])
def test_numbers_change_only_with_a_version(name: str, measured: dict[str, dict[str, Any]]) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    now = measured[name]
    assert now["version"] == golden["version"], f"record the numbers of {name}'s new version: python {__file__}"
    assert now["numbers"] == pytest.approx(golden["numbers"], rel=TOLERANCE, abs=1e-6), (
        f"{name} gives other numbers: raise its version, list it in CHANGELOG.md, then python {__file__}"
    )


def hashes(registry: Registry) -> dict[str, str]:
    """SHA-256 of each built-in plugin's file."""
    built_in = {f"{kind}s/{name}": info for kind in KINDS for name, info in registry.of(kind).items() if info.builtin}
    files = {name: Path(info.origin).read_bytes() for name, info in sorted(built_in.items())}
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_the_released_plugins_are_those_with_these_numbers() -> None:
    assert json.loads(RELEASED.read_text()) == hashes(discover()), (
        f"a plugin's file changed: until python {__file__} is run its results have keys of their own"
    )


if __name__ == "__main__":
    import tempfile

    torch.set_num_threads(1)
    RELEASED.write_text(json.dumps(hashes(discover()), indent=1) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(json.dumps(measure(Path(folder), discover()), indent=1, sort_keys=True) + "\n")
