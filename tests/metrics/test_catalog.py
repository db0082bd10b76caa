import dataclasses

import pytest

from unlearnbench.metrics.catalog import METRICS, describe, given_by, shown_in


def test_every_metric_is_found_under_its_own_name():
    assert all(describe(name).name == name for name in METRICS)
    assert {"mse", "auc", "accuracy", "backdoor_accuracy", "unlearn_seconds", "forgot"} <= set(METRICS)


def test_unknown_metric_names_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'erased_accuracy'"):
        describe("erase_accuracy")


def test_direction_says_for_whom_and_which_way():
    assert describe("mse").direction == "privacy: higher is better"
    assert describe("auc").direction == "privacy: lower is better"
    assert describe("accuracy").direction == "utility: higher is better"
    assert describe("gradient_steps").direction == "cost: lower is better"
    assert describe("nearest_sse").direction == "info"


def test_info_metrics_alone_have_no_better():
    assert all((metric.better == "none") == (metric.good == "info") for metric in METRICS.values())


def test_trivial_attackers_are_constants_or_metrics_of_their_own():
    named = {metric.trivial for metric in METRICS.values() if isinstance(metric.trivial, str)}
    assert named == {
        "mse_mean_image",
        "sse_mean_image",
        "label_accuracy_majority",
        "label_kl_prior",
        "klom_null",
        "epsilon_null",
    }
    assert named <= set(METRICS)
    assert (describe("auc").trivial, describe("tpr_at_1pct_fpr").trivial) == (0.5, 0.01)


def test_catalogue_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        describe("mse").unit = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        METRICS["mse"] = describe("auc")  # type: ignore[index]


def test_views_show_metrics_in_their_own_order():
    assert [metric.name for metric in shown_in("beside")] == ["accuracy", "erased_accuracy"]
    assert [metric.name for metric in shown_in("ratio")][:3] == [
        "gradient_steps",
        "samples_processed",
        "unlearn_seconds",
    ]
    pages, attacked = (shown_in("attacked", "pages"), shown_in("attacked"))
    assert [metric for metric in pages if metric in attacked] == attacked
    assert {metric.name for metric in pages} - {metric.name for metric in attacked} == {"tpr_at_0_1pct_fpr"}


def test_metrics_that_stand_in_for_others_exist():
    assert {metric.superseded_by for metric in METRICS.values()} - {None} <= set(METRICS)


def test_plugins_may_record_guarantees_distances_and_inferred_settings_alone():
    assert given_by("method") == {"certified_epsilon", "certified_delta"}
    starts = ("klom_", "epsilon_", "auc_on_", "compliance_", "stolen_")
    assert all(name.startswith(starts) for name in given_by("attack"))
