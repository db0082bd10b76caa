"""The command line: streams, exit codes, one-line errors, and how little --help imports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_plugins import fake_registry

from unlearnbench.cli import main as cli
from unlearnbench.plugin import ImageData, Images
from unlearnbench.registry import plugin_facts, registry
from unlearnbench.registry.plugin_info import BrokenPlugin
from unlearnbench.system.errors import InputError

SUITE = """
name: tiny
seeds: 1
experiments:
  one:
    datasets: [small]
    scenario: {kind: utility, erased_count: 3}
    methods: [{fading: {rate: [0.5, 1]}}]
    attacks: [guess]
"""
HEAVY = ("torch", "pandas", "pyarrow", "numpy", "sklearn", "yaml", "concurrent.futures")


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls the command line in an empty folder that holds suite.yaml, with fake plugins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unlearnbench.registry.registry.discover", lambda plugin_dirs=(): fake_registry())
    monkeypatch.setattr("unlearnbench.suite.plan.build", fake_plan)
    (tmp_path / "suite.yaml").write_text(SUITE)

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


def fake_plan(settings: Any, data_root: Path, device: str) -> SimpleNamespace:
    if data_root.name == "missing":
        raise InputError("dataset small", "no data")
    cells = [
        SimpleNamespace(
            experiment=setting.experiment,
            dataset_id=setting.dataset.id,
            scenario_id=setting.scenario_id,
            method_id=setting.method.id,
            attack_id=setting.attack.id if setting.attack else None,
            seed=setting.seed,
            key="abc" * 20,
            skip="too hard" if setting.method.id == "retrain" else None,
            error=None,
        )
        for setting in settings
    ]
    return SimpleNamespace(
        cells=cells, tasks=[SimpleNamespace(stage="train", key="x"), SimpleNamespace(stage="attack")]
    )


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A runner that records the options it gets and returns `summary`."""
    seen = SimpleNamespace(options=None, summary={}, error=None)

    def run(plan: Any, options: Any) -> SimpleNamespace:
        seen.options = options
        if seen.error is not None:
            raise seen.error
        counts = {"planned": len(plan.cells), "done": 0, "cached": 0, "failed": 0, "skipped": 0, "lost": 0,
                  "interrupted": False}  # fmt: skip
        return SimpleNamespace(**{"plan": plan, "leaderboard": True, **counts, **seen.summary})

    monkeypatch.setattr("unlearnbench.workflow.finish.run_to_the_end", run)
    return seen


# --- run -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("summary", "code"),
    [({"done": 8}, 0), ({"failed": 1}, 1), ({"done": 6, "lost": 2}, 2), ({"interrupted": True, "failed": 1}, 130)],
)
def test_run_ends_with_one_line_and_its_exit_code(call: Any, runner: Any, summary: dict[str, Any], code: int) -> None:
    runner.summary = summary
    ran = call("run", "suite.yaml")
    counts = {"done": 0, "cached": 0, "failed": 0, "skipped": 0, **summary}
    assert ran.code == code
    assert ran.out == "cells: planned=8 done={done} cached={cached} failed={failed} skipped={skipped}\n".format(
        **counts
    )


def test_run_passes_its_options_on(call: Any, runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARNBENCH_CACHE", "kept")
    monkeypatch.setenv("UNLEARNBENCH_DATA", "images")
    call("run", "suite.yaml", "--jobs", "3", "--force", "--fail-fast", "--retry-failed", "--plugins", ".", "-v")
    assert vars(runner.options) == {
        "data_root": Path("images").absolute(),
        "results": Path("results/tiny").absolute(),
        "cache": Path("kept").absolute(),
        "engine": "loky",
        "jobs": 3,
        "scheduler": None,
        "device": "auto",
        "cells_per_device": 1,
        "time_limit": None,
        "plugin_dirs": (Path().absolute(),),
        "force": True,
        "retry_failed": True,
        "fail_fast": True,
        "verbose": True,
    }
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})
    call("run", "suite.yaml", "--data", "d", "--results", "r", "--cache", "c", "--device", "cpu")
    options = runner.options
    assert [options.data_root, options.results, options.cache] == [Path(name).absolute() for name in "drc"]
    assert (options.engine, options.jobs, options.device) == ("serial", 1, "cpu")
    call("run", "suite.yaml", "--engine", "dask", "--scheduler", "tcp://h:1", "--time-limit", "60")
    options = runner.options
    assert (options.engine, options.scheduler, options.time_limit) == ("dask", "tcp://h:1", 60.0)
    call("run", "suite.yaml", "--engine", "loky", "--cells-per-device", "2")
    assert runner.options.cells_per_device == 2
    assert call("run", "suite.yaml", "--engine", "serial", "--jobs", "2").code == 2


