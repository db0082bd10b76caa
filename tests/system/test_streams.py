"""Streams that are closed, full or broken: no verb ends by them, and nothing is printed into somebody else's file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import finish, start, write_method, write_suite

PROGRAM = f"{sys.executable} -c 'import sys; from unlearnbench.cli.main import main; sys.exit(main())'"
LOUD = (
    "for _ in range(3): print('loud' * 4000, flush=True); os.system('echo loud')\nreturn before.expand(sets.replicas)"
)


def shell(folder: Path, command: str) -> tuple[int, str]:
    """The exit code of `command`, in which UB is the program, and what it said where streams were not redirected."""
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("UB", PROGRAM)], cwd=folder, text=True, timeout=240,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "UNLEARNBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return ran.returncode, ran.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its results, and a method that prints."""
    folder = tmp_path_factory.mktemp("streams")
    write_method(folder / "own", "loud", unlearn=LOUD)
    write_suite(folder, methods="vbu, loud", attacks="")
    assert finish(start(folder, "--plugins", "own")).code == 0
    return folder


VERBS = (
    "list", "info vbu", "--help", "cache list", "validate suite.yaml --plugins own", "plan suite.yaml --plugins own",
    "run suite.yaml --plugins own", "report results/tiny", "publish results/tiny --out siteN --plugins own",
    "merge results/tiny --out mergedN", "new method mine --into newN",
)  # fmt: skip
REDIRECTED = {
    ">/dev/full": (2, "error: stdout: can't be written: No space left on device\n"),
    "2>/dev/full": (0, ""),
    "<&- >&- 2>&-": (0, ""),
    "| true": (141, ""),
}


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=() if verb in ("list", "--help") else (pytest.mark.faults,)) for verb in VERBS]
)
def test_a_verb_whose_streams_are_gone_ends_as_it_would_and_says_what_it_could_not_show(ran: Path, verb: str) -> None:
    for number, (redirected, (expected, last)) in enumerate(REDIRECTED.items()):
        code, said = shell(ran, f"UB {verb.replace('N', str(number))} {redirected}")
        assert code == expected, (redirected, said)
        assert said.endswith(last)
        assert "Traceback" not in said
        assert "Exception ignored" not in said


@pytest.mark.parametrize(
    ("name", "redirected"),
    [
        ("serial", "2>&-"),
        ("serial", "2>/dev/full >&-"),
        pytest.param("loky", "<&- >&- 2>&-", marks=pytest.mark.faults),
        pytest.param("loky", "2> >(true)", marks=pytest.mark.faults),
        pytest.param("dask", "<&- >&- 2>&-", marks=pytest.mark.faults),
        pytest.param("dask", "2>/dev/full", marks=pytest.mark.faults),
    ],
)
def test_a_plugin_that_prints_into_a_stream_that_is_gone_does_not_fail(
    ran: Path, tmp_path: Path, name: str, redirected: str
) -> None:
    jobs = "" if name == "serial" else "--jobs 2"
    command = f"UB run suite.yaml --plugins own --engine {name} {jobs} --results {tmp_path}/r --cache {tmp_path}/c"
    code, said = shell(ran, f"{command} {redirected}")
    assert code == 0, said
    assert len(list((tmp_path / "r" / "records").glob("*.parquet"))) == 4
    assert not list((tmp_path / "r" / "records").glob("*.failed.parquet"))
    for path in tmp_path.rglob("*"):  # a file that took a stream's number would hold what was printed
        assert not path.is_file() or b"loudloud" not in path.read_bytes(), path


def test_a_stream_that_does_not_wait_is_waited_for(tmp_path: Path) -> None:
    """Programs that read in an event loop make their end of a pipe, and with it ours, one that does not wait."""
    program = (
        "import os, sys\nfrom unlearnbench.system import streams\nos.set_blocking(1, False)\nstreams.settle()\n"
        "print(chr(120) * 1_000_000)\nsys.exit(streams.outcome(0))"
    )
    code, said = shell(tmp_path, f"{sys.executable} -c '{program}' | {{ sleep 1; wc -c; }}")
    assert (code, said.strip()) == (0, "1000001")
