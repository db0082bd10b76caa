"""The update attack on planted updates and on noise: single images, sets, other originals, weights."""

from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from small_worlds import leak, utility
from unlearnbench.attacks.update_leak import UpdateLeak

from unlearnbench.metrics.reconstruction import blind_set, match_sets
from unlearnbench.plugin import ShadowUpdates, Updates
from unlearnbench.settings.scenario import Network, canonical

SHADOWS, TARGETS, PROBES, DEPTH, CLASSES = 400, 60, 10, 8, 10
FAST = {"epochs": 40, "code": 32, "hidden": 128, "members": 1}
SMALL = {"epochs": 40, "hidden": 96}  # a set's images are as many rows
NOTHING = torch.empty(0)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def digits(size):
    """Sets of digits u8[n, s, 1, 8, 8] and their labels i64[n, s]; an image may be in several sets."""
    data = load_digits()
    pixels = (torch.from_numpy(data.images).float() * 255 / 16).round().to(torch.uint8)[:, None]
    rows = torch.arange(SHADOWS + TARGETS)[:, None]
    if size > 1:
        rows = torch.randint(0, 1_200, (SHADOWS + TARGETS, size), generator=torch.Generator().manual_seed(1))
        rows[SHADOWS:] += 500  # the targets' images are mostly others
    return pixels[rows], torch.from_numpy(data.target)[rows].long()


def view(pixels, labels, updates, model=None):
    """An adversary's view; `updates` are those of all erasures, shadows first."""
    model = torch.zeros(SHADOWS, dtype=torch.int64) if model is None else model
    validation = torch.arange(SHADOWS) >= SHADOWS * 4 // 5

    def part(rows):
        before = updates.probe_before
        changes = {name: change[rows] for name, change in updates.parameter_changes.items()}
        before = before[rows] if len(before) > 1 else before
        return Updates(before, updates.probe_after[rows], NOTHING, NOTHING, NOTHING, NOTHING, changes)

    known, asked = part(slice(SHADOWS)), part(slice(SHADOWS, None))
    asked = asked._replace(probe_before=asked.probe_before[:1])
    shadow = ShadowUpdates(known, pixels[:SHADOWS], labels[:SHADOWS], NOTHING, validation, model)
    return SimpleNamespace(
        shape=(1, 8, 8), classes=CLASSES, torch_seed=lambda *purpose: 3,
        shadow_updates=lambda: shadow, updates=lambda: asked,
        images=pixels[SHADOWS:].float() / 255, labels=labels[SHADOWS:],
        auxiliary=pixels[:SHADOWS].flatten(0, 1).float() / 255, mean=pixels[:SHADOWS].float().mean((0, 1)) / 255,
    )  # fmt: skip


def changed(delta):
    """Updates of one original whose outputs change by delta, f32[n, P, D]."""
    before = rand(1, *delta.shape[1:], seed=5)
    return Updates(before, before + delta, NOTHING, NOTHING, NOTHING, NOTHING)


def linear_view():
    pixels, labels = digits(1)
    delta = pixels.flatten(1).float() / 255 @ rand(PROBES * DEPTH, 64).T
    return view(pixels, labels, changed(delta.view(-1, PROBES, DEPTH)))


def noise_view(size=1):
    pixels, labels = digits(size)
    return view(pixels, labels, changed(rand(len(pixels), PROBES, DEPTH)))


def sets_view(size=3, depth=40):
    """Each image moves the outputs by (what it has in common with the probes) x (a direction of its label)."""
    pixels, labels = digits(size)
    common = pixels.flatten(2).float() / 255 @ rand(64, 70) / 8
    return view(pixels, labels, changed(torch.einsum("nsp,nsd->npd", common, rand(CLASSES, depth, seed=2)[labels])))


def attack(made, **params):
    """Errors f32[T, s] of each image after matching by the harness, those of the mean image, and the evidence."""
    evidence = UpdateLeak(UpdateLeak.Params(**(FAST | params))).run(made)
    assert evidence.images.shape == made.images.shape
    assert evidence.label_scores.shape == (*made.labels.shape, CLASSES)
    assert 0 <= float(evidence.images.min()) <= float(evidence.images.max()) <= 1
    own = (match_sets(evidence.images, made.images) - made.images).square().flatten(2).sum(2)
    return own, (made.mean - made.images).square().flatten(2).sum(2), evidence


