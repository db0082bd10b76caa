"""Schedulers and workers started by hand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class ByHand:
    """A scheduler and a worker, started as docs/cluster.md says.

    Args:
        protocol: ``tcp``, or ``tls`` with Dask's settings for it in `environment`.
    """

    def __init__(self, folder: Path, protocol: str = "tcp", environment: Mapping[str, str] | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"{protocol}://127.0.0.1:{free.getsockname()[1]}"
        self.folder, self.environment = folder, {**os.environ, **(environment or {})}
        self.scheduler = self.run("scheduler", "--host", self.address, "--protocol", protocol, "--no-dashboard")
        self.worker = self.run("worker", self.address, "--nthreads", "1", "--no-dashboard")

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
        with (self.folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, env=self.environment
            )

    def stop(self) -> None:
        for process in (self.worker, self.scheduler):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
