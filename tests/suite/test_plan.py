"""Keys: they change with everything that numbers depend on, and with nothing else."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_plugins import Original, Small, fake_registry, info
from tiny_runs import write_method, write_suite

from unlearnbench.plugin import Access
from unlearnbench.registry.plugin_info import released_plugins
from unlearnbench.registry.registry import Registry, discover
from unlearnbench.suite import keys as keys_of
from unlearnbench.suite import plan
from unlearnbench.suite.plan import Cell, Plan
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.errors import InputError

SUITE = """
name: tiny
seeds: 2
experiments:
  one:
    datasets: [small]
    scenario: {kind: leak, erased_count: 1, beta: [0, 0.1]}
    methods: [fading, {fading: {rate: 1}}]
    attacks: [guess, peek]
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    (tmp_path / "images").write_bytes(b"images")
    monkeypatch.setattr(Small, "files", lambda self, root: [root / "images"])
    return fake_registry()


@pytest.fixture
def build(tmp_path: Path, registry: Registry) -> Any:
    def build(text: str = SUITE, registry: Registry = registry) -> Plan:
        (tmp_path / "suite.yaml").write_text(text)
        return plan.build(load_suite(tmp_path / "suite.yaml", registry).settings(), tmp_path)

    return build


def keys(planned: Plan) -> dict[tuple[Any, ...], str]:
    return {identity(cell): cell.key for cell in planned.cells}


def identity(cell: Cell) -> tuple[Any, ...]:
    return cell.scenario_id, cell.method_id, cell.attack_id, cell.seed


def stages(planned: Plan, stage: str) -> set[str]:
    return {task.key for task in planned.tasks if task.stage == stage}


def with_method(registry: Registry, **changes: Any) -> Registry:
    return replace(registry, methods={**registry.methods, "fading": replace(registry.methods["fading"], **changes)})


def test_stages_are_shared_and_come_after_those_they_need(build: Any) -> None:
    planned = build()
    assert len(planned.cells) == 2 * 2 * 4 * 3
    assert len(set(keys(planned).values())) == len(planned.cells)
    assert len(stages(planned, "train")) == 2 * 2  # beta and seed; methods share the original
    assert len(stages(planned, "unlearn")) == 2 * 2 * 4  # attacks share the erasures
    assert len(stages(planned, "attack")) == 2 * 2 * 4 * 2
    seen: set[str] = set()
    for task in planned.tasks:
        assert set(task.needs.values()) <= seen
        seen.add(task.key)


def test_keys_depend_on_cells_and_not_on_the_order_or_the_rest_of_the_suite(build: Any) -> None:
    expected = keys(build())
    other_order = SUITE.replace("[fading, {fading: {rate: 1}}]", "[{fading: {rate: 1}}, fading]")
    assert (
        keys(build(other_order.replace("[0, 0.1]", "[0.1, 0]").replace("[guess, peek]", "[peek, guess]"))) == expected
    )
    fewer = keys(build(SUITE.replace("seeds: 2", "seeds: 1").replace("[guess, peek]", "[peek]")))
    assert fewer.items() < expected.items()


@pytest.mark.parametrize(
    ("change", "into"),
    [
        ("seeds: 2", "seeds: 2\nseed: 5"),
        ("erased_count: 1", "erased_count: 2"),
        ("beta: [0, 0.1]", "beta: [0, 0.1], replicas: 7"),
        ("name: tiny", "name: other"),
        ("  one:", "  two:"),
    ],
)
def test_keys_change_with_the_suites_seed_and_scenario(build: Any, change: str, into: str) -> None:
    assert not set(keys(build()).values()) & set(keys(build(SUITE.replace(change, into))).values())


def test_a_released_plugin_is_known_by_its_version_and_an_edited_one_by_its_file(
    build: Any, registry: Registry
) -> None:
    first, second = sorted(released_plugins())[:2]
    expected = keys(build(registry=with_method(registry, sha256=first)))
    assert keys(build(registry=with_method(registry, sha256=second))) == expected
    changed = keys(build(registry=with_method(registry, sha256=first, version=2)))
    edited = keys(build(registry=with_method(registry, sha256="1" * 64)))
    for other in (changed, edited):
        assert {name for name in expected if expected[name] != other[name]} == {
            name for name in expected if name[1].startswith("fading")
        }
    assert keys(build(registry=with_method(registry, sha256="2" * 64))) != edited


def test_keys_change_with_the_file_of_an_outside_plugin_and_not_with_its_place(build: Any, registry: Registry) -> None:
    outside = with_method(registry, builtin=False)
    expected = keys(build(registry=outside))
    assert keys(build(registry=with_method(outside, origin="elsewhere", version=7))) == expected
    assert keys(build(registry=with_method(outside, sha256="1" * 64))) != expected
    small = replace(registry.datasets["small"], builtin=False)
    data = keys(build(registry=replace(registry, datasets={"small": small})))
    changed = keys(build(registry=replace(registry, datasets={"small": replace(small, sha256="1" * 64)})))
    assert not set(data.values()) & set(changed.values())


def test_keys_change_with_the_data_which_are_hashed_once(build: Any, tmp_path: Path) -> None:
    before = build()
    (tmp_path / "images").write_bytes(b"other!")
    after = build()
    assert not set(keys(before).values()) & set(keys(after).values())
    assert list(before.data_files) == list(after.data_files) == [str(tmp_path / "images")]
    assert before.data_files != after.data_files
    assert "images" in after.data_folders[str(tmp_path)]


