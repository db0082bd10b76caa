"""SalUn: which weights are salient, and that no other moves."""

from functools import partial

import pytest
import torch
from loss_cases import both, gradients, noise, pair
from replica_cases import accuracy, backdoored
from small_worlds import SEEDS, erasures, flat, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods import salun as module
from unlearnbench.methods.random_label import RandomLabel
from unlearnbench.methods.salun import Salient, Salun, largest

from unlearnbench.settings.scenario import StopRule


@pytest.fixture(scope="module")
def before():
    return trained(utility(), erasures(), SEEDS[:1])


def salun(**params):
    return Salun(Salun.Params(**params))


def magnitudes(stack, sets, replica=0):
    """|grad| of the mean erased cross-entropy at the original, by autograd on a plain module."""
    model = stack.module(0).double()
    images, labels = sets.pool.scaled[sets.erased[replica]].double(), sets.pool.labels[sets.erased[replica]]
    F.cross_entropy(model(images), labels).backward()
    return {name: value.grad.abs() for name, value in model.named_parameters()}


# --- the mask ---


def test_the_largest_magnitudes_of_all_weights_together_are_salient():
    gradient = {"a": torch.tensor([[-4.0, 0.1], [2.0, -0.2]]), "b": torch.tensor([3.0, -0.3])}
    assert largest(gradient, 0.5)["a"].tolist() == [[1, 0], [1, 0]]
    assert largest(gradient, 0.5)["b"].tolist() == [1, 0]
    assert [int(flat(largest(gradient, share)).sum()) for share in (1e-9, 1 / 6, 1 / 3, 1.0)] == [1, 1, 2, 6]


def test_weights_without_a_gradient_are_never_salient():
    gradient = {"a": torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])}
    assert largest(gradient, 0.5)["a"].tolist() == [1, 0, 0, 0, 0, 0]
    assert largest({"a": torch.zeros(4)}, 0.5)["a"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("chunk", [2_000, 4])
def test_the_mask_is_that_of_the_erased_losss_gradient_at_the_original(before, chunk, monkeypatch):
    monkeypatch.setattr(module, "SMALL_CHUNK", chunk)
    sets = erasures()
    _, models = pair(before, 0.3, sets)  # the mask must not depend on the model that is being changed
    with torch.no_grad():  # as the harness calls it
        state = salun(share=0.3).prepare(models, both(sets)[0], noise())
    expected = magnitudes(before, sets)
    threshold = flat(expected).topk(round(0.3 * flat(expected).numel())).values[-1] * (1 - 1e-9)
    assert 0.29 < float(flat(state.mask).mean()) < 0.31
    for name, mask in state.mask.items():
        torch.testing.assert_close(mask, (expected[name] >= threshold).double())


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_weights_that_are_not_salient_keep_every_bit(before, share):
    sets = erasures()
    after, _ = unlearn(salun(share=share), before, sets, utility(stop=StopRule(steps=10)))
    for k in range(3):
        expected = magnitudes(before, sets, k)
        threshold = flat(expected).topk(round(share * flat(expected).numel())).values[-1]
        moved = {name: after.params[name][k] != before.params[name][0] for name in expected}
        for name, value in moved.items():
            assert not (value & (expected[name] < threshold * (1 - 1e-9))).any(), name
        assert float(flat(moved).double().mean()) > 0.95 * share


# --- the loss ---


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_with_all_weights_salient_the_loss_is_that_of_random_labels(before, alpha):
    sets = erasures()
    params, models = pair(before, 0.02, sets)
    erased, remaining = both(sets)
    labels, ones = torch.tensor([1, 2, 3, 1, 2, 3]), {n: torch.ones_like(v) for n, v in params.items()}
    rest = remaining if alpha else None
    expected = RandomLabel(RandomLabel.Params(weight=alpha)).loss(models, erased, rest, labels, noise())
    method = partial(salun(alpha=alpha).loss, models, erased, rest)
    torch.testing.assert_close(method(Salient(labels, ones), noise()), expected, rtol=1e-12, atol=0)


def test_weights_that_are_not_salient_count_as_the_originals(before):
    sets = erasures()
    params, models = pair(before, 0.02, sets)
    erased, remaining = both(sets)
    labels = torch.tensor([1, 2, 3, 1, 2, 3])
    zeros = {n: torch.zeros_like(v) for n, v in params.items()}
    loss = salun().loss(models, erased, remaining, Salient(labels, zeros), noise())
    frozen = models._replace(model=models.frozen)
    expected = RandomLabel().loss(frozen, erased, remaining, labels, noise())
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    assert all(not g.any() for g in gradients(loss, params).values())


def test_the_stop_rule_ends_it_and_images_are_counted(before):
    after, used = unlearn(salun(), before, erasures(), backdoored())
    assert (accuracy(after, erasures()) < 0.02).all()
    assert max(used.steps.tolist()) < 60
    for alpha, images in ((1, 6 + 8), (0, 6)):
        _, used = unlearn(salun(alpha=alpha, steps=3), before, erasures(), utility())
        assert used.steps.tolist() == [3] * 3
        assert used.samples.tolist() == [3 * images] * 3
