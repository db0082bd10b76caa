"""The trainer's gradient written out, against autograd's."""

import pytest
from replica_cases import DTYPES, TOLERANCE
from small_worlds import SEEDS, context, difference, erasures, utility

from unlearnbench.settings.scenario import Training
from unlearnbench.training.descent import LossDescent


@DTYPES
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [{}, {"kl_reduction": "sum", "clip": 0.5}, {"l2": 0.1}, {"batch": 7}],
    ids=["defaults", "sum, clipped", "l2", "batches of two sizes"],
)
def test_the_trainers_written_out_step_is_autograds(changes, replicas, dtype, monkeypatch):
    scenario = utility(beta=0.3, training=Training(**({"epochs": 3, "batch": 8, "lr": 5e-3} | changes)))
    sets = erasures(replicas, members=60)
    by_hand = context(scenario, SEEDS[:replicas], dtype).train(sets)
    monkeypatch.setattr("unlearnbench.training.mlp_descent.applies", lambda *_: False)
    steps = []
    step = LossDescent.step
    monkeypatch.setattr(LossDescent, "step", lambda self, inputs: steps.append(1) or step(self, inputs))
    by_autograd = context(scenario, SEEDS[:replicas], dtype).train(sets)
    assert len(steps) > 20
    assert difference(by_hand, by_autograd) < TOLERANCE[dtype]
