"""Sizes that fit: how the parts of a leak experiment share a dataset's training images, and what is said where nothing
fits (docs/protocol.md#leak-parts)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from unlearnbench.settings.scenario import LeakSizes, Scenario
from unlearnbench.system.errors import InputError

PARTS = ("target", "pool", "validation", "probe", "spare")
"""The parts that share the training images; `known` lies inside `target`."""

NO_GROUPS = (
    "'group' needs a dataset that says whose each image is, and this one has no groups; of the dataset `images` set the"
    " parameter groups"
)

# Of 60 parts of a small dataset. The pool is half again as large as the target, so that models which train on as many
# of its images (tier `disjoint`) leave enough others.
_SHARES = {"target": 19, "pool": 28, "validation": 3, "probe": 4, "spare": 6}
_COMPARED = 3  # spare images for each one that is compared, so that there are enough of every class


def usual_known(leak: Mapping[str, Any], given: Mapping[str, Any], erased: int) -> dict[str, Any]:
    """The sizes of a suite file over the usual ones: `known` follows a given `target` that is too small for it.

    Args:
        leak: usual sizes, of the dataset or the defaults.
        given: what the suite says.
        erased: candidates that the targets erase.
    """
    merged = {**leak, **given}
    target, known, usual = merged.get("target"), leak.get("known"), leak.get("target")
    if "known" in given or not (type(target) is int and type(known) is int and type(usual) is int):
        return merged
    if 0 < target < known + erased and "target" in given:
        merged["known"] = max(10, min(target * known // usual, target - erased))
    return merged


def fitted(scenario: Scenario, free: Collection[str], available: int) -> LeakSizes:
    """The sizes of a scenario's parts, made to fit.

    Sizes that fit stay as they are. Else those that are free become smaller, and the others stay.

    Args:
        scenario: a leak scenario, with the usual sizes where they are free.
        free: the parts that may become smaller, `known` among them.
        available: training images.

    Raises:
        InputError: the others leave too few images.
    """
    sizes = scenario.leak
    assert sizes is not None
    # Each part of whole groups leaves some of its last group out. Of groups with more images than one erasure takes
    # more is left out, which only the images themselves say.
    aside = (len(PARTS) + 1) * (scenario.erased_count or 1) if scenario.erased == "group" else 0
    if _needed(scenario, sizes) <= available - aside:
        return sizes
    found = _shrunk(scenario, free, available - aside)
    if found is None and _needed(scenario, sizes) <= available:
        return sizes
    if found is None:
        raise InputError("scenario.leak", misfit(scenario, available))
    return found


def misfit(scenario: Scenario, available: int) -> str:
    """What is said of a leak scenario's sizes that need more than the `available` training images."""
    sizes = scenario.leak
    assert sizes is not None
    parts: tuple[str, ...] = PARTS
    without = ""
    if scenario.duplicates == "drop":
        parts, without = tuple(name for name in PARTS if name != "validation"), " without validation"
    summed = " + ".join(f"{name} {getattr(sizes, name)}" for name in parts)
    text = f"its parts need {_needed(scenario, sizes)} training images{without}, the dataset has {available}"
    found = _shrunk(scenario, (*PARTS, "known"), available)
    if found is not None:
        names = ("target", "known", *PARTS[1:])
        return f"{text}: {summed}; {', '.join(f'{name} {getattr(found, name)}' for name in names)} would fit"
    what = f"{scenario.targets} targets of {scenario.erased_count} images"
    return f"{text}: {summed}; no sizes fit {what}: lower targets or erased_count, or give more images"


def refuse_utility(scenario: Scenario, train: int, test: int) -> None:
    """Refuse a utility scenario that needs more images than there are.

    Args:
        train: training images.
        test: test images.

    Raises:
        InputError: names the sizes, and what would fit.
    """
    aside, wanted = scenario.validation or 0, scenario.train_size
    if aside >= train:
        what = f"{aside} of {train} training images; at most {train - 1} would fit, and the rest is trained on"
        raise InputError("scenario.validation", what)
    left = train - aside
    if wanted is not None and wanted > left:
        summed = f" (validation {aside} + train_size {wanted} of {train})" if aside else ""
        raise InputError("scenario.train_size", f"{wanted} of {left} training images{summed}; {left} would fit")
    if scenario.test_size is not None and scenario.test_size > test:
        what = f"{scenario.test_size} of {test} test images; {test} would fit"
        raise InputError("scenario.test_size", what)
    trained = wanted or left
    count = scenario.erased_count or round((scenario.erased_ratio or 0) * trained)
    if not 1 <= count < trained:
        key = "erased_count" if scenario.erased_count else "erased_ratio"
        what = f"erases {count} of {trained} training images; 1 to {trained - 1} can be erased"
        raise InputError(f"scenario.{key}", what)


def _needed(scenario: Scenario, sizes: LeakSizes) -> int:
    # Where copies are dropped, validation makes up for them (splits/world.py).
    return sizes.total - (sizes.validation if scenario.duplicates == "drop" else 0)


def _shrunk(scenario: Scenario, free: Collection[str], available: int) -> LeakSizes | None:
    """The sizes with free parts made smaller, or None where that is not enough."""
    usual, size = scenario.leak, scenario.erased_count
    assert usual is not None
    assert size is not None
    erased = scenario.targets * size
    fixed = {name: getattr(usual, name) for name in PARTS if name not in free}
    left = available - sum(fixed.values())
    known = max(10, 5 * size) if "known" in free else usual.known
    least = {"target": max(20, known + erased), "pool": 10, "validation": 0, "probe": 1,
             "spare": _COMPARED * erased * scenario.negatives}  # fmt: skip
    chosen = [name for name in PARTS if name in free]
    most = {name: getattr(usual, name) for name in chosen}
    found = share(left, {n: _SHARES[n] for n in chosen}, {n: min(least[n], most[n]) for n in chosen}, most)
    if found is None:
        return None
    values = {**fixed, **found, "known": usual.known}
    if "known" in free and values["target"] != usual.target:
        values["known"] = max(10, min(values["target"] * usual.known // usual.target, values["target"] - erased))
    return LeakSizes(**values) if values["known"] + erased <= values["target"] else None


def share(
    total: int, weights: Mapping[str, int], least: Mapping[str, int], most: Mapping[str, int]
) -> dict[str, int] | None:
    """Whole numbers in proportion to `weights`, within their bounds, that sum to at most `total`.

    Returns:
        None if the lower bounds alone are more than `total`.
    """
    if sum(most.values()) <= total:
        return dict(most)
    if sum(least.values()) > total:
        return None
    found: dict[str, int] = {}
    open_ = dict(weights)
    while open_:
        left, whole = total - sum(found.values()), sum(open_.values()) or 1
        parts = {name: left * weight // whole for name, weight in open_.items()}
        # What is too small is settled first: it takes from the others, some of which may then no longer be too large.
        settled = {name: least[name] for name, part in parts.items() if part < least[name]}
        settled = settled or {name: most[name] for name, part in parts.items() if part > most[name]} or parts
        found |= settled
        open_ = {name: weight for name, weight in open_.items() if name not in settled}
    return found
