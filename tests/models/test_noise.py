import numpy as np
import pytest
import torch
from scipy.stats import kstest

from unlearnbench.models.noise import Ahead, BlockNoise, NoiseStreams, StreamNoise, draw_block

CPU = torch.device("cpu")


def single(seed, dtype=torch.float32):
    return StreamNoise(NoiseStreams(seed), CPU, dtype)


def test_a_replicas_numbers_depend_on_its_seed_only():
    three = draw_block([NoiseStreams(seed) for seed in (5, 6, 7)], 20, 10, CPU, torch.float32)
    two = draw_block([NoiseStreams(seed) for seed in (7, 5)], 20, 10, CPU, torch.float32)
    for all_three, only_two in zip(three, two, strict=True):
        assert torch.equal(all_three[2], only_two[0])
        assert torch.equal(all_three[0], only_two[1])
        assert not torch.equal(all_three[0], all_three[1])


def test_block_noise_is_the_noise_of_one_model():
    streams = [NoiseStreams(seed) for seed in (1, 2)]
    alone = single(2)
    for _ in range(3):  # steps
        normals, uniforms = draw_block(streams, 2 * 5 + 3, 4 + 1, CPU, torch.float32)
        block = BlockNoise(normals[1], uniforms[1])
        for draw in (("normal", 2, 5), ("uniform", 4), ("normal", 3), ("uniform", 1, 1)):
            kind, *shape = draw
            ours, theirs = getattr(block, kind)(*shape), getattr(alone, kind)(*shape)
            assert ours.shape == tuple(shape)
            assert torch.equal(ours, theirs)


def test_forty_draws_are_twenty_and_twenty():
    whole, halves = single(3), single(3)
    assert torch.equal(whole.normal(40), torch.cat([halves.normal(20), halves.normal(20)]))
    assert torch.equal(whole.uniform(41), torch.cat([halves.uniform(20), halves.uniform(21)]))


def test_numbers_drawn_are_counted():
    noise = single(0)
    noise.normal(2, 3)
    noise.normal(4)
    noise.uniform(5)
    assert (noise.normals, noise.uniforms) == (10, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_does_not_change_the_numbers(dtype):
    values = single(4, dtype).normal(1_000)
    assert values.dtype == dtype
    assert torch.equal(values.float(), single(4).normal(1_000))


def test_distributions_are_standard_normal_and_uniform():
    noise = single(9, torch.float64)
    assert kstest(noise.normal(5_000).numpy(), "norm").pvalue > 1e-3
    assert kstest(noise.uniform(5_000).numpy(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(single(9).normal(5_000), single(9).uniform(5_000))[0, 1]) < 0.06


def test_numbers_drawn_ahead_are_those_drawn_one_by_one():
    generator, other = (np.random.Generator(np.random.Philox(key=3)) for _ in range(2))
    ahead = Ahead(lambda count: generator.standard_normal(count, np.float32))
    counts = [3, 3, 50, 1, 0, 7, Ahead.MOST + 1, 3]  # also more than is ever kept
    taken = np.concatenate([ahead.take(count).copy() for count in counts])
    assert np.array_equal(taken, other.standard_normal(sum(counts), np.float32))
