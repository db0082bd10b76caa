"""HBU's parts against exact answers (PROTOCOL section 9)."""

import pytest
import torch
from small_worlds import CLASSES, SEEDS, blobs, context, difference, erasures, replica, trained, unlearn, utility
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from unlearnbench.methods.hbu import Hbu

from unlearnbench.curvature import conjugate_gradients, gauss_newton
from unlearnbench.plugin import Batch, Models
from unlearnbench.settings import StopRule
from unlearnbench.stack import Functional, Router

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def batch_of(x, y):
    rows = torch.arange(len(y))
    return Batch(x, y, torch.ones(len(y), dtype=F64), rows)


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


def test_newton_step_on_ridge_regression_is_retraining():
    """w + H_r^-1 X_e'(X_e w - y_e) = w_r with H_r = X_r'X_r + lambda I."""
    x, y, penalty, erased = randn(40, 6), randn(40, seed=1), 0.7, 5

    def ridge(rows):
        return torch.linalg.solve(x[rows].T @ x[rows] + penalty * torch.eye(6, dtype=F64), x[rows].T @ y[rows])

    w, w_r = ridge(slice(None)), ridge(slice(erased, None))
    gradient = x[:erased].T @ (x[:erased] @ w - y[:erased])
    step = conjugate_gradients(
        lambda v: {"w": x[erased:].T @ (x[erased:] @ v["w"]) + penalty * v["w"]}, {"w": gradient}, 12
    )["w"]
    assert float((w - w_r).norm()) > 1e-2
    torch.testing.assert_close(w + step, w_r, rtol=0, atol=1e-12)


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


# --- multinomial logistic regression: convex, and Gauss-Newton is the Hessian ---

DAMPING = 0.05


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4, dtype=F64))

    def forward(self, images, noise=None):
        return images @ self.weight.T


X, Y = randn(60, 4, seed=3), torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(4))
ERASED = 6


def remaining_objective(w):
    """Summed cross-entropy of the remaining plus the penalty that the damping stands for."""
    fit = F.cross_entropy(X[ERASED:] @ w.view(3, 4).T, Y[ERASED:], reduction="sum")
    return fit + 0.5 * DAMPING * (len(X) - ERASED) * w.square().sum()


def erased_loss(w):
    return F.cross_entropy(X[:ERASED] @ w.view(3, 4).T, Y[:ERASED], reduction="sum")


def optimum(share):
    """The minimiser where the erased images have weight `share`, by exact Newton steps."""
    w = torch.zeros(12, dtype=F64)
    for _ in range(30):

        def total(v):
            return remaining_objective(v) + share * erased_loss(v)

        w = w - torch.linalg.solve(torch.func.hessian(total)(w), torch.func.grad(total)(w))  # fmt: skip
    assert float(torch.func.grad(total)(w).norm()) < 1e-12
    return w


def hbu_step(w, share, **changes):
    params = {"weight": w.view(3, 4)}
    model = Functional(Router(Linear().to("meta")), params, {})
    method = Hbu(Hbu.Params(damping=DAMPING, solver_steps=30, **{"radius": 1e9} | changes))
    models = Models(model, model, utility(), share * ERASED, len(X) - ERASED)
    new = method.transform(models, batch_of(X[:ERASED], Y[:ERASED]), batch_of(X[ERASED:], Y[ERASED:]), None)
    return new["weight"].flatten()


def test_gauss_newton_is_the_hessian_of_logistic_regression():
    w = randn(12, seed=5)
    found = columns(
        gauss_newton(lambda v: X[ERASED:] @ v["w"].T, {"w": w.view(3, 4)}, batch_of(X[ERASED:], Y[ERASED:])),
        {"w": w.view(3, 4)},
    )
    size = len(X) - ERASED
    expected = torch.func.hessian(remaining_objective)(w) / size - DAMPING * torch.eye(12, dtype=F64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_step_is_newtons_and_moves_towards_the_retrained_optimum():
    w, retrained = optimum(1.0), optimum(0.0)
    hessian = torch.func.hessian(remaining_objective)(w)
    expected = w + torch.linalg.solve(hessian, torch.func.grad(erased_loss)(w))
    found = hbu_step(w, 1.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert float((found - retrained).norm()) < 0.3 * float((w - retrained).norm())


def test_what_is_left_after_a_step_shrinks_quadratically():
    """||grad of the remaining objective after the step|| / ||w - w_r||^2 stays bounded as the erased weigh less."""
    retrained, ratios, gradients = optimum(0.0), [], []
    for share in (1.0, 0.5, 0.25, 0.125):
        w = optimum(share)
        gradient = torch.func.grad(remaining_objective)(hbu_step(w, share)).norm()
        gradients.append(float(gradient))
        ratios.append(float(gradient / (w - retrained).norm() ** 2))
    assert max(ratios) < 1.5 * min(ratios)
    assert gradients[-1] < gradients[0] / 30  # a linear method would be at 1/8


@pytest.mark.parametrize("radius", [1e-3, 0.05])
def test_the_radius_limits_the_length_of_a_step_but_not_its_direction(radius):
    w = optimum(1.0)
    free, limited = hbu_step(w, 1.0) - w, hbu_step(w, 1.0, radius=radius) - w
    assert float(free.norm()) > radius
    assert float(limited.norm()) == pytest.approx(radius, rel=1e-9)
    assert float(torch.cosine_similarity(free, limited, dim=0)) == pytest.approx(1)


def test_step_scales_a_free_step():
    w = optimum(1.0)
    torch.testing.assert_close(hbu_step(w, 1.0, step=0.5) - w, (hbu_step(w, 1.0) - w) / 2, rtol=1e-9, atol=0)


# --- in the harness ---


def test_every_step_stays_within_the_radius_and_forgets_some():
    sets, before = erasures(), trained(utility(), erasures(), SEEDS[:1])
    method = Hbu(Hbu.Params(radius=0.2, solver_steps=3))
    lengths, losses = [], []
    for steps in (1, 2, 3):
        after, used = unlearn(method, before, sets, utility(stop=StopRule(steps=steps)))
        moved = torch.cat([(v - before.params[n]).flatten(1) for n, v in after.params.items()], 1)
        lengths.append(float(moved.norm(dim=1).max()))
        _, logits = after.own_outputs(sets.pool.pixels[sets.erased])
        losses.append(float(F.cross_entropy(logits.flatten(0, 1), sets.pool.labels[sets.erased].flatten())))
        assert used.steps.tolist() == [steps] * 3
    assert 0 < lengths[0] <= 0.2 * (1 + 1e-9)
    assert all(length <= 0.2 * (n + 1) * (1 + 1e-9) for n, length in enumerate(lengths))
    assert losses[0] < losses[1] < losses[2]


def test_shapes_of_the_small_world_are_those_of_the_module():
    """The functional model under HBU is the module itself."""
    before = trained(utility(), erasures(), SEEDS[:1])
    x = blobs(5).pixels.double() / 255
    params = {n: v[0] for n, v in before.params.items()}
    model = Functional(before.router(False), params, {})
    assert torch.equal(model(x), before.module(0)(x))
    assert model(x).shape == (5, CLASSES)
    assert difference(replica(before, 0), before) == 0
    assert context(utility(), SEEDS[:1]).build(1).approximator[2].out_features == CLASSES
