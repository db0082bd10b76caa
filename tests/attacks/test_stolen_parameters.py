"""Settings read from weights: exactly at an optimum, steps from Adam's step size, none where nothing changed."""

from pathlib import Path

import pytest
import torch
from experiments import SCENARIO, Experiment
from small_worlds import blobs, erasures, leak, trained, utility
from unlearnbench.attacks.stolen_parameters import StolenParameters
from unlearnbench.methods.crfu import Crfu
from unlearnbench.methods.original import Original

from unlearnbench.models.plain_network import PlainNetwork
from unlearnbench.models.stack import Stack
from unlearnbench.networks.plain_mlp import PlainMlp
from unlearnbench.plugin import Access
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, Scenario, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import build_world
from unlearnbench.system.errors import AccessError
from unlearnbench.training.context import Context
from unlearnbench.training.stationarity import gradients, penalty_weights

LR = SCENARIO.training.lr


def attack(**params):
    return StolenParameters(StolenParameters.Params(**({"lr": LR, "draws": 4} | params)))


def stolen(stack, images, draws=16):
    return penalty_weights(*gradients(stack, images.scaled, images.labels, draws, "mean", 1))


# --- oracles ---


@pytest.mark.parametrize("l2", [1e-3, 1e-2])
def test_l2_of_a_linear_model_at_its_optimum_is_recovered_to_a_millionth(l2):
    scenario = Scenario(
        kind="utility", erased_count=10, train_size=500, network=Network(name="linear"), stop=StopRule(steps=1),
        training=Training(optimiser="newton", l2=l2, epochs=12),
    )  # fmt: skip
    world = build_world(discover().datasets["digits"].cls().load(Path()), scenario, 1, torch.device("cpu"))
    nothing = ErasureSets(world.pool, world.targets.members, torch.empty(1, 0, dtype=torch.int64))
    original = Context(scenario, [0], (1, 8, 8), 10, dtype=torch.float64).train(nothing)
    found = stolen(original, world.pool.take(world.targets.members), draws=1)
    assert set(found) == {"l2"}  # its Z has no distribution that training could change
    assert found["l2"] == pytest.approx(l2, rel=1e-6)


def test_a_single_weight_is_that_of_the_paper():
    loss, penalty = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    loss = loss - 0.7 * penalty
    expected = float(-(penalty @ loss) / (penalty @ penalty))
    assert penalty_weights(loss, {"l2": penalty})["l2"] == pytest.approx(expected, rel=1e-12)


def test_weights_whose_gradients_cancel_are_found_together():
    first, second = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = penalty_weights(-0.3 * first - 0.02 * second, {"l2": first, "beta": second})
    assert found == pytest.approx({"l2": 0.3, "beta": 0.02}, rel=1e-9)


def test_no_weight_is_negative_and_a_penalty_without_gradient_has_none():
    first, zero = torch.ones(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    assert penalty_weights(first, {"l2": first, "beta": zero}) == {"l2": 0.0}
    assert penalty_weights(first, {"beta": zero}) == {}


def test_beta_of_a_model_that_was_trained_long_is_found():
    sets = erasures()
    images = sets.pool.take(sets.members)
    found = {}
    for beta in (0.1, 1.0):
        scenario = utility(beta=beta, training=Training(epochs=1_000, batch=60, lr=1e-3))
        found[beta] = stolen(trained(scenario, sets, [5]), images, draws=64)["beta"]
        assert found[beta] == pytest.approx(beta, rel=0.25)
    assert found[0.1] < found[1.0] / 4


def test_networks_without_a_posterior_have_no_beta():
    plain = PlainMlp().build((1, 6, 6), 4)
    assert set(stolen(Stack.of([PlainNetwork(plain)]), blobs(20), draws=1)) == {"l2"}


# --- the attack ---


@pytest.fixture(scope="module")
def crfu():
    return Experiment(Crfu())


def test_the_number_of_steps_is_read_from_the_change(crfu):
    evidence = attack().run(crfu.view(level="parameters", members=True))
    assert set(evidence.metrics) == {"stolen_beta", "stolen_l2", "stolen_steps"}
    steps = evidence.metrics["stolen_steps"]
    assert steps.n == 4
    assert steps.value == pytest.approx(SCENARIO.stop.steps, abs=0.5)


def test_where_nothing_changed_there_were_no_steps():
    evidence = attack().run(Experiment(Original()).view(level="parameters", members=True))
    assert evidence.metrics["stolen_steps"].value == 0


def test_it_is_seeded(crfu):
    first, again = (attack().run(crfu.view(level="parameters", members=True)).metrics for _ in range(2))
    assert first == again


def test_it_needs_weights_and_members():
    assert attack().access == Access(level="parameters", members=True)
    assert attack().skip(leak()) is None
    assert "leak experiment" in attack().skip(utility())


@pytest.mark.parametrize(
    ("access", "message"),
    [({"level": "label", "members": True}, "level 'parameters'"), ({"level": "parameters"}, "members=True")],
)
def test_less_access_is_refused(crfu, access, message):
    with pytest.raises(AccessError, match=message):
        attack().run(crfu.view(**access))


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="draws"):
        attack(draws=0)


def test_models_under_attack_stay_as_they_are(crfu):
    untouched = crfu.before.apply(torch.clone)
    attack().run(crfu.view(level="parameters", members=True))
    assert all(torch.equal(value, untouched.tensors[name]) for name, value in crfu.before.tensors.items())
