"""The numbers in the documentation are those of the published records, and its commands run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import typer
from checkout import ROOT
from tiny_runs import write_method, write_suite

from unlearnbench.claims import comparison, model
from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.metrics import catalog
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.registry.registry import discover
from unlearnbench.report import paper_tables
from unlearnbench.suite.suite import load_suite

SHARES = ("accuracy", "other_classes_accuracy", "target_class_accuracy", "backdoor_accuracy", "backdoor_success")
HEAD = """\
| method | test accuracy | without class 2 | class 2 | backdoor, training | backdoor, test | steps | images |
|---|---|---|---|---|---|---|---|
"""


def percent(row: pd.Series, metric: str) -> str:
    """A share with its interval, which is not symmetric."""
    return f"{100 * row[metric]:.1f} ({100 * row[f'{metric}_low']:.1f} to {100 * row[f'{metric}_high']:.1f})"


def table_of_methods(results: Path) -> str:
    """Table 3's scenario as docs/methods.md shows it: the most accurate first."""
    board = leaderboard.read(results / "leaderboard.parquet")
    rows = board[(board["experiment"] == "table3") & board["attack"].isna()].sort_values("accuracy", ascending=False)
    assert (rows["n_seeds"] == 5).all()
    lines = [
        f"| {row['method_id']} | {' | '.join(percent(row, metric) for metric in SHARES)}"
        f" | {row['gradient_steps']:,.0f} | {row['samples_processed']:,.0f} |"
        for _, row in rows.iterrows()
    ]
    return HEAD + "\n".join(lines) + "\n"


DIGITS_HEAD = """\
| method | test accuracy | without class 0 | class 0 | backdoor, training | backdoor, test | steps | images |
|---|---|---|---|---|---|---|---|
"""


def table_of_digits(results: Path) -> str:
    """Every method on the backdoor in digits, as docs/methods.md shows it: the most accurate first."""
    board = leaderboard.read(results / "leaderboard.parquet")
    rows = board[(board["experiment"] == "digits_utility") & board["attack"].isna()]
    assert (rows["n_seeds"] == 3).all()
    lines = [
        f"| {row['method_id']} | {' | '.join(percent(row, metric) for metric in SHARES)}"
        f" | {row['gradient_steps']:,.0f} | {row['samples_processed']:,.0f} |"
        for _, row in rows.sort_values(["accuracy", "method_id"], ascending=[False, True]).iterrows()
    ]
    return DIGITS_HEAD + "\n".join(lines) + "\n"


DIGITS_LEAK_HEAD = """\
| method | rebuilt: skill | label | membership: AUC | minus retraining | KLoM | test accuracy | on the erased |
|---|---|---|---|---|---|---|---|
"""


def table_of_digits_leaks(results: Path) -> str:
    """Every method under every attack on one erased digit: what is rebuilt best comes first."""
    board = leaderboard.read(results / "leaderboard.parquet")
    board = board[(board["experiment"] == "digits_leak") & board["attack"].notna()]
    found = {name: rows.set_index("method_id") for name, rows in board.groupby("attack")}
    assert set(found) == {"update_leak", "membership", "representation", "retrained_distance"}

    def cell(method: str, attack: str, metric: str) -> str:
        row = found[attack].loc[method]
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        if pd.isna(high):
            return ""
        if metric in METRICS and METRICS[metric].is_share:
            return f"{row[metric]:.2f} ({low:.2f} to {high:.2f})"
        return f"{row[metric]:.2f} ± {high - row[metric]:.2f}"

    lines = []
    for method in found["update_leak"].sort_values("skill_mean", ascending=False).index:
        shown = [cell(method, attack, metric) for attack, metric in (
            ("update_leak", "skill_mean"), ("update_leak", "label_accuracy"), ("membership", "auc"),
            ("membership", "auc_gap_retrain"), ("retrained_distance", "klom_erased"), ("update_leak", "accuracy"),
            ("update_leak", "erased_accuracy"),
        )]  # fmt: skip
        lines.append(f"| {method} | {' | '.join(shown)} |")
    return DIGITS_LEAK_HEAD + "\n".join(lines) + "\n"


