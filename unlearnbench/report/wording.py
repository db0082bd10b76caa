"""Verdicts in words, as tables and pages show them."""

from __future__ import annotations

from unlearnbench.leaderboard.verdicts import Accuracy, Forgetting
from unlearnbench.report.rows import LeaderboardRow, value

SHORT = {Forgetting.BEFORE.value: "before protocol 2"}


def forgetting(row: LeaderboardRow) -> str:
    """``forgotten 10/10``: the verdict, and in how many of the judged seeds what is left lies within the margin."""
    verdict, met, judged = (value(row, name) for name in ("verdict", "forgot_seeds", "judged_seeds"))
    if verdict is None:
        return Forgetting.NOT_JUDGED.value
    text = SHORT.get(verdict, str(verdict))
    return text if judged is None else f"{text} {int(met)}/{int(judged)}"


def accuracy(row: LeaderboardRow) -> str:
    """``kept``, ``below the floor``: accuracy beside retraining's."""
    found = value(row, "utility")
    return Accuracy.NOT_JUDGED.value if found is None else str(found)


def margins(row: LeaderboardRow) -> str:
    """What the verdicts would be under half and double of the declared margins; empty where they are the same."""
    words = []
    for name, label in (("verdict", ""), ("utility", "accuracy ")):
        own = value(row, name)
        for end, factor in (("half", "half"), ("double", "double")):
            other = value(row, f"{name}_{end}")
            if own is not None and other is not None and other != own:
                words.append(f"{label}{other} under {factor} the margin")
    return "; ".join(words)
