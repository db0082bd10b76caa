"""The verb `compare`, and bad claims files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sample_claims import HOLDS, claims_file, values
from sample_records import write_cells

from unlearnbench import PROTOCOL_VERSION
from unlearnbench.claims import measured, model
from unlearnbench.cli import main as cli
from unlearnbench.system.errors import InputError

UNKNOWN = {"checks": [{"kind": "value", "of": {"method": "vbu"}, "at_least": 0.5}]}
UNTESTABLE = {"untestable": "no distance is given", "datasets": [], "checks": []}


@pytest.mark.parametrize(
    ("claims", "strict", "code"),
    [
        ((HOLDS,), True, 0),
        ((HOLDS, UNTESTABLE), True, 0),  # nothing measured could decide it: no measurement is missing
        ((HOLDS, UNKNOWN), False, 0),
        ((HOLDS, UNKNOWN), True, 1),
    ],
)
def test_strict_asks_for_a_verdict_on_every_claim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], claims: Any, strict: bool, code: int
) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6))
    path = claims_file(tmp_path, *claims)
    arguments = ["compare", str(tmp_path), "--claims", str(path), *(["--strict"] if strict else [])]
    assert cli.main(arguments) == code
    out = capsys.readouterr().out
    assert "claim0  reproduced" in out
    assert re.search(r"accuracy of crfu +own +60\.\d+ ± 0\.\d+ % +5 ", out)


def test_json_has_every_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6))
    path = claims_file(tmp_path, HOLDS, UNTESTABLE)
    assert cli.main(["compare", str(tmp_path), "--claims", str(path), "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    check = said["claims"][0]["datasets"][0]["checks"][0]
    assert (check["holds"], check["n"], check["mean"]) == (True, 5, pytest.approx(0.6))
    assert said["claims"][1]["untestable"] == "no distance is given"
    assert said["runs"][0]["cells"] == 5


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty; expected a mapping"),
        ("suite: paper\nclaims: []", "claims: "),
        ("suite: paper\nclaims: &a [*a]", "anchors and aliases"),
        ("[" * 30 + "]" * 30, "nested more than"),
        ({"kind": "vote"}, "vote"),
        ({"kind": "value"}, "needs at_least or at_most"),
        ({"kind": "value", "at_least": "much"}, "checks[0].at_least"),
        ({"kind": "value", "at_least": 0, "of": {"metric": "acuracy"}}, "did you mean 'accuracy'"),
        ({"kind": "value", "at_least": 0, "given": [{"metric": "x", "at_most": 1}]}, "unknown metric 'x'"),
        ({"kind": "value", "at_least": 0, "off": {}}, "unknown key 'off'"),
        ({"kind": "monotone", "over": "beta", "values": [0, 1], "direction": "rises"}, "checks[0].over"),
        ({"kind": "monotone", "over": "scenario.beta", "values": [0], "direction": "rises"}, "checks[0].values"),
        ({"kind": "monotone", "over": "scenario.beta", "values": [0, 1], "direction": "up"}, "rises"),
        ({"kind": "ordering", "greater": [], "less": [{}]}, "checks[0].greater"),
        ({"kind": "value", "at_least": 0, "each": []}, "checks[0].each"),
    ],
)
def test_bad_claims_files_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: Any, error: str
) -> None:
    write_cells(tmp_path / "records", [])
    path = tmp_path / "it.claims.yaml"
    if isinstance(text, str):
        path.write_text(text)
    else:
        claims_file(tmp_path, {"checks": [text]})
    assert cli.main(["compare", str(tmp_path), "--claims", str(path)]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"error: {path}")
    assert error in captured.err


@pytest.mark.parametrize(
    ("claim", "error"),
    [
        ({"of": {"method": "crfu"}, **HOLDS}, "a selection names no experiment"),
        ({"datasets": [], **HOLDS}, "needs datasets and checks"),
        ({"untestable": "why", **HOLDS}, "no checks"),
        ({"id": "Not a name", **HOLDS}, "id"),
        ({"datasets": ["../x"], **HOLDS}, "datasets[0]"),
    ],
)
def test_claims_are_whole(tmp_path: Path, claim: Any, error: str) -> None:
    with pytest.raises(InputError, match=r"it\.claims\.yaml") as caught:
        model.load(claims_file(tmp_path, claim))
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../reported.yaml", "/etc/x.yaml", "reported.txt"])
def test_reported_numbers_lie_beside_the_claims(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="reported"):
        model.load(claims_file(tmp_path, HOLDS, reported=name))


def test_two_claims_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two claims have the id 'same'"):
        model.load(claims_file(tmp_path, {"id": "same", **HOLDS}, {"id": "same", **HOLDS}))


def test_records_of_another_suite_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6, suite="zoo"))
    assert cli.main(["compare", str(tmp_path), "--claims", str(claims_file(tmp_path, HOLDS))]) == 2
    assert "suite 'zoo'" in capsys.readouterr().err


def test_of_several_protocols_the_newest_records_count(tmp_path: Path) -> None:
    old = values("crfu", "accuracy", 0.1, protocol_version=1) + values("vbu", "accuracy", 0.1, protocol_version=1)
    new = values("crfu", "accuracy", 0.6)
    made = [{**each, "cell_key": f"{number}"} for number, each in enumerate((*old, *new))]
    found = measured.read(write_cells(tmp_path / "records", made), new[0]["suite"], {})
    place = {"experiment": new[0]["experiment"], "metric": "accuracy"}
    counting = found.values(model.ValueSelection(method="crfu", **place), new[0]["dataset"])
    assert list(counting.by_seed.values()) == pytest.approx([row["value"] for row in new])
    missing = found.values(model.ValueSelection(method="vbu", **place), new[0]["dataset"])
    assert missing.reason.startswith("no records of vbu in ")
    assert missing.reason.endswith(f" under protocol {PROTOCOL_VERSION}")


def test_a_folder_without_records_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(tmp_path)]) == 2
    assert "holds no folder 'records'" in capsys.readouterr().err


def test_without_claims_the_error_names_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cells(tmp_path / "records", [])
    assert cli.main(["compare", str(tmp_path)]) == 2
    assert "--claims" in capsys.readouterr().err
