"""Methods on a batch-normalised network in bfloat16: each runs, and ends near where it ends in full precision."""

import math

import pytest
import torch
from small_worlds import CLASSES, SEEDS, blobs, difference, utility
from test_baselines_resnet import CASES as BASELINES

from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.stages.result_checks import erase
from unlearnbench.training.context import Context

SHAPE = (3, 8, 8)
CASES = {
    "crfu": {},
    "vbu": {},
    "hbu": {},
    "hbu, diagonal": {"solver": "diagonal"},
    "hbu, hessian": {"curvature": "hessian", "damping": 10.0},
    "hbu, released": {"form": "released"},
    **BASELINES,
}


# These measure gradients and curvature in full precision whatever the training's is.
EXACT = {"hbu", "hbu, diagonal", "hbu, hessian", "hbu, released", "ssd"}


def make(precision, replicas=1, network="resnet18"):
    scenario = utility(
        network=Network(name=network, hidden=8, latent=4),
        stop=StopRule(steps=1),
        training=Training(epochs=1, batch=6, lr=1e-3, precision=precision),
    )
    return Context(scenario, SEEDS[:replicas], SHAPE, CLASSES)


@pytest.fixture(scope="module")
def world():
    sets = ErasureSets(blobs(16, shape=SHAPE), torch.arange(8), torch.tensor([[0, 1]]))
    return sets, make("float32").train(sets)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_method_runs_in_bfloat16(case, world):
    sets, before = world
    cls = discover().methods[case.split(",")[0]].cls
    exact, rounded = (
        erase(cls(cls.Params(**CASES[case])), before, sets, make(precision)) for precision in ("float32", "bfloat16")
    )
    assert all(value.dtype == torch.float32 for value in rounded.params.values())
    off, moved = difference(rounded, exact), difference(exact, before)
    assert math.isfinite(off)
    assert moved > 0
    if case in EXACT:
        assert off < 1e-3 * moved
    else:  # at most to the other side: Adam's first step has one length whatever the gradient
        assert difference(rounded, before) > 0
        assert off < 2.1 * moved


@pytest.mark.parametrize("case", ["hbu", "ssd"])
def test_exact_steps_are_exact_on_every_network(case):
    sets = ErasureSets(blobs(16, shape=SHAPE), torch.arange(12), torch.tensor([[0, 1]]))
    before = make("float32", network="mlp").train(sets)
    cls = discover().methods[case].cls
    exact, rounded = (
        erase(cls(cls.Params(**CASES[case])), before, sets, make(precision, network="mlp"))
        for precision in ("float32", "bfloat16")
    )
    assert difference(exact, before) > 0
    assert difference(rounded, exact) < 1e-3 * difference(exact, before)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_replicas_run_together_in_bfloat16(case, world):
    """As on GPUs, where networks with batch normalisation are vectorised too."""
    _, before = world
    sets = ErasureSets(blobs(16, shape=SHAPE), torch.arange(8), torch.tensor([[0, 1], [4, 7]]))
    cls = discover().methods[case.split(",")[0]].cls
    after = erase(cls(cls.Params(**CASES[case])), before.expand(2), sets, make("bfloat16", 2))
    assert after.replicas == 2
    assert all(bool(value.isfinite().all()) for value in after.params.values())
