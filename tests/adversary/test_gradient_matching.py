"""Simulated erasures are those of the harness's optimisers, and the search finds what minimises its loss."""

import pytest
import torch
from small_worlds import blobs
from torch import nn
from torch.nn import functional as F

from unlearnbench.adversary.gradient_matching import Ascent, ChangeMatching, distance
from unlearnbench.adversary.image_search import search, total_variation, trivial_answers
from unlearnbench.models.optimisers import optimiser
from unlearnbench.models.plain_network import PlainNetwork
from unlearnbench.models.stack import Stack

IMAGES = blobs(6)
X, Y = IMAGES.scaled, IMAGES.labels


def network(looped=False):
    torch.manual_seed(3)
    body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    return Stack.of([PlainNetwork(body, looped=(looped, looped))])


def erased(name, steps, lr=1e-2):
    """What the harness's own optimiser changes, image by image."""
    changes = []
    for image, label in zip(X, Y, strict=True):
        module, model = optimiser(name, lr), network().module(0)
        params = {key: value.detach()[None].clone() for key, value in model.named_parameters()}
        start = {key: value.clone() for key, value in params.items()}
        for _ in range(steps):
            leaves = {key: value[0].clone().requires_grad_() for key, value in params.items()}
            loss = -F.cross_entropy(torch.func.functional_call(model, leaves, image[None]), label[None])
            module.step(params, [slope[None] for slope in torch.autograd.grad(loss, list(leaves.values()))])
        changes.append({key: (value - start[key])[0] / lr for key, value in params.items()})
    return {key: torch.stack([change[key] for change in changes]) for key in changes[0]}


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("steps", [1, 4])
def test_simulated_erasures_are_those_of_the_optimiser(name, steps):
    simulated = Ascent(name, steps, 1e-2, smoothing=0.0).change(network(), X, Y)
    for key, change in erased(name, steps).items():
        torch.testing.assert_close(simulated[key], change, rtol=1e-2, atol=2e-3)


def test_smoothing_keeps_the_signs_and_gives_a_slope():
    slopes = []
    for smoothing in (0.0, 1.0):
        images = X.clone().requires_grad_()
        change = Ascent("adam", smoothing=smoothing).change(network(), images, Y)
        exact = Ascent("sgd").change(network(), X, Y)
        assert all(torch.equal(change[name].sign(), exact[name].sign()) for name in exact)
        slopes.append(float(torch.autograd.grad(change["network.3.weight"].square().sum(), images)[0].abs().max()))
    assert slopes[0] < 1e-3 * slopes[1]


def test_networks_that_take_turns_give_the_same_change():
    together, alone = (Ascent("adam", 2).change(network(looped), X, Y) for looped in (False, True))
    for name, change in together.items():
        torch.testing.assert_close(alone[name], change, rtol=1e-3, atol=1e-4)


def test_the_distance_is_zero_at_the_true_images_and_ignores_the_scale():
    change = Ascent().change(network(), X, Y)
    scaled = {name: 7 * value for name, value in change.items()}
    assert float(distance(change, scaled).detach().abs().max()) < 1e-5
    opposite = {name: -value for name, value in change.items()}
    torch.testing.assert_close(distance(change, opposite).detach(), torch.full((6,), 2.0))


def test_all_rows_in_parts_are_as_all_at_once(monkeypatch):
    matching = ChangeMatching(Ascent(), tv=0.01, iterations=20, rate=0.05)
    change = {name: value.detach() for name, value in Ascent().change(network(), X, Y).items()}
    whole = matching.images(network(), change, 1 - X, Y)
    errors = matching.errors(network(), change, X.flip(0), Y)
    monkeypatch.setattr("unlearnbench.adversary.gradient_matching.NUMBERS", 500)
    for all_at_once, parts in zip(whole, matching.images(network(), change, 1 - X, Y), strict=True):
        torch.testing.assert_close(parts, all_at_once, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(matching.errors(network(), change, X.flip(0), Y), errors)


def test_the_search_finds_the_minimum_within_the_range():
    goal = torch.linspace(-0.5, 1.5, 72).view(2, 1, 6, 6)
    found, losses = search(lambda x: (x - goal).square().flatten(1).sum(1), torch.full_like(goal, 0.5), 200, 0.05)
    assert float((found - goal.clamp(0, 1)).abs().max()) < 0.02
    assert losses.shape == (2,)
    assert not losses.requires_grad


def test_total_variation_is_the_mean_difference_of_neighbours():
    checks = (torch.arange(4)[:, None] + torch.arange(4)) % 2
    assert float(total_variation(checks[None, None].float())) == 2.0
    assert float(total_variation(torch.arange(5.0).view(1, 1, 1, 5))) == 1.0  # one row


def test_trivial_answers_are_the_mean_image_and_the_largest_class():
    images, scores = trivial_answers(blobs(9), 5, 2)  # one more of class 0
    assert torch.equal(images, blobs(9).scaled.mean(0).expand(2, -1, -1, -1))
    assert scores.tolist() == [[3, 2, 2, 2, 0]] * 2