def nothing_gained(own, mean):
    """On average over erasures, with a 99.9 % interval."""
    gain = (mean - own).mean(1)
    return float(gain.mean()) < 3.29 * float(gain.std()) / TARGETS**0.5 + 1e-9


# --- one image -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", ["ridge", "best"])
def test_planted_updates_give_the_images_away(decoder):
    made = linear_view()
    own, mean, evidence = attack(made, decoder=decoder)
    assert float(own.max()) < 1 < float(mean.mean())
    right = (evidence.label_scores.argmax(2) == made.labels).float().mean()
    assert float(right) > 0.5  # of ten classes


@pytest.mark.parametrize("decoder", ["vae", "gan"])
def test_the_autoencoder_gets_half_of_the_way(decoder):
    own, mean, _ = attack(linear_view(), decoder=decoder)
    assert float(own.mean()) < 0.5 * float(mean.mean())


@pytest.mark.parametrize("decoder", ["ridge", "vae", "gan", "best"])
def test_noise_gives_nothing_away(decoder):
    own, mean, _ = attack(noise_view(), decoder=decoder)
    assert nothing_gained(own, mean)


def test_a_larger_adversarial_term_is_another_decoder_and_the_same_one_twice_is_not():
    made, before = linear_view(), torch.random.get_rng_state()
    first, again, larger = (
        attack(made, decoder="gan", epochs=5, **more)[2].images for more in ({}, {}, {"adversarial": 3.0})
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, larger)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_keys_of_other_decoders_do_not_know_the_adversarial_term():
    assert "adversarial" not in canonical(UpdateLeak.Params())
    assert "adversarial" not in canonical(UpdateLeak.Params(decoder="vae"))
    assert canonical(UpdateLeak.Params(decoder="gan", adversarial=1.0))["adversarial"] == 1.0


def test_erasures_without_a_trace_are_answered_with_the_mean_of_such_shadows():
    pixels, labels = digits(1)
    made = view(pixels, labels, changed(torch.zeros(len(pixels), PROBES, DEPTH)))
    own, mean, evidence = attack(made)
    torch.testing.assert_close(own, mean)
    assert float(evidence.label_scores.std(0).max()) == 0


# --- sets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", ["ridge", "vae", "gan"])
def test_planted_sets_are_rebuilt_with_their_labels(decoder):
    made = sets_view()
    own, mean, evidence = attack(made, decoder=decoder, features="delta", **SMALL)
    assert float(own.mean()) < (0.25 if decoder == "ridge" else 0.7) * float(mean.mean())
    inferred = evidence.label_scores.argmax(2).sort(1).values
    assert float((inferred == made.labels.sort(1).values).float().mean()) > 0.9


def test_labels_of_a_set_belong_to_the_images_at_the_same_place():
    made = sets_view()
    evidence = UpdateLeak(UpdateLeak.Params(decoder="ridge")).run(made)
    cost = (evidence.images[:, :, None] - made.images[:, None]).square().flatten(3).sum(3)
    nearest = made.labels.gather(1, cost.argmin(2))
    assert float((nearest == evidence.label_scores.argmax(2)).float().mean()) > 0.9


@pytest.mark.parametrize("decoder", ["ridge", "vae", "gan"])
def test_noise_gives_nothing_of_sets_away(decoder):
    """Any three different images fit three true ones better than the mean image does: that is no leak."""
    made = noise_view(3)
    own, mean, _ = attack(made, decoder=decoder, features="delta", **SMALL)
    blind = match_sets(blind_set(made.auxiliary, 3, 0).expand_as(made.images), made.images)
    errors = (blind - made.images).square().flatten(2).sum(2)
    assert float(errors.mean()) < float(mean.mean())
    assert nothing_gained(own, errors)


def test_the_best_match_loss_rebuilds_sets_too():
    own, mean, _ = attack(sets_view(), features="delta", decoder="vae", matching="best", **SMALL)
    assert float(own.mean()) < 0.7 * float(mean.mean())


def test_clusters_of_drawn_images_are_close_to_the_images_of_the_mean_code():
    made, options = sets_view(), {"features": "delta", "decoder": "vae", "kl_weight": 0.001, **SMALL, "epochs": 10}
    few = made.updates()
    made.updates = lambda: few._replace(probe_after=few.probe_after[:8])
    made.images, made.labels = made.images[:8], made.labels[:8]
    clustered, mean, evidence = attack(made, clusters=True, draws=5, **options)
    plain, _, at_mean = attack(made, **options)
    assert not torch.equal(evidence.images, at_mean.images)
    assert torch.equal(evidence.label_scores, at_mean.label_scores)
    assert float(clustered.mean()) < 1.2 * float(plain.mean()) < float(mean.mean())


