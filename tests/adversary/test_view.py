"""What attacks see: all they declared, nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from experiments import CPU, Experiment
from scipy.stats import binomtest
from small_worlds import image_data, utility
from unlearnbench.methods.crfu import Crfu
from unlearnbench.methods.original import Original

from unlearnbench.adversary.observation import observe
from unlearnbench.adversary.observed_erasures import Erasures, observe_erasures
from unlearnbench.adversary.oracle import Oracle
from unlearnbench.plugin import Access
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.shadow_sets import shadow_erasures
from unlearnbench.splits.world import build_world
from unlearnbench.system.errors import AccessError

LEVELS = ("representation", "log_probabilities", "probabilities", "top_k", "label")


@pytest.fixture(scope="module")
def crfu():
    return Experiment(Crfu())


@pytest.fixture(scope="module")
def null():
    return Experiment(Original())


@pytest.mark.parametrize("level", LEVELS)
def test_updates_of_equal_models_are_zero(null, level):
    updates = null.view(level=level).updates()
    for before, after in (
        (updates.probe_before, updates.probe_after),
        (updates.candidates_before, updates.candidates_after),
    ):
        assert float((after - before).abs().max()) < 1e-5
        assert float(after.abs().max()) > 0.1


def test_updates_of_changed_models_are_not(crfu):
    updates = crfu.view().updates()
    assert float((updates.probe_after - updates.probe_before).abs().amax((1, 2)).min()) > 1e-3


@pytest.mark.parametrize("level", LEVELS)
def test_updates_are_the_models_outputs_at_the_declared_level(crfu, level):
    updates, depth = crfu.view(level=level).updates(), 5 if level == "representation" else 4
    assert updates.probe_before.shape == (1, 10, depth)
    assert updates.probe_after.shape == (4, 10, depth)
    assert updates.candidates.shape == (4, 4, 1, 6, 6)
    assert updates.candidate_labels.shape == (4, 4)
    assert updates.candidates_before.shape == updates.candidates_after.shape == (4, 4, depth)
    for k in range(4):
        model = crfu.after.module(k)
        for images, seen in (
            (crfu.world.images("probe").scaled, updates.probe_after[k]),
            (updates.candidates[k].float() / 255, updates.candidates_after[k]),
        ):
            with torch.no_grad():
                mean, _ = model.encode(images)
                torch.testing.assert_close(seen, observe(level, mean, model.classify(mean)), rtol=1e-4, atol=1e-5)


def test_queries_answer_at_the_declared_level(crfu):
    images = crfu.world.images("pool").take(torch.arange(7))
    view = crfu.view(level="probabilities")
    for answer, model in ((view.before(images), crfu.before.module(0)), (view.after(images), crfu.after.module(0))):
        torch.testing.assert_close(answer, model(images.scaled).softmax(1).detach(), rtol=1e-4, atol=1e-5)
    assert crfu.view(level="representation").before(images).shape == (7, 5)


def test_models_that_sample_answer_with_a_draw(crfu):
    images = crfu.world.images("pool").take(torch.arange(7))
    view, plain = (crfu.view(level="representation", inference=how) for how in ("sample", "mean"))
    for sampled, mean in ((view.before(images), plain.before(images)), (view.after(images), plain.after(images))):
        assert sampled.shape == mean.shape
        assert float((sampled - mean).abs().max()) > 1e-3
    with pytest.raises(AccessError, match="more than 1 times"):
        view.before(images)
    with pytest.raises(AccessError, match="at the mean"):
        view.updates()
    with pytest.raises(ValueError, match="sample has none"):
        Access(inference="sample", shadows=3)


def test_candidates_are_the_erased_and_as_many_never_seen_of_their_classes(crfu):
    targets, world = crfu.targets, crfu.world
    for k in range(4):
        erased = targets.candidate_rows[k][targets.candidate_erased[k]]
        others = targets.candidate_rows[k][~targets.candidate_erased[k]]
        assert sorted(erased.tolist()) == sorted(world.targets.erased[k].tolist())
        assert sorted(others.tolist()) == sorted(world.targets.holdout[k].tolist())
        assert sorted(world.pool.labels[erased].tolist()) == sorted(world.pool.labels[others].tolist())
    updates = crfu.view().updates()
    assert torch.equal(updates.candidates, world.pool.pixels[targets.candidate_rows])
    assert torch.equal(updates.candidate_labels, world.pool.labels[targets.candidate_rows])


def test_the_order_of_candidates_says_nothing(crfu):
    """The first of four candidates is an erased one in half of the erasures."""
    sets = crfu.world.targets
    rows = torch.arange(400) % 4
    many = ErasureSets(sets.pool, sets.members, sets.erased[rows], sets.holdout[rows])
    seen = observe_erasures(crfu.before, crfu.before.expand(400), many, crfu.world, "order").candidate_erased
    for place in range(4):
        assert binomtest(int(seen[:, place].sum()), 400, 0.5).pvalue > 1e-3
    assert (seen.sum(1) == 2).all()


def test_an_attack_knows_how_many_images_each_target_erased(crfu):
    assert crfu.view().erased_count == crfu.world.targets.erased.shape[1] == 2


def test_shadow_updates_come_with_their_answers(crfu):
    shadow = crfu.view(shadows=10).shadow_updates()
    assert shadow.images.shape == (10, 2, 1, 6, 6)
    assert torch.equal(shadow.images, crfu.world.pool.pixels[crfu.shadow_sets.erased])
    assert torch.equal(shadow.labels, crfu.world.pool.labels[crfu.shadow_sets.erased])
    assert shadow.erased.shape == (10, 4)
    assert shadow.validation.tolist() == [False] * 8 + [True] * 2
    for k in range(10):
        erased = shadow.updates.candidates[k][shadow.erased[k]].flatten(1)
        assert sorted(erased.tolist()) == sorted(shadow.images[k].flatten(1).tolist())


def test_what_was_not_declared_is_refused(crfu):
    view = crfu.view()
    with pytest.raises(AccessError, match="shadows"):
        view.shadow_updates()
    for ask in (view.known, view.challenge):
        with pytest.raises(AccessError, match="members=True"):
            ask()


def test_what_an_experiment_does_not_have_is_refused(crfu):
    scenario = utility()
    world = build_world(image_data(), scenario, 1, CPU)
    view = Oracle(Access(shadows=10, members=True), world, 4, 9, crfu.before, crfu.after).view()
    parts = (lambda: view.auxiliary, lambda: view.probe, lambda: view.erased_count)
    for ask in (view.updates, view.shadow_updates, view.known, *parts):
        with pytest.raises(AccessError, match="there are none"):
            ask()


def test_members_are_seen_with_their_answers_and_the_challenge_without(crfu):
    view = crfu.view(members=True)
    images, membership = view.known()
    assert torch.equal(images.pixels, crfu.pairs.known.pixels)
    assert set(images.ids.tolist()) == set(view.challenge().ids.tolist()) == {-1}  # an id would say which part it is of
    assert torch.equal(membership, crfu.pairs.known_membership)
    assert torch.equal(view.challenge().pixels, crfu.pairs.hidden.pixels)
    assert 0 < int(membership[: len(membership) // 2].sum()) < len(membership) // 2  # nor does the order


def test_the_adversary_holds_her_own_images_only(crfu):
    view = crfu.view()
    members = set(crfu.world.images("target").ids.tolist())
    assert len(view.auxiliary) == 160
    assert len(view.probe) == 10
    assert not members & (set(view.auxiliary.ids.tolist()) | set(view.probe.ids.tolist()))
    assert view.shape == (1, 6, 6)


def test_random_numbers_are_named_and_repeatable(crfu):
    view = crfu.view()
    draws = [view.generator(*purpose).random() for purpose in (("a",), ("a",), ("b",), ())]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
    assert view.torch_seed("a") == view.torch_seed("a") != view.torch_seed("b")


def test_parts_of_erasures_are_put_together_in_order(crfu):
    targets = crfu.targets
    halves = [
        Erasures.of_tensors({n: v if v.shape[0] == 1 else v[part] for n, v in targets.tensors.items()})
        for part in (slice(0, 1), slice(1, 4))
    ]
    joined = Erasures.concatenate(halves)
    assert all(torch.equal(value, targets.tensors[name]) for name, value in joined.tensors.items())
    own = [replace(half, probe_before_mean=half.probe_after_mean, probe_before_logits=half.probe_after_logits)
           for half in halves]  # fmt: skip
    assert Erasures.concatenate(own).probe_before_mean.shape == (4, 10, 5)
    assert np.array_equal(Erasures.concatenate(own).probe_before_mean, targets.probe_after_mean)


# --- models of the adversary's own ---


def test_models_with_and_without_a_candidate_are_put_in_the_targets_order(crfu):
    models, rows = 4, crfu.targets.candidate_rows
    drawn = shadow_erasures(crfu.world, "in_and_out", 0, models, 2)
    parts = []
    for model, sets in enumerate(drawn.sets):  # answers name the model and the image
        erased = observe_erasures(crfu.before, crfu.before.expand(sets.replicas), sets, crfu.world, f"{model}")
        answer = (1_000 * model + erased.candidate_rows).float()[..., None].expand(-1, -1, 4)
        parts.append(replace(erased, candidates_before_logits=answer, candidates_after_mean=answer))
    stored = {**Erasures.concatenate(parts, shared=False).tensors, "validation": drawn.validation, "model": drawn.model}
    access = Access(level="representation", in_and_out=models)
    view = Oracle(access, crfu.world, 4, 9, crfu.before, crfu.after, crfu.targets, stored, None).view()
    found = view.in_and_out()
    assert found.after.shape == (models, 4, 4, 4)
    expected = rows.float()[None] + 1_000 * torch.arange(models)[:, None, None]
    assert torch.equal(found.after[..., 0], expected)
    for model, sets in enumerate(drawn.sets):
        assert torch.equal(found.was_in[model], torch.isin(rows, sets.erased))
    assert bool((found.was_in.sum(0) == models // 2).all())


@pytest.mark.parametrize("asked", ["shadow_updates", "in_and_out", "retrained_models"])
def test_models_that_were_not_declared_are_refused_by_name(crfu, asked):
    with pytest.raises(AccessError, match=f"{asked} needs"):
        getattr(crfu.view(), asked)()


@pytest.mark.parametrize(
    "access", [{"shadows": 10, "retrained": 4}, {"shadows": 10, "tier": "disjoint"}, {"shadow_models": 8},
               {"shadows": 4, "tier": "disjoint", "shadow_models": 8}],
)  # fmt: skip
def test_access_that_contradicts_itself_is_refused(access):
    with pytest.raises(ValueError, match="shadow"):
        Access(**access)


def test_a_temperature_flattens_what_is_seen(crfu):
    sharp, flat = (crfu.view(level="probabilities", temperature=t).updates().candidates_after for t in (1.0, 5.0))
    assert not torch.equal(sharp, flat)
    assert bool((flat.max(-1).values < sharp.max(-1).values).all())
    assert torch.equal(flat.argmax(-1), sharp.argmax(-1))
