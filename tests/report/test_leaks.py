"""The page of what leaks: relative to retraining, and only what an interval shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from sample_records import judged, rows, write_cells

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.report.leaks import render
from unlearnbench.report.text_tables import NOTHING

RETRAIN = [0.50, 0.52, 0.51, 0.49, 0.50]


def board(tmp_path: Path, scores: dict[str, list[float]], metric: str = "auc", **other: Any) -> pd.DataFrame:
    made = []
    for method, values in scores.items():
        made += rows(method, metric, values, attack="membership", **other)
        made += judged(method, "remembered" if method == "lazy" else "forgotten", seeds=len(values))
    folder = write_cells(tmp_path / "records", made)
    return leaderboard.build(folder, tmp_path / "board")


def above(by: float) -> list[float]:
    return [value + by for value in RETRAIN]


def cells_of(page: str) -> dict[str, str]:
    """The cells of the only line of attacks, by method."""
    heads = page.split("| metric |")[1].splitlines()[0].strip(" |").split(" | ")
    return dict(zip(heads, line(page).strip(" |").split(" | ")[3:], strict=True))


def line(page: str, start: str = "| membership") -> str:
    return next(line for line in page.splitlines() if line.startswith(start))


def test_what_betrays_more_than_retraining_is_bold(tmp_path: Path) -> None:
    noisy = [0.3, 0.9, 0.5, 0.4, 0.6]
    page = render(board(tmp_path, {"retrain": RETRAIN, "crfu": above(0.2), "vbu": noisy, "hbu": above(-0.2)}))
    cells = cells_of(page)
    assert cells["crfu"].startswith("**0.70")
    assert "(+0.2 ± 0)" in cells["crfu"]
    assert "**" not in cells["vbu"] + cells["hbu"] + cells["retrain"]
    assert "(-0.2 ± 0)" in cells["hbu"]
    said = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if " 5/5 | " in line}
    assert said["crfu"].endswith("| 0.396 ± 0.011 membership | leaks |")
    assert said["vbu"].endswith("| no leak shown |")
    assert said["hbu"].endswith("| no leak shown |")
    assert said["retrain"].endswith(f"| {NOTHING} | reference |")


def test_without_retraining_the_trivial_attacker_is_the_bar(tmp_path: Path) -> None:
    page = render(board(tmp_path, {"crfu": above(0.2), "vbu": RETRAIN}))
    assert "*0.70" in line(page)
    assert "**" not in line(page)
    assert line(page).count("*") == 2


def test_two_seeds_show_nothing(tmp_path: Path) -> None:
    page = render(board(tmp_path, {"retrain": RETRAIN[:2], "crfu": above(0.2)[:2]}))
    assert "*" not in line(page)


def test_what_did_not_forget_is_marked(tmp_path: Path) -> None:
    page = render(board(tmp_path, {"retrain": RETRAIN, "lazy": above(0.3)}))
    assert "** †" in line(page)
    assert "†" not in cells_of(page)["retrain"]
    assert "| lazy | remembered 0/5 | " in page


def test_a_lower_klom_is_better_and_reported(tmp_path: Path) -> None:
    page = render(board(tmp_path, {"retrain": [0.1] * 5, "crfu": [2.0, 2.1, 2.2, 2.0, 2.1]}, metric="klom_erased"))
    assert "**2.08" in line(page)
    assert "klom" in page.split("## leak")[0]
    assert f"| crfu | forgotten 5/5 | -0.0024 ± 0.0048 | {NOTHING} | leaks |" in page


def test_text_from_records_stays_text(evil: pd.DataFrame) -> None:
    page = render(evil)
    assert "<script>" not in page
    assert "\x1b" not in page


def test_a_leaderboard_without_attacks_says_so(frame: pd.DataFrame) -> None:
    assert "No attack has been run." in render(frame[frame["attack"].isna()])


def test_what_failed_is_named_with_its_reason(frame: pd.DataFrame) -> None:
    assert "broken under ridge in leak on mnist, failed: ValueError: no" in render(frame).replace("\\", "")


def test_each_access_shows_its_strongest_attack_and_another_attack_can_only_raise_it(tmp_path: Path) -> None:
    def page(folder: str, attacks: dict[str, tuple[str, float]]) -> str:
        made = [row for method in ("retrain", "crfu") for row in judged(method, "forgotten", seeds=5)]
        for attack, (level, by) in attacks.items():
            scores = {"retrain": RETRAIN, "crfu": above(by)}
            for method, values in scores.items():
                made += rows(method, "auc", values, attack=attack, observation=level)
        folder_of = write_cells(tmp_path / folder / "records", made)
        return render(leaderboard.build(folder_of, tmp_path / folder / "board"))

    weak = {"membership": ("log_probabilities", 0.1), "label_only": ("label", 0.001)}
    first = page("first", weak)
    assert line(first, "| log probabilities").endswith("membership** |")
    assert line(first, "| label |").endswith("label\\_only |")
    assert first.index("| log probabilities") < first.index("| label |")  # from what shows most to what shows least
    second = page("second", {**weak, "weaker": ("log_probabilities", 0.05), "stronger": ("label", 0.3)})
    assert line(second, "| log probabilities") == line(first, "| log probabilities")
    assert line(second, "| label |").endswith("stronger** |")
