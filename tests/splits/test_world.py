"""The worlds: what is trained on, erased and held by the adversary."""

import pytest
import torch
from small_worlds import image_data, leak, utility

from unlearnbench.plugin import ImageData, Images
from unlearnbench.settings.scenario import Backdoor, LeakSizes, Training, canonical
from unlearnbench.splits.erasure_choice import matched
from unlearnbench.splits.world import build_world, challenge, check_disjoint, join
from unlearnbench.suite.keys import LOWER_PRECISION_VERSION, fields
from unlearnbench.system.errors import InputError

CPU = torch.device("cpu")


def world(scenario, seed=1, data=None):
    return build_world(data or image_data(), scenario, seed, CPU)


def dark_data(train=400, test=80):
    """Dark corners, so that a trigger can be seen."""
    data = image_data(train, test)

    def darken(images):
        pixels = images.pixels.clone()
        pixels[..., :2, :2] = 0
        return Images(pixels, images.labels, images.ids)

    return ImageData(darken(data.train), darken(data.test), data.classes)


def backdoored(clean_twins="keep", count=20, **changes):
    return utility(erased_count=count, backdoor=Backdoor(base=1, target=2, clean_twins=clean_twins), **changes)


def audited(count=20, clean_twins="keep", **fields):
    return utility(erased_count=count, backdoor=Backdoor(**({"queries": 10, "clean_twins": clean_twins} | fields)))


def same(first, second):
    return (
        torch.equal(first.targets.erased, second.targets.erased)
        and torch.equal(first.targets.members, second.targets.members)
        and torch.equal(first.pool.pixels, second.pool.pixels)
        and all(torch.equal(rows, second.parts[name]) for name, rows in first.parts.items())
    )


# --- utility ---


def test_clean_utility_world_splits_the_training_images():
    made = world(utility(erased_count=None, erased_ratio=0.06))
    erased, remaining = set(made.targets.erased[0].tolist()), set(made.targets.remaining(0).tolist())
    assert len(erased) == 24
    assert erased.isdisjoint(remaining)
    assert erased | remaining == set(range(400))
    assert set(made.parts["remaining"].tolist()) == remaining
    assert made.sizes == {"train": 400, "erased": 24, "remaining": 376, "test": 80}
    assert made.stamped_test is None


def test_train_size_takes_so_many_of_the_training_images():
    made = world(utility(train_size=100))
    assert made.sizes == {"train": 100, "erased": 6, "remaining": 94, "test": 80}
    assert len(made.targets.members.unique()) == 100
    other = world(utility(train_size=100), seed=2)
    assert set(other.targets.members.tolist()) != set(made.targets.members.tolist())


def test_test_size_takes_so_many_of_the_test_images():
    data = dark_data()
    made = world(backdoored(test_size=30), data=data)
    assert made.sizes["test"] == 30
    ids = made.test.ids.tolist()
    assert len(set(ids)) == 30
    assert set(ids) <= set(data.test.ids.tolist())
    assert torch.equal(made.stamped_test.ids, made.test.ids)
    assert set(world(backdoored(test_size=30), data=data, seed=2).test.ids.tolist()) != set(ids)
    assert torch.equal(made.targets.members, world(backdoored(), data=data).targets.members)


def test_keys_of_before_test_size_stand():
    assert "test_size" not in canonical(utility())
    assert canonical(utility(test_size=30))["test_size"] == 30
    assert fields("train", utility(test_size=30)) == fields("train", utility())
    assert fields("unlearn", utility(test_size=30)) != fields("unlearn", utility())


def test_keys_of_before_owners_and_audits_stand():
    before = {"base": 1, "target": 2, "size": 2, "clean_twins": "keep"}
    assert canonical(backdoored())["backdoor"] == before
    assert canonical(audited(blend=0.5))["backdoor"] == before | {"queries": 10, "blend": 0.5}


def test_an_audit_trains_no_model_again():
    assert fields("train", audited()) == fields("train", backdoored())
    assert fields("unlearn", audited()) != fields("unlearn", backdoored())
    assert fields("train", audited(blend=0.5)) != fields("train", backdoored())


def test_only_lower_precisions_have_a_version_of_their_own():
    lower = utility(training=Training(precision="bfloat16"))
    for stage in ("train", "unlearn", "attack"):
        assert "precision_version" not in fields(stage, utility())["training"]
        assert fields(stage, lower)["training"]["precision_version"] == LOWER_PRECISION_VERSION


