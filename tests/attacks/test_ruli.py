"""RULI on planted margins, where the best possible attack is known, and beside scipy's kernel densities."""

import math

import pytest
import torch
from planted_margins import PlantedView, answers, null_interval
from scipy.stats import gaussian_kde, norm
from small_worlds import leak, utility
from unlearnbench.attacks.ruli import Ruli, _log_density

from unlearnbench.metrics.distributions import margin
from unlearnbench.metrics.membership import auc

CLOSE = 0.06  # three standard errors of an AUC of 400 against 400


def run(view, **params):
    return Ruli(Ruli.Params(**params)).run(view)


def auc_of(view, **params):
    return auc(run(view, **params).membership.flatten().numpy(), view.erased.flatten().numpy())


def test_densities_are_those_of_scipy():
    view = PlantedView((2.0, 1.0), 64)
    models, target = view.in_and_out(), view.updates()
    asked, known = (margin(each, view.labels, "log_probabilities") for each in (target.candidates_after, models.after))
    found = _log_density(asked, known, models.was_in)
    for number in (0, 5, 399):
        side = models.was_in[:, number, 1]
        expected = gaussian_kde(known[side, number, 1].numpy()).logpdf(asked[number, 1].numpy())
        assert float(found[number, 1]) == pytest.approx(float(expected[0]), abs=1e-9)


@pytest.mark.parametrize("shift", [2.0, -2.0])
def test_it_comes_near_the_likelihood_ratios_auc_on_either_side(shift):
    found = auc_of(PlantedView((0.0, shift), 256), models=256)
    assert found == pytest.approx(norm.cdf(abs(shift) / math.sqrt(2)), abs=CLOSE)


def test_densities_need_not_be_normal():
    """Half of the images that are unlearned rise and half fall: the mean stays, and the density splits."""
    view = PlantedView((0.0, 0.0), 256)
    for outputs, learned in ((view._target.candidates_after, view.erased), (view._models.after, view._models.was_in)):
        margins = margin(outputs, view.labels, "log_probabilities")
        signs = 2 * torch.randint(0, 2, margins.shape, generator=view.random) - 1
        outputs.copy_(answers(margins + 4 * signs * learned, view.labels))
    assert auc_of(view, models=256) > 0.9


def test_the_question_of_efficacy_asks_whether_an_image_looks_as_if_it_were_still_in():
    """Kept as before, it looks so; pushed to the other side, it is found by the question of privacy only."""
    kept, pushed = PlantedView((2.0, 2.0), 128), PlantedView((2.0, -2.0), 128)
    for view, low, high in ((kept, 0.85, 1.0), (pushed, 0.0, 0.15)):
        assert low < auc_of(view, against_out="in") < high
        assert auc_of(view) > 0.85


@pytest.mark.parametrize("against_out", ["unlearned", "in"])
@pytest.mark.parametrize("models", [32, 256])
def test_without_an_effect_it_finds_nothing(against_out, models):
    assert abs(auc_of(PlantedView((0.0, 0.0), models), against_out=against_out) - 0.5) < null_interval()


def test_permuting_which_models_learned_an_image_destroys_what_is_known():
    assert auc_of(PlantedView((0.0, 2.0), 128)) > 0.85
    assert abs(auc_of(PlantedView((0.0, 2.0), 128, permuted=True)) - 0.5) < 0.15


def test_outputs_that_never_vary_are_no_error():
    view = PlantedView((0.0, 0.0), 32)
    view._models.after.copy_(view._models.after[:1].clone().expand_as(view._models.after))
    view._models.before.copy_(view._models.after)
    view._target.candidates_after.copy_(view._models.after[0])
    assert auc_of(view) == 0.5


def test_it_declares_what_it_uses_and_says_why_not():
    access = Ruli(Ruli.Params(models=128)).access
    assert (access.level, access.in_and_out, access.shadows) == ("log_probabilities", 128, 0)
    for models in (30, 33):
        with pytest.raises(ValueError, match="models"):
            Ruli.Params(models=models)
    assert Ruli().skip(leak()) is None
    assert "leak" in Ruli().skip(utility())
    for level in ("label", "top_k", "representation", "parameters"):
        assert level in Ruli(Ruli.Params(observe=level)).skip(leak())
