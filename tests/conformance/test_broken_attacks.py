"""For every rule of attacks one that breaks it: it is caught, and told what to change."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import examine, source

ACCESS = "@property\ndef access(self):\n    "
RUN = "def run(self, view):\n    updates = view.updates()\n"
SCORES = "    return Evidence(membership=updates.candidates_before.sum(-1){})"

BROKEN = {
    "no docstring": ("documented", source("attack", doc=""), "class Odd has no docstring"),
    "no description": (
        "parameters_described",
        source("attack", "class Params(PluginParams):\n    k: int = 1"),
        "no description of k",
    ),
    "no access": ("access", source("attack", ACCESS + "return 'all'"), "access is str; return Access(level=..., ...)"),
    "another access each time": (
        "access",
        source("attack", "asked = []\n" + ACCESS + "self.asked.append(1); return Access(shadows=10 * len(self.asked))"),
        "access differs when it is asked for again; let it depend on self.params only",
    ),
    "undeclared": (
        "runs",
        source("attack", "def run(self, view):\n    return view.shadow_updates()"),
        "AccessError: shadow_updates needs `shadows` in the attack's access",
    ),
    "raises": ("runs", source("attack", RUN + "    raise ValueError('odd')"), "ValueError: odd, line "),
    "no evidence": (
        "evidence",
        source("attack", RUN + "    return updates.candidates_after"),
        "run returned Tensor; return unlearnbench.plugin.Evidence(...)",
    ),
    "empty evidence": (
        "evidence",
        source("attack", RUN + "    return Evidence()"),
        "the attack returned no evidence; images f32[T",
    ),
    "wrong shape": (
        "evidence",
        source("attack", RUN + "    return Evidence(membership=torch.zeros(7))"),
        "evidence.membership has shape (7,), expected (3, 4); images f32[T",
    ),
    "not a number": (
        "evidence",
        source("attack", RUN + SCORES.format(" * float('nan')")),
        "evidence.membership holds values that are not finite",
    ),
    "unknown metric": (
        "evidence",
        source("attack", RUN + "    return Evidence(metrics={'magic': 1.0})"),
        "is not a finite value of a metric that an attack measures itself",
    ),
    "divides by the change": (
        "nothing_changed",
        source(
            "attack",
            RUN + "    change = updates.candidates_after - updates.candidates_before\n"
            "    return Evidence(membership=(change / change.abs().max()).sum(-1))",
        ),
        "where unlearning changed nothing, evidence.membership holds values that are not finite; outputs before and",
    ),
    "draws from everywhere": (
        "deterministic",
        source("attack", RUN + SCORES.format(" + float(np.random.default_rng().random())")),
        "two runs with the same seed differ in membership; draw random numbers only from view.generator",
    ),
    "torch's stream": (
        "ignores_global_random_state",
        source("attack", RUN + SCORES.format(" + torch.rand(())")),
        "membership depends on the global random state",
    ),
    "seeds numpy": (
        "leaves_global_random_state",
        source("attack", RUN + "    np.random.seed(0)\n" + SCORES.format("")),
        "the global random state of numpy.random was moved",
    ),
    "infinite threshold": (
        "finite",
        source("attack", RUN + SCORES.format(", threshold=float('inf')")),
        "threshold holds 1 values that are not finite",
    ),
}


@pytest.mark.parametrize(("check", "text", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_attack_is_caught_and_told_what_to_change(
    check: str, text: str, expected: str, tmp_path: Path
) -> None:
    result = examine(tmp_path, "attack", text, check)
    assert result.status == "fail", result
    assert expected in result.line
    assert result.advice


@pytest.mark.slow
def test_an_attack_that_knows_its_process_is_caught(tmp_path: Path) -> None:
    text = source("attack", RUN + "    return Evidence(metrics={'epsilon_erased': float(os.getpid())})")
    result = examine(tmp_path, "attack", text, "worker_process")
    assert "metrics.epsilon_erased is different in a worker process; everything that a plugin needs" in result.line


def test_an_attack_may_seed_torch_with_what_the_view_gives(tmp_path: Path) -> None:
    body = RUN + "    torch.manual_seed(view.torch_seed('noise'))\n" + SCORES.format(" + torch.rand(())")
    for check in ("deterministic", "ignores_global_random_state", "leaves_global_random_state"):
        assert examine(tmp_path, "attack", source("attack", body), check).status == "pass"


def test_an_attack_gets_no_connection(tmp_path: Path) -> None:
    text = source("attack", RUN + "    socket.create_connection(('192.0.2.1', 80))")
    result = examine(tmp_path, "attack", text, "runs", "no_network")
    assert result.line == "tried to connect to 192.0.2.1:80; ship what is needed as data of a Dataset"


def test_an_attack_is_run_where_it_does_not_skip(tmp_path: Path) -> None:
    body = "def skip(self, scenario):\n    return 'one' if scenario.erased_count != 1 else None"
    assert examine(tmp_path, "attack", source("attack", body), "runs").note == "kind leak, erased_count 1"
    result = examine(
        tmp_path, "attack", source("attack", body.replace("if scenario.erased_count != 1 else None", "")), "runs"
    )
    assert (result.status, result.note[:30]) == ("skipped", "the attack skips every scenari")


def test_an_attack_that_leaves_its_process_changed_is_caught(tmp_path: Path) -> None:
    result = examine(
        tmp_path,
        "attack",
        source("attack", RUN + "    torch.set_grad_enabled(False)\n" + SCORES.format("")),
        "runs",
        "process_state",
    )
    assert result.line.startswith("changed torch.set_grad_enabled (from True to False); set it inside a with-block")
