"""U-LiRA on planted normal distributions, where the best possible attack is known."""

import math

import pytest
import torch
from scipy.stats import norm
from small_worlds import leak, utility
from torch.nn import functional as F
from unlearnbench.attacks.likelihood_ratio import OWN_VARIANCE, LikelihoodRatio

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import InAndOut, Updates

TARGETS, CANDIDATES, CLASSES = 400, 2, 4
USES = ("after", "before", "both", "change", "boosted")


def outputs(margins, labels):
    """Log-probabilities f32[..., Y] with these margins of the true class; the other classes share the rest."""
    own = F.one_hot(labels, CLASSES).bool().expand(*margins.shape, CLASSES)
    other = F.logsigmoid(-margins) - math.log(CLASSES - 1)
    return torch.where(own, F.logsigmoid(margins)[..., None], other[..., None]).float()


class View:
    """Margins are the candidate's own mean plus noise; learning and forgetting it moves them by `shifts`.

    Args:
        shifts: of the margin before and after unlearning.
        correlation: of the noise before and after.
        scale: of the noise, one for all or f64[T, c].
    """

    def __init__(self, shifts, models, correlation=0.0, scale=1.0, seed=0):
        self.random = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, CLASSES, (TARGETS, CANDIDATES), generator=self.random)
        own = 2 * torch.randn(TARGETS, CANDIDATES, generator=self.random)
        # One target a model, and as many models that never saw a candidate as learned it.
        self.erased = torch.arange(CANDIDATES).expand(TARGETS, -1) < CANDIDATES // 2
        was_in = (torch.arange(models) % 2 == 0)[:, None, None].expand(-1, TARGETS, CANDIDATES)
        self._target = self._outputs(own, self.erased, shifts, correlation, scale)
        self._models = InAndOut(*self._outputs(own, was_in, shifts, correlation, scale), was_in)

    def _outputs(self, own, learned, shifts, correlation, scale):
        first, second = (torch.randn(learned.shape, generator=self.random) for _ in range(2))
        second = correlation * first + math.sqrt(1 - correlation**2) * second
        moved = (own + scale * noise + shift * learned for noise, shift in zip((first, second), shifts, strict=True))
        return [outputs(margins, self.labels) for margins in moved]

    def in_and_out(self):
        return self._models

    def torch_seed(self, *purpose):
        return 5

    def updates(self):
        nothing = torch.empty(0)
        return Updates(nothing, nothing, nothing, self.labels, *self._target)


def attack(view, **params):
    evidence = LikelihoodRatio(LikelihoodRatio.Params(**params)).run(view)
    assert evidence.membership.shape == (TARGETS, CANDIDATES)
    assert (evidence.threshold, evidence.subject) == (
        0.5 if params.get("uses", "boosted") == "boosted" else 0.0,
        "erased",
    )
    return auc(evidence.membership.flatten().numpy(), view.erased.flatten().numpy())


# Standard errors of an AUC of 400 against 400 are at most 0.021.
CLOSE = 0.06


@pytest.mark.parametrize("models", [64, 256])
@pytest.mark.parametrize(
    ("uses", "distance"), [("after", 1.0), ("before", 2.0), ("both", math.hypot(2, 1)), ("change", 1 / math.sqrt(2))]
)
def test_it_reaches_the_likelihood_ratios_auc(models, uses, distance):
    """Independent noise: the distances before and after add as squares, and the difference has twice the variance."""
    found = attack(View((2.0, 1.0), models), models=models, uses=uses)
    assert found == pytest.approx(norm.cdf(distance / math.sqrt(2)), abs=CLOSE)


def test_both_margins_together_see_through_common_noise():
    """Noise that before and after share cancels: 0.5 * (1, -1), correlation 0.95, is a distance of sqrt(10)."""
    view = View((0.5, -0.5), models=128, correlation=0.95)
    assert attack(view, uses="both") == pytest.approx(norm.cdf(math.sqrt(10 / 2)), abs=CLOSE)
    assert attack(view, uses="after") == pytest.approx(norm.cdf(0.5 / math.sqrt(2)), abs=CLOSE)


