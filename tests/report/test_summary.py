"""The result in one line for each method: what it failed, its price, and its strongest leak beyond retraining."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sample_records import judged, row, rows, write_cells

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.report.summary import HEADERS, results
from unlearnbench.report.text_tables import NOTHING, Table

RETRAIN = [0.50, 0.52, 0.51, 0.49, 0.50]


def attacked(method: str, by: float, attack: str = "a", **other: Any) -> list[Any]:
    return rows(method, "auc", [value + by for value in RETRAIN], attack=attack, **other)


def failed(method: str, attack: str = "a") -> list[Any]:
    return [row(method, 0, "cell", None, status="failed", error="ValueError: no", attack=attack, cell_key="f")]


def tables(tmp_path: Path, *made: list[Any]) -> list[Table]:
    folder = write_cells(tmp_path / "records", [each for group in made for each in group])
    return results(leaderboard.build(folder, tmp_path / "board"))


def lines(table: Table) -> dict[str, tuple[str, ...]]:
    return {name: others for name, *others in table.rows}  # type: ignore[misc]


def test_each_method_of_a_setting_has_one_line(tmp_path: Path) -> None:
    (table,) = tables(
        tmp_path,
        *(attacked(method, by) for method, by in (("retrain", 0.0), ("crfu", 0.2), ("vbu", 0.0), ("wreck", 0.0))),
        attacked("vbu", -0.1, attack="b"),
        attacked("crfu", 0.3, attack="b"),
        attacked("wreck", 0.0, attack="b"),
        attacked("retrain", 0.0, attack="b"),
        *(judged(method) for method in ("retrain", "crfu", "vbu")),
        judged("wreck", "over-forgotten", "below the floor"),
    )
    assert table.headers == HEADERS
    found = lines(table)
    assert list(found) == ["vbu", "crfu", "wreck", "retrain"]  # who passes, who doesn't, references
    assert found["crfu"][0] == "forgotten 5/5"
    assert found["crfu"][2].endswith(" b")
    assert found["crfu"][3] == "leaks"
    assert found["vbu"][3] == "no leak shown"
    assert found["wreck"][3] == "over-forgotten, below the floor, no leak shown"
    assert found["retrain"][2:] == [NOTHING, "reference"]
    assert any(line.startswith("power under a, same") for line in table.legend)


def test_a_method_that_failed_everywhere_takes_no_leak_from_the_others(tmp_path: Path) -> None:
    (table,) = tables(
        tmp_path, attacked("retrain", 0.0), attacked("crfu", 0.2), judged("crfu"), judged("retrain"), failed("broken")
    )
    assert lines(table)["crfu"][3] == "leaks"
    assert lines(table)["broken"] == ["not judged", NOTHING, NOTHING, "failed"]


def test_methods_are_compared_where_all_were_measured_and_a_leak_elsewhere_is_still_a_leak(tmp_path: Path) -> None:
    (table,) = tables(
        tmp_path,
        *(attacked(method, by) for method, by in (("retrain", 0.0), ("crfu", 0.0), ("vbu", 0.0))),
        attacked("retrain", 0.0, attack="b"),
        attacked("crfu", 0.3, attack="b"),
        failed("vbu", attack="b"),
        *(judged(method) for method in ("retrain", "crfu", "vbu")),
    )
    found = lines(table)
    assert found["crfu"][2].endswith(" b")  # whoever breaks an attack takes it from nobody else
    assert found["crfu"][3] == "leaks"
    assert found["vbu"][3] == "not all attacks have a result"  # and neither "failed" nor "no leak shown"
    assert "vbu: no result under b, same, log probabilities" in table.notes


def test_without_retraining_no_leak_is_compared_and_nobody_passes(tmp_path: Path) -> None:
    (table,) = tables(tmp_path, attacked("crfu", 0.2), judged("crfu"))
    assert lines(table)["crfu"][2:] == [NOTHING, "leak not compared"]


def test_without_attacks_who_forgot_and_kept_accuracy_passes(tmp_path: Path) -> None:
    (table,) = tables(tmp_path, judged("crfu"), judged("vbu", utility="cannot be told"), judged("retrain"))
    assert table.headers == (*HEADERS[:3], HEADERS[4])
    found = lines(table)
    assert [found[name][-1] for name in ("crfu", "vbu", "retrain")] == [
        "passes", "accuracy cannot be told", "reference"
    ]  # fmt: skip


def test_the_legend_says_how_forgetting_was_judged(tmp_path: Path) -> None:
    stamped = {"scenario": json.dumps({"kind": "utility", "backdoor": {"target": 0}, "stop": {"threshold": 0.1}})}
    made = [*rows("crfu", "backdoor_accuracy", [0.01] * 5, **stamped), *rows("crfu", "accuracy", [0.9] * 5, **stamped)]
    retrain = rows("retrain", "accuracy", [0.9, 0.91, 0.9, 0.9, 0.9], **stamped)
    old = [*judged("crfu", protocol_version=1), *rows("crfu", "forgot", [1.0] * 5, protocol_version=1)]
    (backdoor,) = tables(tmp_path / "a", made, retrain)
    (clean,) = tables(tmp_path / "b", old)
    assert backdoor.legend[0].startswith("forgot: accuracy on the stamped images under the stop rule's threshold")
    assert clean.legend[0].startswith("forgot: what is left of the original's memory")
    assert (lines(backdoor)["crfu"][0], lines(backdoor)["crfu"][-1]) == ("forgotten 5/5", "passes")


def test_other_margins_are_told_where_they_change_a_verdict(tmp_path: Path) -> None:
    (table,) = tables(tmp_path, judged("lazy", "remembered"), judged("crfu"))
    assert table.notes == ("lazy: cannot be told under double the margin",)


def test_settings_have_tables_of_their_own(tmp_path: Path) -> None:
    first, second = tables(tmp_path, judged("crfu"), judged("crfu", dataset="digits"))
    assert {first.title, second.title} == {"Result: leak / mnist / single", "Result: leak / digits / single"}


def test_records_of_an_older_protocol_say_so(tmp_path: Path) -> None:
    (table,) = tables(tmp_path, judged("crfu", protocol_version=1))
    assert table.title.endswith("measured under protocol 1")
    assert lines(table)["crfu"] == ["before protocol 2", NOTHING, "before protocol 2"]
