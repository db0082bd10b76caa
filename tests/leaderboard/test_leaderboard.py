import json
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_records import judged, later, row, rows, write_cells

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.metrics.intervals import student_t
from unlearnbench.metrics.shares import share_interval
from unlearnbench.records import writing as records
from unlearnbench.records.writing import RecordError
from unlearnbench.report.files import write_leaderboard
from unlearnbench.system.errors import InputError

MSE = [0.030, 0.034, 0.029, 0.033, 0.031]
RETRAINED = [0.040, 0.043, 0.041, 0.042, 0.039]


def build(tmp_path, *made):
    folder = write_cells(tmp_path / "records", [each for group in made for each in group])
    return write_leaderboard(folder, tmp_path)


def one(frame, method, **where):
    """The only row of a method (in a setting)."""
    found = frame[frame["method_id"] == method]
    for key, value in where.items():
        found = found[found[key].isna()] if value is None else found[found[key] == value]
    assert len(found) == 1
    return found.iloc[0]


def attacked(method, values, metric="mse", **other):
    return rows(method, metric, values, **{"attack": "ridge", **other})


def forgotten(*methods, seeds=5):
    """Cells without an attack, of methods that forgot and kept accuracy: without that nothing is ranked."""
    return [made for method in methods for made in judged(method, seeds=seeds)]


def assembled(made, **facts):
    """The leaderboard of rows whose records also say something of their plugins: ``name={method: value}``."""
    table = pa.Table.from_pylist(made, schema=records.SCHEMA)
    for name, by_method in facts.items():
        kind = pa.string() if name == "ranked_by" else pa.bool_()
        said = pa.array([by_method.get(each["method"]) for each in made], type=kind)
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, said)
    board = leaderboard.assemble(table, "records")
    return board.to_pandas(types_mapper=leaderboard._DTYPES.get)


# --- values ----------------------------------------------------------------------------------------------------------


def test_values_are_students_mean_and_interval_over_seeds(tmp_path):
    crfu = one(build(tmp_path, attacked("crfu", MSE)), "crfu")
    assert (crfu["mse"], crfu["mse_low"], crfu["mse_high"]) == pytest.approx(student_t(MSE))
    assert (crfu["mse_n"], crfu["n_seeds"], crfu["failed_seeds"], crfu["status"]) == (5, 5, 0, "ok")


def test_two_seeds_have_a_mean_and_no_interval(tmp_path):
    crfu = one(build(tmp_path, attacked("crfu", MSE[:2])), "crfu")
    assert crfu["mse"] == pytest.approx(0.032)
    assert crfu["mse_low"] is pd.NA
    assert crfu["mse_n"] == 2
    assert crfu["rank"] is pd.NA


def test_how_many_models_were_computed_at_a_time_parts_no_contenders(tmp_path):
    """Where memory was short: the numbers are of the same thing, and gaps to retraining go on."""
    many = '{"kind":"leak","replicas":32,"seeds_together":5}'
    few = many.replace("32", "16").replace("5", "1")
    made = attacked("crfu", MSE[:2], scenario=many) + attacked("retrain", RETRAINED[:3], scenario=many)
    frame = build(tmp_path, made, [row("crfu", 2, "mse", MSE[2], attack="ridge", scenario=few)])
    crfu = one(frame, "crfu")
    assert (crfu["n_seeds"], crfu["mse_n"]) == (3, 3)
    assert crfu["mse_gap_retrain"] == pytest.approx(sum(MSE[:3]) / 3 - sum(RETRAINED[:3]) / 3)
    assert crfu["scenario"] == '{"kind":"leak"}'


def test_null_values_and_trajectories_do_not_count(tmp_path):
    trajectory = [row("crfu", seed, "accuracy", 0.1, step=20) for seed in range(5)]
    final = rows("crfu", "accuracy", [0.9, 0.8, None])
    crfu = one(build(tmp_path, trajectory, final), "crfu")
    assert crfu["accuracy"] == pytest.approx(0.85)
    assert crfu["accuracy_n"] == 2


def test_of_measurements_that_contradict_each_other_none_counts(tmp_path):
    new = [row("crfu", 0, "mse", 0.5, attack="ridge", cell_key="a", started_at=later(1))]
    old = [row("crfu", 0, "mse", 0.1, attack="ridge", cell_key="b")]
    same = [row("crfu", seed, "mse", 0.25, attack="ridge", cell_key=f"{seed} {n}") for seed in (1, 2) for n in "ab"]
    crfu = one(build(tmp_path, new, old, same), "crfu")
    assert (crfu["mse"], crfu["mse_n"]) == (0.25, 2)
    assert crfu["note"] == "seeds whose records contradict each other, and do not count: 1"


