"""Distances to decision boundaries from labels alone, where they are known in closed form."""

import math

import pytest
import torch

from unlearnbench.adversary.boundary import SMALLEST, between, distances, rounds_of

WIDTH = 64


def plane(seed=0, offset=0.0):
    """A normal of length 1, and the offset of a plane through the middle of the box of images."""
    normal = torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
    normal = normal / normal.norm()
    return normal, float(normal.sum() / 2) + offset


def near_the_middle(*shape, seed=1):
    return 0.5 + 0.08 * torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


def searched(questions, images, normal, offset, others=None):
    asked = 0

    def answer(points):
        nonlocal asked
        asked += points.shape[1]
        assert float(points.min()) >= 0
        assert float(points.max()) <= 1
        return (points @ normal > offset).long()

    labels = answer(images)
    asked = 0
    others = near_the_middle(20, seed=2) if others is None else others
    found = distances(answer, images, labels, others, questions, torch.Generator().manual_seed(3))
    return found, asked


@pytest.mark.parametrize(("questions", "tolerance"), [(500, 0.2), (2_000, 0.08), (8_000, 0.04)])
def test_the_distance_to_a_plane_is_the_margin_by_the_length_of_the_weights(questions, tolerance):
    normal, offset = plane()
    images = near_the_middle(2, 5)
    true = (images @ normal - offset).abs()
    found, asked = searched(questions, images, normal, offset)
    assert bool((found >= true - 1e-4).all())  # never nearer than the boundary is
    assert float((found / true).mean()) < 1 + tolerance
    assert asked <= questions * 5 + 20


def test_more_questions_come_nearer():
    normal, offset = plane()
    few, many = (searched(number, near_the_middle(2, 8), normal, offset)[0].mean() for number in (SMALLEST, 2_000))
    assert float(few) > float(many)


def test_an_image_with_another_answer_is_beyond_the_boundary():
    normal, offset = plane()
    images = near_the_middle(1, 6)
    side = (images @ normal > offset).long()

    def answer(points):
        return (points @ normal > offset).long()

    others = near_the_middle(20, seed=2)
    inside, beyond = (
        distances(answer, images, labels, others, 1_000, torch.Generator().manual_seed(3))
        for labels in (side, 1 - side)
    )
    assert bool((inside > 0).all())
    torch.testing.assert_close(inside, -beyond)


def test_without_any_image_beyond_the_boundary_the_distance_is_the_largest():
    normal, _ = plane()
    found, _ = searched(SMALLEST, near_the_middle(1, 3), normal, -1e6)
    assert found.tolist() == [[math.sqrt(WIDTH)] * 3]


def test_halving_places_the_boundary():
    images, beyond = torch.zeros(1, 4, 3), torch.ones(1, 4, 3)
    at = torch.tensor([[0.1, 0.5, 0.7, 0.999]])
    found = between(lambda points: points[..., 0] > at, images, beyond, halvings=12)
    assert bool((found[..., 0] > at).all())
    torch.testing.assert_close(found[..., 1], at, atol=2**-12, rtol=0)


def test_the_smallest_search_has_one_jump():
    rounds, draws = rounds_of(SMALLEST)
    assert rounds == 1
    assert draws > 8
