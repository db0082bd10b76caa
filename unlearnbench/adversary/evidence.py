"""Evidence on its way from an attack's process: JSON and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unlearnbench.adversary.updates import Evidence, Measured

SUBJECTS = ("erased", "challenge", "remaining")
TENSORS = ("images", "label_scores", "membership", "baseline")


class EvidenceError(Exception):
    """Evidence of the wrong types or shapes, or with values that are not finite: an error of the plugin."""


def checked(returned: object, attack: str) -> Evidence:
    """What an attack returned, after checking the types of its parts.

    Raises:
        EvidenceError: it is not evidence, or a part has another type.
    """
    if not isinstance(returned, Evidence):
        raise EvidenceError(f"attack {attack} returned {type(returned).__name__}, not Evidence")
    for name in TENSORS:
        value = getattr(returned, name)
        if value is not None and not isinstance(value, Tensor):
            raise EvidenceError(f"evidence.{name} is {type(value).__name__}, not a tensor")
    if returned.subject not in SUBJECTS:
        raise EvidenceError(f"evidence.subject is {returned.subject!r}, not one of {', '.join(SUBJECTS)}")
    return returned


def packed(evidence: Evidence) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Checked evidence for `wire.send`. Raises EvidenceError for metrics that are not numbers."""
    try:
        threshold = None if evidence.threshold is None else float(evidence.threshold)
        metrics = {str(name): _numbers(Measured.of(value)) for name, value in evidence.metrics.items()}
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EvidenceError(f"evidence.metrics or evidence.threshold: {error}") from error
    tensors = {name: value for name in TENSORS if (value := getattr(evidence, name)) is not None}
    return {"threshold": threshold, "metrics": metrics, "subject": evidence.subject}, tensors


def unpacked(text: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Evidence:
    """The evidence in a message from an untrusted process. Raises EvidenceError for what `packed` can't have made."""
    if not set(tensors) <= set(TENSORS):
        raise EvidenceError("evidence with unknown parts")
    try:
        metrics = {str(name): Measured(*_numbers(Measured(*given))) for name, given in text["metrics"].items()}
        threshold = None if text["threshold"] is None else float(text["threshold"])
        found = Evidence(threshold=threshold, subject=text["subject"], metrics=metrics, **tensors)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise EvidenceError(f"evidence that can't be read: {error}") from error
    return checked(found, "")


def _numbers(given: Measured) -> tuple[float, int, float | None, float | None]:
    low, high = (None if bound is None else float(bound) for bound in (given.low, given.high))
    return float(given.value), int(given.n), low, high
