"""SISA: shards, and that erasing retrains those that held the erased images, and no other."""

from dataclasses import replace

import pytest
import torch
from loss_cases import noise
from small_worlds import SEEDS, blobs, context, difference, equal, erasures, utility
from unlearnbench.methods.sisa import Sisa

from unlearnbench.models.ensemble import Ensemble
from unlearnbench.models.stack import Stack
from unlearnbench.settings.scenario import Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.stages.result_checks import erase
from unlearnbench.system.seeding import derive

SCENARIO = utility(training=Training(epochs=3, batch=8, lr=5e-3))
SISA = Sisa(Sisa.Params(shards=3))
SEED = 17


def original(sets, seed=SEED):
    """An ensemble trained on all members."""
    return Stack.of([SISA.train(sets.pool.take(sets.members), context(SCENARIO, [seed]))])


@pytest.fixture(scope="module")
def before():
    return original(erasures())


def shards(sets, rows):
    """Which shards hold images of some rows."""
    return {number for number, found in enumerate(SISA.partition(sets.pool.ids[rows], SEED)) if len(found)}


def part(stack, replica, shard):
    """One model of one ensemble."""
    prefix = f"models.{shard}."
    return {name: value[replica] for name, value in stack.params.items() if name.startswith(prefix)}


# --- the partition ---


def test_every_image_is_in_one_shard_whoever_is_with_it():
    ids = torch.randperm(900, generator=torch.Generator().manual_seed(0))
    whole = SISA.partition(ids, SEED)
    assert sorted(torch.cat(whole).tolist()) == list(range(900))
    assert all(250 < len(rows) < 350 for rows in whole)
    some = ids[:50]
    for rows, found in zip(whole, SISA.partition(some, SEED), strict=True):
        assert set(some[found].tolist()) == set(ids[rows].tolist()) & set(some.tolist())
    other = SISA.partition(ids, SEED + 1)
    assert 200 < sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(whole, other, strict=True)) < 400
    assert [len(rows) for rows in SISA.partition(ids[:0], SEED)] == [0, 0, 0]


# --- the ensemble ---


def test_an_ensemble_answers_with_the_mean_of_its_models_probabilities():
    models = [context(SCENARIO, SEEDS, torch.float64).build(seed).double() for seed in SEEDS]
    ensemble, images = Ensemble(models, SEED), blobs(10).scaled.double()
    expected = torch.stack([model(images).softmax(-1) for model in models]).mean(0)
    torch.testing.assert_close(ensemble(images).exp(), expected, rtol=1e-12, atol=0)
    mean, scale = ensemble.encode(images)
    assert mean.shape == scale.shape == (10, 3 * 5)
    assert torch.equal(mean[:, 5:10], models[1].encode(images)[0])
    assert torch.equal(scale[:, 10:], models[2].encode(images)[1])
    torch.testing.assert_close(ensemble.classify(mean), ensemble(images))
    sampled = ensemble(images, noise())
    torch.testing.assert_close(sampled, ensemble.classify(mean + scale * noise().normal(*mean.shape)))
    assert not torch.equal(sampled, ensemble(images))


def test_models_that_agree_answer_as_one_does():
    model, images = context(SCENARIO, SEEDS).build(1).double(), blobs(10).scaled.double()
    found = Ensemble([model, model], SEED)(images)
    torch.testing.assert_close(found, model(images).log_softmax(-1), rtol=1e-12, atol=1e-12)


def test_it_has_an_original_of_its_own_and_builds_its_architecture(before):
    built = Stack.of([SISA.build(context(SCENARIO, SEEDS))])
    assert SISA.own_original
    assert {n: v.shape for n, v in built.tensors.items()} == {n: v.shape for n, v in before.tensors.items()}
    assert before.buffers["seed"].tolist() == [SEED]


# --- training and erasing ---


def test_each_model_is_the_shared_training_on_its_shard(before):
    sets = erasures()
    for number, rows in enumerate(SISA.partition(sets.pool.ids[sets.members], SEED)):
        used = context(SCENARIO, [derive(SEED, "shard", number)])
        alone = used.train(ErasureSets(sets.pool, sets.members[rows], rows[None, :0]))
        for name, value in part(before, 0, number).items():
            assert torch.equal(value, alone.params[name.removeprefix(f"models.{number}.")][0])


def test_training_counts_every_shard():
    used, sets = context(SCENARIO, [SEED]), erasures()
    SISA.train(sets.pool.take(sets.members), used)
    sizes = [len(rows) for rows in SISA.partition(sets.pool.ids[sets.members], SEED)]
    assert used.steps.tolist() == [3 * sum(-(-size // 8) for size in sizes)]
    assert used.samples.tolist() == [3 * 60]


@pytest.mark.parametrize("size", [1, 2])
def test_only_shards_that_held_erased_images_are_retrained_and_they_without_them(before, size):
    sets, used = erasures(size=size), context(SCENARIO, SEEDS)
    after = erase(SISA, before, sets, used)
    for k in range(3):
        held, members = shards(sets, sets.erased[k]), SISA.partition(sets.pool.ids[sets.remaining(k)], SEED)
        assert 0 < len(held) < 3
        for number, rows in enumerate(members):
            fresh = context(SCENARIO, [derive(SEEDS[k], "shard", number)])
            alone = fresh.train(ErasureSets(sets.pool, sets.remaining(k)[rows], rows[None, :0]))
            for name, value in part(after, k, number).items():
                leaf = name.removeprefix(f"models.{number}.")
                expected = alone.params[leaf][0] if number in held else before.params[name][0]
                assert torch.equal(value, expected)
        assert used.samples[k] == 3 * sum(len(members[number]) for number in held)
    assert (used.steps > 0).all()


def test_nothing_of_an_erased_image_is_left(before):
    """Other pixels and labels in the place of the erased images give the same model, bit for bit, wherever they went
    into training: an original that learned them differs in their shards only, which are retrained."""
    sets = erasures(size=2).take(0, 1)
    pixels, labels = sets.pool.pixels.clone(), sets.pool.labels.clone()
    pixels[sets.erased[0]], labels[sets.erased[0]] = 255 - pixels[sets.erased[0]], 3 - labels[sets.erased[0]]
    changed = replace(sets, pool=replace(sets.pool, pixels=pixels, labels=labels))
    other = original(changed)
    assert difference(before, other) > 1e-3
    after, again = (erase(SISA, b, s, context(SCENARIO, SEEDS[:1])) for b, s in ((before, sets), (other, changed)))
    assert equal(after, again)


def test_without_anything_to_erase_nothing_changes(before):
    sets = erasures(replicas=1)
    nothing = ErasureSets(sets.pool, sets.members, sets.erased[:, :0])
    assert equal(erase(SISA, before, nothing, context(SCENARIO, SEEDS[:1])), before)


def test_a_shard_without_an_image_left_has_a_fresh_model(before):
    sets = erasures(replicas=1)
    rows = SISA.partition(sets.pool.ids[sets.members], SEED)[1]
    emptied = ErasureSets(sets.pool, sets.members, sets.members[rows][None])
    after = erase(SISA, before, emptied, context(SCENARIO, SEEDS[:1]))
    fresh = context(SCENARIO, [derive(SEEDS[0], "shard", 1)]).fresh()
    for name, value in part(after, 0, 1).items():
        assert torch.equal(value, fresh.params[name.removeprefix("models.1.")][0])
    assert all(torch.equal(value, before.params[name][0]) for name, value in part(after, 0, 0).items())
