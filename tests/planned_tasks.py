"""What tests ask of planned tasks."""

from __future__ import annotations

from unlearnbench.suite.tasks import Task


def method_of(task: Task) -> str | None:
    """The name of the method that takes part in a task's stage."""
    method = task.work.plugins.get("method")
    return method.name if method is not None else None
