"""Cells of a method's standing: whether it forgot and kept accuracy, its place, and how it compares with retraining."""

from __future__ import annotations

from collections.abc import Sequence

from unlearnbench.leaderboard.verdicts import Accuracy, Beside, Forgetting
from unlearnbench.metrics.intervals import MINIMUM
from unlearnbench.report import wording
from unlearnbench.report.rows import value
from unlearnbench.report.text_tables import format_column, format_value
from unlearnbench.site.cells import TableCell, empty, minus, state_of
from unlearnbench.site.rows import BoardRow
from unlearnbench.site.scenario_facts import facts_of

MEANINGS = {
    "rank": "place by the mean in its setting, among those that forgot and kept accuracy; "
    "≈ cannot be distinguished from the best",
    "forgot": "whether what is left of the original's memory is within the declared margin, compared with retrained"
    " models; for backdoors whether accuracy on the stamped images is under the threshold; seeds where it is, of seeds"
    " judged",
    "kept": "test accuracy compared with retraining: kept if within the declared margin, otherwise not ranked",
    "beside": "whether the attacker's advantage is within the declared margin of that on retraining",
}
"""The meaning of each column."""


def competes(row: BoardRow) -> bool:
    """Whether a contender may be ranked: it is not a reference, forgot, and kept accuracy."""
    return row.get("reference") is not True and has_forgotten(row) and row.get("utility") == Accuracy.KEPT.value


def has_forgotten(row: BoardRow) -> bool:
    """Whether the verdict is `forgotten`."""
    return bool(row.get("verdict") == Forgetting.FORGOTTEN.value)


def place(row: BoardRow) -> TableCell:
    """A place by the mean within one setting, or why there is none; ``≈`` if it cannot be distinguished from the best.

    Args:
        row: with `of`, how many have a place in its table, and `near`, how many of these cannot be distinguished from
            the best.
    """
    rank, metric = row.get("rank"), row.get("rank_metric")
    if rank is None:
        return empty(why_not_placed(row))
    near = bool(row.get("near_best")) and row["near"] > 1
    details = [f"place {int(rank)} of {row['of']} by the mean of {metric}"]
    if near:
        details.append(f"{row['near']} cannot be distinguished from one another at the top by paired tests over seeds")
    elif row["of"] > 1 and not row.get("near_best"):
        details.append("distinguished from the best by a paired test over seeds")
    if row.get("power") is not None:
        details.append(_power(row))
    return TableCell(f"{int(rank)}{'≈' if near else ''}", float(rank), tuple(details))


def forgot(row: BoardRow) -> TableCell:
    """The verdict on forgetting, with the number of seeds within the margin."""
    if state := state_of(row):
        return empty(state)
    text = wording.forgetting(row)
    details = [why for why in (_why_not_forgotten(row), wording.margins(row)) if why]
    met, of = value(row, "forgot_seeds"), value(row, "judged_seeds")
    share = None if not of else met / of
    if has_forgotten(row):
        details.insert(0, f"forgotten: {_seeds_met(row)}")
    return TableCell(text, share, tuple(details), "" if has_forgotten(row) else "null")


def kept(row: BoardRow) -> TableCell:
    """Accuracy compared with retraining's."""
    if state := state_of(row):
        return empty(state)
    apart, text = row.get("accuracy_to_retrain"), wording.accuracy(row)
    if apart is None:
        return TableCell(text, None, (_why_accuracy_open(row),), "null")
    details = (f"test accuracy minus retraining's, seed by seed: {_apart(row)}",)
    return TableCell(text, float(apart), details, "" if text == Accuracy.KEPT.value else "null")


def beside(row: BoardRow) -> TableCell:
    """How its leak compares with that of retraining."""
    found = row.get("beside_retrain")
    if found is None:
        why = "retraining itself" if row["method_id"] == "retrain" else "no retraining to compare with"
        return empty(state_of(row) or why)
    least, gap = row.get("power_for"), row.get("advantage_gap_retrain")
    words = {
        Beside.NO_WORSE.value: "is shown to be at most",
        Beside.WORSE.value: "is shown to be more than",
        Beside.OPEN.value: "is shown neither to be at most nor to be more than",
    }
    details = (
        f"the advantage {words.get(str(found), '')} {least:g} above that on retraining" if least is not None else "",
    )
    return TableCell(str(found), None if gap is None else float(gap), details)


