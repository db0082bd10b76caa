"""examples/notebook.ipynb runs from a fresh kernel and shows tables and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    every = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in every if cell["cell_type"] == kind]


def test_the_notebook_is_committed_without_outputs() -> None:
    code = cells("code")
    assert len(code) > 3
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.docs
def test_the_notebook_runs_and_shows_tables_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [{kind for output in cell.outputs for kind in output.get("data", {})} for cell in ran]
    assert [("text/html" in kinds, "image/png" in kinds) for kinds in shown] == [
        (True, False), (True, False), (True, False), (False, True), (False, True),
    ]  # fmt: skip
    streams = [output for output in ran[0].outputs if output.output_type == "stream"]
    assert {output.name for output in streams} == {"stderr"}
    assert "cells 24/24" in "".join(output.text for output in streams)
    assert not list(Path(NOTEBOOK.parent).glob("results"))
