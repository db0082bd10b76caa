"""Fine-tuning is the shared training, gone on with, on the remaining images alone."""

import pytest
import torch
from loss_cases import both, gradients, noise, pair, repainted
from small_worlds import SEEDS, context, difference, equal, erasures, trained, unlearn, utility
from unlearnbench.methods.fine_tune import FineTune

from unlearnbench.settings.scenario import Backdoor, Network, StopRule, Training

SCENARIO = utility(training=Training(epochs=3, batch=8, lr=5e-3))


def fine_tune(**params):
    return FineTune(FineTune.Params(**params))


def test_from_fresh_weights_it_is_retraining():
    used = context(SCENARIO, SEEDS)
    retrained = used.train(erasures())
    after, tuned = unlearn(fine_tune(epochs=3), context(SCENARIO, SEEDS).fresh(), erasures(), SCENARIO)
    assert difference(after, retrained) < 1e-9
    assert tuned.steps.tolist() == used.steps.tolist() == [3 * 7] * 3
    assert tuned.samples.tolist() == used.samples.tolist() == [3 * 54] * 3


def test_it_never_looks_at_what_is_erased():
    sets, before = erasures(), trained(SCENARIO, erasures(), SEEDS[:1])
    after, other = (unlearn(fine_tune(), before, s, SCENARIO)[0] for s in (sets, repainted(sets, sets.erased[1])))
    assert equal(after.slice(1, 2), other.slice(1, 2))
    assert not equal(after.slice(0, 1), other.slice(0, 1))  # for others they are remaining images


def test_at_the_optimum_of_the_remaining_images_nothing_is_left_to_do():
    training = Training(optimiser="newton", epochs=8, l2=0.01)
    scenario, sets = utility(network=Network(name="linear", latent=36), training=training), erasures(replicas=1)
    retrained, original = context(scenario, SEEDS[:1]).train(sets), trained(scenario, sets, SEEDS[:1])
    sizes = []
    for start in (retrained, original):
        params, models = pair(start, 0.0, sets, scenario)
        loss = fine_tune().loss(models, None, both(sets)[1], None, noise())
        sizes.append(max(float(g.abs().max()) for g in gradients(loss, params).values()))
    assert sizes[0] < 1e-7 < 1e-4 < sizes[1]


@pytest.mark.parametrize("rule", [{"rule": "backdoor", "epochs": 1}, {"rule": "steps", "steps": 3}])
def test_the_stop_rule_has_no_say(rule):
    scenario = utility(stop=StopRule(**rule), backdoor=Backdoor(), training=SCENARIO.training)
    _, used = unlearn(fine_tune(epochs=2, batch=10), trained(SCENARIO, erasures(), SEEDS[:1]), erasures(), scenario)
    assert used.steps.tolist() == [2 * 6] * 3


def test_the_learning_rate_is_the_scenarios_unless_given():
    before = trained(SCENARIO, erasures(), SEEDS[:1])
    default, same, slow = (
        unlearn(fine_tune(lr=lr), before, erasures(), SCENARIO)[0] for lr in (None, SCENARIO.training.lr, 1e-6)
    )
    assert equal(default, same)
    assert difference(slow, before.expand(3)) < 2 * 7 * 1e-6 * 4 < difference(default, before.expand(3))
    assert torch.isfinite(default.params["approximator.0.bias"]).all()
