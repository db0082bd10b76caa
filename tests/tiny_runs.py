"""A suite that runs in seconds, plugins that break every rule, and what is needed to run and compare them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pyarrow.parquet as pq
import pytest

from unlearnbench.cli import main as cli
from unlearnbench.running import worker

SUITE = """
name: tiny
seeds: 1
experiments:
  leak:
    datasets: [digits]
    scenario:
      kind: leak
      erased_count: 1
      targets: 2
      network: {hidden: 8, latent: 4}
      leak: {target: 60, known: 40, pool: 150, validation: 20, probe: 10, spare: 60}
      stop: {rule: steps, steps: 2}
      training: {epochs: 2}
    methods: [METHODS]
    attacks: [ATTACKS]
"""
TIMES = ("started_at", "train_seconds", "unlearn_seconds", "attack_seconds", "peak_bytes", "git_sha", "git_dirty")
HEADER = """
    import os, signal, time
    from pathlib import Path
    import torch
    from unlearnbench.plugin import Access, Attack, Evidence, Method
    """


def write_suite(folder: Path, methods: str = "vbu", attacks: str = "membership: {shadows: 10}", seeds: int = 1) -> Path:
    """The suite as a file."""
    text = SUITE.replace("METHODS", methods).replace("ATTACKS", attacks)
    path = folder / "suite.yaml"
    path.write_text(text.replace("seeds: 1", f"seeds: {seeds}"))
    return path


def write_method(folder: Path, name: str, body: str = "", unlearn: str = "return before.expand(sets.replicas)") -> None:
    """A method as a plugin file: `unlearn` is what unlearn_many does, `body` is the rest of the class."""
    source = f"""
class {name.title().replace("_", "")}(Method):
    version = 1
{indent(dedent(body), "    ")}
    def unlearn_many(self, before, sets, context):
{indent(dedent(unlearn).strip(), "        ")}
"""
    (folder / "methods").mkdir(parents=True, exist_ok=True)
    (folder / "methods" / f"{name}.py").write_text(dedent(HEADER) + source)


@dataclass
class Ran:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def counts(self) -> dict[str, int]:
        """The closing line, which must be all there is on stdout."""
        assert self.out.startswith("cells: "), (self.out, self.err)
        assert self.out.count("\n") == 1, self.out
        return {key: int(value) for key, value in (part.split("=") for part in self.out.split()[1:])}


class Place:
    """A folder with a suite, results and a store, in which the command line is called as a user would."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys = folder, capsys
        monkeypatch.chdir(folder)
        monkeypatch.setenv("UNLEARNBENCH_CACHE", str(folder / "cache"))
        monkeypatch.setenv("UNLEARNBENCH_DATA", str(folder / "data"))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    def run(self, *arguments: str, engine: str = "serial", verb: str = "run") -> Ran:
        """`unlearnbench run suite.yaml` (or another verb), in this process."""
        worker._workplace.cache_clear()
        self._capsys.readouterr()
        code = cli.main([verb, "suite.yaml", "--engine", engine, "--device", "cpu", *arguments])
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)


def start(folder: Path, *arguments: str, engine: str = "serial", suite: str = "suite.yaml") -> subprocess.Popen[str]:
    """The same as a process of its own, in a process group of its own."""
    program = "import sys; from unlearnbench.cli.main import main; sys.exit(main())"
    options = ["run", suite, "--engine", engine, "--device", "cpu", *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", program, *options],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "UNLEARNBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process: subprocess.Popen[str], timeout: float = 120) -> Ran:
    out, err = process.communicate(timeout=timeout)
    return Ran(process.returncode, out, err)


def rows(results: Path, drop: Sequence[str] = TIMES) -> list[dict[str, Any]]:
    """All rows of the record files but for what tells of times, sorted."""
    found: list[dict[str, Any]] = []
    for path in sorted((results / "records").glob("*.parquet")):
        found += pq.ParquetFile(path).read().drop_columns(list(drop)).to_pylist()
    return sorted((row for row in found if not row["metric"].endswith("_seconds")), key=lambda row: json.dumps(row))


def status_of(results: Path, method: str) -> list[tuple[str, str | None, float | None]]:
    """Status, error and value of a method's rows."""
    return [(row["status"], row["error"], row["value"]) for row in rows(results) if row["method"] == method]
