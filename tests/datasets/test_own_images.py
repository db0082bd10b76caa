"""Your own images: folders and Parquet, with and without a test split."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unlearnbench.datasets.images import ImagesParams, OwnImages
from unlearnbench.system.errors import InputError


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


def test_a_class_without_images_is_named(flat: Path) -> None:
    (flat / "images/dog").mkdir()
    with pytest.raises(InputError, match=r"images/dog: holds no images; put the class's images there or remove it"):
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


# --- nothing left out, nothing renumbered in silence ------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["bmp", "GIF", "jpe", "pgm", "ppm", "tif", "TIFF", "webp"])
def test_images_of_all_formats_are_read(flat: Path, suffix: str) -> None:
    mode = "L" if suffix == "pgm" else "RGB"
    write_image(flat / f"images/ant/more.{suffix}", 200, mode=mode)
    data = load(flat)
    assert len(data.train) + len(data.test) == 16
    assert "left out: none" in data.notes


def test_what_is_not_read_of_a_folder_is_said(flat: Path) -> None:
    (flat / "images/ant/.DS_Store").write_bytes(b"")
    (flat / "images/ant/._0.png").write_bytes(b"")
    (flat / "images/ant/notes.txt").write_bytes(b"")
    (flat / "images/bee/Thumbs.db").write_bytes(b"")
    (flat / "images/bee/old").mkdir()
    (flat / "images/labels.csv").write_bytes(b"")
    data = load(flat)
    assert len(data.train) + len(data.test) == 15
    assert data.notes[0] == (
        "left out: 1 beside the class folders (labels.csv);"
        " 3 hidden, or made by the system (ant/.DS_Store, ant/._0.png, bee/Thumbs.db);"
        " 1 no images by their names (ant/notes.txt); 1 empty (bee/old)"
    )
    assert data.notes[1] == "decoded: 15 stored as RGB"
    assert data.notes[2] == "test images: 3 of 15, drawn at random, the same everywhere"


def test_other_splits_are_left_out_and_said(tmp_path: Path) -> None:
    for part in ("train", "test", "val"):
        for name in "ab":
            write_image(tmp_path / f"images/{part}/{name}/{part}.png", len(part))
    data = load(tmp_path)
    assert (len(data.train), len(data.test)) == (2, 2)
    assert data.notes[0] == "left out: 1 beside train/ and test/ (val)"


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for number, name in enumerate(["train", "car", "test"]):
        for index in range(4):
            write_image(tmp_path / "images" / name / f"{index}.png", number * 4 + index)
    assert OwnImages().class_names(tmp_path) == ["car", "test", "train"]
    assert load(tmp_path).classes == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: place.symlink_to("gone.png"), "is not an ordinary file, or a link to nothing"),
        (lambda place: place.symlink_to(place.name), "is not an ordinary file, or a link to nothing"),
        (os.mkfifo, "is not an ordinary file, or a link to nothing"),
        (lambda place: write_image(place / "in.png", 1), "a folder inside a class; move its images up or away"),
        (lambda place: place.with_suffix(".heic").write_bytes(b""), ".heic is not read; convert it"),
        (lambda place: place.with_suffix(".npy").write_bytes(b""), ".npy is not read; convert it"),
        (lambda place: (place.parent / "circle").symlink_to("."), "circle: a folder inside a class"),
    ],
)
def test_what_looks_meant_to_be_read_and_cant_be_is_refused(flat: Path, make: Any, message: str) -> None:
    make(flat / "images/ant/new.png")
    with pytest.raises(InputError, match=message):
        OwnImages().files(flat)


def test_class_folders_named_by_numbers_are_numbered_as_they_say(tmp_path: Path) -> None:
    for label in range(12):
        for index in range(2):
            write_image(tmp_path / f"images/{label}/{index}.png", 10 * label + index)
    data = load(tmp_path)
    assert (data.train.pixels[:, 0, 0, 0] // 10).tolist() == data.train.labels.tolist()
    assert OwnImages().class_names(tmp_path) == [str(label) for label in range(12)]
    write_parquet(tmp_path / "text/train.parquet", [str(label) for label in range(12)] * 2)
    assert load(tmp_path, path="text", test_fraction=0.1).classes == 12
    assert OwnImages(ImagesParams(path="text")).class_names(tmp_path) == [str(label) for label in range(12)]


def test_two_class_names_that_are_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("1", "01", "2"):
        write_image(tmp_path / "images" / name / "x.png", 1)
    with pytest.raises(InputError, match="classes '01' and '1' are the same number"):
        load(tmp_path)


def test_classes_are_called_as_hugging_face_notes_them(tmp_path: Path) -> None:
    path = tmp_path / "set/train.parquet"
    write_parquet(path, [0, 2, 2, 0])
    feature = {"info": {"features": {"label": {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}}}}
    noted = pq.read_table(path).replace_schema_metadata({"huggingface": json.dumps(feature)})
    pq.write_table(noted, path)
    assert OwnImages(ImagesParams(path="set")).class_names(tmp_path) == ["ant", "cat"]
    write_parquet(tmp_path / "set/test.parquet", [0, 2])
    assert load(tmp_path, path="set").test.labels.tolist() == [0, 1]
    (tmp_path / "set/test.parquet").unlink()
    path.rename(path.with_name("train0.parquet"))
    feature["info"]["features"]["label"]["names"].reverse()
    pq.write_table(
        noted.replace_schema_metadata({"huggingface": json.dumps(feature)}), path.with_name("train1.parquet")
    )
    with pytest.raises(InputError, match=r"train1.parquet: names the classes of column label otherwise than train0"):
        load(tmp_path, path="set")


@pytest.mark.parametrize("noted", [b"{", b"[]", b'{"info": {"features": {"label": {"names": [1]}}}}', b"[" * 100_000])
def test_notes_that_name_no_classes_are_no_names(tmp_path: Path, noted: bytes) -> None:
    path = tmp_path / "one.parquet"
    write_parquet(path, [3, 5, 3])
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": noted}), path)
    assert OwnImages(ImagesParams(path="one.parquet")).class_names(tmp_path) == ["3", "5"]


def test_numbers_and_text_are_not_mixed(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set/train0.parquet", [0, 1])
    write_parquet(tmp_path / "set/train1.parquet", ["0", "1"])
    with pytest.raises(InputError, match="set: labels are numbers in some rows and text in others"):
        load(tmp_path, path="set")


def test_a_label_that_is_missing_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "one.parquet", [0, None, 1])
    with pytest.raises(InputError, match=r"one.parquet: column label must hold whole numbers or text in every row"):
        load(tmp_path, path="one.parquet")


def test_the_same_shard_twice_is_refused_under_any_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set/train.parquet", [0, 1, 2])
    shutil.copy(tmp_path / "set/train.parquet", tmp_path / "set/train (1).parquet")
    with pytest.raises(InputError, match="is the same file as"):
        load(tmp_path, path="set")
    write_parquet(tmp_path / "more/train-00000-of-00002.parquet", [0, 1])
    with pytest.raises(InputError, match=r"more: train-00001-of-00002.parquet is missing"):
        OwnImages(ImagesParams(path="more")).files(tmp_path)
    with pytest.raises(InputError, match=r"more: train-00001-of-00002.parquet is missing"):
        OwnImages(ImagesParams(path="more/train-00000-of-00002.parquet")).files(tmp_path)


def test_identical_images_are_named_by_their_files(flat: Path) -> None:
    shutil.copy(flat / "images/ant/0.png", flat / "images/bee/9.png")
    assert "identical: bee/9.png = ant/0.png" in load(flat).notes


def test_transparent_images_lie_over_the_declared_background(tmp_path: Path) -> None:
    for name in "ab":
        for index in range(3):
            path = tmp_path / f"images/{name}/{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGBA", (4, 4), (0, 0, 0, 40 * index)).save(path)
    assert load(tmp_path).train.pixels.min() > 150
    assert load(tmp_path, background="black").train.pixels.max() == 0
    assert "decoded: 6 stored as RGBA, 6 transparent, laid over white" in load(tmp_path).notes


# --- groups ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def persons(tmp_path: Path) -> Path:
    """images/<class>/<person>/*.png: two classes, in which three persons have 2, 3 and 4 images each."""
    for number, name in enumerate(["smiling", "serious"]):
        for person, count in (("ann", 2), ("bob", 3), ("cy", 4)):
            for index in range(count):
                red = 100 * number + 10 * count + index
                write_image(tmp_path / "images" / name / person / f"{index}.png", red)
    return tmp_path


def test_a_folder_in_a_class_is_a_group_and_the_same_name_is_the_same_group(persons: Path) -> None:
    dataset = OwnImages(ImagesParams(groups="folder", test_fraction=0.1))
    assert dataset.has_groups
    assert not OwnImages().has_groups
    data = dataset.load(persons)
    assert dataset.image_counts(persons) == (16, 2) == (len(data.train), len(data.test))
    assert data.groups.dtype == torch.int64
    persons_of = [int(image[0, 0, 0]) % 100 // 10 - 2 for image in data.train.pixels]
    assert data.groups.tolist() == persons_of
    assert any(note.startswith("groups: 3, of ") for note in data.notes)
    assert data.classes == 2


def test_groups_of_a_training_split_are_those_of_its_images(persons: Path) -> None:
    write_image(persons / "mine/test/smiling/dan/0.png", 7)
    (persons / "images").rename(persons / "mine/train")
    data = load(persons, path="mine", groups="folder")
    assert (len(data.train), len(data.test), len(data.groups)) == (18, 1, 18)
    assert data.groups.unique(return_counts=True)[1].tolist() == [4, 6, 8]


def test_images_in_no_group_and_groups_that_are_not_asked_for_are_refused(persons: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"serious/ann: a folder inside a class; .* or set groups: folder"):
        load(persons)
    stray = persons / "images/smiling/0.png"
    write_image(stray, 1)
    with pytest.raises(InputError, match=rf"{stray}: is in no group; expected <class>/<group>/"):
        load(persons, groups="folder")
    stray.unlink()
    with pytest.raises(InputError, match=r"images.groups: 'person' is a column of Parquet files"):
        load(persons, groups="person")


def test_a_column_of_parquet_files_holds_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "images/train.parquet"
    path.parent.mkdir()
    names = [f"p{row % 4}" for row in range(20)]
    images = [encoded(row) for row in range(20)]
    pq.write_table(pa.table({"image": images, "label": [row % 2 for row in range(20)], "person": names}), path)
    data = load(tmp_path, groups="person")
    assert data.groups.tolist() == [int(image[0, 0, 0]) % 4 for image in data.train.pixels]
    assert load(tmp_path).groups is None
    with pytest.raises(InputError, match=r"has no column writer; it has image, label, person"):
        load(tmp_path, groups="writer")


def test_keys_of_data_without_groups_stand() -> None:
    assert "groups" not in ImagesParams().model_dump(mode="json")
    assert ImagesParams(groups="folder").model_dump(mode="json")["groups"] == "folder"
