import io

from rich.cells import cell_len
from rich.console import Console

from unlearnbench.report.terminal import WIDTH, blocks, render
from unlearnbench.report.text_tables import Table


def printed(renderable):
    text = io.StringIO()
    Console(file=text, width=WIDTH, force_terminal=True, color_system=None).print(renderable)
    return text.getvalue()


def test_tables_fit_eighty_columns_without_losing_a_number(frame):
    text = printed(render(frame))
    assert max(cell_len(line) for line in text.splitlines()) <= WIDTH
    for number in ("0.0314 ± 0.0026", "-0.01 ± 0", "1200 ± 0", "3.0314 ± 0.0026", "broken: failed"):
        assert number in text
    assert "…" not in text


def test_wide_tables_go_on_below_with_rank_and_method():
    headers = ("#", "method", *(f"column{number}" for number in range(10)))
    table = Table("t", headers, (("1", "a" * 60, *("0.1234 ± 0.0012",) * 10),), (), ())
    pieces = blocks(table)
    assert len(pieces) > 1
    assert all(piece[:2] == [0, 1] for piece in pieces)
    assert sorted(number for piece in pieces for number in piece[2:]) == list(range(2, 12))


def test_text_from_records_is_no_markup_and_steers_no_terminal(evil):
    text = printed(render(evil))
    assert "[red]" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_an_empty_leaderboard_says_so(frame):
    assert printed(render(frame.iloc[:0])) == "No results.\n"
