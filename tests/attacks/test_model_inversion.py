"""Templates come back as they are; the class is found where it was weakened, and nothing where nothing changed."""

import pytest
import torch
from small_worlds import blobs, leak, utility
from torch import nn
from unlearnbench.attacks.model_inversion import ModelInversion

from unlearnbench.adversary.image_search import total_variation
from unlearnbench.models.plain_network import PlainNetwork
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Access

CLASSES, TARGETS = 4, 6
# Black and white patterns, in no pixel the same for all classes: on [0, 1] the image most like one is the pattern.
PATTERNS = torch.stack([torch.arange(36) // 3 % 4 == c for c in range(CLASSES)]).float().view(-1, 1, 6, 6)


def templates(weakened=None, looped=False):
    """Softmax on class means, a fifth of 2 mu_c x - |mu_c|^2; the class `weakened` has the negative of its mean."""
    mu = PATTERNS.flatten(1).clone()
    if weakened is not None:
        mu[weakened] = 1 - mu[weakened]
    layer = nn.Linear(36, CLASSES)
    layer.weight.data, layer.bias.data = 0.4 * mu, -0.2 * mu.square().sum(1)
    return PlainNetwork(nn.Sequential(nn.Flatten(), layer), looped=(looped, looped))


class View:
    classes, shape = CLASSES, (1, 6, 6)
    auxiliary = blobs(40)

    def __init__(self, changed=True, looped=False):
        self.labels = torch.arange(TARGETS) % CLASSES
        weakened = [int(label) if changed else None for label in self.labels]
        self.stacks = {
            "before": Stack.of([templates(looped=looped)]),
            "after": Stack.of([templates(each, looped) for each in weakened]),
        }

    def models(self, which):
        return self.stacks[which]


def attack(view, **params):
    return ModelInversion(ModelInversion.Params(**params)).run(view)


@pytest.mark.parametrize("looped", [False, True])
def test_softmax_on_class_means_gives_the_means(looped):
    view = View(looped=looped)
    evidence = attack(view, tv=0)
    assert evidence.images.shape == (TARGETS, 1, 1, 6, 6)
    assert torch.equal(evidence.label_scores[:, 0].argmax(1), view.labels)
    assert float((evidence.images[:, 0] - PATTERNS[view.labels]).abs().max()) < 0.01


def test_what_unlearning_took_is_missing_in_the_model_after():
    view = View()
    before, after = (attack(view, tv=0, model=model) for model in ("before", "after"))
    assert torch.equal(before.label_scores, after.label_scores)
    errors = [(found.images[:, 0] - PATTERNS[view.labels]).square().mean() for found in (before, after)]
    assert float(errors[1]) > float(errors[0]) + 0.2


def test_where_nothing_changed_the_answers_are_trivial():
    view = View(changed=False)
    evidence = attack(view)
    assert torch.equal(evidence.images[:, 0], view.auxiliary.scaled.mean(0).expand(TARGETS, -1, -1, -1))
    assert len(evidence.label_scores.unique(dim=0)) == 1


def test_total_variation_smooths():
    rough, smooth = (attack(View(), tv=tv).images.flatten(0, 1) for tv in (0, 100))
    assert float(total_variation(smooth).mean()) < 0.3 * float(total_variation(rough).mean())


def test_it_sees_weights():
    assert ModelInversion().access == Access(level="parameters")


def test_sets_and_utility_experiments_are_skipped_with_a_reason():
    assert ModelInversion().skip(leak(erased_count=1)) is None
    assert ModelInversion().skip(leak(erased_count=3)) == "model_inversion rebuilds one image; erased_count is 3"
    assert ModelInversion().skip(utility()) == "model_inversion needs a leak experiment"
