"""SSD: Fisher diagonals image by image, and which weights are dampened by how much."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loss_cases import batch, both, noise, pair
from replica_cases import accuracy
from small_worlds import SEEDS, difference, equal, erasures, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods import ssd as module
from unlearnbench.methods.ssd import Ssd, fisher_diagonal

from unlearnbench.datasets.digits import Digits
from unlearnbench.settings.scenario import Backdoor, Network, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.trigger import place
from unlearnbench.splits.world import build_world
from unlearnbench.training.context import Context


@pytest.fixture(scope="module")
def before():
    return trained(utility(), erasures(), SEEDS[:1])


def ssd(**params):
    return Ssd(Ssd.Params(**params))


def fisher(stack, images):
    """Mean squared gradient of log p(y|x), one image after the other on a plain module."""
    model = stack.module(0).double()
    total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for image, label in zip(images.images, images.labels, strict=True):
        model.zero_grad()
        F.cross_entropy(model(image[None]), label[None]).backward()
        for name, value in model.named_parameters():
            total[name] += value.grad.square() / len(images.labels)
    return total


@pytest.mark.parametrize("chunk", [16, 4])
def test_the_fisher_diagonal_is_the_mean_of_squared_gradients_of_single_images(before, chunk, monkeypatch):
    monkeypatch.setattr(module, "SMALL_CHUNK", chunk)
    sets = erasures()
    erased, _ = both(sets)
    found, expected = fisher_diagonal(pair(before, 0.0, sets)[1], erased), fisher(before, erased)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize(("selection", "dampening"), [(1.0, 1.0), (2.0, 0.5)])
def test_important_weights_are_dampened_by_the_ratio_and_others_keep_every_bit(before, selection, dampening):
    sets = erasures()
    erased, remaining = both(sets)
    of_erased, of_remaining = fisher(before, erased), fisher(before, remaining)
    after, used = unlearn(ssd(selection=selection, dampening=dampening), before, sets.take(0, 1), utility(), SEEDS[:1])
    dampened = 0
    for name, e in of_erased.items():
        everything = (6 * e + 54 * of_remaining[name]) / 60
        chosen, value = e > selection * everything, before.params[name][0]
        factor = (dampening * everything / e).clamp(max=1.0)
        torch.testing.assert_close(after.params[name][0][chosen], (factor * value)[chosen], rtol=1e-7, atol=1e-12)
        assert torch.equal(after.params[name][0][~chosen], value[~chosen])
        assert (after.params[name][0].abs() <= value.abs()).all()
        dampened += int(chosen.sum())
    assert 0.05 < dampened / sum(value.numel() for value in of_erased.values()) < 0.95
    assert used.steps.tolist() == [1]
    assert used.samples.tolist() == [6 + 54]


def test_what_matters_to_all_alike_is_left_alone(before):
    """Erased images whose importance is that of all data: every ratio is 1."""
    sets = erasures(replicas=1)
    rows = sets.erased[0]
    # Every remaining image is a copy of an erased one.
    pixels = sets.pool.pixels.clone()
    labels = sets.pool.labels.clone()
    others = sets.remaining(0)
    pixels[others], labels[others] = pixels[rows.repeat(9)], labels[rows.repeat(9)]
    copies = ErasureSets(replace(sets.pool, pixels=pixels, labels=labels), sets.members, sets.erased)
    after, _ = unlearn(ssd(selection=1 + 1e-9), before, copies, utility(), SEEDS[:1])
    assert equal(after, before)
    below, _ = unlearn(ssd(selection=0.99, dampening=0.5), before, copies, utility(), SEEDS[:1])
    for name, value in below.params.items():
        halved, kept = (value - 0.5 * before.params[name]).abs(), (value - before.params[name]).abs()
        assert (torch.minimum(halved, kept) < 1e-9).all()
    assert difference(below, before) > 0.01


def test_weights_that_nothing_depends_on_are_left_alone(before):
    """Pixels that are always black have no importance for anything, and 0 > selection * 0 is false."""
    sets = erasures(replicas=1)
    pixels = sets.pool.pixels.clone()
    pixels[:, :, 0] = 0
    black = replace(sets, pool=replace(sets.pool, pixels=pixels))
    after, _ = unlearn(ssd(selection=1e-6, dampening=1e-6), before, black, utility(), SEEDS[:1])
    name = next(iter(before.params))
    assert torch.equal(after.params[name][..., :6], before.params[name][..., :6])
    assert (
        after.params[name][..., 6:] != before.params[name][..., 6:]
    ).double().mean() > 0.3  # the rest belongs to units that are never on


def test_importance_is_measured_on_as_many_remaining_images_as_wanted(before):
    sets = erasures()
    runs = [unlearn(ssd(images=images, selection=1.0), before, sets, utility()) for images in (None, 54, 1024, 20)]
    assert [used.samples.tolist() for _, used in runs] == [[6 + n] * 3 for n in (54, 54, 54, 20)]
    assert difference(runs[0][0], runs[1][0]) == 0 == difference(runs[0][0], runs[2][0])
    assert difference(runs[0][0], runs[3][0]) > 0


def test_it_is_one_step_under_any_stop_rule(before):
    for rule in (StopRule(rule="none"), StopRule(steps=5), StopRule(rule="backdoor")):
        scenario = utility(stop=rule, backdoor=Backdoor() if rule.rule == "backdoor" else None)
        assert unlearn(ssd(), before, erasures(), scenario)[1].steps.tolist() == [1] * 3


def test_the_transformation_of_one_model_names_every_parameter(before):
    sets = erasures()
    params, models = pair(before, 0.0, sets)
    erased, _ = both(sets)
    found = ssd().transform(models, erased, batch(sets, sets.remaining(0)), noise())
    assert {name: value.shape for name, value in found.items()} == {name: v.shape for name, v in params.items()}


def test_on_digits_a_backdoor_goes_with_the_weights_of_its_trigger_and_with_no_other():
    data = Digits().load(Path())
    scenario = utility(erased_count=86, backdoor=Backdoor(base=1, target=0), beta=0.001, stop=StopRule(rule="backdoor"),
                       network=Network(), training=Training(epochs=10))  # fmt: skip
    world = build_world(data, scenario, 0, torch.device("cpu"))
    sets = world.targets
    used = Context(scenario, SEEDS[:1], (1, 8, 8), 10)
    original = used.train(ErasureSets(sets.pool, sets.members, sets.erased[:, :0]))
    after = ssd(selection=1.0).unlearn_many(original, sets, used)
    row, column = place(data.train.pixels, scenario.backdoor)
    trigger = [8 * (row + i) + column + j for i in range(2) for j in range(2)]
    first = next(iter(original.params))
    put_back, alone = after.apply(torch.clone), original.apply(torch.clone)
    put_back.params[first][:, :, trigger] = original.params[first][:, :, trigger]
    alone.params[first][:, :, trigger] = after.params[first][:, :, trigger]
    left = [float(accuracy(stack, sets)) for stack in (original, after, put_back, alone)]
    assert left[0] > 0.95
    assert left[1] < 0.6
    assert left[2] > 0.95  # all else that was dampened did nothing
    assert abs(left[3] - left[1]) < 0.05
    before, then = (stack.outputs(world.test.pixels)[1].argmax(-1) for stack in (original, after))
    assert (before != then).sum() <= 2
