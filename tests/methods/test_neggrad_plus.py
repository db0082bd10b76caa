"""NegGrad+: the weighted difference of two losses."""

import pytest
import torch
from loss_cases import NoNoise, batch, both, gradients, noise, pair
from pydantic import ValidationError
from replica_cases import accuracy, backdoored
from small_worlds import SEEDS, erasures, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods.neggrad_plus import NegGradPlus

from unlearnbench.settings.scenario import StopRule
from unlearnbench.training.divergences import kl_to_prior


@pytest.fixture(scope="module")
def before():
    return trained(utility(), erasures(), SEEDS[:1])


def neggrad_plus(**params):
    return NegGradPlus(NegGradPlus.Params(**params))


def test_the_loss_written_out(before):
    sets = erasures()
    _, models = pair(before, 0.02, sets, utility(beta=0.3))
    erased, remaining = both(sets)
    source = noise()
    mean, scale = models.model.encode(erased.images)
    climbed = F.cross_entropy(models.model.classify(mean + scale * source.normal(*mean.shape)), erased.labels)
    mean, scale = models.model.encode(remaining.images)
    kept = F.cross_entropy(models.model.classify(mean + scale * source.normal(*mean.shape)), remaining.labels)
    kept = kept + 0.3 * kl_to_prior(mean, scale, "mean").mean()
    found = neggrad_plus(alpha=0.7).loss(models, erased, remaining, None, noise())
    torch.testing.assert_close(found, 0.7 * kept - 0.3 * climbed, rtol=1e-12, atol=0)


def test_where_both_sets_are_the_same_images_equal_weights_cancel(before):
    sets = erasures()
    params, models = pair(before, 0.02, sets, utility(beta=0.0))
    images = batch(sets, sets.erased[0])
    for alpha, moves in ((0.5, False), (0.6, True)):
        loss = neggrad_plus(alpha=alpha).loss(models, images, images, None, NoNoise())
        largest = max(float(g.abs().max()) for g in gradients(loss, params).values())
        assert (largest > 1e-6) == moves
        assert moves or largest < 1e-12


def test_the_remaining_loss_goes_down_and_the_erased_one_up(before):
    sets, scenario = erasures(), utility(stop=StopRule(steps=20))
    after, used = unlearn(neggrad_plus(alpha=0.5), before, sets, scenario)

    def loss(stack, rows):
        _, logits = stack.expand(3).own_outputs(sets.pool.pixels[rows])
        return F.cross_entropy(logits.transpose(1, 2), sets.pool.labels[rows], reduction="none").mean(1)

    assert (loss(after, sets.erased) > 2 * loss(before, sets.erased)).all()
    climbed_only, _ = unlearn(neggrad_plus(alpha=1e-6), before, sets, scenario)
    assert (loss(after, sets.all_remaining()) < 0.9 * loss(climbed_only, sets.all_remaining())).all()
    remaining = 2 * 54 + 6 * 8  # 54 images in minibatches of 8 are 7 steps
    assert used.samples.tolist() == [20 * 6 + remaining] * 3


def test_the_stop_rule_ends_it_and_steps_bound_it(before):
    after, used = unlearn(neggrad_plus(alpha=0.5), before, erasures(), backdoored())
    assert (accuracy(after, erasures()) < 0.02).all()
    assert max(used.steps.tolist()) < 60
    _, used = unlearn(neggrad_plus(steps=4), before, erasures(), utility(stop=StopRule(rule="none")))
    assert used.steps.tolist() == [4] * 3


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5])
def test_alpha_lies_between_0_and_1(alpha):
    with pytest.raises(ValidationError, match="alpha"):
        neggrad_plus(alpha=alpha)
