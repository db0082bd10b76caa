"""Every kind of check in both directions."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sample_claims import NOISE, OF, at_beta, first, judged, values
from sample_records import row, rows

from unlearnbench.claims.checks import ABOVE, BELOW, Bounds

BETAS = {"kind": "monotone", "over": "scenario.beta", "values": [0, 0.1, 1]}


@pytest.mark.parametrize(
    ("levels", "direction", "adjacent", "verdict"),
    [
        ((0.5, 0.6, 0.7), "rises", True, "reproduced"),
        ((0.5, 0.6, 0.7), "falls", True, "contradicted"),
        ((0.7, 0.6, 0.5), "falls", True, "reproduced"),
        ((0.5, 0.8, 0.7), "rises", True, "contradicted"),  # by its last step
        ((0.5, 0.8, 0.7), "rises", False, "reproduced"),
        ((0.5, 0.5001, 0.5002), "rises", True, "open"),  # within noise
        ((0.5, 0.5, 0.5), "rises", False, "open"),
    ],
)
def test_monotone(tmp_path: Path, levels: Any, direction: str, adjacent: bool, verdict: str) -> None:
    made = [
        each
        for number, (beta, level) in enumerate(zip((0, 0.1, 1), levels, strict=True))
        for each in values("crfu", "accuracy", level, jitter=number, **at_beta(beta))
    ]
    found = judged(tmp_path, made, [{**BETAS, "direction": direction, "adjacent": adjacent}])
    assert found.verdict == verdict
    finding = first(found)
    assert finding.n == 5
    assert finding.mean == pytest.approx(levels[2] - levels[0], abs=1e-4)
    assert finding.low < finding.mean < finding.high
    assert [point[1] for point in finding.points] == pytest.approx(levels, abs=1e-4)


@pytest.mark.parametrize(
    ("step", "answer", "reason"), [(0.75, "no", "falls from crfu beta=0.1 to crfu beta=1"), (0.7002, "yes", "")]
)
def test_a_step_the_wrong_way_counts_only_beyond_its_interval(
    tmp_path: Path, step: float, answer: str, reason: str
) -> None:
    levels = zip((0, 0.1, 1), (0.5, step, 0.7), strict=True)
    made = [
        each
        for number, (beta, level) in enumerate(levels)
        for each in values("crfu", "accuracy", level, jitter=3 * number, **at_beta(beta))
    ]
    found = judged(tmp_path, made, [{**BETAS, "direction": "rises"}])
    assert (first(found).answer, first(found).reason) == (answer, reason)
    assert first(found).asked == "above 0, and no step below 0 beyond its interval"
    falling = judged(tmp_path, [], [{**BETAS, "direction": "falls"}])
    assert falling.verdict == "contradicted"


PAIR = [{"scenario": {"beta": 0}}, {"scenario": {"beta": 1}}]


@pytest.mark.parametrize(
    ("kind", "bounds", "verdict"),
    [
        ("difference", {"at_most": 0.11}, "reproduced"),
        ("difference", {"at_most": 0.1}, "open"),  # the interval covers the bound
        ("difference", {"at_least": 0.09}, "reproduced"),
        ("difference", {"at_least": 0.1}, "open"),
        ("ratio", {"at_least": 1.15}, "reproduced"),
        ("ratio", {"at_least": 1.25}, "contradicted"),
        ("ratio", {"at_most": 1.25}, "reproduced"),
        ("ratio", {"at_least": 1.15, "at_most": 1.19}, "contradicted"),
    ],
)
def test_bounds_on_differences_and_ratios(tmp_path: Path, kind: str, bounds: Any, verdict: str) -> None:
    made = [*values("crfu", "accuracy", 0.6, **at_beta(0)), *values("crfu", "accuracy", 0.5, jitter=-1, **at_beta(1))]
    found = judged(tmp_path, made, [{"kind": kind, "first": PAIR[0], "second": PAIR[1], **bounds}])
    assert found.verdict == verdict


def test_a_bound_is_met_by_exactly_its_value(tmp_path: Path) -> None:
    """Table 2's own accuracies differ by 0.0170 points, and by a little more in binary numbers."""
    made = [
        *rows("crfu", "accuracy", [0.9745] * 3, experiment="one", **at_beta(0), cell_key="a"),
        *rows("crfu", "accuracy", [0.9575] * 3, experiment="one", **at_beta(1), cell_key="b"),
    ]
    check = {"kind": "difference", "first": PAIR[0], "second": PAIR[1], "at_most": 0.017}
    assert judged(tmp_path, made, [check]).verdict == "reproduced"


