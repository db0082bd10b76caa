"""The process that attacks run in. It never holds an image, a model or a truth that the attack is not shown.

It is started once, imports what attacks need, and forks for each attack, so that an attack starts in a clean process
and leaves nothing behind. It asks over a socket for what the attack may see (isolation.py is the other end).

What this protects: Python code that runs here can't reach the harness's memory. On Linux the kernel refuses to read
files in the store or the data root, to look into other processes (from 5.13), and to signal them (from 6.12).
Elsewhere only Python itself refuses to open those files. See docs/concepts/threat_model.md.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import socket
import struct
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearnbench.system import descendants, landlock

PRELOADED = (
    "sklearn.ensemble", "sklearn.linear_model", "sklearn.neural_network", "sklearn.pipeline", "sklearn.preprocessing",
    "unlearnbench.adversary.evidence", "unlearnbench.registry.registry", "unlearnbench.system.process_state.guard",
    "unlearnbench.system.wire", "unlearnbench.adversary.view", "unlearnbench.stages.seen_network",
)  # fmt: skip
START, END = b"s", b"e"
STATUS = struct.Struct(">i")
LARGEST = 1 << 40  # bytes of an answer: the harness is trusted


class ForbiddenError(Exception):
    """An attack opened what its view does not show."""


def main() -> int:
    """Fork for each START that comes over the control socket, one at a time; end with the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent ends this process
    descendants.can_adopt()
    _import()
    while True:
        command, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if command != START or not descriptors:
            return 0
        child = os.fork()
        if child == 0:
            control.close()
            _attack(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])
        command = control.recv(1)  # END, or nothing if the parent is gone
        status = _ended(child)
        if not command:
            return 0
        control.sendall(STATUS.pack(status))


def _import() -> None:
    from unlearnbench.system.process import limit_threads

    limit_threads()
    for name in PRELOADED:
        importlib.import_module(name)
    built_in = importlib.import_module("unlearnbench.attacks")
    for module in pkgutil.iter_modules(built_in.__path__, "unlearnbench.attacks."):
        importlib.import_module(module.name)  # with the libraries that most attacks need
    gc.freeze()  # otherwise each attack's first collection copies all memory pages of the imports


def _ended(child: int) -> int:
    """The exit status of a child (as Popen.returncode), after ending it and what it has started."""
    for kill in (os.kill, os.killpg):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:  # not yet a process group, or all gone
            continue
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    descendants.end_children()  # processes that left its group have been adopted here
    return status


# --- in the child ----------------------------------------------------------------------------------------------------


def _attack(stream: socket.socket) -> None:
    """One attack; never returns."""
    os.setsid()
    stream.set_inheritable(False)
    from unlearnbench.system import wire

    try:
        request, _ = wire.receive(stream, LARGEST)
        packed, tensors = _evidence(request, stream)
        wire.send(stream, {"evidence": packed}, tensors)
    except BaseException as error:  # also SystemExit
        wire.send(stream, _failure(error))
    finally:
        sys.stderr.flush()
        os._exit(0)


def _evidence(request: Mapping[str, Any], stream: socket.socket) -> tuple[dict[str, Any], dict[str, Any]]:
    import torch

    from unlearnbench.adversary import evidence
    from unlearnbench.adversary.view import AttackView
    from unlearnbench.registry.registry import load
    from unlearnbench.settings.access import Access
    from unlearnbench.stages.seen_network import make
    from unlearnbench.system import wire
    from unlearnbench.system.errors import AccessError
    from unlearnbench.system.process_state.guard import guarded

    torch.set_num_threads(request["threads"])
    plugin_dirs = [Path(folder) for folder in request["plugin_dirs"]]
    free = [tempfile.gettempdir(), *map(str, plugin_dirs), sys.prefix, sys.base_prefix, *filter(None, sys.path)]
    landlock.refuse_to_read(request["closed"], free)
    seen = _forbid(request["closed"], free)
    info = load("attack", request["attack"], plugin_dirs, identified=False)

    def ask(question: str, given: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        wire.send(stream, {"ask": question}, given)
        answer, tensors = wire.receive(stream, LARGEST)
        if "refused" in answer:
            raise AccessError(answer["refused"])
        return tensors

    attack: Any = info.cls(info.cls.Params.model_validate(request["params"]))
    channels, height, width = request["shape"]
    shape, classes, network = (channels, height, width), request["classes"], request["network"]
    build = None if network is None else lambda: make(network, shape, classes, plugin_dirs)
    view = AttackView(Access(**request["access"]), shape, classes, request["seed"], ask, build)
    # Changes to this process affect nobody else, but the rule is the same for all plugins.
    with guarded(f"attack {attack.name}", random=True):
        result = attack.run(view)
    found = evidence.checked(result, attack.name)
    if seen:
        raise ForbiddenError(f"attack {attack.name} opened {seen[0]}, which its view does not show")
    return evidence.packed(found)


def _forbid(closed: Sequence[str], open_: Sequence[str | Path]) -> list[str]:
    """Refuse to open files in closed folders, except in open folders inside them. Returns the list of attempts."""
    barred, free = ([os.path.realpath(folder) + os.sep for folder in folders] for folders in (closed, open_))

    def depth(path: str, folders: Sequence[str]) -> int:
        return max((len(folder) for folder in folders if path.startswith(folder)), default=0)

    seen: list[str] = []

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and isinstance(given[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(given[0])) + os.sep
            if depth(path, barred) > depth(path, free):
                seen.append(path.rstrip(os.sep))
                raise ForbiddenError(f"{seen[-1]}: an attack sees nothing but its view")

    sys.addaudithook(hook)
    return seen


def _failure(error: BaseException) -> dict[str, Any]:
    from unlearnbench.system.printing import error_line
    from unlearnbench.system.process import is_exhaustion

    trace = "".join(traceback.format_exception(error))
    return {"error": error_line(error), "trace": trace[-100_000:], "exhausted": is_exhaustion(error)}


if __name__ == "__main__":
    sys.exit(main())
