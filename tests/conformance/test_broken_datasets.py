"""For every rule of datasets one that breaks it: it is caught, and told what to change."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import examine, source

LOAD = "def load(self, root):\n    "
FILES = "def files(self, root):\n    "

BROKEN = {
    "no docstring": ("documented", source("dataset", doc=""), "class Odd has no docstring"),
    "no image data": ("runs", source("dataset", LOAD + "return 1"), "load returned int; return ImageData(train"),
    "no images": ("runs", source("dataset", LOAD + "return ImageData(1, 2, 3)"), "is not an Images of three tensors"),
    "no test images": (
        "runs",
        source("dataset", LOAD + "d = images(); return ImageData(d.train, d.test.take(torch.arange(0)), 2)"),
        "there are no test images; split the images",
    ),
    "raises": ("runs", source("dataset", LOAD + "raise ValueError('odd')"), "ValueError: odd, line "),
    "no files": ("files", source("dataset", FILES + "return []"), "files lists nothing"),
    "files that are not there": ("files", source("dataset", FILES + "return [root / 'none.bin']"), "no such file: "),
    "text for paths": ("files", source("dataset", FILES + "return ['a']"), "files returned no list of paths"),
    "floats": (
        "pixels",
        source("dataset", LOAD + "return images(torch.rand(10, 1, 2, 2))"),
        "training pixels are float32[6, 1, 2, 2]; give pixels as u8[N, C, H, W]",
    ),
    "no channels": (
        "pixels",
        source("dataset", LOAD + "return images(torch.zeros(10, 2, 2).to(torch.uint8))"),
        "training pixels are uint8[6, 2, 2]",
    ),
    "labels from 1": (
        "labels",
        source("dataset", LOAD + "return images(labels=torch.arange(10) % 2 + 1)"),
        "training labels go from 1 to 2, classes is 2; number the classes from 0",
    ),
    "a class too many": (
        "labels",
        source("dataset", LOAD + "return images(classes=3)"),
        "1 classes have no training image",
    ),
    "too few names of classes": (
        "labels",
        source("dataset", "def class_names(self, root):\n    return ['odd']"),
        "1 names for 2 classes; name every class in class_names, or none",
    ),
    "one text for names of classes": (
        "labels",
        source("dataset", "def class_names(self, root):\n    return 'ab'"),
        "class_names returned no list of texts",
    ),
    "another number of images": (
        "image_counts",
        source("dataset", "def image_counts(self, root):\n    return 6, 5"),
        "image_counts says 6 and 5, load returns 6 and 4; return the numbers of training and test images",
    ),
    "one number of images": (
        "image_counts",
        source("dataset", "def image_counts(self, root):\n    return 10"),
        "image_counts returned no pair of whole numbers",
    ),
    "groups that were not announced": (
        "groups",
        source("dataset", LOAD + "return images()._replace(groups=torch.arange(6))"),
        "load returned groups, and has_groups is false; let has_groups return True",
    ),
    "announced groups that are not there": (
        "groups",
        source("dataset", "has_groups = True"),
        "has_groups is true, and load returned no tensor of groups",
    ),
    "groups of test images too": (
        "groups",
        source("dataset", "has_groups = True\n" + LOAD + "return images()._replace(groups=torch.arange(10))"),
        "groups are int64[10]; give the group of each training image as i64[N]",
    ),
    "labels of another type": (
        "labels",
        source("dataset", LOAD + "return images(labels=torch.ones(10))"),
        "give labels as i64[N]",
    ),
    "ids out of order": (
        "ids",
        source("dataset", LOAD + "return images(ids=torch.arange(10).flip(0))"),
        "ids do not count from 0 over training and then test images",
    ),
    "ids twice": (
        "ids",
        source("dataset", LOAD + "return images(ids=torch.arange(10) % 6)"),
        "use torch.arange(N), and continue",
    ),
    "another error for missing files": (
        "missing_files",
        source("dataset", FILES + "return [root / n for n in os.listdir(root / 'mine')]"),
        "files of an empty data folder raised FileNotFoundError; raise unlearnbench.system.errors.InputError",
    ),
    "draws from everywhere": (
        "deterministic",
        source(
            "dataset",
            LOAD + "return images(torch.from_numpy(np.random.default_rng().integers(0, 255, (10, 1, 2, 2), np.uint8)))",
        ),
        "differ in train.pixels",
    ),
    "torch's stream": (
        "ignores_global_random_state",
        source("dataset", LOAD + "return images(torch.randint(0, 9, (10, 1, 2, 2)).to(torch.uint8))"),
        "train.pixels depends on the global random state",
    ),
    "seeds numpy": (
        "leaves_global_random_state",
        source("dataset", LOAD + "np.random.seed(0); return images()"),
        "numpy.random was moved",
    ),
}


@pytest.mark.parametrize(("check", "text", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_dataset_is_caught_and_told_what_to_change(
    check: str, text: str, expected: str, tmp_path: Path
) -> None:
    result = examine(tmp_path, "dataset", text, check)
    assert result.status == "fail", result
    assert expected in result.line
    assert result.advice


def test_a_dataset_that_downloads_while_it_loads_is_refused(tmp_path: Path) -> None:
    text = source("dataset", LOAD + "import urllib.request; urllib.request.urlopen('http://192.0.2.1/images')")
    result = examine(tmp_path, "dataset", text, "runs", "no_network")
    assert result.line == "load tried to connect to 192.0.2.1:80; download in `prepare`; `load` reads files"


def test_a_dataset_without_its_files_is_skipped(tmp_path: Path) -> None:
    body = FILES + "from unlearnbench.system.errors import InputError; raise InputError('odd.bin', 'not found')"
    result = examine(tmp_path, "dataset", source("dataset", body), "runs")
    assert (result.status, result.note) == ("skipped", "its data is not here: odd.bin: not found")


@pytest.mark.slow
def test_a_dataset_is_the_same_in_another_process(tmp_path: Path) -> None:
    assert examine(tmp_path, "dataset", source("dataset"), "worker_process").status == "pass"
    text = source("dataset", LOAD + "return images(torch.full((10, 1, 2, 2), os.getpid() % 251).to(torch.uint8))")
    assert "train.pixels is different in a worker process" in examine(tmp_path, "dataset", text, "worker_process").line


def test_a_dataset_that_leaves_its_process_changed_is_caught(tmp_path: Path) -> None:
    result = examine(
        tmp_path,
        "dataset",
        source("dataset", LOAD + "torch.set_grad_enabled(False); return images()"),
        "runs",
        "process_state",
    )
    assert result.line.startswith("changed torch.set_grad_enabled (from True to False); set it inside a with-block")