def test_a_ratio_to_nothing_is_no_verdict(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *rows("vbu", "accuracy", [0.0] * 5, experiment="one")]
    found = judged(tmp_path, made, [{"kind": "ratio", "first": {}, "second": {"method": "vbu"}, "at_least": 1}])
    assert found.verdict == "not run"
    assert "a value of 0" in first(found).reason


def test_a_ratio_and_its_inverse_say_the_same(tmp_path: Path) -> None:
    """Costs that differ by factors between seeds: at least 10 times in each of them, and so in their interval."""
    made = [
        *rows("crfu", "samples_processed", [980.0, 13_400.0, 72_000.0, 5_720.0, 10_600.0], experiment="one"),
        *rows("retrain", "samples_processed", [1_128_000.0] * 5, experiment="one", cell_key="r"),
    ]
    sides = {"metric": "samples_processed", "method": "retrain"}, {"metric": "samples_processed"}
    checks = [
        {"kind": "ratio", "first": sides[0], "second": sides[1], "at_least": 10},
        {"kind": "ratio", "first": sides[1], "second": sides[0], "at_most": 0.1},
    ]
    there, back = judged(tmp_path, made, checks).datasets[0].findings
    assert (there.holds, back.holds) == (True, True)
    assert (there.low, there.mean, there.high) == pytest.approx((1 / back.high, 1 / back.mean, 1 / back.low))
    logs = [math.log(1_128_000 / each) for each in (980.0, 13_400.0, 72_000.0, 5_720.0, 10_600.0)]
    assert there.mean == pytest.approx(math.exp(sum(logs) / 5))


@pytest.mark.parametrize(("other", "verdict"), [(0.5, "reproduced"), (0.6, "open"), (0.7, "contradicted")])
def test_ordering(tmp_path: Path, other: float, verdict: str) -> None:
    made = [
        *values("crfu", "accuracy", 0.6),
        *values("hbu", "accuracy", 0.4),
        *values("vbu", "accuracy", other, jitter=-1),
    ]
    check = {"kind": "ordering", "greater": [{}], "less": [{"method": "hbu"}, {"method": "vbu"}]}
    found = judged(tmp_path, made, [check])
    assert found.verdict == verdict
    assert [finding.holds for finding in found.datasets[0].findings] == [True, verdict == "reproduced"]


def test_an_ordering_under_a_condition_asks_every_seed_of_every_side(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *values("hbu", "accuracy", 0.4)]
    made += rows("crfu", "backdoor_accuracy", [0.0] * 5, experiment="one", cell_key="c")
    made += rows("hbu", "backdoor_accuracy", [0.0, 0.0, 0.5, 0.0, 0.0], experiment="one", cell_key="h")
    check = {"kind": "ordering", "greater": [{}], "less": [{"method": "hbu"}]}
    condition = {"given": [{"metric": "backdoor_accuracy", "at_most": 0.02}]}
    found = judged(tmp_path, made, [{**check, **condition}])
    assert found.verdict == "contradicted"
    assert first(found).reason == "hbu: backdoor_accuracy at most 0.02 is not met (in 1 of 5 seeds)"
    assert first(found).mean == pytest.approx(0.2)
    assert first(found).refuted
    unasked = judged(tmp_path, [], [{**check, **condition, "paper": {"conditions": False}}])
    assert unasked.verdict == "only under the paper's protocol"


@pytest.mark.parametrize(("most", "verdict"), [(0.61, "reproduced"), (0.6, "open"), (0.59, "contradicted")])
def test_value(tmp_path: Path, most: float, verdict: str) -> None:
    assert judged(tmp_path, values("crfu", "accuracy", 0.6), [{"kind": "value", "at_most": most}]).verdict == verdict


