import csv
import html.parser
import io
import json
import re

import pytest

from unlearnbench.report.export import FORMATS, export
from unlearnbench.system import escaping
from unlearnbench.system.errors import InputError


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.text = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_names_every_contender_and_has_no_nan(frame, format):
    text = export(frame, format)
    assert all(name in text for name in frame["method_id"])
    assert not re.search(r"\bnan\b|<NA>|None", text, re.IGNORECASE)
    assert text.endswith("\n")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_takes_an_empty_leaderboard(frame, format):
    assert isinstance(export(frame.iloc[:0], format), str)


@pytest.mark.parametrize("format", FORMATS)
def test_no_format_passes_control_characters_on(evil, format):
    assert "\x1b" not in export(evil, format)


def test_unknown_format_is_an_error(frame):
    with pytest.raises(InputError, match="format: unknown format 'markdwn'; did you mean 'markdown'"):
        export(frame, "markdwn")


def test_json_has_every_column_and_null_for_nothing(frame):
    rows = json.loads(export(frame, "json"))
    assert len(rows) == len(frame)
    assert list(rows[0]) == list(frame.columns)
    lazy = next(row for row in rows if row["method"] == "lazy")
    assert lazy["rank"] is None
    assert lazy["mse_n"] == 5


def test_csv_has_every_column_and_nothing_for_null(frame):
    rows = list(csv.DictReader(io.StringIO(export(frame, "csv"))))
    assert list(rows[0]) == list(frame.columns)
    broken = next(row for row in rows if row["method"] == "broken")
    assert (broken["mse"], broken["rank"], broken["failed_seeds"]) == ("", "", "1")


def test_csv_text_is_no_formula(evil):
    rows = list(csv.DictReader(io.StringIO(export(evil, "csv"))))
    assert len(rows) == len(evil)
    assert not any(text[:1] in ("=", "+", "@") for row in rows for text in row.values())


def test_html_text_is_no_element(evil):
    page = Tags(export(evil, "html"))
    assert page.names <= {"meta", "title", "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert any("<script>" in text for text in page.text)


def test_latex_is_a_booktabs_table(frame):
    text = export(frame, "latex")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert r"\toprule" in text
    assert r"0.0314 $\pm$ 0.0026" in text
    assert "observes log probabilities" in text
    assert "lazy\\_x" in export(frame.assign(method_id=frame["method_id"] + "_x"), "latex")


def test_latex_text_is_no_command(evil):
    text = export(evil, "latex")
    assert text.count(r"\end{table}") == 1
    assert escaping.latex("\\end{table} 5% a_b #1 $x$ [1]") == (
        r"\textbackslash{}end\{table\} 5\% a\_b \#1 \$x\$ {[}1]"
    )
