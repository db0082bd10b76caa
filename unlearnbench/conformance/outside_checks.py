"""Rules about what lies outside a plugin: it makes no connection, writes files in its temporary folder only, starts no
program, and leaves its process as it was."""

from __future__ import annotations

from unlearnbench.conformance.audit_hook import What
from unlearnbench.conformance.case import Case
from unlearnbench.conformance.rulings import Ruling, failed, passed

WRITES = "write to tempfile's folder only (tempfile.TemporaryDirectory), and clean up; results are what is returned"


def no_network(case: Case) -> Ruling:
    """No connection was tried."""
    to = _tried(case, "network")
    if case.kind == "dataset":
        return failed(f"load tried to connect to {to}", "download in `prepare`; `load` reads files") if to else passed()
    return failed(f"tried to connect to {to}", "ship what is needed as data of a Dataset") if to else passed()


def no_writes(case: Case) -> Ruling:
    """No file was written, removed or renamed elsewhere."""
    to = _tried(case, "file")
    if to:
        return failed(f"tried to write or change {to}", WRITES)
    left = case.left
    return failed(f"left {', '.join(left[:3])} in the current folder", WRITES) if left else passed()


def no_programs(case: Case) -> Ruling:
    """No program was started."""
    to = _tried(case, "program")
    return (
        failed(f"tried to start {to}", "do it in Python: other machines may not have the program") if to else passed()
    )


def process_state(case: Case) -> Ruling:
    """Nothing that the plugins in a process share was left changed."""
    if not case.changes:
        return passed()
    what = " and ".join(dict.fromkeys(map(str, case.changes[:3])))
    return failed(f"changed {what}", "set it inside a with-block: other plugins compute in the same process")


def _tried(case: Case, what: What) -> str:
    """The first three attempts of one kind."""
    return ", ".join(list(dict.fromkeys(attempt.to for attempt in case.attempts if attempt.what == what))[:3])
