"""Which device a task runs on: leased to one task at a time."""

from __future__ import annotations

import re

from unlearnbench.errors import InputError


def slots(option: str, workers: int) -> list[str]:
    """The devices that tasks may run on at the same time, one entry per task.

    Args:
        option: `auto` (all GPUs, else the CPU), `cpu`, or GPUs as `cuda:0,cuda:1`.
        workers: tasks at a time on the CPU.

    Raises:
        InputError: for a device that is not there.
    """
    names = [part.strip() for part in option.split(",")]
    if names == ["cpu"]:
        return ["cpu"] * workers
    there = _gpus()
    if names == ["auto"]:
        return [f"cuda:{index}" for index in range(there)] or ["cpu"] * workers
    for name in names:
        match = re.fullmatch(r"cuda:(\d+)", name)
        if match is None:
            raise InputError("--device", f"'{name}' is not a device; use auto, cpu, or GPUs as cuda:0,cuda:1")
        if int(match[1]) >= there:
            raise InputError("--device", f"no device '{name}': this machine has {there} CUDA devices")
    if len(set(names)) < len(names):
        raise InputError("--device", "a device is listed twice")
    return names


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def describe(device: str) -> str:
    """The hardware behind a device, for the records, e.g. `cpu: AMD EPYC`."""
    if device.startswith("cuda"):
        import torch

        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {_cpu_model()}"


def _cpu_model() -> str:
    import platform
    from pathlib import Path

    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()
