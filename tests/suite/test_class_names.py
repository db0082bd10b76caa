"""Classes by name: the same cells as by number, shown, and kept in every record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from submitted_folders import cell, file_of, hand_in

from unlearnbench.cli import main as cli
from unlearnbench.records import writing as records
from unlearnbench.records.schema import RecordError
from unlearnbench.submissions import reading as submitted
from unlearnbench.system.parquet_files import open_parquet, write_parquet

SUITE = """
name: names
seeds: 1
experiments:
  forget:
    references: false
    datasets: DATASETS
    scenario:
      kind: utility
      erased_count: 4
      backdoor: BACKDOOR
      stop: {rule: steps, steps: 1}
      network: {hidden: 4, latent: 2}
      training: {epochs: 1}
    methods: [original]
"""
MINE = "[{images: {params: {path: mine, mode: L}}}]"


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """A verb on a suite with these classes; returns exit code, stdout and stderr."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog", "1"):
        (tmp_path / "data/mine" / name).mkdir(parents=True)
        for index in range(30):
            pixels = generator.integers(0, 40, (16, 16), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"data/mine/{name}/{index}.png")

    def run(verb: str, backdoor: str, *more: str, datasets: str = MINE) -> tuple[int, str, str]:
        file = tmp_path / "suite.yaml"
        file.write_text(SUITE.replace("BACKDOOR", backdoor).replace("DATASETS", datasets))
        capsys.readouterr()
        data = [] if verb == "validate" else ["--data", str(tmp_path / "data")]
        code = cli.main([verb, str(file), *data, *more])
        return code, *capsys.readouterr()

    return run


def plan(call: Any, backdoor: str, **more: Any) -> Sequence[dict[str, Any]]:
    code, out, err = call("plan", backdoor, "--format", "json", **more)
    assert code == 0, err
    return json.loads(out)["cells"]


@pytest.mark.parametrize("named", ["{base: cat, target: dog}", "{base: 1, target: dog}", "{base: cat, target: 2}"])
def test_a_class_by_name_is_the_same_cell_as_by_number(call: Any, named: str) -> None:
    assert plan(call, named) == plan(call, "{base: 1, target: 2}")


def test_text_is_a_name_and_a_number_is_a_number(call: Any) -> None:
    assert plan(call, '{base: "1", target: 1}') == plan(call, "{base: 0, target: 1}")


@pytest.mark.parametrize(
    ("dataset", "named", "numbered"),
    [("digits", '{base: "1", target: "7"}', "{base: 1, target: 7}")],
)
def test_built_in_datasets_name_their_classes(call: Any, dataset: str, named: str, numbered: str) -> None:
    assert plan(call, named, datasets=f"[{dataset}]") == plan(call, numbered, datasets=f"[{dataset}]")


@pytest.mark.parametrize("verb", ["plan", "run", "prepare"])
def test_a_class_that_is_not_there_is_one_line_with_all_that_are(call: Any, verb: str) -> None:
    code, _, err = call(verb, "{base: cat, target: bird}")
    assert code == 2
    assert err == (
        "error: names:experiments.forget.scenario.backdoor.target (dataset images[mode=L,path=mine]):"
        " no class is called 'bird'; the classes are 0=1, 1=cat, 2=dog\n"
    )


def test_a_dataset_without_names_takes_numbers_only(call: Any, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/nameless.py").write_text(
        '"""D."""\nfrom unlearnbench.datasets.digits import Digits\n\n\nclass Nameless(Digits):\n    """D."""\n\n'
        "    def class_names(self, root):\n        return ()\n"
    )
    code, _, err = call("plan", "{base: cat}", "--plugins", str(tmp_path / "own"), datasets="[nameless]")
    assert code == 2
    assert "backdoor.base (dataset nameless): the dataset does not name its classes; give the class's number" in err


def test_the_same_class_under_name_and_number_is_refused(call: Any) -> None:
    code, _, err = call("plan", "{base: cat, target: 1}")
    assert (code, err.count("\n")) == (2, 1)
    assert "backdoor: base and target are the same class, number 1" in err
    code, _, err = call("plan", "{base: cat, target: [2, dog]}")
    assert (code, err.count("\n")) == (2, 1)
    assert "appears twice: by a class's name and by its number" in err


@pytest.mark.parametrize(
    ("backdoor", "message"),
    [
        ("{base: -1}", "backdoor.base: "),
        ("{base: 1.5}", "backdoor.base: must be a whole number, not 1.5"),
        ("{base: true}", "backdoor.base: must be a whole number, not true"),
        ('{base: ""}', "backdoor.base: "),
        ("{base: cat, target: cat}", "base and target must be different classes"),
    ],
)
def test_what_can_be_no_class_is_refused_without_data(call: Any, backdoor: str, message: str) -> None:
    code, _, err = call("validate", backdoor)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_records_hold_numbers_and_the_names_of_all_classes(call: Any, tmp_path: Path) -> None:
    place = ["--results", str(tmp_path / "r"), "--cache", str(tmp_path / "c")]
    code, _, err = call("run", "{base: cat, target: dog}", *place)
    assert code == 0, err
    (file,) = (tmp_path / "r/records").glob("*.parquet")
    (first, *_) = records.read(file).to_pylist()
    assert json.loads(first["scenario"])["backdoor"]["base"] == 1
    assert records.class_names(open_parquet(file).metadata.metadata, file) == ("1", "cat", "dog")
    assert submitted.read_cell(file, tmp_path / "r").classes == ("1", "cat", "dog")
    assert call("run", "{base: 1, target: 2}", *place)[1].endswith(" done=0 cached=1 failed=0 skipped=0\n")
    assert cli.main(["merge", str(tmp_path / "r"), "--out", str(tmp_path / "m")]) == 0
    (copy,) = (tmp_path / "m/records").glob("*.parquet")
    assert submitted.read_cell(copy, tmp_path / "m").classes == ("1", "cat", "dog")


def test_records_from_before_they_held_names_are_read(tmp_path: Path) -> None:
    folder, made = tmp_path / "r", cell("vbu", 0)
    hand_in(folder, [made])
    assert submitted.read_cell(file_of(folder, made), folder).classes == ()
    assert records.class_names(None, "here") == ()


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "[]", '"cat"', "[" * 10_000, '["' + "c" * 2**20 + '"]'])
def test_names_that_no_run_writes_are_refused(tmp_path: Path, text: str) -> None:
    made = cell("vbu", 0)
    hand_in(tmp_path, [made])
    file = file_of(tmp_path, made)
    write_parquet(open_parquet(file).read(), file, {records.CLASSES: text})
    with pytest.raises(RecordError, match=r"unknown class names|describe its columns"):
        submitted.read_cell(file, tmp_path)
