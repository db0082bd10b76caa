"""The discriminator of a conditional GAN learns what is true of an image and of the update that it belongs to."""

import torch

from unlearnbench.adversary.discriminator import Discriminator


def trained(decoded, true, updates, steps=300):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Discriminator(updates.shape[1], true.shape[1], lr=2e-3)
        for _ in range(steps):
            judge.term(decoded, true, updates)
    return judge


def rand(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_decoded_images_that_differ_are_found_and_gradients_lead_to_the_true_ones():
    true, updates = rand(200, 6, seed=1), rand(200, 3, seed=2)
    decoded = (true - 0.5).requires_grad_()
    judge = trained(decoded, true, updates)
    cost = judge.term(decoded, true, updates)
    assert float(cost.detach()) > 3
    assert decoded.grad is None  # the discriminator's own step leaves the generator alone
    (gradient,) = torch.autograd.grad(cost, decoded)
    assert float(((true - decoded.detach()) * -gradient).sum()) > 0


def test_images_that_belong_to_another_update_are_found():
    true = rand(400, 2, seed=1).round()
    decoded = 1 - true  # as an image as common as the true one
    with_updates, without = (trained(decoded, true, given) for given in (true, torch.zeros(400, 2)))
    assert float(with_updates.term(decoded, true, true).detach()) > 2
    assert float(without.term(decoded, true, torch.zeros(400, 2)).detach()) < 1


def test_nothing_tells_equal_images_apart():
    true, updates = rand(200, 6, seed=1), rand(200, 3, seed=2)
    judge = trained(true, true, updates)
    assert abs(float(judge.term(true, true, updates).detach()) - 0.6931) < 0.05  # log 2
