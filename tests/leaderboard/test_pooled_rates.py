"""Rates at few errors over all seeds, in the leaderboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sample_records import rows, write_cells

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.report.tables import tables


def board(folder: Path, seeds: int, negatives: int) -> pd.DataFrame:
    """`crfu` finds half of the erased images at once, `retrain` none."""
    generator = np.random.default_rng(0)
    made = []
    for method, found in (("crfu", 0.5), ("retrain", 0.0)):
        for row in rows(method, "auc", [0.6] * seeds, attack="membership"):
            unseen = generator.random(negatives)
            erased = np.where(np.arange(20) < 20 * found, 2.0, 0.0)
            made.append({**row, "scores_erased": erased.tolist(), "scores_unseen": unseen.tolist(),
                         "n_samples": 20 + negatives})  # fmt: skip
    return leaderboard.build(write_cells(folder / "records", made), folder / "board").set_index("method_id")


def test_ten_seeds_of_100_never_seen_images_give_a_rate_at_1_percent(tmp_path: Path) -> None:
    frame = board(tmp_path, 10, 100)
    assert frame.loc["crfu", "tpr_at_1pct_fpr"] == 0.5
    assert frame.loc["crfu", "tpr_at_1pct_fpr_n"] == 10
    assert 0.35 < frame.loc["crfu", "tpr_at_1pct_fpr_low"] < 0.5 < frame.loc["crfu", "tpr_at_1pct_fpr_high"] < 0.65
    assert frame.loc["crfu", "tpr_at_1pct_fpr_gap_retrain"] == 0.5
    assert frame.loc["crfu", "tpr_at_1pct_fpr_gap_trivial"] == pytest.approx(0.49)
    assert frame.loc["retrain", "tpr_at_1pct_fpr"] == 0.0
    assert "tpr_at_0_1pct_fpr" not in frame or frame["tpr_at_0_1pct_fpr"].isna().all()
    assert "1000 never-seen images over 10 seeds" in frame.loc["crfu", "rates_note"]


def test_too_few_never_seen_images_give_no_rate_and_the_reason(tmp_path: Path) -> None:
    frame = board(tmp_path, 3, 24)
    assert "tpr_at_1pct_fpr" not in frame or frame["tpr_at_1pct_fpr"].isna().all()
    assert "72 never-seen images over 3 seeds; 10 false alarms need 1000" in frame.loc["crfu", "rates_note"]
    (table, *_) = tables(frame.reset_index())
    assert any("72 never-seen images over 3 seeds" in line for line in table.legend)