def powers(rows: Sequence[BoardRow]) -> list[str]:
    """The power of the tests in some tables, one line per ranking metric and margin."""
    found: dict[tuple[str, float], list[float]] = {}
    seen = set()
    for row in rows:
        if row.get("power") is not None and row["table"] not in seen:
            seen.add(row["table"])
            found.setdefault((row["rank_metric"], float(row["power_for"])), []).append(float(row["power"]))
    lines = []
    for (metric, least), each in found.items():
        low, high = f"{min(each):.2f}", f"{max(each):.2f}"
        between = low if low == high else f"{low} to {high}, by setting"
        lines.append(
            f"Power: a difference of {least:g} in {metric} to the best is detected with probability {between}."
        )
    return lines


def why_not_placed(row: BoardRow) -> str:
    """Why a contender has no place, in words."""
    if state := state_of(row):
        return f"not ranked: {state}"
    if row.get("reference") is True:
        return "not ranked: a reference, not a contender"
    if not has_forgotten(row):
        why = _why_not_forgotten(row)
        return why if why.startswith("not judged") else f"not ranked: {why}"
    utility = row.get("utility")
    if utility == Accuracy.BELOW.value:
        return "not ranked: accuracy below the floor"
    if utility != Accuracy.KEPT.value:
        return f"not ranked: {_why_accuracy_open(row)}"
    if row.get("rank_metric") is None:
        return "not ranked: nothing to rank by was measured"
    return f"not ranked: fewer than {_words(MINIMUM)} seeds of {row['rank_metric']}"


def _why_not_forgotten(row: BoardRow) -> str:
    """The verdict as a clause; empty if it forgot."""
    verdict = row.get("verdict")
    if verdict in (None, Forgetting.NOT_JUDGED.value):
        return f"not judged: {_why_not_judged(row)}"
    if verdict == Forgetting.FORGOTTEN.value:
        return ""
    if verdict == Forgetting.BEFORE.value:
        return str(verdict)
    if verdict == Forgetting.NOTHING.value:
        return f"{verdict}: that the original remembers the erased images is not shown"
    few = row.get("judged_seeds")
    if few is not None and few < MINIMUM:
        return f"fewer than {_words(MINIMUM)} seeds to judge forgetting by"
    what = "cannot be told whether it forgot" if verdict == Forgetting.OPEN.value else str(verdict)
    return f"{what} ({_seeds_met(row)})"


def _why_not_judged(row: BoardRow) -> str:
    setting = facts_of(row["scenario"])
    if row.get("accuracy") is None:
        return "its models were not measured without an attack"
    if setting.stamped:
        return "accuracy on the stamped images was not measured"
    most = "" if setting.largest_retraining is None else f" ({setting.largest_retraining})"
    return f"one retraining passes over more images than judging.largest_retraining{most}"


def _why_accuracy_open(row: BoardRow) -> str:
    if row.get("utility") == Accuracy.OPEN.value:
        return f"cannot be told whether accuracy is kept ({_apart(row)} beside retraining)"
    return "accuracy not judged: no retraining to compare with"


def _apart(row: BoardRow) -> str:
    return minus(format_column(row, "accuracy_to_retrain"))


def _seeds_met(row: BoardRow) -> str:
    where = "under the threshold" if facts_of(row["scenario"]).stamped else "within the margin"
    return f"{int(row['forgot_seeds'])} of {int(row['judged_seeds'])} seeds {where}"


def _power(row: BoardRow) -> str:
    least = format_value(row["power_for"])
    return f"a difference of {least} to the best is detected with probability {row['power']:.2f}"


def _words(number: int) -> str:
    return {2: "two", 3: "three"}.get(number, str(number))
