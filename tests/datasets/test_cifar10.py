"""CIFAR-10: the original files with their MD5 check, Parquet copies, the choice between them."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unlearnbench.datasets.cifar10 import Cifar10, Cifar10Params
from unlearnbench.system.errors import InputError
from unlearnbench.system.torchvision_import import import_torchvision

BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(folder: Path, size: int = 32, **columns: Any) -> np.ndarray:
    """train.parquet and test.parquet of 10 images; returns the training pixels u8[10, H, W, C]."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(3).integers(0, 256, (10, size, size, 3), dtype=np.uint8)
    for part in ("train", "test"):
        images = [{"bytes": png(image), "path": f"{part}/{row}.png"} for row, image in enumerate(pixels)]
        table = {"image": images, "label": list(range(10)), "part": [part] * len(images), **columns}
        pq.write_table(
            pa.table({name: value for name, value in table.items() if value is not None}), folder / f"{part}.parquet"
        )
    return pixels


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files in the original layout, which torchvision is told to take for the official ones."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    md5 = {}
    for number, name in enumerate([*BATCHES, "test_batch"]):
        data = np.full((2, 3072), number, np.uint8)
        data[0, :1024] = 250  # the red plane of the first image
        content = pickle.dumps({"data": data, "labels": [number, 9]})
        (folder / name).write_bytes(content)
        md5[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": list("abcdefghij")})
    (folder / "batches.meta").write_bytes(meta)
    known = import_torchvision().datasets.CIFAR10
    monkeypatch.setattr(known, "train_list", [[name, md5[name]] for name in BATCHES])
    monkeypatch.setattr(known, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(known, "meta", {**known.meta, "md5": hashlib.md5(meta).hexdigest()})
    return tmp_path


def test_original_files_in_order(batches: Path) -> None:
    data = Cifar10().load(batches)
    assert data.train.pixels.shape == (10, 3, 32, 32)
    assert data.train.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert data.test.labels.tolist() == [5, 9]
    assert data.train.pixels[2].float().mean((1, 2)).tolist() == [250, 1, 1]
    assert data.test.ids.tolist() == [10, 11]
    assert data.classes == 10


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_file_that_is_not_the_official_one_is_named_and_never_unpickled(batches: Path, name: str) -> None:
    marker = batches / "ran"

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(marker),)

    (batches / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(InputError, match=f"{name}: is not the original file"):
        Cifar10().load(batches)
    assert not marker.exists()


def test_a_missing_file_is_named_with_both_ways_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Cifar10().load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/cifar-10-batches-py/data_batch_1: dataset cifar10: not found; get it with"
        f" `unlearnbench prepare SUITE --data {tmp_path}`, or put train.parquet and test.parquet into"
        f" {tmp_path}/cifar10-jpeg"
    )


def test_parquet_is_read_where_the_original_files_are_not(tmp_path: Path) -> None:
    pixels = write_parquet(tmp_path / "cifar10-jpeg")
    dataset = Cifar10()
    data = dataset.load(tmp_path)
    assert np.array_equal(data.train.pixels.permute(0, 2, 3, 1).numpy(), pixels)
    assert data.train.labels.tolist() == list(range(10))
    assert [path.name for path in dataset.files(tmp_path)] == ["train.parquet", "test.parquet"]
    dataset.prepare(tmp_path)


def test_the_original_files_come_first_unless_parquet_is_asked_for(batches: Path) -> None:
    write_parquet(batches / "copy")
    assert len(Cifar10(Cifar10Params(path="copy")).load(batches).test) == 2
    assert len(Cifar10(Cifar10Params(source="parquet", path="copy")).load(batches).test) == 10


def test_plain_binary_and_other_column_names(tmp_path: Path) -> None:
    images = [png(np.full((32, 32, 3), row, np.uint8)) for row in range(10)]
    write_parquet(tmp_path / "copy", image=None, label=None, img=images, fine_label=list(range(9, -1, -1)))
    data = Cifar10(Cifar10Params(source="parquet", path="copy")).load(tmp_path)
    assert data.train.pixels[:, 0, 0, 0].tolist() == list(range(10))
    assert data.train.labels.tolist() == list(range(9, -1, -1))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": None}, "has no column label or labels or fine_label; it has image"),
        ({"label": [*range(9), 10]}, "has labels 0 to 10, not within 0 to 9"),
        ({"label": [*range(9), None]}, "column label must hold whole numbers or text in every row"),
        ({"label": [str(row) for row in range(10)]}, "labels must be numbers 0 to 9"),
        ({"image": [{"bytes": None, "path": "a.png"}] * 10}, "row 0: column image holds no image bytes"),
        ({"image": [{"bytes": b"no image", "path": "a.png"}] * 10}, "row 0: not a readable image"),
        ({"size": 28}, "holds images of 28 x 28 pixels, not 32 x 32"),
    ],
)
def test_parquet_that_doesnt_fit_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    write_parquet(tmp_path / "cifar10-jpeg", **columns)
    with pytest.raises(InputError, match=f"train.parquet: .*{message}"):
        Cifar10().load(tmp_path)


