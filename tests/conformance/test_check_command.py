"""`unlearnbench check` as a user calls it: exit codes, both formats, plugins that hang or end their process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from examining import source

from unlearnbench.conformance import CheckRequest, check
from unlearnbench.plugin import Method
from unlearnbench.registry.base import KINDS
from unlearnbench.registry.registry import discover

UNLEARN = "def unlearn_many(self, before, sets, context):\n"
# A few seconds on an idle machine, many on a busy one: what hangs hangs for longer.
LIMIT = "30"


def call(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: no test's own plugins, threads or hooks."""
    program = "import sys; from unlearnbench.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, "check", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def write(folder: Path, text: str, name: str = "odd") -> Path:
    (folder / f"{name}.py").write_text(text)
    return folder


def checks(ran: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in json.loads(ran.stdout)["checks"]}


WITH_PARAMS = {  # of plugins with a parameter that has no default
    "factory": "factory[path='torchvision.models:shufflenet_v2_x0_5',last_layer=fc]",
    "torchvision_model": "torchvision_model[model=mobilenet_v3_small]",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for kind in KINDS for name, info in discover().of(kind).items() if info.builtin],
)
def test_every_built_in_plugin_keeps_every_rule(name: str, kind: Any) -> None:
    name = WITH_PARAMS.get(name, name)
    report = check(CheckRequest(name, kind, time_limit=300))
    assert [f"{result.check}: {result.line}" for result in report.results if result.status == "fail"] == []
    assert report.builtin
    # Of photographs and the like there may be no files here, and then there is nothing to look at.
    if kind != "dataset" or name == "digits":
        # A method that unlearns one model after the other has nothing to compare that with.
        loops = kind == "method" and not cast(Method, discover().methods[name].cls()).many_at_once
        expected = ["together_is_alone"] if loops else []
        assert [result.check for result in report.results if result.status == "skipped"] == expected


@pytest.mark.slow
def test_a_good_plugin_is_exit_code_0_and_fits_the_terminal(tmp_path: Path) -> None:
    ran = call(write(tmp_path, source("method")), "odd", "--plugins", ".")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *lines, last = ran.stdout.splitlines()
    assert first == f"method odd ({tmp_path / 'odd.py'})"
    said = " ".join(" ".join(lines).split())
    size = (tmp_path / "odd.py").stat().st_size
    assert said.startswith(f"known by: the content of 1 file ({size:,} bytes) in ")
    assert last.startswith("checks: passed=22 failed=0 skipped=0 in ")
    assert any(line.split()[:2] == ["PASS", "worker_process"] for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.py"]


@pytest.mark.slow
def test_a_failure_is_exit_code_1_and_says_what_to_change(tmp_path: Path) -> None:
    body = f"{UNLEARN}    Path('[red]trace\\x1b[31m').write_text('')\n    return before.expand(sets.replicas)"
    write(tmp_path, source("method", body, doc=""))
    ran = call(tmp_path, "odd", "--plugins", ".", "--format", "json")
    assert ran.returncode == 1
    found = json.loads(ran.stdout)
    assert (found["name"], found["kind"], found["passed"]) == ("odd", "method", False)
    by_name = checks(ran)
    assert by_name["documented"]["advice"].startswith("say there what it does")
    assert "[red]trace\\x1b[31m" in by_name["no_writes"]["note"]
    assert by_name["runs"]["status"] == "fail"
    assert by_name["deterministic"] == {
        "check": "deterministic", "status": "skipped", "note": "it does not run", "advice": "",
        "seconds": by_name["deterministic"]["seconds"],
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["odd.py"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "note", "advice"),
    [
        ("    while True: pass", f"took longer than {LIMIT} s", "look for endless loops"),
        ("    os._exit(0)", "ended the process", "return or raise, never end the process"),
    ],
)
def test_a_method_that_hangs_or_ends_its_process_is_reported(body: str, note: str, advice: str, tmp_path: Path) -> None:
    write(tmp_path, source("method", UNLEARN + body))
    ran = call(tmp_path, "odd", "--plugins", ".", "--format", "json", "--time-limit", LIMIT)
    found = checks(ran)
    assert ran.returncode == 1
    assert (found["runs"]["status"], found["runs"]["note"]) == ("fail", note)
    assert found["runs"]["advice"].startswith(advice)
    assert (found["shapes"]["status"], found["shapes"]["note"]) == ("skipped", "it does not run")
    assert found["no_writes"]["status"] == "pass"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nos._exit(0)", "ended the process; only define the class when the file is imported"),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'; fix "),
        (source("method") + source("method").replace("Odd", "Second"), "2 plugin classes (Odd, Second)"),
    ],
)
def test_a_file_that_does_not_load_is_a_failure(text: str, expected: str, tmp_path: Path) -> None:
    ran = call(write(tmp_path, text), "odd", "--plugins", ".", "--format", "json")
    assert ran.returncode == 1
    (only,) = checks(ran).values()
    assert (only["check"], only["status"]) == ("loads", "fail")
    assert expected in f"{only['note']}; {only['advice']}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["crfuu"], "error: crfuu: unknown plugin 'crfuu'; did you mean 'crfu'?"),
        (
            ["crfu", "--kind", "attack"],
            "error: crfu: no attack is named 'crfu'; that is the name of an existing method",
        ),
        (["crfu[beta=low]"], 'error: crfu.beta: must be a number, not "low"'),
        (["crfu[bet=1]"], "error: -m crfu[bet=1]: unknown key 'bet'; did you mean 'beta'?"),
        (["same", "--plugins", "."], "error: same: is the name of a method and an attack; say which by --kind"),
        (["crfu", "--plugins", "nowhere"], "error: --plugins "),
        (["crfu", "--kind", "metod"], "error: unlearnbench check: invalid value for '--kind'"),
        ([], "error: unlearnbench check: missing argument"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], expected: str, tmp_path: Path) -> None:
    for kind in ("method", "attack"):
        (tmp_path / f"{kind}s").mkdir()
        write(tmp_path / f"{kind}s", source(kind), "same")  # type: ignore[arg-type]
    ran = call(tmp_path, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith(expected)


@pytest.mark.slow
def test_parameters_can_be_given(tmp_path: Path) -> None:
    params = "class Params(PluginParams):\n    size: float = Field(description='of what')\n"
    body = params + UNLEARN + "    return before.expand(sets.replicas).apply(lambda v: v * self.params.size)"
    write(tmp_path, source("method", body))
    ran = call(tmp_path, "odd", "--plugins", ".", "--format", "json")
    (only,) = checks(ran).values()
    assert (ran.returncode, only["status"]) == (0, "skipped")
    assert "unlearnbench check 'odd[size=...]'" in only["note"]
    assert call(tmp_path, "odd[size=2]", "--plugins", ".").returncode == 0
