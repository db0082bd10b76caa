"""What `make lowest` and `make highest` install; that they pass is for these targets to show."""

from __future__ import annotations

from pathlib import Path

import pytest
import version_bounds


def test_every_package_has_a_lowest_version_and_no_highest_is_pinned() -> None:
    lowest = version_bounds.lowest()
    assert {"torch", "pyarrow", "typer", "distributed", "cryptography"} <= lowest.keys()
    assert version_bounds.constraints("highest") == []
    assert version_bounds.constraints("lowest") == [f"{name}=={version}" for name, version in lowest.items()]


def test_packages_that_are_kept_have_the_tested_version() -> None:
    assert [line.partition("==")[0] for line in version_bounds.constraints("highest", ["torch"])] == ["torch"]
    kept = version_bounds.constraints("lowest", ["torch", "torchvision"])
    assert len(kept) == len(version_bounds.lowest())
    assert {*version_bounds.constraints("highest", ["torch", "torchvision"])} < {*kept}


def test_a_package_without_a_lowest_version_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\ndependencies = ["torch"]\noptional-dependencies = {dask = []}\n')
    with pytest.raises(ValueError, match="'torch' has no lowest version"):
        version_bounds.lowest(project)
