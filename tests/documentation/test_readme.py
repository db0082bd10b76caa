"""README's tables are those of a run of the suite that it tells its readers to run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkout import ROOT
from readme_tables import cells, shown, tables
from tiny_runs import finish, start

SUITE = str(ROOT / "suites" / "quickstart.yaml")
SURE = {
    ("utility", "retrain"): "reference",
    ("utility", "original"): "reference: remembered",
    ("utility", "crfu[beta_u=1]"): "below the floor",
    ("utility", "renew[steps=160]"): "passes",
    ("leak", "retrain"): "reference",
    ("leak", "original"): "reference: remembered, no leak shown",
    ("leak", "renew[steps=160]"): "no leak shown",
}
"""Verdicts that do not hang on the rounding of one machine."""


def test_the_verdicts_that_the_readme_shows() -> None:
    found = cells(shown())
    assert {key: found[key]["verdict"] for key in SURE} == SURE
    assert "below the floor" in found["leak", "crfu"]["verdict"]


@pytest.mark.docs
def test_a_run_gives_the_readmes_tables(tmp_path: Path) -> None:
    """The same methods and sure verdicts; numbers may differ by rounding that training made more of, well within their
    intervals."""
    ran = finish(start(tmp_path, "--jobs", "2", engine="loky", suite=SUITE), timeout=900)
    assert ran.code == 0, ran.err
    there, here = cells(shown()), cells(tables(tmp_path / "results" / "quickstart"))
    assert set(there) == set(here)
    assert {key: here[key]["verdict"] for key in SURE} == SURE
    for key, row in there.items():
        for column, text in row.items():
            if (number := _number(text)) is not None:
                middle, half = number
                found = _number(here[key][column])
                assert found is not None, (key, column)
                assert abs(found[0] - middle) <= half, (key, column, text, here[key][column])


def _number(text: str) -> tuple[float, float] | None:
    """``0.42 ± 0.03`` at the start of a cell."""
    found = re.match(r"(-?[\d.]+) ± ([\d.]+)", text)
    return None if found is None else (float(found.group(1)), float(found.group(2)))
