"""Picks the next tasks: those with all inputs available, in the plan's order. Tasks of a group run together."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable

from unlearnbench.suite.tasks import Job, Task

# Times are measured last: with nothing else running, and without keeping anything waiting.
_LATE = 1 << 40


class Schedule:
    """The tasks still to do, and their dependencies.

    Args:
        tasks: all wanted tasks, in the plan's order, each after those it needs.
        done: keys of the tasks whose artifacts exist already.
    """

    def __init__(self, tasks: Iterable[Task], done: Iterable[str]) -> None:
        self._tasks: dict[str, Task] = {}
        self._order: dict[str, int] = {}
        self._dependents: dict[str, list[str]] = defaultdict(list)
        self.done: set[str] = set()
        self.running: dict[str, Task] = {}
        self._waiting: dict[str, Task] = {}
        self._ready: list[tuple[int, str]] = []
        self.add(tasks, set(done).__contains__)

    @property
    def left(self) -> int:
        """The number of unfinished tasks."""
        return len(self._waiting) + len(self.running)

    def next(self, alone: bool = True) -> Job | None:
        """A job that can start now, or None.

        Args:
            alone: whether nothing else is running; only then are times measured.
        """
        while self._ready and (alone or self._ready[0][0] < _LATE):
            _, key = heapq.heappop(self._ready)
            # Its inputs may have been lost since it was offered; then it is offered again later.
            if key in self._waiting and self._startable(key):
                job = tuple(self._waiting.pop(member) for member in self._group(key) if member in self._waiting)
                self.running |= {task.key: task for task in job}
                return job
        return None

    def add(self, tasks: Iterable[Task], done: Callable[[str], bool]) -> list[Task]:
        """Add tasks, each after those it needs; known tasks do not change. Returns the new tasks that are not done."""
        new = [task for task in tasks if task.key not in self._tasks]
        for task in new:
            self._order[task.key] = len(self._order) + (task.stage == "timing") * _LATE
            self._tasks[task.key] = task
            for need in task.needs.values():
                self._dependents[need].append(task.key)
        there = {task.key for task in new if done(task.key)}
        there -= {member for task in new if task.key not in there for member in self._group(task.key)}
        self.done |= there
        waiting = [task for task in new if task.key not in there]
        self._waiting |= {task.key: task for task in waiting}
        for task in waiting:
            self._offer(task.key)
        return waiting

    def first_waiting(self) -> Task:
        """The first task that has not started yet."""
        return next(iter(self._waiting.values()))

    def finish(self, key: str) -> None:
        """A running task's artifact exists now."""
        del self.running[key]
        self.done.add(key)
        for dependent in self._dependents[key]:
            self._offer(dependent)

    def fail(self, key: str) -> list[str]:
        """A task failed, and with it all tasks that wait for it. Returns the keys of all failed tasks."""
        self.running.pop(key, None)
        self._waiting.pop(key, None)
        failed = [key]
        for dependent in self._dependents[key]:
            if dependent in self._waiting:
                failed += self.fail(dependent)
        for member in self._group(key):  # they may have waited only for its inputs
            self._offer(member)
        return failed

    def abandon(self) -> None:
        """Start nothing more; running tasks may finish."""
        self._waiting.clear()

    def put_back(self, key: str) -> None:
        """A running task has to start again."""
        self._waiting[key] = self.running.pop(key)
        self._offer(key)

    def redo(self, key: str) -> bool:
        """The artifact of a finished task is lost: do its group again. False if that is already happening."""
        if key not in self.done:
            return False
        for member in self._group(key):
            if member in self.done:
                self.done.discard(member)
                self._waiting[member] = self._tasks[member]
        self._offer(key)
        return True

    def _group(self, key: str) -> tuple[str, ...]:
        """The tasks of a task's group, including itself."""
        return self._tasks[key].together or (key,) if key in self._tasks else (key,)

    def _offer(self, key: str) -> None:
        if key in self._waiting and self._startable(key):
            heapq.heappush(self._ready, (self._order[key], key))

    def _startable(self, key: str) -> bool:
        waiting = [self._waiting[member] for member in self._group(key) if member in self._waiting]
        return all(need in self.done for task in waiting for need in task.needs.values())
