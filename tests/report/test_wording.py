import time

import pytest

from unlearnbench.report.wording import in_words


@pytest.mark.parametrize("letters", ["a", "_", "a.", "_a", ",", "a_"])
def test_long_names_of_strangers_take_no_time(letters: str) -> None:
    started = time.perf_counter()
    in_words(letters * 20_000)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("default", "default"),
        ("table2_as_published", "table2 as published"),
        ("leak,erased_count=1,stop.rule=backdoor", "leak, erased count 1, stop rule backdoor"),
        ("update_leak[observe=log_probabilities,tier=same]", "update leak (observe log probabilities, tier same)"),
        ("mlp[hidden=[64,64]]", "mlp (hidden [64, 64])"),
        ("odd[one", "odd[one"),
        ("[" * 5000 + "]", "(" + "[" * 4999 + ")"),
    ],
)
def test_titles_name_settings_in_words(name: str, words: str) -> None:
    assert in_words(name).strip() == words
