"""Gradient ascent: its sign, its first step, when it ends, and what it never looks at."""

import pytest
import torch
from loss_cases import batch, both, gradients, noise, pair, repainted
from replica_cases import accuracy, backdoored
from small_worlds import SEEDS, equal, erasures, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods.gradient_ascent import GradientAscent

from unlearnbench.settings.scenario import StopRule, Training
from unlearnbench.system.seeding import derive
from unlearnbench.training.objectives import training_loss


@pytest.fixture(scope="module")
def before():
    return trained(utility(), erasures(), SEEDS[:1])


def test_it_climbs_the_cross_entropy_and_nothing_else(before):
    sets = erasures()
    params, models = pair(before, 0.02, sets)
    erased, _ = both(sets)
    loss = GradientAscent().loss(models, erased, None, None, noise())
    mean, scale = models.model.encode(erased.images)
    z = mean + scale * noise().normal(*mean.shape)
    torch.testing.assert_close(loss, -F.cross_entropy(models.model.classify(z), erased.labels), rtol=1e-12, atol=0)
    # The training loss less its KL term is descended with the opposite gradient.
    downhill = training_loss(models._replace(scenario=utility(beta=0.0)), erased, noise())
    opposite = gradients(downhill, params)
    for name, uphill in gradients(loss, params).items():
        torch.testing.assert_close(uphill, -opposite[name], rtol=1e-9, atol=1e-14)


def test_adams_first_step_is_as_long_in_every_weight_and_uphill(before):
    """lr / (1 + eps / |g|) in the direction of the gradient of the loss."""
    sets, scenario = erasures(replicas=1), utility(stop=StopRule(steps=1), training=Training(batch=8, clip=1e6))
    after, _ = unlearn(GradientAscent(GradientAscent.Params(lr=1e-3)), before, sets, scenario, SEEDS[:1])
    moved = {name: value[0] - before.params[name][0] for name, value in after.params.items()}
    params, models = pair(before, 0.0, sets)
    own = noise(derive(SEEDS[0], "noise", 0))
    loss = F.cross_entropy(models.model(batch(sets, sets.erased[0]).images, own), sets.pool.labels[sets.erased[0]])
    for name, g in gradients(loss, params).items():
        torch.testing.assert_close(moved[name], 1e-3 * g / (g.abs() + 1e-8), rtol=1e-6, atol=1e-12)


def test_it_never_looks_at_remaining_images(before):
    sets, scenario = erasures(), utility(stop=StopRule(steps=5))
    after, used = unlearn(GradientAscent(), before, sets, scenario)
    other, _ = unlearn(GradientAscent(), before, repainted(sets, sets.remaining(0)), scenario)
    assert equal(after.slice(0, 1), other.slice(0, 1))
    assert not equal(after.slice(1, 2), other.slice(1, 2))
    assert used.samples.tolist() == [5 * 6] * 3


def test_the_stop_rule_ends_it_and_without_one_twenty_epochs_do(before):
    after, used = unlearn(GradientAscent(), before, erasures(), backdoored())
    assert (accuracy(after, erasures()) < 0.02).all()
    assert max(used.steps.tolist()) < 60
    never = utility(stop=StopRule(rule="none"))
    _, used = unlearn(GradientAscent(GradientAscent.Params(batch=4)), before, erasures(), never)
    assert used.steps.tolist() == [20 * 2] * 3
