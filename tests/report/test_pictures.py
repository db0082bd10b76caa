"""Galleries: one for each attack in its setting, with what was erased, every method's row and the mean image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.report.pictures import draw_galleries
from unlearnbench.system.store import Artifact, Store


@dataclass(frozen=True)
class FakeCell:
    """What galleries read of a cell."""

    method_id: str = "crfu"
    seed: int = 0
    attack_id: str | None = "update_leak"
    scenario_id: str = "leak,beta=0.1"
    experiment: str = "leak"
    dataset_shown: str = "digits"
    skip: str | None = None
    beta: float = 0.1
    stages: dict[str, str] = field(default_factory=lambda: {"attack": "k0"})

    @property
    def setting(self) -> Any:
        return SimpleNamespace(scenario=SimpleNamespace(beta=self.beta))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    for number in range(4):
        rebuilt = torch.full((5, 1, 1, 8, 8), number / 4)
        tensors = {"rebuilt": rebuilt, "true": torch.ones(5, 1, 1, 8, 8), "mean": torch.zeros(1, 8, 8)}
        made.put(f"k{number}", Artifact(tensors, {}))
    made.put("none", Artifact({}, {}))
    return made


def cell(number: int, **changes: Any) -> Any:
    return replace(FakeCell(stages={"attack": f"k{number}"}), **changes)


def pixels(path: Path) -> Any:
    from matplotlib.image import imread

    return imread(path)


def test_methods_and_betas_share_a_gallery_and_attacks_do_not(store: Store, tmp_path: Path) -> None:
    cells = [
        cell(0),
        cell(1, method_id="vbu"),
        cell(2, beta=0.0, scenario_id="leak,beta=0"),
        cell(3, attack_id="representation"),
        cell(3, seed=1),
    ]
    first, second = draw_galleries(cells, store, tmp_path)
    assert [path.parent.name for path in (first, second)] == ["pictures", "pictures"]
    tall, short = pixels(first), pixels(second)
    assert tall.shape[0] > short.shape[0]  # five rows and three
    levels = {round(float(value), 2) for value in np.unique(tall[..., 0])}
    assert {0.25, 0.5} <= {round(level * 4) / 4 for level in levels}


def test_a_picture_is_drawn_when_it_lacks_an_answer_that_is_there(store: Store, tmp_path: Path) -> None:
    both = [cell(0), cell(1, method_id="vbu"), cell(3, attack_id="representation")]
    first, second = draw_galleries(both, store, tmp_path / "all")
    assert draw_galleries(both, store, tmp_path / "all") == []
    # As a run that is killed and goes on leaves them: one computed after the other, whoever did it.
    draw_galleries(both[:1], store, tmp_path / "one")
    drawn, other = draw_galleries(both, store, tmp_path / "one")
    assert (drawn.name, drawn.read_bytes()) == (first.name, first.read_bytes())
    assert other.read_bytes() == second.read_bytes()
    second.unlink()
    first.write_bytes(first.read_bytes()[:40])
    assert draw_galleries(both, store, tmp_path / "all") == [first, second]
    assert (first.read_bytes(), second.read_bytes()) == (drawn.read_bytes(), other.read_bytes())


def test_what_was_drawn_outlives_the_store(store: Store, tmp_path: Path) -> None:
    both = [cell(0), cell(1, method_id="vbu")]
    (path,) = draw_galleries(both, store, tmp_path)
    before = path.read_bytes()
    store.discard("k1")
    assert draw_galleries(both, store, tmp_path) == []
    assert path.read_bytes() == before


def test_what_can_not_be_drawn_is_said_and_stops_no_other(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put(
        "odd", Artifact({"rebuilt": torch.zeros(5, 1, 7, 8, 8), "true": torch.ones(3), "mean": torch.ones(1)}, {})
    )
    cells = [cell(0, stages={"attack": "odd"}, attack_id="first"), cell(1, attack_id="second")]
    none, path = draw_galleries(cells, store, tmp_path)
    assert none is None
    assert path.is_file()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"not drawn: {tmp_path}/pictures/leak_digits_first_")
    assert [each.name for each in (tmp_path / "pictures").iterdir()] == [path.name]


def test_the_same_numbers_give_the_same_file(store: Store, tmp_path: Path) -> None:
    (first,) = draw_galleries([cell(0)], store, tmp_path / "a")
    (second,) = draw_galleries([cell(0)], store, tmp_path / "b")
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())


def test_names_from_plugins_reach_neither_paths_nor_formulas(store: Store, tmp_path: Path) -> None:
    hostile = cell(0, method_id="$\\frac{1}$\u202e", experiment="../../up", attack_id="a/$x^$")
    (path,) = draw_galleries([hostile], store, tmp_path)
    assert path.parent == tmp_path / "pictures"
    assert not set(path.name) & set("/$^\\")


def test_colour_images_are_drawn(store: Store, tmp_path: Path) -> None:
    colour = torch.zeros(4, 1, 3, 8, 8)
    colour[:, :, 0] = 1
    store.put("red", Artifact({"rebuilt": colour, "true": colour.clone(), "mean": colour[0, 0].clone()}, {}))
    (path,) = draw_galleries([cell(0, stages={"attack": "red"})], store, tmp_path)
    picture = pixels(path)
    assert bool(((picture[..., 0] == 1) & (picture[..., 1] == 0)).any())


def test_cells_without_rebuilt_images_are_left_out(store: Store, tmp_path: Path) -> None:
    cells = [
        cell(0, stages={"attack": "none"}), cell(0, stages={"attack": "absent"}), cell(0, attack_id=None),
        cell(0, skip="needs more"), cell(0, stages={}),
    ]  # fmt: skip
    store.path("k1").write_bytes(b"half")
    assert draw_galleries([*cells, cell(1)], store, tmp_path) == []
    assert not (tmp_path / "pictures").exists()
