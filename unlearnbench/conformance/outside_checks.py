"""A plugin leaves the world outside alone: no connection, no file but in its temporary folder, no program; and its own
process as it was."""

from __future__ import annotations

from unlearnbench.conformance.case import Case, Check
from unlearnbench.conformance.verdict import Verdict, failed, passed
from unlearnbench.conformance.watch import What

WRITES = "write to tempfile's folder only (tempfile.TemporaryDirectory), and clean up; results are what is returned"


def no_network(case: Case) -> Verdict:
    """No connection was tried."""
    to = _tried(case, "network")
    if case.kind == "dataset":
        return failed(f"load tried to connect to {to}", "download in `prepare`; `load` reads files") if to else passed()
    return failed(f"tried to connect to {to}", "ship what is needed as data of a Dataset") if to else passed()


def no_writes(case: Case) -> Verdict:
    """No file was written, removed or renamed elsewhere."""
    to = _tried(case, "file")
    if to:
        return failed(f"tried to write or change {to}", WRITES)
    left = case.left
    return failed(f"left {', '.join(left[:3])} in the current folder", WRITES) if left else passed()


def no_programs(case: Case) -> Verdict:
    """No program was started."""
    to = _tried(case, "program")
    return (
        failed(f"tried to start {to}", "do it in Python: other machines may not have the program") if to else passed()
    )


def process_state(case: Case) -> Verdict:
    """Nothing that all plugins of a process share was left changed."""
    if not case.changes:
        return passed()
    what = " and ".join(dict.fromkeys(map(str, case.changes[:3])))
    return failed(f"changed {what}", "set it inside a with-block: other plugins compute in the same process")


def _tried(case: Case, what: What) -> str:
    """What was tried, the first three of it."""
    return ", ".join(list(dict.fromkeys(deed.to for deed in case.deeds if deed.what == what))[:3])


# Not of those that are skipped where the plugin does not run: what was refused is often the reason.
CHECKS = [
    Check("no_network", no_network, runs=False),
    Check("no_writes", no_writes, runs=False),
    Check("no_programs", no_programs, runs=False),
    Check("process_state", process_state, runs=False),
]
