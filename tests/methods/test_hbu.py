"""HBU's Newton step against exact answers (docs/protocol.md#newton-on-ridge-regression).

The linear network in the harness: test_hbu_convex.
"""

import pytest
import torch
from small_worlds import CLASSES, SEEDS, blobs, context, difference, erasures, replica, trained, unlearn, utility
from torch import nn
from torch.nn import functional as F
from unlearnbench.methods.hbu import Hbu

from unlearnbench.models.stack import Functional, Router
from unlearnbench.plugin import Batch, Models
from unlearnbench.settings.scenario import StopRule
from unlearnbench.training.curvature import conjugate_gradients

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def batch_of(x, y):
    rows = torch.arange(len(y))
    return Batch(x, y, torch.ones(len(y), dtype=F64), rows)


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
