"""--device: what may run at the same time, and where."""

from __future__ import annotations

import pytest

from unlearnbench.system import devices
from unlearnbench.system.errors import InputError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    return monkeypatch


def test_without_gpus_everything_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert devices.slots("auto", 3) == ["cpu"] * 3
    assert devices.slots("cpu", 2) == ["cpu"] * 2
    with pytest.raises(InputError) as caught:
        devices.slots("cuda:0,cuda:1", 2)
    assert str(caught.value) == "--device: no device 'cuda:0': this machine has no CUDA devices"


@pytest.mark.usefixtures("gpus")
def test_each_gpu_has_one_task_at_a_time() -> None:
    assert devices.slots("auto", 16) == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices.slots("cuda:2, cuda:0", 16) == ["cuda:2", "cuda:0"]
    assert devices.slots("cpu", 2) == ["cpu", "cpu"]
    with pytest.raises(InputError, match="no device 'cuda:3': this machine has 3 CUDA devices"):
        devices.slots("cuda:0,cuda:3", 2)


@pytest.mark.parametrize(
    "option", ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:0,", "cpu,cuda:0", "auto,cpu", "cuda:²"]
)
def test_what_is_no_device_is_refused_without_torch(option: str) -> None:
    with pytest.raises(InputError, match="is not a device; use auto, cpu, or GPUs as cuda:0,cuda:1"):
        devices.parse(option)


def test_a_device_counts_once() -> None:
    with pytest.raises(InputError, match="'cuda:01' is listed twice"):
        devices.parse("cuda:1,cuda:01")


def test_the_hardware_is_described(gpus: pytest.MonkeyPatch) -> None:
    gpus.setattr("torch.cuda.get_device_name", lambda device: f"H100 as {device}")
    assert devices.describe("cuda:1") == "cuda: H100 as cuda:1"
    assert devices.describe("cpu").startswith("cpu: ")
