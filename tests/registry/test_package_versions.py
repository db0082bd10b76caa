"""Versions of packages: in keys, in records, and said where a table mixes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_records import row, write_cells
from submitted_folders import everything
from tiny_runs import Place, write_method, write_suite

from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.leaderboard.mixed_versions import notes
from unlearnbench.registry.registry import discover
from unlearnbench.suite import keys, plan
from unlearnbench.suite.suite import load_suite
from unlearnbench.system import package_code, package_versions
from unlearnbench.system.package_versions import shown

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Packages as if they were installed in another version."""
    version = package_versions.version

    def install(**versions: str) -> None:
        named = {name.replace("_", "-"): text for name, text in versions.items()}
        monkeypatch.setattr(package_versions, "version", lambda name: named[name] if name in named else version(name))
        package_versions.version_of.cache_clear()

    yield install
    package_versions.version_of.cache_clear()


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize(
    ("package", "full", "expected"),
    [
        ("torch", "2.13.0+cpu", "2.13"),
        ("torch", "2.13.1", "2.13"),
        ("torch", "2.14.0.dev20260101+cu130", "2.14.0.dev20260101+cu130"),
        ("torch", "2.14.0a0+gitabc", "2.14.0a0+gitabc"),
        ("numpy", "2.4.0rc1", "2.4.0rc1"),
        ("scikit-learn", "1.9.0.post1", "1.9"),
        ("kornia", "0.7.1+local", "0.7.1"),
        ("torch", "", ""),
        ("torch", "unknown", "unknown"),
    ],
)
def test_what_of_a_version_keys_hold(package: str, full: str, expected: str) -> None:
    assert shown(package, full) == expected


def stages(folder: Path) -> dict[str, set[str]]:
    """The keys of each stage of a suite of released plugins."""
    settings = load_suite(folder / "suite.yaml", discover()).settings()
    found: dict[str, set[str]] = {}
    for task in plan.build(settings, folder).tasks:
        found.setdefault(task.stage, set()).add(task.key)
    return found


@pytest.mark.parametrize(
    ("versions", "same"),
    [
        ({"torch": "2.11.0", "numpy": "2.3.0"}, {"train", "retrained", "unlearn", "shadows", "attack"}),
        ({"torch": "2.11.1+cu128", "numpy": "2.3.5"}, {"train", "retrained", "unlearn", "shadows", "attack"}),
        ({"torch": "2.12.0", "numpy": "2.3.0"}, set()),
        ({"torch": "2.11.0", "numpy": "2.4.0"}, set()),
        ({"torch": "2.11.0", "numpy": "2.3.0", "scipy": "9.9.0"}, {"train", "retrained"}),
        ({"torch": "2.11.0", "numpy": "2.3.0", "scikit_learn": "9.9.0"}, {"train", "retrained", "unlearn", "shadows"}),
    ],
)
def test_keys_hold_what_each_stage_computes_with(
    tmp_path: Path, install: Install, versions: dict[str, str], same: set[str]
) -> None:
    write_suite(tmp_path)
    install(torch="2.11.0", numpy="2.3.0")
    before = stages(tmp_path)
    install(**versions)
    after = stages(tmp_path)
    assert {stage for stage in before if before[stage] == after[stage]} == same
    assert all(not before[stage] & after[stage] for stage in set(before) - same)


def test_recorded_versions_give_the_recorded_key_whatever_is_installed(tmp_path: Path, install: Install) -> None:
    write_suite(tmp_path, attacks="")
    settings = load_suite(tmp_path / "suite.yaml", discover()).settings()
    recorded = {"torch": "2.11.0+cu128", "numpy": "2.3.1", "scipy": "1.16.0"}
    install(**recorded)
    expected = [cell.key for cell in plan.build(settings, tmp_path).cells]
    install(torch="2.13.0", numpy="2.4.0", scipy="1.17.0")
    again = plan.build(settings, tmp_path, recorded=recorded)
    assert [cell.key for cell in again.cells] == expected
    assert [cell.key for cell in plan.build(settings, tmp_path).cells] != expected


