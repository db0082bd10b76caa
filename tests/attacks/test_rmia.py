"""RMIA on planted margins: ratios by hand, what it finds and what it can't."""

import math

import pytest
import torch
from planted_margins import POPULATION, PlantedView, null_interval
from small_worlds import leak, utility
from unlearnbench.attacks.rmia import Rmia

from unlearnbench.metrics.membership import auc

USES = ("change", "after", "before")


def run(view, **params):
    return Rmia(Rmia.Params(**params)).run(view)


def auc_of(view, **params):
    return auc(run(view, **params).membership.flatten().numpy(), view.erased.flatten().numpy())


def test_the_score_is_the_share_of_the_population_that_the_ratio_beats():
    """Equation by equation, for one candidate."""
    view = PlantedView((2.0, 1.0), 32)
    models, target = view.in_and_out(), view.updates()
    target_no, candidate, gamma = 7, 1, 1.5
    label = view.labels[target_no, candidate]
    of_x = target.candidates_after[target_no, candidate, label].exp().double()
    of_x = of_x / models.after[:, target_no, candidate, label].exp().double().mean()
    places = torch.arange(POPULATION)
    of_z = target.probe_after[target_no, places, view.probe.labels].exp().double()
    of_z = of_z / models.population_after[:, places, view.probe.labels].exp().double().mean(0)
    share = float((of_x / of_z >= gamma).double().mean())
    score = float(run(view, uses="after", gamma=gamma).membership[target_no, candidate])
    assert score == pytest.approx(share + float(torch.sigmoid(of_x.log())) / POPULATION, abs=1e-6)


@pytest.mark.parametrize(("uses", "shifts"), [("after", (0, 2)), ("before", (2, 0)), ("change", (1.5, -1.5))])
def test_a_planted_leak_is_found(uses, shifts):
    """The ratio of probabilities loses what is near 1, so that it stays below the best attack on margins."""
    assert auc_of(PlantedView(shifts, 64, spread=1), uses=uses) > 0.85


def test_it_is_one_sided():
    """An image whose likelihood fell below that of others was never a member, as RMIA sees it: `change` sees it."""
    view = PlantedView((0.0, -2.0), 64, spread=1)
    assert auc_of(view, uses="after") < 0.2
    assert auc_of(view, uses="change") > 0.8


@pytest.mark.parametrize("uses", USES)
@pytest.mark.parametrize("models", [32, 256])
def test_without_an_effect_it_finds_nothing(uses, models):
    assert abs(auc_of(PlantedView((0.0, 0.0), models), uses=uses) - 0.5) < null_interval()


def test_models_that_do_not_change_say_nothing_by_their_change():
    assert auc_of(PlantedView((2.0, 2.0), 64).unchanged(), uses="change") == 0.5


def test_no_score_ties_with_another_model_and_gamma_orders_nothing_within_one():
    view = PlantedView((2.0, 1.0), 64)
    scores = run(view).membership
    assert scores.unique().numel() == scores.numel()
    assert float(scores.min()) >= 0
    assert float(scores.max()) <= 1 + 1 / POPULATION
    orders = [run(view, gamma=gamma).membership.argsort(1) for gamma in (0.5, 2.0)]
    assert torch.equal(*orders)


def test_probabilities_do_as_well_as_their_logarithms():
    view, plain = PlantedView((2.0, 1.0), 32), PlantedView((2.0, 1.0), 32)
    view._models = plain._models._replace(
        **{name: value.exp() for name, value in plain._models._asdict().items() if name != "was_in"}
    )
    names = ("probe_before", "probe_after", "candidates_before", "candidates_after")
    view._target = plain._target._replace(**{name: getattr(plain._target, name).exp() for name in names})
    found, expected = run(view, observe="probabilities").membership, run(plain).membership
    assert math.isclose(float(found.mean()), float(expected.mean()), abs_tol=1e-3)


def test_it_declares_what_it_uses_and_says_why_not():
    access = Rmia(Rmia.Params(models=128)).access
    assert (access.level, access.in_and_out, access.shadows) == ("log_probabilities", 128, 0)
    for wrong in ({"models": 30}, {"models": 33}, {"gamma": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Rmia.Params(**wrong)
    assert Rmia().skip(leak()) is None
    assert "leak" in Rmia().skip(utility())
    for level in ("label", "top_k", "representation", "parameters"):
        assert level in Rmia(Rmia.Params(observe=level)).skip(leak())
