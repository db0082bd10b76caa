"""Your own images: folders and Parquet, with and without a test split."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unlearnbench.datasets.images import ImagesParams, OwnImages
from unlearnbench.errors import InputError


def load(root: Path, **params: Any) -> Any:
    return OwnImages(ImagesParams(**params)).load(root)


def write_image(path: Path, value: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(path)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """images/<class>/*.png: five images each of ant, bee, cat, their red values 0..14."""
    for number, name in enumerate(["cat", "ant", "bee"]):
        for index in range(5):
            write_image(tmp_path / "images" / name / f"{index}.png", number * 5 + index)
    return tmp_path


def encoded(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path: Path, labels: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [encoded(row) for row in range(len(labels))], "label": labels}), path)


def test_classes_are_numbered_by_name_and_a_fixed_fifth_becomes_the_test_split(flat: Path) -> None:
    data = load(flat)
    assert (len(data.train), len(data.test), data.classes) == (12, 3, 3)
    assert data.train.pixels.shape[1:] == (3, 4, 6)
    assert [*data.train.ids.tolist(), *data.test.ids.tolist()] == list(range(15))
    pairs = {
        (int(image[0, 0, 0]), int(label))
        for part in data[:2]
        for image, label in zip(part.pixels, part.labels, strict=True)
    }
    assert pairs == {(value, {0: 2, 1: 0, 2: 1}[value // 5]) for value in range(15)}
    assert data.test.labels.tolist() == load(flat).test.labels.tolist()
    assert len(load(flat, test_fraction=0.4).test) == 6


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        write_image(tmp_path / "mine/train" / name / "x.jpg", value)
        write_image(tmp_path / "mine/test" / name / "x.JPEG", 100 + value)
    data = load(tmp_path, path="mine", mode="L")
    assert data.train.pixels.shape == (2, 1, 4, 6)
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 1]
    assert data.train.pixels.max() < 5 < data.test.pixels.min()


def test_images_of_several_sizes_need_a_size(flat: Path) -> None:
    odd = flat / "images/bee/3.png"
    write_image(odd, 9, size=(7, 7))
    with pytest.raises(InputError, match=rf"{odd}: is 7 x 7 pixels, .*/ant/0.png is 6 x 4; give `size`"):
        load(flat)
    assert load(flat, size=5).train.pixels.shape == (12, 3, 5, 5)


def test_files_are_the_images_and_nothing_else(flat: Path) -> None:
    (flat / "images/bee/notes.txt").write_text("not an image")
    (flat / "images/.cache").mkdir()
    files = OwnImages().files(flat)
    assert len(files) == 15
    assert {path.suffix for path in files} == {".png"}


def test_a_damaged_image_is_named(flat: Path) -> None:
    path = flat / "images/ant/2.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=rf"{path}: not a readable image"):
        load(flat)


def test_more_than_eight_bits_a_pixel_are_refused_and_not_clipped(flat: Path) -> None:
    path = flat / "images/ant/2.png"
    Image.fromarray(np.full((4, 6), 1000, np.uint16)).save(path)
    with pytest.raises(InputError, match=rf"{path}: has more than 8 bits a pixel"):
        load(flat, mode="L")


def test_a_class_without_images_is_named(flat: Path) -> None:
    (flat / "images/dog").mkdir()
    with pytest.raises(InputError, match=r"images/dog: holds no .png or .jpg"):
        load(flat)


def test_a_test_class_must_be_a_training_class(tmp_path: Path) -> None:
    for part, name in (("train", "a"), ("train", "b"), ("test", "c")):
        write_image(tmp_path / "images" / part / name / "x.png", 1)
    with pytest.raises(InputError, match="test images have a class 'c' that no training image has"):
        load(tmp_path)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    write_image(tmp_path / "images/only/x.png", 1)
    with pytest.raises(InputError, match="images: holds images of one class"):
        load(tmp_path)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}/images: dataset images: not found; put <class>/"):
        OwnImages().prepare(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="images: holds no class folders"):
        OwnImages().files(tmp_path)


@pytest.mark.parametrize(
    "path", ["../images", "a/../../images", "..", "/", "/etc", "link", "link/ant", "circle", "a\0b"]
)
def test_a_path_stays_in_the_data_root(flat: Path, path: str) -> None:
    root = flat / "root"
    root.mkdir()
    (root / "link").symlink_to(flat / "images")
    (root / "circle").symlink_to("circle")
    with pytest.raises(InputError, match=r"images.path: .* leaves the data root"):
        load(root, path=path)
    assert load(flat, path=str(flat / "images")).classes == 3
    with pytest.raises(InputError, match=r"images.path: .* leaves the data root"):
        load(root, path=str(flat / "images"))


def test_images_and_classes_that_are_links_out_of_the_data_root_are_refused(flat: Path) -> None:
    root = flat / "root"
    shutil.copytree(flat / "images", root / "images")
    (root / "images" / "ant" / "in.png").symlink_to(root / "images" / "ant" / "0.png")
    assert load(root).classes == 3
    assert len(OwnImages().files(root)) == 16
    out = root / "images" / "ant" / "out.png"
    out.symlink_to(flat / "images" / "ant" / "0.png")
    with pytest.raises(InputError, match=r"ant/out.png: is a link out of the data root"):
        OwnImages().files(root)
    out.unlink()
    (root / "images" / "dog").symlink_to(flat / "images" / "bee")
    with pytest.raises(InputError, match=r"images/dog: is a link out of the data root"):
        OwnImages().files(root)


def test_one_parquet_file_is_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "mine.parquet", [0, 1, 2, 0, 1] * 2)
    data = load(tmp_path, path="mine.parquet")
    assert (len(data.train), len(data.test), data.classes) == (8, 2, 3)


def test_parquet_shards_are_joined_in_order_and_numbers_are_numbered_by_size(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set/train-00000-of-00002.parquet", [10, 2])
    write_parquet(tmp_path / "set/train-00001-of-00002.parquet", [30, 2])
    write_parquet(tmp_path / "set/test-00000-of-00001.parquet", [30])
    data = load(tmp_path, path="set")
    assert data.train.labels.tolist() == [1, 0, 2, 0]
    assert data.test.labels.tolist() == [2]
    assert data.train.pixels[:, 0, 0, 0].tolist() == [0, 1, 0, 1]


def test_parquet_text_labels_are_numbered_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set/train.parquet", ["dog", "cat"])
    write_parquet(tmp_path / "set/test.parquet", ["cat"])
    data = load(tmp_path, path="set")
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([1, 0], [0])


@pytest.mark.parametrize(
    ("name", "message"),
    [("set/other.parquet", "none named train"), ("set/train.parquet", "holds images of one class")],
)
def test_parquet_folders_that_dont_fit_are_named(tmp_path: Path, name: str, message: str) -> None:
    write_parquet(tmp_path / name, [1, 1])
    with pytest.raises(InputError, match=message):
        load(tmp_path, path="set")


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"images.zip: is neither a folder nor a .parquet file"):
        OwnImages(ImagesParams(path="images.zip")).files(tmp_path)


def test_too_few_images_to_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "two.parquet", [0, 1])
    with pytest.raises(InputError, match="2 images are too few"):
        load(tmp_path, path="two.parquet", test_fraction=0.9)
