"""How the parts of a leak experiment share the images of a small dataset, and what is said where nothing fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.settings.scenario import LeakSizes, Scenario
from unlearnbench.settings.sizes import PARTS, fitted, refuse_utility, share, usual_known
from unlearnbench.system.errors import InputError

EVERY = frozenset(LeakSizes.model_fields)
USUAL = LeakSizes().model_dump()


def leak(given: dict[str, int] | None = None, **changes: Any) -> Scenario:
    sizes = LeakSizes(**usual_known(USUAL, given or {}, 1))
    return Scenario(**{"kind": "leak", "erased_count": 1, "leak": sizes, **changes})


def refusal(scenario: Scenario, free: frozenset[str], available: int) -> str:
    with pytest.raises(InputError) as caught:
        fitted(scenario, free, available)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sizes_that_fit_stay_as_they_are() -> None:
    assert fitted(leak(), EVERY, 60_000) == LeakSizes()
    assert fitted(leak(), EVERY, 10**6) == LeakSizes()
    assert fitted(leak(), EVERY, 59_999) != LeakSizes()


def test_480_images_are_shared_with_room_for_every_kind_of_shadow() -> None:
    sizes = fitted(leak(), EVERY, 480)
    assert sizes == LeakSizes(target=152, known=121, pool=224, validation=24, probe=32, spare=48)
    assert sizes.pool > 1.4 * sizes.target  # the tier disjoint trains on as many images, and compares with others


@given(
    available=st.integers(100, 70_000), targets=st.integers(1, 20), count=st.integers(1, 3), taken=st.sets(
        st.sampled_from(sorted(EVERY - {"known"})), max_size=3))  # fmt: skip
def test_what_is_given_stays_and_the_rest_fits_around_it(
    available: int, targets: int, count: int, taken: set[str]
) -> None:
    own = {name: max(USUAL[name] * available // 200_000, 20) for name in taken}
    try:
        scenario = leak(own, targets=targets, erased_count=count)
        sizes = fitted(scenario, EVERY - taken, available)
    except ValueError:  # too few candidates in a given target
        assert "target" in taken
        return
    except InputError as error:
        assert "scenario.leak: its parts need" in str(error)  # noqa: PT017
        return
    assert {name: getattr(sizes, name) for name in taken} == own
    assert sizes.total <= available
    assert all(getattr(sizes, name) <= USUAL[name] for name in EVERY)
    assert targets * count <= sizes.target - sizes.known
    assert 5 * count <= sizes.known or "target" in taken
    Scenario.model_validate({**scenario.model_dump(), "leak": sizes.model_dump()})  # every rule still holds


def test_many_targets_are_given_more_candidates_and_comparisons() -> None:
    sizes = fitted(leak(targets=64), EVERY, 480)
    assert sizes.target - sizes.known == 64
    assert sizes.spare == 3 * 64


def test_known_follows_a_given_target() -> None:
    assert leak({"target": 500}).leak == LeakSizes(target=500, known=400)
    assert leak({"target": 500, "known": 100}).leak == LeakSizes(target=500, known=100)
    assert leak({"target": 24_000}).leak == LeakSizes(target=24_000)
    given = fitted(leak({"target": 300}), EVERY - {"target"}, 600)
    assert (given.target, given.known, given.pool, given.spare) == (300, 240, 204, 43)


def test_sizes_that_do_not_fit_are_named_with_what_would() -> None:
    given = {"target": 500, "known": 400, "pool": 600, "validation": 0, "probe": 100, "spare": 900}
    said = refusal(leak(given), frozenset(), 600)
    assert said == (
        "scenario.leak: its parts need 2100 training images, the dataset has 600: target 500 + pool 600 + validation 0"
        " + probe 100 + spare 900; target 200, known 160, pool 294, validation 0, probe 42, spare 63 would fit"
    )
    sizes = said.partition("; ")[2].removesuffix(" would fit")
    suggested = {name: int(value) for name, value in (part.split() for part in sizes.split(", "))}
    assert fitted(leak(suggested), frozenset(), 600) == LeakSizes(**suggested)


def test_too_few_images_for_the_targets_are_said_to_be_too_few() -> None:
    said = refusal(leak(targets=64), EVERY, 80)
    assert said.endswith("no sizes fit 64 targets of 1 images: lower targets or erased_count, or give more images")


def test_where_copies_are_dropped_validation_gives_way() -> None:
    sizes = {"target": 200, "known": 100, "pool": 200, "validation": 80, "probe": 20, "spare": 30}
    assert fitted(leak(sizes, duplicates="drop"), frozenset(), 450).validation == 80
    assert "need 530 training images, the dataset has 450" in refusal(leak(sizes), frozenset(), 450)
    assert "need 450 training images without validation, the dataset has 449: target 200 + pool 200 + probe 20" in (
        refusal(leak(sizes, duplicates="drop"), frozenset(), 449)
    )


@given(
    total=st.integers(0, 300),
    parts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=5),
)
def test_shares_keep_to_their_bounds_and_to_the_total(total: int, parts: list[tuple[int, int, int]]) -> None:
    weights = {str(n): weight for n, (weight, _, _) in enumerate(parts)}
    least = {str(n): min(low, high) for n, (_, low, high) in enumerate(parts)}
    most = {str(n): max(low, high) for n, (_, low, high) in enumerate(parts)}
    found = share(total, weights, least, most)
    if sum(least.values()) > total:
        assert found is None or sum(most.values()) <= total
        return
    assert found is not None
    assert all(least[name] <= part <= most[name] for name, part in found.items())
    assert sum(found.values()) <= total


def test_parts_are_all_sizes_but_known() -> None:
    assert {*PARTS, "known"} == EVERY


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"validation": 400}, "scenario.validation: 400 of 400 training images; at most 399 would fit"),
        ({"train_size": 500}, "scenario.train_size: 500 of 400 training images; 400 would fit"),
        (
            {"validation": 50, "train_size": 360},
            "scenario.train_size: 360 of 350 training images (validation 50 + train_size 360 of 400); 350 would fit",
        ),
        ({"test_size": 81}, "scenario.test_size: 81 of 80 test images; 80 would fit"),
        ({"train_size": 20, "erased_count": 20}, "scenario.erased_count: erases 20 of 20 training images; 1 to 19"),
    ],
)
def test_utility_sizes_that_do_not_fit_are_named_with_what_would(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_utility(Scenario(**{"kind": "utility", "erased_count": 1, **changes}), 400, 80)
    assert expected in str(caught.value)
