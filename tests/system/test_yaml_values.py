"""Unquoted words: what YAML 1.1 and 1.2 read alike is read so, what they read differently is refused."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import yaml
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.settings.naming import short
from unlearnbench.suite.selection import _assignment
from unlearnbench.system import yaml_reading, yaml_values
from unlearnbench.system.errors import InputError

ALIKE = {
    "": None, "~": None, "null": None, "true": True, "FALSE": False, "12": 12, "+12": 12, "-0": 0, "0": 0, "007": 7,
    "0x1F": 31, "1.5": 1.5, ".5": 0.5, "-.5": -0.5, "5.": 5.0, "1e3": 1000.0, "1.5e-3": 0.0015, "1E+2": 100.0,
    "010.5": 10.5, ".inf": math.inf, "-.INF": -math.inf,
    "a": "a", "inf": "inf", "NaN": "NaN", "1.2.3": "1.2.3", "12:60": "12:60", "tRUE": "tRUE", "0X1F": "0X1F", "x": "x",
    "9e27329047e21cd1": "9e27329047e21cd1", "1e": "1e", "-": "-",
}  # fmt: skip
APART = {
    "1:30": ("90", "text", "write 90, or put it in quotes"), "1:30.5": ("90.5", "text", "write 90.5"),
    "1:02:03": ("3723", "text", "write 3723"), "010": ("8", "10", "write 8 or 10"), "-010": ("-8", "-10", "write"),
    "08": ("text", "8", "write 8"), "0o10": ("text", "8", "write 8"), "1_000": ("1000", "text", "write 1000"),
    "0b11": ("3", "text", "write 3"), "-0x1F": ("-31", "text", "write -31"), "0x_1": ("1", "text", "write 1"),
    "1_0.5": ("10.5", "text", "write 10.5"),
    "yes": ("true", "text", "write true"), "No": ("false", "text", "write false"), "on": ("true", "text", "write true"),
    "OFF": ("false", "text", "write false"), "2020-01-01": ("a date", "text", "put it in quotes"),
    "2020-99-99": ("a timestamp", "text", "put"), "=": ("a default key", "text", "put it in quotes"),
    "<<": ("a merge key", "text", "put it in quotes"),
}  # fmt: skip


@pytest.mark.parametrize("word", ALIKE)
def test_a_word_that_all_read_alike_is_that(word: str) -> None:
    value = yaml_values.read(word)
    assert (value, type(value)) == (ALIKE[word], type(ALIKE[word]))
    assert math.isnan(yaml_values.read(".nan"))


@pytest.mark.parametrize("word", APART)
def test_a_word_that_versions_read_differently_is_refused_in_one_line_everywhere(word: str, tmp_path: Path) -> None:
    old, new, advice = APART[word]
    told = f"'{word}' is {old} in YAML 1.1 and {new} in YAML 1.2: "
    path = tmp_path / "s.yaml"
    for text, where in ((f"a: {{b: [{word}]}}", f"{path}:a.b[0]: "), (f"a:\n  {word}: 1\n", f"{path}:a: ")):
        path.write_text(text)
        with pytest.raises(InputError) as refused:
            yaml_reading.read(path)
        assert str(refused.value).startswith(where + told)
        assert advice in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=r"in YAML 1\.1 and"):
        _assignment(f"key={word}", "--set")  # --set and name[param=value]
    path.write_text(f"a: '{word}'\nb: \"{word}\"\n")
    assert yaml_reading.read(path) == {"a": word, "b": word}


@pytest.mark.parametrize(("letter", "old"), [("y", "true"), ("Y", "true"), ("n", "false"), ("N", "false")])
def test_the_letters_that_are_truth_values_of_yaml_1_1_are_refused_as_values_and_are_names_as_keys(
    letter: str, old: str
) -> None:
    for read in (lambda text: yaml_reading.parse(text, "x"), lambda text: _assignment(f"key={text}", "--set")):
        with pytest.raises(
            InputError, match=f"'{letter}' is {old} in YAML 1.1 and text in YAML 1.2: write {old}, or put"
        ):
            read(letter)
    assert yaml_reading.parse(f"a: {{{letter}: 5, b: '{letter}'}}", "x") == {"a": {letter: 5, "b": letter}}
    assert yaml_reading.parse(yaml_values.dump({letter: letter}, width=110), "x") == {letter: letter}


def test_numbers_too_large_tags_and_line_ends_of_one_version_are_refused() -> None:
    for text, what in {
        "1e999": "number too large", "9" * 5000: "number too large", "1e" + "9" * 5000: "number too large",
        "0x" + "f" * 5000: "number too large", "!!str 010": "line 1, column 1: tag", "! 10": "tag ! is not allowed",
        "a: 1\nb: x\u2028y": "line 2: holds U+2028", "x\x85y": "holds U+0085",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=what.replace("+", r"\+")):
            yaml_reading.parse(text, "--set")


WORDS = st.text("0123456789_:.+-eExXoOabynfNF<=~", max_size=12) | st.sampled_from([*ALIKE, *APART])
NUMBERS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = WORDS | st.text(max_size=8) | NUMBERS | st.booleans() | st.none()


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_what_is_written_is_read_as_it_was_and_names_can_be_typed(values: dict[str, object]) -> None:
    if any(isinstance(text, str) and _is_unprintable(text) for text in (*values, *values.values())):
        return
    assert yaml_reading.parse(yaml_values.dump(values, width=110), "x") == values
    assert yaml.safe_load(yaml_values.dump(values, width=110)) == values
    for value in values.values():
        assert yaml_reading.parse(short(value), "x") == value


def test_every_short_text_can_be_typed_as_it_is_shown() -> None:
    """Among them `a:`, which without quotes is a key, and `...`, which ends a document."""
    for letters in itertools.chain.from_iterable(itertools.product(".:-aE+/1# ", repeat=n) for n in range(4)):
        text = "".join(letters)
        assert yaml_reading.parse(short(text), "--set") == text


def _is_unprintable(text: str) -> bool:
    return any(not (c.isprintable() or c in "\n\t ") or c in "\x85" for c in text)


def test_the_suites_and_claims_that_come_with_the_package_can_be_read() -> None:
    root = ROOT
    found = [*(root / "suites").rglob("*.y*ml"), *(root / "results").glob("*/*.yaml")]
    assert len(found) > 5
    for path in found:
        yaml_reading.read(path)
