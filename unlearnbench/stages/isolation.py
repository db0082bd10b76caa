"""Runs attacks in processes that hold neither the truth nor any model: they ask, and this side answers and counts."""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch

from unlearnbench.adversary import evidence
from unlearnbench.adversary.oracle import Oracle
from unlearnbench.adversary.updates import Evidence
from unlearnbench.plugin import Attack
from unlearnbench.stages.attack_process import END, START, STATUS
from unlearnbench.stages.result_checks import PluginError, RemoteError
from unlearnbench.system import descendants, wire
from unlearnbench.system.errors import AccessError
from unlearnbench.system.process import THREADS

LARGEST = 1 << 31  # bytes of tensors in a message from an attack: a question or its evidence
MARK = "UNLEARNBENCH_ATTACKS"  # variable in the environment of all processes of attacks
WHERE = ("UNLEARNBENCH_CACHE", "UNLEARNBENCH_DATA")  # variables that are hidden from attacks
ENDING = 10.0  # seconds that the process may take to end, as it may still be importing


def attacked(attack: Attack, oracle: Oracle, plugin_dirs: Sequence[Path], closed: Sequence[Path]) -> Evidence:
    """What an attack claims when it asks the oracle from another process: bit for bit what it would claim in this one.

    Args:
        plugin_dirs: where the attack may come from.
        closed: folders with files that it may not open: the store and the data.

    Raises:
        RemoteError: it raised something.
        MemoryError: it ran out of memory.
        EvidenceError: what it returned is not evidence.
        PluginError: it ended its process, or broke the protocol of the channel.
    """
    request = {
        "attack": attack.name, "params": attack.params.model_dump(mode="json"), "access": asdict(oracle.access),
        "shape": oracle.shape, "classes": oracle.classes, "seed": oracle.seed, "threads": torch.get_num_threads(),
        "plugin_dirs": [str(folder.absolute()) for folder in plugin_dirs],
        "closed": [str(folder.absolute()) for folder in closed],
        "network": oracle.network if oracle.access.level == "parameters" else None,
    }  # fmt: skip
    with _conversation() as (stream, how):
        try:
            wire.send(stream, request)
            return _answered(attack, oracle, stream)
        except (EOFError, ConnectionError):
            failure: Exception = PluginError(f"attack {attack.name} ended its process{how()}")
        except wire.WireError as error:
            failure = PluginError(f"attack {attack.name} wrote into the harness's channel: {error}")
        except Exception as error:  # also from answering: what the attack asks may have any shape
            failure = error
    raise failure  # only now: leaving the conversation early would end the process that attacks are forked from


def warm_up() -> None:
    """Start the process that attacks are forked from; importing what they need takes seconds."""
    _forge(os.getpid())


def close() -> None:
    """End that process, if it was started; where more attacks follow, another one is started."""
    if _forge.cache_info().currsize:
        _drop(_forge(os.getpid()))


def _answered(attack: Attack, oracle: Oracle, stream: socket.socket) -> Evidence:
    while True:
        message, tensors = wire.receive(stream, LARGEST)
        if "ask" in message:
            try:
                answer = oracle.answer(str(message["ask"]), tensors)
            except AccessError as error:
                wire.send(stream, {"refused": str(error)})
            else:
                wire.send(stream, {}, answer)
        elif "evidence" in message and isinstance(message["evidence"], dict):
            return evidence.unpacked(message["evidence"], tensors)
        elif message.get("exhausted") is True:
            raise MemoryError(str(message.get("error")))
        elif "error" in message:
            raise RemoteError(str(message["error"]), str(message.get("trace")))
        else:
            raise PluginError(f"attack {attack.name} wrote into the harness's channel")


class _Forge:
    """The process that attacks are forked from. It belongs to the process that started it, not to forks of that one."""

    def __init__(self, owner: int) -> None:
        self._owner, self._mark = owner, f"{MARK}={secrets.token_hex(16)}"
        name, _, value = self._mark.partition("=")
        # Its own: the process can't read what is written next to the store.
        self._scratch = tempfile.TemporaryDirectory(prefix="unlearnbench-attacks-", ignore_cleanup_errors=True)
        environment = {**os.environ, **THREADS, name: value, "TMPDIR": self._scratch.name}
        for variable in WHERE:
            environment.pop(variable, None)
        self.control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "unlearnbench.stages.attack_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=2, pass_fds=[theirs.fileno()],
                env=environment,
            )  # fmt: skip
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and a running attack with it, by closing its socket; if an attack has ended it, find what is left."""
        atexit.unregister(self.close)
        self.control.close()
        if os.getpid() != self._owner:
            return
        try:
            self._process.wait(timeout=ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode:
            descendants.end_marked(self._mark)
        self._scratch.cleanup()


@lru_cache(maxsize=1)
def _forge(owner: int) -> _Forge:
    return _Forge(owner)


def _drop(forge: _Forge) -> None:
    """End it; the next conversation starts another one."""
    forge.close()
    _forge.cache_clear()


@contextmanager
def _conversation() -> Iterator[tuple[socket.socket, Callable[[], str]]]:
    """One attack's process: it exists inside the context, and is ended afterwards in any case.

    Yields:
        the socket to talk to it, and a function that says in words how it ended by itself.
    """
    forge, clean, ours = _forge(os.getpid()), False, None
    try:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(forge.control, [START], [theirs.fileno()])
            except OSError:  # it was killed while idle
                _drop(forge)
                forge = _forge(os.getpid())
                socket.send_fds(forge.control, [START], [theirs.fileno()])
        ended: list[str] = []
        yield ours, lambda: _end(forge, ended)
        _end(forge, ended)
        clean = True
    finally:
        if ours is not None:
            ours.close()
        if not clean:  # interrupted: the state of the other side is unknown
            _drop(forge)


def _end(forge: _Forge, ended: list[str]) -> str:
    """End an attack's process, once."""
    if not ended:
        try:
            forge.control.settimeout(ENDING)  # an attack may have stopped this process
            forge.control.sendall(END)
            (status,) = STATUS.unpack(forge.control.recv(STATUS.size, socket.MSG_WAITALL))
        except (OSError, struct.error):
            _drop(forge)
            ended.append(", and the one that it was forked from")
        else:
            forge.control.settimeout(None)
            ended.append(f" (signal {-status})" if status < 0 else f" (exit code {status})")
    return ended[0]
