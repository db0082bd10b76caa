"""README's example is a plugin that works as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import torch
from small_worlds import SEEDS, difference, erasures, trained, unlearn, utility

from unlearnbench.plugin import Method
from unlearnbench.registry import discover

README = Path(__file__).parent.parent / "README.md"


def test_the_example_method_runs_for_many_replicas(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "flatten.py").write_text(block, encoding="utf-8")
    registry = discover([tmp_path])
    assert not registry.broken
    sets, scenario = erasures(), utility()
    before = trained(scenario, sets, SEEDS[:1], torch.float32)
    after, context = unlearn(
        cast(Method, registry.methods["flatten"].cls()), before, sets, scenario, dtype=torch.float32
    )
    assert after.replicas == sets.replicas
    assert context.steps.tolist() == [scenario.stop.steps] * sets.replicas
    assert difference(after, before.expand(sets.replicas)) > 0


def test_the_suites_it_names_are_there() -> None:
    for name in re.findall(r"suites/\w+\.yaml", README.read_text(encoding="utf-8")):
        assert (README.parent / name).is_file(), name