def test_inapplicable_is_null_in_the_file_and_never_nan(tmp_path):
    frame = build(tmp_path, attacked("crfu", MSE), attacked("crfu", [0.7] * 5, "auc", attack="lira"))
    table = pq.read_table(tmp_path / "leaderboard.parquet")
    assert table.schema.equals(leaderboard.schema(["mse", "auc", "advantage"]))
    row_of_lira = next(each for each in table.to_pylist() if each["attack"] == "lira")
    assert row_of_lira["mse"] is None
    assert row_of_lira["auc_gap_retrain"] is None
    assert row_of_lira["verdict"] is None
    assert row_of_lira["auc_p_retrain"] is None
    assert not any(isinstance(v, float) and math.isnan(v) for each in table.to_pylist() for v in each.values())
    pd.testing.assert_frame_equal(leaderboard.read(tmp_path / "leaderboard.parquet"), frame)


def test_the_file_says_which_protocol_it_is_from(tmp_path):
    build(tmp_path, attacked("crfu", MSE))
    metadata = pq.read_metadata(tmp_path / "leaderboard.parquet").metadata
    about = json.loads(metadata[b"unlearnbench"])
    assert about == {"protocol_versions": [2], "schema_version": 2, "record_rows": 5}
    assert "crfu" in (tmp_path / "leaderboard.md").read_text()


def test_order_of_files_does_not_matter(tmp_path):
    made = [*attacked("crfu", MSE), *attacked("retrain", RETRAINED), *rows("crfu", "accuracy", [0.9] * 5)]
    forwards = build(tmp_path / "a", made)
    backwards = build(tmp_path / "b", reversed(made))
    pd.testing.assert_frame_equal(forwards, backwards)


def test_times_of_several_kinds_of_machines_are_not_averaged(tmp_path):
    mixed = [row("crfu", seed, "unlearn_seconds", 1.0, device=device) for seed, device in enumerate(["cpu", "gpu"])]
    same = rows("vbu", "unlearn_seconds", [1.0, 3.0])
    frame = build(tmp_path, mixed, same, rows("crfu", "accuracy", [0.9, 0.9]))
    assert one(frame, "crfu")["unlearn_seconds"] is pd.NA
    assert "2 kinds of machines" in one(frame, "crfu")["note"]
    assert one(frame, "vbu")["unlearn_seconds"] == 2


def test_seeds_from_several_versions_of_code_are_noted(tmp_path):
    newer = [row("crfu", 2, "mse", 0.1, attack="ridge", plugin_sha256="f" * 64)]
    crfu = one(build(tmp_path, attacked("crfu", MSE[:2]), newer), "crfu")
    assert "2 versions of the method's or attack's code" in crfu["note"]


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_gap_to_retraining_is_paired_by_seed(tmp_path):
    frame = build(tmp_path, attacked("crfu", MSE), attacked("retrain", RETRAINED))
    crfu = one(frame, "crfu")
    expected = student_t([a - b for a, b in zip(MSE, RETRAINED, strict=True)])
    gap = (crfu["mse_gap_retrain"], crfu["mse_gap_retrain_low"], crfu["mse_gap_retrain_high"])
    assert gap == pytest.approx(expected)
    assert one(frame, "retrain")["mse_gap_retrain"] is pd.NA


def test_gap_uses_common_seeds_only(tmp_path):
    frame = build(tmp_path, attacked("crfu", MSE), attacked("retrain", RETRAINED[:2]))
    crfu = one(frame, "crfu")
    assert crfu["mse_gap_retrain"] == pytest.approx(((0.030 - 0.040) + (0.034 - 0.043)) / 2)
    assert crfu["mse_gap_retrain_low"] is pd.NA


def test_gap_is_null_unless_retraining_was_measured_alike(tmp_path):
    differences = [
        {"n_shadows": 256},
        {"n_shadows": None},
        {"tier": "disjoint"},
        {"observation": "label"},
        {"attack_params": '{"a":1}', "attack_id": "ridge[a=1]"},
        {"experiment": "other"},
        {"dataset": "digits"},
        {"scenario_id": "group"},
        {"method_params": '{"epochs":9}', "method_id": "retrain[epochs=9]"},
        {"method_id": "retrain_paired"},
        {},
    ]
    made = []
    for number, difference in enumerate(differences):
        place = {"dataset": f"data{number}"}
        made += [{**each, **place, "cell_key": f"crfu{number}{each['seed']}"} for each in attacked("crfu", MSE)]
        retrained = [{**each, **place, **difference} for each in attacked("retrain", RETRAINED)]
        made += [{**each, "cell_key": f"retrain{number}{each['seed']}"} for each in retrained]
    gaps = build(tmp_path, made).query("method_id == 'crfu'").set_index("dataset")["mse_gap_retrain"]
    assert gaps.pop(f"data{len(differences) - 1}") == pytest.approx(-0.0096)
    assert len(gaps) == len(differences) - 1
    assert gaps.isna().all()


def test_gap_is_null_without_retraining(tmp_path):
    assert one(build(tmp_path, attacked("crfu", MSE)), "crfu")["mse_gap_retrain"] is pd.NA


