"""Small files in the official layouts, and the real data where a test run is told about it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The data root with real datasets, read and never written."""
    folder = os.environ.get("UNLEARNBENCH_TEST_DATA")
    if not folder:
        pytest.skip("UNLEARNBENCH_TEST_DATA is not set: no real data to test on")
    return Path(folder)


@pytest.fixture
def write_idx(tmp_path: Path) -> Callable[..., Path]:
    """Writes a dataset of 12 training and 4 test images in MNIST's layout; returns the data root."""

    def write(folder: str = "MNIST", *, packed: bool = True) -> Path:
        raw = tmp_path / folder / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(0)
        for part, count in (("train", 12), ("t10k", 4)):
            arrays = {
                "images-idx3": generator.integers(0, 256, (count, 28, 28)),
                "labels-idx1": np.arange(count) % 10,
            }
            for kind, array in arrays.items():
                data = idx_bytes(array)
                name = f"{part}-{kind}-ubyte"
                if packed:
                    (raw / f"{name}.gz").write_bytes(gzip.compress(data))
                else:
                    (raw / name).write_bytes(data)
        return tmp_path

    return write


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to open an address fails as it does without a network."""
    import urllib.error
    import urllib.request

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
