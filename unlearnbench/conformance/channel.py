"""How the examiner asks the subject: one question, one answer, and each answer repeats the question's nonce.

A nonce is drawn for each message and must come back once, so that an answer can't be made in advance, sent twice or
sent out of turn. The channel must be silent before a question, and each rule ends with one more question: a forged
answer is followed by the real one. Nonces are not secret from the plugin, which runs in the subject's process and can
find whatever is there. They need not be: an answer is an observation, and no message says "pass" (examiner.py).
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from unlearnbench.system import wire

LARGEST = 1 << 31  # bytes of tensors in an answer
ENDED = "ended the process"
FORGED = "wrote into check's own channel"

NamedTensors = Mapping[str, Tensor]
Message = dict[str, Any]
# Answers what the subject asks before it answers: an attack asks its view.
Respond = Callable[[Message, NamedTensors], tuple[Message, NamedTensors]]


class LostError(Exception):
    """The subject no longer answers, or sends something else than an answer; its process is of no further use."""


class AskSubject(Protocol):
    """Asks a subject: in another process, or in tests in this one."""

    def __call__(
        self, question: Message, tensors: NamedTensors | None = None, respond: Respond | None = None
    ) -> tuple[Message, NamedTensors]:
        """The answer to a question. Raises LostError."""


class Channel:
    """The examiner's end of the socket that the subject answers on."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self.restart(0.0)

    def restart(self, limit: float, more: float = 0.0) -> None:
        """A rule begins: from now on, all answers together may take `limit` seconds.

        Args:
            more: further seconds, which messages do not mention.
        """
        self._limit, self._until = limit, time.monotonic() + limit + more

    def ask(
        self, question: Message, tensors: NamedTensors | None = None, respond: Respond | None = None
    ) -> tuple[Message, NamedTensors]:
        """The answer to a question.

        Raises:
            LostError: none came in time, or something else came.
        """
        if not self.silent:
            raise LostError(FORGED)
        answer, found = self._turn(question, tensors)
        while "view" in answer and respond is not None:
            answer, found = self._turn(*respond(answer, found))
        return answer, found

    @property
    def silent(self) -> bool:
        """Whether nothing has arrived unasked."""
        readable, _, _ = select.select([self._stream], [], [], 0)
        if not readable:
            return True
        try:
            return not self._stream.recv(1, socket.MSG_PEEK)  # nothing: the other end is closed
        except ConnectionError:
            return True

    def close(self) -> None:
        self._stream.close()

    def _turn(self, message: Message, tensors: NamedTensors | None) -> tuple[Message, NamedTensors]:
        nonce = secrets.token_hex(16)
        try:
            self._stream.settimeout(max(self._until - time.monotonic(), 0.001))
            wire.send(self._stream, {**message, "nonce": nonce}, tensors)
            answer, found = wire.receive(self._stream, LARGEST)
        except TimeoutError:
            raise LostError(f"took longer than {self._limit:g} s") from None
        except (EOFError, ConnectionError):
            raise LostError(ENDED) from None
        except wire.WireError:
            raise LostError(FORGED) from None
        if answer.pop("nonce", None) != nonce:
            raise LostError(FORGED)
        return answer, found
