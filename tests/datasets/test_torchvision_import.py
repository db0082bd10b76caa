"""torchvision can be imported whether or not its compiled operators fit the installed torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unlearnbench.system import torchvision_import


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_in_a_fresh_process_gives_datasets_and_models() -> None:
    code = """
from unlearnbench.system.torchvision_import import import_torchvision
torchvision = import_torchvision()
assert import_torchvision() is torchvision
import torchvision as plain
assert plain is torchvision
assert torchvision.models.resnet18(num_classes=3).fc.out_features == 3
print(torchvision.datasets.MNIST.__name__)
"""
    assert run(code).split() == ["MNIST"]


def test_import_works_after_somebody_elses_failed_attempt_and_with_operators_already_declared() -> None:
    code = """
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
try:
    import torchvision
except RuntimeError:
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from unlearnbench.system.torchvision_import import import_torchvision
print(import_torchvision().datasets.CIFAR10.__name__)
"""
    assert run(code).split() == ["CIFAR10"]


def test_nothing_is_declared_where_the_operators_load(monkeypatch: pytest.MonkeyPatch) -> None:
    declared: list[str] = []
    imported = object()
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torchvision_import, "_operators_load", lambda folder: True)
    monkeypatch.setattr(torchvision_import, "_declare", lambda: declared.append("nms"))
    monkeypatch.setattr(torchvision_import.importlib, "import_module", lambda name: imported)
    assert torchvision_import.import_torchvision() is imported
    assert declared == []


def test_the_harness_and_the_dataset_modules_leave_heavy_libraries_alone() -> None:
    code = """
import sys
import unlearnbench.datasets.cifar10, unlearnbench.datasets.digits, unlearnbench.datasets.images
import unlearnbench.datasets.mnist, unlearnbench.datasets.stl10
from pathlib import Path
from unlearnbench.registry.fingerprint import fingerprint
fingerprint(unlearnbench.datasets.digits.Digits(), Path("."))
print([name for name in ("sklearn", "torchvision", "pyarrow") if name in sys.modules])
"""
    assert run(code).strip() == "[]"
