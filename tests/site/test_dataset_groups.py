"""What must not be taken for one: two datasets of one plugin, two protocols. Through `report` and `publish`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from site_records import Page, leak_rows, pages, results, rows, scene, values

from unlearnbench import PROTOCOL_VERSION
from unlearnbench.cli import main as cli
from unlearnbench.report import pictures
from unlearnbench.settings import naming
from unlearnbench.site import leak_table
from unlearnbench.site.dataset_groups import by_dataset

PATHS = ("faces", "roads")
MARK = b"\x89PNG\r\n\x1a\n"


def folder_of(path: str) -> dict[str, str]:
    params = {"path": path, "size": 28, "mode": "RGB", "test_fraction": 0.2}
    return {"dataset": "images", "dataset_params": json.dumps(params)}


def named(path: str) -> str:
    return f"images[path={path},size=28]"


def two_of(made: list[dict[str, Any]], **other: Any) -> list[dict[str, Any]]:
    """The same experiment on two folders of images, better attacked on the second."""
    found = []
    for number, path in enumerate(PATHS):
        for row in made:
            more = {**row, **folder_of(path), **other, "cell_key": f"{row['cell_key']} {path} {row['seed']}"}
            if row["metric"] == "auc":
                more["value"] = row["value"] - 0.05 * number
            found.append(more)
    return found


def experiment() -> list[dict[str, Any]]:
    """Attacked and not, over two betas, with rates at few false alarms and a trajectory."""
    made = []
    for beta in (0.0, 0.1):
        place = {"experiment": "pictures", **scene(beta, trajectory={"every_epochs": 5})}
        under = {**place, "attack": "membership", "attack_id": "membership", "tier": "same"}
        for method, level in (("crfu", 0.8), ("vbu", 0.7), ("retrain", 0.55)):
            key = f"{beta} {method}"
            made += values(method, "auc", level - beta, cell_key=f"a{key}", **under)
            made += values(method, "tpr_at_1pct_fpr", 0.1 * level, cell_key=f"a{key}", **under)
            made += values(method, "accuracy", level + 0.1, cell_key=key, **place)
            made += rows(method, "gradient_steps", [100 * level] * 5, cell_key=key, **place)
            for step in (0, 900):
                made += values(method, "erased_accuracy", 0.5, cell_key=key, step=step, **place)
    bare = [{**row, "experiment": "bare"} for row in made if row["attack"] is None]
    return [*made, *[{**row, "cell_key": f"bare {row['cell_key']}"} for row in bare]]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    base = tmp_path_factory.mktemp("places")
    folder = results(base / "two", two_of(experiment()))
    (folder / "pictures").mkdir()
    for path in PATHS:
        title = pictures.title("pictures", named(path), scene(0.0, trajectory={"every_epochs": 5})["scenario_id"],
                               "membership")  # fmt: skip
        (folder / "pictures" / pictures.file_name(title)).write_bytes(MARK + path.encode())
    assert cli.main(["publish", str(folder), "--out", str(base / "site")]) == 0
    return dict(pages(base / "site"))


def test_two_folders_of_images_are_two_datasets_in_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(tmp_path / "two", two_of(experiment()))
    for form in ("markdown", "csv", "json", "latex", "html"):
        assert cli.main(["report", str(folder), "--format", form]) == 0
        text = capsys.readouterr().out.replace("\\", "").replace("{[}", "[").replace("{]}", "]")
        assert all(named(path) in text for path in PATHS), form


def test_on_every_page_both_are_there(published: dict[str, Page]) -> None:
    for path, page in published.items():
        if path in ("index.html", "measured.html") or path.startswith(("experiments/", "methods/", "attacks/")):
            assert all(named(each) in page.text for each in PATHS), path


@pytest.mark.parametrize(
    ("which", "title"),
    [
        ("pictures", "What leaks against what is kept, {}"),
        ("pictures", "Over β, {}"),
        ("pictures", "While unlearning, {}"),
        ("pictures", "True positive rates at low false positive rates, membership on {}"),
        ("pictures", "membership on {}"),  # the gallery
        ("bare", "What erasing costs against what is kept, {}"),
        ("bare", "Over β, {}"),
        ("bare", "While unlearning, {}"),
    ],
)
def test_every_figure_is_drawn_for_both(published: dict[str, Page], which: str, title: str) -> None:
    text = next(page.text for path, page in published.items() if path.endswith(f"/{which}.html"))
    assert all(title.format(named(path)) in text for path in PATHS)


def test_the_glance_and_the_filters_tell_them_apart(published: dict[str, Page]) -> None:
    page = next(page for path, page in published.items() if path.endswith("/pictures.html"))
    assert {each.get("data-dataset") for each in page.all("tr") if each.get("data-dataset")} == set(map(named, PATHS))
    for level in ("0.800", "0.750"):  # of crfu on the one and on the other
        assert level in page.text


# --- protocols -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """Half of the methods measured anew, on one of the datasets."""
    base = tmp_path_factory.mktemp("mixed")
    old = [{**row, "protocol_version": 1, "cell_key": f"old {row['cell_key']}"} for row in leak_rows()]
    new = [row for row in leak_rows() if row["method"] in ("crfu", "retrain") and row["dataset"] == "mnist"]
    folder = results(base / "both", [*old, *new])
    assert cli.main(["publish", str(folder), "--out", str(base / "site")]) == 0
    return dict(pages(base / "site"))


def test_tables_and_figures_say_under_which_protocol_they_were_measured(mixed: dict[str, Page]) -> None:
    text = next(page.text for path, page in mixed.items() if path.endswith("/leak.html"))
    for title in ("Under membership", "What leaks, at a glance", "What leaks against what is kept, mnist"):
        assert text.count(f"{title}, measured under protocol 1") >= 1
        assert text.count(title) > text.count(f"{title}, measured under protocol 1")
    assert "What leaks against what is kept, digits, measured under protocol 1" in text
    assert f"measured under protocol {PROTOCOL_VERSION}" not in text
    overview = mixed["index.html"].text
    assert "crfu, measured under protocol 1" in overview
    assert "vbu, measured under protocol 1" in overview


@pytest.mark.parametrize("which", ["published", "mixed"])
def test_ids_of_page_parts_are_there_once(which: str, request: pytest.FixtureRequest) -> None:
    for path, page in request.getfixturevalue(which).items():
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), path


def test_places_differ_in_suite_dataset_and_protocol() -> None:
    row = {"suite": "a", "dataset_id": "x[path=\u202e]", "dataset_params": "{}", "protocol_version": PROTOCOL_VERSION}
    made = [{**row, "protocol_version": 1}, row, {**row, "dataset_params": '{"size":null}'}, {**row, "suite": "b"}, row]
    found = by_dataset(made)
    assert [(place.number, len(some)) for place, some in found.items()] == [(0, 2), (1, 1), (2, 1), (3, 1)]
    assert [place.title for place in found] == [
        "x[path=\\u202e] (a)", "x[path=\\u202e] (a)", "x[path=\\u202e] (b)",
        "x[path=\\u202e] (a), measured under protocol 1",
    ]  # fmt: skip


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("digits", {}, "digits"),
        ("images", {"path": "a", "size": None, "mode": "RGB", "test_fraction": 0.2}, "images[path=a]"),
        ("images", {"path": "a,b]", "size": 8, "mode": "L"}, 'images[mode=L,path="a,b]",size=8]'),
        ("cifar10", {"path": "cifar10-jpeg", "source": "auto"}, "cifar10"),
        ("cifar10", {"path": None, "source": "auto"}, "cifar10[path=null]"),
        ("mine", {"b": 1.0, "a": None, "c": {"d": [1]}}, 'mine[b=1,c={"d":[1]}]'),
    ],
)
def test_a_dataset_is_named_by_what_its_record_says(name: str, params: dict[str, Any], expected: str) -> None:
    assert naming.dataset_id(name, params) == expected


def test_the_defaults_of_built_in_datasets_are_known() -> None:
    from unlearnbench.registry import registry

    found = registry.discover(()).datasets
    with_parameters = {name: info.cls.Params().model_dump(mode="json") for name, info in found.items() if info.builtin}
    assert {name: params for name, params in with_parameters.items() if params} == naming._DATASET_DEFAULTS


def test_a_leaderboards_row_says_its_dataset(tmp_path: Path) -> None:
    from unlearnbench.leaderboard import build as leaderboard
    from unlearnbench.site.rows import site_rows

    folder = results(tmp_path, two_of(experiment()))
    found = site_rows(leaderboard.build(folder / "records", folder), "two", "two")
    assert {row["dataset_id"] for row in found} == set(map(named, PATHS))
    tallied = leak_table.tallies(row for row in found if row["attack"] is not None)
    assert {(tally.method, tally.accesses) for tally in tallied} == {(name, 4) for name in ("crfu", "vbu", "retrain")}
