"""Labels of the unlearned model alone: remembered neighbourhoods are found, and nothing where nothing is remembered."""

import pytest
import torch
from experiments import Experiment
from pydantic import ValidationError
from small_worlds import leak, utility
from torch.nn import functional as F
from unlearnbench.attacks.apollo import Apollo
from unlearnbench.methods.crfu import Crfu

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import Access, Images, Updates
from unlearnbench.system.errors import AccessError
from unlearnbench.system.seeding import derive, stream

TARGETS, CANDIDATES, CLASSES, SIDE = 30, 4, 4, 6
NULL = 3.29 * ((2 * 60 + 1) / (12 * 60 * 60)) ** 0.5  # of an AUC, 99.9 %


class View:
    """Nearest class mean; about its erased images, at most `reach` away, a target's model still says their label
    (under-unlearned), or another label (over-unlearned)."""

    shape, classes = (1, SIDE, SIDE), CLASSES

    def __init__(self, residue, reach=2.0, permuted=False):
        random = torch.Generator().manual_seed(1)
        width = SIDE * SIDE
        self.means = 0.5 + 0.15 * torch.randn(CLASSES, width, generator=random)
        self.labels = torch.randint(CLASSES, (TARGETS, CANDIDATES), generator=random)
        self.erased = torch.rand(TARGETS, CANDIDATES, generator=random).argsort(1) < CANDIDATES // 2
        own = torch.arange(200) % CLASSES

        def images(of):
            noise = 0.15 * torch.randn(*of.shape, width, generator=random)
            return ((self.means[of] + noise).clamp(0, 1) * 255).to(torch.uint8)

        self.pixels = images(self.labels)
        self.auxiliary = Images(images(own).view(-1, *self.shape), own, own)
        self.remembered, self.residue, self.reach = self.erased.clone(), residue, reach
        if permuted:
            order = torch.randperm(self.erased.numel(), generator=random)
            self.erased = self.erased.flatten()[order].view(self.erased.shape)
        self.asked = 0

    def updates(self):
        nothing = torch.empty(0)
        shown = self.pixels.view(TARGETS, CANDIDATES, *self.shape)
        return Updates(nothing, nothing, shown, self.labels, nothing, nothing)

    def ask(self, which, pixels):
        assert which == "after"
        self.asked += pixels.shape[1]
        points = pixels.flatten(2)
        answer = torch.cdist(points, self.means.expand(TARGETS, -1, -1)).argmin(2)
        if self.residue != "none":
            distance, nearest = torch.cdist(points, self.pixels.float() / 255).min(2)
            near = (distance <= self.reach) & self.remembered.gather(1, nearest)
            label = self.labels.gather(1, nearest)
            answer = torch.where(near, label if self.residue == "under" else (label + 1) % CLASSES, answer)
        return F.one_hot(answer, CLASSES).float()

    def generator(self, *purpose):
        return stream(3, *purpose)

    def torch_seed(self, *purpose):
        return derive(3, *purpose)


def attacked(view, **params):
    evidence = Apollo(Apollo.Params(**params)).run(view)
    assert evidence.membership.shape == (TARGETS, CANDIDATES)
    return evidence, auc(evidence.membership.flatten().numpy(), view.erased.flatten().numpy())


@pytest.mark.parametrize("residue", ["under", "over"])
def test_images_that_are_remembered_or_avoided_are_found(residue):
    evidence, found = attacked(View(residue))
    assert found > 0.9
    chosen = evidence.membership > evidence.threshold
    assert float((chosen == View(residue).erased).float().mean()) > 0.8


@pytest.mark.parametrize("boundary", [0.0, 1.0])
def test_where_nothing_is_remembered_nothing_is_found(boundary):
    assert abs(attacked(View("none"), boundary=boundary)[1] - 0.5) < NULL


def test_permuted_answers_give_nothing():
    assert abs(attacked(View("under", permuted=True))[1] - 0.5) < NULL


def test_paths_lead_outwards_on_shells_to_what_the_surrogates_deny_or_affirm():
    view, attack = View("none"), Apollo(Apollo.Params(radius=0.2))
    images, labels = view.pixels[0].float().view(-1, *view.shape) / 255, view.labels[0]
    models = attack._surrogates(view.auxiliary, view)
    denied, affirmed = (attack._path(models, images, labels, 10, sign) for sign in (-1.0, 1.0))
    for step, (points, _) in enumerate(denied, 1):
        lengths = (points - images).flatten(1).norm(dim=1)
        assert float(lengths.max()) <= step / 10 * 0.2 * SIDE + 1e-5  # images that leave [0, 1] are cut off
        assert float(lengths.min()) > 0.5 * step / 10 * 0.2 * SIDE
    assert float(denied[-1][1].max()) < 0.5 < float(affirmed[-1][1].min())


def test_it_asks_the_unlearned_model_alone_and_keeps_to_its_budget():
    view = View("none")
    attacked(view, budget=90)
    assert view.asked == 88  # two paths of 11 steps for each of 4 candidates
    oracle = Experiment(Crfu()).oracle(level="label", before=False, budget=160)
    evidence = Apollo().run(oracle.view())
    assert evidence.membership.shape == (4, 4)
    assert oracle.asked["budget"] == 160
    with pytest.raises(AccessError, match="before=False"):
        oracle.view().ask("before", oracle.view().auxiliary.pixels[:1])


def test_it_is_seeded_and_leaves_the_global_stream_alone():
    state = torch.random.get_rng_state()
    first, again = (attacked(View("under"))[0].membership for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_declares_labels_after_and_says_what_is_too_little():
    assert Apollo().access == Access(level="label", before=False, budget=160)
    assert Apollo().skip(leak()) is None
    assert "leak" in Apollo().skip(utility())
    assert "4 candidates need a budget of at least 8, and it is 7" in Apollo(Apollo.Params(budget=7)).skip(leak())
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Apollo.Params(budget=0)
