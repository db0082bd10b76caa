import torch

from unlearnbench.adversary.update_features import procrustes


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rotation(size):
    return torch.linalg.qr(rand(size, size, seed=1))[0]


def test_a_rotation_and_a_shift_are_undone():
    reference = rand(30, 7)
    source = reference @ rotation(7).T + 5
    found = procrustes(source, reference)
    torch.testing.assert_close(found, rotation(7), rtol=1e-4, atol=1e-4)
    change = rand(30, 7, seed=2)
    torch.testing.assert_close((change @ rotation(7).T) @ found, change, rtol=1e-4, atol=1e-4)


def test_what_it_finds_is_orthogonal_and_fits_better_than_no_alignment():
    source, reference = rand(20, 6), rand(20, 6, seed=3)
    found = procrustes(source, reference)
    torch.testing.assert_close(found @ found.T, torch.eye(6), rtol=0, atol=1e-5)
    centred = source - source.mean(0), reference - reference.mean(0)
    assert (centred[0] @ found - centred[1]).norm() < (centred[0] - centred[1]).norm()


def test_fewer_images_than_dimensions_are_aligned_as_far_as_they_go():
    reference = rand(4, 9)
    source = reference @ rotation(9).T
    found = procrustes(source, reference)
    torch.testing.assert_close(found @ found.T, torch.eye(9), rtol=0, atol=1e-5)
    aligned = (source - source.mean(0)) @ found
    torch.testing.assert_close(aligned, reference - reference.mean(0), rtol=1e-4, atol=1e-4)
