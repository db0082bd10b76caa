"""The claims of the CRFU paper are whole, and the paper suite measures what they ask for."""

from __future__ import annotations

from typing import Any

import pytest
from sample_claims import CLAIMS, ROOT

from unlearnbench.claims import model, reported, verdicts
from unlearnbench.claims.measured import MeasuredValues
from unlearnbench.claims.model import ValueSelection, selections
from unlearnbench.claims.printed import PrintedValues
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import canonical
from unlearnbench.suite.suite import CellSetting, load_suite

PINNED = {
    "mse_rises_with_beta", "auc_falls_with_beta", "kld_falls_with_beta", "accuracy_loses_little",
    "defence_improves_200_percent", "crfu_keeps_most_accuracy", "crfu_and_vbu_ten_times_faster_than_hbu",
    "all_far_faster_than_retraining", "larger_beta_u_forgets_faster", "running_time_rises_with_edr",
    "beta_1_resists_reconstruction", "edr_2_percent_is_the_exception", "hbu_has_lowest_backdoor_accuracy",
    "beta_u_1_is_catastrophic", "cifar10_keeps_accuracy_at_beta_u_001", "outputs_leak_no_more_than_z",
    "only_the_label_leaks", "proposition_1",
}  # fmt: skip


def test_every_claim_of_the_paper_is_in_the_file() -> None:
    claims = model.load(CLAIMS)
    assert {claim.id for claim in claims.claims} >= PINNED
    by_id = {claim.id: claim for claim in claims.claims}
    assert by_id["proposition_1"].untestable
    ratio, accuracy = by_id["defence_improves_200_percent"].checks
    assert isinstance(ratio, model.Ratio)
    assert isinstance(accuracy, model.Difference)
    assert (ratio.at_least, accuracy.at_most) == (2.5, 0.017)
    timed = [claim for claim in claims.claims if any(each.metric == "unlearn_seconds" for each in selections(claim))]
    assert len(timed) == 3
    for claim in timed:
        assert any(each.metric == "samples_processed" for each in selections(claim))


@pytest.fixture(scope="module")
def planned() -> list[CellSetting]:
    return load_suite(ROOT / "suites" / "paper.yaml", discover(())).settings()


def selects(selection: ValueSelection, dataset: str, setting: CellSetting) -> bool:
    pairs = [(selection.params, setting.method.params), (selection.scenario, setting.scenario)]
    if setting.attack is not None:
        pairs.append((selection.attack_params, setting.attack.params))
    return (
        setting.experiment == selection.experiment_on(dataset)
        and setting.dataset.info.name == dataset
        and setting.method.info.name == selection.method
        and (setting.attack.info.name if setting.attack else None) == selection.attack
        and all(reach(canonical(model), key) == value for wanted, model in pairs for key, value in wanted.items())
    )


