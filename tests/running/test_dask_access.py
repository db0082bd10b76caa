"""--engine dask: who can give work to the workers of a run, and with what."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from dask_cluster import ByHand
from distributed import Client, Security
from distributed.comm import connect
from sessions import wait_for
from tiny_runs import finish, start, write_method, write_suite

from unlearnbench.running import engines as engine
from unlearnbench.running.dask_executor import DaskExecutor

PAGE = ROOT / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def own() -> Iterator[DaskExecutor]:
    """Workers on this machine."""
    executor = engine.start("dask", 1)
    assert isinstance(executor, DaskExecutor)
    executor.workers()
    yield executor
    engine.stop(executor)


def listening(session: int) -> list[int]:
    """The ports at which the processes of a session listen."""
    inodes = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) != session:
                continue
            for link in (entry / "fd").iterdir():
                if found := re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink())):
                    inodes.add(found.group(1))
        except OSError:  # ended meanwhile
            continue
    ports = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return ports


def answer(port: int, request: bytes) -> bytes:
    """What comes back when `request` is sent to a port without TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
        plain.settimeout(2)
        try:
            plain.sendall(request)
            return plain.recv(100)
        except OSError:
            return b""


def test_nobody_without_the_runs_certificate_can_connect(own: DaskExecutor) -> None:
    assert own.submit(divmod, 7, 2).result(timeout=60) == (3, 1)
    cluster = own._cluster
    assert cluster is not None
    with pytest.raises(OSError):
        Client(cluster.scheduler_address.replace("tls:", "tcp:"), timeout=3, set_as_default=False)
    nannies = [nanny.address for nanny in cluster.workers.values()]
    for address in (cluster.scheduler_address, *nannies, *own._client.nthreads()):
        assert address.startswith("tls://127.0.0.1:")
        asyncio.run(_reach(address, cluster.security))
        for asked, security in ((address.replace("tls:", "tcp:"), Security()), (address, Security.temporary())):
            with pytest.raises(OSError):
                asyncio.run(_reach(asked, security))


async def _reach(address: str, security: Security) -> None:
    comm = await connect(address, timeout=3, **security.get_connection_args("client"))
    await comm.close()


@pytest.mark.faults
def test_no_port_of_a_run_answers_a_stranger_and_its_key_is_nowhere_to_be_read(tmp_path: Path) -> None:
    waits = "Path('started').touch()\nwhile not Path('go').exists(): time.sleep(0.05)\nreturn before"
    write_method(tmp_path / "own", "waits", unlearn=waits)
    write_suite(tmp_path, methods="waits", attacks="")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(temporary)
    try:
        process = start(tmp_path, "--plugins", "own", "--jobs", "1", engine="dask")
    finally:
        os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
    wait_for(lambda: (tmp_path / "started").exists())
    ports = listening(process.pid)
    assert len(ports) == 3  # scheduler, nanny and worker: no pages
    for port in ports:
        for request in (b"GET /info/main/workers.html HTTP/1.0\r\n\r\n", b"\0" * 8):
            assert b"HTTP" not in answer(port, request)
    for path in [*temporary.rglob("*"), *tmp_path.glob("*"), *Path("/proc").glob("[0-9]*/cmdline")]:
        try:
            assert b"PRIVATE KEY" not in path.read_bytes(), path
        except OSError:
            continue
    (tmp_path / "go").touch()
    assert finish(process).counts["planned"] == 3


def test_a_key_lies_in_a_folder_of_ones_own_for_the_moment_that_openssl_needs_it(
    own: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self, certfile, keyfile=None, password=None):
        folder = Path(keyfile).parent
        assert folder.stat().st_mode & 0o077 == 0
        assert folder.stat().st_uid == os.getuid()
        seen.append(Path(keyfile))
        load(self, certfile, keyfile, password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    security = own._cluster.security
    for role in ("client", "scheduler", "worker"):
        security.get_connection_args(role)
    assert len(seen) == 3
    assert not any(path.exists() for path in seen)


def settings(folder: Path) -> dict[str, str]:
    """The settings that the page gives all programs of a cluster, with its files in `folder`."""
    (block,) = re.findall(r"\n((?:    export .*\n)+)", PAGE.read_text())
    lines = [line.strip().removeprefix("export ") for line in block.splitlines()]
    return {name: value.replace("/secret", str(folder)) for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.faults
def test_a_cluster_with_tls_as_the_page_says_is_used_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = re.findall(r"\n    (openssl req (?:.*\\\n)*.*)\n", PAGE.read_text())
    subprocess.run(command.replace("/secret", str(tmp_path)), shell=True, check=True, capture_output=True)
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    write_suite(tmp_path, methods="original", attacks="")
    environment = settings(tmp_path)
    cluster = ByHand(tmp_path, "tls", environment)
    try:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        ran = finish(start(tmp_path, "--scheduler", cluster.address, engine="dask"))
        assert (ran.code, ran.counts["done"]) == (0, 2), ran.err
        assert "warning" not in ran.err
        client = "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT"
        for value, what in (
            ("/nowhere", "can't be used: FileNotFoundError"),
            (str(PAGE), "can't be used: SSLError"),
            (None, "Dask's settings name none"),
        ):
            monkeypatch.delenv(client) if value is None else monkeypatch.setenv(client, value)
            ran = finish(start(tmp_path, "--scheduler", cluster.address, "--force", engine="dask"))
            assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran.err
            assert ran.err.startswith(f"error: --scheduler {cluster.address}: ")
            assert what in ran.err
    finally:
        cluster.stop()


@pytest.mark.faults
def test_a_scheduler_that_asks_nobody_for_a_certificate_is_warned_of(tmp_path: Path) -> None:
    write_suite(tmp_path, methods="original", attacks="")
    cluster = ByHand(tmp_path)
    try:
        ran = finish(start(tmp_path, "--scheduler", cluster.address, engine="dask"))
    finally:
        cluster.stop()
    assert ran.code == 0, ran.err
    (line,) = [line for line in ran.err.splitlines() if "warning" in line]
    assert line.startswith(f"warning: {cluster.address} asks nobody for a certificate")