def test_folders_default_to_the_user_cache(call: Any, runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNLEARNBENCH_CACHE", raising=False)
    monkeypatch.delenv("UNLEARNBENCH_DATA", raising=False)
    call("run", "suite.yaml")
    assert runner.options.data_root.parts[-2:] == ("unlearnbench", "data")
    assert runner.options.cache.parts[-2:] == ("unlearnbench", "artifacts")


def test_ctrl_c_is_130_and_a_bug_shows_its_traceback(call: Any, runner: Any) -> None:
    runner.error = KeyboardInterrupt()
    assert call("run", "suite.yaml").code == 130
    runner.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        call("run", "suite.yaml")


# --- plan, validate, prepare, report -------------------------------------------------------------------------------


def test_plan_shows_cells_and_tasks(call: Any) -> None:
    ran = call("plan", "suite.yaml", "-m", "fading[rate=1]")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["experiment", "dataset", "scenario", "method", "attack", "seed", "key", "skip"]
    assert lines[1].split() == ["one", "small", "erased_count=3", "original", "-", "0", "abcabcabcabc"]
    assert lines[3].endswith("too hard")
    assert lines[5].split()[3] == "fading[rate=1]"
    assert lines[-2:] == ["cells: 6, of which 2 are skipped", "tasks: train=1 unlearn=0 shadows=0 attack=1"]
    assert (ran.code, ran.err) == (0, "warning: method 'cracked' is broken: RuntimeError: no (cracked.py)\n")
    found = json.loads(call("plan", "suite.yaml", "--format", "json", "-a", "guess").out)
    assert (found["suite"], len(found["cells"]), found["tasks"]["train"]) == ("tiny", 8, 1)
    assert found["cells"][1]["attack"] == "guess"


def test_missing_data_ends_before_any_work(call: Any) -> None:
    ran = call("plan", "suite.yaml", "--data", "missing")
    assert (ran.code, ran.out, ran.err.splitlines()[-1]) == (2, "", "error: dataset small: no data")


def test_validate_says_so(call: Any, tmp_path: Path) -> None:
    assert call("validate", "suite.yaml").out == "suite.yaml: valid; cells: 8 (one 8)\n"
    assert json.loads(call("validate", "suite.yaml", "--format", "json").out)["cells"] == {"one": 8}
    (tmp_path / "bad.yaml").write_text(SUITE.replace("fading", "fadin"))
    ran = call("validate", "bad.yaml", "--format", "json")
    assert ran.code == 2
    assert json.loads(ran.out) == {
        "valid": False,
        "errors": [
            {
                "where": "bad.yaml:experiments.one.methods[0]",
                "what": "unknown method 'fadin'; did you mean 'fading'?",
            }
        ],
    }


def test_prepare_fetches_and_loads(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pixels = torch.arange(70, dtype=torch.uint8)[:, None, None, None] * torch.ones(64, dtype=torch.uint8).view(1, 8, 8)
    pixels[:, 0, 0, 0], pixels[65] = 255, pixels[3]
    both = Images(pixels, torch.arange(70) % 4, torch.arange(70))
    images = ImageData(both.take(torch.arange(60)), both.take(torch.arange(60, 70)), 4, ("decoded: as\x1b[1m it was",))
    seen: list[Path] = []
    monkeypatch.setattr("fake_plugins.Small.prepare", lambda self, root: seen.append(root))
    monkeypatch.setattr("fake_plugins.Small.load", lambda self, root: images)
    monkeypatch.setattr("fake_plugins.Small.class_names", lambda self, root: ["ant", "bee", "cat", "dog"])
    ran = call("prepare", "suite.yaml", "--data", "here")
    assert (ran.code, seen) == (0, [Path("here").absolute()])
    assert ran.out.splitlines() == [
        "small: train=60 test=10 classes=4 shape=1x8x8",
        "  files: 0 read",
        "  decoded: as\\x1b[1m it was",
        "  classes: 0=ant, 1=bee, 2=cat, 3=dog",
        "  identical images: 1 test image is a training image too, 1 of these has another",
        "    label; scenario.duplicates: drop leaves later copies out (--set",
        "    duplicates=drop)",
    ]

    def fail(self: Any, root: Path) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr("fake_plugins.Small.prepare", fail)
    ran = call("prepare", "suite.yaml", "--data", "here")
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == "error: small: can't be prepared in here: OSError: no network"


def test_report_makes_the_leaderboard_and_prints_it(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from unlearnbench.leaderboard import build as leaderboard
    from unlearnbench.report import export, terminal

    (tmp_path / "done" / "records").mkdir(parents=True)
    monkeypatch.setattr(leaderboard, "of", lambda records: records)
    monkeypatch.setattr(terminal, "render", lambda frame, *chosen: f"table of {frame}")
    monkeypatch.setattr(export, "export", lambda frame, format, *chosen: f"{format} of {frame}\n")
    assert call("report", "done").out == "table of done/records\n"
    assert call("report", "done", "--format", "json").out == "json of done/records\n"
    ran = call("report", "nowhere")
    assert (ran.code, ran.err[:14]) == (2, "error: nowhere")


# --- list, info ----------------------------------------------------------------------------------------------------


def test_list_shows_plugins_and_broken_ones(call: Any) -> None:
    lines = call("list").out.splitlines()
    assert lines[0].split() == ["kind", "name", "version", "origin", "description"]
    assert lines[1].split()[:4] == ["method", "fading", "1", "built-in"]
    assert lines[-3:] == ["broken:", "method cracked: RuntimeError: no", "    cracked.py"]
    found = json.loads(call("list", "--format", "json").out)
    assert {plugin["name"] for plugin in found["plugins"]} >= {"fading", "guess", "small"}
    assert found["broken"][0]["error"] == "RuntimeError: no"


def test_info_shows_parameters_with_type_bounds_default_and_meaning(call: Any) -> None:
    out = call("info", "fading").out
    assert out.startswith("method fading, version 1\nfrom: built-in\n")
    assert "A method with parameters of every shape." in out
    assert "  rate: float >= 0, default 0.5\n      weight\n" in out
    assert "  form: paper | released, default paper\n" in out
    assert "  lr: float | null > 0, default null\n      Adam's learning rate" in out
    assert "  extra: mapping | null, default null\n" in out
    assert "  inner.kind: wide | deep, default wide\n" in out
    assert call("info", "fadng").err == "error: fadng: unknown plugin 'fadng'; did you mean 'fading'?\n"
    assert call("info", "cracked").err == "error: cracked: method 'cracked' is broken: RuntimeError: no (cracked.py)\n"


def test_info_and_list_tell_as_json_what_they_show(call: Any) -> None:
    (told,) = json.loads(call("info", "fading", "--format", "json").out)["plugins"]
    assert (told["source"], told["origin"], told["access"]) == ("built-in", "built-in", None)
    assert told["documentation"].endswith("A method with parameters of every shape.")
    assert told["parameters"][2] == {
        "name": "rate", "type": "float", "default": "0.5", "bounds": ">= 0", "meaning": "weight",
    }  # fmt: skip
    listed = {plugin["name"]: plugin for plugin in json.loads(call("list", "--format", "json").out)["plugins"]}
    assert listed["fading"]["parameters"] == told["parameters"]
    assert listed["guess"]["access"] == "level log_probabilities"


def test_an_attack_says_what_it_sees(call: Any) -> None:
    assert "\nsees: level log_probabilities\n" in call("info", "guess").out
    assert "\nsees: level log_probabilities\n" in call("list", "--long").out


@pytest.mark.parametrize("arguments", [["list"], ["list", "--long"], ["info", "fading"]])
def test_list_and_info_fit_80_columns(call: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    wide = "A method whose description goes on and on. " * 5
    monkeypatch.setattr("fake_plugins.__doc__", f"{wide}\n\n    {'x = y + ' * 20}\n- {wide}")
    known = fake_registry()
    known.methods["far"] = replace(known.methods["fading"], name="far", builtin=False, origin=f"/{'deep/' * 30}far.py")
    known.broken.append(BrokenPlugin("attack", "shattered", f"/{'deep/' * 30}odd.py", "ValueError: " + "no " * 50))
    monkeypatch.setattr("unlearnbench.registry.registry.discover", lambda plugin_dirs=(): known)
    ran = call(*arguments)
    assert ran.code == 0
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    if arguments == ["list"]:
        assert any(line.startswith("method   far") and "far.py" in line for line in ran.out.splitlines())


@pytest.mark.parametrize(
    ("plugin", "sees"),
    [
        ("likelihood_ratio", "level log_probabilities, 32 models with and without"),
        ("membership", "level log_probabilities, 64 shadows, tier same"),
        ("representation", "level representation, known members"),
        ("retrained_distance", "level log_probabilities, 128 retrained models"),
        ("apollo", "level label, 160 images to ask about, after unlearning only"),
        ("remaining_membership", "level log_probabilities, remaining images"),
    ],
)
def test_built_in_attacks_say_what_they_see(plugin: str, sees: str) -> None:
    assert plugin_facts.facts(registry.discover().attacks[plugin]).access == sees


def test_text_of_plugins_can_not_command_the_terminal(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_plugins.__doc__", "[red]loud\x1b[31m\n\nmore\u202e\x07\n")
    for ran in (call("list"), call("list", "--long"), call("info", "fading")):
        assert "[red]loud\\x1b[31m" in ran.out
        assert "\x1b" not in ran.out
        assert "\u202e" not in ran.out


# --- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "suite.yaml", "-m", "fadin"], "error: -m fadin: unknown method 'fadin'; did you mean 'fading'?"),
        (["run", "suite.yaml", "-a", "gess"], "error: -a gess: unknown attack 'gess'; did you mean 'guess'?"),
        (["run", "suite.yaml", "-d", "smal"], "error: -d smal: unknown dataset 'smal'; did you mean 'small'?"),
        (
            ["run", "suite.yaml", "-e", "onne"],
            "error: -e onne: no experiment 'onne' in suite 'tiny'; did you mean 'one'?",
        ),
        (
            ["run", "suite.yaml", "-m", "fading[rat=1]"],
            "error: -m fading[rat=1]: unknown key 'rat'; did you mean 'rate'?",
        ),
        (["plan", "suite.yaml", "--set", "bta=1"], "error: --set bta=1: unknown key 'bta'; did you mean 'beta'?"),
        (["run", "suit.yaml"], "error: suit.yaml: no such file; did you mean 'suite.yaml'?"),
        (
            ["run", "suite.yaml", "--sedes", "3"],
            "error: unlearnbench run: no such option --sedes; did you mean '--seeds'?",
        ),
        (["run", "suite.yaml", "--seeds", "0"], "error: unlearnbench run: invalid value for '--seeds'"),
        (["run", "suite.yaml", "--seeds", "x"], "error: unlearnbench run: invalid value for '--seeds'"),
        (["run", "suite.yaml", "--engine", "spark"], "error: unlearnbench run: invalid value for '--engine'"),
        (["run"], "error: unlearnbench run: missing argument"),
        (["rum"], "error: unlearnbench: no such command 'rum'; did you mean 'run'?"),
        ([], "error: unlearnbench: missing command"),
    ],
)
def test_mistakes_are_one_line_with_exit_code_2_and_nothing_written(
    call: Any, runner: Any, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    ran = call(*arguments)
    assert (ran.code, ran.out) == (2, "")
    *warnings, line = ran.err.splitlines()
    assert line.startswith(expected)
    assert all(warning.startswith("warning: ") for warning in warnings)
    assert [path.name for path in tmp_path.iterdir()] == ["suite.yaml"]
    assert runner.options is None


def test_the_program_as_installed_reports_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('never\\nmind')")
    real = SUITE.replace("small", "digits").replace("guess", "membership")
    (tmp_path / "suite.yaml").write_text(real.replace("fading", "crfuu"))
    command = [sys.executable, "-c", "import sys; from unlearnbench.cli.main import main; sys.exit(main())"]
    ran = subprocess.run(
        [*command, "run", "suite.yaml", "--plugins", "."], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    warning, error = ran.stderr.splitlines()
    assert warning.startswith("warning: plugin 'broken' is broken: SystemExit: never mind (")
    assert error == "error: suite.yaml:experiments.one.methods[0]: unknown method 'crfuu'; did you mean 'crfu'?"
    assert {path.name for path in tmp_path.iterdir()} <= {"broken.py", "suite.yaml", "__pycache__"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["tune", "--help"], ["check", "--help"], ["new", "--help"], ["--version"]],
)
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from unlearnbench.cli.main import main\n"
        f"code = main({arguments!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "unlearnbench" in ran.stdout
