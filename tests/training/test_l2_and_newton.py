"""The shared trainer: the L2 penalty, and Newton's method on the linear network."""

import pytest
import torch
from small_worlds import SEEDS, context, difference, erasures, replica, trained, utility
from torch.nn import functional as F

from unlearnbench.models.architecture import bottleneck
from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.settings.scenario import Network, Training
from unlearnbench.training.objectives import l2_penalty

F64 = torch.float64
LINEAR = Network(name="linear")


def newton(l2=0.05, epochs=10, **changes):
    training = Training(optimiser="newton", l2=l2, epochs=epochs)
    return utility(network=LINEAR, training=training, beta=0.0, **changes)


def objective(weight, bias, images, labels, l2):
    fit = F.cross_entropy(images @ weight.T + bias, labels)
    return fit + 0.5 * l2 * (weight.square().sum() + bias.square().sum())


def test_newton_reaches_the_optimum_of_multinomial_logistic_regression():
    sets = erasures(replicas=1)
    found = trained(newton(), sets, SEEDS[:1])
    x, y = sets.pool.take(sets.members).pixels.double().flatten(1) / 255, sets.pool.labels[sets.members]
    weight, bias = (found.params[f"approximator.0.{name}"][0].clone().requires_grad_() for name in ("weight", "bias"))
    gradients = torch.autograd.grad(objective(weight, bias, x, y, 0.05), [weight, bias])
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-10
    start = [torch.zeros_like(value).requires_grad_() for value in (weight, bias)]
    lbfgs = torch.optim.LBFGS(
        start, max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure():
        lbfgs.zero_grad()
        loss = objective(*start, x, y, 0.05)
        loss.backward()
        return loss

    lbfgs.step(closure)
    torch.testing.assert_close(start[0].detach(), weight.detach(), rtol=0, atol=1e-6)


def test_newton_trains_each_replica_on_its_own_remaining_images():
    sets, scenario = erasures(), newton()
    together = context(scenario, SEEDS).train(sets)
    for k in range(3):
        alone = context(scenario, SEEDS[k : k + 1]).train(sets.take(k, k + 1))
        assert difference(replica(together, k), alone) < 1e-9
    assert difference(replica(together, 0), replica(together, 1)) > 1e-3


def test_the_linear_networks_representation_is_the_image():
    model = bottleneck(LINEAR).build((1, 6, 6), 4, 3)
    x = torch.rand(5, 1, 6, 6)
    mean, scale = model.encode(x)
    assert torch.equal(mean, x.flatten(1))
    assert float(scale.max()) < 1e-5
    assert sum(value.numel() for value in model.parameters()) == 36 * 4 + 4
    noise = StreamNoise(NoiseStreams(0), torch.device("cpu"), torch.float32)
    torch.testing.assert_close(model(x, noise), model(x), rtol=0, atol=1e-4)


def test_newton_is_for_linear_networks_only():
    with pytest.raises(ValueError, match="needs network"):
        utility(training=Training(optimiser="newton"))


def test_the_penalty_pulls_parameters_to_zero_whichever_trains():
    assert float(l2_penalty({"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])}, 0.1)) == pytest.approx(
        0.5 * 0.1 * 25
    )
    sets = erasures(replicas=1)
    sizes = {}
    for l2 in (0.0, 1.0):
        adam = trained(utility(training=Training(epochs=20, batch=8, lr=5e-3, l2=l2)), sets, SEEDS[:1])
        sizes[l2] = sum(float(value.square().sum()) for value in adam.params.values())
    assert sizes[1.0] < 0.5 * sizes[0.0]
