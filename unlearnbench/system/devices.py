"""The devices that tasks run on, and how many tasks share each."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from unlearnbench.system.errors import InputError


def slots(option: str, workers: int, per_gpu: int = 1) -> list[str]:
    """The devices that tasks may run on at the same time, one entry per task.

    Args:
        option: `auto` (all GPUs, else the CPU), `cpu`, or GPUs as `cuda:0,cuda:1`.
        workers: tasks at a time on the CPU.
        per_gpu: tasks at a time on each GPU.

    Raises:
        InputError: for a device that is not there, or for several tasks on each where there are no GPUs.
    """
    wanted = parse(option)
    there = 0 if wanted == "cpu" else _gpus()
    if wanted == "cpu" or (wanted == "auto" and not there):
        if per_gpu > 1:
            raise InputError("--cells-per-device", "is for GPUs; on the CPU --jobs says how many cells run at a time")
        return ["cpu"] * workers
    if wanted == "auto":
        wanted = list(range(there))
    for index in wanted:
        if index >= there:
            raise InputError("--device", f"no device 'cuda:{index}': this machine has {there or 'no'} CUDA devices")
    return [f"cuda:{index}" for index in wanted] * per_gpu


def parse(option: str) -> Literal["auto", "cpu"] | list[int]:
    """The GPUs that --device lists, whether or not they exist, or its single word. Raises InputError."""
    names = [part.strip() for part in option.split(",")]
    if names == ["cpu"]:
        return "cpu"
    if names == ["auto"]:
        return "auto"
    wanted: list[int] = []
    for name in names:
        match = re.fullmatch(r"cuda:([0-9]{1,4})", name)
        if match is None:
            raise InputError("--device", f"'{name}' is not a device; use auto, cpu, or GPUs as cuda:0,cuda:1")
        if int(match[1]) in wanted:
            raise InputError("--device", f"'{name}' is listed twice")
        wanted.append(int(match[1]))
    return wanted


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@cache
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
