"""verify: cells computed again from records alone, and what it says where they can't be."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from submitted_folders import cell, everything, failure, file_of, hand_in, taken
from tiny_runs import write_method, write_suite

from unlearnbench.cli import main as cli
from unlearnbench.metrics.catalog import describe
from unlearnbench.records import writing as records
from unlearnbench.running import worker
from unlearnbench.submissions import agreement, recipes, sampling
from unlearnbench.submissions import reading as submitted
from unlearnbench.submissions.agreement import differences
from unlearnbench.system.parquet_files import open_parquet


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a tiny run, of a suite whose seed is not 0; everything else of the run is thrown away."""
    folder = tmp_path_factory.mktemp("run")
    suite = write_suite(folder, "vbu: {lr: [0.001, 0.002]}, mine")
    suite.write_text(suite.read_text().replace("seeds: 1", "seed: 5\nseeds: 2"))
    write_method(folder / "plugins", "mine")
    results, cache = folder / "results", folder / "cache"
    options = ["--engine", "serial", "--device", "cpu", "--plugins", str(folder / "plugins")]
    assert cli.main(["run", str(suite), *options, "--results", str(results), "--cache", str(cache)]) == 0
    suite.unlink()
    shutil.rmtree(cache)
    for path in results.iterdir():
        if path.name != "records":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return results


@pytest.fixture
def verify(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recorded: Path
) -> Callable[..., tuple[int, Any, str]]:
    """`unlearnbench verify --format json` of the tiny run, or of another folder: exit code, what it says, stderr."""
    monkeypatch.setenv("UNLEARNBENCH_CACHE", "/nonexistent")  # nothing is taken from a store
    monkeypatch.setenv("UNLEARNBENCH_DATA", str(tmp_path / "data"))

    def run(*arguments: str, folder: Path = recorded, form: str = "json") -> tuple[int, Any, str]:
        worker._workplace.cache_clear()
        capsys.readouterr()
        own = ["--plugins", str(recorded.parent / "plugins")]
        given = [*own, "--jobs", "1", "--device", "cpu", "--format", form, *arguments]
        code = cli.main(["verify", str(folder), *given])
        out, err = capsys.readouterr()
        return code, json.loads(out) if form == "json" and out else out, err

    return run


def altered(recorded: Path, folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]], seed: int = 5) -> Path:
    """The tiny run with every record changed, each under a valid seal and its own key."""
    for path in (recorded / "records").glob("*.parquet"):
        rows = [change(row) for row in records.read(path).to_pylist()]
        records.write(rows, folder / "records" / path.name, {"suite_seed": seed})
    return folder