PER_EXAMPLE_HEAD = """\
| method | likelihood ratio: AUC | lowest | highest |
|---|---|---|---|
"""


def table_of_likelihood_ratios(results: Path) -> str:
    """Models with and without each candidate, every method: the interval over seeds at its side."""
    board = leaderboard.read(results / "leaderboard.parquet")
    rows = board[(board["experiment"] == "digits_per_example") & board["attack"].notna()]
    assert (rows["n_seeds"] == 3).all()
    lines = [
        f"| {row['method_id']} | {row['auc']:.3f} | {row['auc_low']:.3f} | {row['auc_high']:.3f} |"
        for _, row in rows.sort_values(["auc", "method_id"], ascending=[False, True]).iterrows()
    ]
    return PER_EXAMPLE_HEAD + "\n".join(lines) + "\n"


@pytest.mark.parametrize("table", [table_of_digits, table_of_digits_leaks, table_of_likelihood_ratios])
def test_the_tables_of_digits_are_the_leaderboard_of_the_zoo(table: Callable[[Path], str]) -> None:
    expected = table(ROOT / "results" / "zoo")
    assert expected in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), f"docs/methods.md:\n{expected}"


LEAK_HEAD = """\
| erased | method | AUC | minus retraining | test accuracy |
|---|---|---|---|---|
"""


def table_of_leaks(results: Path) -> str:
    """Membership AUC beside retraining's, as docs/methods.md shows it."""
    board = leaderboard.read(results / "leaderboard.parquet")
    lines = []
    for count in (9, 64):
        rows = board[(board["experiment"] == f"leak_{count}") & (board["attack"] == "membership")]
        for method in ("retrain", "renew", "crfu", "original"):
            row = rows[rows["method_id"] == method].iloc[0]
            gap = row["auc_gap_retrain"], row["auc_gap_retrain_low"], row["auc_gap_retrain_high"]
            difference = "" if pd.isna(gap[0]) else f"{gap[0]:+.3f} ({gap[1]:+.3f} to {gap[2]:+.3f})"
            shown = f"{row['auc']:.3f} | {difference} | {100 * row['accuracy']:.1f}"
            lines.append(f"| {count} | {method} | {shown} |")
    return LEAK_HEAD + "\n".join(lines) + "\n"


def test_the_table_of_leaks_is_the_leaderboard_of_the_zoo() -> None:
    expected = table_of_leaks(ROOT / "results" / "zoo")
    assert expected in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), f"docs/methods.md:\n{expected}"


def test_the_table_of_methods_is_the_leaderboard_of_the_zoo() -> None:
    expected = table_of_methods(ROOT / "results" / "zoo")
    assert expected in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), f"docs/methods.md:\n{expected}"


BARS_HEAD = """\
| MNIST, CRFU, one erased image, 5 steps | measured | bar |
|---|---|---|
"""


