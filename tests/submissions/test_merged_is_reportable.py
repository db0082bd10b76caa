"""Whatever `merge` accepts can be reported in every format and published, whoever wrote it."""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_records import START, judged, row, rows
from submitted_folders import Cell, file_of, key, table

from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.records.schema import JSON_COLUMNS, SCHEMA, SCORES, RecordError
from unlearnbench.report.export import FORMATS, export
from unlearnbench.submissions import reading as submitted
from unlearnbench.system.errors import InputError
from unlearnbench.system.parquet_files import write_parquet

SCENARIO = json.dumps(
    {"kind": "utility", "beta": 0.1, "erased_ratio": 0.06, "trajectory": {"every_epochs": 5},
     "backdoor": {"base": 1, "target": 0}, "stop": {"rule": "none", "epochs": 20}}
)  # fmt: skip


def cells() -> list[Cell]:
    """Of every kind one for each of three seeds: without an attack, attacked, scored, timed, failed, skipped."""
    made: list[dict[str, Any]] = []
    for method in ("retrain", "vbu"):
        made += judged(method, seeds=3)
        made += rows(method, "auc", [0.6, 0.62, 0.59], attack="membership", scores_erased=[0.5, 2.0],
                     scores_unseen=[0.1, 0.7], n_samples=4)  # fmt: skip
        made += rows(method, "mse", [0.03, 0.032, 0.031], attack="ridge")
        made += rows(method, "skill_mean", [0.3, 0.32, 0.31], attack="ridge")
        made += rows(method, "unlearn_seconds", [0.3, 0.32, 0.31], experiment="timed", unlearn_seconds=0.3)
        for seed in range(3):
            course = {"experiment": "course", "scenario": SCENARIO}
            made += [row(method, seed, "remaining_accuracy", 0.1, step=step, **course) for step in (0, 900, 1_800)]
            made.append(row(method, seed, "kld_to_prior", 4.5e12, **course))
    made.append(row("hbu", 0, "status", None, status="failed", error="no memory", n_samples=None, direction=""))
    made.append(row("hbu", 1, "status", None, status="skipped", error="not here", n_samples=None, direction=""))
    by_key: dict[str, Cell] = {}
    for each in made:
        by_key.setdefault(each["cell_key"], []).append({**each, "cell_key": key(each["cell_key"])})
    return list(by_key.values())


CELLS = cells()

_EDGES = (0, -1, 1, 2, 1_000, 10**6, 10**9, 10**12, 2**31, 2**53, 2**60, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -0.0, 1.0, 0.5, -1.0, 5e-324, 1e-300, 1e9, 1e38, 3.4e38, -3.4e38, 1e99, 1.7e308, math.nan, math.inf)
_TEXTS = ("", " ", "=1+1", "a|b", "<b>", "[x](y)", "$\\frac$", "{{x}}", "é\u0301", "\U0001f600", "\x1b[2J",
          "\u202e", "x" * 5_000, "null", "../..", "membership", "vbu[a=1]", "vbu[", "vbu[]]", "digits", "mse,auc",
          "replicas=2", "beta=1")  # fmt: skip
texts = st.sampled_from(_TEXTS) | st.text(max_size=8)
numbers = st.sampled_from([*_EDGES, 10**400, *(each for each in _FLOATS if math.isfinite(each))])
plain = st.none() | st.booleans() | numbers | texts
json_values = (
    plain | st.lists(plain, max_size=2) | st.dictionaries(texts, plain | st.lists(plain, max_size=2), max_size=2)
)
KNOWN = ("kind", "beta", "erased_ratio", "erased_count", "backdoor", "stop", "judging", "trajectory", "training",
         "network", "replicas", "seeds_together", "targets", "train_size", "test_size", "path", "torch",
         "target")  # fmt: skip
PARTS = ("every_epochs", "epochs", "power", "largest_retraining", "memory", "threshold", "precision", "base", "rule")
known_parts = st.dictionaries(st.sampled_from(PARTS), json_values, max_size=2)
objects = st.dictionaries(st.sampled_from(KNOWN) | texts, json_values | known_parts, max_size=3)


