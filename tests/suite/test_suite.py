"""Suite files: what they mean, and how every mistake is named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT
from fake_plugins import fake_registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unlearnbench.registry.registry import discover
from unlearnbench.settings.grids import merge
from unlearnbench.settings.scenario import Scenario
from unlearnbench.suite.selection import Selection
from unlearnbench.suite.suite import CellSetting, Suite, load_suite
from unlearnbench.system.errors import InputError

REGISTRY = fake_registry()
MINIMAL: dict[str, Any] = {
    "name": "tiny",
    "experiments": {"one": {"datasets": ["small"], "scenario": {"kind": "utility", "erased_count": 3}}},
}
LEAK = {"kind": "leak", "erased_count": 1}


def load(tmp_path: Path, suite: Any) -> Suite:
    path = tmp_path / "suite.yaml"
    path.write_text(suite if isinstance(suite, str) else yaml.safe_dump(suite, sort_keys=False))
    return load_suite(path, REGISTRY)


def one(**changes: Any) -> dict[str, Any]:
    """A suite of one experiment, with `changes` to it."""
    return merge(copy.deepcopy(MINIMAL), {"experiments": {"one": changes}})  # type: ignore[no-any-return]


def unique(cells: list[CellSetting], part: str) -> list[str]:
    return list(dict.fromkeys(getattr(cell, part) or "-" for cell in cells))


def ids(cells: list[CellSetting], part: str) -> list[str]:
    return list(dict.fromkeys(choice.id if (choice := getattr(cell, part)) else "-" for cell in cells))


def error(tmp_path: Path, suite: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(tmp_path, suite)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(tmp_path / "suite.yaml"))
    return text.removeprefix(str(tmp_path / "suite.yaml")).removeprefix(":")


# --- what a suite means --------------------------------------------------------------------------------------------


def test_references_are_added_first_and_seeds_default_to_three(tmp_path: Path) -> None:
    cells = load(tmp_path, one(methods=["fading"])).settings()
    assert ids(cells, "method") == ["original", "retrain", "fading"]
    assert [cell.seed for cell in cells] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert {cell.suite for cell in cells} == {"tiny"}
    assert all(cell.attack is None for cell in cells)


def test_listed_references_keep_their_place_and_none_are_added_without_references(tmp_path: Path) -> None:
    cells = load(tmp_path, one(methods=["fading", "retrain"])).settings()
    assert ids(cells, "method") == ["original", "fading", "retrain"]
    cells = load(tmp_path, one(methods=["fading"], references=False)).settings()
    assert ids(cells, "method") == ["fading"]


def test_every_method_has_a_cell_without_attack_and_one_per_attack(tmp_path: Path) -> None:
    suite = one(scenario=LEAK, methods=["fading"], attacks=["guess", {"peek": {"shadows": [8, 9]}}])
    cells = load(tmp_path, suite).settings(Selection(seeds=1))
    assert len(cells) == 3 * 4
    assert ids(cells, "attack") == ["-", "guess", "peek", "peek[shadows=9]"]


def test_layers_of_a_scenario_later_over_earlier(tmp_path: Path) -> None:
    override = {"small": {"scenario": {"stop": {"steps": 7}, "training": {"epochs": 2}}}}
    suite = one(datasets=["small", "plain"], scenario={"stop": {"steps": 5, "epochs": 4}, "network": {"hidden": 10}})
    cells = load(tmp_path, suite).settings(Selection(seeds=1))
    small, plain = (cell.scenario for cell in cells if cell.method.id == "original")
    assert (small.beta, small.network.latent, small.network.hidden) == (0.01, 8, 10)
    assert (plain.beta, plain.network.latent, plain.network.hidden) == (0.001, 49, 10)
    suite["experiments"]["one"]["datasets"] = [override]
    (scenario,) = {cell.scenario for cell in load(tmp_path, suite).settings()}
    assert (scenario.stop.steps, scenario.stop.epochs, scenario.training.epochs) == (7, 4, 2)
    (scenario,) = {cell.scenario for cell in load(tmp_path, suite).settings(Selection(overrides=("stop.steps=9",)))}
    assert (scenario.stop.steps, scenario.stop.epochs) == (9, 4)


def test_a_datasets_leak_sizes_are_used_in_leak_experiments_only(tmp_path: Path) -> None:
    (scenario,) = {cell.scenario for cell in load(tmp_path, one(scenario={**LEAK, "leak": {"pool": 60}})).settings()}
    assert scenario.leak is not None
    assert (scenario.leak.target, scenario.leak.pool) == (100, 60)
    (scenario,) = {cell.scenario for cell in load(tmp_path, one()).settings()}
    assert scenario.leak is None


def test_grids_expand_at_any_depth_with_the_first_key_slowest(tmp_path: Path) -> None:
    scenario = {"beta": [0, 1], "stop": {"rule": "steps", "steps": [5, 6]}}
    method = {"fading": {"rate": [1, 2], "inner": {"depth": [1, 3]}, "layers": [4, 5]}}
    cells = load(tmp_path, one(scenario=scenario, methods=[method])).settings(Selection(seeds=1))
    assert [(cell.scenario.beta, cell.scenario.stop.steps) for cell in cells[::6]] == [(0, 5), (0, 6), (1, 5), (1, 6)]
    assert ids(cells, "method")[2:] == [
        "fading[layers=[4,5],rate=1]",
        "fading[inner.depth=3,layers=[4,5],rate=1]",
        "fading[layers=[4,5],rate=2]",
        "fading[inner.depth=3,layers=[4,5],rate=2]",
    ]


def test_a_grid_of_mappings_is_merged_alternative_by_alternative(tmp_path: Path) -> None:
    suite = one(scenario={"backdoor": [None, {}], "network": [{"hidden": 5}, {"latent": [3, 4]}]})
    cells = load(tmp_path, suite).settings(Selection(seeds=1))
    assert unique(cells, "scenario_id") == [
        f"{backdoor}erased_count=3,network.{network}"
        for backdoor in ("", "backdoor,")
        for network in ("hidden=5", "latent=3", "latent=4")
    ]
    assert {cell.scenario.network.latent for cell in cells if cell.scenario.network.hidden == 5} == {8}


def test_ids_show_what_differs_from_the_defaults_in_alphabetical_order(tmp_path: Path) -> None:
    method = {"fading": {"rate": 1.0, "lr": 1e-5, "label": "a b", "on": True, "extra": {"depth": 2}, "form": "paper"}}
    cells = load(tmp_path, one(methods=[method])).settings()
    assert ids(cells, "method")[2] == 'fading[extra,extra.depth=2,label="a b",lr=1e-05,on=true,rate=1]'
    assert unique(cells, "scenario_id") == ["erased_count=3"]


def test_scenario_ids_stay_when_the_grid_grows(tmp_path: Path) -> None:
    def names(**scenario: Any) -> list[str]:
        return unique(load(tmp_path, one(scenario=scenario)).settings(), "scenario_id")

    assert names(beta=0) == ["beta=0,erased_count=3"]
    assert names(beta=[0, 0.01], replicas=[64, 8]) == [
        "beta=0,erased_count=3",
        "beta=0,erased_count=3,replicas=8",
        "erased_count=3",
        "erased_count=3,replicas=8",
    ]
    assert names(**LEAK, beta=1) == ["leak,beta=1,erased_count=1"]
    assert names(backdoor={"size": 3}, stop={"rule": "backdoor"}) == [
        "backdoor,backdoor.size=3,erased_count=3,stop.rule=backdoor"
    ]


def test_numbers_without_a_dot_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    text = "name: t\nexperiments: {one: {datasets: [small], scenario: {kind: utility, erased_count: 3, beta: 1e-4}}}"
    assert load(tmp_path, text).settings()[0].scenario.beta == 1e-4


@pytest.mark.parametrize("name", ["quickstart", "paper"])
def test_shipped_suites_are_valid(name: str) -> None:
    suite = load_suite(ROOT / "suites" / f"{name}.yaml", discover())
    assert suite.name == name
    assert suite.settings()


# --- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"methods": ["fadin"]}, "experiments.one.methods[0]: unknown method 'fadin'; did you mean 'fading'?"),
        ({"methods": ["cracked"]}, "experiments.one.methods[0]: method 'cracked' is broken: RuntimeError: no"),
        ({"methods": ["guess"]}, "no method is named 'guess'; that is the name of an existing attack"),
        ({"attacks": ["gess"]}, "experiments.one.attacks[0]: unknown attack 'gess'; did you mean 'guess'?"),
        ({"datasets": ["smal"]}, "experiments.one.datasets[0]: unknown dataset 'smal'; did you mean 'small'?"),
        ({"metods": ["fading"]}, "experiments.one.metods: unknown key 'metods'; did you mean 'methods'?"),
        ({"scenario": {"bta": 1}}, "experiments.one.scenario.bta: unknown key 'bta'; did you mean 'beta'?"),
        (
            {"scenario": {"stop": {"rule": "stps"}}},
            "experiments.one.scenario.stop.rule: must be 'backdoor', 'steps', 'match_holdout' or 'none', not \"stps\";"
            " did you mean 'steps'?",
        ),
        ({"scenario": {"stop": {"ruel": 1}}}, "experiments.one.scenario.stop.ruel: unknown key 'ruel'; did you mean"),
        ({"scenario": {"beta": [0, -1]}}, "scenario.beta: must be greater than or equal to 0, not -1"),
        ({"scenario": {"beta": "much"}}, 'experiments.one.scenario.beta: must be a number, not "much"'),
        ({"scenario": {"beta": True}}, "experiments.one.scenario.beta: must be a number, not true"),
        ({"scenario": {"beta": []}}, "experiments.one.scenario.beta: an empty list of alternatives"),
        ({"scenario": {"erased_count": 1.5}}, "scenario.erased_count: must be a whole number, not 1.5"),
        ({"scenario": {"backdoor": 5}}, "experiments.one.scenario.backdoor: must be a mapping, not 5"),
        (
            {"scenario": {"stop": {"rule": "backdoor"}}},
            "scenario: stop.rule 'backdoor' needs a backdoor (dataset 'small')",
        ),
        ({"scenario": {"erased_ratio": 0.1}}, "give exactly one of erased_ratio and erased_count"),
        ({"scenario": {"kind": None}}, "scenario.kind: must be 'utility' or 'leak', not null"),
        ({"scenario": 3}, "experiments.one.scenario: must be a mapping, not 3"),
        ({"scenario": {"replicas": list(range(1, 1002))}}, "a grid of over 1,000 combinations"),
        (
            {"datasets": [{"small": {"scenario": {"beta": -1}}}]},
            "experiments.one.datasets[0].small.scenario.beta: must be greater",
        ),
        ({"datasets": [{"small": {"scenaro": {}}}]}, "datasets[0].small.scenaro: unknown key 'scenaro'; did you mean"),
        ({"datasets": [{"plain": {"params": {"pth": 1}}}]}, "datasets[0].plain.params.pth: unknown key 'pth'; did you"),
        ({"datasets": []}, "experiments.one.datasets: "),
        (
            {"datasets": ["small", "small"]},
            "experiments.one.datasets: small with scenario erased_count=3 is listed twice",
        ),
        ({"methods": [{"fading": {"rat": 1}}]}, "methods[0].fading.rat: unknown key 'rat'; did you mean 'rate'?"),
        ({"methods": [{"fading": {"rate": -1}}]}, "experiments.one.methods[0].fading.rate: must be greater than"),
        ({"methods": [{"fading": {"inner": {"kind": "dep"}}}]}, "fading.inner.kind: must be 'wide' or 'deep'"),
        ({"methods": [{"fading": None, "rate": 1}]}, "methods[0]: must be a name, or one name with a mapping"),
        ({"methods": [3]}, "experiments.one.methods[0]: must be a name"),
        ({"methods": ["fading", {"fading": {"rate": [1, 0.5]}}]}, "experiments.one.methods: fading is listed twice"),
        ({"methods": [], "references": False}, "experiments.one.methods: no methods"),
        ({"references": "no"}, 'experiments.one.references: must be true or false, not "no"'),
    ],
)
def test_mistakes_in_an_experiment(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    assert expected in error(tmp_path, one(**changes))


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("", "empty; expected a mapping"),
        ("- a\n- b\n", "a list at the top level; expected a mapping"),
        ("just text", "a text at the top level"),
        ("a: [1, 2", "line 1, column"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("name: x\nname: y\n", "key 'name' is given twice"),
        ("experiments: {one: {methods: [], methods: []}}", "experiments.one: key 'methods' is given twice"),
        ("a: &x [1]\nb: *x\n", "anchors and aliases"),
        ("a: &a [x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", "anchors and aliases"),
        ("a: " + "[" * 1000 + "]" * 1000, "nested more than 20 deep"),
        ("{" * 100_000, "nested more than 20 deep"),
        ("1: x", "key 1 is not text"),
        ("on: x", "'on' is true in YAML 1.1 and text in YAML 1.2"),
        ("[a, b]: x", "is not text"),
        ("a: 2020-01-01", "a: '2020-01-01' is a date"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4: tag tag:yaml.org,2002:python/object/apply"),
        ("a: !!python/name:os.system", "tag tag:yaml.org,2002:python/name:os.system is not allowed"),
        ("a: !!set {x, y}", "tag tag:yaml.org,2002:set is not allowed"),
        ("a: !!int 010", "tag tag:yaml.org,2002:int is not allowed"),
        ("a: !!timestamp x", "tag tag:yaml.org,2002:timestamp is not allowed"),
        ("a: " + "9" * 5000, "number too large"),
        ("a: 99999999999999999999", "number too large"),
        ('a: "\\ud800"', "control characters"),
        ('name: "\\e[31m"', "control characters"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("#" * 1_000_001, "over 1,000,000 bytes"),
        ("name: Big Name\nexperiments: {}", "name: names are lower-case letters"),
        ("name: tiny", "'experiments' is missing"),
        ("name: ../up\nexperiments: {}", "name: names are lower-case"),
        ("nam: tiny", "nam: unknown key 'nam'; did you mean 'name'?"),
        ("name: tiny\nexperiments: {A B: {}}", "experiments.A B: names are lower-case"),
        ({**MINIMAL, "seeds": 0}, "seeds: must be greater than or equal to 1, not 0"),
        ({**MINIMAL, "seeds": 10**9}, "seeds: must be less than or equal to 1000"),
        ({**MINIMAL, "seed": "0"}, 'seed: must be a whole number, not "0"'),
        ({**MINIMAL, "seed": float("nan")}, "seed: must be a whole number, not NaN"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, suite: Any, expected: str) -> None:
    assert expected in error(tmp_path, suite)


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.yaml: not UTF-8 text \(byte 10\)"):
        load_suite(tmp_path / "latin.yaml", REGISTRY)
    with pytest.raises(InputError, match=r"no such file; did you mean '.*/latin\.yaml'\?"):
        load_suite(tmp_path / "latn.yaml", REGISTRY)
    with pytest.raises(InputError, match="can't be read"):
        load_suite(tmp_path, REGISTRY)


# --- selections ----------------------------------------------------------------------------------------------------

PAIR: dict[str, Any] = {
    "name": "pair",
    "seeds": 2,
    "experiments": {
        "plain": {
            "datasets": ["small", {"plain": {"params": {"path": "a,b"}}}],
            "scenario": {"kind": "utility", "erased_count": 3},
            "methods": [{"fading": {"rate": [0.5, 1], "inner": {"kind": "deep"}, "layers": [4, 5]}}],
        },
        "leak": {
            "datasets": ["small"],
            "scenario": LEAK,
            "methods": ["fading"],
            "attacks": ["guess", {"peek": {"shadows": [8, 9]}}],
        },
    },
}


def select(tmp_path: Path, **selection: Any) -> list[CellSetting]:
    return load(tmp_path, PAIR).settings(Selection(**selection))


def test_a_method_filter_keeps_the_references_and_drops_experiments_without_the_method(tmp_path: Path) -> None:
    cells = select(tmp_path, methods=("fading[rate=1]",))
    assert ids(cells, "method") == ["original", "retrain", "fading[inner.kind=deep,layers=[4,5],rate=1]"]
    assert unique(cells, "experiment") == ["plain"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("fading", 3),
        ("fading[rate=0.5]", 2),
        ("fading[ rate = 5e-1 ]", 2),
        ("fading[inner.kind=deep]", 2),
        ("fading[inner.kind=deep,rate=1]", 1),
        ("fading[layers=[4,5],rate=1.0]", 1),
        ("fading[extra=null,on=false,rate=1]", 1),
        ('fading[label=""]', 3),
    ],
)
def test_filters_match_when_all_given_parameters_are_equal(tmp_path: Path, text: str, count: int) -> None:
    cells = select(tmp_path, methods=(text,), seeds=1, datasets=("small",))
    assert len([cell for cell in cells if cell.method.info.name == "fading" and cell.attack is None]) == count


def test_attack_dataset_and_experiment_filters(tmp_path: Path) -> None:
    cells = select(tmp_path, attacks=("peek[shadows=9]",))
    assert (unique(cells, "experiment"), ids(cells, "attack")) == (["leak"], ["-", "peek[shadows=9]"])
    cells = select(tmp_path, datasets=("plain[path='a,b']",))
    assert ids(cells, "dataset") == ['plain[path="a,b"]']
    assert unique(select(tmp_path, experiments=("leak",)), "experiment") == ["leak"]
    assert {cell.seed for cell in select(tmp_path, seeds=4)} == {0, 1, 2, 3}


def test_seed_zero_is_the_same_cell_however_many_seeds(tmp_path: Path) -> None:
    many = [cell for cell in select(tmp_path, seeds=5) if cell.seed == 0]
    assert many == select(tmp_path, seeds=1)


def test_overrides_reach_every_selected_experiment(tmp_path: Path) -> None:
    cells = select(tmp_path, overrides=("beta=0", "network.hidden=[4, 5]", "seeds=1"))
    assert {(cell.scenario.beta, cell.scenario.network.hidden, cell.seed) for cell in cells} == {(0, 4, 0), (0, 5, 0)}
    assert {cell.scenario.network.latent for cell in cells if cell.dataset.id == "small"} == {8}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"experiments": ("leek",)}, "-e leek: no experiment 'leek' in suite 'pair'; did you mean 'leak'?"),
        ({"methods": ("fadng",)}, "-m fadng: unknown method 'fadng'; did you mean 'fading'?"),
        ({"methods": ("cracked",)}, "-m cracked: method 'cracked' is broken: RuntimeError: no"),
        ({"attacks": ("gues",)}, "-a gues: unknown attack 'gues'; did you mean 'guess'?"),
        ({"datasets": ("smal",)}, "-d smal: unknown dataset 'smal'; did you mean 'small'?"),
        ({"methods": ("fading[rte=1]",)}, "-m fading[rte=1]: unknown key 'rte'; did you mean 'rate'?"),
        ({"methods": ("fading[rate.x=1]",)}, "'rate' has no keys of its own"),
        ({"methods": ("fading[rate=7]",)}, "nothing like it in suite 'pair', which has: original, retrain, fading["),
        ({"methods": ("fading[on=0]",)}, "nothing like it"),
        ({"methods": ("fading[rate]",)}, "write key=value"),
        ({"methods": ("fading[rate=1",)}, "write a name, or name[param=value,...]"),
        ({"methods": ("fading[rate=1,,on=true]",)}, "write parameters as [param=value,...]"),
        ({"methods": ("fading[rate={]",)}, "write parameters as"),
        ({"methods": ("",)}, "write a name"),
        (
            {"experiments": ("plain",), "attacks": ("guess",)},
            "-a guess: nothing like it in suite 'pair', which has: none",
        ),
        ({"datasets": ("plain",), "attacks": ("guess",)}, "no experiment has all of what -e, -m, -a, -d and -n select"),
        ({"overrides": ("bta=1",)}, "--set bta=1: unknown key 'bta'; did you mean 'beta'?"),
        ({"overrides": ("stop.stps=1",)}, "--set stop.stps=1: unknown key 'stps'; did you mean 'steps'?"),
        ({"overrides": ("beta.x=1",)}, "--set beta.x=1: 'beta' has no keys of its own"),
        ({"overrides": ("beta",)}, "--set beta: write key=value"),
        ({"overrides": ("beta=-1",)}, "--set beta: must be greater than or equal to 0, not -1"),
        ({"overrides": ("beta=[",)}, "--set beta=[: line 1"),
        ({"overrides": ("beta=1", "beta=2")}, "'beta' is set twice"),
        ({"overrides": ("seeds=0",)}, "seeds must be a whole number from 1"),
        ({"overrides": ("seeds=2",), "seeds": 3}, "--set seeds: the number of seeds is also given by --seeds"),
    ],
)
def test_mistakes_in_a_selection(tmp_path: Path, selection: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        select(tmp_path, **selection)
    assert expected in str(caught.value)


# --- anything at all -----------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = st.sampled_from([*Scenario.model_fields, "rate", "inner", "small", "fading", "steps"]) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_a_mutated_suite_is_valid_or_an_input_error(tmp_path: Path, data: st.DataObject) -> None:
    suite: Any = copy.deepcopy(PAIR)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([place for place in _places(suite) if place]))
        parent = suite
        for key in path:
            parent = parent[key]
        if isinstance(parent, dict) and data.draw(st.booleans()):
            parent[data.draw(KEYS)] = data.draw(VALUES)
        else:
            parent[last] = data.draw(VALUES)
    text = yaml.safe_dump(suite, allow_unicode=False)
    outcome: Any
    try:
        outcome = load(tmp_path, text).settings()
    except InputError as error:
        outcome = str(error)
    assert outcome
    assert "\n" not in outcome