def test_keys_change_with_the_protocol(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = keys(build())
    monkeypatch.setattr(keys_of, "PROTOCOL_VERSION", 99)
    assert not set(expected.values()) & set(keys(build()).values())


def test_a_method_that_trains_its_own_original_gets_its_own_train_stage(build: Any, registry: Registry) -> None:
    class Trainer(Original):
        def train(self, data: Any, context: Any) -> Any:
            return None

    shared = build()
    planned = build(
        registry=replace(registry, methods={**registry.methods, "retrain": info("method", "retrain", Trainer)})
    )
    assert len(stages(planned, "train")) == len(stages(shared, "train")) + 2 * 2
    assert stages(planned, "train") > stages(shared, "train")
    own = {cell.stages["train"] for cell in planned.cells if cell.method_id == "retrain"}
    others = {cell.stages["train"] for cell in planned.cells if cell.method_id != "retrain"}
    assert not own & others


def test_shadows_belong_to_the_method_and_their_number(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_plugins.Guess.access", property(lambda self: Access(shadows=self.params.shadows)))
    planned = build()
    assert len(stages(planned, "shadows")) == 2 * 2 * 4  # both attacks use the same
    assert {cell.shadows for cell in planned.cells} == {None, 8}
    more_targets = build(SUITE.replace("erased_count: 1", "erased_count: 1, targets: 5"))
    assert stages(more_targets, "shadows") == stages(planned, "shadows")
    assert not stages(more_targets, "unlearn") & stages(planned, "unlearn")


def test_cells_know_what_plugins_say_of_themselves(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = keys(build())
    monkeypatch.setattr("fake_plugins.Guess.ranks_by", ("skill_mean", "auc"))
    monkeypatch.setattr(Original, "reference", True)
    planned = build()
    assert keys(planned) == expected  # it changes no number
    said = {(cell.attack_id is not None, cell.ranks_by) for cell in planned.cells}
    assert said == {(False, None), (True, ("skill_mean", "auc"))}
    references = {cell.method_id: cell.reference for cell in planned.cells}
    assert references["retrain"] is True
    assert {value for name, value in references.items() if name.startswith("fading")} == {False}
    assert {cell.own_original for cell in planned.cells} == {False}


@pytest.mark.parametrize("ranks_by", ["auc", ["auc"], ("secrecy",), ([],), 3])
def test_an_attack_that_is_ranked_by_no_metrics_fails_its_own_cells(
    build: Any, monkeypatch: pytest.MonkeyPatch, ranks_by: Any
) -> None:
    monkeypatch.setattr("fake_plugins.Guess.ranks_by", ranks_by)
    for cell in build().cells:
        if cell.attack_id is None:
            assert cell.error is None
        else:
            assert cell.error is not None
            assert "ranks_by: TypeError: must be None or a tuple of metrics" in cell.error


def test_a_skipped_cell_has_no_tasks_and_a_key_of_its_own(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = keys(build())
    monkeypatch.setattr("fake_plugins.Fading.skip", lambda self, scenario: None if scenario.beta else "needs beta")
    planned = build()
    skipped = [cell for cell in planned.cells if cell.skip is not None]
    assert {(cell.scenario_id, cell.skip) for cell in skipped} == {("leak,beta=0,erased_count=1", "needs beta")}
    assert len(stages(planned, "unlearn")) == 2 * (2 + 4)
    assert all(cell.key != expected[identity(cell)] for cell in skipped)


def test_missing_data_is_bad_input_and_a_broken_dataset_is_not(build: Any, tmp_path: Path) -> None:
    (tmp_path / "images").unlink()
    planned = build()  # a plugin that does not look before it names its files
    assert {cell.error for cell in planned.cells} == {
        f"plan: dataset small: files: FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/images'"
    }
    assert planned.tasks == []


def test_missing_data_of_a_careful_dataset_is_bad_input(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def files(self: Any, root: Path) -> list[Path]:
        raise InputError("small", "not found")

    monkeypatch.setattr(Small, "files", files)
    with pytest.raises(InputError, match="not found"):
        build()


def test_ten_thousand_cells_are_planned_within_seconds(build: Any) -> None:
    text = SUITE.replace("seeds: 2", "seeds: 420")
    started = time.perf_counter()
    planned = build(text)
    assert len(planned.cells) == 420 * 24
    assert time.perf_counter() - started < 4


def test_real_plugins_are_planned_by_the_hash_of_their_file(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, methods="mine", attacks="")

    def key() -> str:
        settings = load_suite(suite, discover([tmp_path / "own"])).settings()
        return next(cell.key for cell in plan.build(settings, tmp_path).cells if cell.method_id == "mine")

    write_method(tmp_path / "own", "mine")
    before = key()
    assert key() == before
    write_method(tmp_path / "own", "mine", body="# a comment\n")
    assert key() != before


@pytest.mark.parametrize(("erased", "skipped"), [("random", False), ("class", False), ("memorised", True)])
def test_remaining_images_are_compared_only_with_erased_ones_that_are_like_them(
    tmp_path: Path, erased: str, skipped: bool
) -> None:
    """Of the images that a rule could have chosen, the remaining ones are those that it did not choose."""
    path = write_suite(tmp_path, attacks="remaining_membership")
    path.write_text(path.read_text().replace("targets: 2", f"targets: 2\n      erased: {erased}"))
    planned = plan.build(load_suite(path, discover()).settings(), tmp_path)
    reasons = {cell.skip for cell in planned.cells if cell.setting.attack is not None}
    assert reasons == (
        {"remaining images are like erased ones only where erased is random or class, not memorised"}
        if skipped
        else {None}
    )
