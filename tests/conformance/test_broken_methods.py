"""For every rule of methods one that breaks it: it is caught, and told what to change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from examining import examine, source, watch

UNLEARN = "def unlearn_many(self, before, sets, context):\n"
KEEP = "    return before.expand(sets.replicas)"
NOISY = "    return before.expand(sets.replicas).apply(lambda v: v + {})"
PARAMS = "class Params(PluginParams):\n    "
LOSS = (
    "def loss(self, models, erased, remaining, state, noise):\n"
    "    value = -erased.mean(models.model(erased.images)[:, 0])\n"
)

BROKEN = {
    "no docstring": ("documented", source("method", doc=""), "class Odd has no docstring; say there what it does"),
    "no description": (
        "parameters_described",
        source("method", PARAMS + "rate: float = 0.5"),
        'no description of rate; give each a Field(..., description="its meaning',
    ),
    "not frozen": (
        "parameters_frozen",
        source("method", PARAMS + "model_config = {'frozen': False}"),
        "not frozen, or takes unknown keys; derive Params",
    ),
    "unknown keys": (
        "parameters_frozen",
        source("method", PARAMS + "model_config = {'extra': 'ignore'}"),
        "not frozen, or takes unknown keys; derive Params",
    ),
    "lossy parameters": (
        "parameters_round_trip",
        source("method", PARAMS + "rate: float = 0.5\n    def model_dump(self, **how):\n        return {'rate': 1.0}"),
        "rate differ; use plain types",
    ),
    "skip without words": (
        "skip",
        source("method", "def skip(self, scenario):\n    return True"),
        "skip returned bool 'True'; return None to take part, or why not",
    ),
    "raises": ("runs", source("method", UNLEARN + "    raise ValueError('too few')"), "ValueError: too few, line "),
    "exits": ("runs", source("method", UNLEARN + "    sys.exit(3)"), "SystemExit: 3, line "),
    "branches on values": (
        "runs",
        source("method", LOSS + "    return value if value > 0 else -value", base="LossMethod"),
        "write the loss for ONE model, which is vectorised: torch.where",
    ),
    "returns nothing": (
        "shapes",
        source("method", UNLEARN + "    pass"),
        "unlearn_many returned NoneType; return a Stack with one model per erasure",
    ),
    "too few models": ("shapes", source("method", UNLEARN + "    return before.expand(1)"), "1 models for 3 erasures"),
    "another architecture": (
        "shapes",
        source("method", UNLEARN + "    return before.expand(sets.replicas).apply(lambda v: torch.cat([v, v], -1))"),
        "keep the shape and the type of every parameter",
    ),
    "not a number": (
        "finite",
        source("method", UNLEARN + NOISY.format("float('nan')")),
        "values that are not finite; look for logarithms and divisions of 0",
    ),
    "writes to the model": (
        "model_untouched",
        source("method", UNLEARN + f"    before.params['approximator.0.bias'].zero_()\n{KEEP}"),
        "the original model's approximator.0.bias was changed; work on copies",
    ),
    "writes to the images": (
        "data_untouched",
        source("method", UNLEARN + f"    sets.pool.pixels[0] = 0\n{KEEP}"),
        "pixels of the images were changed; work on copies",
    ),
    "writes to the choice": (
        "data_untouched",
        source("method", UNLEARN + f"    sets.erased.add_(1)\n{KEEP}"),
        "sets.erased was changed; work on copies",
    ),
    "draws from everywhere": (
        "deterministic",
        source("method", UNLEARN + NOISY.format("float(np.random.default_rng().random())")),
        "two runs with the same seed differ in",
    ),
    "remembers": (
        "deterministic",
        source("method", f"runs = []\n{UNLEARN}    self.runs.append(1)\n" + NOISY.format("len(self.runs)")),
        "keep nothing on self or in globals between runs",
    ),
    "torch's stream": (
        "ignores_global_random_state",
        source("method", UNLEARN + NOISY.format("torch.rand(())")),
        "depends on the global random state of torch, numpy or random; draw from `noise`",
    ),
    "numpy's stream": (
        "ignores_global_random_state",
        source("method", UNLEARN + NOISY.format("float(np.random.rand())")),
        "depends on the global random state",
    ),
    "seeds torch": (
        "leaves_global_random_state",
        source("method", UNLEARN + "    torch.manual_seed(0)\n" + KEEP),
        "the global random state of torch was moved",
    ),
    "seeds all others": (
        "leaves_global_random_state",
        source("method", UNLEARN + "    np.random.seed(0); random.seed(0)\n" + KEEP),
        "the global random state of numpy.random and random was moved; draw from",
    ),
    "mixes erasures": (
        "together_is_alone",
        source(
            "method",
            UNLEARN + "    mine = before.expand(sets.replicas)\n"
            "    return mine.apply(lambda v: v + float(sets.erased.double().mean()))",
        ),
        "together and each alone differ by",
    ),
    "knows its process": (
        "worker_process",
        source("method", UNLEARN + NOISY.format("os.getpid() % 1000 + 1")),
        "is different in a worker process; everything that a plugin needs must be in its file",
    ),
}


@pytest.mark.parametrize(("check", "text", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_method_is_caught_and_told_what_to_change(
    check: str, text: str, expected: str, tmp_path: Path
) -> None:
    result = examine(tmp_path, "method", text, check)
    assert result.status == "fail", result
    assert expected in result.line
    assert result.advice
    assert "\n" not in result.line


@pytest.mark.slow
def test_a_method_that_ends_its_worker_is_caught(tmp_path: Path) -> None:
    text = source("method", UNLEARN + f"    if os.getpid() != {os.getpid()}:\n        os._exit(1)\n{KEEP}")
    result = examine(tmp_path, "method", text, "worker_process")
    assert "in a worker process: ended the process" in result.line
    assert result.advice.startswith("everything that a plugin needs")


@pytest.mark.parametrize(
    ("check", "deed", "expected"),
    [
        ("no_network", "socket.create_connection(('192.0.2.1', 80))", "tried to connect to 192.0.2.1:80; ship what is"),
        ("no_network", "socket.getaddrinfo('example.org', 443)", "tried to connect to example.org:443"),
        ("no_writes", "Path('/nowhere/log.txt').write_text('')", "tried to write or change /nowhere/log.txt; write to"),
        ("no_writes", "os.mkdir('/nowhere')", "tried to write or change /nowhere; write to tempfile's folder only"),
        ("no_writes", "os.remove(__file__)", "methods/odd.py; write to tempfile's folder only"),
        ("no_writes", "os.rename(__file__, '/nowhere')", "tried to write or change "),
        ("no_programs", "subprocess.run(['date'])", "tried to start date; do it in Python"),
        ("no_programs", "os.system('date')", "tried to start date"),
    ],
)
@pytest.mark.parametrize("caught", [False, True], ids=["raises", "goes on"])
def test_what_a_method_does_to_the_world_outside_is_refused_and_named(
    check: str, deed: str, expected: str, caught: bool, tmp_path: Path
) -> None:
    body = f"    try:\n        {deed}\n    except OSError:\n        pass\n{KEEP}" if caught else f"    {deed}\n{KEEP}"
    text = source("method", UNLEARN + body)
    assert examine(tmp_path, "method", text, "runs").status == ("pass" if caught else "fail")
    result = examine(tmp_path, "method", text, "runs", check)
    assert result.status == "fail"
    assert expected in result.line
    assert (tmp_path / "methods" / "odd.py").read_text() == text


@pytest.mark.parametrize(
    ("deed", "changed"),
    [
        ("torch.set_float32_matmul_precision('medium')", "torch.set_float32_matmul_precision (from highest to medium)"),
        ("torch.set_default_dtype(torch.float64)", "torch.set_default_dtype (from torch.float32 to torch.float64)"),
        ("os.environ['ODD'] = '1'", "os.environ['ODD'] (from unset to a value)"),
        ("torch.nn.functional.log_softmax = torch.relu", "torch.nn.functional.log_softmax (from its own to another"),
    ],
)
def test_a_method_that_leaves_its_process_changed_is_caught(deed: str, changed: str, tmp_path: Path) -> None:
    result = examine(tmp_path, "method", source("method", f"{UNLEARN}    {deed}\n{KEEP}"), "runs", "process_state")
    assert result.status == "fail"
    assert result.line.startswith(f"changed {changed}")
    assert "; set it inside a with-block" in result.line
    kept = f"{UNLEARN}    with torch.autocast('cpu'), torch.no_grad():\n    {KEEP}"
    assert examine(tmp_path, "method", source("method", kept), "runs", "process_state").status == "pass"


def test_a_method_may_write_to_its_temporary_folder(tmp_path: Path) -> None:
    where = watch()._allowed[0]
    text = source("method", UNLEARN + f"    Path({where!r}, 'draft').write_text('')\n{KEEP}")
    assert examine(tmp_path, "method", text, "runs", "no_writes").status == "pass"


def test_a_method_that_loops_needs_no_comparison(tmp_path: Path) -> None:
    text = source("method", "def unlearn(self, model, splits, context):\n    return model", base="Method")
    result = examine(tmp_path, "method", text, "together_is_alone")
    assert (result.status, result.note) == ("skipped", "the method unlearns one model after the other")


def test_a_method_that_skips_everything_is_not_run(tmp_path: Path) -> None:
    text = source("method", "def skip(self, scenario):\n    return 'never'")
    result = examine(tmp_path, "method", text, "runs")
    assert (result.status, result.note) == ("skipped", "the method skips every scenario that there is to check it on")


def test_a_method_for_convex_models_is_run_on_one(tmp_path: Path) -> None:
    text = source("method", "def skip(self, scenario):\n    return None if scenario.network.name == 'linear' else 'no'")
    for check in ("runs", "shapes", "model_untouched", "together_is_alone"):
        assert examine(tmp_path, "method", text, check).status == "pass"


@pytest.mark.slow
def test_a_method_for_another_scenario_is_run_there(tmp_path: Path) -> None:
    text = source("method", "def skip(self, scenario):\n    return None if scenario.kind == 'utility' else 'no'")
    result = examine(tmp_path, "method", text, "runs")
    assert (result.status, result.note) == ("pass", "kind utility")
    assert examine(tmp_path, "method", text, "together_is_alone").status == "pass"
    assert examine(tmp_path, "method", text, "worker_process").status == "pass"
