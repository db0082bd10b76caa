"""Models that forgot each target beside models that never saw it, from planning to metrics."""

from dataclasses import replace

import pytest
import torch
from planned_tasks import method_of
from small_worlds import image_data

from unlearnbench.metrics.distributions import margin
from unlearnbench.metrics.epsilon import lower_bound
from unlearnbench.plugin import ImageData, Images
from unlearnbench.registry.registry import discover
from unlearnbench.stages.jobs import run_job
from unlearnbench.stages.resources import Workplace
from unlearnbench.suite.plan import build
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.store import Artifact, Store

MODELS, TARGETS = 20, 3
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
      network: {hidden: 48, latent: 8}
      training: {epochs: 30, batch: 20, lr: 0.01}
      stop: {rule: steps, steps: 2}
      replicas: 10
    methods: [METHODS]
    attacks:
      - retrained_distance: {retrained: 20}
"""


def unlearnable() -> ImageData:
    """Noise with labels that mean nothing: a model can only know it by heart."""
    data, generator = image_data(), torch.Generator().manual_seed(0)

    def noise(images: Images) -> Images:
        pixels = torch.randint(0, 256, images.pixels.shape, generator=generator, dtype=torch.uint8)
        return replace(images, pixels=pixels)

    return ImageData(noise(data.train), noise(data.test), data.classes)


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """All tasks and their results, by stage, what was trained or attacked, and method."""
    folder, registry = tmp_path_factory.mktemp("stages"), discover()
    path = folder / "suite.yaml"
    path.write_text(SUITE.replace("METHODS", "original, retrain, {sisa: {shards: 2}}"))
    plan = build(load_suite(path, registry).settings(), folder)

    class Place(Workplace):
        def data(self, task):
            return unlearnable()

    place, found = Place(folder, Store(folder / "store"), registry, torch.device("cpu")), {}
    for task in plan.tasks:
        (artifact,) = run_job((task,), place)
        assert isinstance(artifact, Artifact), artifact
        place.store.put(task.key, artifact)
        name = method_of(task) or "shared"
        found[task.stage, getattr(task.work, "trained", ""), name] = (task, artifact)
    return found


def margins(artifact, kind):
    """f64[N, images] of the erased images."""
    outputs = artifact.tensors[f"{kind}_logits"].log_softmax(-1)
    own = margin(outputs, artifact.tensors["labels"][:, None], "log_probabilities")
    return own[:, :, artifact.tensors["part"] == 0].movedim(1, 0).flatten(1).numpy()


def test_all_methods_share_the_models_that_never_saw_a_target(stages):
    trained = [name for stage, kind, name in stages if (stage, kind) == ("shadow_models", "without")]
    assert sorted(trained) == ["shared", "sisa"]  # which trains originals of its own
    _, artifact = stages["shadow_models", "without", "shared"]
    assert set(artifact.tensors) == {"logits"}  # no weights
    assert artifact.tensors["logits"].shape[:2] == (TARGETS, 2 * MODELS)


def test_every_target_has_as_many_models_of_each_kind(stages):
    for method in ("original", "retrain", "sisa"):
        _, artifact = stages["shadows", "", method]
        part = artifact.tensors["part"]
        for kind in ("unlearned", "retrained", "null"):
            assert artifact.tensors[f"{kind}_logits"].shape == (TARGETS, MODELS, len(part), 4)
        assert artifact.tensors["labels"].shape == (TARGETS, len(part))
    assert sum(value.numel() for value in artifact.tensors.values()) < 300_000


def test_an_original_is_told_from_models_that_never_saw_what_it_knows_by_heart(stages):
    scores = stages["attack", "", "original"][1].values["scores"]
    for name in ("epsilon_erased", "epsilon_share"):
        assert scores[name][0] > 0.5
    assert scores["klom_erased"][0] > 2 * scores["klom_null"][0]
    assert scores["epsilon_null"][0] == scores["epsilon_share_null"][0] == 0
    assert [scores[name][3] for name in ("klom_erased", "epsilon_erased")] == [6, 6]


@pytest.mark.parametrize("method", ["retrain", "sisa"])
def test_retraining_is_not_told_from_models_that_never_saw_the_target(stages, method):
    _, artifact = stages["shadows", "", method]
    assert (lower_bound(margins(artifact, "unlearned"), margins(artifact, "retrained")) > 0).mean() <= 1 / 6
    scores = stages["attack", "", method][1].values["scores"]
    assert scores["epsilon_erased"][0] == 0
    assert scores["klom_erased"][0] < 2 * scores["klom_null"][0]


def test_what_an_original_forgets_it_knew(stages):
    """In the draw's terms: margins of the erased before are those of members."""
    _, artifact = stages["shadows", "", "original"]
    known, never = (margins(artifact, kind).mean() for kind in ("unlearned", "retrained"))
    assert known > 2 > 0 > never
