"""How every process of the harness sets itself up: threads, memory, streams, and ending with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time

from unlearnbench.system import interruption, streams

# Small kernels with two threads on a busy two-core machine ran 60 times slower than with one.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def settle(parent: int) -> None:
    """Make this process a worker of `parent`."""
    be_quiet()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    limit_threads()


def be_quiet() -> None:
    """Leave stdout, and signals that ask to end, to the parent."""
    interruption.leave_to_parent()
    streams.settle()
    sys.stdout.flush()
    os.dup2(2, 1)


def _end_with(parent: int) -> None:
    """End with the parent: one that was killed can't end its workers, which would wait for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def limit_threads() -> None:
    """One thread for this process's kernels, memory kept for the next step, and the same kernel for the same work."""
    os.environ.update(THREADS)
    _keep_memory()
    import torch

    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True  # the same cell gives the same numbers
    torch.backends.cudnn.benchmark = False


def _keep_memory() -> None:
    """Make glibc keep freed memory: each step of many replicas frees and allocates the same megabytes.

    By default every block returns to the kernel and is mapped again page by page: 512 replicas took 2.5 times as long.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library: slower, nothing else
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def is_exhaustion(error: BaseException) -> bool:
    """Whether memory ran out: CUDA has an exception of its own for this, torch's CPU allocator only a message."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )
