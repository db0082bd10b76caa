"""Fixtures of the benchmarks, which `make bench` runs: files called bench_*.py, that pytest does not collect itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from measuring import Worker

from unlearnbench.system.process import limit_threads


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="benchmarks: run the plain script whole, extrapolate nothing")


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the plain script is run whole where a part would do."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def plain() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


@pytest.fixture
def product() -> Iterator[Worker]:
    """Set up as unlearnbench sets up its workers."""
    with Worker(limit_threads) as worker:
        yield worker
