"""scikit-learn's digits: sizes, grey values, the fixed split."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from unlearnbench.datasets._assemble import fixed_order
from unlearnbench.datasets.digits import Digits
from unlearnbench.system.errors import InputError


def test_digits_have_their_sizes_and_every_id_once(tmp_path: Path) -> None:
    data = Digits().load(tmp_path)
    assert data.train.pixels.shape == (1437, 1, 8, 8)
    assert data.test.pixels.shape == (360, 1, 8, 8)
    assert data.train.pixels.dtype == torch.uint8
    assert data.train.labels.dtype == data.train.ids.dtype == torch.int64
    assert data.classes == 10
    assert torch.cat([data.train.ids, data.test.ids]).tolist() == list(range(1797))
    assert set(data.train.labels.tolist()) == set(data.test.labels.tolist()) == set(range(10))


def test_digits_grey_values_are_spread_over_a_byte(tmp_path: Path) -> None:
    data = Digits().load(tmp_path)
    values = torch.cat([data.train.pixels.flatten(), data.test.pixels.flatten()]).unique()
    assert values.tolist() == [round(value * 255 / 16) for value in range(17)]


def test_digits_are_all_of_sklearns_images_with_their_labels(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    data = Digits().load(tmp_path)
    sums = torch.cat([data.train.pixels, data.test.pixels]).flatten(1).double() @ torch.arange(64.0).double()
    ours = sorted(zip(sums.tolist(), torch.cat([data.train.labels, data.test.labels]).tolist(), strict=True))
    source = load_digits()
    theirs = np.round(source.images.reshape(-1, 64) * 255 / 16) @ np.arange(64.0)
    assert ours == sorted(zip(theirs.tolist(), source.target.tolist(), strict=True))


def test_the_fixed_split_never_changes() -> None:
    order = fixed_order(1797)
    assert sorted(order.tolist()) == list(range(1797))
    assert order[:6].tolist() == [1435, 449, 1325, 1534, 721, 1550]


def test_digits_say_so_when_scikit_learn_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="dataset digits: not installed"):
        Digits().files(tmp_path)
