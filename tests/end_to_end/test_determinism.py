"""Whatever runs a suite, its records are the same; other numbers of models at a time change the last bits only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Place, rows, write_suite

METHODS = "vbu, crfu, hbu: {curvature_images: 8, solver_steps: 2}"
ATTACKS = "membership: {shadows: 16}, update_leak: {shadows: 16, epochs: 3}, representation: {epochs: 1}"
TOLERANCE = 0.05  # of a metric after a few steps: rounding grows while models train
ENGINES = {"one": ("loky", "1"), "two": ("loky", "2"), "cluster": ("dask", "2")}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


@pytest.mark.faults
def test_every_engine_writes_the_same_records(place: Place) -> None:
    write_suite(place.folder, METHODS, ATTACKS, seeds=2)
    assert place.run("--results", "serial", "--cache", "serial-cache").code == 0
    expected = rows(place.folder / "serial")
    assert len({row["cell_key"] for row in expected}) == 5 * 4 * 2
    for name, (engine, jobs) in ENGINES.items():
        ran = place.run("--results", name, "--cache", f"{name}-cache", "--jobs", jobs, engine=engine)
        assert ran.code == 0, ran.err
        assert rows(place.folder / name) == expected, name


@pytest.mark.faults
def test_other_numbers_of_models_at_a_time_change_the_last_bits_only(place: Place) -> None:
    write_suite(place.folder, METHODS, ATTACKS)
    found = {}
    for replicas in ("1", "3", "64"):
        ran = place.run("--set", f"replicas={replicas}", "--results", replicas)
        assert ran.code == 0, ran.err
        found[replicas] = _values(rows(place.folder / replicas))
    for replicas in ("1", "3"):
        assert found[replicas].keys() == found["64"].keys()
        for what, value in found[replicas].items():
            other = found["64"][what]
            assert (value is None) == (other is None), what
            # With two targets a metric of ranks jumps by a whole image.
            if value is not None and what[-1] in ("mse", "accuracy", "kld_to_prior", "erased_accuracy"):
                assert math.isclose(value, other, abs_tol=TOLERANCE), (what, value, other)


def _values(found: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], float | None]:
    named = {}
    for row in found:
        observed = json.dumps([row["observation"], row["tier"]])
        named[row["method_id"], row["attack_id"], observed, row["seed"], row["step"], row["metric"]] = row["value"]
    return named
