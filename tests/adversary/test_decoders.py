"""Decoders on planted linear updates and on noise (docs/protocol.md#attack-nulls), with scikit-learn's 8x8 digits."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits

from unlearnbench.adversary.autoencoder import Autoencoder, VaeDecoder
from unlearnbench.adversary.decoders import RidgeDecoder, blend, squared_error, standardise

SHAPE = (1, 8, 8)
SETTINGS = SimpleNamespace(epochs=60, code=32, hidden=128, lr=2e-3, kl_weight=1e-3, network="auto")
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


def fitted(name, *data):
    return RidgeDecoder(*data) if name == "ridge" else VaeDecoder(SETTINGS, SHAPE, 1, *data)


def errors(name, shadow_deltas, target_deltas):
    """Summed squared error of each target, of the decoder and of the mean image."""
    shadows, targets, validation = digits()
    inputs, asked = standardise(shadow_deltas, target_deltas, ~validation)
    decoder = fitted(name, inputs, shadows, validation)
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
    decoder = fitted(name, inputs, shadows, validation)
    expected = (decoder.predict(inputs[validation]) - shadows[validation]).square().sum(1).mean()
    assert decoder.validation_error == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


def test_ridge_is_ridge_regression():
    """With one penalty left to choose from, the closed form: here the unpenalised end, on noiseless data."""
    generator = torch.Generator().manual_seed(3)
    x, weights = torch.randn(50, 4, generator=generator), torch.randn(4, 3, generator=generator)
    x = x - x[:40].mean(0)
    decoder = RidgeDecoder(x, x @ weights + 0.5, torch.arange(50) >= 40)
    asked = torch.randn(7, 4, generator=generator)
    torch.testing.assert_close(decoder.predict(asked), asked @ weights + 0.5, rtol=1e-4, atol=1e-4)


def test_ridge_shrinks_to_the_mean_where_inputs_say_nothing():
    shadows, _, validation = digits()
    decoder = RidgeDecoder(noise(SHADOWS, 4), shadows, validation)
    predicted = decoder.predict(noise(50, 5))
    assert float((predicted - shadows[~validation].mean(0)).square().sum(1).mean()) < 0.5


def test_the_autoencoder_is_seeded_and_leaves_the_global_stream_alone():
    shadows, targets, validation = digits()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    few = SimpleNamespace(**(vars(SETTINGS) | {"epochs": 2, "code": 8, "hidden": None}))
    first, again, other = (
        VaeDecoder(few, SHAPE, seed, planted(shadows), shadows, validation).predict(planted(targets))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_standardising_looks_at_training_rows_only_and_halves_differences_of_scale():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(SHADOWS, 3, generator=generator) * torch.tensor([100.0, 1.0, 0.01])
    _, _, validation = digits()
    inputs, asked = standardise(wide, wide[:5], ~validation)
    torch.testing.assert_close(inputs[~validation].mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    deviations = inputs[~validation].std(0)
    torch.testing.assert_close(deviations[:-1] / deviations[1:], torch.tensor([10.0, 10.0]), rtol=0.1, atol=0)
    torch.testing.assert_close(asked, inputs[:5])
    disturbed = wide.clone()
    disturbed[validation] *= 100
    torch.testing.assert_close(standardise(disturbed, wide[:5], ~validation)[0][~validation], inputs[~validation])


def test_blending_averages_what_helps_and_leaves_out_what_does_not():
    truth, generator = torch.zeros(200, 3), torch.Generator().manual_seed(0)
    good, other = (torch.randn(200, 3, generator=generator) for _ in range(2))
    bad = torch.full((200, 3), 9.0)
    assert sorted(blend([bad, good, other], lambda predicted: squared_error(predicted, truth))) == [1, 2]
    assert blend([bad], lambda predicted: squared_error(predicted, truth)) == [0]


# --- the convolutional network ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 32, 32), (1, 28, 28), (3, 10, 14), (3, 3, 3)])
def test_the_convolutional_decoder_gives_images_of_any_shape(shape):
    pixels = torch.rand(12, shape[0] * shape[1] * shape[2], generator=torch.Generator().manual_seed(0))
    few = SimpleNamespace(**(vars(SETTINGS) | {"epochs": 1, "hidden": 32, "network": "convolutional"}))
    decoder = VaeDecoder(few, shape, 0, noise(12, 0), pixels, torch.arange(12) >= 8)
    assert decoder.predict(noise(5, 1)).shape == (5, pixels.shape[1])


def test_colour_and_large_images_are_decoded_by_convolutions():
    def convolutional(shape):
        network = Autoencoder(SETTINGS, 4, shape, torch.full((shape[0] * shape[1] * shape[2],), 0.5), 10)
        return any(isinstance(layer, torch.nn.ConvTranspose2d) for layer in network.modules())

    assert not convolutional((1, 28, 28))
    assert convolutional((3, 8, 8))
    assert convolutional((1, 96, 96))


def test_convolutions_learn_planted_colour_images():
    grey, _, validation = digits()
    colour = torch.stack([grey, 0.5 * grey, 1 - grey], 1).flatten(1)
    inputs, _ = standardise(planted(grey), planted(grey[:1]), ~validation)
    few = SimpleNamespace(**(vars(SETTINGS) | {"epochs": 25}))
    decoder = VaeDecoder(few, (3, 8, 8), 1, inputs, colour, validation)
    mean = squared_error(colour[~validation].mean(0), colour[validation])
    assert decoder.validation_error < 0.5 * mean
