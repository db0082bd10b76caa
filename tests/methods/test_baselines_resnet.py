"""The baselines on a batch-normalised network: together as alone, and its running statistics untouched."""

import pytest
import torch
from small_worlds import CLASSES, SEEDS, blobs, difference, utility

from unlearnbench.models.stack import Stack
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.stages.result_checks import erase
from unlearnbench.training.context import Context

SHAPE = (3, 8, 8)
SCENARIO = utility(
    network=Network(name="resnet18", hidden=8, latent=4),
    stop=StopRule(steps=1),
    training=Training(epochs=1, batch=6, lr=1e-3),
)
CASES = {
    "fine_tune": {"epochs": 1},
    "gradient_ascent": {},
    "neggrad_plus": {},
    "random_label": {},
    "bad_teacher": {},
    "scrub": {"epochs": 1, "max_epochs": 1},
    "salun": {},
    "ssd": {"selection": 1.0},
}


def make(first, last):
    return Context(SCENARIO, SEEDS[first:last], SHAPE, CLASSES, dtype=torch.float64)


@pytest.fixture(scope="module")
def world():
    sets = ErasureSets(blobs(16, shape=SHAPE), torch.arange(8), torch.tensor([[0, 1], [4, 7]]))
    return sets, make(0, 2).train(sets)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_replicas_together_are_replicas_alone_and_buffers_stay(name, world):
    sets, before = world
    cls = discover().methods[name].cls
    method = cls(cls.Params(**CASES[name]))
    together = erase(method, before, sets, make(0, 2))
    alone = Stack.concatenate(
        [erase(method, before.slice(k, k + 1), sets.take(k, k + 1), make(k, k + 1)) for k in range(2)]
    )
    assert difference(together, alone) < 1e-9
    assert difference(together, before) > 1e-5
    for buffer, value in before.buffers.items():
        assert torch.equal(together.buffers[buffer], value), buffer


@pytest.mark.slow
def test_an_ensemble_of_resnets_trains_and_erases(world):
    sets, _ = world
    cls = discover().methods["sisa"].cls
    method = cls(cls.Params(shards=2))
    before = Stack.of([method.train(sets.pool.take(sets.members), make(0, 1))])
    one = ErasureSets(sets.pool, sets.members, sets.erased[:1, :1])
    after = erase(method, before, one, make(0, 1))
    moved = {name.split(".")[1] for name, value in after.params.items() if not torch.equal(value, before.params[name])}
    assert len(moved) == 1
    mean, logits = after.outputs(sets.pool.pixels)
    assert mean.shape == (1, 16, 2 * 4)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(1, 16, dtype=torch.float64))