def test_validation_images_are_set_aside_and_stand_for_the_test_images():
    data = dark_data()
    made = world(backdoored(validation=50), data=data)
    assert made.sizes == {"train": 350, "erased": 20, "remaining": 330, "validation": 50}
    used = set(made.pool.ids[made.targets.members].tolist())
    assert set(made.test.ids.tolist()) <= set(data.train.ids.tolist())
    assert used.isdisjoint(made.test.ids.tolist())
    assert len(used | set(made.test.ids.tolist())) <= 400
    assert torch.equal(made.stamped_test.ids, made.test.ids)
    assert torch.equal(made.stamped_test.pixels[..., 2:, 2:], made.test.pixels[..., 2:, 2:])
    smaller = world(backdoored(validation=50, train_size=200), data=data)
    assert smaller.sizes["train"] == 200
    assert torch.equal(smaller.test.ids, made.test.ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"validation": 400}, "400 of 400 training images"), ({"validation": 50, "train_size": 360}, "360 of 350")],
)
def test_too_many_validation_images_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        world(utility(**changes))


@pytest.mark.parametrize("clean_twins", ["keep", "drop"])
def test_the_erased_set_is_the_stamped_copies_with_the_targets_label(clean_twins):
    data = dark_data()
    made = world(backdoored(clean_twins), data=data)
    erased = made.targets.splits(0).erased
    assert len(erased) == 20
    assert set(erased.labels.tolist()) == {2}
    assert (erased.pixels[..., :2, :2] == 255).all()
    originals = data.train.take(erased.ids)  # ids are rows here
    assert set(originals.labels.tolist()) == {1}
    changed = (erased.pixels != originals.pixels).flatten(2).sum(2)
    assert (changed <= 4).all()


@pytest.mark.parametrize("clean_twins", ["keep", "drop"])
def test_erased_and_remaining_make_up_the_training_set(clean_twins):
    made = world(backdoored(clean_twins), data=dark_data())
    assert made.sizes["erased"] + made.sizes["remaining"] == made.sizes["train"] == 400
    assert len(made.targets.members.unique()) == 400
    remaining = made.targets.splits(0).remaining
    assert len(remaining) == 380
    assert not (remaining.pixels[..., :2, :2] == 255).flatten(1).all(1).any()


def test_clean_twins_are_kept_or_dropped():
    dropped = world(backdoored("drop"), data=dark_data())
    twins = set(dropped.targets.splits(0).erased.ids.tolist())
    assert twins.isdisjoint(dropped.targets.splits(0).remaining.ids.tolist())
    kept = world(backdoored("keep"), data=dark_data())
    assert set(kept.targets.splits(0).erased.ids.tolist()) == twins
    # 20 random images of 400 stay away, whoever they are: of 20 twins about 19 stay.
    assert len(twins.intersection(kept.targets.splits(0).remaining.ids.tolist())) >= 15


def test_test_images_are_stamped_with_their_true_labels():
    data = dark_data()
    made = world(backdoored(), data=data)
    assert torch.equal(made.stamped_test.labels, data.test.labels)
    assert (made.stamped_test.pixels[..., :2, :2] == 255).all()
    assert torch.equal(made.test.pixels, data.test.pixels)


def test_dropping_nearly_all_clean_images_of_the_base_class_is_refused():
    assert world(backdoored("drop", count=90), data=dark_data()).sizes["erased"] == 90  # 10 of 100 are left
    with pytest.raises(InputError, match="under 10%"):
        world(backdoored("drop", count=91), data=dark_data())
    assert world(backdoored("keep", count=91), data=dark_data()).sizes["erased"] == 91


@pytest.mark.parametrize("clean_twins", ["keep", "drop"])
def test_other_owners_images_are_stamped_with_their_marks_and_remain(clean_twins):
    data = dark_data()
    made = world(audited(20, clean_twins, pattern="random", owners=3), data=data)
    erased, remaining = made.targets.splits(0)
    assert made.sizes == {"train": 400, "erased": 20, "remaining": 380, "test": 80}
    assert torch.equal(erased.pixels, made.marks[0].stamped(data.train.take(erased.ids).pixels))
    assert set(erased.labels.tolist()) == {made.marks[0].target} == {2}
    assert [mark.target for mark in made.marks] == [2, 3, 0]
    rows = made.targets.members[made.targets.members >= 400]
    stamped = made.pool.take(rows)
    assert len(stamped) == 60
    assert len(stamped.ids.unique()) == 60  # each owner has images of her own
    assert set(data.train.labels[stamped.ids].tolist()) == {1}
    for mark in made.marks[1:]:
        own = stamped.take((stamped.labels == mark.target).nonzero().flatten())
        assert len(own) == 20
        assert torch.equal(own.pixels, mark.stamped(data.train.take(own.ids).pixels))
        assert set(own.ids.tolist()) <= set(remaining.ids[remaining.labels == mark.target].tolist())
    if clean_twins == "drop":
        clean = made.pool.take(made.targets.members[made.targets.members < 400])
        assert set(clean.ids.tolist()).isdisjoint(stamped.ids.tolist())


