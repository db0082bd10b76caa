"""Plugin files, sound and broken."""

from __future__ import annotations

from pathlib import Path

from unlearnbench.registry.registry import Registry

METHOD = '''
"""A method that does nothing."""
from pydantic import Field
from unlearnbench.plugin import Method, UnlearnParams

class Still(Method):
    class Params(UnlearnParams):
        rate: float = Field(0.5, description="of what")
'''


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def broken(registry: Registry) -> dict[str, str]:
    return {bad.name: bad.error for bad in registry.broken}
