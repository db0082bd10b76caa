"""Verdicts and names in words, as titles, tables and pages show them."""

from __future__ import annotations

import re

from unlearnbench.leaderboard.verdicts import Accuracy, Forgetting
from unlearnbench.report.rows import LeaderboardRow, value

_KEY = re.compile(r"(?<![\w.])([A-Za-z_][\w.]*)=")  # of a setting; starts at a word, or long words take quadratic time
_JOINT = re.compile(r"(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])")
_COMMA = re.compile(r",(?! )")

SHORT = {Forgetting.BEFORE.value: "before protocol 2"}


def forgetting(row: LeaderboardRow) -> str:
    """``forgotten 10/10``: the verdict, and the number of seeds within the margin, of the judged seeds."""
    verdict, met, judged = (value(row, name) for name in ("verdict", "forgot_seeds", "judged_seeds"))
    if verdict is None:
        return Forgetting.NOT_JUDGED.value
    text = SHORT.get(verdict, str(verdict))
    return text if judged is None else f"{text} {int(met)}/{int(judged)}"


def accuracy(row: LeaderboardRow) -> str:
    """``kept``, ``below the floor``: accuracy compared with retraining's."""
    found = value(row, "utility")
    return Accuracy.NOT_JUDGED.value if found is None else str(found)


def margins(row: LeaderboardRow) -> str:
    """The verdicts under half and double the declared margins, where they differ."""
    words = []
    for name, label in (("verdict", ""), ("utility", "accuracy ")):
        own = value(row, name)
        for end, factor in (("half", "half"), ("double", "double")):
            other = value(row, f"{name}_{end}")
            if own is not None and other is not None and other != own:
                words.append(f"{label}{other} under {factor} the margin")
    return "; ".join(words)


def in_words(name: str) -> str:
    """The name of an experiment, a scenario, a method or an attack in words, for titles.

    ``leak,erased_count=1,stop.steps=5`` is ``leak, erased count 1, stop steps 5``, and ``update_leak[tier=same]`` is
    ``update leak (tier same)``.
    """
    head, bracket, settings = name.partition("[")
    if bracket and "=" not in head and name.endswith("]"):
        name = f"{head} ({settings[:-1]})"
    words = _KEY.sub(lambda key: f"{key[1].replace('.', ' ')} ", name)
    return _COMMA.sub(", ", _JOINT.sub(" ", words))
