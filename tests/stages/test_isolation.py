"""An attack runs where neither the truth nor any model is, and nothing that it does there reaches the harness."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
import torch
from checkout import ROOT
from experiments import Experiment
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_runs import Place, rows, write_suite
from unlearnbench.methods.crfu import Crfu

from unlearnbench.adversary.evidence import EvidenceError, checked, packed, unpacked
from unlearnbench.adversary.oracle import Oracle
from unlearnbench.adversary.updates import Evidence, Measured
from unlearnbench.plugin import Attack
from unlearnbench.registry.registry import discover, load
from unlearnbench.settings.access import Access
from unlearnbench.stages import isolation
from unlearnbench.stages.result_checks import PluginError, RemoteError
from unlearnbench.system import landlock
from unlearnbench.system.time_limit import OverdueError, limited

HEADER = '''
"""An attack."""
import ctypes, gc, os, signal, socket, subprocess, sys, time
from pathlib import Path
import numpy as np
import torch
from unlearnbench.plugin import Access, Attack, Evidence, Measured

class Odd(Attack):
    """Does something."""
    @property
    def access(self):
        return Access()
    def run(self, view):
'''
OWN = ("odd", "thief")
GUESS = "return Evidence(membership=view.updates().candidates_after.sum(-1))"


@pytest.fixture(scope="module")
def crfu() -> Experiment:
    return Experiment(Crfu())


class Tried:
    """Runs an attack that is given as text."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self.folder, self.experiment = folder, experiment
        (folder / "attacks").mkdir()
        (folder / "store").mkdir()
        (folder / "store" / "weights").write_text("secret")

    def attack(self, body: str) -> Attack:
        (self.folder / "attacks" / "odd.py").write_text(HEADER.lstrip() + indent(dedent(body), "        "))
        info = load("attack", "odd", [self.folder])
        attack: Any = info.cls(info.cls.Params())
        return attack

    def oracle(self, **access: Any) -> Oracle:
        return oracle(self.experiment, Access(**access))

    def __call__(self, body: str) -> Evidence:
        return isolation.attacked(self.attack(body), self.oracle(), [self.folder], [self.folder / "store"])


def oracle(e: Experiment, access: Access) -> Oracle:
    return Oracle(access, e.world, 4, 9, e.before, e.after, e.targets, e.shadows, e.pairs)


@pytest.fixture
def tried(tmp_path: Path, crfu: Experiment) -> Tried:
    return Tried(tmp_path, crfu)


# --- the same numbers ---


@pytest.mark.parametrize(
    ("name", "params"),
    [("membership", {"shadows": 10}), ("representation", {"epochs": 2}), ("blind", {}),
     ("representation_sampled", {"epochs": 2})],
)  # fmt: skip
def test_an_attack_claims_the_same_in_a_process_of_its_own(crfu: Experiment, name: str, params: dict[str, Any]) -> None:
    info = discover().attacks[name]
    attack: Any = info.cls(info.cls.Params(**params))
    with torch.random.fork_rng(devices=[]):
        here = attack.run(oracle(crfu, attack.access).view())
    there = isolation.attacked(attack, oracle(crfu, attack.access), [], [])
    for field, value in here._asdict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(there, field), value), field
        elif field != "metrics":
            assert getattr(there, field) == value
    assert there.metrics == {name: Measured.of(value) for name, value in here.metrics.items()}


@pytest.mark.parametrize("method", [None, {"name": "sisa", "params": {"shards": 2}}])
def test_models_are_made_where_the_attack_is(tried: Tried, method: dict[str, Any] | None) -> None:
    asked = tried.experiment.oracle(level="parameters", budget=50)
    body = """
    models, images = view.models("after"), view.probe
    own = torch.stack([models.module(k)(images.scaled).log_softmax(1) for k in range(4)]).detach()
    return Evidence(membership=own[:, :4, 0] - view.ask("after", images.pixels)[:, :4, 0])
    """
    if method is None:
        found = isolation.attacked(tried.attack(body), asked, [tried.folder], [])
        assert found.membership is not None
        assert float(found.membership.abs().max()) < 1e-5
        return
    # An architecture of the method's own: the weights of the shared one do not fit it.
    assert asked.network is not None
    asked.network = {**asked.network, "method": method}
    with pytest.raises(RemoteError, match="KeyError"):
        isolation.attacked(tried.attack(body), asked, [tried.folder], [])


def test_questions_are_answered_and_counted(tried: Tried) -> None:
    asked = tried.oracle()
    body = "images = view.probe; view.before(images); view.after(images); view.after(images)\n" + GUESS
    isolation.attacked(tried.attack(body), asked, [tried.folder], [])
    count = len(tried.experiment.world.images("probe"))
    assert asked.asked == {"before": count, "after": 2 * count}


