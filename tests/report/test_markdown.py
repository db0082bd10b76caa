import re

from unlearnbench.report.markdown import render


def cells(line):
    """A table line's cells as GitHub splits them."""
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_tables_have_as_many_cells_in_every_line(frame):
    text = render(frame)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    sizes = [8 * [5], 6 * [4], 8 * [14], 6 * [10]]  # results of both settings, then both tables
    assert [len(cells(line)) for line in lines] == [size for table in sizes for size in table]
    assert "| 1≈ | crfu | forgotten 5/5 | kept | worse |" in text
    assert "| 0.0314 ± 0.0026 | -0.01 ± 0 | 0.067 |" in text
    assert "### Result: leak / mnist / single" in text
    assert "### leak / mnist / single / ridge" in text


def test_text_from_records_stays_in_its_cell(evil):
    text = render(evil)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    result, board = lines[:4], lines[4:]
    assert len({len(cells(line)) for line in result}) == 1
    assert len({len(cells(line)) for line in board}) == 1
    assert len(board) == 4
    assert "<script>" not in text
    assert "\x1b" not in text
    assert re.search(r"(?<!\\)`", text) is None
    assert "http://" not in text


def test_an_empty_leaderboard_says_so(frame):
    assert render(frame.iloc[:0]) == "No results.\n"
