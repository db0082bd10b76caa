"""A soak: thousands of tiny cells through each engine. Does the runner's memory stay flat, and what does a cell cost?

    .venv/bin/python tests/benchmarks/soak.py --cells 10000 --engines serial,loky,dask --jobs 2

Prints a table; writes it to results/benchmarks/soak/measured.json with --write. A cell is one erasure that does
nothing, judged on a few hundred 8x8 images: nearly all of its time is the harness's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

METHOD = '''
from pydantic import Field

from unlearnbench.plugin import Method
from unlearnbench.settings.scenario import PluginParams


class Idle(Method):
    """Forgets nothing."""

    class Params(PluginParams):
        number: int = Field(0, ge=0, description="which of many that do the same")

    def unlearn_many(self, before, sets, context):
        return before.expand(sets.replicas)
'''
SUITE = """
name: soak
seeds: 1
experiments:
  idle:
    references: false
    datasets: [digits]
    scenario:
      kind: utility
      erased_count: 20
      train_size: 200
      network: {{hidden: 8, latent: 4}}
      training: {{epochs: 1}}
    methods:
      - idle: {{number: [{numbers}]}}
"""
LARGEST_GRID = 1_000  # settings of one list entry
RESULT = Path(__file__).parents[2] / "results" / "benchmarks" / "soak" / "measured.json"


@dataclass(frozen=True)
class Soaked:
    """What one engine took; memory of the runner's process in MiB, early (a tenth of the cells done) and late (before
    the leaderboard is built of them)."""

    engine: str
    cells: int
    seconds: float
    per_second: float
    overhead_ms: float
    early_mib: float
    late_mib: float


def soak(engine: str, cells: int, jobs: int) -> Soaked:
    """Run the suite with one engine in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "own" / "methods").mkdir(parents=True)
        (folder / "own" / "methods" / "idle.py").write_text(METHOD)
        (folder / "suite.yaml").write_text(_suite(cells))
        command = [sys.executable, "-c", "import sys; from unlearnbench.cli.main import main; sys.exit(main())"]
        command += ["run", "suite.yaml", "--plugins", "own", "--results", "r", "--cache", "c", "--engine", engine]
        command += ["--device", "cpu", "--jobs", str(1 if engine == "serial" else jobs)]
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        memory: list[tuple[int, float]] = []
        watcher = threading.Thread(target=_watch, args=(process.pid, folder / "r" / "records", memory), daemon=True)
        watcher.start()
        out, _ = process.communicate()
        seconds = time.monotonic() - started
        watcher.join()
        if f"done={cells} " not in out:
            raise SystemExit(f"{engine}: {out.strip()}")
        compute = _compute_seconds(folder / "c") / (1 if engine == "serial" else jobs)
    early = next(mib for done, mib in memory if done >= cells // 10)
    late = [mib for done, mib in memory if done < cells][-1]
    return Soaked(engine, cells, seconds, cells / seconds, 1_000 * (seconds - compute) / cells, early, late)


def _suite(cells: int) -> str:
    head, entry = SUITE.format(numbers="NUMBERS").split("      - idle")
    entries = ""
    for first in range(0, cells, LARGEST_GRID):
        numbers = ", ".join(map(str, range(first, min(first + LARGEST_GRID, cells))))
        entries += "      - idle" + entry.replace("NUMBERS", numbers)
    return head + entries


def _watch(pid: int, records: Path, memory: list[tuple[int, float]]) -> None:
    """Note the resident memory of a process, with how many records there are, until it ends."""
    page = resource.getpagesize() / 2**20
    while True:
        try:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        except (OSError, IndexError):
            return
        if resident:
            memory.append((sum(1 for _ in records.iterdir()) if records.is_dir() else 0, resident))
        time.sleep(1)


def _compute_seconds(cache: Path) -> float:
    """What the stages themselves took."""
    from unlearnbench.system.store import Store

    store = Store(cache)
    return sum(float(store.values(path.stem)["seconds"]) for path in cache.glob("*/*.safetensors"))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--engines", default="serial,loky,dask")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    print(
        "| engine | cells | cells/s | ms a cell outside its stages | runner's memory, MiB, early and late |", flush=True
    )
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    found = []
    for engine in options.engines.split(","):
        one = soak(engine, options.cells, options.jobs)
        found.append(asdict(one))
        memory = f"{one.early_mib:.0f}, {one.late_mib:.0f}"
        print(f"| {one.engine} | {one.cells:,} | {one.per_second:.1f} | {one.overhead_ms:.1f} | {memory} |", flush=True)
    if options.write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
