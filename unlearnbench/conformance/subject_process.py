"""The process that holds the plugin: it answers the examiner's questions.

It is either a new interpreter, which gets the number of a socket, or a fork of the examiner.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.conformance.channel import Message, NamedTensors
from unlearnbench.system import descendants, process, wire
from unlearnbench.system.printing import error_line

if TYPE_CHECKING:
    from unlearnbench.conformance.subject import Subject

# Variables that say where libraries write. torch passes its own on to processes that it starts.
FOLDERS = ("TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR", "JOBLIB_TEMP_FOLDER", "TORCHINDUCTOR_CACHE_DIR")
LARGEST = 1 << 40  # bytes of a question: the examiner is trusted


def main() -> int:
    """Answer until asked to end, or until the other end is closed."""
    _serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]))
    return 0


def serve_fork(stream: socket.socket, output: int, folder: Path, parent: int) -> None:
    """The same in a fork of the examiner: none of its open files stays open here, and none of its exit handlers
    runs."""
    os.setsid()
    for signalled in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signalled, signal.SIG_DFL)
    atexit._clear()
    descendants.open_to_others()
    for number in (1, 2):
        os.dup2(output, number)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number not in (nothing, stream.fileno()):
            with suppress(OSError):  # the descriptor of the listing itself
                os.fstat(number)
                os.dup2(nothing, number, inheritable=False)  # not closed: its owner may close it again
    try:
        _serve(stream, folder, parent)
    finally:
        atexit._run_exitfuncs()


def _serve(stream: socket.socket, folder: Path, parent: int) -> None:
    stream.set_inheritable(False)
    scratch = folder / "scratch"
    # Plugins may write where tempfile writes; bytecode of their imports is not their doing.
    os.environ.update(dict.fromkeys(FOLDERS, str(scratch)), PYTHONDONTWRITEBYTECODE="1")
    tempfile.tempdir, sys.dont_write_bytecode = None, True
    os.chdir(folder / "empty")
    process.settle(parent)  # quiet, one thread, ends with its parent
    # Import now what might otherwise write while plugins are watched.
    import unlearnbench.stages.jobs  # noqa: F401
    from unlearnbench.conformance import answers  # noqa: F401
    from unlearnbench.conformance.audit_hook import AuditHook
    from unlearnbench.conformance.subject import Subject

    subject = Subject(AuditHook(scratch))
    going_on = True
    while going_on:
        try:
            question, tensors = wire.receive(stream, LARGEST)
        except EOFError:
            return
        going_on = _answer(subject, question, tensors, stream)


def _answer(subject: Subject, question: Message, tensors: NamedTensors, stream: socket.socket) -> bool:
    """Answer one question; False if it was the last."""
    nonce = question.pop("nonce")

    def respond(message: Message, given: NamedTensors) -> tuple[Message, NamedTensors]:
        nonlocal nonce
        wire.send(stream, {**message, "nonce": nonce}, given)
        answer, found = wire.receive(stream, LARGEST)
        nonce = answer.pop("nonce")
        return answer, found

    if question["ask"] in ("pause", "end"):
        wire.send(stream, {"nonce": nonce})
        return bool(question["ask"] == "pause")
    answer, found = subject.answer(question, tensors, respond)
    try:
        wire.send(stream, {**answer, "nonce": nonce}, found)
    except OSError:
        raise
    except Exception as error:  # a value that neither JSON nor safetensors can hold
        line = f"a value that can't be sent: {error_line(error)}"
        raised = {"types": ["TypeError"], "line": line, "at": "", "refused": None, "bad_input": None}
        seen = {name: answer[name] for name in ("moved", "attempts", "changes")}
        wire.send(stream, {"raised": raised, **seen, "nonce": nonce})
    return True


if __name__ == "__main__":
    sys.exit(main())