def test_attacks_without_shadows_have_a_gap(tmp_path):
    no_shadows = {"n_shadows": None}
    frame = build(tmp_path, attacked("crfu", MSE, **no_shadows), attacked("retrain", RETRAINED, **no_shadows))
    assert one(frame, "crfu")["mse_gap_retrain"] == pytest.approx(-0.0096)


def test_gap_to_the_trivial_attacker_is_paired_or_to_its_constant(tmp_path):
    frame = build(
        tmp_path,
        attacked("crfu", MSE),
        attacked("crfu", [0.06, 0.07, 0.06], "mse_mean_image"),
        attacked("crfu", [0.7, 0.8], "auc"),
        attacked("crfu", [0.5], "ssim"),
    )
    crfu = one(frame, "crfu")
    assert crfu["mse_gap_trivial"] == pytest.approx((0.030 - 0.06 + 0.034 - 0.07 + 0.029 - 0.06) / 3)
    assert crfu["auc_gap_trivial"] == pytest.approx(0.25)
    assert crfu["ssim_gap_trivial"] is pd.NA
    assert "mse_mean_image_gap_trivial" not in frame


# --- utility over attack rows ----------------------------------------------------------------------------------------


def test_utility_repeats_over_attack_rows_and_has_none_of_its_own(tmp_path):
    frame = build(
        tmp_path,
        rows("crfu", "accuracy", [0.9, 0.92, 0.94]),
        attacked("crfu", MSE[:3]),
        attacked("crfu", [0.6] * 3, "auc", attack="lira"),
        rows("vbu", "accuracy", [0.8] * 3, experiment="utility"),
    )
    assert len(frame) == 3
    for attack in ("ridge", "lira"):
        crfu = one(frame, "crfu", attack=attack)
        assert (crfu["accuracy"], crfu["accuracy_low"], crfu["accuracy_high"]) == pytest.approx(
            share_interval([0.9, 0.92, 0.94], 100, shared=True)
        )
        assert crfu["accuracy_n"] == 3
    assert one(frame, "vbu", attack=None)["accuracy"] == pytest.approx(0.8)


def test_what_an_attack_measured_itself_is_not_mixed_with_utility(tmp_path):
    frame = build(tmp_path, rows("crfu", "erased_accuracy", [0.5] * 5), attacked("crfu", [0.9, 0.8], "erased_accuracy"))
    crfu = one(frame, "crfu")
    assert crfu["erased_accuracy"] == pytest.approx(0.85)
    assert crfu["erased_accuracy_n"] == 2


def test_utility_of_other_parameters_stays_apart(tmp_path):
    other = {"method_params": '{"lr":1}', "method_id": "crfu[lr=1]"}
    frame = build(tmp_path, rows("crfu", "accuracy", [0.9] * 3, **other), attacked("crfu", MSE))
    assert one(frame, "crfu")["accuracy"] is pd.NA
    assert one(frame, "crfu[lr=1]")["accuracy"] == pytest.approx(0.9)


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "met"), [("forgotten", 5), ("remembered", 0), ("over-forgotten", 0), ("cannot be told", 1)]
)
@pytest.mark.parametrize("attack", [None, "ridge"])
def test_who_forgot_is_a_verdict_with_k_of_n_and_goes_with_the_models_to_attacked_rows(tmp_path, verdict, met, attack):
    made = attacked("crfu", [0.6] * 5, "auc") if attack else []
    crfu = one(build(tmp_path, judged("crfu", verdict), made), "crfu", attack=attack)
    assert (crfu["verdict"], crfu["forgot_seeds"], crfu["judged_seeds"]) == (verdict, met, 5)
    assert crfu["utility"] == "kept"
    assert (crfu["rank"] is pd.NA) == (verdict != "forgotten")


@pytest.mark.parametrize(
    ("utility", "apart"), [("kept", -0.0024), ("below the floor", -0.296), ("cannot be told", -0.06)]
)
def test_accuracy_is_judged_beside_retrained_models(tmp_path, utility, apart):
    crfu = one(build(tmp_path, judged("crfu", utility=utility)), "crfu")
    assert crfu["utility"] == utility
    assert crfu["accuracy_to_retrain"] == pytest.approx(apart)
    assert crfu["accuracy_to_retrain_low"] < apart < crfu["accuracy_to_retrain_high"]
    assert (crfu["rank"] is pd.NA) == (utility != "kept")


def test_random_weights_are_shown_and_not_ranked(tmp_path):
    """A model that answers at random has forgotten too much, and knows nothing."""
    wreck = judged("wreck", "over-forgotten", accuracy=[0.1] * 5)
    frame = build(tmp_path, wreck, forgotten("crfu"), *(attacked(m, [0.5] * 5, "auc") for m in ("wreck", "crfu")))
    assert one(frame, "wreck")["rank"] is pd.NA
    assert one(frame, "crfu")["rank"] == 1
    assert list(frame["method_id"]) == ["crfu", "wreck"]


def test_a_seed_without_a_value_is_no_seed_that_passed(tmp_path):
    made = [each for each in judged("crfu") if (each["metric"], each["seed"]) != ("memory", 4)]
    made.append(row("crfu", 4, "memory", None))
    crfu = one(build(tmp_path, made), "crfu")
    assert (crfu["forgot_seeds"], crfu["judged_seeds"]) == (4, 4)


