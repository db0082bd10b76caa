"""A paper's printed numbers, looked up like measured ones: exact, without seeds."""

from __future__ import annotations

from unlearnbench.claims.model import ValueSelection
from unlearnbench.claims.reported import Column, Published, Reported
from unlearnbench.claims.values import Values
from unlearnbench.metrics.catalog import METRICS

ABSENT = "not in the paper's tables"

_MAPPINGS = ("params", "attack_params", "scenario", "dataset_params")


class PrintedValues:
    """The numbers of a file of reported numbers."""

    def __init__(self, reported: Reported) -> None:
        self._reported = reported

    def values(self, selection: ValueSelection, dataset: str) -> Values:
        """The one number in the paper's tables that a selection names."""
        found = self._find(selection, dataset)
        if isinstance(found, str):
            return Values(reason=found)
        return Values({0: found[1]}, is_printed=True)

    def trivial(self, selection: ValueSelection, dataset: str) -> Values:
        """The score of an attacker who looks at no output, on the scale of the table."""
        found = self._find(selection, dataset)
        if isinstance(found, str):
            return Values(reason=found)
        known = METRICS[str(selection.metric)].trivial
        number = found[0].trivial.get(dataset, known if isinstance(known, float) else None)
        if number is None:
            return Values(reason=f"no trivial attacker on the scale of {selection.metric}")
        return Values({0: number}, is_printed=True)

    def _find(self, selection: ValueSelection, dataset: str) -> tuple[Column, float] | str:
        fitting: list[tuple[Published, Column, float]] = []
        for published in self._reported.published:
            for column in published.columns:
                for row, number in zip(published.rows, column.reported.get(dataset, ()), strict=False):
                    if number is not None and _is_of(published.selection(row, column), selection, dataset):
                        fitting.append((published, column, number))
        if not fitting:
            return ABSENT
        if len(fitting) > 1:
            return f"{len(fitting)} of the paper's numbers fit: the selection is ambiguous"
        published, column, number = fitting[0]
        return published.undecided or (column, number)


def _is_of(shown: ValueSelection, wanted: ValueSelection, dataset: str) -> bool:
    """Whether a table's cell is the wanted quantity: it declares every value that is asked for."""
    named = all(getattr(shown, name) == getattr(wanted, name) for name in ("method", "attack", "metric", "course"))
    if not named or shown.experiment_on(dataset) != wanted.experiment_on(dataset):
        return False
    return all(
        key in getattr(shown, name) and getattr(shown, name)[key] == value
        for name in _MAPPINGS
        for key, value in getattr(wanted, name).items()
    )
