"""Which settings are tried: the section `tune`, what it asks of its experiment, and the draw."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from fake_plugins import fake_registry, info

from unlearnbench.registry.registry import Registry
from unlearnbench.settings.grids import merge
from unlearnbench.suite import tune_section
from unlearnbench.suite.selection import Selection
from unlearnbench.suite.suite import CellSetting, Suite, load_suite
from unlearnbench.system.errors import InputError

LARGE = {"rate": [n / 10 for n in range(200)], "lr": [n / 1000 for n in range(1, 101)]}  # 20,000 combinations
TUNED: dict[str, Any] = {
    "name": "tiny",
    "seed": 7,
    "experiments": {
        "one": {
            "datasets": ["small"],
            "scenario": {"kind": "utility", "erased_count": 3, "validation": 20},
            "methods": [{"fading": LARGE}],
            "tune": {"metric": "accuracy", "samples": 5},
        }
    },
}


def registry() -> Registry:
    """The fake plugins, and a second method with the same parameters."""
    found = fake_registry()
    found.methods["waning"] = info("method", "waning", found.methods["fading"].cls)
    return found


def load(tmp_path: Path, **changes: Any) -> Suite:
    """The suite, with changes to its experiment."""
    suite = merge(copy.deepcopy(TUNED), {"experiments": {"one": changes}})
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(suite))
    return load_suite(path, registry())


def names(suite: Suite, method: str = "fading") -> list[str]:
    settings = suite.settings(Selection(seeds=1))
    return [setting.method.id for setting in settings if setting.method.info.name == method]


# --- the draw ------------------------------------------------------------------------------------------------------


def test_the_settings_of_a_method_are_the_same_whatever_the_other_methods_are(tmp_path: Path) -> None:
    alone = names(load(tmp_path))
    assert len(set(alone)) == 5
    both = load(tmp_path, methods=[{"waning": LARGE}, {"fading": LARGE}], datasets=["plain", "small"])
    assert list(dict.fromkeys(names(both))) == alone
    assert [name.replace("waning", "fading") for name in dict.fromkeys(names(both, "waning"))] != alone


def test_more_samples_keep_those_there_were_and_another_seed_draws_others(tmp_path: Path) -> None:
    few = names(load(tmp_path))
    assert set(few) < set(names(load(tmp_path, tune={"samples": 8})))
    path = tmp_path / "suite.yaml"
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8').replace('"samples": 8', '"samples": 5'))
    assert set(names(load_suite(path, registry()))) != set(few)


def test_the_union_of_a_methods_grids_is_drawn_from_without_replacement(tmp_path: Path) -> None:
    entries = [{"fading": {"rate": [1, 2, 3]}}, {"fading": {"rate": [3, 4], "on": [True, False]}}]
    assert names(load(tmp_path, methods=entries, tune={"samples": 100})) == [
        "fading[rate=1]",
        "fading[rate=2]",
        "fading[rate=3]",
        "fading[on=true,rate=3]",
        "fading[on=true,rate=4]",
        "fading[rate=4]",
    ]
    assert len(set(names(load(tmp_path, methods=entries, tune={"samples": 6})))) == 6
    whole = names(load(tmp_path, methods=entries, tune={"samples": None}))
    assert whole == names(load(tmp_path, methods=entries, tune={"samples": 100}))


def test_references_are_there_and_never_drawn(tmp_path: Path) -> None:
    suite = load(tmp_path, methods=["retrain", {"fading": LARGE}])
    settings = [setting.method for setting in suite.settings(Selection(seeds=1))]
    assert [method.id for method in settings if method.is_reference] == ["original", "retrain"]
    assert sum(not method.is_reference for method in settings) == 5


def test_a_grid_that_is_not_drawn_from_keeps_its_limit_and_one_that_is_has_one_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"methods\[0\]\.fading: a grid of over 1,000 combinations"):
        load(tmp_path, tune={"samples": None})
    more = {**LARGE, "batch": list(range(1, 7))}
    with pytest.raises(InputError, match=r"methods\[0\]\.fading: a grid of over 100,000 combinations"):
        load(tmp_path, methods=[{"fading": more}])


def test_values_that_are_not_drawn_are_checked_too(tmp_path: Path) -> None:
    rates = [n / 10 for n in range(500)]
    with pytest.raises(InputError, match=r"methods\[0\]\.fading\.rate: must be greater than or equal to 0, not -1"):
        load(tmp_path, methods=[{"fading": {"rate": [*rates, -1], "on": [True, False]}}], tune={"samples": 1})


# --- rounds --------------------------------------------------------------------------------------------------------


def test_the_second_round_is_what_the_first_left_out_of_finalists_and_references(tmp_path: Path) -> None:
    suite = load(tmp_path, tune={"samples": 3, "screening_seeds": 1, "finalists": 1})
    first, every = suite.settings(), suite.settings(screening=False)
    assert {setting.seed for setting in first} == {0}
    assert {setting.seed for setting in every} == {0, 1, 2}
    finalist = tune_section.identity_of(first[-1])
    rest = tune_section.second_round(every, first, {finalist})

    def seeds(setting: CellSetting) -> set[int]:
        return {other.seed for other in rest if other.method.id == setting.method.id}

    assert [seeds(setting) for setting in first] == [{1, 2}, {1, 2}, set(), set(), {1, 2}]
    assert len(suite.settings(Selection(seeds=1), screening=False)) == len(suite.settings(Selection(seeds=1)))


def test_only_experiments_with_the_section_are_tuned_and_run_refuses_those_it_would_run_whole(tmp_path: Path) -> None:
    plain = {key: value for key, value in TUNED["experiments"]["one"].items() if key != "tune"}
    path = tmp_path / "suite.yaml"
    both = {"plain": {**plain, "methods": ["fading"]}, "one": TUNED["experiments"]["one"]}
    path.write_text(json.dumps({**TUNED, "experiments": both}))
    suite = load_suite(path, registry())
    assert tune_section.tuned_only(suite, Selection()).experiments == ("one",)
    with pytest.raises(InputError, match=r"-e plain: has no section 'tune'; experiments that have one: one"):
        tune_section.tuned_only(suite, Selection(experiments=("plain",)))
    tune_section.refuse_partial(suite, suite.settings(Selection(experiments=("plain",))))
    with pytest.raises(InputError, match=r"experiments\.one: this experiment is for 'unlearnbench tune'"):
        tune_section.refuse_partial(suite, suite.settings())


# --- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scenario": {"validation": None}}, "experiments.one.scenario: 'validation' is missing: say how many"),
        (
            {"scenario": {"kind": "leak", "erased_count": 1, "validation": None}},
            "experiments.one.scenario.kind: an experiment with 'tune' must be of kind 'utility'",
        ),
        ({"attacks": ["guess"]}, "experiments.one.attacks: an experiment with 'tune' has no attacks"),
        ({"tune": {"metric": "acuracy"}}, "one.tune.metric: unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ({"tune": {"metric": "kld_to_prior"}}, "one.tune.metric: 'kld_to_prior' has no direction: neither higher nor"),
        ({"tune": {"metric": "mse"}}, "one.tune.metric: 'mse' is measured by attacks, which"),
        ({"tune": {"metric": "unlearn_seconds"}}, "one.tune.metric: 'unlearn_seconds' depends on the machine"),
        ({"tune": {"metric": "backdoor_success"}}, "one.tune.metric: 'backdoor_success' needs a scenario with a"),
        ({"tune": {"subject_to": {"forgt": 1}}}, "one.tune.subject_to.forgt: unknown metric 'forgt'; did you mean"),
        ({"tune": {"subject_to": {"x\u202ey\n": 1}}}, "unknown metric 'x\\u202ey'"),
        ({"tune": {"subject_to": {"forgot": "much"}}}, "one.tune.subject_to.forgot: must be a number, not"),
        ({"tune": {"sampels": 3}}, "one.tune.sampels: unknown key 'sampels'; did you mean 'samples'?"),
        ({"tune": {"samples": 0}}, "one.tune.samples: must be greater than or equal to 1, not 0"),
        ({"tune": {"finalists": 2}}, "one.tune: give screening_seeds and finalists together, or neither"),
        (
            {"tune": {"finalists": 2, "screening_seeds": 3}},
            "one.tune.screening_seeds: must be fewer than the suite's seeds, of which there are 3",
        ),
        ({"methods": ["retrain"]}, "one.methods: no method that 'tune' could choose a setting of"),
        ({"methods": []}, "one.methods: no method that 'tune' could choose a setting of"),
    ],
)
def test_mistakes(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, **changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_override_can_not_bring_the_test_images_in(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'validation' is missing"):
        load(tmp_path).settings(Selection(overrides=("validation=null",)))
