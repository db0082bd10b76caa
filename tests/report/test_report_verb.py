"""`unlearnbench report`: metrics and order by choice, 80 columns, every format, and LaTeX that compiles."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from sample_records import row, rows, write_cells

from unlearnbench.cli import main as cli
from unlearnbench.report.export import export
from unlearnbench.system import escaping

LEVELS = {"crfu": 0.9, "vbu": 0.8, "hbu": 0.95}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = []
    for method, level in LEVELS.items():
        made += rows(method, "accuracy", [level, level + 0.01, level - 0.01])
        made += rows(method, "remaining_accuracy", [1 - level] * 3)
        made += rows(method, "gradient_steps", [100 * level] * 3)
    write_cells(tmp_path / "records", made)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["report", *arguments]) == 0
    return capsys.readouterr().out


def methods(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split() if word in LEVELS]


def test_metrics_can_be_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, str(folder), "--metric", "remaining_accuracy", "--metric", "gradient_steps")
    assert "remain." in text
    assert "steps" in text
    assert "acc." not in text


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("accuracy", ["hbu", "crfu", "vbu"]),  # the best first
        ("accuracy:asc", ["vbu", "crfu", "hbu"]),
        ("gradient_steps", ["vbu", "crfu", "hbu"]),
        ("gradient_steps:desc", ["hbu", "crfu", "vbu"]),
        ("method_id:desc", ["vbu", "hbu", "crfu"]),
    ],
)
def test_rows_come_in_the_asked_order(
    folder: Path, capsys: pytest.CaptureFixture[str], sort: str, order: list[str]
) -> None:
    assert methods(printed(capsys, str(folder), "--sort", sort)) == order
    listed = json.loads(printed(capsys, str(folder), "--sort", sort, "--format", "json"))
    assert [row["method"] for row in listed] == order


def test_files_for_programs_hold_the_chosen_metrics_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, str(folder), "--format", "csv", "--metric", "accuracy")
    names = next(csv.reader(io.StringIO(text)))
    assert {"method_id", "rank", "accuracy", "accuracy_low", "accuracy_n"} <= set(names)
    assert not [name for name in names if name.startswith(("remaining", "gradient"))]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--metric", "acuracy"], "metrics: no 'acuracy' here; did you mean 'accuracy'?"),
        (["--sort", "acuracy"], "sort: no column 'acuracy' here; did you mean 'accuracy'?"),
        (["--sort", "accuracy:up"], "sort: 'up' is not a direction; write accuracy:asc or accuracy:desc"),
        (["--format", "leaks", "--sort", "auc"], "format: leaks has metrics and an order of its own"),
        (["--format", "csv", "--metric", "x"], "metrics: no 'x' here"),
    ],
)
def test_bad_choices_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], error: str
) -> None:
    assert cli.main(["report", str(folder), *options]) == 2
    said = capsys.readouterr()
    assert error in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("options", [[], ["--metric", "accuracy", "--metric", "remaining_accuracy"]])
def test_the_terminals_table_fits_eighty_columns(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert max(map(len, printed(capsys, str(folder), *options).splitlines())) <= 80


@pytest.mark.parametrize("format", ["text", "markdown", "csv", "latex", "html", "json", "leaks"])
def test_every_format_is_printed(folder: Path, capsys: pytest.CaptureFixture[str], format: str) -> None:
    assert printed(capsys, str(folder), "--format", format)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex: apt-get install texlive-latex-recommended")
def test_latex_compiles_with_booktabs_whatever_the_text(
    frame: pd.DataFrame, evil: pd.DataFrame, tmp_path: Path
) -> None:
    every = escaping.latex(
        "".join(map(chr, (*range(32, 127), *range(160, 256)))) + "β ε Δ λ ± \u2013 \u2212 ≥ \U0001f600 漢"
    )
    body = f"{export(frame, 'latex')}\n{export(evil, 'latex')}\n\n{every}"
    text = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "it.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "it.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("format_", ["text", "json", "csv", "markdown", "latex", "html", "leaks"])
def test_a_run_of_which_every_cell_failed_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    """An attack that says what it is ranked by, which is a metric that no cell has measured."""
    attacked = {"attack": "a", "attack_id": "a", "ranked_by": "advantage"}
    made = [
        row(method, seed, "cell", None, status="failed", error="ValueError: no", cell_key=f"{method}{seed}", **attacked)
        for method in ("original", "retrain", "crfu")
        for seed in range(3)
    ]
    write_cells(tmp_path / "run" / "records", made)
    assert "crfu" in printed(capsys, str(tmp_path / "run"), "--format", format_)
    assert cli.main(["publish", str(tmp_path / "run"), "--out", str(tmp_path / "site")]) == 0
