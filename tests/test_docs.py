"""The numbers in the documentation are those of the published records."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearnbench import leaderboard

ROOT = Path(__file__).parent.parent
SHARES = ("accuracy", "other_classes_accuracy", "target_class_accuracy", "backdoor_accuracy", "backdoor_success")
HEAD = """\
| method | test accuracy | without class 2 | class 2 | backdoor, training | backdoor, test | steps | images |
|---|---|---|---|---|---|---|---|
"""


def percent(row: pd.Series, metric: str) -> str:
    return f"{100 * row[metric]:.2f} ± {100 * (row[f'{metric}_high'] - row[metric]):.2f}"


def table_of_methods(results: Path) -> str:
    """Table 3's scenario as docs/methods.md shows it: the most accurate first."""
    board = leaderboard.read(results / "leaderboard.parquet")
    rows = board[(board["experiment"] == "table3") & board["attack"].isna()].sort_values("accuracy", ascending=False)
    assert (rows["n_seeds"] == 5).all()
    lines = [
        f"| {row['method_id']} | {' | '.join(percent(row, metric) for metric in SHARES)}"
        f" | {row['gradient_steps']:,.0f} | {row['samples_processed']:,.0f} |"
        for _, row in rows.iterrows()
    ]
    return HEAD + "\n".join(lines) + "\n"


LEAK_HEAD = """\
| erased | method | AUC | minus retraining | test accuracy | forgot |
|---|---|---|---|---|---|
"""


def table_of_leaks(results: Path) -> str:
    """Membership AUC beside retraining's, as docs/methods.md shows it."""
    board = leaderboard.read(results / "leaderboard.parquet")
    lines = []
    for count in (9, 64):
        rows = board[(board["experiment"] == f"leak_{count}") & (board["attack"] == "membership")]
        for method in ("retrain", "renew", "crfu", "original"):
            row = rows[rows["method_id"] == method].iloc[0]
            gap = row["auc_gap_retrain"], row["auc_gap_retrain_low"], row["auc_gap_retrain_high"]
            difference = "" if pd.isna(gap[0]) else f"{gap[0]:+.3f} ({gap[1]:+.3f} to {gap[2]:+.3f})"
            shown = f"{row['auc']:.3f} | {difference} | {100 * row['accuracy']:.1f} | {row['forgot']:.2f}"
            lines.append(f"| {count} | {method} | {shown} |")
    return LEAK_HEAD + "\n".join(lines) + "\n"


def test_the_table_of_leaks_is_the_leaderboard_of_the_zoo() -> None:
    expected = table_of_leaks(ROOT / "results" / "zoo")
    assert expected in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), f"docs/methods.md:\n{expected}"


def test_the_table_of_methods_is_the_leaderboard_of_the_zoo() -> None:
    expected = table_of_methods(ROOT / "results" / "zoo")
    assert expected in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), f"docs/methods.md:\n{expected}"
