"""HBU on multinomial logistic regression in the harness: the optimum without the erased images is known exactly."""

from math import erfc, exp, log, sqrt
from pathlib import Path

import pytest
import torch
from small_worlds import SEEDS, context, difference, equal, erasures, replica, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods.hbu import Hbu, gaussian_epsilon, perturbed, remaining_gradient
from unlearnbench.methods.retrain import Retrain

from unlearnbench.models.stack import Stack
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, Scenario, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import build_world
from unlearnbench.stages.result_checks import erase
from unlearnbench.training.context import Context
from unlearnbench.training.objectives import NewtonTraining

L2 = 1e-2
EXACT = {"curvature_images": None, "batch": None, "damping": 0.0, "radius": None, "solver_steps": 70}
ONCE = EXACT | {"steps": 1}


def linear_scenario(epochs=6, erased=10):
    return Scenario(
        kind="utility", erased_count=erased, train_size=500, network=Network(name="linear"), stop=StopRule(steps=1),
        training=Training(optimiser="newton", l2=L2, epochs=epochs),
    )  # fmt: skip


def digits_world(seed, erased=10):
    data = discover().datasets["digits"].cls().load(Path())
    return build_world(data, linear_scenario(erased=erased), seed, torch.device("cpu"))


def digits_context(seeds, dtype, epochs=6):
    return Context(linear_scenario(epochs), list(seeds), (1, 8, 8), 10, dtype=dtype)


def original_of(world, dtype):
    """The optimum on all members."""
    nothing = ErasureSets(world.pool, world.targets.members, torch.empty(1, 0, dtype=torch.int64))
    return digits_context([0], dtype).train(nothing)


def distances(first, second):
    """||first - second|| of each replica."""
    moved = [(value - second.params[name]).flatten(1) for name, value in first.params.items()]
    return torch.cat(moved, 1).norm(dim=1)


def residuals(stack, sets, l2=L2):
    """||grad L_r||, mean loss, of each replica."""
    return torch.tensor([remaining_gradient(stack, k, sets.splits(k).remaining, l2) for k in range(sets.replicas)])


# --- one exact step is retraining but for a quadratic rest ---


@pytest.fixture(scope="module")
def world():
    return digits_world(0, 64)


@pytest.fixture(scope="module")
def original(world):
    return original_of(world, torch.float64)


@pytest.fixture(scope="module")
def nested(world, original):
    """1, 8 and 64 erased images, each set a part of the next: (sets, retrained optimum)."""
    found = []
    for size in (1, 8, 64):
        sets = ErasureSets(world.pool, world.targets.members, world.targets.erased[:, :size])
        # Newton's method finds the same optimum from everywhere, and sooner from close by.
        used = digits_context([0], torch.float64, epochs=3)
        found.append((sets, used.transform(NewtonTraining(used.scenario.training), original, sets)))
    return found


