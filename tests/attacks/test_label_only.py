"""Distances to the boundary before and after, on planes whose distances are known, and where nothing has changed."""

import pytest
import torch
from experiments import Experiment
from pydantic import ValidationError
from small_worlds import leak, utility
from unlearnbench.attacks.label_only import LabelOnly
from unlearnbench.methods.crfu import Crfu

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import Access, Images, Updates

TARGETS, CANDIDATES, SIDE = 24, 4, 6
BUDGET = 3_000


def rand(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class View:
    """Two classes divided by a plane; after unlearning another plane, nearer by `shift` to images with a bright first
    pixel, which are the erased ones."""

    shape = (1, SIDE, SIDE)

    def __init__(self, shift, permuted=False):
        width = SIDE * SIDE
        images = (0.5 + 0.1 * rand(TARGETS, CANDIDATES, width, seed=1)).clamp(0, 1)
        self.erased = torch.rand(TARGETS, CANDIDATES, generator=torch.Generator().manual_seed(2)).argsort(1) < 2
        images[..., 0] = torch.where(self.erased, 0.7, 0.3)
        self.candidates = (images * 255).to(torch.uint8)
        normal = rand(width, seed=3)
        normal[0] = 0
        first = torch.eye(width)[0]
        before = normal / normal.norm()
        self.weights = {"before": before, "after": before - shift / 0.4 * first}
        self.offsets = {"before": 0.2 - float(before.sum() / 2)}
        self.offsets["after"] = self.offsets["before"] + 0.3 * shift / 0.4
        if permuted:
            order = torch.randperm(self.erased.numel(), generator=torch.Generator().manual_seed(5))
            self.erased = self.erased.flatten()[order].view(self.erased.shape)
        self.asked = 0
        others = ((0.5 + 0.3 * rand(60, width, seed=4)).clamp(0, 1) * 255).to(torch.uint8)
        self.auxiliary = Images(others.view(-1, *self.shape), torch.zeros(60), torch.arange(60))

    def margin(self, points, which):
        return points @ self.weights[which] + self.offsets[which]

    def distance(self, which):
        """True ones, negative beyond the boundary of the answer before."""
        pixels = self.candidates.float() / 255
        side = self.margin(pixels, "before").sign()
        return side * self.margin(pixels, which) / self.weights[which].norm()

    def answer(self, points, which):
        return torch.nn.functional.one_hot((self.margin(points, which) > 0).long(), 2).float()

    def updates(self):
        pixels, nothing = self.candidates.float() / 255, torch.zeros(1, 1, 2)
        return Updates(
            nothing, nothing, self.candidates.view(TARGETS, CANDIDATES, *self.shape),
            torch.zeros(TARGETS, CANDIDATES, dtype=torch.int64), self.answer(pixels, "before"),
            self.answer(pixels, "after"),
        )  # fmt: skip

    def ask(self, which, pixels):
        self.asked += pixels.shape[1]
        return self.answer(pixels.flatten(2), which)

    def torch_seed(self, *purpose):
        return 7


def attacked(view, budget=BUDGET):
    evidence = LabelOnly(LabelOnly.Params(budget=budget)).run(view)
    assert evidence.membership.shape == (TARGETS, CANDIDATES)
    assert view.asked <= budget
    return evidence, auc(evidence.membership.flatten().numpy(), view.erased.flatten().numpy())


@pytest.mark.parametrize("shift", [0.1, 0.4])
def test_images_that_came_near_are_found(shift):
    evidence, found = attacked(View(shift))
    assert found > 0.95
    chosen = evidence.membership > evidence.threshold
    assert float((chosen == View(shift).erased).float().mean()) > 0.9  # the two groups are the right ones


def test_the_fall_is_that_of_the_margin_by_the_length_of_the_weights():
    view = View(0.2)
    evidence, _ = attacked(view, budget=16_000)
    torch.testing.assert_close(evidence.membership, view.distance("before") - view.distance("after"), atol=0.02, rtol=0)


def test_identical_models_give_exactly_a_half():
    evidence, found = attacked(View(0.0))
    assert float(evidence.membership.abs().max()) == 0
    assert found == 0.5


def test_permuted_answers_give_nothing():
    _, found = attacked(View(0.2, permuted=True))
    half = TARGETS * CANDIDATES // 2
    assert abs(found - 0.5) < 3.29 * ((2 * half + 1) / (12 * half * half)) ** 0.5  # 99.9 %


def test_it_runs_on_a_real_view_within_its_budget():
    experiment = Experiment(Crfu())
    attack = LabelOnly(LabelOnly.Params(budget=1_000))
    oracle = experiment.oracle(level="label", budget=1_000)
    evidence, again = attack.run(oracle.view()), attack.run(experiment.view(level="label", budget=1_000))
    assert evidence.membership.shape == (4, 4)
    assert torch.equal(evidence.membership, again.membership)
    assert 500 < oracle.asked["budget"] <= 1_000


def test_it_declares_labels_and_a_budget_and_says_what_is_too_little():
    assert LabelOnly().access == Access(level="label", budget=4_000)
    assert "leak" in LabelOnly().skip(utility())
    assert LabelOnly().skip(leak()) is None
    assert "budget of at least 624, and it is 600" in LabelOnly(LabelOnly.Params(budget=600)).skip(leak())
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        LabelOnly.Params(budget=0)