def test_two_seeds_are_judged_open(tmp_path):
    crfu = one(build(tmp_path, judged("crfu", seeds=2)), "crfu")
    assert (crfu["verdict"], crfu["utility"]) == ("cannot be told", "cannot be told")


def test_where_the_original_remembers_nothing_there_is_nothing_to_forget(tmp_path):
    made = [each for each in judged("crfu") if each["metric"] != "memory_original"]
    crfu = one(build(tmp_path, made, rows("crfu", "memory_original", [0.1, -0.1, 0.05, -0.02, 0.0])), "crfu")
    assert crfu["verdict"] == "nothing to forget"
    assert crfu["rank"] is pd.NA


def test_margins_are_the_scenarios_and_verdicts_are_told_under_half_and_double(tmp_path):
    scenario = json.dumps({"kind": "leak", "judging": {"memory": 1.5, "accuracy": 0.5}})
    at_default = one(build(tmp_path / "a", judged("crfu", "remembered", "below the floor")), "crfu")
    declared = one(build(tmp_path / "b", judged("crfu", "remembered", "below the floor", scenario=scenario)), "crfu")
    assert (at_default["verdict"], at_default["verdict_double"]) == ("remembered", "cannot be told")
    assert (declared["verdict"], declared["verdict_half"]) == ("forgotten", "remembered")
    assert (declared["utility"], declared["utility_half"]) == ("kept", "below the floor")


def test_records_of_before_protocol_2_are_shown_and_not_judged(tmp_path):
    old = {"protocol_version": 1}
    frame = build(tmp_path, judged("crfu", **old), attacked("crfu", [0.6] * 5, "auc", **old))
    crfu = one(frame, "crfu")
    assert crfu["verdict"] == "measured before protocol 2"
    assert (crfu["utility"], crfu["rank"], crfu["auc"]) == (pd.NA, pd.NA, 0.6)


def test_without_retrained_models_nothing_is_judged(tmp_path):
    frame = build(tmp_path, rows("crfu", "accuracy", [0.9] * 5), attacked("crfu", [0.6] * 5, "auc"))
    assert one(frame, "crfu")["verdict"] == "not judged"
    assert one(frame, "crfu")["rank"] is pd.NA


STAMPED = {"scenario": json.dumps({"kind": "utility", "backdoor": {"target": 0}, "stop": {"threshold": 0.1}})}


@pytest.mark.parametrize(
    ("left", "verdict", "met"),
    [
        ([0.01, 0.09, 0.02, 0.0, 0.05], "forgotten", 5),
        ([0.01, 0.09, 0.02, 0.0, 0.15], "cannot be told", 4),
        ([0.9] * 5, "remembered", 0),
    ],
)
def test_a_backdoor_is_forgotten_where_stamped_images_are_under_the_threshold_in_most_seeds(
    tmp_path, left, verdict, met
):
    made = rows("crfu", "backdoor_accuracy", left, **STAMPED), rows("crfu", "accuracy", [0.9] * 5, **STAMPED)
    retrain = rows("retrain", "accuracy", [0.91, 0.9, 0.905, 0.9, 0.9], **STAMPED)
    crfu = one(build(tmp_path, *made, retrain), "crfu")
    assert (crfu["verdict"], crfu["forgot_seeds"], crfu["judged_seeds"]) == (verdict, met, 5)
    assert (crfu["utility"], crfu["accuracy_to_retrain"]) == ("kept", pytest.approx(-0.003))
    assert (crfu["rank"] is pd.NA) == (verdict != "forgotten")


# --- ranks -----------------------------------------------------------------------------------------------------------


def test_reconstruction_is_ranked_by_what_it_gains_on_the_mean_image(tmp_path):
    skills = {"crfu": 0.3, "vbu": 0.1, "hbfu": 0.6}
    made = [attacked(name, [level - each for each in MSE], "skill_mean") for name, level in skills.items()]
    frame = build(tmp_path, *made, forgotten(*skills))
    assert [one(frame, name)["rank"] for name in ("vbu", "crfu", "hbfu")] == [1, 2, 3]
    assert set(frame["rank_metric"]) == {"advantage"}
    assert list(frame["method_id"]) == ["vbu", "crfu", "hbfu"]
    assert one(frame, "vbu")["advantage"] == pytest.approx(one(frame, "vbu")["skill_mean"])


def test_an_error_without_what_looking_at_nothing_gives_ranks_nobody(tmp_path):
    frame = build(tmp_path, attacked("crfu", MSE), attacked("vbu", RETRAINED), forgotten("crfu", "vbu"))
    assert frame["rank"].isna().all()
    assert frame["rank_metric"].isna().all()