def test_what_was_not_declared_is_refused_there_too(tried: Tried) -> None:
    with pytest.raises(RemoteError, match="AccessError: shadow_updates needs `shadows`"):
        tried("view.shadow_updates()")
    with pytest.raises(RemoteError, match="AccessError: there is no question 'truth'"):
        tried("view._ask('truth', {})")


# --- nothing to steal ---


def test_no_truth_and_no_model_is_within_an_attacks_reach(tried: Tried) -> None:
    """The same code finds both where the attack runs in the harness's process."""
    body = """
    view.updates(), view.probe
    held = {type(thing).__name__ for thing in gc.get_objects()} & {"World", "Stack", "Erasures", "Oracle", "Seen"}
    masks = [t for t in gc.get_objects() if isinstance(t, torch.Tensor) and t.dtype == torch.bool and t.shape == (4, 4)]
    raise RuntimeError(f"found {sorted(held)} and {len(masks)} masks")
    """
    with pytest.raises(RemoteError, match=r"found \[\] and 0 masks"):
        tried(body)
    with pytest.raises(RuntimeError, match=r"found \['Erasures', 'Oracle', 'Stack', 'World'\] and [1-9]"):
        tried.attack(body).run(tried.oracle().view())


@pytest.mark.parametrize("reader", ["Path({!r}).read_text()", "os.open({!r}, 0)", "np.fromfile({!r})"])
def test_an_attack_that_opens_the_store_fails_also_if_it_hides_that(tried: Tried, reader: str) -> None:
    path = str(tried.folder / "store" / "weights")
    body = f"try:\n    {reader.format(path)}\nexcept Exception:\n    pass\n{GUESS}"
    with pytest.raises(RemoteError, match=r"ForbiddenError: attack odd opened .*store/weights, which its view"):
        tried(body)
    with pytest.raises(RemoteError, match="store: an attack sees nothing but its view"):
        tried(f"os.listdir({str(tried.folder / 'store')!r})")


