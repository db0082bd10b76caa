"""The leaderboard as files in a result folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearnbench.leaderboard import build
from unlearnbench.report.markdown import render
from unlearnbench.system.parquet_files import write_atomically


def write_leaderboard(records_folder: Path, out_folder: Path) -> pd.DataFrame:
    """Write leaderboard.parquet and leaderboard.md from a folder of record files; arguments as `build.build`."""
    frame = build.build(records_folder, out_folder)
    write_atomically(out_folder / "leaderboard.md", render(frame).encode())
    return frame
