"""Decoders on planted linear updates and on noise (PROTOCOL section 9), with scikit-learn's 8x8 digits."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits

from unlearnbench.decoders import RidgeDecoder, VaeDecoder, standardise

SETTINGS = SimpleNamespace(epochs=60, code=32, hidden=128, lr=2e-3, kl_weight=1e-3)
SHADOWS, TARGETS, OUTPUTS = 600, 100, 90


@cache
def digits():
    """Images f32[n, 64] in [0, 1]: shadows, targets; and which shadows validate."""
    images = torch.from_numpy(load_digits().data).float()[: SHADOWS + TARGETS] / 16
    validation = torch.arange(SHADOWS) >= SHADOWS * 4 // 5
    return images[:SHADOWS], images[SHADOWS:], validation


def planted(images):
    """delta = A x, with more outputs than pixels."""
    a = torch.randn(OUTPUTS, 64, generator=torch.Generator().manual_seed(0))
    return images @ a.T


def noise(count, seed):
    return torch.randn(count, OUTPUTS, generator=torch.Generator().manual_seed(seed))


def decoders():
    return {"ridge": RidgeDecoder(), "vae": VaeDecoder(SETTINGS, seed=1)}


def errors(name, shadow_deltas, target_deltas):
    """Summed squared error of each target, of the decoder and of the mean image."""
    shadows, targets, validation = digits()
    inputs, asked = standardise(shadow_deltas, target_deltas, ~validation)
    decoder = decoders()[name].fit(inputs, shadows, validation)
    mean = shadows[~validation].mean(0)
    return (decoder.predict(asked) - targets).square().sum(1), (mean - targets).square().sum(1), decoder


def test_ridge_recovers_images_from_a_planted_linear_update():
    shadows, targets, _ = digits()
    own, mean, _ = errors("ridge", planted(shadows), planted(targets))
    assert float(mean.mean()) > 2
    assert float(own.max()) < 1
    assert float(own.mean()) < 0.01


def test_the_autoencoder_halves_the_mean_images_error_on_a_planted_linear_update():
    shadows, targets, _ = digits()
    own, mean, _ = errors("vae", planted(shadows), planted(targets))
    assert float(own.mean()) < 0.5 * float(mean.mean())


@pytest.mark.parametrize("name", ["ridge", "vae"])
def test_noise_does_not_beat_the_mean_image(name):
    own, mean, _ = errors(name, noise(SHADOWS, 1), noise(TARGETS, 2))
    gain = mean - own
    error = float(gain.std()) / TARGETS**0.5
    assert float(gain.mean()) < 3.29 * error + 1e-9  # 99.9 %
    assert float(own.mean()) < 1.5 * float(mean.mean())  # nor is it much worse: the penalty and stopping work


@pytest.mark.parametrize("name", ["ridge", "vae"])
def test_updates_that_are_all_equal_give_the_mean_image(name):
    own, mean, _ = errors(name, torch.zeros(SHADOWS, OUTPUTS), torch.zeros(TARGETS, OUTPUTS))
    assert torch.isfinite(own).all()
    assert float(own.mean()) == pytest.approx(float(mean.mean()), rel=0.05)


@pytest.mark.parametrize("name", ["ridge", "vae"])
def test_validation_error_is_that_of_the_validation_rows(name):
    shadows, _, validation = digits()
    inputs, _ = standardise(planted(shadows), planted(shadows[:1]), ~validation)
    decoder = decoders()[name].fit(inputs, shadows, validation)
    expected = (decoder.predict(inputs[validation]) - shadows[validation]).square().sum(1).mean()
    assert decoder.validation_error == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


def test_ridge_is_ridge_regression():
    """With one penalty left to choose from, the closed form: here the unpenalised end, on noiseless data."""
    generator = torch.Generator().manual_seed(3)
    x, weights = torch.randn(50, 4, generator=generator), torch.randn(4, 3, generator=generator)
    x = x - x[:40].mean(0)
    decoder = RidgeDecoder().fit(x, x @ weights + 0.5, torch.arange(50) >= 40)
    asked = torch.randn(7, 4, generator=generator)
    torch.testing.assert_close(decoder.predict(asked), asked @ weights + 0.5, rtol=1e-4, atol=1e-4)


def test_ridge_shrinks_to_the_mean_where_inputs_say_nothing():
    shadows, _, validation = digits()
    decoder = RidgeDecoder().fit(noise(SHADOWS, 4), shadows, validation)
    predicted = decoder.predict(noise(50, 5))
    assert float((predicted - shadows[~validation].mean(0)).square().sum(1).mean()) < 0.5


def test_the_autoencoder_is_seeded_and_leaves_the_global_stream_alone():
    shadows, targets, validation = digits()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    few = SimpleNamespace(epochs=2, code=8, hidden=16, lr=1e-3, kl_weight=1e-3)
    first, again, other = (
        VaeDecoder(few, seed).fit(planted(shadows), shadows, validation).predict(planted(targets)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_standardising_looks_at_training_rows_only_and_keeps_distances():
    shadows, targets, validation = digits()
    inputs, asked = standardise(planted(shadows), planted(targets), ~validation)
    torch.testing.assert_close(inputs[~validation].mean(0), torch.zeros(inputs.shape[1]), rtol=0, atol=1e-4)
    assert float(inputs[~validation].square().mean()) == pytest.approx(1, rel=1e-3)
    disturbed = planted(shadows)
    disturbed[validation] *= 100
    same, _ = standardise(disturbed, planted(targets), ~validation)
    torch.testing.assert_close(same[~validation], inputs[~validation])
    # A rotation and one scale: ratios of distances stay.
    before, after = (torch.pdist(part[:20].double()) for part in (planted(shadows), inputs))
    torch.testing.assert_close(after / after[0], before / before[0], rtol=1e-3, atol=0)
    assert len(asked) == TARGETS