def test_a_run_keeps_its_attacks_apart_and_its_store_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a whole run does with an attack: without the isolation this one finds the truth, and says so."""
    place = Place(tmp_path, capsys, monkeypatch)
    write_suite(tmp_path, attacks=", ".join(OWN))
    attacks = tmp_path / "own" / "attacks"
    attacks.mkdir(parents=True)
    honest = """
    held = {type(thing).__name__ for thing in gc.get_objects()} & {"World", "Stack", "Erasures", "Oracle", "Seen"}
    if held:
        raise RuntimeError(f"found {sorted(held)}")
    """
    (attacks / "odd.py").write_text(HEADER.lstrip() + indent(dedent(honest) + GUESS, "        "))
    thief = f"os.listdir({str(tmp_path / 'cache')!r})\n{GUESS}"
    (attacks / "thief.py").write_text(HEADER.lstrip() + indent(thief, "        "))
    ran = place.run("--plugins", "own")
    assert (ran.counts["done"], ran.counts["failed"]) == (6, 3), ran.err  # utility and odd; thief, of three methods
    errors = {attack: {row["error"] for row in rows(place.results) if row["attack"] == attack} for attack in OWN}
    assert errors["odd"] == {None}
    assert all("ForbiddenError" in str(error) for error in errors["thief"])


def test_an_attack_leaves_nothing_for_the_next(tried: Tried) -> None:
    with pytest.raises(RemoteError, match=r"changed torch.set_default_dtype \(from torch.float32 to torch.float64\)"):
        tried("torch.set_default_dtype(torch.float64); torch.mine = 1; os.environ['MINE'] = '1'\n" + GUESS)
    with pytest.raises(RemoteError, match=r"torch.float32 False None"):
        tried('raise RuntimeError(f\'{torch.get_default_dtype()} {hasattr(torch, "mine")} {os.environ.get("MINE")}\')')


# --- what an attack may do to its process ---


def test_an_attack_that_raises_is_told_with_its_line(tried: Tried) -> None:
    with pytest.raises(RemoteError, match="ValueError: odd") as caught:
        tried("raise ValueError('odd')")
    assert "attacks/odd.py" in caught.value.trace


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("os._exit(3)", r"ended its process \(exit code 3\)"),
        ("os.kill(os.getpid(), 11)", r"ended its process \(signal 11\)"),
        ("ctypes.string_at(0)", r"ended its process \(signal 11\)"),
    ],
)
def test_an_attack_that_ends_its_process_fails_alone(tried: Tried, body: str, expected: str) -> None:
    with pytest.raises(PluginError, match=expected):
        tried(body)
    assert tried(GUESS).membership is not None


def test_sys_exit_is_an_error_like_another(tried: Tried) -> None:
    with pytest.raises(RemoteError, match="SystemExit: 0"):
        tried("sys.exit(0)")


def test_a_question_that_has_no_answer_fails_alone(tried: Tried) -> None:
    tried(GUESS)
    forge = isolation._forge(os.getpid())
    for question in ("view._ask('before', {})", "view._ask('before', {'pixels': torch.zeros(2, 3)})"):
        with pytest.raises(Exception, match=r"pixels|shape"):
            tried(question)
    assert isolation._forge(os.getpid()) is forge
    assert tried(GUESS).membership is not None


def test_memory_that_ran_out_is_told_as_such(tried: Tried) -> None:
    with pytest.raises(MemoryError):
        tried("raise MemoryError")


@pytest.mark.parametrize("content", [b"\x00" * 16 + b"{}", b"\xff" * 40, b"\x00" * 7 + b"\x02" + b"\x00" * 8 + b"[]"])
def test_what_is_written_past_the_view_is_no_evidence(tried: Tried, content: bytes) -> None:
    body = f"""
    for number in range(3, 256):
        try:
            os.write(number, {content!r})
        except OSError:
            pass
    os._exit(0)
    """
    with pytest.raises(PluginError, match="wrote into the harness's channel"):
        tried(body)
    assert tried(GUESS).membership is not None


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("view.updates()", "returned Updates, not Evidence"),
        ("Evidence(membership=np.zeros(3))", "evidence.membership is ndarray, not a tensor"),
        ("Evidence(metrics={'epsilon_erased': 'much'})", "evidence.metrics"),
        ("Evidence(subject='all', membership=torch.zeros(3))", "evidence.subject is 'all'"),
    ],
)
def test_what_is_not_evidence_is_told(tried: Tried, claim: str, expected: str) -> None:
    with pytest.raises(RemoteError, match=f"EvidenceError: .*{expected}"):
        tried(f"return {claim}")


def test_time_that_ran_out_ends_the_process(tried: Tried) -> None:
    tried(GUESS)  # so that no import is timed
    mark = tried.folder / "alive"
    began = time.monotonic()
    body = f"while True:\n    Path({str(mark)!r}).touch(); time.sleep(0.01)"
    with pytest.raises(OverdueError), limited(4.0, expendable=False):
        tried(body)
    assert time.monotonic() - began < 20
    assert mark.exists()
    mark.unlink()
    time.sleep(0.2)
    assert not mark.exists()
    assert tried(GUESS).membership is not None


def test_what_an_attack_has_started_ends_with_it(tried: Tried) -> None:
    mark = tried.folder / "alive"
    loop = f"import pathlib, time\nwhile True:\n    pathlib.Path({str(mark)!r}).touch(); time.sleep(0.01)"
    body = f"subprocess.Popen([sys.executable, '-c', {loop!r}])\n"
    body += f"while not Path({str(mark)!r}).exists():\n    time.sleep(0.01)\n{GUESS}"
    assert tried(body).membership is not None
    mark.unlink()
    time.sleep(0.3)
    assert not mark.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux")
@pytest.mark.parametrize("then", [GUESS, "os._exit(0)", "raise ValueError('odd')"])
@pytest.mark.parametrize("forks", [1, 2])
def test_what_an_attack_has_detached_ends_with_it(tried: Tried, forks: int, then: str) -> None:
    mark = tried.folder / "alive"
    loop = f"import pathlib, time\nwhile True:\n    pathlib.Path({str(mark)!r}).touch(); time.sleep(0.01)"
    body = "if os.fork() == 0:\n    os.setsid()\n" + "    if os.fork(): os._exit(0)\n" * (forks - 1)
    body += f"    os.execv(sys.executable, [sys.executable, '-c', {loop!r}])\n"
    body += f"while not Path({str(mark)!r}).exists():\n    time.sleep(0.01)\n{then}"
    with contextlib.nullcontext() if then == GUESS else pytest.raises((PluginError, RemoteError)):
        tried(body)
    mark.unlink()
    time.sleep(0.3)
    assert not mark.exists()


@pytest.mark.parametrize("signalled", ["SIGKILL", "SIGSTOP"])
def test_whoever_ends_or_stops_what_attacks_are_forked_from_in_the_middle_of_one(
    tried: Tried, signalled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "ENDING", 2)
    mark = tried.folder / "alive"
    loop = f"import pathlib, time\nwhile True:\n    pathlib.Path({str(mark)!r}).touch(); time.sleep(0.01)"
    body = (
        f"subprocess.Popen([sys.executable, '-c', {loop!r}], start_new_session=True)\nview.updates()\ntime.sleep(3)\n"
    )

    def signal_it() -> None:
        while not mark.exists():
            time.sleep(0.01)
        os.kill(isolation._forge(os.getpid())._process.pid, signal.Signals[signalled])

    threading.Thread(target=signal_it, daemon=True).start()
    with contextlib.suppress(PluginError):  # what it claims may have come before
        tried(body + GUESS)
    assert tried(GUESS).membership is not None
    mark.unlink(missing_ok=True)
    time.sleep(0.3)
    assert not mark.exists()


@pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
@pytest.mark.parametrize(
    "read",
    [
        "from safetensors import safe_open; safe_open({!r}, 'pt')",
        "from pyarrow import fs; fs.LocalFileSystem().open_input_file({!r}).read()",
        "subprocess.run(['cat', {!r}], check=True)",
        "(lambda libc: libc.open({!r}.encode(), 0) >= 0 or 1 / 0)(ctypes.CDLL(None))",
        "subprocess.run([sys.executable, '-c', 'import sys; open(sys.argv[1])', {!r}], check=True)",
    ],
)
def test_the_kernel_refuses_the_store_whatever_code_asks(tried: Tried, read: str) -> None:
    store = tried.folder / "store"
    store.mkdir(exist_ok=True)
    (store / "truth").write_text("it")
    with pytest.raises(RemoteError):
        tried(f"{read.format(str(store / 'truth'))}\n{GUESS}")
    (tried.folder / "beside").write_text("free")
    assert tried(f"assert Path({str(tried.folder / 'beside')!r}).read_text() == 'free'\n{GUESS}") is not None


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel does not keep signals in")
@pytest.mark.parametrize("signalled", ["SIGKILL", "SIGSTOP", "SIGTERM"])
def test_an_attack_signals_no_process_but_its_own(tried: Tried, signalled: str) -> None:
    for whose in ("os.getppid()", str(os.getpid())):
        with pytest.raises(RemoteError, match="PermissionError"):
            tried(f"os.kill({whose}, signal.{signalled})\n{GUESS}")
    assert tried(f"os.kill(os.getpid(), 0)\n{GUESS}") is not None


def test_an_attack_may_write_and_read_back_temporary_files(tried: Tried) -> None:
    body = "import tempfile\nwith tempfile.NamedTemporaryFile('w+') as file:\n    file.write('a'); file.flush()\n"
    assert tried(f"{body}    assert Path(file.name).read_text() == 'a'\n{GUESS}") is not None


def test_the_process_that_attacks_are_forked_from_may_be_killed(tried: Tried) -> None:
    tried(GUESS)
    isolation._forge(os.getpid())._process.kill()
    isolation._forge(os.getpid())._process.wait()
    assert tried(GUESS).membership is not None


@pytest.mark.faults
def test_no_process_outlives_the_harness(tmp_path: Path) -> None:
    """The harness is killed in the middle of an attack that never ends."""
    script = f"""
