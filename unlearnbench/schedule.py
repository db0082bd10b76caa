"""Which task next: those whose inputs are there, in the plan's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from unlearnbench.plan import Task


class Schedule:
    """The tasks still to be done, and what waits for what.

    Args:
        tasks: in the plan's order, each after those it needs.
        done: keys of artifacts that are there already.
    """

    def __init__(self, tasks: Iterable[Task], done: Iterable[str]) -> None:
        self._waiting = {task.key: task for task in tasks}
        self.done = set(done)
        self.running: dict[str, Task] = {}
        self.failed: dict[str, str] = {}

    @property
    def left(self) -> int:
        """Tasks not yet finished."""
        return len(self._waiting) + len(self.running)

    def next(self) -> Task | None:
        """A task that can start now, or None."""
        for key, task in self._waiting.items():
            if all(need in self.done for need in task.needs.values()):
                del self._waiting[key]
                self.running[key] = task
                return task
        return None

    def finish(self, key: str) -> None:
        del self.running[key]
        self.done.add(key)

    def fail(self, key: str, error: str) -> list[str]:
        """A task failed: so do all that wait for it. Returns their keys and its own."""
        self.running.pop(key, None)
        self._waiting.pop(key, None)
        self.failed[key] = error
        fallen = [key]
        for waiting in [task.key for task in self._waiting.values() if key in task.needs.values()]:
            fallen += self.fail(waiting, error)
        return fallen

    def abandon(self) -> None:
        """Start nothing more; what is running may finish."""
        self._waiting.clear()

    def again(self, key: str, tasks: Mapping[str, Task]) -> None:
        """Put a running task back, or one whose result turned out to be gone."""
        self.running.pop(key, None)
        self.done.discard(key)
        # Before the rest: others wait for it.
        self._waiting = {key: tasks[key], **self._waiting}