def test_parquet_cut_short_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cifar10-jpeg")
    path = tmp_path / "cifar10-jpeg/test.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"test\.parquet: not a readable Parquet file"):
        Cifar10().load(tmp_path)


def test_a_parquet_folder_stays_in_the_data_root(tmp_path: Path) -> None:
    write_parquet(tmp_path / "elsewhere")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    for path in ("../elsewhere", str(tmp_path / "elsewhere"), "link"):
        with pytest.raises(InputError, match=rf"cifar10.path: '{path}' leaves the data root"):
            Cifar10(Cifar10Params(source="parquet", path=path)).files(root)
    assert len(Cifar10(Cifar10Params(source="parquet", path="elsewhere")).files(tmp_path)) == 2
    assert len(Cifar10(Cifar10Params(source="parquet", path=str(tmp_path / "elsewhere"))).files(tmp_path)) == 2
    (root / "own").mkdir()
    (root / "own" / "train.parquet").symlink_to(tmp_path / "elsewhere" / "train.parquet")
    (root / "own" / "test.parquet").symlink_to(tmp_path / "elsewhere" / "test.parquet")
    with pytest.raises(InputError, match=r"own/train.parquet: is a link out of the data root"):
        Cifar10(Cifar10Params(source="parquet", path="own")).files(root)


@pytest.mark.usefixtures("no_network")
def test_prepare_without_network_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset cifar10: missing or damaged, and fetching it failed .*URLError"):
        Cifar10().prepare(tmp_path)


def test_real_lossless_part_decodes_to_the_published_pixels(real_data: Path) -> None:
    if not (real_data / "cifar10-lossless-part").is_dir():
        pytest.skip("cifar10-lossless-part is not in UNLEARNBENCH_TEST_DATA")
    data = Cifar10(Cifar10Params(source="parquet", path="cifar10-lossless-part")).load(real_data)
    assert len(data.train) == 4_000
    digest = hashlib.sha256(data.train.pixels.permute(0, 2, 3, 1).contiguous().numpy().tobytes()).hexdigest()
    assert digest == "bac45b45504ed1289a3f437be4bfbefece248abbc094a428a0b4dfab00e776ae"
    assert data.test.labels.bincount().tolist() == [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]


@pytest.mark.slow
def test_real_jpeg_copies_are_complete(real_data: Path) -> None:
    if not (real_data / "cifar10-jpeg").is_dir():
        pytest.skip("cifar10-jpeg is not in UNLEARNBENCH_TEST_DATA")
    data = Cifar10(Cifar10Params(source="parquet")).load(real_data)
    assert data.train.pixels.shape == (50_000, 3, 32, 32)
    assert data.test.labels.bincount().tolist() == [1_000] * 10
