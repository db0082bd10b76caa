"""What holds for every suite, filter and override, whatever is in them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import yaml
from fake_plugins import fake_registry
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from unlearnbench.settings.naming import short
from unlearnbench.settings.scenario import canonical
from unlearnbench.suite import plan
from unlearnbench.suite.plan import Plan
from unlearnbench.suite.selection import parse_filter, parse_overrides
from unlearnbench.suite.suite import Suite, load_suite
from unlearnbench.system import yaml_values
from unlearnbench.system.errors import InputError

REGISTRY = fake_registry()
FADING = REGISTRY.methods["fading"].cls.Params
FEW = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

NAMES = st.text("abcxyz019_-", min_size=1, max_size=12)
# What YAML may hold and a terminal may show: everything but control characters and halves of pairs.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12) | st.text(
    "\"'\\,[]{}=: #&*!|>-%@`x1\U0001f600", max_size=6
)
RATIOS = st.floats(0.001, 0.4)


def grids(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A value, or a list of alternatives."""
    return values | st.lists(values, min_size=1, max_size=2, unique=True)


def mappings(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these keys, in any order."""
    some = st.fixed_dictionaries({}, optional=values)
    return some.flatmap(lambda chosen: st.permutations(list(chosen.items()))).map(dict)


FADINGS = mappings(
    rate=grids(st.floats(0, 1e6) | st.integers(0, 9)),
    form=st.sampled_from(["paper", "released"]),
    layers=st.lists(st.integers(-9, 9), min_size=1, max_size=3),
    inner=mappings(depth=grids(st.integers(-9, 9)), kind=st.sampled_from(["wide", "deep"])),
    extra=st.none() | mappings(depth=st.integers(0, 9)),
    label=TEXTS,
    on=st.booleans(),
)
SCENARIOS = mappings(
    beta=grids(st.floats(0, 10)),
    network=mappings(hidden=grids(st.integers(1, 99)), latent=st.integers(1, 99)),
    training=mappings(epochs=st.integers(1, 9), lr=st.floats(1e-6, 1)),
    stop=mappings(steps=st.integers(1, 99)),
    backdoor=st.none() | st.just({}),
    train_size=st.none() | st.integers(20, 999),
    test_size=st.none() | st.integers(20, 999),
    replicas=st.integers(1, 4096),
)
SIZES = st.one_of(
    st.fixed_dictionaries({"erased_count": st.integers(1, 9)}), st.fixed_dictionaries({"erased_ratio": RATIOS})
)
EXPERIMENTS = st.fixed_dictionaries(
    {
        "datasets": st.sampled_from([["small"], ["plain", "small"]])
        | TEXTS.map(lambda path: [{"plain": {"params": {"path": path}}}]),
        "scenario": st.tuples(SIZES, SCENARIOS).map(lambda parts: {"kind": "utility", **parts[1], **parts[0]}),
        "methods": st.sampled_from([[], ["retrain"]]) | FADINGS.map(lambda params: [{"fading": params}]),
    },
    optional={"description": TEXTS, "attacks": st.sampled_from([[], ["peek", {"guess": {"shadows": [1, 2]}}]])},
)  # fmt: skip
SUITES = st.fixed_dictionaries(
    {"name": NAMES, "experiments": st.dictionaries(NAMES, EXPERIMENTS, min_size=1, max_size=2)},
    optional={"description": TEXTS, "seed": st.integers(0, 2**63 - 1), "seeds": st.integers(1, 3)},
)


def dump(suite: Any, **style: Any) -> str:
    """A suite as YAML; through JSON, because what is one object in two places would become an alias."""
    text: str = yaml.dump(json.loads(json.dumps(suite)), Dumper=yaml_values.Dumper, sort_keys=False, **style)
    return text


def load(folder: Path, text: str) -> Suite:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path, REGISTRY)


def planned(suite: Suite, folder: Path) -> Plan:
    return plan.build(suite.settings(), folder)


@FEW
@given(suite=SUITES)
def test_a_suite_that_was_read_and_written_back_is_the_same_plan(tmp_path: Path, suite: dict[str, Any]) -> None:
    first = load(tmp_path, dump(suite, allow_unicode=True))
    assert first.settings()
    once = planned(first, tmp_path)
    filed = first.file.model_dump(mode="json")
    for experiment in filed["experiments"].values():
        assert experiment.pop("timing") is None
        assert experiment.pop("tune") is None
    for text in (dump(filed, allow_unicode=False, width=20), dump(filed, default_flow_style=True), json.dumps(filed)):
        again = load(tmp_path, text)
        assert again.settings() == first.settings()
        assert planned(again, tmp_path) == once


@FEW
@given(suite=SUITES, data=st.data())
def test_cells_do_not_depend_on_the_order_of_a_suites_keys(tmp_path: Path, suite: dict[str, Any], data: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in data.draw(st.permutations(list(value)))}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    first = planned(load(tmp_path, dump(suite)), tmp_path)
    other = planned(load(tmp_path, dump(shuffled(suite))), tmp_path)
    assert {cell.key for cell in other.cells} == {cell.key for cell in first.cells}
    assert {task.key for task in other.tasks} == {task.key for task in first.tasks}


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values that a filter can name, by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


PARAMS = mappings(
    rate=st.floats(0, 1e6), layers=st.lists(st.integers(-9, 9), min_size=1, max_size=3), on=st.booleans(),
    inner=mappings(depth=st.integers(-9, 9)), extra=st.none() | mappings(kind=st.sampled_from(["wide", "deep"])),
)  # fmt: skip
SINGLE = st.tuples(PARAMS, TEXTS).map(lambda parts: {**parts[0], "label": parts[1]})


@settings(FEW, max_examples=150)
@given(chosen=SINGLE, other=SINGLE, data=st.data())
def test_a_filter_written_from_a_contenders_values_finds_it_and_no_other(
    chosen: dict[str, Any], other: dict[str, Any], data: Any
) -> None:
    one, two = (FADING.model_validate(values) for values in (chosen, other))
    values = leaves(canonical(one))
    keys = data.draw(st.lists(st.sampled_from(sorted(values.keys() - {"label"})), unique=True))
    keys.insert(data.draw(st.integers(0, len(keys))), "label")
    space = data.draw(st.sampled_from(["", " ", "  "]))
    parameters = ",".join(f"{space}{key}{space}={space}{short(values[key])}{space}" for key in keys)
    found = parse_filter("method", f"fading[{parameters}]", REGISTRY)
    assert found.matches("fading", one)
    assert not found.matches("fadin", one)
    others = leaves(canonical(two))
    assert found.matches("fading", two) == all(others.get(key, ...) == values[key] for key in keys)


@settings(FEW, max_examples=150)
@given(
    text=st.text(max_size=40) | st.text("fading[],={}\"'\\ rate1.&*!:-", max_size=40).map(lambda end: f"fading[{end}")
)
def test_any_text_is_a_filter_or_one_line(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_filter("method", text, REGISTRY).name == "fading"


@settings(FEW, max_examples=60)
@given(value=st.integers(1, 99) | st.floats(0, 9) | st.booleans() | TEXTS | st.lists(st.integers(0, 9), max_size=3))
def test_an_override_is_the_value_that_was_written(value: Any) -> None:
    assume(value != "")
    layer, seeds = parse_overrides((f"network.hidden={short(value)}", "seeds=2"))
    assert seeds == 2
    found = layer["network"]["hidden"]
    assert found == value
    assert isinstance(found, bool) == isinstance(value, bool)