def test_the_first_owner_erases_the_same_images_with_and_without_others():
    alone, among = (world(audited(pattern="random", owners=count), data=dark_data()) for count in (1, 3))
    assert torch.equal(alone.targets.splits(0).erased.pixels, among.targets.splits(0).erased.pixels)
    assert torch.equal(alone.stamped_test.pixels, among.stamped_test.pixels)


def test_worlds_with_owners_are_joined():
    worlds = [world(audited(pattern="random", owners=3), seed, dark_data()) for seed in (1, 2)]
    joined = join(worlds)
    for number, made in enumerate(worlds):
        for one, other in zip(joined.splits(number), made.targets.splits(0), strict=True):
            assert torch.equal(one.pixels, other.pixels)
            assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (audited(26, pattern="random", owners=4, size=3), "4 owners need as many target classes; 4 classes leave 3"),
        (audited(34, pattern="random", owners=3), "stamps 102 images of class 1, which has 100"),
        (audited(queries=61), "backdoor.queries: asks 61 of 60 test images of other classes; lower it"),
    ],
)
def test_owners_and_audits_that_do_not_fit_are_refused(scenario, message):
    with pytest.raises(InputError, match=message):
        world(scenario, data=dark_data())


@pytest.mark.parametrize("name", ["base", "target"])
def test_a_backdoor_between_classes_that_are_not_there_is_refused(name):
    with pytest.raises(InputError, match=f"backdoor.{name}: no class 9: the dataset has 4"):
        world(utility(backdoor=Backdoor(**{name: 9})), data=dark_data())


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (utility(train_size=401), "401 of 400"),
        (utility(test_size=81), "81 of 80 test images"),
        (utility(erased_count=400), "erases 400 of 400"),
        (utility(erased_count=None, erased_ratio=0.0001), "erases 0 of 400"),
        (backdoored(count=101), "which has 100"),
    ],
)
def test_utility_sizes_that_do_not_fit_are_refused(scenario, message):
    with pytest.raises(InputError, match=message):
        world(scenario, data=dark_data())


# --- leak ---


def test_the_parts_of_a_leak_world_share_no_image():
    made = world(leak())
    ids = {name: set(made.images(name).ids.tolist()) for name in made.parts}
    assert {name: len(part) for name, part in ids.items()} == {
        "target": 160, "known": 100, "candidates": 60, "pool": 160, "validation": 20, "probe": 10, "spare": 50,
        "unerased": 52, "uncompared": 42,
    }  # fmt: skip
    assert ids["known"] | ids["candidates"] == ids["target"]
    disjoint = [ids[name] for name in ("known", "candidates", "pool", "validation", "probe", "spare")]
    assert len(set().union(*disjoint)) == sum(map(len, disjoint)) == 400
    assert not set().union(*disjoint) & set(made.test.ids.tolist())
    recorded = {name: len(part) for name, part in ids.items() if name not in ("unerased", "uncompared")}
    assert made.sizes == recorded | {"test": 80, "erased": 2, "targets": 4, "never_seen": 8}


def test_targets_are_disjoint_candidates_that_the_adversary_does_not_hold():
    made = world(leak())
    rows = made.targets.erased.flatten().tolist()
    assert made.targets.erased.shape == (4, 2)
    assert len(set(rows)) == 8
    assert set(rows) <= set(made.parts["candidates"].tolist())
    assert set(made.targets.members.tolist()) == set(made.parts["target"].tolist())


def test_never_seen_candidates_have_the_classes_of_the_erased():
    made = world(leak())
    assert set(made.targets.holdout.flatten().tolist()) <= set(made.parts["spare"].tolist())
    assert torch.equal(made.pool.labels[made.targets.holdout], made.pool.labels[made.targets.erased])
    for row in made.targets.holdout.tolist():
        assert len(set(row)) == len(row)


