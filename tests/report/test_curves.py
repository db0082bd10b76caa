"""ROC curves: known answers, what is left out, and the same file for the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from test_pictures import FakeCell

from unlearnbench.report.curves import curve, draw_curves
from unlearnbench.system.store import Artifact, Store


def answers(scores: Any, member: Any) -> Artifact:
    return Artifact({"membership": torch.as_tensor(scores, dtype=torch.float32), "member": torch.as_tensor(member)}, {})


def gaussian(seed: int, count: int, distance: float) -> Artifact:
    numbers = np.random.default_rng(seed).normal(size=2 * count)
    member = np.arange(2 * count) % 2 == 0
    return answers(numbers + distance * member, member)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    for number in range(3):
        made.put(f"k{number}", gaussian(number, 60, 1.0))
    made.put("members", answers([0.1, 0.2], [True, True]))
    made.put("none", Artifact({}, {}))
    return made


def cell(key: str, **changes: Any) -> Any:
    return FakeCell(stages={"attack": key}, **{"attack_id": "membership", **changes})


def test_gaussian_scores_have_the_closed_form() -> None:
    """Scores N(0,1) against N(d,1): TPR = Phi(d + z(FPR))."""
    found = curve([gaussian(seed, 20_000, 1.5) for seed in range(5)])
    assert found.seeds == 5
    assert found.rates[0] == pytest.approx(1 / 20_000)
    assert found.trusted == pytest.approx(10 / 20_000)
    sure = found.rates >= 1e-2
    np.testing.assert_allclose(found.found[sure], norm.cdf(1.5 + norm.ppf(found.rates[sure])), atol=0.01)


def test_a_perfect_attack_finds_all_and_a_constant_one_none_below_all() -> None:
    member = torch.arange(50) % 2 == 0
    assert (curve([answers(member.float(), member)]).found == 1).all()
    constant = curve([answers(torch.zeros(50), member)])
    assert (constant.found[:-1] == 0).all()
    assert constant.found[-1] == 1


def test_the_mean_is_over_seeds() -> None:
    member = torch.arange(40) % 2 == 0
    both = curve([answers(member.float(), member), answers(-member.float(), member)])
    assert both.found[0] == 0.5


def test_one_picture_for_each_attack_in_its_setting(store: Store, tmp_path: Path) -> None:
    cells = [cell("k0"), cell("k1", seed=1), cell("k2", method_id="vbu"), cell("k2", scenario_id="leak,beta=0")]
    first, second = draw_curves(cells, store, tmp_path)
    assert first.parent == tmp_path / "pictures"
    assert "_roc_" in first.name
    assert first.read_bytes() != second.read_bytes()
    assert draw_curves(cells, store, tmp_path) == []
    draw_curves(cells[:1], store, tmp_path / "again")
    again, other = draw_curves(cells, store, tmp_path / "again")  # with the seed and the method that came later
    assert (again.read_bytes(), other.read_bytes()) == (first.read_bytes(), second.read_bytes())


def test_what_has_no_two_sides_is_left_out(store: Store, tmp_path: Path) -> None:
    store.put("torn", gaussian(0, 10, 0))
    store.path("torn").write_bytes(b"half")
    cells = [cell("members"), cell("none"), cell("absent"), cell("torn"), cell("k0", attack_id=None),
             cell("k0", skip="needs more"), FakeCell(attack_id="membership", stages={})]  # fmt: skip
    assert draw_curves(cells, store, tmp_path) == []
    assert not (tmp_path / "pictures").exists()


def test_names_from_plugins_reach_neither_paths_nor_formulas(store: Store, tmp_path: Path) -> None:
    hostile = cell("k0", method_id="$\\frac{1}$\u202e", experiment="../../up", attack_id="a/$x^$")
    (path,) = draw_curves([hostile], store, tmp_path)
    assert path.parent == tmp_path / "pictures"
    assert not set(path.name) & set("/$^\\")
