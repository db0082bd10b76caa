"""What `make bench` measured -> results/benchmarks, one file a benchmark -> docs/benchmarks.md.

`python tests/benchmarks/table.py MEASURED.json` does both; without a file it only writes the page again.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "results" / "benchmarks", ROOT / "docs" / "benchmarks.md"
# In this order, by the names of the test functions.
ORDER = ("training_step", "shadow_erasures", "resnet18_step", "mnist_cell", "quickstart", "plan", "resume",
         "leaderboard", "help")  # fmt: skip
HEAD = """\
# Benchmarks

Made by `make bench` from results/benchmarks; do not edit.

Every ratio comes from one run in which unlearnbench and the ordinary way of doing the same took turns, each in a
process of its own with one thread, after a warm-up. Times are medians, and the range is that of neighbouring
measurements. The ordinary way is in tests/benchmarks/plain_jobs.py and plain_suites.py: one nn.Module, a DataLoader,
torch.optim.Adam, one step at a time; nested loops and pandas. If there is no ordinary way, the ratio is to a bar. Over
1 is good: faster, or under the bar. Minibatches have 20 images (one, if one image is erased), numbers 32 bits.

`make bench BENCH='-k step'` measures a part, and `BENCH='--full -k cell'` runs the plain script of the MNIST cell
completely. The cell needs MNIST below `$UNLEARNBENCH_DATA`; without it, it uses images of the same size.
"""
COLUMNS = "| | unlearnbench | against | ratio | range | compared with |\n|---|---|---|---|---|---|\n"


def trimmed(measured: Mapping[str, Any], benchmark: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """One benchmark in pytest-benchmark's layout without raw data and without what tells whose machine it was."""
    machine, commit = measured["machine_info"], measured["commit_info"]
    cpu = {name: machine["cpu"].get(name) for name in ("brand_raw", "count")}
    system = {name: machine.get(name) for name in ("system", "machine", "python_version")}
    kept = {name: benchmark[name] for name in ("name", "fullname", "params", "extra_info")}
    stats = {name: value for name, value in benchmark["stats"].items() if name != "data"}
    return {
        "machine_info": {**system, "cpu": cpu, **versions},
        "commit_info": {name: commit.get(name) for name in ("id", "dirty")},
        "datetime": measured["datetime"],
        "version": measured["version"],
        "benchmarks": [{**kept, "stats": stats}],
    }


def render(folder: Path) -> str:
    """The page of the benchmarks in a folder: a table for each machine, usually one."""
    tables: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.json"), key=_position):
        measured = json.loads(path.read_text(encoding="utf-8"))
        rows = measured["benchmarks"][0]["extra_info"]["rows"]
        tables.setdefault(_machine(measured["machine_info"]), []).extend(_line(row) for row in rows)
    return HEAD + "".join(f"\n{machine}:\n\n{COLUMNS}{''.join(lines)}" for machine, lines in tables.items())


def publish(measured: Path) -> None:
    """Write a file for each benchmark in pytest-benchmark's; those that were not run stay as they are."""
    content = json.loads(measured.read_text(encoding="utf-8"))
    versions = {name: version(name) for name in ("torch", "pandas", "pyarrow")}
    RESULTS.mkdir(parents=True, exist_ok=True)
    for benchmark in content["benchmarks"]:
        name = re.sub(r"\W+", "_", benchmark["name"].removeprefix("test_")).strip("_")
        text = json.dumps(trimmed(content, benchmark, versions), indent=1, sort_keys=True)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    for measured in arguments:
        publish(Path(measured))
    page = render(RESULTS)
    PAGE.write_text(page, encoding="utf-8")
    sys.stdout.write(page)


def _position(path: Path) -> tuple[Any, ...]:
    """Benchmarks in their order, and 8 before 64."""
    place = next((i for i, name in enumerate(ORDER) if path.stem.startswith(name)), len(ORDER))
    return place, [(int(digits or 0), text) for digits, text in re.findall(r"(\d+)|(\D+)", path.stem)]


def _line(row: Mapping[str, Any]) -> str:
    unit = "" if row["unit"] == "per second" else " " + row["unit"]
    end = " a second" if row["unit"] == "per second" else ""
    value, other = (f"{_short(row[name])}{unit}{end}" for name in ("value", "other"))
    spread = "" if row["low"] is None else f"{_short(row['low'])} to {_short(row['high'])}"
    return f"| {row['what']} | {value} | {other} | {_short(row['ratio'])} | {spread} | {row['against']} |\n"


def _machine(info: Mapping[str, Any]) -> str:
    cpu = info["cpu"]
    return (
        f"{cpu['brand_raw']}, {cpu['count']} cores, {info['system']}, Python {info['python_version']},"
        f" torch {info['torch']}, pandas {info['pandas']}, pyarrow {info['pyarrow']}"
    )


def _short(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


if __name__ == "__main__":
    main(sys.argv[1:])
