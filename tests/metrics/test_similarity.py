import math

import pytest
import torch

from unlearnbench.metrics.similarity import C1, structural_similarity


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (1, 5, 12), (1, 1, 1)])
def test_equal_images_have_similarity_one_and_order_does_not_matter(shape):
    first, second = images(4, *shape), images(4, *shape, seed=1)
    torch.testing.assert_close(structural_similarity(first, first), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(structural_similarity(first, second), structural_similarity(second, first))
    assert (structural_similarity(first, second) < 1).all()


def test_constant_images_differ_in_luminance_alone():
    first, second = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + C1) / (0.2**2 + 0.6**2 + C1)
    assert float(structural_similarity(first, second)) == pytest.approx(expected, rel=1e-5)


def test_inverted_structure_is_negative():
    first = images(3, 1, 20, 20)
    assert (structural_similarity(first, 1 - first) < -0.8).all()


def test_more_noise_is_less_alike():
    first, noise = images(3, 1, 28, 28), images(3, 1, 28, 28, seed=1) - 0.5
    values = torch.stack([structural_similarity(first, first + size * noise) for size in (0.1, 0.3, 1.0)])
    assert (values[:-1] > values[1:]).all()


def test_one_window_by_hand():
    """An 11 x 11 image holds one position: weighted means, variances and covariance in the plain."""
    first, second = images(1, 1, 11, 11).double(), images(1, 1, 11, 11, seed=1).double()
    offsets = [(row - 5) ** 2 + (column - 5) ** 2 for row in range(11) for column in range(11)]
    weights = torch.tensor([math.exp(-each / (2 * 1.5**2)) for each in offsets], dtype=torch.float64)
    weights = weights / weights.sum()
    x, y = first.flatten(), second.flatten()
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy, cov = (
        (weights * (x - mx) ** 2).sum(),
        (weights * (y - my) ** 2).sum(),
        (weights * (x - mx) * (y - my)).sum(),
    )
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert float(structural_similarity(first, second)) == pytest.approx(float(expected), rel=1e-9)
