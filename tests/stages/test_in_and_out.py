"""Models with and without each candidate: shared by all per-example attacks, and thousands of them fit into memory."""

import pytest
import torch
from planned_tasks import method_of

from unlearnbench.plugin import Access
from unlearnbench.registry.registry import discover
from unlearnbench.splits.shadow_sets import training_sets
from unlearnbench.stages.attacking import seen_by
from unlearnbench.stages.jobs import run_job
from unlearnbench.stages.resources import Workplace
from unlearnbench.stages.shadowing import _seeds
from unlearnbench.suite.plan import build
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.store import Artifact, Store

MODELS, TARGETS, PROBES, REPLICAS = 32, 3, 10, 8
ALONE = "[likelihood_ratio]"
ALL = "[{likelihood_ratio: {uses: [boosted, after]}}, rmia, {ruli: {against_out: [unlearned, in]}}]"
SUITE = """
name: small
seeds: 1
experiments:
  leak:
    datasets: [digits]
    references: false
    scenario:
      kind: leak
      erased_count: 2
      targets: 3
      beta: 0
      leak: {target: 60, known: 40, pool: 100, validation: 20, probe: 10, spare: 100}
      network: {hidden: 12, latent: 4}
      training: {epochs: 1, batch: 20, lr: 0.01}
      stop: {rule: steps, steps: 2}
      replicas: 8
    methods: [crfu]
    attacks: ATTACKS
"""


def planned(folder, attacks):
    path = folder / "suite.yaml"
    path.write_text(SUITE.replace("ATTACKS", attacks))
    return build(load_suite(path, discover()).settings(), folder)


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """The workplace, and all tasks and results by stage; and how many models were trained at a time."""
    folder, trained = tmp_path_factory.mktemp("stages"), []

    class Place(Workplace):
        def context(self, task, world, seeds, *more):
            trained.append(len(seeds))
            return super().context(task, world, seeds, *more)

    place, found = Place(folder, Store(folder / "store"), discover(), torch.device("cpu")), {}
    for task in planned(folder, ALL).tasks:
        trained.clear()
        (artifact,) = run_job((task,), place)
        assert isinstance(artifact, Artifact), artifact
        place.store.put(task.key, artifact)
        found.setdefault(task.stage, []).append((task, artifact, list(trained)))
    return place, found


def test_more_attacks_train_and_erase_no_more_models(tmp_path):
    """Content keys of all stages but the attacks themselves are those of likelihood_ratio alone."""
    keys = [
        {(task.stage, task.key) for task in planned(tmp_path, attacks).tasks if task.stage != "attack"}
        for attacks in (ALONE, ALL)
    ]
    assert keys[0] == keys[1]
    attacks = [task for task in planned(tmp_path, ALL).tasks if task.stage == "attack"]
    assert len({task.needs["shadows"] for task in attacks}) == 1
    assert len(attacks) == 5
    assert {method_of(task) for task in attacks} == {"crfu"}


def test_models_are_trained_a_few_at_a_time_and_equal_those_trained_at_once(stages):
    place, found = stages
    ((task, artifact, trained),) = found["shadow_models"]
    assert trained == [REPLICAS] * (MODELS // REPLICAS)
    world = place.world(task)
    sets = training_sets(world, "in_and_out", MODELS)
    context = place.context(task, world, _seeds(task, "originals", MODELS))
    for name, value in context.train(sets).tensors.items():
        assert torch.equal(artifact.tensors[name], value)


def test_what_is_stored_of_each_erasure_is_its_candidates_only(stages):
    """Answers on the probes are kept once for each model: with hundreds of candidates they were nearly all there is."""
    _, found = stages
    ((_, artifact, _),) = found["shadows"]
    erasures = MODELS * TARGETS
    for name, value in artifact.tensors.items():
        assert len(value) == (MODELS if name.startswith("probe_") else erasures), name


def test_the_population_is_seen_as_each_model_answers_about_the_probes(stages):
    place, found = stages
    ((task, artifact, _),) = found["shadows"]
    attack = found["attack"][0][0]
    access = Access(in_and_out=MODELS)
    view = seen_by(access, attack, place).oracle(access, 5).view()
    models = view.in_and_out()
    assert models.population_before.shape == models.population_after.shape == (MODELS, PROBES, 10)
    originals = place.shadow_models(task, place.world(task), "shadow_models originals")
    expected = originals.outputs(view.probe.pixels)[1].log_softmax(-1)
    torch.testing.assert_close(models.population_before, expected, rtol=1e-4, atol=1e-5)
    assert float((models.population_after - models.population_before).abs().max()) > 1e-3
    # An artifact from before, with the probes' answers after every erasure, says the same.
    many = {name: value.repeat_interleave(TARGETS, 0) if name.startswith("probe_") else value
            for name, value in artifact.tensors.items()}  # fmt: skip
    seen = seen_by(access, attack, place)
    object.__setattr__(seen, "shadows", many)
    assert torch.equal(seen.oracle(access, 5).view().in_and_out().population_after, models.population_after)


def test_who_sees_the_model_after_only_gets_these_models_after_only(stages):
    place, found = stages
    attack = found["attack"][0][0]
    accesses = [Access(in_and_out=MODELS, before=before) for before in (True, False)]
    both, after = (seen_by(access, attack, place).oracle(access, 5).view().in_and_out() for access in accesses)
    assert (after.before.numel(), after.population_before.numel()) == (0, 0)
    assert torch.equal(after.after, both.after)
    assert torch.equal(after.population_after, both.population_after)
    assert torch.equal(after.was_in, both.was_in)


def test_all_per_example_attacks_give_scores(stages):
    _, found = stages
    for _, artifact, _ in found["attack"]:
        assert 0 <= artifact.values["scores"]["auc"][0] <= 1
