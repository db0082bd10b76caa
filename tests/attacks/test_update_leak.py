"""The update attack on planted linear updates and on noise."""

from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits
from small_worlds import leak, utility
from unlearnbench.attacks.update_leak import UpdateLeak

from unlearnbench.plugin import ShadowUpdates, Updates

SHADOWS, TARGETS, PROBES, DEPTH = 400, 60, 10, 8
FAST = {"epochs": 40, "code": 32, "hidden": 128, "lr": 2e-3}


def view(planted):
    data = load_digits()
    pixels = (torch.from_numpy(data.images).float() * 255 / 16).round().to(torch.uint8)[: SHADOWS + TARGETS, None]
    labels = torch.from_numpy(data.target)[: SHADOWS + TARGETS]
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(PROBES * DEPTH, 64, generator=generator)
    before = torch.randn(1, PROBES, DEPTH, generator=generator)
    delta = pixels.flatten(1).float() / 255 @ a.T if planted else torch.randn(len(pixels), 80, generator=generator)
    after = before + delta.view(-1, PROBES, DEPTH)
    nothing = torch.empty(0)

    def updates(part):
        return Updates(before, after[part], nothing, nothing, nothing, nothing)

    validation = torch.arange(SHADOWS) >= SHADOWS * 4 // 5
    shadow = ShadowUpdates(
        updates(slice(SHADOWS)),
        pixels[:SHADOWS, None],
        labels[:SHADOWS, None],
        nothing,
        validation,
        torch.zeros(SHADOWS),
    )
    made = SimpleNamespace(shape=(1, 8, 8), classes=10, torch_seed=lambda *purpose: 3)
    made.shadow_updates, made.updates = (lambda: shadow), (lambda: updates(slice(SHADOWS, None)))
    made.images, made.labels = pixels[SHADOWS:].float() / 255, labels[SHADOWS:]
    made.mean = pixels[:SHADOWS].float().mean(0) / 255
    return made


def errors(made, decoder):
    evidence = UpdateLeak(UpdateLeak.Params(decoder=decoder, **FAST)).run(made)
    assert evidence.images.shape == (TARGETS, 1, 1, 8, 8)
    assert evidence.label_scores.shape == (TARGETS, 1, 10)
    assert 0 <= float(evidence.images.min()) <= float(evidence.images.max()) <= 1
    own = (evidence.images[:, 0] - made.images).square().flatten(1).sum(1)
    return own, (made.mean - made.images).square().flatten(1).sum(1), evidence


@pytest.mark.parametrize("decoder", ["ridge", "best"])
def test_planted_updates_give_the_images_away(decoder):
    own, mean, evidence = errors(view(planted=True), decoder)
    assert float(own.max()) < 1 < float(mean.mean())
    right = (evidence.label_scores[:, 0].argmax(1) == view(planted=True).labels).float().mean()
    assert float(right) > 0.5  # of ten classes


def test_the_autoencoder_gets_half_of_the_way():
    own, mean, _ = errors(view(planted=True), "vae")
    assert float(own.mean()) < 0.5 * float(mean.mean())


@pytest.mark.parametrize("decoder", ["ridge", "vae", "best"])
def test_noise_gives_nothing_away(decoder):
    own, mean, _ = errors(view(planted=False), decoder)
    gain = mean - own
    assert float(gain.mean()) < 3.29 * float(gain.std()) / TARGETS**0.5 + 1e-9


def test_it_declares_what_it_uses_and_skips_what_it_cannot_do():
    access = UpdateLeak(UpdateLeak.Params(observe="label", shadows=12)).access
    assert (access.level, access.shadows) == ("label", 12)
    assert UpdateLeak().skip(leak(erased_count=1)) is None
    assert "single" in UpdateLeak().skip(leak())
    assert "leak" in UpdateLeak().skip(utility())