def test_cells_are_computed_again_from_their_records_alone(
    recorded: Path, tmp_path: Path, verify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = everything(recorded)
    code, found, _ = verify("--sample", "100")
    assert len(found["checked"]) == found["cells"] == 20  # 5 methods, with an attack and without, for 2 seeds
    assert Counter(each["verdict"] for each in found["checked"]) == {"equal": 20}
    assert code == 0
    for each in found["checked"]:
        assert (each["same_kind"], each["differences"], each["reason"]) == (True, [], None)
        assert each["values"]
        assert all(one["recorded"] == one["recomputed"] for one in each["values"])
    assert everything(recorded) == before
    assert list((tmp_path / "temporary").iterdir()) == []


def test_values_that_were_changed_are_found(recorded: Path, tmp_path: Path, verify: Any) -> None:
    def better(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "value": row["value"] - 1e-9} if row["metric"] == "accuracy" else row

    code, found, _ = verify("--sample", "8", folder=altered(recorded, tmp_path / "changed", better))
    by_attack = {each["what"].count("/"): each for each in found["checked"]}
    assert code == 1
    assert {each["verdict"] for each in found["checked"] if each["what"].count("/") == 3} == {"differs"}
    (difference,) = by_attack[3]["differences"]
    assert difference["what"] == "accuracy"
    assert difference["difference"] == pytest.approx(1e-9, rel=1e-3)
    assert difference["allowed"] == 0.0


def test_names_that_hide_what_was_computed_are_found(recorded: Path, tmp_path: Path, verify: Any) -> None:
    def renamed(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "method_id": row["method"], "sizes": "{}", "scenario_id": "leak"}

    _, found, _ = verify("--sample", "6", folder=altered(recorded, tmp_path / "changed", renamed))
    wrong = {one["what"] for each in found["checked"] for one in each["differences"]}
    assert wrong == {"method_id", "sizes", "scenario_id"}


def test_a_recipe_that_is_not_that_of_the_key_is_not_computed(recorded: Path, tmp_path: Path, verify: Any) -> None:
    def other(row: dict[str, Any]) -> dict[str, Any]:
        scenario = json.loads(row["scenario"])
        return {**row, "scenario": json.dumps(scenario | {"beta": 0.5})}

    code, found, _ = verify("--sample", "20", folder=altered(recorded, tmp_path / "changed", other))
    assert code == 1
    assert {each["verdict"] for each in found["checked"]} == {"can't be verified"}
    assert "a stage, a dataset or a plugin has another version" in found["checked"][0]["reason"]


def test_other_kinds_of_machines_are_allowed_a_tolerance(recorded: Path, tmp_path: Path, verify: Any) -> None:
    def elsewhere(row: dict[str, Any]) -> dict[str, Any]:
        value = row["value"] if row["metric"] != "accuracy" else row["value"] - 0.004
        return {**row, "device": "cpu: another", "value": value}

    folder = altered(recorded, tmp_path / "changed", elsewhere)
    code, found, _ = verify("--sample", "2", folder=folder)
    assert (code, found["within tolerance"] + found["equal"], found["checked"][0]["same_kind"]) == (0, 2, False)


def test_code_of_another_version_is_named_with_both_versions(
    recorded: Path, tmp_path: Path, verify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearnbench.suite.keys import STAGE_VERSIONS

    monkeypatch.setattr("unlearnbench.suite.keys.STAGE_VERSIONS", {**STAGE_VERSIONS, "train": 99})
    monkeypatch.setattr("unlearnbench.submissions.recipes.__version__", "9.9")
    code, found, _ = verify("--sample", "2")
    assert (code, found["can't be verified"]) == (1, 2)
    assert "recorded by unlearnbench 0.1.0" in found["checked"][0]["reason"]
    assert "this is 9.9" in found["checked"][0]["reason"]


def test_plugins_that_are_not_here_or_have_changed_are_named(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    for path in (recorded / "records").glob("*.parquet"):
        if records.read(path).column("method")[0].as_py() == "mine":
            (folder / "records").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / "records")
    write_method(tmp_path / "changed", "mine", unlearn="return before.expand(sets.replicas)  # no difference")
    for plugins, message in (
        ([], "unknown method 'mine'"),
        (["--plugins", str(tmp_path / "changed")], "its method 'mine' was other code (hash "),
    ):
        given = ["--sample", "1", "--jobs", "1", "--device", "cpu", "--format", "json", *plugins]
        assert cli.main(["verify", str(folder), *given]) == 1
        (checked,) = json.loads(capsys.readouterr().out)["checked"]
        assert (checked["verdict"], message in checked["reason"]) == ("can't be verified", True)


def test_records_that_do_not_say_the_suite_seed_need_the_suite(recorded: Path, tmp_path: Path, verify: Any) -> None:
    """As all did before the seed went into their metadata."""
    for path in (recorded / "records").glob("*.parquet"):
        records.write(records.read(path).to_pylist(), tmp_path / "old" / "records" / path.name)
    code, found, _ = verify("--sample", "1", folder=tmp_path / "old")
    assert (code, found["can't be verified"]) == (1, 1)
    assert (
        "or its suite's seed, which it does not say, is not 0: give the suite with --suite"
        in found["checked"][0]["reason"]
    )
    (tmp_path / "suite.yaml").write_text("name: tiny\nseed: 5\n")
    code, found, _ = verify("--sample", "1", "--suite", str(tmp_path / "suite.yaml"), folder=tmp_path / "old")
    assert (code, found["equal"]) == (0, 1)


def test_a_run_writes_down_the_suite_seed(recorded: Path) -> None:
    for path in (recorded / "records").glob("*.parquet"):
        assert open_parquet(path).metadata.metadata[b"unlearnbench"] == b'{"suite_seed": 5}'


def test_text_has_a_line_for_each_cell(verify: Any) -> None:
    code, out, err = verify("--sample", "2", "--cheapest", form="text")
    head, *lines, last = out.splitlines()
    assert code == 0
    assert head.split() == ["key", "what", "metric", "recorded", "recomputed", "difference", "verdict"]
    assert all(line.endswith("  0           equal") for line in lines)
    assert last == (
        "verify: cells=20 sample=2 equal=2 within_tolerance=0 differs=0 failed_here=0 can't_be_verified=0 not_tried=0"
    )
    assert "plugins taken from" in err


def test_what_would_take_too_long_is_not_tried(verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "unlearnbench.submissions.verify.estimate", lambda record: 0.0 if record.common["seed"] else 1e9
    )
    code, found, _ = verify("--sample", "12", "--max-seconds", "500")
    seeds = Counter((each["what"][-1], each["verdict"]) for each in found["checked"])
    assert code == 0
    assert set(seeds) == {("0", "not tried"), ("1", "equal")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cache", "absent"], "absent: no such folder"),
        (["--suite", "absent.yaml"], "absent.yaml: no such file"),
        (["--device", "tpu"], "'tpu' is not a device"),
        (["--sample", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_options_are_one_line(verify: Any, arguments: list[str], message: str) -> None:
    code, out, err = verify("--sample", "1", *arguments)
    assert (code, out, err.count("\n"), message in err) == (2, "", 1, True), err


def test_a_folder_without_results_has_nothing_to_verify(tmp_path: Path, verify: Any) -> None:
    code, _, err = verify("--sample", "1", folder=hand_in(tmp_path / "a", [failure("vbu", 0)]))
    assert (code, "holds no results that could be computed again" in err) == (2, True)


# --- which cells -----------------------------------------------------------------------------------------------------


def made(folder: str = "a") -> list[submitted.Submitted]:
    cells = [
        cell(method, seed, attack=attack, train_seconds=float(seed + 1))
        for method in ("vbu", "hbu", "crfu")
        for attack in (None, "ridge")
        for seed in range(5)
    ]
    return [taken(each, folder) for each in cells]


@given(st.integers(0, 40), st.integers(0, 2**64), st.randoms(), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_sample_has_one_of_each_kind_before_a_second_of_any(count: int, seed: int, order: Any, cheap: bool) -> None:
    cells = made()
    chosen = sampling.sample(cells, count, seed, cheap)
    assert len({each.key for each in chosen}) == len(chosen) == min(count, 30)
    kinds = Counter((each.common["method"], each.common["attack"]) for each in chosen)
    shares = [kinds.get((method, attack), 0) for method in ("vbu", "hbu", "crfu") for attack in (None, "ridge")]
    assert max(shares) - min(shares) <= 1
    order.shuffle(cells)
    assert [each.key for each in sampling.sample(cells, count, seed, cheap)] == [each.key for each in chosen]
    longer = sampling.sample(cells, count + 1, seed, cheap)
    assert [each.key for each in longer[:count]] == [each.key for each in chosen]


def test_another_seed_is_another_sample_and_cheap_ones_are_cheap() -> None:
    cells = made()
    samples = {tuple(each.key for each in sampling.sample(cells, 6, seed)) for seed in range(20)}
    assert len(samples) == 20
    assert {each.common["seed"] for each in sampling.sample(cells, 6, 0, cheapest=True)} == {0}


# --- tolerances ------------------------------------------------------------------------------------------------------


def test_tolerances_are_those_that_the_documentation_states() -> None:
    assert describe("accuracy").tolerance(0.9, 10_000) == 0.005
    assert describe("auc").tolerance(0.6, 100) == 0.04
    assert describe("skill_mean").tolerance(0.001, 100) == 0.005
    assert describe("mse").tolerance(0.05, 100) == pytest.approx(0.001)
    assert describe("gradient_steps").tolerance(500.0, 5) == 10.0


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["cpu", "cpu: other"]))
def test_agreement_is_symmetric_and_of_equal_values(left: float, right: float, device: str) -> None:
    one, other = taken(cell("vbu", 0, left), "a"), taken(cell("vbu", 0, right, device=device), "b")
    there, back = differences(one, other), differences(other, one)
    assert [each.by for each in there] == [each.by for each in back]
    assert [each.is_small for each in there] == [each.is_small for each in back]
    assert (there == []) == (left == right)
    assert agreement.same_kind(one, other) == (device == "cpu")
    if agreement.same_kind(one, other):
        assert not any(each.is_small for each in there)


def test_a_suite_seed_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    for text, seed in (("name: a", 0), ("seed: 3", 3)):
        path.write_text(text)
        assert recipes.seed_of(path) == seed
    for text in ("seed: -1", "seed: one", "seed: true"):
        path.write_text(text)
        with pytest.raises(recipes.InputError, match="must be a whole number from 0"):
            recipes.seed_of(path)


def test_the_path_of_a_record_is_that_of_its_key(tmp_path: Path) -> None:
    folder = hand_in(tmp_path, [cell("vbu", 0)])
    assert submitted.read_cell(file_of(folder, cell("vbu", 0)), folder).origin["folder"] == str(tmp_path)
