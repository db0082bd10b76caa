"""The engine for many machines: workers of dask.distributed, on a cluster or on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing.resource_tracker
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias, cast

from unlearnbench.running.executors import Cluster, WorkerDiedError
from unlearnbench.running.remote_jobs import RemoteJob, carry_out_here, identity
from unlearnbench.running.worker import JobOutcome, JobPlace, carry_out
from unlearnbench.system import interruption, streams
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import complain, error_line
from unlearnbench.system.process import be_quiet, limit_threads

try:
    import cryptography  # noqa: F401 (makes the certificate of a cluster on this machine)
    import dask
    import distributed
    from distributed import Client, KilledWorker, LocalCluster, Security, WorkerPlugin
except ImportError as error:
    raise InputError("--engine dask", "not installed; pip install 'unlearnbench[dask]'") from error

Remote: TypeAlias = "distributed.Future[Any]"

PATIENCE = 10.0  # seconds to wait for a scheduler
ENCRYPTED = ("tls://", "wss://")  # protocols with which Dask's processes ask each other for a certificate


class DaskExecutor(Cluster):
    """Runs jobs on Dask's workers, one at a time on each."""

    def __init__(self, client: Client, cluster: LocalCluster | None) -> None:
        self._client, self._cluster = client, cluster
        self._known = 1

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Raises BrokenExecutor if the scheduler is gone."""
        assert not kwargs
        if self._client.status != "running":
            raise BrokenExecutor("the Dask scheduler is gone")
        if function is carry_out:
            job, place = args
            function, args = _checked_outcome, (RemoteJob(job, _anywhere(place), identity(place.cache)),)
        future: Future[Any] = Future()

        def ended(remote: Remote) -> None:
            try:
                future.set_result(_result(remote))
            except Exception as error:
                future.set_exception(error)

        self._client.submit(function, *args, pure=False, retries=0).add_done_callback(ended)
        return future

    def workers(self) -> int:
        """The current number of workers; waits for the first one. Raises InputError if one has several threads."""
        reported = False
        while True:
            try:
                threads = self._client.nthreads()
            except OSError:  # the scheduler is gone; every submitted job will report it
                return self._known
            if threads:
                break
            if not reported and self._cluster is None:
                complain("the cluster has no workers; waiting for one")
                reported = True
            time.sleep(0.1)
        for address, count in threads.items():
            if count != 1:
                raise InputError("--scheduler", f"the worker {address} has {count} threads; start it with --nthreads 1")
        self._known = len(threads)
        return self._known

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 (always both)
        """End the workers of this machine's own cluster; those of another cluster finish their current jobs."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)
        if self._cluster is not None:
            for nanny in self._cluster.workers.values():  # all at once, and without asking them
                nanny.auto_restart = False
                with contextlib.suppress(Exception):
                    nanny.process.process._process.kill()
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=5)


def start(workers: int, scheduler: str | None) -> DaskExecutor:
    """Workers on this machine, which talk to no other, or the workers of a scheduler.

    Raises:
        InputError: the scheduler can't be reached.
    """
    _silence()
    if scheduler is not None and scheduler.startswith(ENCRYPTED):
        _check_certificate(f"--scheduler {scheduler}")
    # A retried job that ends its worker would end other workers, too; the runner decides whether to try it again.
    quietly: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.worker-ttl": None,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with dask.config.set(quietly), interruption.deaf():
        multiprocessing.resource_tracker.ensure_running()
        cluster = None
        if scheduler is None:
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None,
                silence_logs=logging.CRITICAL, protocol="tls://", security=_certificate(),
            )  # fmt: skip
            cast(Any, cluster.scheduler).http_server.stop()  # Dask opens one even without a dashboard
        try:
            client = Client(cluster or scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(f"--scheduler {scheduler}", f"can't be reached: {error_line(error)}") from error
    if cluster is not None:
        client.register_plugin(_Quiet())
    else:
        if scheduler is not None and not scheduler.startswith(ENCRYPTED):
            complain(
                f"warning: {scheduler} asks nobody for a certificate: whoever reaches it can run programs as its"
                " workers' user; for TLS see docs/cluster.md"
            )
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    return DaskExecutor(client, cluster)


def _certificate() -> Security:
    """A key and a certificate for this run only, required to connect and passed on in memory.

    OpenSSL reads keys only from files: each process writes it to disk for a moment, in a folder private to its user.
    """
    return cast(Security, Security.temporary())


def _check_certificate(where: str) -> None:
    """Raises InputError if Dask's settings name no usable certificate to present to a scheduler."""
    settings: Any = Security()
    if settings.tls_ca_file is None or settings.tls_client_cert is None:
        raise InputError(where, "asks for a certificate, and Dask's settings name none; docs/cluster.md says how")
    try:
        settings.get_connection_args("client")
    except OSError as error:  # a missing file, or not a certificate; ssl's errors are OSErrors
        raise InputError(where, f"the certificate in Dask's settings can't be used: {error_line(error)}") from error


class _Quiet(WorkerPlugin):
    """Prepares a worker process."""

    name = "unlearnbench"

    def setup(self, worker: Any) -> None:
        worker.http_server.stop()
        be_quiet()
        _silence()


def _silence() -> None:
    """Keep Dask from logging: the runner reports what matters."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):  # several have levels of their own
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _anywhere(place: JobPlace) -> JobPlace:
    """The same place for a process with another working folder."""
    folders = tuple(folder.resolve() for folder in place.plugin_dirs)
    return replace(place, data_root=place.data_root.resolve(), cache=place.cache.resolve(), plugin_dirs=folders)


def _result(remote: Remote) -> Any:
    """The result of a task; raises WorkerDiedError, BrokenExecutor, or the task's exception."""
    if remote.status in ("cancelled", "lost"):
        raise BrokenExecutor("the Dask scheduler is gone")
    if remote.status == "error":
        error = remote.exception()
        raise WorkerDiedError(str(error)) if isinstance(error, KilledWorker) else error
    try:
        return remote.result()
    except KilledWorker as error:  # computed again, because its worker died before the result was fetched
        raise WorkerDiedError(str(error)) from error
    except (OSError, CancelledError, asyncio.CancelledError) as error:
        raise BrokenExecutor(error_line(error)) from error


@cache
def _settle() -> None:
    streams.settle()
    limit_threads()


# A name that workers with older code, which did not check, do not have.
def _checked_outcome(sent: RemoteJob) -> JobOutcome:
    _settle()
    return carry_out_here(sent)