def test_membership_is_ranked_by_the_advantage_over_a_coin(tmp_path):
    auc = attacked("crfu", [0.9, 0.91, 0.92], "auc"), attacked("vbu", [0.6, 0.6, 0.6], "auc")
    frame = build(tmp_path, *auc, forgotten("crfu", "vbu", seeds=3))
    assert [one(frame, name)["rank"] for name in ("vbu", "crfu")] == [1, 2]
    assert set(frame["rank_metric"]) == {"advantage"}
    assert one(frame, "vbu")["advantage"] == pytest.approx(0.2)


def test_an_attack_below_chance_is_no_better_than_one_at_chance(tmp_path):
    auc = attacked("crfu", [0.2, 0.21, 0.22], "auc"), attacked("vbu", [0.5, 0.5, 0.5], "auc")
    frame = build(tmp_path, *auc, forgotten("crfu", "vbu", seeds=3))
    assert [one(frame, name)["rank"] for name in ("vbu", "crfu")] == [1, 1]
    assert one(frame, "crfu")["auc"] == pytest.approx(0.21)


def test_labels_that_an_attack_on_images_infers_count_too(tmp_path):
    frame = build(
        tmp_path,
        attacked("crfu", [0.1] * 5, "skill_mean"),
        attacked("crfu", [0.8] * 5, "label_accuracy"),
        attacked("crfu", [0.2] * 5, "label_accuracy_majority"),
        attacked("vbu", [0.3] * 5, "skill_mean"),
        attacked("vbu", [0.2] * 5, "label_accuracy"),
        attacked("vbu", [0.2] * 5, "label_accuracy_majority"),
        forgotten("crfu", "vbu"),
    )
    assert one(frame, "crfu")["advantage"] == pytest.approx(0.75)
    assert one(frame, "vbu")["advantage"] == pytest.approx(0.3)
    assert [one(frame, name)["rank"] for name in ("vbu", "crfu")] == [1, 2]


def test_the_largest_gain_is_taken_seed_by_seed(tmp_path):
    auc, skill = [0.9, 0.5, 0.9], [0.1, 0.6, 0.1]
    crfu = one(build(tmp_path, attacked("crfu", auc, "auc"), attacked("crfu", skill, "skill_mean")), "crfu")
    assert crfu["advantage"] == pytest.approx((0.8 + 0.6 + 0.8) / 3)


def test_for_sets_the_mean_image_is_no_bar(tmp_path):
    made = attacked("crfu", [0.7] * 5, "skill_mean"), attacked("crfu", [0.1] * 5, "skill_blind_set")
    assert one(build(tmp_path, *made), "crfu")["advantage"] == pytest.approx(0.1)


def test_what_no_erased_image_was_looked_for_in_ranks_nobody(tmp_path):
    made = attacked("crfu", [0.6] * 5, "skill_mean", attack="representation", attack_id="representation")
    assert one(build(tmp_path, made, forgotten("crfu")), "crfu")["rank"] is pd.NA


def test_an_attack_that_says_what_it_infers_is_ranked_by_that():
    made = [*attacked("crfu", [0.9] * 5, "auc"), *attacked("crfu", [0.2] * 5, "skill_mean"), *forgotten("crfu")]
    frame = assembled(made, ranked_by={"crfu": "skill_mean"})
    assert one(frame, "crfu")["advantage"] == pytest.approx(0.2)
    assert one(assembled(made, ranked_by={"crfu": ""}), "crfu")["rank"] is pd.NA


def test_unattacked_tables_are_ranked_by_accuracy(tmp_path):
    high, low = [0.97, 0.98, 0.975], [0.87, 0.88, 0.875]
    frame = build(tmp_path, judged("crfu", accuracy=high, seeds=3), judged("vbu", accuracy=low, seeds=3))
    assert [one(frame, name)["rank"] for name in ("crfu", "vbu")] == [1, 2]
    assert list(frame["near_best"]) == [True, False]
    assert set(frame["rank_metric"]) == {"accuracy"}


def test_a_worse_mean_never_stands_above_a_better_one(tmp_path):
    """0.50 +- 0.24 stood above 0.842 +- 0.022, because no third was told from it."""
    wide, sure = [0.40, 0.50, 0.60], [0.83, 0.842, 0.854]
    frame = build(tmp_path, judged("crfu", accuracy=wide, seeds=3), judged("vbu", accuracy=sure, seeds=3))
    assert list(frame["method_id"]) == ["vbu", "crfu"]
    assert list(frame["rank"]) == [1, 2]


def test_what_can_not_be_told_from_the_best_is_marked_and_keeps_its_place(tmp_path):
    """0.61 +- 0.61 against 0.924, at three seeds."""
    wide, sure = [0.36, 0.86, 0.61], [0.92, 0.924, 0.928]
    frame = build(tmp_path, judged("crfu", accuracy=wide, seeds=3), judged("hbu", accuracy=sure, seeds=3))
    assert list(frame["method_id"]) == ["hbu", "crfu"]
    assert list(frame["rank"]) == [1, 2]
    assert list(frame["near_best"]) == [True, True]


