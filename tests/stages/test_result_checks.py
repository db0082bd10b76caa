"""The contract that a method's result is held to."""

from dataclasses import replace

import pytest
import torch
from small_worlds import SEEDS, blobs, context, difference, erasures, image_data, leak, trained, utility

from unlearnbench.plugin import ImageData, LossMethod, Method, Phase
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import LeakSizes, Network, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import build_world
from unlearnbench.stages.evaluation import evaluate
from unlearnbench.stages.memory import Retrained, standings
from unlearnbench.stages.result_checks import PluginError, erase
from unlearnbench.stages.retraining import halves
from unlearnbench.training.context import Context

LARGE = LeakSizes(target=160, known=90, pool=100, validation=0, probe=10, spare=130)


def erased_by(method, count=3):
    sets, scenario = erasures(), utility()
    before = trained(scenario, sets, SEEDS[:1], torch.float32)
    return erase(method, before, sets.take(0, count), context(scenario, SEEDS[:count], torch.float32)), before


class Harmless(Method):
    name = "harmless"

    def unlearn(self, model, splits, context):
        return model


class WritesImages(Harmless):
    def unlearn_many(self, before, sets, context):
        sets.pool.pixels[0] = 0
        return before.expand(sets.replicas)


class WritesOriginal(Harmless):
    def unlearn_many(self, before, sets, context):
        next(iter(before.params.values())).zero_()
        return before.expand(sets.replicas)


class NotFinite(Harmless):
    def unlearn(self, model, splits, context):
        with torch.no_grad():
            next(model.parameters()).fill_(float("nan"))
        return model


class WritesNeverSeen(Harmless):
    def unlearn_many(self, before, sets, context):
        sets.holdout[:] = sets.erased
        return before.expand(sets.replicas)


class TooFew(Harmless):
    def unlearn_many(self, before, sets, context):
        return before.expand(1)


def test_a_method_that_keeps_the_contract_passes():
    after, before = erased_by(Harmless())
    assert after.replicas == 3
    assert all(torch.equal(value[2], before.tensors[name][0]) for name, value in after.tensors.items())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (WritesImages(), "wrote into the images"),
        (WritesOriginal(), "changed the original model"),
        (NotFinite(), "not finite in 3 of 3 models"),
        (TooFew(), "returned 1 models for 3 erasures"),
    ],
)
def test_a_method_that_breaks_the_contract_fails_with_what_it_did(method, message):
    with pytest.raises(PluginError, match=message):
        erased_by(method)


class Records(Harmless):
    def unlearn(self, model, splits, context):
        context.record("certified_epsilon", torch.tensor([float(len(splits.erased)) + context.seeds[0]]))
        return model


def test_what_a_method_records_of_each_replica_is_kept_in_its_place():
    sets, scenario = erasures(), utility()
    before, used = trained(scenario, sets, SEEDS[:1], torch.float32), context(scenario, SEEDS, torch.float32)
    erase(Records(), before, sets, used)
    assert used.recorded["certified_epsilon"].tolist() == [6.0 + seed for seed in SEEDS]
    with pytest.raises(ValueError, match="one value per replica, not \\(2,\\) for 3"):
        used.record("certified_epsilon", torch.zeros(2))


def test_fresh_models_are_those_that_training_starts_from():
    scenario, sets = utility(training=Training(epochs=1, batch=8, lr=1e-12)), erasures()
    trained_from = context(scenario, SEEDS).train(sets)
    assert difference(context(scenario, SEEDS).fresh(), trained_from) < 1e-9
    assert difference(trained_from.slice(0, 1), trained_from.slice(1, 2)) > 0.1


class Given(LossMethod):
    """Pulls a bias to the state it was given."""

    def loss(self, models, erased, remaining, state, noise):
        return (models.model.params["approximator.0.bias"] - state).square().sum()

    def phases(self, context):
        return [Phase(batch=4, optimiser="sgd", lr=0.5, clip=None, steps=1)]


@pytest.mark.parametrize("chunk", [1, 2, 32])
def test_state_given_to_a_loss_stays_with_its_replica(chunk):
    scenario, sets = utility(replicas=chunk), erasures()
    state = torch.tensor([1.0, 2.0, 3.0])
    before, used = trained(scenario, sets, SEEDS[:1], torch.float32), context(scenario, SEEDS, torch.float32)
    after = used.minimise(Given(), before, sets, state)
    torch.testing.assert_close(after.params["approximator.0.bias"], state[:, None].expand(3, 12))