def table_of_bars(results: Path) -> str:
    """What attacks reach where a bar was set, as docs/attacks.md shows it."""
    board = leaderboard.read(results / "leaderboard.parquet")
    board = board[(board["dataset"] == "mnist") & (board["method_id"] == "crfu") & board["attack"].notna()]

    def cell(experiment: str, metric: str, beta: str | None = None, **wanted: str) -> str:
        rows = board[board["experiment"] == experiment]
        for column, value in wanted.items():
            rows = rows[rows[column] == value]
        if beta is not None:
            rows = rows[[f'"beta":{beta},' in scenario for scenario in rows["scenario"]]]
        assert len(rows) == 1, (experiment, metric, wanted)
        row = rows.iloc[0]
        low, high, n = row[f"{metric}_low"], row[f"{metric}_high"], row[f"{metric}_n"]
        interval = f" ({low:.4f} to {high:.4f})" if pd.notna(low) else ""
        return f"{row[metric]:.4f}{interval}, {n} seed{'s' if n > 1 else ''}"

    same, other = {"attack": "update_leak", "tier": "same"}, {"attack": "update_leak", "tier": "disjoint"}
    by_ratios = {"attack": "likelihood_ratio"}
    lines = [
        ("`same`, beta 0, representation: MSE per pixel",
         cell("mnist_full", "mse", "0.0", observation="representation", **same), "at most 0.018"),
        ("`same`, beta 0, log-probabilities: MSE per pixel",
         cell("mnist_full", "mse", "0.0", observation="log_probabilities", **same), "at most 0.025"),
        ("`same`, beta 0.001, log-probabilities: label",
         cell("mnist_full", "label_accuracy", "0.001", observation="log_probabilities", **same), "at least 0.95"),
        ("`disjoint`, beta 0.001, log-probabilities: SSE",
         cell("mnist_disjoint", "sse", **other), "under 48.1 (pilot 45.5)"),
        ("the same: skill over the mean of the inferred class",
         cell("mnist_disjoint", "skill_class_inferred", **other), "interval above 0"),
        ("2,000 training images, boosted likelihood ratios: AUC",
         cell("mnist_overfitted", "auc", attack_id="likelihood_ratio", **by_ratios), "above the next two"),
        ("the same, population attack on shadows of other originals: AUC",
         cell("mnist_overfitted", "auc", attack="membership", tier="disjoint"), ""),
        ("the same, population attack on shadows of the target's original: AUC",
         cell("mnist_overfitted", "auc", attack="membership", tier="same"), ""),
        ("the same, U-LiRA as published (`uses: after`): AUC",
         cell("mnist_overfitted", "auc", attack_id="likelihood_ratio[uses=after]", **by_ratios), ""),
    ]  # fmt: skip
    return BARS_HEAD + "".join(f"| {what} | {measured} | {bar} |\n" for what, measured, bar in lines)


def test_the_table_of_bars_is_the_leaderboard_of_the_attacks() -> None:
    expected = table_of_bars(ROOT / "results" / "attacks")
    assert expected in (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8"), f"docs/attacks.md:\n{expected}"


def table_of_verdicts() -> str:
    """The verdicts on the paper's claims, as docs/claims.md shows them."""
    found = comparison.compare(ROOT / "results" / "paper", ROOT / "suites" / "paper.claims.yaml")
    rows = [row for row in paper_tables.verdicts(found).rows if row[0] == "claim"]
    head = "| claim | verdict | on |\n| :--- | :--- | :--- |\n"
    return head + "".join(
        f"| {name.replace('_', ' ')} | {verdict} | {where} |\n" for _, name, verdict, where, _ in rows
    )


def test_the_table_of_verdicts_is_that_of_the_papers_records() -> None:
    expected = table_of_verdicts()
    assert expected in (ROOT / "docs" / "claims.md").read_text(encoding="utf-8"), f"docs/claims.md:\n{expected}"


def test_the_claims_file_in_the_documentation_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "mine.claims.yaml").write_text(block)
    claims = model.load(tmp_path / "mine.claims.yaml")
    assert [check.kind for claim in claims.claims for check in claim.checks] == ["difference", "monotone"]
    for kind in ("value", "difference", "ratio", "ordering", "monotone", "trivial"):
        assert f"`{kind}`" in text


