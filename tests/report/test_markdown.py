import re

from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.report.markdown import escape, render


def cells(line):
    """A table line's cells as GitHub splits them."""
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_tables_have_as_many_cells_in_every_line(frame):
    text = render(frame)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6 + 2 + 4
    assert {len(cells(line)) for line in lines[:8]} == {7}
    assert "| 1= | crfu | 0.0314 ± 0.0026 |" in text
    assert "### leak / mnist / single / ridge" in text


def test_text_from_records_stays_in_its_cell(evil):
    text = render(evil)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(cells(line)) for line in lines}) == 1
    assert "<script>" not in text
    assert "\x1b" not in text
    assert re.search(r"(?<!\\)`", text) is None
    assert "http://" not in text


@given(st.text(alphabet=st.characters() | st.sampled_from("|\\`<>\n\r[]_*"), max_size=30))
def test_escaped_text_is_one_cell_and_no_html(text):
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    assert "<" not in escaped
    assert ">" not in escaped
    # Every special character has an odd number of backslashes before it.
    unescaped = re.sub(r"\\.", "", escaped)
    assert not re.search(r"[|`\[\]*_\\]", unescaped)


def test_an_empty_leaderboard_says_so(frame):
    assert render(frame.iloc[:0]) == "No results.\n"
