"""Which task next: those whose inputs are there, in the plan's order."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

from unlearnbench.plan import Task


class Schedule:
    """The tasks still to be done, and what waits for what.

    Args:
        tasks: all that are wanted, in the plan's order, each after those it needs.
        done: keys of those whose artifacts are there already.
    """

    def __init__(self, tasks: Iterable[Task], done: Iterable[str]) -> None:
        self._tasks = {task.key: task for task in tasks}
        self._order = {key: position for position, key in enumerate(self._tasks)}
        self._dependents: dict[str, list[str]] = defaultdict(list)
        for task in self._tasks.values():
            for need in task.needs.values():
                self._dependents[need].append(task.key)
        self.done = set(done)
        self.running: dict[str, Task] = {}
        self._waiting = {key: task for key, task in self._tasks.items() if key not in self.done}
        self._ready: list[tuple[int, str]] = []
        for key in self._waiting:
            self._offer(key)

    @property
    def left(self) -> int:
        """Tasks not yet finished."""
        return len(self._waiting) + len(self.running)

    def next(self) -> Task | None:
        """A task that can start now, or None."""
        while self._ready:
            _, key = heapq.heappop(self._ready)
            # What it needs may have been lost since it was offered; then it is offered again later.
            if key in self._waiting and self._startable(key):
                self.running[key] = self._waiting.pop(key)
                return self.running[key]
        return None

    def first_waiting(self) -> Task:
        """The first task that has not started."""
        return next(iter(self._waiting.values()))

    def finish(self, key: str) -> None:
        """A running task's artifact is there."""
        del self.running[key]
        self.done.add(key)
        for dependent in self._dependents[key]:
            self._offer(dependent)

    def fail(self, key: str) -> list[str]:
        """A task failed: so do all that wait for it. Returns their keys and its own."""
        self.running.pop(key, None)
        self._waiting.pop(key, None)
        fallen = [key]
        for dependent in self._dependents[key]:
            if dependent in self._waiting:
                fallen += self.fail(dependent)
        return fallen

    def abandon(self) -> None:
        """Start nothing more; what is running may finish."""
        self._waiting.clear()

    def put_back(self, key: str) -> None:
        """A running task has to start again."""
        self._waiting[key] = self.running.pop(key)
        self._offer(key)

    def redo(self, key: str) -> bool:
        """A task that was done turned out to be lost; False if it is under way again already."""
        if key not in self.done:
            return False
        self.done.discard(key)
        self._waiting[key] = self._tasks[key]
        self._offer(key)
        return True

    def _offer(self, key: str) -> None:
        if key in self._waiting and self._startable(key):
            heapq.heappush(self._ready, (self._order[key], key))

    def _startable(self, key: str) -> bool:
        return all(need in self.done for need in self._tasks[key].needs.values())