def reach(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = (values or {}).get(key)
    return values


def test_every_selection_is_of_a_planned_contender(planned: list[CellSetting]) -> None:
    claims = model.load(CLAIMS)
    experiments = {setting.experiment for setting in planned}
    wanted = {
        (dataset, selection.experiment_on(dataset)): None
        for claim in (*claims.claims, *claims.targets)
        for dataset in claim.datasets
        for selection in selections(claim)
    }
    assert {name for _, name in wanted} <= experiments
    seed0 = [setting for setting in planned if setting.seed == 0 and setting.timing is None]
    parts: dict[tuple[str, str], list[CellSetting]] = {}
    for setting in seed0:
        parts.setdefault((setting.experiment, setting.dataset.info.name), []).append(setting)
    for claim in (*claims.claims, *claims.targets):
        for papers in (False, True):
            for dataset in claim.datasets:
                for selection in selections(claim, papers):
                    experiment = str(selection.experiment_on(dataset))
                    if experiment in experiments and dataset not in claims.unavailable:
                        fitting = [x for x in parts[experiment, dataset] if selects(selection, dataset, x)]
                        assert len(fitting) == 1, (claim.id, dataset, selection)


def test_every_reported_number_has_its_planned_contender(planned: list[CellSetting]) -> None:
    seed0 = [setting for setting in planned if setting.seed == 0 and setting.timing is None]
    for published in reported.load(CLAIMS, "paper.reported.yaml").published:
        for dataset in published.datasets:
            part = [x for x in seed0 if x.dataset.info.name == dataset]
            for line in published.rows[:: len(published.rows) - 1]:
                for column in published.columns:
                    selection = published.selection(line, column)
                    assert published.id in str(selection.experiment_on(dataset))
                    there = [x for x in part if x.experiment == selection.experiment_on(dataset)]
                    assert sum(selects(selection, dataset, x) for x in there) == 1, (published.id, dataset, selection)


def test_reported_numbers_are_the_papers() -> None:
    tables = {each.id: each for each in reported.load(CLAIMS, "paper.reported.yaml").published}
    columns = {name: {each.label: each for each in table.columns} for name, table in tables.items()}
    mse = columns["table2"]["reconstruction MSE, the paper's scale"].reported
    assert mse["mnist"] == [231.31, 252.23, 312.87, 478.76, 668.07]
    accuracy = columns["table3"]["test accuracy"].reported["cifar10"]
    assert accuracy[:6] == [0.8116, 0.7432, 0.7416, 0.7517, 0.8665, None]
    assert columns["figure4"]["test accuracy, CRFU"].reported["cifar10"][2] == 0.7556
    assert columns["figure7"]["erased, beta_u 0.01"].reported["cifar10"][:2] == [0.24, 0.13]
    rows = [row.of.method for row in tables["table3"].rows]
    for column in columns["table3"].values():  # beside both forms stands the same number
        for numbers in column.reported.values():
            assert numbers[6:] == [numbers[rows.index(method)] for method in ("hbu", "vbu", "crfu")]
    assert "75.17" in " ".join(tables["table3"].notes)


def test_the_papers_own_numbers_fail_these_checks_and_no_others() -> None:
    """Judged without any record: what is left is what its tables and figures say of themselves."""
    claims = model.load(CLAIMS)
    tables = PrintedValues(reported.load(CLAIMS, "paper.reported.yaml"))
    judged = {
        claim.id: verdicts.judge(claim, MeasuredValues([], {}), tables) for claim in (*claims.claims, *claims.targets)
    }
    failed = {
        (name, each.dataset, finding.what): finding.mean
        for name, judgement in judged.items()
        for each in judgement.datasets
        for finding in each.reported
        if finding.refuted
    }
    beta, fast = "beta_1_resists_reconstruction", "crfu_and_vbu_ten_times_faster_than_hbu"
    edr = "running_time_rises_with_edr"
    assert sorted((name, dataset) for name, dataset, _ in failed) == [
        (beta, "cifar10"), (beta, "fashion_mnist"), (beta, "mnist"),
        (fast, "fashion_mnist"), (fast, "fashion_mnist"),
        (edr, "cifar10"), (edr, "mnist"),
    ]  # fmt: skip
    ratios = [mean for (name, _, _), mean in failed.items() if name == fast]
    assert ratios == [pytest.approx(12.67 / 1.56), pytest.approx(12.67 / 1.99)]
    assert [mean for (name, _, _), mean in failed.items() if name == edr] == [0, 0]
    assert {name for name, judgement in judged.items() if judgement.verdict == verdicts.OWN_TABLE} == {beta, fast, edr}


def test_table_3s_claims_are_held_to_the_authors_code() -> None:
    claims = model.load(CLAIMS)
    about = [claim for claim in claims.claims if "Table 3" in claim.place or "6.3.1" in claim.place]
    for claim in (claim for claim in about if "Figure 4" not in claim.place):
        for selection in selections(claim, papers=True):
            assert selection.method == "retrain" or selection.params["form"] == "released", claim.id


def test_a_part_measures_what_is_asked_of_the_whole(planned: list[CellSetting]) -> None:
    claims = model.load(CLAIMS)
    asked = dict.fromkeys(claims.parts, 0)
    for claim in (*claims.claims, *claims.targets):
        for selection in (*selections(claim), *selections(claim, papers=True)) if "cifar10" in claim.datasets else ():
            whole = str(selection.experiment_on("cifar10"))
            if whole not in claims.parts or selection.metric == "unlearn_seconds":
                continue
            moved = selection.model_copy(update={"experiment": claims.parts[whole]})
            found = [setting for setting in planned if setting.timing is None and selects(moved, "cifar10", setting)]
            assert found, (claim.id, moved)
            assert all(setting.scenario.train_size and setting.scenario.test_size for setting in found)
            asked[whole] += 1
    assert all(asked.values()), asked
