"""`attack`: one attack on what one method does to a model that somebody else made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_runs import write_method
from torch import Tensor, nn
from torch.nn import functional as F

import unlearnbench as ub
from unlearnbench.datasets.digits import Digits


def images(first: int, last: int) -> tuple[Tensor, Tensor]:
    """Digits u8[n, 1, 8, 8] and their labels."""
    data = Digits().load(Path()).train
    return data.pixels[first:last], data.labels[first:last]


PARTS = {"erased": images(0, 30), "remaining": images(30, 300), "unseen": images(300, 1_000)}
SMALL = {"shadows": 20}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Trained on what is erased and what remains."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    pixels, labels = (torch.cat(pair) for pair in zip(PARTS["erased"], PARTS["remaining"], strict=True))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(network(pixels / 255), labels).backward()
        optimiser.step()
    return network.eval()


def attack(model: nn.Module, name: str = "membership", method: str = "gradient_ascent", **options: Any) -> pd.DataFrame:
    options = {"params": SMALL, **options} if name == "membership" else options
    return ub.attack(name, method, model, *(options.pop(part, at) for part, at in PARTS.items()), **options)


def test_gradient_ascent_betrays_whom_it_erased(model: nn.Module) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = attack(model, steps=10)
    assert found.index.name == "metric"
    assert list(found.columns) == ["value", "low", "high", "n"]
    assert 0.5 < found.loc["auc", "low"] < found.loc["auc", "value"] < found.loc["auc", "high"]
    assert found.loc["auc", "n"] == 60  # 30 erased images and as many never seen
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_method_that_does_nothing_betrays_nothing(model: nn.Module, tmp_path: Path) -> None:
    write_method(tmp_path, "idle")
    found = attack(model, method="idle", plugins=tmp_path)
    assert 0.25 < found.loc["auc", "value"] < 0.75


def test_the_same_call_gives_the_same_numbers_and_leaves_random_state_alone(model: nn.Module) -> None:
    state = torch.get_rng_state()
    first, second = attack(model, steps=3), attack(model, steps=3)
    pd.testing.assert_frame_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_attack_that_knows_members_is_scored_on_images_that_no_erasure_touches(model: nn.Module) -> None:
    found = attack(model, "blind")  # from pixels alone: nothing to find
    low, high = found.loc["auc", ["low", "high"]]
    assert low < 0.5 < high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "likelihood_ratio"}, "attack: likelihood_ratio needs models that are trained from scratch"),
        ({"name": "representation"}, "attack: representation with these params sees representations, which a plain"),
        ({"method": "crfu"}, "method: crfu needs posterior"),
        ({"method": "renew"}, "method: renew makes fresh models, which can't be made of a given one"),
        ({"method": "bad_teacher"}, "method: bad_teacher makes fresh models"),
        ({"method": 3}, "method: must be the name of a method, not int"),
        ({"params": [1]}, "params: must be a mapping of names to values, not list"),
        ({"erased": [1, 2]}, "erased: must be images"),
        ({"method": "retrain"}, "method: retrain is a reference of suites"),
        ({"name": "menbership"}, "unknown attack 'menbership'; did you mean 'membership'"),
        ({"params": {"shadow": 3}}, "params.shadow: unknown key 'shadow'; did you mean 'shadows'"),
        ({"steps": 0}, "steps: must be greater than or equal to 1, not 0"),
        ({"unseen": images(300, 320)}, "unseen: 20 images; give 50 at least"),
        ({"remaining": images(30, 50)}, "remaining: 20 images; give 40 at least"),
        ({"unseen": images(200, 900)}, "unseen: image .*, never seen .*, is identical to image .*; leave copies out"),
        ({"unseen": (PARTS["unseen"][0][:60], torch.zeros(60, dtype=torch.int64))}, "unseen: .*; give more of them"),
    ],
)  # fmt: skip
def test_what_can_not_be_attacked_is_one_line(model: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ub.InputError, match=message):
        attack(model, **options)