def test_a_key_does_not_depend_on_what_runs_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one key that is written down: its form has changed if this fails."""
    monkeypatch.setattr(keys, "STAGE_VERSIONS", dict.fromkeys(keys.STAGE_VERSIONS, 1))
    recorded = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "scipy": "1.17.1", "scikit-learn": "1.9.1"}
    assert keys.keyed("attack", {"seed": 0}, recorded) == {
        "protocol": keys.PROTOCOL_VERSION,
        "stage": "attack",
        "version": 1,
        "packages": {"torch": "2.13", "numpy": "2.4", "scipy": "1.17", "scikit-learn": "1.9"},
        "seed": 0,
    }


def test_pillow_is_in_the_keys_of_pictures_and_of_nothing_else(install: Install) -> None:
    datasets = discover().datasets
    assert datasets["images"].packages == ("pillow",)
    assert datasets["digits"].packages == ()


def test_a_plugins_own_packages_are_in_its_keys_and_records(place: Place, install: Install) -> None:
    """It does not matter where in its file it imports them, nor whether it uses them."""
    write_method(place.folder / "own", "mine", body="def why(self):\n    import typer, scipy.special")
    write_suite(place.folder, methods="mine, vbu", attacks="")

    def install_and_run(text: str) -> Any:
        install(typer=text)
        return place.run("--plugins", "own").counts

    assert install_and_run("0.12.3")["done"] == 4
    assert install_and_run("0.12.3+local")["cached"] == 4
    counts = install_and_run("0.12.4")
    assert (counts["done"], counts["cached"]) == (1, 3)
    (mine,) = {row["versions"] for row in read(place.results) if row["method"] == "mine"}
    assert json.loads(mine)["typer"] == "0.12.4"
    assert json.loads(mine)["code"] == package_code.CODE[:12]
    assert not any("typer" in json.loads(row["versions"]) for row in read(place.results) if row["method"] == "vbu")


def test_after_an_upgrade_the_same_command_computes_again(place: Place, install: Install) -> None:
    write_suite(place.folder, attacks="")
    install(torch="2.11.0")
    assert place.run().counts["done"] == 3
    install(torch="2.11.3+cpu")
    assert place.run().counts["cached"] == 3
    install(torch="2.12.0")
    ran = place.run()
    assert ran.counts["done"] == 3
    assert "kept apart 3 stale records" in ran.err
    assert {json.loads(row["versions"])["torch"] for row in read(place.results)} == {"2.12.0"}
    install(torch="2.11.0")
    assert place.run().counts["done"] == 3  # from the store: nothing is lost
    assert len(list((place.results / "records" / "stale").glob("*.parquet"))) == 6


def test_verify_computes_what_another_version_recorded(
    place: Place, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is held to the tolerance of another kind of machine, and its recipe still to its key."""
    write_suite(place.folder, attacks="")
    install(torch="2.11.0")
    place.run()
    shutil.rmtree(place.folder / "cache")
    before = everything(place.results)
    install(torch="2.12.0")
    capsys.readouterr()
    given = ["--sample", "9", "--jobs", "1", "--device", "cpu", "--format", "json"]
    assert cli.main(["verify", str(place.results), *given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["checked"]) == 3
    assert {(each["verdict"], each["same_kind"]) for each in found["checked"]} == {("equal", False)}
    assert everything(place.results) == before


def test_merge_keeps_records_of_two_versions_apart_and_says_which(
    place: Place, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    write_suite(place.folder, attacks="")
    for number in ("2.11.0", "2.12.0"):
        install(torch=number)
        place.run("--results", number)
    capsys.readouterr()
    assert cli.main(["merge", "2.11.0", "2.12.0", "--out", "all"]) == 0
    out = capsys.readouterr().out
    assert out.count("kept apart: ") == 3
    assert out.count("torch 2.11.0") == out.count("torch 2.12.0") == 3
    assert out.endswith("apart=3\n")
    assert {json.loads(row["versions"])["torch"] for row in read(place.folder / "all")} == {"2.12.0"}


def read(results: Path) -> list[dict[str, Any]]:
    from unlearnbench.records import writing as records

    rows: list[dict[str, Any]] = records.read_folder(results / "records")[0].to_pylist()
    return rows


# --- tables ----------------------------------------------------------------------------------------------------------


def record(method: str, seed: int, **versions: str) -> dict[str, Any]:
    said = json.dumps({name.replace("_", "-"): text for name, text in versions.items()})
    return row(method, seed, "accuracy", 0.9, versions=said)


def noted(folder: Path, made: list[dict[str, Any]]) -> dict[str, str | None]:
    board = leaderboard.build(write_cells(folder / "records", made), folder)
    return {each["method_id"]: each["note"] for each in board.astype(object).to_dict("records")}


def test_seeds_of_several_versions_are_not_averaged_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = [json.dumps({"torch": f"2.{11 + seed}.0+cpu", "numpy": "2.4.6"}) for seed in (0, 2)]
    made = [row("crfu", seed, "auc", 0.6, attack="m", versions=said) for seed, said in enumerate(versions)]
    assert noted(tmp_path, made) == {"crfu": "averages seeds of torch 2.11 and 2.13"}
    for form in ("text", "markdown", "json", "csv", "latex", "html", "leaks"):
        assert cli.main(["report", str(tmp_path), "--format", form]) == 0
        out = capsys.readouterr().out.replace("\\", "")
        assert "averages seeds of torch 2.11 and 2.13" in " ".join(out.split()), form


def test_methods_of_several_versions_do_not_stand_side_by_side_in_silence(tmp_path: Path) -> None:
    made = [record("crfu", seed, torch="2.11.0", scikit_learn="1.8.0") for seed in (0, 1)]
    made += [record("retrain", seed, torch="2.13.0", scikit_learn="1.8.0") for seed in (0, 1)]
    assert noted(tmp_path, made) == {
        "crfu": "stands beside numbers of other versions: torch 2.11 (others: 2.13)",
        "retrain": "stands beside numbers of other versions: torch 2.13 (others: 2.11)",
    }


def test_versions_that_change_no_number_are_not_told(tmp_path: Path) -> None:
    """Nor are those of records that do not say theirs."""
    same = {"torch": "2.13.0", "numpy": "2.4.1"}
    made = [
        record("crfu", 0, **same, python="3.11.1", code="a", unlearnbench="0.1.0", pandas="3.0.0", pillow="11.0.0"),
        record("crfu", 1, **same | {"torch": "2.13.1"}, python="3.12.1", code="b", pandas="3.1.0", pillow="12.0.0"),
        record("crfu", 2),
    ]
    assert noted(tmp_path, made) == {"crfu": None}


def test_packages_of_plugins_and_pillow_of_pictures_are_told(tmp_path: Path) -> None:
    import pandas as pd

    made = [record("crfu", seed, kornia=f"0.{seed}.0", pillow=f"{seed + 10}.0.0") for seed in (7, 8)]
    frame = pd.DataFrame(made).assign(contender=0, dataset_id="images")
    frame["dataset"] = "images"
    assert list(notes(frame)) == ["averages seeds of kornia 0.7.0 and 0.8.0, pillow 17.0.0 and 18.0.0"]
    frame["dataset"] = "digits"
    assert list(notes(frame)) == ["averages seeds of kornia 0.7.0 and 0.8.0"]
