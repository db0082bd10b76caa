"""`import unlearnbench`: few names, imported when they are used, and typed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from checkout import ROOT

import unlearnbench as ub


def test_every_name_is_there_and_documented() -> None:
    assert 7 <= len(ub.__all__) <= 12
    for name in ub.__all__:
        value = getattr(ub, name)
        assert name in dir(ub)
        assert isinstance(value, str | int) or value.__doc__, name
    page = (ROOT / "docs" / "reference" / "library.md").read_text(encoding="utf-8")
    assert [name for name in ub.__all__ if f"`{name}`" not in page and f".{name}\n" not in page] == []


def test_importing_loads_nothing_heavy() -> None:
    program = """
import sys, time
started = time.perf_counter()
import unlearnbench as ub
took = time.perf_counter() - started
heavy = {"torch", "numpy", "pandas", "pyarrow", "pydantic", "yaml", "typer", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
assert "run" in dir(ub)
assert took < 0.5, took
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'unlearnbench' has no attribute 'rnu'"):
        _ = ub.rnu  # type: ignore[attr-defined]


def test_type_checkers_see_the_names() -> None:
    """mypy reads the imports that are for types only: each name that is looked up lazily stands there."""
    lines = (ROOT / "unlearnbench" / "__init__.py").read_text(encoding="utf-8").splitlines()
    for name, place in ub._PLACES.items():
        found = [line for line in lines if line.startswith(f"    from {place} import ") and name in line]
        assert len(found) == 1, name
