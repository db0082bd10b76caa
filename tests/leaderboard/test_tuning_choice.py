"""The choice: which setting wins, which can't, and what is said where none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from fake_plugins import Fading, Original, Small, info
from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.leaderboard.tuning_choice import Pick, Trial, finalists, picks, trials
from unlearnbench.networks.mlp import BottleneckMlp
from unlearnbench.plugin import Method
from unlearnbench.settings.scenario import BottleneckParams, PluginParams, Scenario
from unlearnbench.suite.choices import PluginChoice
from unlearnbench.suite.plan import Cell
from unlearnbench.suite.suite import CellSetting
from unlearnbench.suite.tune_section import TuneFile, identity_of

CLEAN = Scenario(kind="utility", erased_count=3, validation=20)
STOPS = Scenario.model_validate(
    {"kind": "utility", "erased_count": 3, "validation": 20, "backdoor": {}, "stop": {"rule": "backdoor"}}
)
Values = Mapping[str, Sequence[float | None]]  # one value a seed


def cell(method_id: str, seed: int, scenario: Scenario, cls: type[Method] = Fading) -> Cell:
    name = method_id.partition("[")[0]
    choice = PluginChoice(info("method", name, cls), PluginParams(), method_id)
    dataset = PluginChoice(info("dataset", "small", Small), PluginParams(), "small")
    network = PluginChoice(info("model", "mlp", BottleneckMlp), BottleneckParams(), "mlp")
    setting = CellSetting("tiny", 0, "one", dataset, scenario, "default", network, choice, None, seed)
    return Cell(f"{method_id} {seed}", setting, "", {})


def measured(settings: Mapping[str, Values], scenario: Scenario = CLEAN) -> list[Trial]:
    """Trials of settings by method id, with one cell for each seed that any metric has a value for."""
    cells, rows = [], []
    for method_id, values in settings.items():
        for seed in range(max(len(some) for some in values.values())):
            cells.append(cell(method_id, seed, scenario, Original if method_id == "retrain" else Fading))
            for metric, some in values.items():
                row = {"cell_key": cells[-1].key, "metric": metric, "value": some[seed], "status": "ok", "error": None}
                rows.append(row)
    return trials(cells, rows)


def pick(settings: Mapping[str, Values], scenario: Scenario = CLEAN, seeds: int = 3, **tune: Any) -> Pick:
    """What is chosen among the settings of one method."""
    rules = {"one": TuneFile.model_validate({"metric": "accuracy", **tune})}
    (only,) = picks(measured(settings, scenario), rules, seeds)
    return only


def chosen(found: Pick) -> str | None:
    return found.chosen.setting.method.id if found.chosen is not None else None


def same(value: float, **others: float) -> Values:
    return {name: [each] * 3 for name, each in {"accuracy": value, **others}.items()}


def test_the_best_mean_over_seeds_wins_in_the_direction_of_the_metric() -> None:
    settings = {"m[a=1]": same(0.8), "m[a=2]": {"accuracy": [0.7, 1.0, 0.9]}, "m[a=3]": same(0.85)}
    found = pick(settings)
    assert chosen(found) == "m[a=2]"
    assert [trial.setting.method.id for trial in found.trials] == ["m[a=2]", "m[a=3]", "m[a=1]"]
    assert found.chosen is not None
    estimate = found.chosen.estimates["accuracy"]
    # Student's t with 2 degrees of freedom: 4.303 * 0.1528 / sqrt(3).
    assert (estimate.mean, estimate.n) == (pytest.approx(0.8667, abs=1e-4), 3)
    assert estimate.low == pytest.approx(0.8667 - 0.3795, abs=1e-3)
    steps = {"m[a=1]": same(0.5, gradient_steps=5), "m[a=2]": same(0.9, gradient_steps=50)}
    assert chosen(pick(steps, metric="gradient_steps")) == "m[a=1]"


def test_bounds_are_the_most_or_the_least_and_may_be_met_exactly() -> None:
    settings = {
        "m[a=1]": same(0.9, backdoor_accuracy=0.03, other_classes_accuracy=0.9),
        "m[a=2]": same(0.8, backdoor_accuracy=0.02, other_classes_accuracy=0.9),
        "m[a=3]": same(0.7, backdoor_accuracy=0.00, other_classes_accuracy=0.95),
    }
    assert chosen(pick(settings)) == "m[a=1]"
    assert chosen(pick(settings, subject_to={"backdoor_accuracy": 0.02})) == "m[a=2]"
    both = pick(settings, subject_to={"backdoor_accuracy": 0.02, "other_classes_accuracy": 0.95})
    assert (chosen(both), both.met) == ("m[a=3]", 1)


def test_bounds_hold_for_the_mean_not_for_every_seed() -> None:
    values: Values = {"accuracy": [0.9] * 3, "backdoor_accuracy": [0.05, 0.0, 0.0]}
    assert chosen(pick({"m": values}, subject_to={"backdoor_accuracy": 0.02})) == "m"


def test_nothing_is_chosen_where_no_setting_will_do_and_the_closest_is_told() -> None:
    settings = {
        "m[a=1]": same(0.9, backdoor_accuracy=0.5, backdoor_success=0.0),
        "m[a=2]": same(0.2, backdoor_accuracy=0.03, backdoor_success=0.04),
    }
    found = pick(settings, subject_to={"backdoor_accuracy": 0.02, "backdoor_success": 0.02})
    assert (found.chosen, found.met) == (None, 0)
    assert found.reason == "no setting meets backdoor_accuracy <= 0.02 and backdoor_success <= 0.02"
    assert found.closest is not None
    assert found.closest.setting.method.id == "m[a=2]"  # distances: 0.5 + 1 against 24
    assert found.rule.broken(found.closest) == [
        "backdoor_accuracy is 0.03, not <= 0.02",
        "backdoor_success is 0.04, not <= 0.02",
    ]


def test_what_did_not_forget_on_every_seed_never_wins_where_the_scenario_stops_at_forgetting() -> None:
    settings = {
        "m[a=1]": {"accuracy": [0.9] * 3, "forgot": [1.0, 1.0, 0.0]},
        "m[a=2]": {"accuracy": [0.8] * 3, "forgot": [1.0] * 3},
    }
    assert chosen(pick(settings, STOPS)) == "m[a=2]"
    assert chosen(pick(settings, CLEAN)) == "m[a=1]"
    alone = pick({"m[a=1]": settings["m[a=1]"]}, STOPS)
    assert (alone.chosen, alone.reason) == (None, "no setting meets forgot on every seed")
    assert alone.rule.broken(alone.trials[0]) == ["did not forget on 1 of 3 seeds"]
    unknown = pick({"m": {"accuracy": [0.9] * 3, "forgot": [1.0, 1.0, None]}}, STOPS)
    assert unknown.chosen is None
    assert "forgot was not measured on every seed" in str(unknown.reason)


def test_ties_go_to_fewer_gradient_steps_then_to_the_method_id() -> None:
    settings = {
        "m[a=3]": same(0.9, gradient_steps=20),
        "m[a=2]": same(0.9, gradient_steps=10),
        "m[a=1]": same(0.9, gradient_steps=10),
        "m[a=0]": same(0.9),
    }
    found = pick(settings)
    assert [trial.setting.method.id for trial in found.trials] == ["m[a=1]", "m[a=2]", "m[a=3]", "m[a=0]"]


def test_a_setting_without_all_its_results_never_wins() -> None:
    cells = [cell(name, seed, CLEAN) for name in ("m[a=1]", "m[a=2]") for seed in range(3)]
    rows: list[dict[str, Any]] = [
        {"cell_key": each.key, "metric": "accuracy", "value": 0.8, "status": "ok", "error": None} for each in cells[1:]
    ]
    error = {"status": "failed", "error": "unlearn: RuntimeError: no", "value": None, "metric": "status"}
    rows.append({**error, "cell_key": cells[0].key})
    rules = {"one": TuneFile(metric="accuracy")}
    (found,) = picks(trials(cells, rows), rules, 3)
    assert (chosen(found), found.incomplete) == ("m[a=2]", 1)
    assert found.state(found.trials[1]) == ("incomplete", "no result for 1 of 3 seeds: unlearn: RuntimeError: no")
    (none,) = picks(trials(cells, rows[-1:]), rules, 3)
    assert (none.chosen, none.closest) == (None, None)
    assert none.reason is not None
    assert none.reason.startswith("no setting has results for all 3 seeds (no result for 3 of 3 seeds: ")


def test_only_settings_with_all_seeds_can_win() -> None:
    settings: dict[str, Values] = {"m[a=1]": {"accuracy": [1.0]}, "m[a=2]": same(0.5), "m[a=3]": same(0.6)}
    found = pick(settings)
    assert (chosen(found), found.finalists, found.met) == ("m[a=3]", 2, 3)
    assert [found.state(trial)[0] for trial in found.trials] == ["chosen", "met", "screened_out"]
    early = pick({"m[a=1]": {"accuracy": [1.0]}})
    assert (early.chosen, early.reason) == (None, "no setting has results for all 3 seeds (the run ended early)")


def test_finalists_are_the_best_by_the_rule_and_nothing_that_failed() -> None:
    settings: dict[str, Values] = {
        "m[a=1]": {"accuracy": [0.9], "backdoor_accuracy": [0.5]},
        "m[a=2]": {"accuracy": [0.5], "backdoor_accuracy": [0.0]},
        "m[a=3]": {"accuracy": [0.4], "backdoor_accuracy": [0.1]},
        "m[a=4]": {"accuracy": [None], "backdoor_accuracy": [0.0]},
        "other": {"accuracy": [0.1], "backdoor_accuracy": [0.9]},
    }

    def kept(count: int) -> list[str]:
        tune = {"metric": "accuracy", "subject_to": {"backdoor_accuracy": 0.02}, "screening_seeds": 1}
        rules = {"one": TuneFile.model_validate({**tune, "finalists": count})}
        return sorted(place[3] for place in finalists(measured(settings), rules))

    assert kept(1) == ["m[a=2]", "other"]
    assert kept(2) == ["m[a=2]", "m[a=3]", "other"]
    assert kept(9) == ["m[a=1]", "m[a=2]", "m[a=3]", "other"]


def test_references_are_shown_and_methods_are_chosen_for_separately() -> None:
    found = picks(
        measured({"retrain": same(0.99), "m[a=1]": same(0.8), "m[a=2]": same(0.9), "k": same(0.5)}),
        {"one": TuneFile(metric="accuracy")},
        3,
    )
    assert [(each.first.method.info.name, each.is_reference) for each in found] == [
        ("retrain", True),
        ("m", False),
        ("k", False),
    ]
    assert found[0].state(found[0].trials[0]) == ("reference", None)
    assert [chosen(each) for each in found[1:]] == ["m[a=2]", "k"]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.1)), min_size=1, max_size=12), st.randoms())
def test_the_choice_is_the_maximum_over_what_meets_the_bounds_in_any_order(
    values: list[tuple[float, float]], random: Any
) -> None:
    settings = {
        f"m[a={number}]": same(accuracy, backdoor_accuracy=left) for number, (accuracy, left) in enumerate(values)
    }
    shuffled = list(settings.items())
    random.shuffle(shuffled)
    found = pick(dict(shuffled), subject_to={"backdoor_accuracy": 0.02})
    assert chosen(found) == chosen(pick(settings, subject_to={"backdoor_accuracy": 0.02}))
    allowed = [trial for trial in found.trials if trial.estimates["backdoor_accuracy"].mean <= 0.02]
    assert found.met == len(allowed)
    if not allowed:
        assert found.chosen is None
    else:
        assert found.chosen is not None
        best = max(trial.estimates["accuracy"].mean for trial in allowed)
        assert found.chosen.estimates["accuracy"].mean == pytest.approx(best, abs=1e-11)


def test_a_place_is_where_a_setting_stands() -> None:
    assert identity_of(cell("m[a=1]", 2, CLEAN).setting) == ("one", "small", "default", "m[a=1]")
