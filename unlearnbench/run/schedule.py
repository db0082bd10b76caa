"""Which tasks next: those whose inputs are there, in the plan's order; tasks of one group start and end together."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable

from unlearnbench.suite.tasks import Job, Task

# Times are measured when all else is done: with nothing beside them, and without keeping anything waiting.
_LATE = 1 << 40


class Schedule:
    """The tasks still to be done, and what waits for what.

    Args:
        tasks: all that are wanted, in the plan's order, each after those it needs.
        done: keys of those whose artifacts are there already.
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
        """Tasks not yet finished."""
        return len(self._waiting) + len(self.running)

    def next(self, alone: bool = True) -> Job | None:
        """Tasks that can start now, or None.

        Args:
            alone: whether nothing else is running; only then is there time to be measured.
        """
        while self._ready and (alone or self._ready[0][0] < _LATE):
            _, key = heapq.heappop(self._ready)
            # What it needs may have been lost since it was offered; then it is offered again later.
            if key in self._waiting and self._startable(key):
                job = tuple(self._waiting.pop(mate) for mate in self._mates(key) if mate in self._waiting)
                self.running |= {task.key: task for task in job}
                return job
        return None

    def add(self, tasks: Iterable[Task], done: Callable[[str], bool]) -> list[Task]:
        """More tasks, each after those it needs; those that are known already stay as they are. Returns the new ones
        that have to be done."""
        new = [task for task in tasks if task.key not in self._tasks]
        for task in new:
            self._order[task.key] = len(self._order) + (task.stage == "timing") * _LATE
            self._tasks[task.key] = task
            for need in task.needs.values():
                self._dependents[need].append(task.key)
        there = {task.key for task in new if done(task.key)}
        there -= {mate for task in new if task.key not in there for mate in self._mates(task.key)}
        self.done |= there
        waiting = [task for task in new if task.key not in there]
        self._waiting |= {task.key: task for task in waiting}
        for task in waiting:
            self._offer(task.key)
        return waiting

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
        for mate in self._mates(key):  # they may have waited for nothing but its inputs
            self._offer(mate)
        return fallen

    def abandon(self) -> None:
        """Start nothing more; what is running may finish."""
        self._waiting.clear()

    def put_back(self, key: str) -> None:
        """A running task has to start again."""
        self._waiting[key] = self.running.pop(key)
        self._offer(key)

    def redo(self, key: str) -> bool:
        """A task that was done turned out to be lost, and its group is done again; False if that is under way."""
        if key not in self.done:
            return False
        for mate in self._mates(key):
            if mate in self.done:
                self.done.discard(mate)
                self._waiting[mate] = self._tasks[mate]
        self._offer(key)
        return True

    def _mates(self, key: str) -> tuple[str, ...]:
        """The tasks of a task's group, itself included."""
        return self._tasks[key].together or (key,) if key in self._tasks else (key,)

    def _offer(self, key: str) -> None:
        if key in self._waiting and self._startable(key):
            heapq.heappush(self._ready, (self._order[key], key))

    def _startable(self, key: str) -> bool:
        waiting = [self._waiting[mate] for mate in self._mates(key) if mate in self._waiting]
        return all(need in self.done for task in waiting for need in task.needs.values())
