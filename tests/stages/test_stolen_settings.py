"""Errors of inferred settings: relative, and only of what had a part in training."""

import pytest
from small_worlds import leak

from unlearnbench.settings.scenario import Network, Training
from unlearnbench.stages.scoring import Score
from unlearnbench.stages.stolen_settings import errors


def scores(**values):
    return {f"stolen_{name}": Score(value, None, None, 7) for name, value in values.items()}


def test_errors_are_relative_to_what_was_used():
    found = errors(scores(beta=0.15, l2=0.0, steps=6.0), leak(beta=0.1, training=Training(l2=0.01)), 5.0)
    assert {name: score.value for name, score in found.items()} == pytest.approx(
        {"stolen_beta_error": 0.5, "stolen_l2_error": 1.0, "stolen_steps_error": 0.2}
    )
    assert all(score.n == 7 for score in found.values())


def test_a_setting_of_zero_has_no_relative_error():
    found = errors(scores(beta=0.1, l2=0.1, steps=3.0), leak(beta=0.0), None)
    assert [score.value for score in found.values()] == [None, None, None]


def test_beta_has_no_part_in_newton_steps():
    newton = leak(beta=0.1, network=Network(name="linear"), training=Training(optimiser="newton", l2=0.1))
    found = errors(scores(beta=0.1, l2=0.1), newton, 5.0)
    assert found["stolen_beta_error"].value is None
    assert found["stolen_l2_error"].value == 0


def test_other_attacks_have_no_such_errors():
    assert errors({"auc": Score(0.7, None, None, 5)}, leak(), 5.0) == {}