def test_a_constant_difference_of_one_image_is_none(tmp_path):
    levels = {"crfu": 501 / 540, "vbu": 500 / 540, "hbfu": 0.840}
    made = [judged(name, accuracy=[level] * 3, seeds=3, n_samples=540) for name, level in levels.items()]
    frame = build(tmp_path, *made)
    assert list(frame["method_id"]) == list(levels)
    assert list(frame["rank"]) == [1, 2, 3]
    assert list(frame["near_best"]) == [True, True, False]


def test_references_are_unranked_and_no_part_of_the_tests(tmp_path):
    names = ("original", "retrain", "retrain_paired", "seed_noise")
    best = [attacked(name, [0.5] * 5, "auc") for name in names]
    frame = build(tmp_path, attacked("crfu", [0.6] * 5, "auc"), *best, forgotten("crfu", *names))
    assert one(frame, "crfu")["rank"] == 1
    assert frame["rank"].notna().sum() == 1
    assert set(frame.loc[frame["reference"], "method_id"]) == set(names)


def test_a_reference_plugin_outside_the_list_is_unranked():
    """`Method.reference` promises "shown unranked": a contributor's reference must push nobody down."""
    made = [*attacked("crfu", [0.6] * 5, "auc"), *attacked("mine", [0.5] * 5, "auc"), *forgotten("crfu", "mine")]
    frame = assembled(made, reference={"mine": True, "crfu": False})
    assert one(frame, "mine")["rank"] is pd.NA
    assert bool(one(frame, "mine")["reference"])
    assert (one(frame, "crfu")["rank"], bool(one(frame, "crfu")["reference"])) == (1, False)
    ranked = assembled(made, reference={"mine": False, "crfu": False})
    assert [one(ranked, name)["rank"] for name in ("mine", "crfu")] == [1, 2]


def test_how_well_a_table_can_tell_is_beside_it(tmp_path):
    noisy = {name: [0.6 + shift * each for each in MSE] for name, shift in (("crfu", 0.1), ("vbu", 0.2))}
    frame = build(tmp_path, *(attacked(m, v, "auc") for m, v in noisy.items()), forgotten("crfu", "vbu"))
    assert set(frame["power_for"]) == {0.05}
    assert 0.9 < frame["power"].iloc[0] <= 1
    alone = build(tmp_path / "alone", attacked("crfu", [0.6] * 5, "auc"), forgotten("crfu"))
    assert alone["power"].isna().all()


@pytest.mark.parametrize(
    ("auc", "found"), [(0.55, "no worse"), (0.8, "worse"), (None, "cannot be told")], ids=["same", "more", "open"]
)
def test_a_leak_is_judged_beside_that_of_retraining(tmp_path, auc, found):
    own = [0.9, 0.5, 0.8, 0.5, 0.6] if auc is None else [auc] * 5
    frame = build(tmp_path, attacked("crfu", own, "auc"), attacked("retrain", [0.55] * 5, "auc"), forgotten("crfu"))
    assert one(frame, "crfu")["beside_retrain"] == found
    assert one(frame, "retrain")["beside_retrain"] is pd.NA


def test_tables_are_ranked_apart(tmp_path):
    frame = build(
        tmp_path,
        attacked("crfu", [0.6] * 5, "auc"),
        attacked("vbu", [0.7] * 5, "auc", tier="disjoint"),
        attacked("hbfu", [0.8] * 5, "auc", n_shadows=64),
        forgotten("crfu", "vbu", "hbfu"),
    )
    assert list(frame["rank"]) == [1, 1, 1]


# --- what is shown to leak -------------------------------------------------------------------------------------------


def test_a_score_below_the_trivial_attackers_is_no_leak_however_retraining_does(tmp_path):
    """seed_noise was flagged at AUC 0.49, because retraining's fell below 0.5."""
    noise = [0.490, 0.492, 0.488, 0.491, 0.489]
    made = attacked("noise", noise, "auc"), attacked("retrain", [0.40] * 5, "auc"), attacked("crfu", [0.8] * 5, "auc")
    frame = build(tmp_path, *made)
    assert one(frame, "noise")["auc_p_trivial"] > 0.5
    assert one(frame, "noise")["auc_p_retrain"] >= 0.5
    assert one(frame, "crfu")["auc_p_trivial"] < 0.001
    assert one(frame, "crfu")["auc_p_retrain"] < 0.001
    assert one(frame, "retrain")["auc_p_retrain"] is pd.NA


def test_a_leak_of_less_than_an_image_is_none(tmp_path):
    made = attacked("crfu", [0.501] * 5, "auc", n_samples=20), attacked("retrain", [0.5] * 5, "auc", n_samples=20)
    assert one(build(tmp_path, *made), "crfu")["auc_p_retrain"] > 0.4


# --- cells that did not finish ---------------------------------------------------------------------------------------


def failed(method, seeds, status="failed", error="OutOfMemoryError: 2 GiB", **other):
    return [
        row(method, seed, "cell", None, **{"attack": "ridge", "status": status, "error": error, **other})
        for seed in seeds
    ]


