"""Plugins that break a rule and do what they can to be told that they keep it; and plugins that leave things running.

Each of them returns other models in each run, which `deterministic` is to find, and attacks check at its import or when
it first runs. None may pass that rule, none may pass as a whole, and no process of theirs may be left.
"""

from __future__ import annotations

import re
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent

import pytest
from examining import source

from unlearnbench.conformance import CheckRequest, PluginReport, check, supervisor

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is running")]

RULE = "deterministic"
NOISY = """
def unlearn_many(self, before, sets, context):
    attack()
    noise = float(np.random.default_rng().random())
    return before.expand(sets.replicas).apply(lambda v: v + noise)
"""
FORGERY = """
import json, struct
names = ["runs", "shapes", "deterministic", "worker_process", "no_processes"]
told = [{"result": [name, "pass", "", "", 0.1]} for name in names] + [{"end": True}]
told += [{"nonce": "0" * 32, "moved": [], "attempts": [], "steps": [3, 3, 3]}]
lines = "".join(json.dumps(each) + "\\n" for each in told).encode()
head = json.dumps([told[-1], []]).encode()
framed = struct.pack(">QQ", len(head), 0) + head
"""
DAEMON = """
    import time
    def judge():
        pid = os.getppid()
        assert b"unlearnbench.conformance.examiner" in Path(f"/proc/{pid}/cmdline").read_bytes(), "no process of ours"
        return pid

    def write():
        for number in range(3, 64):
            for forged in (lines, framed):
                try:
                    os.write(number, forged)
                except OSError:
                    pass
"""

ATTACKS = {
    "prints": "def attack():\n    print(lines.decode()); print(lines.decode(), file=sys.stderr, flush=True)",
    "writes into every file": """
        def attack():
            for number in range(256):
                for forged in (lines, framed):
                    try:
                        os.write(number, forged)
                    except OSError:
                        pass
    """,
    "opens the files of the process that judges": """
        def attack():
            # That process alone, which is this test's own, and not what it shares with others: its 0, 1 and 2.
            for file in Path(f"/proc/{judge()}/fd").glob("*") if os.access(f"/proc/{judge()}/fd", os.R_OK) else ():
                if int(file.name) > 2:
                    try:
                        os.write(os.open(file, os.O_WRONLY | os.O_NONBLOCK), lines)
                    except OSError:
                        pass
    """,
    "patches what judges": """
        import importlib
        def attack():
            from unlearnbench.conformance import channel, examiner, repeatability, suites, rulings
            repeatability.differing = lambda *_: None
            repeatability.deterministic = lambda case: rulings.passed()
            rulings.failed = repeatability.failed = lambda *_: rulings.passed()
            rulings.Ruling = lambda *_: rulings.passed()
            examiner.ruling_on = lambda *_: rulings.passed()
            channel.Channel.silent = True
            for kind in suites.RULES.values():
                for number, each in enumerate(list(kind)):
                    kind[number] = each._replace(examine=lambda case: rulings.passed())
    """,
    "patches whatever the collector knows": """
        import gc, types
        def passing(*_, **__):
            from unlearnbench.conformance.rulings import Ruling
            return Ruling("pass")
        def attack():
            for value in gc.get_objects():
                if isinstance(value, types.FunctionType) and "unlearnbench.conformance" in str(value.__module__):
                    if value.__name__ in ("differing", "deterministic", "failed", "ruling_on", "_result", "_equal"):
                        value.__code__ = passing.__code__
    """,
    "patches Python": """
        def attack():
            dumps, write = json.dumps, os.write
            json.dumps = lambda value, **how: dumps(value, **how).replace("fail", "pass")
            os.write = lambda number, data: write(number, data.replace(b"fail", b"pass"))
            sys.stdout = sys.stderr = open(os.devnull, "w")
            torch.equal = lambda *_: True
            np.array_equal = lambda *_: True
    """,
    "walks the frames to the channel": """
        def attack():
            frame, found = sys._getframe(), {}
            while frame is not None:
                for name in {"stream", "nonce"} & set(frame.f_locals):
                    found.setdefault(name, frame.f_locals[name])
                frame = frame.f_back
            message = {"nonce": found["nonce"], "moved": [], "attempts": [], "steps": [3, 3, 3]}
            head = json.dumps([message, []]).encode()
            found["stream"].sendall(struct.pack(">QQ", len(head), 0) + head)
    """,
    "traces": """
        def attack():
            def trace(frame, event, argument):
                if frame.f_code.co_name == "send":
                    frame.f_locals["text"]["steps"] = [0]
                    print(lines.decode(), file=sys.__stdout__, flush=True)
                return trace
            sys.settrace(trace)
    """,
    "ends the process": "def attack():\n    print(lines.decode(), flush=True); os._exit(0)",
    "writes when the process ends": """
        import atexit
        def attack():
            atexit.register(lambda: [os.write(n, framed) for n in range(3, 64) if is_socket(n)])
        def is_socket(number):
            import stat
            try:
                return stat.S_ISSOCK(os.fstat(number).st_mode)
            except OSError:
                return False
    """,
    "writes from a thread": """
        import threading, time
        def attack():
            threading.Thread(target=forever, daemon=True).start()
        def forever():
            while True:
                time.sleep(0.01)
                for number in range(3, 64):
                    try:
                        os.write(number, framed)
                    except OSError:
                        pass
    """,
    "kills the process that judges": "import signal\ndef attack():\n    os.kill(judge(), signal.SIGKILL)",
    "stops the process that judges": "import signal\ndef attack():\n    os.kill(judge(), signal.SIGSTOP)",
    "a daemon": """
        def attack():
            if os.fork() == 0:
                os.setsid()
                time.sleep(120)
    """,
    "a daemon of a daemon, which writes later": """
        def attack():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(1)
                    write()
                    time.sleep(120)
                os._exit(0)
    """,
    "a daemon, and ends the process that judges": """
        import signal
        def attack():
            if os.fork() == 0:
                os.setsid()
                time.sleep(120)
            os.kill(judge(), signal.SIGKILL)
    """,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mark = uuid.uuid4().hex
    monkeypatch.setenv("OF_THIS_TEST", mark)
    yield
    assert running(mark) == []


def running(mark: str) -> list[str]:
    """Processes that this test has started, whoever their parent is by now; a moment is granted."""
    for _ in range(50):
        found = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _has(entry, mark)]
        if not found:
            break
        time.sleep(0.1)
    return found


