"""Jobs for workers that may be on another machine.

Artifacts that jobs need, and those they make, are in the runner's store. A machine that does not see the store, or
whose code, packages, data or plugins differ from those of the plan, refuses the job.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from unlearnbench.registry.base import Kind
from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.running.worker import JobOutcome, JobPlace, NamedHashes, carry_out, workplace_of
from unlearnbench.suite.plan import Cell
from unlearnbench.suite.tasks import Job, NamedDataset, TimingWork
from unlearnbench.system import regular_files
from unlearnbench.system.devices import describe, slots
from unlearnbench.system.package_code import CODE
from unlearnbench.system.package_versions import COMPUTING, keyed
from unlearnbench.system.parquet_files import write_atomically
from unlearnbench.system.printing import error_line
from unlearnbench.system.version import __version__

VERSION = __version__
IDENTITY = ".identity"  # a file in a store


def program() -> dict[str, str]:
    """The running program: its version, the hash of its code, and the package versions that are part of keys."""
    return {"unlearnbench": VERSION, "code": CODE[:12], **keyed(COMPUTING)}


@dataclass(frozen=True)
class RemoteJob:
    """A job, and where it runs.

    Attributes:
        store: identity of the runner's store; a worker compares it with that of the store it sees.
        program: the sender, as returned by `program`.
    """

    job: Job
    place: JobPlace
    store: str
    program: Mapping[str, str] = field(default_factory=program)


def inputs(cells: Iterable[Cell]) -> tuple[NamedHashes, NamedHashes]:
    """The data and plugins that cells depend on; see JobPlace."""
    data, infos = dict[str, str](), dict[str, PluginInfo]()
    for cell in cells:
        data[cell.dataset_id] = cell.data_sha256
        for choice in (cell.setting.dataset, cell.setting.method, cell.setting.attack):
            if choice is not None:
                infos[f"{choice.info.kind} {choice.info.name}"] = choice.info
    return tuple(sorted(data.items())), tuple((name, _made_of(infos[name])) for name in sorted(infos))


def identity(cache: Path) -> str:
    """The identity of a store, created if it has none."""
    if not (known := _seen(cache)):
        known = secrets.token_hex(16)
        write_atomically(cache / IDENTITY, known.encode())
    return known


def _seen(cache: Path) -> str:
    try:
        return regular_files.read(cache / IDENTITY).decode()
    except (FileNotFoundError, ValueError):
        return ""


def carry_out_here(sent: RemoteJob) -> JobOutcome:
    """Run a job on this machine, or refuse it if this machine differs from what the plan was made for."""
    job, place = sent.job, sent.place
    ours, theirs = program(), sent.program
    if ours != theirs:
        return _refused(job, f"has {_otherwise(ours, theirs)}; the run has {_otherwise(theirs, ours)}")
    if place.device == "auto":
        place = replace(place, device=slots("auto", 1)[0])
    try:
        for task in job:
            _check(place, tuple((kind, plugin.name) for kind, plugin in task.work.plugins.items()))
            _check_data(place, json.dumps(asdict(task.work.dataset), sort_keys=True))
            if isinstance(task.work, TimingWork) and task.work.hardware != (here := describe(place.device)):
                raise _UnfitError(f"times are to be measured on {task.work.hardware}, and this is {here}")
    except Exception as error:  # a plugin may raise anything when asked for its files
        return _refused(job, str(error) if isinstance(error, _UnfitError) else error_line(error))
    if _seen(place.cache) != sent.store:
        advice = (
            "make --cache a folder that all machines share, or run parts of the suite on each and 'unlearnbench merge'"
        )
        where = f"worker on {socket.gethostname()}"
        return JobOutcome(refused=(where, f"does not see the store {place.cache}: {advice}"))
    return carry_out(job, place)


class _UnfitError(Exception):
    """This machine does not match the plan."""


@lru_cache(maxsize=256)
def _check(place: JobPlace, used: tuple[tuple[Kind, str], ...]) -> None:
    registry, expected = workplace_of(place).registry, dict(place.plugins)
    for kind, name in used:
        made_of = expected.get(f"{kind} {name}")
        found = registry.of(kind).get(name)
        if found is None:
            raise _UnfitError(f"has no {kind} '{name}'")
        if made_of is None or (here := _made_of(found)) == made_of:
            continue
        if here.split()[0] == made_of.split()[0]:
            what = f"needs {made_of.partition(' ')[2]} in the plan, and this machine has {here.partition(' ')[2]}"
            raise _UnfitError(f"{kind} '{name}' {what}")
        raise _UnfitError(f"{found.origin}: {kind} '{name}' or a file beside it differs from that of the plan")


def _made_of(info: PluginInfo) -> str:
    """A plugin's part of keys: the hash of its files, and package versions."""
    packages = ", ".join(f"{package} {version or 'missing'}" for package, version in keyed(info.packages).items())
    return f"{info.sha256} {packages}".rstrip()


def _otherwise(one: Mapping[str, str], than: Mapping[str, str]) -> str:
    """How one program differs from another."""
    names = [name for name in one if one[name] != than.get(name)]
    if "unlearnbench" in names:  # which implies other code
        names = [name for name in names if name != "code"]
    words = {"code": f"unlearnbench {VERSION} with code"}
    return ", ".join(f"{words.get(name, name)} {one[name] or 'missing'}" for name in names)


@lru_cache(maxsize=256)
def _check_data(place: JobPlace, chosen: str) -> None:
    from unlearnbench.registry.fingerprint import fingerprint
    from unlearnbench.system.process_state.guard import guarded

    dataset = NamedDataset(**json.loads(chosen))
    cls = workplace_of(place).registry.datasets[dataset.name].cls
    with guarded(f"dataset {dataset.name}", workplace_of(place).definitions, random=True):
        found = fingerprint(cast(Any, cls(cls.Params.model_validate(dataset.params))), place.data_root)
    if dict(place.data).get(dataset.id) != found:
        raise _UnfitError(f"the files of dataset {dataset.id} in {place.data_root} differ from those of the plan")


def _refused(job: Job, why: str) -> JobOutcome:
    text = f"worker on {socket.gethostname()}: {why}"
    return JobOutcome(errors={task.key: (f"{task.stage}: {text}", text) for task in job})