def test_failed_seeds_are_counted_and_the_others_used(tmp_path):
    made = attacked("crfu", MSE[:3]), attacked("crfu", [0.6] * 3, "auc"), forgotten("crfu", seeds=3)
    crfu = one(build(tmp_path, *made, failed("crfu", [3, 4])), "crfu")
    assert (crfu["n_seeds"], crfu["failed_seeds"], crfu["status"]) == (3, 2, "partial")
    assert crfu["mse"] == pytest.approx(0.031)
    assert crfu["rank"] is pd.NA  # its best seeds say nothing beside all of another's
    assert crfu["note"] == "OutOfMemoryError: 2 GiB"


def test_a_cell_that_failed_before_it_had_shadows_belongs_to_its_contender(tmp_path):
    frame = build(
        tmp_path,
        attacked("crfu", MSE[:3]),
        failed("crfu", [3], n_shadows=None),
        failed("vbu", [0, 1], n_shadows=None),
    )
    assert one(frame, "crfu")["failed_seeds"] == 1
    assert one(frame, "vbu")["n_shadows"] == 512


def test_a_method_that_only_failed_keeps_a_row(tmp_path):
    frame = build(tmp_path, attacked("crfu", MSE), failed("broken", [0, 1, 2]))
    broken = one(frame, "broken")
    assert (broken["status"], broken["n_seeds"], broken["failed_seeds"]) == ("failed", 0, 3)
    assert broken["mse"] is pd.NA
    assert broken["rank"] is pd.NA
    assert broken["note"] == "OutOfMemoryError: 2 GiB"


def test_a_skipped_method_keeps_a_row_with_the_reason(tmp_path):
    reason = "needs an information bottleneck"
    skipped = one(build(tmp_path, failed("vbu", [0, 1], status="skipped", error=reason)), "vbu")
    assert (skipped["status"], skipped["note"], skipped["failed_seeds"]) == ("skipped", reason, 0)


def test_a_seed_that_later_succeeded_is_not_failed(tmp_path):
    early = failed("crfu", [0], cell_key="older")
    late = [row("crfu", 0, "mse", 0.1, attack="ridge", cell_key="newer", started_at=later(1))]
    crfu = one(build(tmp_path, early, late), "crfu")
    assert (crfu["status"], crfu["failed_seeds"]) == ("ok", 0)
    assert crfu["note"] is pd.NA


# --- several protocols, several datasets of one plugin ----------------------------------------------------------------


def test_protocol_versions_stand_apart(tmp_path):
    old = [*attacked("crfu", [0.5] * 5), *attacked("retrain", [0.7] * 5), *rows("crfu", "accuracy", [0.1] * 5)]
    old = [{**each, "protocol_version": 1, "cell_key": f"{each['cell_key']} 1"} for each in old]
    frame = build(tmp_path, old, attacked("crfu", MSE), forgotten("crfu"))
    assert frame["protocol_version"].tolist() == [2, 1, 1]
    now, before = one(frame, "crfu", protocol_version=2), one(frame, "crfu", protocol_version=1)
    assert (now["mse"], now["n_seeds"]) == (pytest.approx(0.0314), 5)
    assert now["accuracy"] == pytest.approx(0.9, abs=0.02)
    assert (before["mse"], before["accuracy"]) == (pytest.approx(0.5), pytest.approx(0.1))
    assert now["mse_gap_retrain"] is pd.NA  # retraining was measured under the other one
    assert before["mse_gap_retrain"] == pytest.approx(-0.2)
    text = (tmp_path / "leaderboard.md").read_text()
    titles = [line for line in text.splitlines() if line.startswith("###") and "Result: " not in line]
    assert [("measured under protocol 1" in title, "protocol 2" in title) for title in titles] == [
        (False, False), (True, False)
    ]  # fmt: skip


def test_what_older_protocols_called_forgotten_is_no_number(tmp_path):
    stamped = {"experiment": "stamped", "scenario": '{"backdoor":{"size":3}}'}
    made = [*rows("crfu", "forgot", [1] * 5), *rows("crfu", "accuracy", [0.9] * 5)]
    made += [*rows("crfu", "forgot", [1] * 5, **stamped), *rows("crfu", "accuracy", [0.9] * 5, **stamped)]
    frame = build(tmp_path, [{**each, "protocol_version": 1} for each in made])
    plain, marked = one(frame, "crfu", experiment="leak"), one(frame, "crfu", experiment="stamped")
    assert (plain["forgot"], plain["accuracy"]) == (pd.NA, pytest.approx(0.9))
    assert marked["forgot"] == 1


