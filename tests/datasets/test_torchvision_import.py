"""torchvision can be imported whether or not its compiled operators fit the installed torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


PLUGIN = '''
import torchvision
from unlearnbench.plugin import Model

class Seen(Model):
    """A network of torchvision's."""

    def build(self, shape, classes):
        return torchvision.models.shufflenet_v2_x0_5(num_classes=classes)
'''


@pytest.mark.parametrize("place", ["at the top", "in a function"])
def test_a_plugin_may_import_torchvision_as_anybody_does(place: str, tmp_path: Path) -> None:
    """Where torch and torchvision do not fit each other, a plain import fails: a plugin's does not."""
    text = (
        PLUGIN
        if place == "at the top"
        else PLUGIN.replace("import torchvision\n", "", 1).replace(
            "        return", "        import torchvision\n        return"
        )
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "seen.py").write_text(text)
    code = f"""
from pathlib import Path
from unlearnbench.registry.registry import load
print(load("model", "seen", [Path({str(tmp_path)!r})]).cls().build((3, 32, 32), 7).fc.out_features)
"""
    assert run(code).split() == ["7"]
