import math
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.report.tables import tables
from unlearnbench.report.text_tables import NOTHING, format_interval, format_value
from unlearnbench.system.errors import InputError
from unlearnbench.system.escaping import plain


def test_one_table_for_each_setting_with_its_contenders(frame):
    attacked, utility = tables(frame)
    assert attacked.title == "leak / mnist / single / ridge / tier same / observes log probabilities / 512 shadows"
    assert utility.title == "utility / mnist / single"
    assert [row[1] for row in attacked.rows] == ["crfu", "vbu", "hbfu", "lazy", "broken", "retrain"]


def test_what_can_not_be_told_from_the_best_is_marked_and_the_unranked_have_no_place(frame):
    table = tables(frame)[0]
    assert [row[0] for row in table.rows] == ["1≈", "1≈", "3", NOTHING, NOTHING, NOTHING]
    assert any("≈ not distinguishable from the best" in line for line in table.legend)
    assert (
        table.legend[-1] == "power: a difference of 0.05 to the best is detected with probability 1.00 (declared: 0.8)"
    )


def test_a_best_that_all_others_are_told_from_is_marked_by_its_place_alone(frame):
    table = tables(frame[frame["method_id"] != "vbu"])[0]
    assert [row[0] for row in table.rows][:2] == ["1", "3"]


def test_attacked_tables_show_leak_gap_trivial_attacker_and_forgetting(frame):
    table = tables(frame)[0]
    found = dict(zip(table.headers, table.rows[0], strict=True))
    assert table.headers[:6] == ("#", "method", "forgot", "utility", "vs retrain", "adv.")
    assert table.headers[-2:] == ("acc.", "erased")
    assert (found["forgot"], found["utility"], found["vs retrain"]) == ("forgotten 5/5", "kept", "worse")
    assert (found["MSE"], found["ΔMSE"], found["trivial"]) == ("0.0314 ± 0.0026", "-0.01 ± 0", "0.067")
    assert (found["skill"], found["Δskill"], found["Δadv."]) == ("0.3186 ± 0.0026", "0.15 ± 0", "0.15 ± 0")
    assert (found["acc."], found["erased"]) == ("0.898 [0.876, 0.916]", "0.970 [0.951, 0.983]")
    broken = next(row for row in table.rows if row[1] == "broken")
    assert broken[2:] == ("not judged", "not judged", *[NOTHING] * 10)
    assert next(row for row in table.rows if row[1] == "lazy")[2:4] == ("remembered 0/5", "kept")
    assert "MSE: mean squared error of reconstructions (privacy: higher is better)" in table.legend


def test_utility_tables_show_accuracy_backdoor_and_cost(frame):
    table = tables(frame)[1]
    assert table.headers == (
        "#", "method", "forgot", "utility", "acc.", "target", "bd.acc.", "bd.succ.", "steps", "seconds"
    )  # fmt: skip
    assert table.rows[0][8] == "1200 ± 0"


def test_what_failed_is_noted(frame):
    assert tables(frame)[0].notes == ("broken: failed; ValueError: no",)


def test_metrics_and_order_can_be_chosen(frame):
    table = tables(frame, metrics=["mse_mean_image", "mse"], sort="mse")[0]
    assert table.headers[4:7] == ("vs retrain", "mse_mean_image", "MSE")
    assert [row[1] for row in table.rows][:2] == ["retrain", "crfu"]
    names = [row[1] for row in tables(frame, sort="method_id")[0].rows]
    assert names == sorted(names)


def test_unknown_choices_are_errors_with_a_suggestion(frame):
    with pytest.raises(InputError, match="metrics: no 'mze' here; did you mean 'mse'"):
        tables(frame, metrics=["mze"])
    with pytest.raises(InputError, match="metrics: no 'ssim' here"):
        tables(frame, metrics=["ssim"])
    with pytest.raises(InputError, match="sort: no column 'ranks' here; did you mean 'rank'"):
        tables(frame, sort="ranks")


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.03124, 0.0291, 0.03338), "0.0312 ± 0.0021"),
        ((0.031, 0.029, 0.036), "0.0310 [0.0290, 0.0360]"),
        ((1234.0, 1200.0, 1268.0), "1234 ± 34"),
        ((0.5, 0.5, 0.5), "0.5 ± 0"),
        ((0.0, 0.0, 0.0), "0 ± 0"),
        ((-0.01, -0.01 - 1e-17, -0.01 + 1e-17), "-0.01 ± 0"),
        ((0.000010, 0.0000099, 0.0000101), "0.00001000 ± 0.00000010"),
        ((-0.2, -17.3, 16.9), "0 ± 17"),
        ((4.2e-12, 1.1e-12, 7.3e-12), "4.2e-12 ± 3.1e-12"),
        ((4.2e-12, 2.1e-12, 9.3e-12), "4.2e-12 [2.1e-12, 9.3e-12]"),
        ((0.12345, None, None), "0.1235"),
        ((None, None, None), NOTHING),
        ((pd.NA, pd.NA, pd.NA), NOTHING),
        ((math.nan, math.nan, math.nan), NOTHING),
    ],
)
def test_intervals_have_two_digits(interval, text):
    assert format_interval(*interval) == text


def test_values_have_four_digits_and_counts_are_whole():
    assert format_value(0.0123456) == "0.01235"
    assert format_value(123456.0, "steps") == "123456"
    assert format_value(2.5, "steps") == "2.5"


@given(st.text())
def test_plain_text_is_one_line_without_control_characters(text):
    cleaned = plain(text)
    assert len(cleaned.splitlines()) <= 1
    assert not any(unicodedata.category(character).startswith("C") for character in cleaned)
