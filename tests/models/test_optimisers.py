import pytest
import torch

from unlearnbench.models.optimisers import Adam, Sgd, optimiser

SHAPES = {"weight": (3, 4, 5), "bias": (3, 4)}


def start(dtype):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in SHAPES.items()}


def gradients(step, dtype):
    """Of very different sizes: Adam's eps matters for the small ones."""
    generator = torch.Generator().manual_seed(1_000 + step)
    sizes = (1.0, 1e-7)
    return [
        size * torch.randn(shape, generator=generator, dtype=dtype)
        for size, shape in zip(sizes, SHAPES.values(), strict=True)
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_fifty_steps_are_those_of_torch_optim(name, dtype, tolerance):
    ours, theirs = start(dtype), start(dtype)
    reference = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[name](list(theirs.values()), lr=3e-3)
    mine = optimiser(name, 3e-3)
    for step in range(50):
        mine.step(ours, gradients(step, dtype))
        for value, gradient in zip(theirs.values(), gradients(step, dtype), strict=True):
            value.grad = gradient
        reference.step()
    for key, value in ours.items():
        assert not torch.equal(value, start(dtype)[key])
        torch.testing.assert_close(value, theirs[key], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rule", [Adam(0.1), Sgd(0.1)], ids=["adam", "sgd"])
def test_a_parameter_without_a_gradient_keeps_its_value(rule):
    params = start(torch.float64)
    for step in range(3):
        rule.step(params, [gradients(step, torch.float64)[0], None])
    assert torch.equal(params["bias"], start(torch.float64)["bias"])
    assert not torch.equal(params["weight"], start(torch.float64)["weight"])


def test_after_keep_the_others_go_on_with_their_own_moments():
    dtype, kept = torch.float64, torch.tensor([0, 2])
    whole, thinned = start(dtype), start(dtype)
    with_all, with_some = Adam(0.01), Adam(0.01)
    for step in range(5):
        with_all.step(whole, gradients(step, dtype))
        with_some.step(thinned, gradients(step, dtype))
    with_some.keep(kept)
    thinned = {name: value[kept] for name, value in thinned.items()}
    for step in range(5, 10):
        with_all.step(whole, gradients(step, dtype))
        with_some.step(thinned, [gradient[kept] for gradient in gradients(step, dtype)])
    for name, value in thinned.items():
        assert torch.equal(value, whole[name][kept])


def test_replicas_do_not_mix():
    dtype, alone = torch.float64, slice(1, 2)
    together, single = start(dtype), {name: value[alone].clone() for name, value in start(dtype).items()}
    first, second = Adam(0.01), Adam(0.01)
    for step in range(5):
        first.step(together, gradients(step, dtype))
        second.step(single, [gradient[alone] for gradient in gradients(step, dtype)])
    for name, value in single.items():
        torch.testing.assert_close(value, together[name][alone], rtol=0, atol=1e-15)
