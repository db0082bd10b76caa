"""A suite is given as a file or by the name of one that comes with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import ROOT

from unlearnbench.cli import main as cli
from unlearnbench.suite import packaged
from unlearnbench.system.errors import InputError


def test_every_suite_of_the_checkout_has_a_name() -> None:
    files = {path.stem for path in (ROOT / "suites").glob("*.yaml")}
    assert {"quickstart", "paper", "zoo"} <= set(packaged.names())
    assert set(packaged.names()) == {name for name in files if not name.endswith((".claims", ".reported"))}


def test_a_name_is_a_suite_of_the_package() -> None:
    assert packaged.suite_file("quickstart").samefile(ROOT / "suites" / "quickstart.yaml")
    assert packaged.claims_file("paper").samefile(ROOT / "suites" / "paper.claims.yaml")


@pytest.mark.parametrize("given", ["quickstart.yaml", "./quickstart", "a/quickstart", "x.yml", "X.YAML"])
def test_what_looks_like_a_path_is_one(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert packaged.suite_file(given) == tmp_path / given.removeprefix("./")


def test_a_file_or_folder_of_a_suites_name_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert packaged.suite_file("quickstart").samefile(ROOT / "suites" / "quickstart.yaml")


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ("quickstrat", "did you mean 'quickstart'?"),
        ("paper.claims", "did you mean 'paper'?"),
        ("", "valid: attacks, networks, paper, quickstart, tune_mnist, update_leak, zoo"),
        (".", "valid: attacks, networks, paper, quickstart, tune_mnist, update_leak, zoo"),
    ],
)
def test_an_unknown_name_ends_in_the_nearest_one(given: str, end: str) -> None:
    with pytest.raises(InputError) as error:
        packaged.suite_file(given)
    assert error.value.where == f"'{given}'"
    assert error.value.what.endswith(end)
    assert "ends in .yaml" in error.value.what


def test_unknown_claims_end_in_the_nearest_ones() -> None:
    with pytest.raises(InputError, match=r"no claims .* did you mean 'paper'\?"):
        packaged.claims_file("papers")


def test_claims_beside_the_results_come_before_those_of_the_package(tmp_path: Path) -> None:
    found = packaged.claims_about("paper", tmp_path)
    assert found is not None
    assert found.samefile(ROOT / "suites" / "paper.claims.yaml")
    own = tmp_path / "paper.claims.yaml"
    own.write_text("")
    assert packaged.claims_about("paper", tmp_path) == own
    assert packaged.claims_about("quickstart", tmp_path) is None


def test_verbs_show_a_suite_as_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["validate", "quickstart"]) == 0
    assert capsys.readouterr().out.startswith("quickstart: valid; cells: 240 (")
    assert cli.main(["run", "quickstart", "-e", "lea"]) == 2
    assert capsys.readouterr().err.endswith("no experiment 'lea' in suite 'quickstart'; did you mean 'leak'?\n")
    assert cli.main(["run", "quickstrat"]) == 2
    assert capsys.readouterr().err.startswith("error: 'quickstrat': no suite of this name comes with unlearnbench")
    assert list(tmp_path.iterdir()) == []
