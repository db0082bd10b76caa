"""The blind attack finds a shift between members and others, finds nothing where there is none, and asks no model."""

import pytest
import torch
from unlearnbench.attacks.blind import Blind

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import Access, Images

COUNT = 600  # members, and as many others; known, and as many hidden


class View:
    """Images of noise; others are brighter by `shift`. Whoever asks it for a model fails."""

    def __init__(self, shift, seed):
        noise = torch.Generator().manual_seed(seed)
        self.member = torch.arange(4 * COUNT) % 2 == 0
        pixels = torch.randint(0, 200, (4 * COUNT, 1, 6, 6), generator=noise)
        pixels[~self.member] += shift
        self.images = Images(pixels.to(torch.uint8), torch.zeros(4 * COUNT, dtype=torch.int64), torch.arange(4 * COUNT))

    def known(self):
        return self.images.take(torch.arange(2 * COUNT)), self.member[: 2 * COUNT]

    def challenge(self):
        return self.images.take(torch.arange(2 * COUNT, 4 * COUNT))

    def torch_seed(self, *purpose):
        return 2**40 + 5

    def attacked(self):
        evidence = Blind().run(self)
        assert evidence.subject == "challenge"
        assert evidence.membership.shape == (2 * COUNT,)
        return auc(evidence.membership.numpy(), self.member[2 * COUNT :].numpy())


def test_it_needs_members_and_no_shadows():
    assert Blind().access == Access(level="label", members=True)


def test_a_shift_is_found():
    assert View(shift=20, seed=1).attacked() > 0.9


@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_shift_there_is_nothing_to_find(seed):
    assert abs(View(shift=0, seed=seed).attacked() - 0.5) < 3.29 * (1 / (6 * COUNT)) ** 0.5  # 99.9 %


def test_it_is_seeded():
    first, again = (Blind().run(View(shift=2, seed=1)).membership for _ in range(2))
    assert torch.equal(first, again)
