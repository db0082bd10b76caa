"""The verb `publish`: a site whole or not at all, never over something else, and one line about bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_records import rows
from site_records import forget_rows, leak_rows, pages, results

from unlearnbench.cli import main as cli
from unlearnbench.site import writing


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return results(tmp_path / "some", rows("crfu", "accuracy", [0.9, 0.91, 0.92]))


def test_the_same_records_give_the_same_site(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert cli.main(["publish", str(folder), "--out", str(tmp_path / name)]) == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_an_earlier_site_is_replaced(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "site"
    assert cli.main(["publish", str(folder), "--out", str(out)]) == 0
    assert cli.main(["publish", str(folder), "--out", str(out), "--title", "Second"]) == 0
    assert "Second" in (out / "index.html").read_text()
    assert "index.html: pages=4" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "some"]


@pytest.mark.parametrize("kind", ["other files", "a file", "a broken mark", "a link"])
def test_anything_else_is_refused_and_left_as_it_is(
    kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    if kind == "a file":
        out.write_text("mine")
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    else:
        out.mkdir()
        (out / (writing.MANIFEST_FILE if kind == "a broken mark" else "thesis.txt")).write_text("mine")
    assert cli.main(["publish", str(folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith(f"error: {out}: is no")
    assert not out.is_dir() or not (out / "index.html").exists()


def test_a_site_that_fails_leaves_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "site"
    assert cli.main(["publish", str(folder), "--out", str(out)]) == 0
    before = content(out)
    (folder / "records" / "000000.parquet").write_bytes(b"half")
    assert cli.main(["publish", str(folder), "--out", str(out)]) == 2
    assert content(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "some"]
    assert "000000.parquet" in capsys.readouterr().err


def test_folders_without_results_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty" / "records").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    for name, words in (("empty", "holds no records"), ("nothing", "holds no folder 'records'")):
        assert cli.main(["publish", str(tmp_path / name), "--out", str(tmp_path / "site")]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def test_two_folders_of_one_name_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["publish", str(folder), str(folder), "--out", str(tmp_path / "site")]) == 2
    assert "two folders have this name" in capsys.readouterr().err


def test_the_results_folder_is_not_touched(folder: Path, tmp_path: Path) -> None:
    before = content(folder)
    assert cli.main(["publish", str(folder), "--out", str(tmp_path / "site")]) == 0
    assert content(folder) == before


# --- claims ----------------------------------------------------------------------------------------------------------


def claims(folder: Path, suite: str = "paper") -> Path:
    of = {"experiment": "figure4", "method": "crfu", "metric": "accuracy", "scenario": {"erased_ratio": 0.02}}
    words = {"words": "It <b>keeps</b> what it knows.", "place": "Section 5", "datasets": ["mnist"], "of": of}
    swept = {
        "id": "figure4", "title": "Figure 4: accuracy", "x": "EDR", "datasets": ["mnist"], "of": {**of, "scenario": {}},
        "rows": [{"label": f"{r:g}", "x": r, "of": {"scenario": {"erased_ratio": r}}} for r in (0.02, 0.06, 0.1)],
        "columns": [{"label": "acc.", "panel": "accuracy", "series": "CRFU", "reported": {"mnist": [0.9, 0.8, 0.7]}}],
    }  # fmt: skip
    file = {"paper": "A paper", "source": "as printed", "published": [swept]}
    (folder / "it.reported.yaml").write_text(json.dumps(file))
    made = [
        {"id": "keeps", **words, "checks": [{"kind": "value", "at_least": 0.9}]},
        {"id": "keeps_all", **words, "checks": [{"kind": "value", "at_least": 0.99}], "comment": "Tried."},
        {"id": "proves", "words": "Proposition 1.", "place": "Section 4", "untestable": "it is a proof"},
    ]
    path = folder / "it.claims.yaml"
    path.write_text(json.dumps({"suite": suite, "reported": "it.reported.yaml", "claims": made}))
    return path


def test_claims_about_a_folders_suite_have_a_page(tmp_path: Path) -> None:
    folder = results(tmp_path / "some", forget_rows())
    out = tmp_path / "site"
    assert cli.main(["publish", str(folder), "--out", str(out), "--claims", str(claims(tmp_path))]) == 0
    page = pages(out)["claims/some.html"]
    assert "It <b>keeps</b> what it knows." in page.text
    assert "keeps reproduced" in page.text
    assert "keeps all contradicted by its own table" in page.text  # which has 90 %, not 99
    assert "Not testable: it is a proof" in page.text
    assert (out / "plots/some-claims-figure4-mnist.light.svg").is_file()
    assert "claims/some.html" in [each["href"] for each in pages(out)["index.html"].all("a")]


def test_claims_are_found_by_the_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results(tmp_path / "some", forget_rows())
    (tmp_path / "suites").mkdir()
    claims(tmp_path / "suites").rename(tmp_path / "suites" / "some.claims.yaml")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["publish", "some", "--out", "site"]) == 0
    assert (tmp_path / "site/claims/some.html").is_file()


def test_claims_about_another_suite_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = claims(tmp_path, suite="zoo")
    assert cli.main(["publish", str(folder), "--out", str(tmp_path / "site"), "--claims", str(path)]) == 2
    assert "is about the suite 'zoo', but no folder holds its results" in capsys.readouterr().err


def test_galleries_of_a_run_are_taken_over(tmp_path: Path) -> None:
    from unlearnbench.report import pictures

    made = [each for each in leak_rows() if each["attack"]]
    folder = results(tmp_path / "some", made)
    (folder / "pictures").mkdir()
    names = [
        pictures.file_name(pictures.title("leak", "mnist", made[0]["scenario_id"], f"membership[tier={tier}]"))
        for tier in ("same", "disjoint")
    ]
    (folder / "pictures" / names[0]).write_bytes(b"\x89PNG\r\n\x1a\n...")
    (folder / "pictures" / names[1]).write_bytes(b"<svg>not a png")
    assert cli.main(["publish", str(folder), "--out", str(tmp_path / "site")]) == 0
    taken = [path.name for path in (tmp_path / "site/pictures/some").iterdir()]
    assert taken == [names[0]]
    page = pages(tmp_path / "site")["experiments/some/leak.html"]
    (shown,) = [each for each in page.all("img") if "pictures/" in str(each["src"])]
    assert "rebuilt" in str(shown["alt"])


def test_curves_of_a_run_are_taken_over(tmp_path: Path) -> None:
    from unlearnbench.report import curves

    made = [each for each in leak_rows() if each["attack"]]
    folder = results(tmp_path / "some", made)
    (folder / "pictures").mkdir()
    name = curves.file_name(("leak", "mnist", made[0]["scenario_id"], "membership[tier=same]"))
    (folder / "pictures" / name).write_bytes(b"\x89PNG\r\n\x1a\n...")
    assert cli.main(["publish", str(folder), "--out", str(tmp_path / "site")]) == 0
    page = pages(tmp_path / "site")["experiments/some/leak.html"]
    (shown,) = [each for each in page.all("img") if "pictures/" in str(each["src"])]
    assert str(shown["src"]).endswith(name)
    assert "Areas below the curves: " in str(shown["alt"])