def commands(page: str) -> list[list[str]]:
    """The lines of a page's sh blocks, each split as a shell would."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [
        shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]


@pytest.mark.slow
def test_the_commands_of_submitting_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNBENCH_DATA", str(tmp_path / "data"))
    write_suite(tmp_path, "mine")
    write_method(tmp_path / "plugins", "mine")
    plugin = tmp_path / "plugins" / "methods" / "mine.py"
    head = "class Mine(Method):\n"
    plugin.write_text(plugin.read_text().replace(head, f'{head}    """Forgets nothing."""\n\n'))
    verbs = set(typer.main.get_group(cli.app).commands)
    ran = []
    for program, verb, *arguments in commands("submitting.md"):
        assert program == "unlearnbench"
        assert verb in verbs
        ran.append(verb)
        few = ["--jobs", "1", "--device", "cpu"] if verb in ("run", "verify") else []
        assert cli.main([verb, *arguments, *few]) == 0, (verb, arguments)
        if verb == "run":  # what is published already: the same suite's references
            shutil.copytree(tmp_path / "results" / "mine", tmp_path / "results" / "published")
    assert ran == ["check", "run", "verify", "merge", "merge", "verify", "report"]
    assert (tmp_path / "candidate" / "leaderboard.md").read_bytes() == (
        tmp_path / "results" / "mine" / "leaderboard.md"
    ).read_bytes()


def test_submitting_names_every_verdict_and_tolerance() -> None:
    from unlearnbench.cli.verify import VERDICTS

    text = (ROOT / "docs" / "submitting.md").read_text(encoding="utf-8")
    assert all(f"| {verdict} |" in text for verdict in VERDICTS)
    assert f"{catalog.SHARE}, or {catalog.SAMPLES} of the images" in text
    assert f"everything else {catalog.RELATIVE:.0%} of the value".replace("%", " %") in text


def test_the_reference_has_every_verb() -> None:
    page = (ROOT / "docs" / "reference" / "command_line.md").read_text(encoding="utf-8")
    named = {name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z]+)", line)}
    assert named == set(typer.main.get_group(cli.app).commands)


TRAINING_IMAGES = {"digits": 1_437, "mnist": 60_000, "fashion_mnist": 60_000, "cifar10": 50_000, "stl10": 5_000}
SUITES = ("attacks", "paper", "quickstart", "tune_mnist", "update_leak", "zoo")


def table_of_the_not_judged() -> str:
    """Experiments without a backdoor of which one retraining passes over more images than is declared."""
    registry, rows = discover(()), []
    for name in SUITES:
        costs: dict[str, dict[str, int]] = {}
        for setting in load_suite(ROOT / "suites" / f"{name}.yaml", registry).settings(screening=False):
            scenario, dataset = setting.scenario, setting.dataset.info.name
            whole = scenario.train_size or TRAINING_IMAGES[dataset] - (scenario.validation or 0)
            images = whole if scenario.leak is None else scenario.leak.target
            cost = images * scenario.training.epochs
            if scenario.backdoor is None and cost > scenario.judging.largest_retraining:
                costs.setdefault(setting.experiment, {})[dataset] = cost
        for experiment, found in costs.items():
            where = ", ".join(f"{dataset} ({cost:,})" for dataset, cost in found.items())
            rows.append(f"| {name} | {experiment} | {where} |\n")
    return "| suite | experiment | datasets |\n|---|---|---|\n" + "".join(rows)


def test_the_protocol_lists_what_is_not_judged() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    expected = table_of_the_not_judged()
    assert f"-->\n{expected}<!-- end of not judged -->" in page, f"docs/protocol.md:\n{expected}"


def test_the_protocol_has_every_verdict() -> None:
    from unlearnbench.leaderboard.verdicts import Accuracy, Beside, Forgetting

    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert all(f"| {verdict} |" in page for verdict in Forgetting)
    assert all(f"*{verdict}*" in page for verdict in (Accuracy.KEPT, Accuracy.BELOW, Beside.NO_WORSE, Beside.WORSE))


def test_the_soak_in_reliability_is_the_published_one() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    for one in json.loads((ROOT / "results" / "benchmarks" / "soak" / "measured.json").read_text(encoding="utf-8")):
        memory = f"{one['early_mib']:.0f}, {one['late_mib']:.0f}"
        speed = f"{one['per_second']:.1f} | {one['overhead_ms']:.1f}"
        assert f"| {one['engine']} | {one['cells']:,} | {speed} | {memory} |" in page
        assert one["cells"] == 10_000
