"""Curvature products, diagonals and the solver against exact answers (docs/protocol.md#newton-on-ridge-regression)."""

import itertools

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.plugin import Batch
from unlearnbench.training.curvature import (
    conjugate_gradients,
    gauss_newton,
    hessian,
    hutchinson_diagonal,
    mean_in_chunks,
    product_in_chunks,
    random_signs,
)

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# --- the solver ---


def test_conjugate_gradients_solve_a_positive_system_split_over_names():
    root = randn(7, 7)
    matrix = root @ root.T + torch.eye(7, dtype=F64)
    right = randn(7, seed=1)

    def product(vector):
        image = matrix @ torch.cat([vector["a"], vector["b"].flatten()])
        return {"a": image[:3], "b": image[3:].view(2, 2)}

    found = conjugate_gradients(product, {"a": right[:3], "b": right[3:].view(2, 2)}, 7)
    torch.testing.assert_close(
        torch.cat([found["a"], found["b"].flatten()]), torch.linalg.solve(matrix, right), rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_more_iterations_than_needed_change_nothing(dtype):
    right = {"x": randn(5).to(dtype)}
    found = conjugate_gradients(lambda v: {"x": 2 * v["x"]}, right, 30)
    torch.testing.assert_close(found["x"], right["x"] / 2)
    nothing = conjugate_gradients(lambda v: {"x": 2 * v["x"]}, {"x": torch.zeros(5, dtype=dtype)}, 3)
    assert torch.equal(nothing["x"], torch.zeros(5, dtype=dtype))


# --- the curvature ---


def explicit(logits, params, x, weight):
    """Sum over images of weight J'(diag p - p p')J, with autograd's Jacobian, [P, P]."""
    names = list(params)
    jacobians = torch.func.jacrev(lambda values: logits(values, x))(params)
    j = torch.cat([jacobians[name].flatten(2) for name in names], 2)  # [B, Y, P]
    p = logits(params, x).softmax(1)
    h = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("b,byi,byz,bzj->ij", weight, j, h, j)


def columns(product, params):
    """The matrix of a linear map on named tensors."""
    sizes = [value.numel() for value in params.values()]
    result = []
    for row in torch.eye(sum(sizes), dtype=F64):
        parts = {n: part.view(v.shape) for (n, v), part in zip(params.items(), row.split(sizes), strict=True)}
        image = product(parts)
        result.append(torch.cat([image[name].flatten() for name in params]))
    return torch.stack(result, 1)


def test_gauss_newton_is_the_explicit_matrix_and_not_negative():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    params = {name: value.detach() for name, value in net.named_parameters()}
    x, weight = randn(6, 3), torch.tensor([1.0, 1, 2, 1, 0, 1], dtype=F64)
    batch = Batch(x, torch.zeros(6, dtype=torch.int64), weight, torch.arange(6))

    def logits(values, images):
        return functional_call(net, values, (images,))

    found = columns(gauss_newton(lambda values: logits(values, x), params, batch), params)
    torch.testing.assert_close(found, explicit(logits, params, x, weight / 6), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found, found.T, rtol=1e-10, atol=1e-14)
    assert float(torch.linalg.eigvalsh(found).min()) > -1e-12


def test_a_matrix_that_is_not_positive_has_no_solution_rather_than_a_wrong_one():
    matrix = torch.diag(torch.tensor([2.0, 1.0, -0.5], dtype=F64))
    found = conjugate_gradients(lambda v: {"x": matrix @ v["x"]}, {"x": randn(3)}, 3)
    assert bool(found["x"].isnan().all())


def test_one_system_without_a_solution_leaves_the_others_of_a_stack_alone():
    scales, right = torch.tensor([2.0, -1.0, 4.0], dtype=F64), randn(3, 5)
    found = vmap(lambda scale, b: conjugate_gradients(lambda v: {"x": scale * v["x"]}, {"x": b}, 4)["x"])(scales, right)
    assert found.isnan().all(1).tolist() == [False, True, False]
    torch.testing.assert_close(found[::2], right[::2] / scales[::2, None])


# --- the Hessian, in chunks, and its diagonal ---


def tanh_net(inputs, hidden, outputs):
    net = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs)).double()
    params = {name: randn(*value.shape, seed=i) for i, (name, value) in enumerate(net.named_parameters())}
    return net, params