@pytest.mark.parametrize("uses", USES)
@pytest.mark.parametrize("models", [32, 256])
def test_without_an_effect_it_finds_nothing(uses, models):
    half = TARGETS * CANDIDATES // 2
    interval = 3.29 * math.sqrt((2 * half + 1) / (12 * half * half))  # 99.9 %
    assert abs(attack(View((0.0, 0.0), models), uses=uses) - 0.5) < interval


@pytest.mark.parametrize("uses", USES)
def test_outputs_that_never_change_are_no_error(uses):
    """A method that does nothing: before and after are equal, and their difference has no variance."""
    view = View((1.0, 1.0), models=64)
    view._models = view._models._replace(after=view._models.before)
    view._target = [view._target[0]] * 2
    expected = 0.5 if uses == "change" else norm.cdf(1 / math.sqrt(2))
    assert attack(view, uses=uses) == pytest.approx(expected, abs=CLOSE)


def test_few_models_share_one_variance():
    """Candidates of very different noise: only own variances know which margins to trust."""
    scale = torch.where(torch.arange(TARGETS)[:, None] % 2 == 0, 0.1, 3.0).expand(-1, CANDIDATES)
    few, many = 2 * OWN_VARIANCE - 2, 2 * OWN_VARIANCE
    found = {}
    for models in (few, many):
        view = View((0.0, 0.0), models, scale=scale)
        found[models] = LikelihoodRatio(LikelihoodRatio.Params(models=models, uses="after")).run(view).membership
    steady, noisy = (slice(0, None, 2), slice(1, None, 2))
    # A shared variance of about 4.5 makes steady candidates' ratios tiny; by their own all ratios are of one size.
    assert float(found[few][steady].std()) < 0.1 * float(found[few][noisy].std())
    assert float(found[many][steady].std()) > 0.5 * float(found[many][noisy].std())


def test_probabilities_do_as_well_as_their_logarithms():
    view, plain = View((2.0, 1.0), models=64), View((2.0, 1.0), models=64)
    view._models = view._models._replace(before=plain._models.before.exp(), after=plain._models.after.exp())
    view._target = [values.exp() for values in plain._target]
    assert attack(view, observe="probabilities") == pytest.approx(attack(plain), abs=1e-4)


def test_it_declares_what_it_uses_and_says_why_not():
    access = LikelihoodRatio().access
    assert (access.level, access.in_and_out, access.shadows) == ("log_probabilities", 32, 0)
    assert LikelihoodRatio().params.uses == "boosted"
    for models in (30, 33):  # half of them are a side: 16 at least
        with pytest.raises(ValueError, match="models"):
            LikelihoodRatio.Params(models=models)
    assert LikelihoodRatio().skip(leak()) is None
    assert "leak" in LikelihoodRatio().skip(utility())
    for level in ("label", "top_k", "representation", "parameters"):
        assert level in LikelihoodRatio(LikelihoodRatio.Params(observe=level)).skip(leak())


def test_boosted_trees_come_near_the_joint_ratio_and_find_what_no_margin_holds():
    view = View((2.0, 1.0), 64)
    assert attack(view, models=64) > attack(view, models=64, uses="both") - CLOSE
    # What is not in the margins: how the other classes share the rest.
    hidden = View((0.0, 0.0), 64)
    for outputs_, learned in ((hidden._target, hidden.erased), (hidden._models[:2], hidden._models.was_in)):
        other = (hidden.labels + 1) % CLASSES
        place = F.one_hot(other, CLASSES).bool() & learned[..., None]
        outputs_[1].copy_(torch.where(place, outputs_[1] - 1.0, outputs_[1]).log_softmax(-1))
    assert attack(hidden, models=64, uses="both") < 0.65
    assert attack(hidden, models=64) > 0.8
