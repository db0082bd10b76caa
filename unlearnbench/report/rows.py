"""Rows of a leaderboard as mappings, and values that may be null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

LeaderboardRow = Mapping[str, Any]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a leaderboard, with None for null."""
    found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


def missing(value: Any) -> bool:
    """Whether a leaderboard has no value there."""
    import pandas as pd

    return bool(pd.isna(value))


def value(row: LeaderboardRow, name: str) -> Any:
    """A row's value; None for null, and where the column is missing."""
    found = row.get(name)
    return None if missing(found) else found