def test_a_step_and_retraining_differ_in_at_most_one_prediction_on_digits(world, original):
    """In float32, as suites run: five seeds, each with ten erased images that no other has."""
    sets = ErasureSets(world.pool, world.targets.members, world.targets.members[:50].view(5, 10))
    before, used = original.to("cpu", torch.float32), digits_context(range(5), torch.float32)
    after = erase(Hbu(Hbu.Params(**ONCE)), before, sets, used)
    retrained = erase(Retrain(), before, sets, digits_context(range(10, 15), torch.float32))
    assert used.steps.tolist() == [1] * 5
    assert used.samples.tolist() == [10 + 70 * 490] * 5
    found, wanted = (stack.outputs(world.test.pixels)[1].argmax(-1) for stack in (after, retrained))
    assert int((found != wanted).sum(1).max()) <= 1
    assert float((distances(after, retrained) / distances(before.expand(5), retrained)).max()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_so_they_do_on_all_digits_for_every_seed(seed):
    """Five splits of all 1,437 training digits and a weaker penalty; ten erased images."""
    training = Training(optimiser="newton", l2=1e-3, epochs=8)
    scenario = linear_scenario().model_copy(update={"train_size": None, "training": training})
    world = build_world(discover().datasets["digits"].cls().load(Path()), scenario, seed, torch.device("cpu"))
    nothing = ErasureSets(world.pool, world.targets.members, torch.empty(1, 0, dtype=torch.int64))
    original, used, retrained = (Context(scenario, [seed], (1, 8, 8), 10) for _ in range(3))
    before = original.train(nothing)
    after = erase(Hbu(Hbu.Params(**ONCE)), before, world.targets, used)
    wanted = erase(Retrain(), before, world.targets, retrained)
    predictions = [stack.outputs(world.test.pixels)[1].argmax(-1) for stack in (after, wanted)]
    assert int((predictions[0] != predictions[1]).sum()) <= 1
    assert float(distances(after, wanted)) < 0.2 * float(distances(before, wanted))


def test_retraining_reaches_the_optimum(nested):
    assert max(float(residuals(retrained, sets)) for sets, retrained in nested) < 1e-10


def test_what_a_step_leaves_shrinks_with_the_square_of_the_distance(nested, original):
    """||theta_1 - theta_r|| and ||grad L_r(theta_1)|| over ||theta_0 - theta_r||^2 stay where they are."""
    method = Hbu(Hbu.Params(**ONCE))
    before, distance, gradient = [], [], []
    for sets, retrained in nested:
        after = erase(method, original, sets, digits_context([0], torch.float64))
        before.append(float(distances(original, retrained)))
        distance.append(float(distances(after, retrained)) / before[-1] ** 2)
        gradient.append(float(residuals(after, sets)) / before[-1] ** 2)
    assert before[-1] > 20 * before[0]
    assert max(distance) < 2 * min(distance)
    assert max(gradient) < 2 * min(gradient)


def test_the_hessian_gives_the_same_step_as_gauss_newton(nested, original):
    steps = [
        erase(Hbu(Hbu.Params(**ONCE, curvature=kind)), original, nested[1][0], digits_context([0], torch.float64))
        for kind in ("gauss_newton", "hessian")
    ]
    assert difference(steps[0], original) > 1e-3
    assert difference(*steps) < 1e-9


def test_a_second_step_goes_on_uphill_rather_than_to_the_optimum(nested, original):
    """The right-hand side stays the gradient of the erased: only the first step is Newton's on the remaining loss."""
    sets, retrained = nested[1]
    method = Hbu(Hbu.Params(**EXACT | {"steps": 2}))
    twice = erase(method, original, sets, digits_context([0], torch.float64))
    assert float(distances(twice, retrained)) > 0.5 * float(distances(original, retrained))
    assert float(losses(twice, sets)) > 1.1 * float(losses(retrained, sets))


def losses(stack, sets):
    _, logits = stack.own_outputs(sets.pool.pixels[sets.erased])
    return F.cross_entropy(logits.flatten(0, 1), sets.pool.labels[sets.erased].flatten())


# --- the certificate ---


def phi(x):
    return 0.5 * erfc(-x / sqrt(2))


@pytest.mark.parametrize("delta", [1e-2, 1e-5])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 5.0])
def test_epsilon_is_the_one_at_which_the_gaussian_mechanism_has_this_delta(ratio, delta):
    """Balle and Wang 2018, Theorem 8, from the normal distribution function; and no worse than the classical bound."""
    epsilon = gaussian_epsilon(ratio, delta)
    found = phi(ratio / 2 - epsilon / ratio) - exp(epsilon) * phi(-ratio / 2 - epsilon / ratio)
    assert found == pytest.approx(delta, rel=1e-6)
    classical = ratio * sqrt(2 * log(1.25 / delta))
    assert epsilon > 0
    assert classical > 1 or epsilon < classical


def test_epsilon_grows_with_the_ratio_from_nothing_and_is_never_cut_off():
    ratios = [0.0, 1e-9, 0.01, 0.1, 1.0, 10.0, 1e3, 1e6]
    found = [gaussian_epsilon(ratio, 1e-5) for ratio in ratios]
    assert found[:2] == [0, 0]
    assert found[2:] == sorted(found[2:])
    assert found[-1] == pytest.approx(ratios[-1] ** 2 / 2, rel=1e-3)
    assert gaussian_epsilon(float("nan"), 1e-5) == float("inf")


def certified(sets, original, **changes):
    used = digits_context(range(sets.replicas), torch.float64)
    params = Hbu.Params(**ONCE | {"perturbation": 0.01} | changes)
    return erase(Hbu(params), original, sets, used), used


