"""Membership of remaining images: what a second model adds, and that nothing is added where nothing has changed."""

import pytest
import torch
from experiments import Experiment
from pydantic import ValidationError
from small_worlds import leak, utility
from unlearnbench.attacks.remaining_membership import RemainingMembership
from unlearnbench.methods.crfu import Crfu

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import Access, Images, Updates

TARGETS, PROBES, KINDS = 150, 60, 6  # two candidates of each kind: erased, remaining and never seen
NULL = 3.29 * ((4 * TARGETS + 1) / (12 * (2 * TARGETS) ** 2)) ** 0.5  # of an AUC, 99.9 %


def outputs(margins):
    """Log-probabilities of two classes, of which the first is the label."""
    return torch.stack([-torch.nn.functional.softplus(-margins), -torch.nn.functional.softplus(margins)], -1)


class View:
    """Margins of noise. Remaining images gain `known` in the model before unlearning, and `again` in the one after, in
    which the noise is `fresh` or the same."""

    def __init__(self, known, again, fresh=True):
        random = torch.Generator().manual_seed(1)
        kinds = torch.arange(KINDS).expand(TARGETS, -1) // 2
        self.remaining, self.unseen = kinds == 1, kinds == 2
        noise = torch.randn(2, TARGETS, KINDS, generator=random)
        probe = torch.randn(1 + TARGETS, PROBES, generator=random)
        if not fresh:
            noise[1], probe[1:] = noise[0], probe[0]
        before, after = (noise[k] + gain * self.remaining for k, gain in enumerate((known, again)))
        self._updates = Updates(
            outputs(probe[:1]), outputs(probe[1:]), torch.zeros(TARGETS, KINDS, 1, 2, 2, dtype=torch.uint8),
            torch.zeros(TARGETS, KINDS, dtype=torch.int64), outputs(before), outputs(after),
        )  # fmt: skip
        labels = torch.zeros(PROBES, dtype=torch.int64)
        self.probe = Images(torch.zeros(PROBES, 1, 2, 2, dtype=torch.uint8), labels, labels)

    def updates(self):
        return self._updates

    def found(self, uses="both"):
        """AUCs of remaining against never-seen images: the attack's and its baseline's, and the evidence."""
        evidence = RemainingMembership(RemainingMembership.Params(uses=uses)).run(self)
        assert evidence.subject == "remaining"
        chosen = self.remaining | self.unseen
        member = self.remaining[chosen].numpy()
        values = [auc(each[chosen].numpy(), member) for each in (evidence.membership, evidence.baseline)]
        assert 0 <= float(evidence.membership.min()) <= float(evidence.membership.max()) <= 1
        return *values, evidence


def test_a_second_model_exposes_what_the_first_gives_away():
    both, classical, evidence = View(known=1.0, again=1.0).found()
    # Two normal distributions that are d standard deviations apart have an AUC of Phi(d / sqrt(2)).
    expected = torch.special.ndtr(torch.tensor([1.0, 0.5**0.5]))
    assert both == pytest.approx(float(expected[0]), abs=0.04)
    assert classical == pytest.approx(float(expected[1]), abs=0.05)
    view = View(known=1.0, again=1.0)
    chosen = evidence.membership > evidence.threshold
    assert float(chosen[view.remaining].float().mean()) > 0.6 > 0.4 > float(chosen[view.unseen].float().mean())


def test_what_the_model_after_alone_gives_away_is_not_the_baselines():
    after, classical, _ = View(known=0.0, again=3.0).found("after")
    assert after > 0.95
    assert abs(classical - 0.5) < NULL


@pytest.mark.parametrize("uses", ["both", "after"])
def test_identical_models_add_nothing(uses):
    both, classical, evidence = View(known=1.0, again=1.0, fresh=False).found(uses)
    assert both == classical
    torch.testing.assert_close(evidence.membership, evidence.baseline, atol=1e-3, rtol=0)


@pytest.mark.parametrize("uses", ["both", "after"])
def test_without_memory_there_is_nothing_to_find(uses):
    both, classical, _ = View(known=0.0, again=0.0).found(uses)
    assert abs(both - 0.5) < NULL
    assert abs(classical - 0.5) < NULL


def test_it_runs_on_a_real_view():
    view = Experiment(Crfu()).view(remaining=True)
    assert RemainingMembership().run(view).membership.shape == (4, 6)


def test_it_declares_remaining_images_and_skips_what_shows_no_margin():
    assert RemainingMembership().access == Access(remaining=True)
    assert RemainingMembership().skip(leak()) is None
    assert "leak" in RemainingMembership().skip(utility())
    labels = RemainingMembership(RemainingMembership.Params(observe="label"))
    assert "level label does not show" in labels.skip(leak())
    with pytest.raises(ValidationError):
        RemainingMembership.Params(uses="before")
