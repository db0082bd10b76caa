import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from unlearnbench.metrics.reconstruction import (
    class_means,
    match_sets,
    mean_image,
    nearest_errors,
    retrieved,
    squared_errors,
)


def images(*shape, seed=0):
    return torch.rand(*shape, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_squared_errors_are_summed_over_pixels():
    truth = images(3)
    assert squared_errors(truth, truth).tolist() == [0, 0, 0]
    shifted = squared_errors(truth + torch.tensor([0.5, 1.0, 0.0])[:, None, None, None], truth)
    torch.testing.assert_close(shifted, torch.tensor([4.0, 16.0, 0.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_matching_undoes_any_order():
    truth, generator = images(6, 5), np.random.default_rng(0)
    orders = torch.from_numpy(np.stack([generator.permutation(5) for _ in range(6)]))
    shuffled = torch.stack([truth[k, orders[k]] for k in range(6)])
    assert not torch.equal(shuffled, truth)
    assert torch.equal(match_sets(shuffled, truth), truth)


def test_matching_has_the_smallest_total_error_of_all_orders():
    from itertools import permutations

    truth, guess = images(1, 4), images(1, 4, seed=1)
    best = min(float(squared_errors(guess[0, list(order)], truth[0]).sum()) for order in permutations(range(4)))
    assert float(squared_errors(match_sets(guess, truth)[0], truth[0]).sum()) == pytest.approx(best, rel=1e-6)


def test_a_set_of_one_is_left_alone():
    guess = images(3, 1)
    assert torch.equal(match_sets(guess, images(3, 1, seed=1)), guess)


def test_class_means_fall_back_on_the_mean_of_all():
    own, labels = images(5), torch.tensor([0, 0, 2, 2, 2])
    means = class_means(own, labels, 4)
    torch.testing.assert_close(means[0], own[:2].mean(0))
    torch.testing.assert_close(means[2], own[2:].mean(0))
    for missing in (1, 3):
        torch.testing.assert_close(means[missing], mean_image(own))


def test_nearest_errors_are_the_smallest_distances():
    truth, own = images(7), images(40, seed=1)
    own[3] = truth[5]
    expected = torch.stack([squared_errors(own, image.expand_as(own)).min() for image in truth])
    found = nearest_errors(truth, own, batch=3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float(found[5]) < 1e-4


def labels(count, classes=1):
    return torch.arange(count) % classes


def test_a_perfect_reconstruction_is_always_retrieved():
    truth, decoys = images(20), images(150, seed=1)
    assert retrieved(truth, truth, decoys, np.random.default_rng(0), labels(20)).all()


@pytest.mark.parametrize("candidates", [10, 100])
@pytest.mark.parametrize("same_class", [False, True])
def test_a_constant_reconstruction_is_retrieved_by_chance(candidates, same_class):
    """Truth and decoys are alike, so that the truth is the nearest of N in one of N cases."""
    count = 3_000 if candidates == 100 else 1_000
    truth, decoys = images(count), images(500, seed=1)
    constant = torch.full_like(truth, 0.5)
    own = labels(500, 2) if same_class else None
    hits = int(retrieved(constant, truth, decoys, np.random.default_rng(0), labels(count, 2), own, candidates).sum())
    assert binomtest(hits, count, 1 / candidates).pvalue > 0.001


def test_ties_are_not_found():
    """An answer that fits everything equally well has found nothing."""
    truth = torch.zeros(10, 1, 4, 4)
    assert not retrieved(truth, truth, torch.zeros(50, 1, 4, 4), np.random.default_rng(0), labels(10), None, 20).any()


def test_knowing_the_class_finds_nothing_among_decoys_of_the_class():
    """Class brightness is all that the answer holds: it sets the truth apart from others, not from its own class."""
    brightness = torch.tensor([0.0, 10.0])
    truth = images(600) + brightness[labels(600, 2)][:, None, None, None]
    decoys = images(400, seed=1) + brightness[labels(400, 2)][:, None, None, None]
    answer = (0.5 + brightness)[labels(600, 2)][:, None, None, None].expand_as(truth)
    any_class, own_class = (
        float(retrieved(answer, truth, decoys, np.random.default_rng(0), labels(600, 2), of, 10).double().mean())
        for of in (None, labels(400, 2))
    )
    assert own_class == pytest.approx(0.1, abs=0.05)
    assert any_class > own_class + 0.03


def test_too_few_decoys_give_no_retrieval():
    truth, decoys = images(6), images(120, seed=1)
    assert retrieved(truth, truth, decoys[:98], np.random.default_rng(0), labels(6)) is None
    assert retrieved(truth, truth, decoys, np.random.default_rng(0), labels(6, 2), labels(120, 2)) is None
    assert retrieved(truth, truth, decoys, np.random.default_rng(0), labels(6, 2), labels(120, 2), 60).all()
