"""Artifacts: whole or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unlearnbench.system.store import Artifact, CorruptArtifactError, Store

KEY = "ab" * 32
TENSORS = {
    "weights": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
    "scalar": torch.tensor(3),
    "none": torch.empty(0, 2),
    "flags": torch.tensor([True, False]),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
}
VALUES = {"seconds": 1.25, "names": ["é", "b"], "nothing": None}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.put(KEY, Artifact(TENSORS, VALUES))
    return store


def test_what_is_put_comes_back(store: Store) -> None:
    found = store.get(KEY)
    assert found is not None
    assert found.values == VALUES == store.values(KEY)
    assert set(found.tensors) == set(TENSORS)
    for name, value in TENSORS.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)


def test_what_is_not_there_is_none(store: Store, tmp_path: Path) -> None:
    assert Store(tmp_path / "empty").get(KEY) is None
    assert not (tmp_path / "empty").exists()
    store.discard(KEY)
    store.discard(KEY)
    assert not store.has(KEY)
    assert store.get(KEY) is None
    with pytest.raises(CorruptArtifactError):
        store.values(KEY)


def test_every_changed_byte_is_noticed(store: Store) -> None:
    whole = store.path(KEY).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        store.path(KEY).write_bytes(damaged)
        try:
            found = store.get(KEY)
        except CorruptArtifactError:
            continue
        # Padding and the like may differ where the content does not.
        assert found is not None
        assert found.values == VALUES
        assert set(found.tensors) == set(TENSORS)
        assert all(torch.equal(found.tensors[name], value) for name, value in TENSORS.items()), position


def test_changed_values_are_noticed_without_reading_tensors(store: Store) -> None:
    whole = store.path(KEY).read_bytes()
    store.path(KEY).write_bytes(whole.replace(b"1.25", b"1.26"))
    for read in (store.get, store.values):
        with pytest.raises(CorruptArtifactError, match="checksum does not match"):
            read(KEY)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(store: Store, length: int) -> None:
    store.path(KEY).write_bytes(store.path(KEY).read_bytes()[:length])
    with pytest.raises(CorruptArtifactError):
        store.get(KEY)


def test_an_artifact_under_another_key_is_refused(store: Store) -> None:
    other = "cd" * 32
    store.path(other).parent.mkdir()
    store.path(KEY).rename(store.path(other))
    for read in (store.get, store.values):
        with pytest.raises(CorruptArtifactError):
            read(other)


def test_a_value_that_is_no_number_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="a measured value is not a finite number"):
        store.put(KEY, Artifact({}, {"accuracy": float("nan")}))
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_lie_beside_an_artifact_and_are_none(store: Store) -> None:
    inside = store.checkpoints(KEY)
    assert inside.get(KEY) is None
    inside.put(KEY, Artifact(TENSORS, VALUES))
    assert store.interrupted() == [KEY]
    assert store.keys() == [KEY]
    assert store.special() == store.leftovers() == []
    store.discard(KEY)
    assert store.get(KEY) is None
    assert inside.get(KEY) is not None
    store.discard_checkpoints(KEY)
    store.discard_checkpoints(KEY)
    assert store.interrupted() == []
    assert inside.get(KEY) is None


def test_a_link_in_the_place_of_checkpoints_is_not_followed(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    store.checkpoints(KEY).root.symlink_to(elsewhere)
    assert store.interrupted() == []
    store.discard_checkpoints(KEY)
    assert (elsewhere / "mine.txt").read_text() == "mine"