import sys; sys.path[:0] = {[str(Path(__file__).parent), str(ROOT / "tests")]!r}
from pathlib import Path
from test_isolation import GUESS, Tried
from experiments import Experiment
from unlearnbench.methods.crfu import Crfu
Tried(Path({str(tmp_path)!r}), Experiment(Crfu()))(
    "Path({str(tmp_path / "pids")!r}).write_text(f'{{os.getpid()}} {{os.getppid()}}'); time.sleep(1000)")
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            assert (Path("/proc") / str(pid) / "stat").read_text().split()[2] == "Z"


# --- evidence on its way ---


def test_evidence_arrives_as_it_was() -> None:
    given = Evidence(
        images=torch.rand(2, 1, 1, 4, 4), membership=torch.tensor([0.5, float("nan")]), threshold=float("inf"),
        subject="challenge", metrics={"epsilon_erased": Measured(0.1, 3, 0.0, 0.2), "klom": 1},
    )  # fmt: skip
    text, tensors = packed(checked(given, "odd"))
    came = unpacked(json.loads(json.dumps(text)), tensors)
    assert torch.equal(came.images, given.images)
    assert torch.equal(came.membership.isnan(), given.membership.isnan())
    assert (came.threshold, came.subject) == (float("inf"), "challenge")
    assert came.metrics == {"epsilon_erased": Measured(0.1, 3, 0.0, 0.2), "klom": Measured(1.0)}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional={"threshold": ANY, "metrics": ANY, "subject": ANY}))
@example({"threshold": 10**400, "metrics": {}, "subject": "erased"})
def test_whatever_comes_is_evidence_or_refused(text: dict[str, Any]) -> None:
    with contextlib.suppress(EvidenceError):
        assert isinstance(unpacked(text, {}), Evidence)