def small_net():
    net, params = tanh_net(3, 4, 3)
    labels = torch.arange(7) % 3
    return net, params, Batch(randn(7, 3), labels, torch.tensor([1.0, 1, 2, 1, 0, 1, 3], dtype=F64), torch.arange(7))


def loss_of(net, batch):
    def loss(values):
        logits = functional_call(net, values, (batch.images,))
        return batch.mean(F.cross_entropy(logits, batch.labels, reduction="none"))

    return loss


def explicit_hessian(loss, params):
    """torch.autograd.functional.hessian of all parameters as one vector."""
    sizes = [value.numel() for value in params.values()]

    def flat(vector):
        parts = zip(params.items(), vector.split(sizes), strict=True)
        return loss({name: part.view(value.shape) for (name, value), part in parts})

    return torch.autograd.functional.hessian(flat, torch.cat([value.flatten() for value in params.values()]))


def curvatures(net, params):
    """Both curvatures as functions of a batch."""
    return {
        "hessian": lambda part: hessian(loss_of(net, part), params),
        "gauss_newton": lambda part: gauss_newton(lambda v: functional_call(net, v, (part.images,)), params, part),
    }


def test_hessian_products_are_the_hessian_that_autograd_forms_and_indefinite():
    net, params, batch = small_net()
    loss = loss_of(net, batch)
    found = columns(hessian(loss, params), params)
    torch.testing.assert_close(found, explicit_hessian(loss, params), rtol=1e-10, atol=1e-14)
    assert float(torch.linalg.eigvalsh(found).min()) < -1e-3


def test_gauss_newton_is_the_hessian_of_a_linear_model():
    _, _, batch = small_net()
    net = nn.Linear(3, 3).double()
    params = {name: value.detach() for name, value in net.named_parameters()}
    both = [columns(make(batch), params) for make in curvatures(net, params).values()]
    torch.testing.assert_close(*both, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 100])
@pytest.mark.parametrize("kind", ["hessian", "gauss_newton"])
def test_products_in_chunks_are_those_of_the_whole(kind, size):
    """Also where a chunk of one image has no weight."""
    net, params, batch = small_net()
    make = curvatures(net, params)[kind]
    whole = columns(make(batch), params)
    assert float(whole.abs().max()) > 0.01
    torch.testing.assert_close(columns(product_in_chunks(make, batch, size), params), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 4])
def test_gradients_in_chunks_are_those_of_the_whole(size):
    net, params, batch = small_net()
    whole = torch.func.grad(loss_of(net, batch))(params)
    found = mean_in_chunks(lambda part: torch.func.grad(loss_of(net, part))(params), batch, size)
    for name in params:
        torch.testing.assert_close(found[name], whole[name], rtol=0, atol=1e-12)


def test_hutchinsons_estimate_is_the_diagonal_on_average_over_all_probes():
    net, params = tanh_net(2, 2, 2)
    batch = Batch(randn(5, 2), torch.arange(5) % 2, torch.ones(5, dtype=F64), torch.arange(5))
    loss, sizes = loss_of(net, batch), [value.numel() for value in params.values()]
    product = hessian(loss, params)

    def estimate(signs):
        parts = zip(params.items(), signs.split(sizes), strict=True)
        found = hutchinson_diagonal(product, {name: part.view(value.shape) for (name, value), part in parts})
        return torch.cat([found[name].flatten() for name in params])

    probes = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=sum(sizes))), dtype=F64)
    assert len(probes) == 2**12
    estimates = vmap(estimate, chunk_size=512)(probes)
    exact = explicit_hessian(loss, params).diagonal()
    torch.testing.assert_close(estimates.mean(0), exact, rtol=1e-10, atol=1e-12)
    assert float(estimates.std(0).min()) > 1e-4  # one probe is not exact


def test_one_probe_is_exact_where_the_hessian_is_diagonal():
    params = {"a": randn(3), "b": randn(2, 2, seed=1)}
    product = hessian(lambda v: v["a"].pow(4).sum() - v["b"].exp().sum(), params)
    found = hutchinson_diagonal(product, random_signs(params, StreamNoise(NoiseStreams(3), torch.device("cpu"), F64)))
    torch.testing.assert_close(found["a"], 12 * params["a"] ** 2)
    torch.testing.assert_close(found["b"], -params["b"].exp())


def test_probes_are_signs_in_equal_shares():
    noise = StreamNoise(NoiseStreams(4), torch.device("cpu"), F64)
    signs = random_signs({"w": torch.zeros(100, 400)}, noise)["w"]
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.025  # 5 standard errors
