"""Fine-tuning before inferring: what a residual brings back, and that nothing comes back to a model without one."""

import pytest
import torch
from experiments import Experiment
from pydantic import ValidationError
from small_worlds import leak, utility
from torch import nn
from torch.nn import functional as F
from unlearnbench.attacks.reminiscence import Reminiscence
from unlearnbench.methods.crfu import Crfu

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import Access, Images, Stack, Updates
from unlearnbench.system.seeding import stream

TARGETS, CANDIDATES, CLASSES, WIDTH, OWN = 60, 4, 3, 25, 90
NULL = 3.29 * ((2 * 120 + 1) / (12 * 120 * 120)) ** 0.5  # of an AUC, 99.9 %


class Linear(nn.Module):
    """A linear classifier of images."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(WIDTH, CLASSES)

    def forward(self, images, noise=None):
        return self.last(images.flatten(1))


class View:
    """Linear models. Erased images, and half of the adversary's own, share a feature, the first pixel, which a residual
    of unlearning makes speak for a wrong class."""

    def __init__(self, residual, permuted=False):
        random = torch.Generator().manual_seed(1)
        self.erased = torch.rand(TARGETS, CANDIDATES, generator=random).argsort(1) < CANDIDATES // 2
        patterns = torch.rand(CLASSES, WIDTH, generator=random)
        labels = torch.randint(1, CLASSES, (TARGETS, CANDIDATES), generator=random)
        own = torch.arange(OWN) % CLASSES

        def images(of):
            noise = 0.5 * torch.randn(*of.shape, WIDTH, generator=random)
            return ((patterns[of] + noise).clamp(0, 1) * 255).to(torch.uint8)

        pixels, mine = images(labels), images(own)
        if residual:
            pixels[..., 0], mine[:, 0] = 255 * self.erased, 255 * (torch.rand(OWN, generator=random) < 0.5)
        modules = []
        for _ in range(TARGETS):
            module = Linear()
            with torch.no_grad():
                module.last.weight.copy_(4 * (patterns - patterns.mean(0)))
                module.last.bias.copy_(-2 * patterns.square().sum(1))
                module.last.weight[:, 0] = torch.tensor([residual, 0, 0])
            modules.append(module)
        self._models = Stack.of(modules)
        if permuted:
            self.erased = self.erased.flatten()[torch.randperm(self.erased.numel(), generator=random)]
            self.erased = self.erased.view(TARGETS, CANDIDATES)
        self.auxiliary = Images(mine.view(OWN, 1, 5, 5), own, own)
        nothing = torch.empty(0)
        shown = pixels.view(TARGETS, CANDIDATES, 1, 5, 5)
        self._updates = Updates(nothing, nothing, shown, labels, nothing, nothing)

    def updates(self):
        return self._updates

    def models(self, which):
        assert which == "after"
        return self._models

    def generator(self, *purpose):
        return stream(3, *purpose)


def attacked(view, **params):
    evidence = Reminiscence(Reminiscence.Params(**params)).run(view)
    return evidence, auc(evidence.membership.flatten().numpy(), view.erased.flatten().numpy())


def test_erased_images_come_back():
    evidence, found = attacked(View(residual=8.0), lr=0.05, steps=30)
    assert found > 0.9
    chosen = evidence.membership > evidence.threshold
    assert float((chosen == View(residual=8.0).erased).float().mean()) > 0.7


@pytest.mark.parametrize("params", [{}, {"uses": "loss"}, {"tunes": "candidate", "steps": 3}], ids=str)
def test_nothing_comes_back_to_a_model_that_never_learned(params):
    """Retrained models: erased and never-seen images are alike to them."""
    assert abs(attacked(View(residual=0.0), **params)[1] - 0.5) < NULL


@pytest.mark.parametrize("params", [{}, {"uses": "loss"}, {"tunes": "candidate", "steps": 3}], ids=str)
def test_permuted_answers_give_nothing(params):
    assert abs(attacked(View(residual=8.0, permuted=True), **params)[1] - 0.5) < NULL


def losses(module, images, labels):
    return F.cross_entropy(module(images.float() / 255), labels, reduction="none").detach()


@pytest.mark.parametrize("tunes", ["auxiliary", "candidate"])
def test_the_drop_is_that_of_ordinary_fine_tuning(tunes):
    """The same steps with torch.optim, one model after the other."""
    view = View(residual=1.0)
    batch = {"batch": 8} if tunes == "auxiliary" else {}
    evidence, _ = attacked(view, tunes=tunes, steps=4, lr=0.01, **batch)
    rows = view.generator("batches").integers(OWN, size=(4, 8))
    updates = view.updates()
    for target in (0, 7):
        for candidate in (0, 3):
            image, label = (
                updates.candidates[target, candidate][None],
                updates.candidate_labels[target, candidate][None],
            )
            module = view.models("after").module(target)
            first = losses(module, image, label)
            adam = torch.optim.Adam(module.parameters(), lr=0.01)
            for chosen in rows:
                own = (view.auxiliary.pixels[chosen], view.auxiliary.labels[chosen])
                images, labels = own if tunes == "auxiliary" else (image, label)
                adam.zero_grad()
                F.cross_entropy(module(images.float() / 255), labels).backward()
                adam.step()
            expected = first - losses(module, image, label)
            torch.testing.assert_close(evidence.membership[target, candidate][None], expected, atol=1e-4, rtol=1e-3)


def test_the_passive_adversary_reads_the_loss():
    view = View(residual=1.0)
    evidence, _ = attacked(view, uses="loss")
    updates = view.updates()
    expected = losses(view.models("after").module(5), updates.candidates[5], updates.candidate_labels[5])
    torch.testing.assert_close(evidence.membership[5], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("params", [{}, {"tunes": "candidate"}], ids=str)
def test_it_runs_on_a_real_view_and_leaves_its_models_alone(params):
    view = Experiment(Crfu()).view(level="parameters", before=False)
    kept = view.models("after")
    view.models = lambda which: kept
    weights = {name: value.clone() for name, value in kept.tensors.items()}
    evidence, again = (Reminiscence(Reminiscence.Params(steps=2, **params)).run(view) for _ in range(2))
    assert evidence.membership.shape == (4, 4)
    assert torch.equal(evidence.membership, again.membership)
    assert all(torch.equal(value, weights[name]) for name, value in kept.tensors.items())


def test_it_declares_the_unlearned_model_alone():
    assert Reminiscence().access == Access(level="parameters", before=False)
    assert Reminiscence().skip(leak()) is None
    assert "leak" in Reminiscence().skip(utility())
    for wrong in ({"uses": "loss", "steps": 3}, {"tunes": "candidate", "batch": 3}, {"steps": 0}):
        with pytest.raises(ValidationError):
            Reminiscence.Params(**wrong)
