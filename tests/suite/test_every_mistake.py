"""`validate` reports every mistake of a suite, each as if it were alone, and what is fixed accordingly is valid."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import malformed_suites
import pytest
import yaml
from fake_plugins import fake_registry

from unlearnbench.cli import main as cli
from unlearnbench.registry.registry import Registry
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.errors import InputError, each_of

# Where a value of a suite that is right is replaced, by what, and how the line that reports it begins.
MISTAKES: list[tuple[str, Any, str]] = [
    ("seeds", 0, "seeds: must be greater than or equal to 1, not 0"),
    ("one.datasets.0", "smal", "one.datasets[0]: unknown dataset 'smal'; did you mean 'small'?"),
    ("one.datasets.1.plain.params.pth", "x", "one.datasets[1].plain.params.pth: unknown key 'pth'; did you mean"),
    ("one.datasets.1.plain.scenario.beta", -1, "one.datasets[1].plain.scenario.beta: must be greater than or equal"),
    ("one.scenario.stop.ruel", 1, "one.scenario.stop.ruel: unknown key 'ruel'; did you mean 'rule'?"),
    ("one.scenario.training.lr", [0.1, "x"], 'one.scenario.training.lr: must be a number, not "x"'),
    ("one.scenario.replicas", [], "one.scenario.replicas: an empty list of alternatives"),
    ("one.methods.1.fading.rate", -1, "one.methods[1].fading.rate: must be greater than or equal to 0, not -1"),
    ("one.methods.1.fading.inner.kind", "dep", "one.methods[1].fading.inner.kind: must be 'wide' or 'deep', not"),
    ("one.attacks.0", "gess", "one.attacks[0]: unknown attack 'gess'; did you mean 'guess'?"),
    ("one.timing.repeats", 0, "one.timing.repeats: must be greater than or equal to 1, not 0"),
    ("two.scenario.negatives", 2, "two.scenario: negatives must be odd: models with and without each candidate"),
    ("two.scenario.train_size", 50, "two.scenario: train_size, test_size, validation and trajectory belong to"),
    ("two.scenario.network.hidden", 0, "two.scenario.network.hidden: must be greater than or equal to 1, not 0"),
    ("two.attacks.1", "guess", "two.attacks: guess is listed twice"),
    ("three.tune.metric", "acuracy", "three.tune.metric: unknown metric 'acuracy'; did you mean 'accuracy'?"),
    ("three.tune.subject_to", {"auc": 0.5}, "three.tune.subject_to.auc: 'auc' is measured by attacks"),
    ("three.attacks", ["guess"], "three.attacks: an experiment with 'tune' has no attacks"),
    ("three.metods", [], "three.metods: unknown key 'metods'; did you mean 'methods'?"),
]


def with_mistakes(mistakes: Sequence[tuple[str, Any, str]]) -> dict[str, Any]:
    suite: dict[str, Any] = copy.deepcopy(malformed_suites.VALID)
    for path, value, _ in mistakes:
        *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place: Any = suite["experiments"] if keys else suite
        for key in keys:
            place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
        place[last] = value
    return suite


def registry(plugin_dirs: Sequence[Path] = ()) -> Registry:
    return replace(fake_registry(), broken=[])


def found(folder: Path, suite: Any) -> list[str]:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(suite, sort_keys=False))
    try:
        load_suite(path, registry())
    except InputError as error:
        return [str(each).removeprefix(f"{path}:").removeprefix("experiments.") for each in each_of(error)]
    return []


def test_a_dozen_mistakes_are_all_reported_and_each_as_if_it_were_alone(tmp_path: Path) -> None:
    together = found(tmp_path, with_mistakes(MISTAKES))
    assert len(together) == len(set(together)) == len(MISTAKES)
    for mistake in MISTAKES:
        (alone,) = found(tmp_path, with_mistakes([mistake]))
        assert alone.startswith(mistake[2])
        assert alone in together


def test_what_is_fixed_as_reported_is_valid(tmp_path: Path) -> None:
    left = list(MISTAKES)
    while left:  # from the last on: fewer each time, and never a new one
        before = found(tmp_path, with_mistakes(left))
        left.pop()
        after = found(tmp_path, with_mistakes(left))
        assert len(after) == len(before) - 1
        assert set(after) < set(before)
    assert found(tmp_path, malformed_suites.VALID) == []


def test_the_same_mistake_in_a_hundred_combinations_is_one_line(tmp_path: Path) -> None:
    suite = with_mistakes([("two.scenario.beta", list(range(100)), "")])
    suite["experiments"]["two"]["scenario"] |= {"negatives": 2, "replicas": 0}
    assert found(tmp_path, suite) == [
        "two.scenario.replicas: must be greater than or equal to 1, not 0",
        "two.scenario: negatives must be odd: models with and without each candidate have halves of each"
        " class (dataset 'small')",
    ]


def test_a_rule_about_a_value_that_is_wrong_itself_waits_for_it(tmp_path: Path) -> None:
    wrong = {"stop": {"rule": "backdoor", "steps": 0}, "backdoor": {"size": 0}}
    assert found(tmp_path, with_mistakes([(f"one.scenario.{key}", value, "") for key, value in wrong.items()])) == [
        "one.scenario.backdoor.size: must be greater than or equal to 1, not 0",
        "one.scenario.stop.steps: must be greater than or equal to 1, not 0",
    ]


def test_a_misspelt_key_that_must_be_there_is_one_mistake(tmp_path: Path) -> None:
    suite = copy.deepcopy(malformed_suites.VALID)
    suite["experiments"]["one"]["datsets"] = suite["experiments"]["one"].pop("datasets")
    assert found(tmp_path, suite) == ["one.datsets: unknown key 'datsets'; did you mean 'datasets'?"]


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unlearnbench.registry.registry.discover", registry)
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "cache"))

    def run(suite: dict[str, Any], *arguments: str) -> tuple[int, str, str]:
        Path("suite.yaml").write_text(yaml.safe_dump(suite))
        code = cli.main([arguments[0], "suite.yaml", *arguments[1:]])
        return (code, *capsys.readouterr())

    return run


def test_validate_shows_a_line_for_each_and_run_the_first_and_how_many_more(call: Call) -> None:
    suite = with_mistakes(MISTAKES[:4])
    code, out, err = call(suite, "validate")
    assert (code, out) == (2, "")
    assert [line.startswith("error: suite.yaml:") for line in err.splitlines()] == [True] * 4
    code, out, said = call(suite, "validate", "--format", "json")
    answer = json.loads(out)
    assert (code, answer["valid"], said) == (2, False, err)
    assert [f"error: {each['where']}: {each['what']}" for each in answer["errors"]] == err.splitlines()
    for verb in ("run", "plan"):
        code, out, said = call(suite, verb)
        assert (code, out) == (2, "")
        assert said == f"{err.splitlines()[0]} (and 3 more mistakes: `unlearnbench validate` shows all)\n"


def test_more_than_fifty_mistakes_end_with_their_number(call: Call) -> None:
    suite = copy.deepcopy(malformed_suites.VALID)
    suite["experiments"]["one"]["attacks"] = [f"no{number}" for number in range(60)]
    code, _, err = call(suite, "validate")
    assert (code, len(err.splitlines())) == (2, 51)
    assert err.splitlines()[-1] == "error: and 10 more; --format json shows all"
    assert len(json.loads(call(suite, "validate", "--format", "json")[1])["errors"]) == 60