def test_the_certificate_is_that_of_the_measured_gradient(nested, original):
    sets = nested[1][0]
    plain = erase(Hbu(Hbu.Params(**ONCE)), original, sets, digits_context([0], torch.float64))
    after, used = certified(sets, original, delta=1e-4)
    bound = float(residuals(plain, sets)) / L2
    assert bound >= float(distances(plain, nested[1][1]))  # strong convexity
    assert used.recorded["certified_epsilon"].tolist() == pytest.approx([gaussian_epsilon(bound / 0.01, 1e-4)])
    assert used.recorded["certified_delta"].tolist() == [1e-4]
    assert float(distances(after, plain)) == pytest.approx(0.01 * sqrt(650), rel=0.1)


def test_epsilon_grows_with_the_residual_and_shrinks_with_the_noise(nested, original):

    def epsilon(index, sigma):
        _, used = certified(nested[index][0], original, perturbation=sigma)
        return float(used.recorded["certified_epsilon"])

    by_size = [epsilon(index, 0.01) for index in range(3)]
    assert by_size == sorted(by_size)
    assert by_size[-1] > 10 * by_size[0]
    assert epsilon(1, 0.1) < 0.2 * epsilon(1, 0.01)


def test_the_residual_is_the_gradient_of_the_remaining_loss():
    """Written out with autograd, penalty included."""
    scenario, sets = utility(network=Network(name="linear"), training=Training(l2=0.1)), erasures(1)
    stack = perturbed(context(scenario, SEEDS[:1]).fresh(), SEEDS[:1], 0.3)
    weight, bias = (stack.params[f"approximator.0.{name}"][0].clone().requires_grad_() for name in ("weight", "bias"))
    remaining = sets.splits(0).remaining
    logits = remaining.pixels.double().flatten(1) / 255 @ weight.T + bias
    loss = F.cross_entropy(logits, remaining.labels) + 0.05 * (weight.square().sum() + bias.square().sum())
    loss.backward()
    expected = sqrt(float(weight.grad.square().sum() + bias.grad.square().sum()))
    assert remaining_gradient(stack, 0, remaining, 0.1) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [{}, {"training": Training(l2=0.1)}, {"network": Network(name="linear"), "training": Training(epochs=2)}],
    ids=["network", "network with a penalty", "linear without a penalty"],
)
def test_nothing_is_certified_where_the_loss_is_not_strongly_convex(changes):
    scenario, sets = utility(**changes), erasures()
    method = Hbu(Hbu.Params(perturbation=0.1, steps=1))
    before = context(scenario, SEEDS[:1]).fresh()
    after, used = unlearn(method, before, sets, scenario)
    plain, _ = unlearn(Hbu(Hbu.Params(steps=1)), before, sets, scenario)
    assert used.recorded == {}
    assert difference(after, plain) > 0.1


def test_a_certificate_needs_no_particular_form():
    scenario = utility(network=Network(name="linear"), training=Training(l2=0.1, epochs=2), stop=StopRule(steps=2))
    sets = erasures()
    before = trained(scenario, sets, SEEDS[:1])
    for params in ({"form": "released"}, {"solver": "diagonal"}, {}):
        _, used = unlearn(Hbu(Hbu.Params(perturbation=0.1, **params)), before, sets, scenario)
        assert used.recorded["certified_epsilon"].shape == (3,)
        assert float(used.recorded["certified_epsilon"].min()) > 0


# --- the perturbation ---


def test_noise_has_the_stated_deviation_in_every_parameter():
    zero = Stack.of([torch.nn.Linear(200, 100), torch.nn.Linear(200, 100)]).apply(torch.zeros_like)
    noise = perturbed(zero, [1, 2], 0.25)
    for k in range(2):
        values = noise.params["weight"][k]
        assert float(values.std()) == pytest.approx(0.25, rel=0.02)  # 4 standard errors
        assert abs(float(values.mean())) < 0.008
    weights = noise.params["weight"].flatten(1)
    assert abs(float(torch.corrcoef(weights)[0, 1])) < 0.03
    assert float(noise.params["bias"].std()) == pytest.approx(0.25, rel=0.25)
    assert len(weights[0].unique()) > 19_000


def test_noise_is_a_replicas_own_whatever_runs_beside_it_and_leaves_the_global_state_alone():
    before = context(utility(), SEEDS).fresh()
    state = torch.get_rng_state()
    together = perturbed(before, SEEDS, 0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(together, perturbed(before, SEEDS, 0.1))
    for k, seed in enumerate(SEEDS):
        assert equal(replica(together, k), perturbed(replica(before, k), [seed], 0.1))
    assert difference(together, perturbed(before, [1, 2, 3], 0.1)) > 0.05
