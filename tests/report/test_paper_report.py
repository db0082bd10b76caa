"""The report of a comparison: its tables, its figures, the same bytes for the same records, and hostile text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from evil_name import EVIL
from sample_records import row, write_cells

from unlearnbench.claims import comparison
from unlearnbench.claims.comparison import Comparison
from unlearnbench.claims.printed import ABSENT
from unlearnbench.claims.reported import Column, Entry, Row
from unlearnbench.report import paper, paper_figures
from unlearnbench.system.errors import InputError

LEVELS = {0.0: 0.97, 0.1: 0.95, 1.0: 0.90}
FILES = ["REPORT.md", "sweep_mnist.png", "sweep_mnist.svg"]


def scenario(beta: float) -> dict[str, Any]:
    return {"scenario": f'{{"beta":{beta}}}', "scenario_id": f"beta={beta}", "experiment": "sweep"}


def records() -> list[Any]:
    return [
        row("crfu", seed, "accuracy", level + 0.001 * (seed % 3), **scenario(beta), git_sha="abc" * 12, git_dirty=True,
            cell_key=f"{beta} {seed}")
        for beta, level in LEVELS.items()
        for seed in range(5)
    ]  # fmt: skip


def write_files(folder: Path, title: str = "Figure 1: a sweep", ticks: bool = True) -> Path:
    of = {"experiment": "sweep", "method": "crfu", "metric": "accuracy"}
    bound = {"kind": "value", "of": {"scenario": {"beta": 1}}}
    words = {"words": "So it is.", "place": title, "datasets": ["mnist"], "of": of}
    claims = [
        {"id": "holds", **words, "checks": [{**bound, "at_least": 0.8}]},
        {"id": "fails", **words, "checks": [{**bound, "at_least": 0.95}], "comment": "Tried twice."},
    ]
    columns = [
        {"label": "accuracy", "panel": "accuracy", "series": "CRFU", "reported": {"mnist": [0.971, 0.8, None]}},
        {"label": "steps", "panel": "steps", "series": "CRFU", "of": {"metric": "gradient_steps"}},
    ]
    published = {
        "id": "sweep", "title": title, "x": "beta", "ticks": ticks, "datasets": ["mnist", "cifar10"], "of": of,
        "rows": [{"label": f"{beta:g}", "x": beta, "of": {"scenario": {"beta": beta}}} for beta in LEVELS],
        "columns": columns, "notes": ["A slip."],
    }  # fmt: skip
    file = {"paper": title, "source": "as printed", "published": [published]}
    (folder / "it.reported.yaml").write_text(json.dumps(file))
    path = folder / "it.claims.yaml"
    path.write_text(json.dumps({"suite": "paper", "reported": "it.reported.yaml", "claims": claims}))
    return path


def compared(folder: Path, made: list[Any], **files: Any) -> Comparison:
    folder.mkdir(parents=True, exist_ok=True)
    write_cells(folder / "records", made)
    return comparison.compare(folder, write_files(folder, **files))


def written(folder: Path, made: list[Any]) -> dict[str, bytes]:
    paper.write(compared(folder, made), folder / "report")
    return {path.name: path.read_bytes() for path in sorted((folder / "report").iterdir())}


def test_reported_measured_and_difference_stand_beside_each_other(tmp_path: Path) -> None:
    text = paper.markdown(compared(tmp_path, records()))
    assert "### Figure 1: a sweep / mnist" in text
    assert "| accuracy | 0 | 97.1 % | 97.08 ± 0.10 % | 5 | -0.02 points |" in text
    assert "| accuracy | 1 | \u2013 | 90.08 ± 0.10 % | 5 | \u2013 |" in text
    assert "| steps | 0 | \u2013 | not run: gradient\\_steps was not measured of crfu | \u2013 | \u2013 |" in text
    assert "not run: no records of sweep on cifar10" in text
    assert "- A slip." in text


def test_the_report_holds_verdicts_misses_and_where_it_was_run(tmp_path: Path) -> None:
    files = written(tmp_path, records())
    assert sorted(files) == FILES  # none for a dataset that was not measured
    text = files["REPORT.md"].decode()
    assert "| claim | holds | reproduced | mnist: reproduced | 5 |" in text
    assert "### fails: contradicted" in text
    assert "Comment: Tried twice." in text
    assert "- fails, mnist: accuracy of crfu beta=1 is 90.08 ± 0.10 % (n 5), asked: at least 95 %" in text
    assert "- sweep, mnist: accuracy, 0.1: measured 95.08 ± 0.10 %, reported 80 % (15.08 points)" in text
    assert "accuracy, 0: measured" not in text  # the reported number lies inside the interval
    assert (
        "| sweep | mnist | 15 | 0 | 0, 1, 2, 3, 4 | all | \u2013 | cpu | abcabcabca with changes | torch 2.11 |" in text
    )
    alt = re.search(r"!\[(.*)\]\(sweep_mnist\.svg\)", text)
    assert alt is not None
    assert "CRFU from 0.971 at 0 to 0.901 at 1" in alt.group(1)


def test_what_is_not_shown_is_told_from_what_is_refuted(tmp_path: Path) -> None:
    wide = [{**each, "value": 0.95 + 0.02 * (each["seed"] - 2)} for each in records()]
    text = written(tmp_path, wide)["REPORT.md"].decode()
    assert "2 claims; reproduced: 1; only under the paper's protocol: 0; contradicted: 0;" in text
    assert "contradicted by its own table: 0; open: 1; not run: 0." in text
    assert "| claim | fails | open | mnist: open | 5 |" in text
    assert "asked: at least 95 %; open" in text
    assert "| at least 95 % | open |" in text
    assert "| open |" not in written(tmp_path / "narrow", records())["REPORT.md"].decode()


def test_a_part_of_the_data_is_marked_in_every_place_and_is_no_miss(tmp_path: Path) -> None:
    part = [{**each, "scenario": each["scenario"][:-1] + ',"train_size":500,"test_size":50}'} for each in records()]
    files = written(tmp_path, part)
    text, words = files["REPORT.md"].decode(), "500 training and 50 test images only"
    assert f"| claim | fails | not run | mnist: not run as a whole, {words}: contradicted | \u2013 |" in text
    assert f"### Figure 1: a sweep / mnist, {words}" in text
    assert f"| mnist, {words} | accuracy of crfu beta=1 | own |" in text
    assert f"| sweep | mnist | 15 | 0 | 0, 1, 2, 3, 4 | {words} |" in text
    assert words.encode() in files["sweep_mnist.svg"]
    assert "## Misses in numbers\n\nNone." in text


def test_a_dataset_that_was_not_run_is_one_line_of_checks(tmp_path: Path) -> None:
    text = paper.markdown(compared(tmp_path, []))
    line = "| mnist | all | own | \u2013 | \u2013 | \u2013 | not run (no records of sweep on mnist) | \u2013 |"
    assert line in text
    assert line.replace("own", "reported").replace("not run (no records of sweep on mnist)", ABSENT) in text
    assert "at least 95 %" not in text


def test_of_a_figures_many_points_the_report_says_how_many_were_missed(tmp_path: Path) -> None:
    paper.write(compared(tmp_path, records(), ticks=False), tmp_path)
    text = (tmp_path / "REPORT.md").read_text()
    assert "- sweep, mnist: 1 of the paper's 2 points" in text
    assert "accuracy, 0.1: measured" not in text


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    made = records()
    again = written(tmp_path / "again", list(reversed(made)))
    first = written(tmp_path / "first", made)
    assert first == again
    assert b"Creator" not in first["sweep_mnist.svg"]
    assert b"matplotlib.org" not in first["sweep_mnist.png"]
    assert paper.text(compared(tmp_path / "a", made)) == paper.text(compared(tmp_path / "b", made))


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_text_from_records_and_files_stays_text(tmp_path: Path) -> None:
    made = [{**each, "device": EVIL, "git_sha": EVIL} for each in records()[:12]]
    failed = row("crfu", 9, "cell", None, status="failed", error=EVIL, **scenario(9))
    failed["experiment"] = EVIL
    found = compared(tmp_path, [*made, failed], title=EVIL.replace("\x1b", "").replace("\u202e", ""))
    paper.write(found, tmp_path / "report")
    report = (tmp_path / "report" / "REPORT.md").read_text()
    for text in (report, paper.markdown(found)):
        assert "<script>" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "http://" not in text
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        assert tables
        for table in tables:
            assert len({len(cells(line)) for line in table.splitlines()}) == 1
    assert "\x1b" not in paper.text(found)
    svg = (tmp_path / "report" / "sweep_mnist.svg").read_text()
    assert "<script>" not in svg


def test_figures_are_not_empty(tmp_path: Path) -> None:
    from matplotlib.image import imread

    written(tmp_path, records())
    picture = imread(tmp_path / "report" / "sweep_mnist.png")
    assert picture[..., :3].std() > 0.05  # something is drawn


def test_bands_of_shares_are_drawn_within_them() -> None:
    row, column = Row(label="0"), Column(label="accuracy")
    assert paper_figures._band(Entry(row, column, "accuracy", None, 0.9, 0.6, 1.2)) == (0.6, 1.0)
    assert paper_figures._band(Entry(row, column, "accuracy", None, 0.1, -0.2, 0.4)) == (0.0, 0.4)
    assert paper_figures._band(Entry(row, column, "gradient_steps", None, 1420, -300, 3100)) == (-300, 3100)
    assert paper_figures._band(Entry(row, column, "accuracy", None, 0.9)) == (0.9, 0.9)


def test_two_seeds_have_a_mean_and_no_interval(tmp_path: Path) -> None:
    text = paper.markdown(compared(tmp_path, [each for each in records() if each["seed"] < 2]))
    assert "| accuracy | 0.1 | 80 % | 95.05 % | 2 | 15.05 points |" in text


def test_a_file_that_compare_did_not_write_is_not_written_over(tmp_path: Path) -> None:
    found, folder = compared(tmp_path, records()), tmp_path / "report"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("mine")
        with pytest.raises(InputError, match="exists and is not part of an earlier report"):
            paper.write(found, folder)
        assert [path.read_text() for path in folder.iterdir()] == ["mine"]
        (folder / name).unlink()
    paper.write(found, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    paper.write(found, folder)  # its own it replaces
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
