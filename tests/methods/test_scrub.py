"""SCRUB: the order of its phases, and what each of them minimises."""

import pytest
import torch
from loss_cases import NoNoise, both, gradients, noise, pair, repainted
from pydantic import ValidationError
from replica_cases import accuracy, backdoored
from small_worlds import SEEDS, context, difference, equal, erasures, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods.scrub import Scrub

from unlearnbench.settings.scenario import StopRule


@pytest.fixture(scope="module")
def before():
    return trained(utility(), erasures(), SEEDS[:1])


def scrub(**params):
    return Scrub(Scrub.Params(**params))


def divergence(teacher, student, temperature):
    """T^2 KL of softened probabilities."""
    p, q = (logits.div(temperature).softmax(-1) for logits in (teacher, student))
    return temperature**2 * (p * (p / q).log()).sum(-1)


def parts(models, batch):
    """The teacher's logits at the mean, the student's at a sample."""
    mean, scale = models.model.encode(batch.images)
    return models.frozen(batch.images), models.model.classify(mean + scale * noise().normal(*mean.shape))


def test_max_steps_and_min_steps_alternate_and_min_steps_come_last():
    method = scrub(max_epochs=2, epochs=4)
    phases = method.phases(context(utility(), SEEDS))
    assert [phase.over for phase in phases] == ["erased", "remaining", "erased", "remaining", "remaining", "remaining"]
    assert all(phase.stop == (phase.over == "erased") and phase.epochs == 1 for phase in phases)
    assert [phase.loss == method._disobey for phase in phases] == [True, False, True, False, False, False]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_losses_written_out(before, temperature):
    sets, method = erasures(), scrub(temperature=temperature, alpha=0.3, gamma=0.6)
    _, models = pair(before, 0.02, sets)
    erased, remaining = both(sets)
    teacher, student = parts(models, erased)
    found = method._disobey(models, erased, None, None, noise())
    torch.testing.assert_close(found, -divergence(teacher, student, temperature).mean(), rtol=1e-10, atol=0)
    teacher, student = parts(models, remaining)
    expected = 0.3 * divergence(teacher, student, temperature).mean()
    expected = expected + 0.6 * F.cross_entropy(student, remaining.labels)
    found = method.loss(models, None, remaining, None, noise())
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_at_equal_answers_the_kl_has_no_gradient_and_a_sample_gives_it_one(before):
    sets, method = erasures(), scrub(gamma=0.0)
    params, models = pair(before, 0.0, sets)
    erased, remaining = both(sets)
    for source, moves in ((NoNoise(), False), (noise(), True)):
        for loss in (
            method._disobey(models, erased, None, None, source),
            method.loss(models, None, remaining, None, source),
        ):
            largest = max(float(g.abs().max()) for g in gradients(loss, params).values())
            assert (largest > 1e-6) == moves
            assert moves or largest < 1e-13


def test_max_steps_lead_away_from_the_original_on_the_erased_images_alone(before):
    """With weights of 0 min-steps stand still, so that no remaining image matters."""
    sets, scenario = erasures(), utility(stop=StopRule(rule="none"))
    method = scrub(alpha=0, gamma=0, epochs=3)
    after, _ = unlearn(method, before, sets, scenario)
    other, _ = unlearn(method, before, repainted(sets, sets.remaining(0)), scenario)
    assert equal(after.slice(0, 1), other.slice(0, 1))
    pixels = sets.pool.pixels[sets.erased]
    teacher, student = (stack.own_outputs(pixels)[1] for stack in (before.expand(3), after))
    assert (divergence(teacher, student, 1.0).mean(1) > 1e-6).all()
    assert difference(after, before.expand(3)) <= 3 * 5e-4 * 1.01  # three steps of at most lr


def test_min_steps_alone_keep_to_the_original(before):
    """Without max-steps (an lr of next to nothing keeps them harmless) the KL alone is already at its minimum."""
    sets = erasures()
    params, models = pair(before, 0.05, sets)
    _, remaining = both(sets)
    downhill = gradients(scrub(gamma=0.0).loss(models, None, remaining, None, NoNoise()), params)
    back = {name: models.frozen.params[name] - params[name] for name in params}
    assert sum(float((downhill[name] * back[name]).sum()) for name in params) < 0


def test_steps_and_images_are_counted(before):
    _, used = unlearn(scrub(epochs=4, max_epochs=2, batch=4), before, erasures(), utility(stop=StopRule(rule="none")))
    assert used.steps.tolist() == [2 * 2 + 4 * 14] * 3
    assert used.samples.tolist() == [2 * 6 + 4 * 54] * 3


def test_a_pass_over_the_erased_set_ends_where_the_stop_rule_is_met(before):
    """Originals that know nothing of the erased labels have met it: one max-step a pass is left."""
    sets = erasures()
    ignorant = trained(utility(), sets, SEEDS[:1]).apply(torch.clone)
    name = next(n for n in ignorant.params if n.endswith("approximator.2.bias"))
    labels = sets.pool.labels[sets.erased[:, 0]]
    sets = sets.take(0, 1)
    ignorant.params[name][0, labels[0]] = -50.0
    assert float(accuracy(ignorant, sets)) == 0
    method = scrub(alpha=0, gamma=0, epochs=3, batch=2)
    _, used = unlearn(method, ignorant, sets, backdoored(), SEEDS[:1])
    assert used.steps.tolist() == [3 * 1 + 3 * 27]
    _, used = unlearn(method, before, sets, backdoored(), SEEDS[:1])
    assert used.steps.tolist() == [3 * 3 + 3 * 27]


def test_there_are_at_least_as_many_epochs_of_min_steps():
    with pytest.raises(ValidationError, match="epochs is 2, less than max_epochs, which is 3"):
        scrub(epochs=2)