@pytest.mark.parametrize(
    ("metric", "level", "verdict"),
    [
        ("mse", 0.08, "reproduced"),  # more error than the mean image
        ("mse", 0.05, "contradicted"),
        ("mse", 0.067, "open"),
        ("auc", 0.4, "reproduced"),
        ("auc", 0.6, "contradicted"),
    ],
)
def test_worse_than_the_trivial_attacker(tmp_path: Path, metric: str, level: float, verdict: str) -> None:
    made = values("crfu", metric, level, attack="ridge")
    made += rows("crfu", "mse_mean_image", [0.067] * 5, experiment="one", attack="ridge", cell_key="trivial")
    found = judged(tmp_path, made, [{"kind": "trivial"}], of={**OF, "metric": metric, "attack": "ridge"})
    assert found.verdict == verdict


TRAJECTORY = {"scenario": json.dumps({"trajectory": {"every_epochs": 5}}), "experiment": "one"}


def course(method: str, points: Sequence[float], **other: Any) -> list[Any]:
    return [
        row(method, seed, "accuracy", value + NOISE[seed], step=180 * 5 * number, **TRAJECTORY, **other)
        for seed in range(5)
        for number, value in enumerate(points)
    ]


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ({"statistic": "at", "to": 0}, 0.9),
        ({"statistic": "at", "to": 10}, 0.3),
        ({"statistic": "at", "to": 7}, None),  # not recorded there
        ({"statistic": "at", "to": 40}, None),  # nor as far
        ({"statistic": "min", "to": 15}, 0.3),
        ({"statistic": "max", "first": 5, "to": 15}, 0.6),
        ({"statistic": "mean"}, 0.575),
        ({"statistic": "mean", "to": 5}, 0.75),
    ],
)
def test_statements_about_a_trajectory(tmp_path: Path, reduction: Any, expected: float | None) -> None:
    made = course("crfu", [0.9, 0.6, 0.3, 0.5])
    found = judged(tmp_path, made, [{"kind": "value", "of": {"course": reduction}, "at_least": 0}])
    assert first(found).mean == (None if expected is None else pytest.approx(expected))
    assert found.verdict == ("not run" if expected is None else "reproduced")


@pytest.mark.parametrize(
    ("bounds", "holds", "refuted"),
    [
        (ABOVE, (0.1, 0.2), (-0.2, 0.0)),
        (BELOW, (-0.2, -0.1), (0.0, 0.2)),
        (Bounds("", least=1), (1.0, 2.0), (0.5, 0.9)),
        (Bounds("", most=1), (0.5, 1.0), (1.1, 2.0)),
        (Bounds("", least=1, most=2), (1.0, 2.0), (2.1, 2.2)),
        (Bounds("", least=1, most=2), (1.5, 1.5), (0.1, 0.9)),
    ],
)
def test_an_interval_holds_is_refuted_or_shows_nothing(bounds: Bounds, holds: Any, refuted: Any) -> None:
    assert bounds.hold(*holds)
    assert not bounds.are_refuted(*holds)
    assert bounds.are_refuted(*refuted)
    assert not bounds.hold(*refuted)
    both = min(holds[0], refuted[0]), max(holds[1], refuted[1])
    assert not bounds.hold(*both)
    assert not bounds.are_refuted(*both)


def test_a_condition_that_was_not_measured_in_every_seed_is_no_verdict(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *values("hbu", "accuracy", 0.4)]
    made += rows("crfu", "backdoor_accuracy", [0.0] * 5, experiment="one", cell_key="c")
    made += rows("hbu", "backdoor_accuracy", [0.0] * 4, experiment="one", cell_key="h")
    check = {"kind": "ordering", "greater": [{}], "less": [{"method": "hbu"}]}
    found = judged(tmp_path, made, [{**check, "given": [{"metric": "backdoor_accuracy", "at_most": 0.02}]}])
    assert (found.verdict, first(found).reason) == ("not run", "backdoor_accuracy was not measured of hbu in 1 seeds")
