"""Hundreds of suite files that are wrong, each in its own way: mutations of one that is right, and raw text."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml

Places = dict[tuple[str | int, ...], Any]

VALID: dict[str, Any] = {
    "name": "tiny",
    "description": "all that a suite can say",
    "seed": 0,
    "seeds": 2,
    "experiments": {
        "one": {
            "description": "utility",
            "references": True,
            "datasets": ["small", {"plain": {"params": {"path": "x"}, "scenario": {"beta": 0.5}}}],
            "scenario": {
                "kind": "utility",
                "erased_ratio": 0.1,
                "backdoor": {"base": 1, "target": 0, "size": 3},
                "beta": 0.001,
                "stop": {"rule": "backdoor", "steps": 5},
                "network": {"hidden": 8, "latent": 4},
                "training": {"epochs": 2, "lr": 0.01, "batch": 10},
                "train_size": 100,
                "test_size": 50,
                "replicas": 8,
            },
            "methods": ["original", {"fading": {"rate": 1, "form": "paper", "inner": {"depth": 2}, "on": True}}],
            "attacks": [{"guess": {"shadows": 8}}],
            "timing": {"repeats": 3},
        },
        "two": {
            "datasets": ["small"],
            "scenario": {
                "kind": "leak",
                "erased_count": 1,
                "targets": 2,
                "leak": {"target": 100, "known": 50, "pool": 100, "validation": 10, "probe": 5, "spare": 5},
            },
            "methods": ["fading"],
            "attacks": ["guess", "peek"],
        },
        "three": {
            "datasets": ["small"],
            "scenario": {"kind": "utility", "erased_ratio": 0.1, "validation": 50},
            "methods": [{"fading": {"rate": [0.1, 1, 2]}}],
            "tune": {"metric": "accuracy", "subject_to": {"remaining_accuracy": 0.5}},
        },
    },
}

_ONE, _TWO, _THREE = (("experiments", name) for name in ("one", "two", "three"))
_SCENARIO, _LEAK = (*_ONE, "scenario"), (*_TWO, "scenario", "leak")
_FADING = (*_ONE, "methods", 1, "fading")

NAN, INFINITE = float("nan"), float("inf")
_NO_NUMBER = ("x", "", "1", True, {}, {"a": 1}, [], [[]], ["x"], NAN, INFINITE, -INFINITE, -1)
_NO_COUNT = (*_NO_NUMBER, 0, 1.5, 1e308, 2**63, -(2**70), [1, "x"])
_NO_TEXT = (None, 3, 1.5, True, [], ["x"], {}, {"a": "b"}, NAN)
_NO_FLAG = (None, 0, 1, 1.0, "", "true", "maybe", [], [True, 1], {}, {"on": True})
_NO_MAPPING = (3, 1.5, True, "x", "", [3], ["x"], NAN)
_NO_LIST = (3, "x", True, {}, {"a": 1}, {"small": None}, 1.5, "")
_NO_NAME = (
    "",
    "Big",
    "a b",
    "../up",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "..",
    ".",
    "ä",
    "a" * 81,
    "a\n",
    "a\u202eb",
    "a\u0000",
)

WRONG: dict[tuple[str | int, ...], tuple[Any, ...]] = {
    ("name",): (*_NO_TEXT, *_NO_NAME[:-1]),
    ("description",): _NO_TEXT,
    ("seed",): (*_NO_NUMBER, None, 1.5, 2**63),
    ("seeds",): (*_NO_COUNT, None, 1001),
    ("experiments",): (*_NO_MAPPING, None, {}, []),
    _ONE: (*_NO_MAPPING, None, {}, []),
    (*_ONE, "description"): _NO_TEXT,
    (*_ONE, "references"): (*(value for value in _NO_FLAG if value != [True, 1]), [True, False]),
    (*_ONE, "datasets"): (*_NO_LIST, None, [], [[]], [3], [None], [{}], [{"small": 3}], [{"small": [1]}], [{"": None}]),
    (*_ONE, "datasets", 1, "plain"): (3, "x", [1], {"path": "x"}),
    (*_ONE, "datasets", 1, "plain", "params", "path"): (3, True, {}, [], None),
    (*_ONE, "datasets", 1, "plain", "scenario"): (3, "x", None, [], ["x"]),
    _SCENARIO: (*_NO_MAPPING, None, {}, []),
    (*_SCENARIO, "kind"): (*_NO_TEXT, "utilty", "Leak", ""),
    (*_SCENARIO, "erased_ratio"): (*_NO_NUMBER, 0, 1, 1.5, None),
    (*_SCENARIO, "backdoor"): (*_NO_MAPPING, None, []),
    (*_SCENARIO, "backdoor", "size"): (*_NO_COUNT, None),
    (*_SCENARIO, "beta"): _NO_NUMBER,
    (*_SCENARIO, "stop"): (*_NO_MAPPING, None, []),
    (*_SCENARIO, "stop", "rule"): (*_NO_TEXT, "match_holdout", "backdor"),
    (*_SCENARIO, "stop", "steps"): _NO_COUNT,
    (*_SCENARIO, "network"): (*_NO_MAPPING, None, []),
    (*_SCENARIO, "network", "hidden"): (*_NO_COUNT, None),
    (*_SCENARIO, "training"): (*_NO_MAPPING, None, []),
    (*_SCENARIO, "training", "epochs"): (*_NO_COUNT, None),
    (*_SCENARIO, "training", "lr"): (*_NO_NUMBER, 0, None),
    (*_SCENARIO, "train_size"): (*_NO_COUNT, 19),
    (*_SCENARIO, "test_size"): (*_NO_COUNT, 19),
    (*_SCENARIO, "replicas"): (*_NO_COUNT, None, 4097),
    (*_ONE, "methods"): (*_NO_LIST, None, [3], [None], [[]], [{}], [{"fading": 3}], [{"fading": {}, "original": {}}]),
    (*_FADING, "rate"): _NO_NUMBER,
    (*_FADING, "form"): (*_NO_TEXT, "papr"),
    (*_FADING, "inner"): (*_NO_MAPPING, None, []),
    (*_FADING, "inner", "depth"): ("x", "", "1", True, {}, [], 1.5, NAN, INFINITE, None, 2**63),
    (*_FADING, "on"): _NO_FLAG,
    (*_ONE, "attacks"): (3, "x", True, {}, {"guess": None}, [3], [None], [[]], [{}], [{"guess": 3}]),
    (*_ONE, "attacks", 0, "guess", "shadows"): (*_NO_COUNT, None),
    (*_ONE, "timing"): (3, "x", True, [], [1]),
    (*_ONE, "timing", "repeats"): (*_NO_COUNT, None, 1001),
    (*_LEAK, "target"): (*_NO_COUNT, None),
    (*_LEAK, "known"): (*_NO_COUNT, None, 100),
    (*_TWO, "scenario", "targets"): (*_NO_COUNT, None, 51),
    (*_THREE, "tune"): (3, "x", True, [], {}, {"samples": 2}),
    (*_THREE, "tune", "metric"): (*_NO_TEXT, "acuracy", "auc", "mse"),
    (*_THREE, "tune", "samples"): (*_NO_COUNT, 10_001),
    (*_THREE, "tune", "subject_to"): (3, "x", None, [], {"acuracy": 1}, {"accuracy": "x"}, {"auc": 0.5}, {1: 2}),
}  # fmt: skip

CONTRADICTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (_ONE, {"scenario": {**VALID["experiments"]["one"]["scenario"], "erased_count": 3}}),
    (_ONE, {"scenario": {"kind": "utility"}}),
    (_ONE, {"scenario": {"kind": "utility", "erased_ratio": 0.1, "stop": {"rule": "backdoor"}}}),
    (_ONE, {"scenario": {"kind": "utility", "erased_ratio": 0.1, "leak": {"target": 5}}}),
    (_ONE, {"scenario": {"kind": "utility", "erased_ratio": 0.1, "targets": 2}}),
    (_ONE, {"scenario": {"kind": "utility", "erased_ratio": 0.1, "training": {"optimiser": "newton"}}}),
    (_ONE, {"scenario": {"kind": "utility", "erased_ratio": 0.1, "trajectory": {}, "stop": {"rule": "steps"}}}),
    (_ONE, {"scenario": {"kind": "utility", "erased_ratio": 0.1, "trajectory": {"every_epochs": 1},
                         "stop": {"rule": "none", "epochs": 1_000}}}),
    (_TWO, {"scenario": {"kind": "leak", "erased_ratio": 0.1}}),
    (_TWO, {"scenario": {"kind": "leak", "erased_count": 1, "backdoor": {}}}),
    (_TWO, {"scenario": {"kind": "leak", "erased_count": 1, "train_size": 50}}),
    (_TWO, {"scenario": {"kind": "leak", "erased_count": 1, "test_size": 50}}),
    (_ONE, {"scenario": {**VALID["experiments"]["one"]["scenario"], "validation": 50}}),
    (
        _ONE,
        {
            "scenario": {
                "kind": "utility",
                "erased_ratio": 0.1,
                "network": {"name": "linear"},
                "training": {"optimiser": "newton", "precision": "bfloat16"},
            }
        },
    ),
    (_TWO, {"scenario": {"kind": "leak", "erased_count": 51}}),
    (_TWO, {"datasets": ["plain"], "scenario": {"kind": "leak", "erased_count": 1, "leak": None}}),
    (_TWO, {"datasets": ["plain"], "scenario": {"kind": "leak", "erased_count": 1, "leak": {"known": 25_000}}}),
    (_TWO, {"methods": [], "references": False}),
    (_TWO, {"methods": ["fading", "fading"]}),
    (_TWO, {"methods": [{"fading": {"rate": [1, 1]}}]}),
    (_TWO, {"attacks": ["guess", {"guess": {"shadows": 8}}]}),
    (_TWO, {"datasets": ["small", "small"]}),
    (_THREE, {"attacks": ["guess"]}),
    (_THREE, {"scenario": {"kind": "utility", "erased_ratio": 0.1}}),
    (_THREE, {"scenario": {"kind": "leak", "erased_count": 1}}),
    (_THREE, {"methods": ["original"]}),
    (_THREE, {"tune": {"metric": "accuracy", "screening_seeds": 1}}),
    (_THREE, {"tune": {"metric": "accuracy", "screening_seeds": 2, "finalists": 1}}),
    (_THREE, {"tune": {"metric": "backdoor_accuracy"}}),
    ((), {"seeds": 1000, "experiments": {"one": {**VALID["experiments"]["two"], "scenario": {
        "kind": "leak", "erased_count": 1, "beta": list(range(500)), "targets": [1, 2]}}}}),
    (_TWO, {"scenario": {"kind": "leak", "erased_count": 1, "beta": list(range(1001))}}),
)  # fmt: skip

NAMES = ("", "x", "Methods", "../methods", "__class__", "a\u202eb")

RAW: dict[str, str | bytes] = {
    "empty": b"",
    "nothing but a comment": "# nothing\n",
    "nothing but white space": "\n\n   \n",
    "null": "null",
    "a list": "- a\n- b",
    "a number": "3",
    "a text": "name",
    "a byte order mark alone": b"\xef\xbb\xbf",
    "two documents": "name: a\n---\nname: b\n",
    "an end and more": "name: a\n...\nmore",
    "a tab for indentation": "name: tiny\nexperiments:\n\tone: {}\n",
    "a tab after a dash": "name: tiny\nexperiments:\n  one:\n  -\tx: y\n\t- z",
    "an open list": "name: [1, 2",
    "an open mapping": "name: {a: 1",
    "an open quote": 'name: "tiny',
    "an open single quote": "name: 'tiny",
    "a colon too many": "name: a: b",
    "a key twice": "name: tiny\nname: tiny\n",
    "a key twice below": "name: tiny\nexperiments: {one: {methods: [], methods: []}}",
    "a key twice, once quoted": "name: tiny\n'name': tiny\n",
    "an anchor": "name: &n tiny\nexperiments: {}",
    "an alias": "name: &n tiny\ndescription: *n\n",
    "an alias of nothing": "name: *n",
    "an alias bomb": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\nname: *d\n",
    "an alias of itself": "name: &a [*a]",
    "a merge key": "name: tiny\nexperiments: {one: {<<: {datasets: [small]}}}",
    "a merge key with an alias": "x: &x {seed: 1}\nname: tiny\n<<: *x\n",
    "a merge of a list": "name: tiny\n<<: [{seed: 1}, {seed: 2}]\n",
    "a null key": "? \n: x",
    "a number as key": "1: x",
    "a flag as key": "yes: x",
    "a list as key": "[a]: x",
    "a mapping as key": "{a: b}: x",
    "a date": "name: 2020-01-01",
    "a time": "name: 2020-01-01T00:00:00Z",
    "a date that is none": "name: 2020-99-99",
    "base 60": "name: tiny\nseed: 1:30",
    "an octal with an eight": "name: tiny\nseed: !!int 0o8",
    "a number of 5000 digits": "name: tiny\nseed: " + "9" * 5000,
    "a tab in a name": 'name: "a\\tb"',
    "an escape": 'name: "\\e[31mred"',
    "a bell": 'name: "\\a"',
    "a nul": 'name: "\\0"',
    "a raw nul": b"name: \x00",
    "a raw escape": b"name: \x1b[31m",
    "a raw C1 control": b"name: \xc2\x9b31m",
    "a raw delete": b"name: a\x7f",
    "half a pair": 'name: "\\ud800"',
    "a direction mark": "name: \u202etiny",
    "a noncharacter": "name: \uffff",
    "a line separator": "name: a\u2028b",
    "latin 1": "name: caf\xe9".encode("latin-1"),
    "UTF-16": "name: tiny".encode("utf-16"),
    "UTF-16 without mark": "name: tiny".encode("utf-16-le"),
    "UTF-32": "name: tiny".encode("utf-32"),
    "overlong UTF-8": b"name: \xc0\xaf",
    "half a character": b"name: \xe2\x82",
    "bytes": bytes(range(256)),
    "a picture": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "Parquet": b"PAR1\x15\x04\x15\x10PAR1",
    "a zip file": b"PK\x03\x04\x14\x00",
    "an unknown directive": "%FOO bar\n---\nname: a",
    "YAML of another version": "%YAML 3.0\n---\nname: a",
    "a tag directive": "%TAG ! tag:x,2000:\n---\nname: !y z",
    "a JSON text that ends early": '{"name": "tiny", "experiments": {',
    "Python": "import os\nos.system('true')\n",
    "HTML": "<html><body>404</body></html>",
    "an at sign": "name: @x",
    "a backtick": "name: `x`",
    "a percent sign": "name: %x",
    "a block scalar that is none": "name: |3x\n  a",
    "a question mark": "? a\n? b",
    "deep lists": "name: " + "[" * 500 + "]" * 500,
    "deep mappings": "name: " + "{a: " * 500 + "1" + "}" * 500,
    "deep blocks": "".join(f"{' ' * n}a:\n" for n in range(300)),
    "deep dashes": "- " * 400 + "x",
    "open lists without end": "[" * 100_000,
    "over a megabyte": b"#" * 1_000_001,
    "a long name": "name: " + "a" * 200_000,
    "many keys": "".join(f"k{n}: 1\n" for n in range(2_000)),
    "a long unknown key": f"{'k' * 900}: 1",
    "a key of control characters": '"\\e[2J\\e[31m": 1',
    **{f"tag {tag}": f"name: {tag} {value}" for tag, value in [
        ("!!python/object/apply:os.system", "[ls]"), ("!!python/name:os.system", ""), ("!!python/module:os", ""),
        ("!!python/object/new:os.system", "[ls]"), ("!!python/tuple", "[a]"), ("!!python/str", "x"),
        ("!!set", "{a, b}"),
        ("!!omap", "[a: 1]"), ("!!pairs", "[a: 1]"), ("!!binary", "aGVsbG8="), ("!!timestamp", "x"), ("!!int", "x"),
        ("!!float", "x"), ("!!bool", "x"), ("!!null", "x"), ("!!seq", "x"), ("!!map", "x"), ("!own", "x"), ("!", "[x]"),
        ("!!merge", "x"), ("!!value", "x"), ("!<tag:example.com,2000:x>", "y"), ("!!str", "[x]"), ("!!int", "[1]"),
    ]},
}  # fmt: skip

# Beginnings of a suite that is right but for what they say.
REST = "\nexperiments: {one: {datasets: [small], scenario: {kind: utility, erased_count: 3}}}\n"
BEGINNINGS = (
    "name: tiny\nname: tiny",
    "name: tiny\n'name': tiny",
    "name: tiny\nexperiments: {}",
    "name: &n tiny",
    "name: tiny\ndescription: &d text",
    "name: tiny\n<<: {seed: 1}",
    "name: tiny\n1: x",
    "name: tiny\nseed: 99999999999999999999",
    "name: tiny\nseed: !!int x",
    "name: tiny\ndescription: !!binary aGVsbG8=",
    "name: tiny\ndescription: !!python/name:os.system",
    "name: tiny\ndescription: 2020-01-01",
    'name: tiny\ndescription: "\\e[31m"',
    'name: tiny\ndescription: "\\0"',
    'name: tiny\ndescription: "\\x9b"',
    'name: tiny\ndescription: "\\ud800"',
    "name: tiny\nseed: 1.0",
    "name: tiny\nseeds: yes",
    "%TAG ! tag:x,2000:\n---\nname: !y tiny",
)


def suites() -> Iterator[tuple[str, bytes]]:
    """What is wrong, and the file."""
    for path, values in WRONG.items():
        for number, value in enumerate(values):
            yield f"{_shown(path)} = {value!r} ({number})", _changed(path, value)
    for path in _mappings(VALID):
        for name in NAMES:
            if path[-1:] != ("experiments",) or name != "x":  # an experiment may have any name, but not this value
                yield f"unknown {_shown((*path, name))}", _changed((*path, name), 1)
    for path in [("name",), ("experiments",), (*_ONE, "datasets"), (*_ONE, "scenario"), (*_SCENARIO, "kind"),
                 (*_SCENARIO, "erased_ratio"), (*_TWO, "scenario", "erased_count"), (*_THREE, "tune", "metric"),
                 (*_THREE, "scenario", "validation"), (*_SCENARIO, "backdoor")]:  # fmt: skip
        yield f"without {_shown(path)}", _changed(path, None, delete=True)
    for kind in ("datasets", "methods", "attacks"):
        for name in (
            "smal",
            "fadin",
            "cracked",
            "../fading",
            "/etc/passwd",
            "fading.py",
            "FADING",
            "\x1b[31m",
            "é",
            " ",
        ):
            yield f"{kind} {name!r}", _changed((*_ONE, kind), [name])
    for path, changes in CONTRADICTIONS:
        suite = copy.deepcopy(VALID)
        parent: Any = suite
        for key in path:
            parent = parent[key]
        parent |= changes
        yield f"contradiction {changes!r}", _text(suite)
    for text in BEGINNINGS:
        yield text, (text + REST).encode()
    for what, text in RAW.items():
        yield what, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _mappings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all mappings whose keys are fixed."""
    if isinstance(value, dict):
        yield path
        for key, item in value.items():
            yield from _mappings(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            if isinstance(item, dict):
                for key, inner in item.items():
                    yield from _mappings(inner, (*path, number, key))


def _changed(path: tuple[str | int, ...], value: Any, delete: bool = False) -> bytes:
    suite = copy.deepcopy(VALID)
    parent: Any = suite
    for key in path[:-1]:
        parent = parent[key]
    if delete:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return _text(suite)


def _text(suite: Any) -> bytes:
    return yaml.safe_dump(suite, sort_keys=False, allow_unicode=False).encode()


def _shown(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))
