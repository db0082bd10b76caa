"""Bad teaching: who is followed where."""

from dataclasses import replace

import pytest
import torch
from loss_cases import both, gradients, noise, pair
from replica_cases import accuracy
from small_worlds import SEEDS, context, equal, erasures, trained, unlearn, utility
from unlearnbench.methods import bad_teacher as module
from unlearnbench.methods.bad_teacher import BadTeacher

from unlearnbench.settings.scenario import Backdoor, StopRule, Training


@pytest.fixture(scope="module")
def before():
    return trained(utility(), erasures(), SEEDS[:1])


def bad_teacher(**params):
    return BadTeacher(BadTeacher.Params(**params))


def divergence(teacher, student, temperature=1.0):
    p, q = (logits.div(temperature).softmax(-1) for logits in (teacher, student))
    return (p * (p / q).log()).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_written_out(before, temperature):
    sets = erasures()
    _, models = pair(before, 0.02, sets)
    erased, remaining = both(sets)
    said = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = divergence(said, models.model(erased.images), temperature).mean()
    expected = (
        expected + divergence(models.frozen(remaining.images), models.model(remaining.images), temperature).mean()
    )
    found = bad_teacher(temperature=temperature).loss(models, erased, remaining, said, noise())
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_at_the_start_only_the_erased_images_pull(before):
    """The student is the competent teacher: there is no gradient but towards the incompetent one."""
    sets = erasures()
    params, models = pair(before, 0.0, sets)
    erased, remaining = both(sets)
    said = torch.zeros(6, 4, dtype=torch.float64)
    found = gradients(bad_teacher().loss(models, erased, remaining, said, noise()), params)
    pull = gradients(divergence(said, models.model(erased.images)).mean(), params)
    assert max(float(g.abs().max()) for g in pull.values()) > 1e-3
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, pull[name], rtol=1e-9, atol=1e-13)


def test_a_bad_teacher_that_says_what_the_original_says_is_a_fixed_point(before):
    sets = erasures()
    params, models = pair(before, 0.0, sets)
    erased, remaining = both(sets)
    said = models.frozen(erased.images)
    found = gradients(bad_teacher().loss(models, erased, remaining, said, noise()), params)
    assert max(float(g.abs().max()) for g in found.values()) < 1e-13


@pytest.mark.parametrize("count", [1, 3])
def test_weights_that_only_remaining_images_touch_keep_every_bit_in_the_first_step(count):
    """Where student and teacher are the same there is no gradient, nor any rounding that Adam could blow up."""
    sets = erasures(replicas=3)
    before = trained(utility(), sets, SEEDS[:1], torch.float32)
    name = next(iter(before.params))
    # A unit that sees one pixel only, which is black in all erased images.
    before.params[name][0, 0] = 0
    before.params[name][0, 0, 0] = 1.0
    before.params[name.replace("weight", "bias")][0, 0] = 0.0
    pixels = sets.pool.pixels.clone()
    pixels[sets.erased.flatten(), 0, 0, 0] = 0
    black = replace(sets, pool=replace(sets.pool, pixels=pixels)).take(0, count)
    assert (pixels[black.remaining(0), 0, 0, 0] > 0).any()
    scenario = utility(stop=StopRule(steps=1))
    after, _ = unlearn(bad_teacher(), before, black, scenario, SEEDS[:count], torch.float32)
    for k in range(count):
        assert torch.equal(after.params[name][k, 0], before.params[name][0, 0])
        assert not torch.equal(after.params[name][k], before.params[name][0])


@pytest.mark.parametrize("images", [500, 4])
def test_the_incompetent_teacher_is_a_fresh_model_of_each_erasures_own_seed(before, images, monkeypatch):
    monkeypatch.setattr(module, "IMAGES", images)
    sets, used = erasures(), context(utility(), SEEDS)
    used.minimise = lambda method, before, sets, state: state
    said = bad_teacher().unlearn_many(before, sets, used)
    for k, seed in enumerate(SEEDS):
        fresh = context(utility(), [seed]).fresh().module(0)
        expected = fresh(sets.pool.pixels[sets.erased[k]].double() / 255)
        torch.testing.assert_close(said[k], expected, rtol=1e-9, atol=1e-12)


def test_the_student_comes_to_answer_as_the_bad_teacher_where_it_must_forget(before):
    sets, scenario = erasures(), utility(stop=StopRule(steps=100), training=Training(batch=8, lr=5e-3))
    after, _ = unlearn(bad_teacher(), before, sets, scenario)
    pixels = sets.pool.pixels[sets.erased]
    fresh = context(scenario, SEEDS).fresh()
    teacher, student, original = (stack.own_outputs(pixels)[1] for stack in (fresh, after, before.expand(3)))
    assert (divergence(teacher, student).mean(1) < 0.1 * divergence(teacher, original).mean(1)).all()
    pixels = sets.pool.pixels[sets.all_remaining()]
    teacher, student, original = (stack.own_outputs(pixels)[1] for stack in (fresh, after, before.expand(3)))
    assert (divergence(original, student).mean(1) < 0.5 * divergence(original, teacher).mean(1)).all()


def test_no_label_is_used(before):
    sets, scenario = erasures(), utility(stop=StopRule(steps=5))
    relabelled = replace(sets, pool=replace(sets.pool, labels=sets.pool.labels.flip(0)))
    after, used = unlearn(bad_teacher(), before, sets, scenario)
    assert equal(after, unlearn(bad_teacher(), before, relabelled, scenario)[0])
    assert used.samples.tolist() == [5 * (6 + 8)] * 3


def test_the_stop_rule_ends_it(before):
    """The stop rule is applied: fresh models call few of the erased images by their label."""
    scenario = utility(stop=StopRule(rule="backdoor", threshold=0.99, batch_threshold=0.99), backdoor=Backdoor())
    sets = erasures()
    after, used = unlearn(bad_teacher(), before, sets, scenario)
    assert (accuracy(after, sets) < 0.99).all()
    assert max(used.steps.tolist()) < 20
