"""Renew: what it keeps, what it asks its neighbours, and what it never looks at."""

from dataclasses import replace

import pytest
import torch
from small_worlds import CLASSES, SEEDS, blobs, context, difference, equal, erasures, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods.renew import Renew

from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.models.stack import Functional
from unlearnbench.plugin import Images, Models
from unlearnbench.settings.scenario import Training
from unlearnbench.splits.batches import BatchSource
from unlearnbench.training.divergences import kl_to_prior

F64 = torch.float64
SCENARIO = utility(training=Training(epochs=20, batch=8, lr=5e-3))
SHORT = {"steps": 40, "pieces": 4, "batch": 8, "neighbours": 5}


@pytest.fixture(scope="module")
def before():
    return trained(SCENARIO, erasures(), SEEDS[:1])


def renew(**params):
    return Renew(Renew.Params(**{**SHORT, **params}))


def mislabelled(sets):
    """The same images, all erased ones with the next class's label: the remaining images of their class deny it."""
    labels = sets.pool.labels.clone()
    labels[sets.erased.flatten()] = (labels[sets.erased.flatten()] + 1) % CLASSES
    return replace(sets, pool=replace(sets.pool, labels=labels))


def start(before, **params):
    """The models that unlearning starts from: a step that changes next to nothing."""
    return unlearn(renew(steps=1, pieces=1, lr=1e-12, **params), before, erasures(), SCENARIO)[0]


def test_it_starts_from_fresh_weights_and_a_share_of_the_first_layer(before):
    fresh = context(SCENARIO, SEEDS).fresh()
    assert difference(start(before, keep=0.0), fresh) < 1e-9
    moved = start(before, keep=0.25)
    for name, value in moved.params.items():
        expected = fresh.params[name]
        if name.startswith("representer.1."):
            expected = expected + 0.25 * before.params[name]
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-9)


def test_without_the_first_layer_nothing_of_the_original_is_left(before):
    other = before.apply(lambda value: value + 1)
    first, second = (unlearn(renew(keep=0.0), model, erasures(), SCENARIO)[0] for model in (before, other))
    assert equal(first, second)
    kept = [unlearn(renew(), model, erasures(), SCENARIO)[0] for model in (before, other)]
    assert difference(*kept) > 0.1


def test_the_teacher_is_the_labels_of_the_nearest_remaining_images(before):
    sets = erasures()
    used = context(SCENARIO, SEEDS)
    for k in range(3):
        shares = renew(candidates=1_000)._teacher(sets, k, used)
        erased, remaining = sets.splits(k)
        distance = torch.cdist(erased.scaled.flatten(1).double(), remaining.scaled.flatten(1).double())
        nearest = remaining.labels[distance.topk(5, largest=False).indices]
        expected = torch.stack([(nearest == label).double().mean(1) for label in range(CLASSES)], 1)
        torch.testing.assert_close(shares, expected)
        assert (shares.argmax(1) == erased.labels).all()  # blobs of a class lie together


def test_what_the_remaining_images_confirm_is_never_computed_with(before):
    """Other pixels of the same class in the place of the erased ones change no bit of the result."""
    sets = erasures()
    pixels = sets.pool.pixels.clone()
    pixels[sets.erased[1]] = blobs(60, seed=9).pixels[sets.erased[1]]
    changed = replace(sets, pool=replace(sets.pool, pixels=pixels))
    after, other = (unlearn(renew(), before, each, SCENARIO)[0] for each in (sets, changed))
    assert equal(after.slice(1, 2), other.slice(1, 2))
    assert not equal(after.slice(0, 1), other.slice(0, 1))  # for others they are remaining images


def test_what_they_contradict_is_pulled_to_what_they_say():
    sets = mislabelled(erasures(replicas=1))
    before = trained(SCENARIO, sets, SEEDS[:1])
    images, labels = sets.pool.pixels[sets.erased], sets.pool.labels[sets.erased]
    assert float((before.own_outputs(images)[1].argmax(-1) == labels).double().mean()) > 0.9
    after, _ = unlearn(renew(steps=200, lr=5e-3, weight=10), before, sets, SCENARIO, SEEDS[:1])
    predicted = after.own_outputs(images)[1].argmax(-1)
    assert (predicted == (labels - 1) % CLASSES).all()


@pytest.mark.parametrize(("agreement", "counts"), [(0.6, True), (0.7, False)])
def test_the_loss_written_out(before, agreement, counts):
    """Three of five neighbours of an erased 0 say 1: contradicted where 60 % are enough."""
    sets, pool = erasures(), erasures().pool
    router = before.router(training=False)
    params = {name: value[0] for name, value in before.params.items()}
    model = Functional(router, params, {})
    models = Models(model, model, SCENARIO, 6, 54)
    row = torch.tensor([[0, 4]])
    erased = BatchSource(Images(pool.pixels, pool.labels, pool.ids), row, None, [], F64).whole()
    remaining = BatchSource(pool, sets.remaining(0)[None], None, [], F64).whole()
    erased, remaining = (type(part)(*(value[0] for value in part)) for part in (erased, remaining))
    shares = torch.tensor([[0.4, 0.6, 0, 0], [0.6, 0.2, 0.2, 0]], dtype=F64)
    method = renew(agreement=agreement, smoothing=0.01, weight=3.0)
    found = method.loss(models, erased, remaining, shares, StreamNoise(NoiseStreams(1), torch.device("cpu"), F64))
    mean, scale = model.encode(remaining.images)
    noise = StreamNoise(NoiseStreams(1), torch.device("cpu"), F64).normal(*mean.shape)
    expected = F.cross_entropy(model.classify(mean + scale * noise), remaining.labels)
    expected = expected + SCENARIO.beta * kl_to_prior(mean, scale, "mean").mean()
    t = (shares[0] + 0.01) / 1.04
    divergence = (t * (t.log() - model(erased.images)[0].log_softmax(-1))).sum()
    expected = expected + counts * (3 * 6 / 54) * divergence / 2
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_steps_and_images_are_counted_and_the_stop_rule_has_no_say(before):
    _, used = unlearn(renew(candidates=30), before, erasures(), SCENARIO)
    assert used.steps.tolist() == [40] * 3
    remaining = sum([8] * 6 + [6] + [8] * 3) * 4  # each piece of 10 steps draws 54 images in minibatches of 8 anew
    assert used.samples.tolist() == [30 + remaining + 40 * 6] * 3  # all six erased images fit into a minibatch


def test_steps_must_be_whole_pieces():
    with pytest.raises(ValueError, match="not a multiple of pieces"):
        Renew.Params(steps=100, pieces=8)