def values_of(column: str) -> st.SearchStrategy[Any]:
    """Values of a column's type, most of them on an edge."""
    kind = str(SCHEMA.field(column).type)
    some: st.SearchStrategy[Any]
    if column in JSON_COLUMNS:
        some = objects.map(lambda value: json.dumps(value)) | texts
    elif column == "metric":
        some = st.sampled_from([*METRICS, "status"])
    elif column == "direction":
        some = st.sampled_from(sorted({metric.direction for metric in METRICS.values()}))
    elif column == "status":
        some = st.sampled_from(["ok", "failed", "timeout", "skipped", "not_run"])
    elif kind == "string":
        some = texts
    elif kind == "int64":
        some = st.sampled_from(_EDGES)
    elif kind == "double":
        some = st.sampled_from(_FLOATS)
    elif kind == "bool":
        some = st.booleans()
    elif kind.startswith("list"):
        some = st.lists(st.sampled_from([0.0, 1.0, -3.4e38, 3.4e38, 1e-45]), max_size=3)
    else:
        some = st.sampled_from([START, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
    return st.none() | some if SCHEMA.field(column).nullable else some


@st.composite
def changed(draw: st.DrawFn, most: int = 4) -> list[Cell]:
    """The cells, of some of which some columns hold something else: of all rows, or of the seeds of one contender."""
    made = [[dict(each) for each in one] for one in CELLS]
    for _ in range(draw(st.integers(1, most))):
        column = draw(st.sampled_from([name for name in SCHEMA.names if name not in ("cell_key", "schema_version")]))
        value = draw(values_of(column))
        chosen = made[draw(st.integers(0, len(made) - 1))]
        alike = draw(st.booleans())
        for one in made:
            if one is chosen or (alike and one[0]["method"] == chosen[0]["method"]):
                for each in one[: draw(st.sampled_from([1, len(one)]))]:
                    each[column] = value
                    if column in SCORES and draw(st.booleans()):
                        each.update(dict.fromkeys(SCORES, value), n_samples=draw(st.sampled_from([0, 1, 4, None])))
        if column == "metric":
            for each in chosen:
                each["direction"] = METRICS[value].direction if value in METRICS else ""
        if column == "value":
            for each in chosen:
                each["low"] = each["high"] = None
    return made


def hand_in_unchecked(folder: Path, made: Iterable[Cell]) -> Path:
    """Sealed files, as somebody would write them who keeps to no rule."""
    for one in made:
        with contextlib.suppress(ValueError, OverflowError):  # no file can hold it
            write_parquet(table(one), file_of(folder, one))
    return folder


def acceptable(made: Iterable[Cell]) -> list[Cell]:
    """The cells with those that are refused as they were: among many changes one is refused nearly always."""
    found = []
    with tempfile.TemporaryDirectory() as root:
        for one, before in zip(made, CELLS, strict=True):
            hand_in_unchecked(Path(root), [one])
            try:
                submitted.read_cell(file_of(Path(root), one), Path(root))
                found.append(one)
            except RecordError:
                found.append(before)
    return found


def merged(made: Iterable[Cell], place: Path) -> bool:
    """Whether `merge` accepts the records; what it refuses it refuses in one line, and writes nothing."""
    out, err = io.StringIO(), io.StringIO()
    folder = hand_in_unchecked(place / "in", made)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(["merge", str(folder), "--out", str(place / "out"), "--keep", "first"])
    if code == 0:
        return True
    assert (code, out.getvalue(), err.getvalue().count("\n")) == (2, "", 1)
    assert err.getvalue().startswith("error: ")
    assert not (place / "out").exists()
    return False


def report(folder: Path) -> None:
    """The leaderboard in every format; a reference that is shown to leak ends a report, by design."""
    board = leaderboard.build(folder / "records", folder)
    for format in FORMATS:
        try:
            text = export(board, format)
        except InputError as error:
            text = str(error) if "erases nothing" in str(error) else ""
        assert text, format
    assert isinstance(json.loads(export(board, "json")), list)


def check(made: list[Cell], publish: bool) -> bool:
    with tempfile.TemporaryDirectory() as root:
        place = Path(root)
        if not merged(made, place):
            return False
        folders = [place / "out", *(place / "out").glob("protocol_*")]
        for folder in folders:
            report(folder)
        if publish:
            out, err = io.StringIO(), io.StringIO()
            filled = [str(folder) for folder in folders if list((folder / "records").glob("*.parquet"))]
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.main(["publish", *filled, "--out", str(place / "site")])
            assert code == 0 or "erases nothing" in err.getvalue(), err.getvalue()
    return True


SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


def test_the_cells_are_accepted_as_they_are() -> None:
    assert check(CELLS, publish=False)


@settings(max_examples=10, **SETTINGS)
@given(made=changed())
def test_what_is_refused_is_refused_in_one_line(made: list[Cell]) -> None:
    check(made, publish=False)


@settings(max_examples=12, **SETTINGS)
@given(made=changed(most=40).map(acceptable))
def test_whatever_merges_can_be_reported_in_every_format(made: list[Cell]) -> None:
    check(made, publish=False)


@pytest.mark.faults
@settings(max_examples=15, **SETTINGS)
@given(made=changed(most=40).map(acceptable))
def test_whatever_merges_can_be_published(made: list[Cell]) -> None:
    check(made, publish=True)