def test_datasets_that_differ_in_parameters_are_several(tmp_path):
    made = []
    for path, level in (("a", 0.1), ("b", 0.3)):
        params = f'{{"path":"{path}","size":null,"mode":"RGB","test_fraction":0.2}}'
        place = {"dataset": "images", "dataset_params": params}
        made += [{**each, **place, "cell_key": f"{each['cell_key']} {path}"} for each in attacked("crfu", [level] * 5)]
    frame = build(tmp_path, made, attacked("crfu", MSE))
    assert frame["dataset_id"].tolist() == ["images[path=a]", "images[path=b]", "mnist"]
    assert frame["mse"].tolist() == pytest.approx([0.1, 0.3, 0.0314])
    text = (tmp_path / "leaderboard.md").read_text()
    assert r"images\[path=a\]" in text
    assert r"images\[path=b\]" in text


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_damaged_record_is_an_error_and_no_missing_row(tmp_path):
    folder = write_cells(tmp_path / "records", attacked("crfu", MSE))
    for name in ("000001", "000002"):
        (folder / f"{name}.parquet").write_bytes(b"half a file")
    with pytest.raises(RecordError, match=r"000001\.parquet: .*and 1 more such files"):
        write_leaderboard(folder, tmp_path)


def test_no_records_make_an_empty_leaderboard(tmp_path):
    frame = build(tmp_path)
    assert len(frame) == 0
    assert len(leaderboard.read(tmp_path / "leaderboard.parquet")) == 0
    assert (tmp_path / "leaderboard.md").read_text() == "No results.\n"


def test_reading_refuses_what_is_no_leaderboard(tmp_path):
    with pytest.raises(InputError, match="no such leaderboard"):
        leaderboard.read(tmp_path / "leaderboard.parquet")
    records.write([row("crfu", 0, "mse", 0.1)], tmp_path / "k.parquet")
    with pytest.raises(InputError, match="not a leaderboard"):
        leaderboard.read(tmp_path / "k.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(InputError, match="not a readable leaderboard"):
        leaderboard.read(tmp_path / "text.parquet")


def test_a_hundred_thousand_rows_are_built_in_one_go(tmp_path):
    cells = [
        row(f"m{m}", seed, "mse", 0.3 + 0.03 * m + 0.001 * seed, attack=f"a{a}", experiment=f"e{e}")
        for m in range(20) for a in range(5) for e in range(10) for seed in range(5)
    ]  # fmt: skip
    table = pa.Table.from_pylist(cells, schema=records.SCHEMA)
    index = table.schema.get_field_index("metric")
    names = [
        "mse",
        "auc",
        "accuracy",
        "klom_erased",
        "erased_accuracy",
        "ssim",
        "nearest_sse",
        "sse",
        "mse_mean_image",
        "skill_mean",
    ]
    parts = [table.set_column(index, table.schema.field(index), pa.array([n] * len(cells))) for n in names]
    parts.append(pa.Table.from_pylist(
        [each for m in range(20) for e in range(10) for each in judged(f"m{m}", experiment=f"e{e}")],
        schema=records.SCHEMA,
    ))  # fmt: skip
    trajectory = pa.concat_tables(parts[2:4] * 6)
    steps = table.schema.get_field_index("step")
    trajectory = trajectory.set_column(steps, table.schema.field(steps), pa.array(range(len(trajectory))))
    long = pa.concat_tables([*parts, trajectory])
    assert len(long) > 100_000
    board = leaderboard.assemble(long, "records").to_pandas()
    assert len(board) == 20 * 5 * 10
    assert set(board["rank"]) == set(range(1, 21))
    assert set(board["verdict"]) == {"forgotten"}


@pytest.mark.parametrize("later", ["0" * 64, "f" * 64])
def test_of_two_that_are_named_retrain_neither_is_the_reference_whichever_comes_last(tmp_path, later):
    made = attacked("retrain", RETRAINED) + attacked("crfu", MSE)
    other = [row("retrain", 7, "mse", 0.9, attack="ridge", method_params='{"x":1}', cell_key=later)]
    frame = build(tmp_path, made, other)
    crfu = one(frame, "crfu")
    assert crfu["mse_gap_retrain"] is pd.NA
    assert crfu["note"] == "no gap to retraining: 2 contenders are 'retrain'"
    for _, both in frame[frame["method_id"] == "retrain"].iterrows():
        assert "another contender of other parameters has the same name" in both["note"]
    assert one(build(tmp_path / "alone", made), "crfu")["mse_gap_retrain"] == pytest.approx(
        sum(MSE) / 5 - sum(RETRAINED) / 5
    )


def test_one_seed_that_says_what_a_plugin_is_is_no_majority_of_those_that_do_not(tmp_path):
    made = attacked("retrain", RETRAINED) + attacked("crfu", MSE[:3])
    said = [row("crfu", 7, "mse", MSE[3], attack="ridge", own_original=True, reference=True)]
    assert one(build(tmp_path, made, said), "crfu")["mse_gap_retrain"] is not pd.NA


@pytest.mark.parametrize("scores", [([], []), ([1.0], []), ([], [1.0]), ([1.0], None)])
def test_scores_of_one_side_only_are_no_record(scores):
    made = row("crfu", 0, "auc", 0.5, attack="ridge", scores_erased=scores[0], scores_unseen=scores[1])
    with pytest.raises(RecordError, match="scores of one side only"):
        records.check([made], "here")
