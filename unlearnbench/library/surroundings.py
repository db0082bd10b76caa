"""A run inside somebody else's process, a notebook's: what the harness sets for itself is put back afterwards."""

from __future__ import annotations

import os
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from unlearnbench.system import interruption, roots
from unlearnbench.system.errors import InputError, unreadable
from unlearnbench.system.process import THREADS

_ARGUMENTS = {
    "-e": "experiments", "-m": "methods", "-a": "attacks", "-d": "datasets", "-n": "networks", "--set": "overrides",
    "--plugins": "plugins", "--engine": "engine", "--jobs": "jobs", "--scheduler": "scheduler", "--device": "device",
    "--cells-per-device": "cells_per_device", "--force": "force", "--results": "results", "--cache": "cache",
    "--data": "data", "--retry-failed": "retry_failed",
}  # fmt: skip
_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


@contextmanager
def visiting() -> Iterator[None]:
    """Inside, the harness may set up this process for itself.

    In the main thread, signals that ask the program to end raise KeyboardInterrupt, unless others handle them already.

    Raises:
        InputError: where the block raises it; options in its message are named as arguments.
        KeyboardInterrupt: the run was interrupted. Any other signal than Ctrl-C also has its own effect.
    """
    roots.forget()
    interrupted: KeyboardInterrupt | None = None
    with interruption.listening() as ending, _process_kept():
        try:
            yield
        except InputError as error:
            raise InputError(*(_in_python(roots.as_named(text)) for text in (error.where, error.what))) from error
        except PermissionError as error:
            raise unreadable(error, error.filename or "a file") from error
        except KeyboardInterrupt as error:
            interrupted = error
    if interrupted is not None:
        if ending.came is not None and ending.number != signal.SIGINT:
            signal.raise_signal(ending.number)
        raise KeyboardInterrupt("the same call goes on where this one ended") from interrupted


@contextmanager
def _process_kept() -> Iterator[None]:
    """Threads, their variables, cuDNN's choices and filters of warnings are afterwards as before."""
    import torch

    variables = {name: os.environ.get(name) for name in THREADS}
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    chosen = cudnn.deterministic, cudnn.benchmark
    try:
        with warnings.catch_warnings():
            yield
    finally:
        torch.set_num_threads(threads)
        cudnn.deterministic, cudnn.benchmark = chosen
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _in_python(message: str) -> str:
    """A message about options of the command line, with the names of arguments."""
    return _OPTION.sub(lambda found: _ARGUMENTS.get(found[0], found[0]), message)