# --- other originals -------------------------------------------------------------------------------------------------


def turned_view():
    """Eight shadow originals and the target's, each with the same representation in coordinates of its own."""
    pixels, labels = digits(1)
    original, count = rand(1, PROBES, 5, seed=5), SHADOWS + TARGETS
    common = pixels.flatten(1).float() / 255 @ rand(64, PROBES, seed=4)
    delta = common[:, :, None] * rand(CLASSES, 1, 5, seed=2)[labels[:, 0]]
    rotations = torch.linalg.qr(rand(9, 5, 5, seed=6))[0]
    model = torch.cat([torch.arange(SHADOWS) // (SHADOWS // 8), torch.full((TARGETS,), 8)])
    before = original.expand(count, -1, -1) @ rotations[model]
    after = before + delta @ rotations[model]
    updates = Updates(before, after, NOTHING, NOTHING, NOTHING, NOTHING)
    return view(pixels, labels, updates, model[:SHADOWS])


def test_representations_of_other_originals_are_aligned():
    made, options = turned_view(), {"features": "delta", "decoder": "ridge"}
    own, mean, evidence = attack(made, tier="disjoint", **options)
    careless, _, unaligned = attack(made, tier="same", **options)
    assert float(own.mean()) < 0.7 * float(mean.mean())
    assert float(own.mean()) < 0.7 * float(careless.mean())
    right, wrong = (
        float((found.label_scores.argmax(2) == made.labels).float().mean()) for found in (evidence, unaligned)
    )
    assert right > wrong + 0.3


# --- weights ---------------------------------------------------------------------------------------------------------


def weights_view(size):
    """Weights of ten hidden units change as in a gradient step, biases by the direction of the label."""
    pixels, labels = digits(size)
    units = rand(CLASSES, 10, seed=2)[labels]
    first = torch.einsum("nsh,nsp->nhp", units, pixels.flatten(2).float() / 255)
    changes = {"first.weight": first, "first.bias": units.sum(1), "last.weight": rand(len(pixels), 5, 10)}
    updates = changed(rand(len(pixels), PROBES, DEPTH))
    return view(pixels, labels, updates._replace(parameter_changes=changes))


@pytest.mark.parametrize("tier", ["same", "disjoint"])
def test_weights_give_single_images_away(tier):
    made = weights_view(1)
    own, mean, evidence = attack(made, observe="parameters", decoder="ridge", features="factor", tier=tier)
    assert float(own.mean()) < 0.2 * float(mean.mean())
    assert float((evidence.label_scores.argmax(2) == made.labels).float().mean()) > 0.9


def test_weights_give_sets_away():
    own, mean, _ = attack(weights_view(2), observe="parameters", decoder="ridge")
    assert float(own.mean()) < 0.5 * float(mean.mean())


# --- declarations ----------------------------------------------------------------------------------------------------


def test_it_declares_what_it_uses():
    access = UpdateLeak(UpdateLeak.Params(observe="label", shadows=12)).access
    assert (access.level, access.shadows, access.tier, access.shadow_models) == ("label", 12, "same", 0)
    access = UpdateLeak(UpdateLeak.Params(tier="disjoint")).access
    assert (access.tier, access.shadow_models) == ("disjoint", 8)


def test_it_skips_what_it_can_not_do():
    assert UpdateLeak().skip(leak(erased_count=1)) is None
    assert UpdateLeak().skip(leak()) is None
    assert "leak" in UpdateLeak().skip(utility())
    weights = UpdateLeak(UpdateLeak.Params(observe="parameters"))
    assert weights.skip(leak()) is None
    assert "resnet18" in weights.skip(leak(network=Network(name="resnet18")))
    assert "sets" in UpdateLeak(UpdateLeak.Params(clusters=True)).skip(leak(erased_count=1))


@pytest.mark.parametrize(
    "params",
    [{"shadow_models": 9}, {"tier": "disjoint", "shadow_models": 7}, {"draws": 9},
     {"clusters": True, "decoder": "ridge"}, {"adversarial": 1.0}, {"decoder": "gan", "adversarial": 0}],
    ids=["models of one tier", "few models", "draws alone", "clusters of ridge", "no GAN", "no term"],
)  # fmt: skip
def test_parameters_that_do_not_go_together_are_refused(params):
    with pytest.raises(ValidationError):
        UpdateLeak.Params(**params)