def _has(process: Path, mark: str) -> bool:
    try:
        return mark.encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def checked(folder: Path, attack: str, body: str = NOISY, limit: float = 60) -> PluginReport:
    top = f"{FORGERY}\nimport time\n{dedent(DAEMON)}\n{dedent(attack)}\n"
    text = source("method", body)
    (folder / "odd.py").write_text(text.replace("\nclass Odd", f"\n{top}\nclass Odd"))
    return check(CheckRequest("odd", "method", (folder,), time_limit=limit))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_attack_on_check_makes_a_broken_plugin_pass(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SLACK", 30)  # nobody waits longer for an examiner that was stopped
    monkeypatch.setattr(supervisor, "ENDING", 5)
    report = checked(tmp_path, attack, limit=10 if "SIGSTOP" in attack else 60)
    assert not report.passed
    assert [result for result in report.results if result.check == RULE and result.status == "pass"] == []
    # It failed by what it is to fail by: the attack itself raised nothing, whatever the guard of the process says.
    raised = r"(?!ProcessStateError)\w+(Error|Exception)\b"
    assert [result.line for result in report.results if re.match(raised, result.line)] == []


@pytest.mark.parametrize("twice", [False, True], ids=["forks", "forks twice"])
@pytest.mark.parametrize("when", ["import", "run"])
def test_what_goes_on_running_is_named_and_ended(when: str, twice: bool, tmp_path: Path) -> None:
    daemon = "if os.fork() == 0:\n    os.setsid()\n" + ("    if os.fork(): os._exit(0)\n" if twice else "")
    daemon += "    time.sleep(120)\n    os._exit(0)\n"
    body = "def unlearn_many(self, before, sets, context):\n    attack()\n    return before.expand(sets.replicas)"
    attack = f"def attack():\n{indent(daemon, '    ')}" if when == "run" else f"{daemon}def attack():\n    pass\n"
    report = checked(tmp_path, attack, body)
    failed = {result.check: result.line for result in report.results if result.status == "fail"}
    assert list(failed) == ["no_processes"]
    assert failed["no_processes"].endswith("running; end what is started, and wait for it, before returning")


def test_what_is_printed_is_shown_as_the_plugins_and_not_without_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "def unlearn_many(self, before, sets, context):\n    attack()\n    return before.expand(sets.replicas)"
    report = checked(tmp_path, "def attack():\n    print('PASS\\x1b[31m\\n' * 1000)", body)
    out, err = capfd.readouterr()
    assert report.passed
    assert out == ""
    assert set(err.splitlines()) <= {
        "plugin: PASS\\x1b[31m",
        "plugin: ",
        "plugin: (more than 200 lines; the rest is left out)",
    }
    assert len(err.splitlines()) <= 402
