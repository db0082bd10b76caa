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

LARGEST = 1 << 31  # bytes of tensors in a message of an attack's: its questions and its evidence
MARK = "UNLEARNBENCH_ATTACKS"  # in the environment of all processes of attacks
WHERE = ("UNLEARNBENCH_CACHE", "UNLEARNBENCH_DATA")  # variables that an attack need not know
ENDING = 10.0  # seconds that the process may take to end: it may still be importing


def attacked(attack: Attack, oracle: Oracle, plugin_dirs: Sequence[Path], closed: Sequence[Path]) -> Evidence:
    """What an attack claims that asks the oracle from a process of its own: bit for bit what it claims in this one.

    Args:
        plugin_dirs: where the attack may come from.
        closed: folders whose files it may not open, the store and the data.

    Raises:
        RemoteError: it raised something.
        MemoryError: there was too little memory for it.
        EvidenceError: what it returned is not evidence.
        PluginError: it ended its process, or talks nonsense.
    """
    request = {
        "attack": attack.name, "params": attack.params.model_dump(mode="json"), "access": asdict(oracle.access),
        "shape": oracle.shape, "classes": oracle.classes, "seed": oracle.seed, "threads": torch.get_num_threads(),
        "plugin_dirs": [str(folder.absolute()) for folder in plugin_dirs],
        "closed": [str(folder.absolute()) for folder in closed],
    }  # fmt: skip
    with _conversation() as (stream, how):
        try:
            wire.send(stream, request)
            return _answered(attack, oracle, stream)
        except (EOFError, ConnectionError):
            failure: Exception = PluginError(f"attack {attack.name} ended its process{how()}")
        except wire.WireError as error:
            failure = PluginError(f"attack {attack.name} wrote into the harness's channel: {error}")
        except Exception as error:  # also of an answer: what was asked may have any shape
            failure = error
    raise failure  # only now: what leaves the conversation early costs the process that attacks are forked from


def warm_up() -> None:
    """Start, now, the process that attacks are forked from: it takes seconds to import what they need."""
    _forge(os.getpid())


def _answered(attack: Attack, oracle: Oracle, stream: socket.socket) -> Evidence:
    while True:
        told, tensors = wire.receive(stream, LARGEST)
        if "ask" in told:
            try:
                answer = oracle.answer(str(told["ask"]), tensors)
            except AccessError as error:
                wire.send(stream, {"refused": str(error)})
            else:
                wire.send(stream, {}, answer)
        elif "evidence" in told and isinstance(told["evidence"], dict):
            return evidence.unpacked(told["evidence"], tensors)
        elif told.get("exhausted") is True:
            raise MemoryError(str(told.get("error")))
        elif "error" in told:
            raise RemoteError(str(told["error"]), str(told.get("trace")))
        else:
            raise PluginError(f"attack {attack.name} wrote into the harness's channel")


class _Forge:
    """The process that attacks are forked from. It belongs to the process that started it, and to no fork of that."""

    def __init__(self, owner: int) -> None:
        self._owner, self._mark = owner, f"{MARK}={secrets.token_hex(16)}"
        name, _, value = self._mark.partition("=")
        # Of its own: what is written beside the store can't be read there.
        self._scratch = tempfile.TemporaryDirectory(prefix="unlearnbench-attacks-", ignore_cleanup_errors=True)
        environment = {**os.environ, **THREADS, name: value, "TMPDIR": self._scratch.name}
        for told in WHERE:
            environment.pop(told, None)
        self.control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "unlearnbench.stages.attack_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=2, pass_fds=[theirs.fileno()],
                env=environment,
            )  # fmt: skip
        atexit.register(self.close)

    def close(self) -> None:
        """Without its socket it ends, and the attack with it; if an attack has ended it, what is left is found."""
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
    """End it; who asks next gets another."""
    forge.close()
    _forge.cache_clear()


@contextmanager
def _conversation() -> Iterator[tuple[socket.socket, Callable[[], str]]]:
    """One attack's process: there inside, gone afterwards, however that ends.

    Yields:
        the socket to talk with it, and what to call for how it ended by itself, in words.
    """
    forge, clean, ours = _forge(os.getpid()), False, None
    try:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(forge.control, [START], [theirs.fileno()])
            except OSError:  # it was killed while there was nothing to do
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
        if not clean:  # something came in between, and the other side may be anywhere
            _drop(forge)


def _end(forge: _Forge, ended: list[str]) -> str:
    """End an attack's process, once."""
    if not ended:
        try:
            forge.control.settimeout(ENDING)  # an attack may have stopped it
            forge.control.sendall(END)
            (status,) = STATUS.unpack(forge.control.recv(STATUS.size, socket.MSG_WAITALL))
        except (OSError, struct.error):
            _drop(forge)
            ended.append(", and the one that it was forked from")
        else:
            forge.control.settimeout(None)
            ended.append(f" (signal {-status})" if status < 0 else f" (exit code {status})")
    return ended[0]