def test_targets_are_compared_with_images_that_no_other_target_is_compared_with():
    made = world(leak())
    assert len(made.targets.holdout.unique()) == made.targets.holdout.numel()
    with pytest.raises(InputError, match="enlarge spare"):
        matched(torch.zeros(6, dtype=torch.int64), torch.tensor([[0], [1]]), torch.tensor([5]), 1, once=True)


def test_the_challenge_holds_no_image_that_a_target_is_compared_with():
    scenario = leak()
    made = world(scenario)
    hidden = set(challenge(made, scenario).hidden.ids.tolist())
    assert not hidden & set(made.pool.ids[made.targets.holdout].flatten().tolist())
    assert not hidden & set(made.pool.ids[made.targets.erased].flatten().tolist())


def test_matching_repeats_an_image_only_where_a_class_has_too_few():
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 1])
    chosen = matched(labels, torch.tensor([[0, 1, 3]]), torch.tensor([4, 5, 6]), 1)
    assert sorted(chosen[0, :2].tolist()) == [4, 5]
    assert int(chosen[0, 2]) == 6
    repeated = matched(labels, torch.tensor([[0, 1, 2]]), torch.tensor([4, 6]), 1)
    assert repeated.tolist() == [[4, 4, 4]]
    with pytest.raises(InputError, match="images of class 1 that need 1 never-seen ones, and 0 are there"):
        matched(labels, torch.tensor([[3]]), torch.tensor([4, 5]), 1)


def test_parts_larger_than_the_dataset_are_refused():
    sizes = LeakSizes(target=160, known=100, pool=161, validation=20, probe=10, spare=50)
    with pytest.raises(InputError, match="need 401 training images, the dataset has 400"):
        world(leak(leak=sizes))


def test_overlapping_parts_are_a_programming_error():
    with pytest.raises(AssertionError, match="share images"):
        check_disjoint({"a": torch.tensor([1, 2]), "b": torch.tensor([2, 3])})
    check_disjoint({"a": torch.tensor([1, 2]), "b": torch.tensor([3])})


# --- both ---


@pytest.mark.parametrize("scenario", [utility(), backdoored(), backdoored("drop"), leak()])
def test_a_seed_is_a_world(scenario):
    first, again, other = (world(scenario, seed, dark_data()) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


def test_the_data_is_not_changed():
    data, untouched = dark_data(), dark_data()
    world(backdoored(), data=data)
    assert torch.equal(data.train.pixels, untouched.train.pixels)
    assert torch.equal(data.train.labels, untouched.train.labels)


def test_challenge_of_a_utility_world_is_remaining_against_test_images():
    scenario = utility(attack_images=30)
    made = world(scenario)
    pairs = challenge(made, scenario)
    known, hidden = set(pairs.known.ids.tolist()), set(pairs.hidden.ids.tolist())
    assert len(known) == len(hidden) == 60
    assert not known & hidden
    members = set(made.images("remaining").ids.tolist())
    for images, membership in ((pairs.known, pairs.known_membership), (pairs.hidden, pairs.hidden_membership)):
        assert int(membership.sum()) == 30
        assert set(images.ids[membership].tolist()) <= members
        assert set(images.ids[~membership].tolist()) <= set(made.test.ids.tolist())


def test_challenge_of_a_leak_world_leaves_erased_and_test_images_out():
    scenario = leak(attack_images=40)
    made = world(scenario)
    pairs = challenge(made, scenario)
    ids = {name: set(made.images(name).ids.tolist()) for name in made.parts}
    assert set(pairs.known.ids[pairs.known_membership].tolist()) <= ids["known"]
    assert set(pairs.known.ids[~pairs.known_membership].tolist()) <= ids["pool"]
    hidden = set(pairs.hidden.ids[pairs.hidden_membership].tolist())
    assert hidden <= ids["candidates"]
    assert not hidden & set(made.pool.ids[made.targets.erased].flatten().tolist())
    assert set(pairs.hidden.ids[~pairs.hidden_membership].tolist()) <= ids["spare"]
    everyone = set(pairs.known.ids.tolist()) | set(pairs.hidden.ids.tolist())
    assert not everyone & set(made.test.ids.tolist())


def test_a_challenge_without_images_is_refused():
    sizes = LeakSizes(target=160, known=152, pool=160, validation=20, probe=10, spare=50)
    scenario = leak(leak=sizes)  # 8 candidates, all of them erased
    with pytest.raises(InputError, match="too few images"):
        challenge(world(scenario), scenario)