def test_a_resnet_passes_from_training_to_evaluation():
    """Its batch normalisation counts batches in a number without dimensions."""
    shape = (3, 8, 8)
    network, training = Network(name="resnet18", latent=3, hidden=4), Training(epochs=1, batch=20)
    scenario = utility(network=network, training=training, stop=StopRule(steps=1))
    pool = blobs(40, shape=shape)
    nothing = ErasureSets(pool, torch.arange(40), torch.empty(1, 0, dtype=torch.int64))
    before = Context(scenario, [1], shape, 4).train(nothing)
    world = build_world(image_data(40, 20, shape), scenario, 1, torch.device("cpu"))
    crfu = discover().methods["crfu"].cls()
    after = erase(crfu, before, world.targets, Context(scenario, [2], shape, 4))
    assert 0 <= evaluate(before, after, world, scenario, None)["accuracy"].value <= 1


@pytest.fixture(scope="module", params=["leak", "utility"])
def overfitted(request):
    """A world without a backdoor and an original that knows its members by heart: nobody could guess the labels."""
    changes = {"training": Training(epochs=100, batch=8, lr=3e-3), "network": Network(hidden=48, latent=12)}
    scenario = utility(erased_count=40, train_size=160, **changes)
    if request.param == "leak":
        scenario = leak(erased_count=10, targets=6, leak=LARGE, **changes)
    data = image_data(400, 200)
    generator = torch.Generator().manual_seed(1)
    parts = (replace(part, labels=torch.randint(0, 4, part.labels.shape, generator=generator)) for part in data[:2])
    world = build_world(ImageData(*parts, 4), scenario, 3, torch.device("cpu"))
    sets = ErasureSets(world.pool, world.targets.members, torch.empty(1, 0, dtype=torch.int64))
    return scenario, world, context(scenario, [5], torch.float32).train(sets)


def retrained_beside(overfitted):
    """Sixteen models, each without half of the targets (all of them where there is one)."""
    scenario, world, _ = overfitted
    left_out = halves(world.targets.replicas, 16, 7)
    erased = torch.stack([world.targets.erased[own].flatten() for own in left_out])
    models = context(scenario, list(range(100, 116)), torch.float32).train(
        ErasureSets(world.pool, world.targets.members, erased)
    )
    return Retrained(standings(models, world), left_out, torch.zeros(16))


def memory_of(overfitted, after):
    """What `after` and the original owe to the erased images."""
    scenario, world, before = overfitted
    measured = evaluate(before, after.expand(world.targets.replicas), world, scenario, retrained_beside(overfitted))
    return measured["memory"].value, measured["memory_original"].value


def test_a_method_that_does_nothing_did_not_forget(overfitted):
    left, held = memory_of(overfitted, overfitted[2])
    assert left == held > 0.1


def test_a_model_that_never_saw_the_erased_images_forgot_them(overfitted):
    scenario, world, _ = overfitted
    seeds = list(range(world.targets.replicas))
    left, held = memory_of(overfitted, context(scenario, seeds, torch.float32).train(world.targets))
    assert abs(left) < held / 3


def test_a_model_that_answers_everything_alike_has_no_memory(overfitted):
    before = overfitted[2]
    left, held = memory_of(overfitted, before.apply(torch.zeros_like))
    assert left < held / 2


def test_without_retrained_models_forgetting_is_not_measured(overfitted):
    scenario, world, before = overfitted
    measured = evaluate(before, before.expand(world.targets.replicas), world, scenario, None)
    assert not {"memory", "memory_original", "retrained_accuracy", "forgot"} & set(measured)


def test_a_method_that_writes_into_the_never_seen_images_is_found():
    sets = erasures()
    sets = replace(sets, holdout=sets.members[: sets.erased.numel()].view_as(sets.erased).clone())
    scenario = utility()
    before = trained(scenario, sets, SEEDS[:1], torch.float32)
    with pytest.raises(PluginError, match="wrote into the images"):
        erase(WritesNeverSeen(), before, sets.take(0, 3), context(scenario, SEEDS[:3], torch.float32))
