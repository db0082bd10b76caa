"""Several networks in one suite: each has its own references, and records say which network they are of."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT
from tiny_runs import write_suite

from unlearnbench.cli import main as cli
from unlearnbench.records.reading import read_folder
from unlearnbench.registry.registry import discover
from unlearnbench.suite.suite import load_suite
from unlearnbench.system.store import Store

NETWORKS = "network: [{name: plain_mlp, hidden: [4, 64]}, {hidden: 8, latent: 4}]"


def recorded(results: Path) -> pd.DataFrame:
    table, bad = read_folder(results / "records")
    assert not bad
    frame: pd.DataFrame = table.to_pandas()
    return frame


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    suite = write_suite(folder, "gradient_ascent, crfu, sisa: {shards: 2}", seeds=2)
    text = suite.read_text().replace("network: {hidden: 8, latent: 4}", NETWORKS)
    suite.write_text(text.replace("targets: 2", "targets: 8").replace("spare: 60", "spare: 200"))
    out = folder / "results"
    assert cli.main(["run", str(suite), "--engine", "serial", "--results", str(out), "--cache", str(folder / "c")]) == 0
    return out


def test_a_wider_networks_leak_is_read_off_against_its_own_retraining(results: Path) -> None:
    records, board = recorded(results), pd.read_parquet(results / "leaderboard.parquet")
    attacked = board[board["attack"].notna() & (board["method"] == "gradient_ascent")]
    assert len(attacked) == 3
    values = records[(records["metric"] == "auc")].groupby(["scenario_id", "method"])["value"].mean()
    retraining = set()
    for _, row in attacked.iterrows():
        own = values[row["scenario_id"], "retrain"]
        assert row["auc_gap_retrain"] == pytest.approx(values[row["scenario_id"], "gradient_ascent"] - own)
        retraining.add(own)
    assert len(retraining) == 3  # other networks' retraining would have shown
    # A method with an original of its own architecture has no gap to the suite's network.
    assert board.loc[board["method"] == "sisa", "auc_gap_retrain"].isna().all()


def test_forgetting_is_judged_beside_retrained_models_of_the_same_network(results: Path) -> None:
    board = pd.read_parquet(results / "leaderboard.parquet")
    rows = board[board["method"] == "gradient_ascent"]
    assert rows["retrained_accuracy"].nunique() == 3
    wide = rows["scenario_id"].str.contains("network.hidden=64")
    assert float(rows.loc[wide, "retrained_accuracy"].iloc[0]) > float(rows.loc[~wide, "retrained_accuracy"].max())


def test_records_name_the_network_and_why_a_method_was_skipped(results: Path) -> None:
    records = recorded(results)
    named = {json.loads(text)["network"]["name"] for text in records["scenario"].unique()}
    assert named == {"plain_mlp", "mlp"}
    skipped = records[records["status"] == "skipped"]
    assert set(skipped["method"]) == {"crfu"}
    assert skipped["error"].str.contains(r"which the network plain_mlp\[hidden=\d+\] lacks").all()
    kld = records[records["metric"] == "kld_to_prior"]  # of networks with p(Z|x) only
    assert {json.loads(text)["network"]["name"] for text in kld["scenario"].unique()} == {"mlp"}


def test_artifacts_say_how_models_were_computed(results: Path) -> None:
    store = Store(results.parent / "c")
    made = [store.values(key)["provenance"] for key in store.keys()]  # noqa: SIM118 (not a mapping)
    found = {(each["model"], str(each["in_turn"])) for each in made if each["stage"] == "unlearn"}
    assert found == {("plain_mlp", "[]"), ("mlp", "None")}  # vectorised by trial; known to be, and not tried


def test_a_record_of_any_network_can_be_verified(results: Path, tmp_path: Path) -> None:
    arguments = ["verify", str(results), "--sample", "6", "--seed", "1", "--cache", str(tmp_path)]
    assert cli.main([*arguments, "--jobs", "1"]) == 0


def test_the_suite_of_networks_is_what_it_says() -> None:
    suite = load_suite(ROOT / "suites" / "networks.yaml", discover())
    found = {experiment: set[str]() for experiment in suite.file.experiments}
    for setting in suite.settings():
        found[setting.experiment].add(setting.network.info.name)
    assert found == {"small": {"linear", "mlp", "cnn"}, "attention": {"vit"}, "residual": {"plain_resnet18"}}
    assert suite.seeds == 3
