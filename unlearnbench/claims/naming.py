"""Names of the quantities of a check."""

from __future__ import annotations

from collections.abc import Sequence

from unlearnbench.claims.model import ValueSelection


def quantity_names(chosen: Sequence[ValueSelection], known: ValueSelection) -> list[str]:
    """A name for each quantity, without what is `known` for all of them."""
    said = _parts(known)
    made = []
    for each in chosen:
        own = [text for name, text in _parts(each).items() if name == "method" or said.get(name) != text]
        made.append(" ".join([*([] if each.metric == chosen[0].metric else [f"{each.metric} of"]), *own]))
    return made


def _parts(selection: ValueSelection) -> dict[str, str]:
    """The parts of a selection in words, without the metric."""
    parts = {"method": str(selection.method)}
    mappings = (selection.dataset_params, selection.scenario, selection.params, selection.attack_params)
    for name, value in ((name, value) for mapping in mappings for name, value in mapping.items()):
        parts[name] = f"{name.split('.')[-1]}={value}"
    if selection.course is not None:
        course = selection.course
        end = "the end" if course.to is None else str(course.to)
        span = (
            f"at epoch {end}" if course.statistic == "at" else f"{course.statistic} of epochs {course.first} to {end}"
        )
        parts["course"] = f"({span})"
    return parts
