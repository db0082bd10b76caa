"""Which task next."""

from __future__ import annotations

from unlearnbench.plan import Stage, Task
from unlearnbench.schedule import Schedule


def task(key: str, *needs: str, stage: Stage = "train") -> Task:
    return Task(stage, key, {need: need for need in needs}, {})


CHAIN = [task("a"), task("b", "a"), task("c", "b"), task("x"), task("y", "x", "a")]


def test_tasks_come_in_the_plans_order_once_their_inputs_are_there() -> None:
    schedule = Schedule(CHAIN, [])
    assert [started.key for started in (schedule.next(), schedule.next()) if started] == ["a", "x"]
    assert schedule.next() is None
    schedule.finish("x")
    assert schedule.next() is None
    schedule.finish("a")
    order = []
    while (started := schedule.next()) is not None:
        order.append(started.key)
        schedule.finish(started.key)
    assert order == ["b", "c", "y"]
    assert (schedule.left, schedule.done) == (0, {"a", "b", "c", "x", "y"})


def test_what_is_there_is_not_done_again() -> None:
    schedule = Schedule(CHAIN, ["a", "b"])
    assert schedule.left == 3
    assert [started.key for started in (schedule.next(), schedule.next()) if started] == ["c", "x"]


def test_a_failure_takes_with_it_all_that_waits_for_it() -> None:
    schedule = Schedule(CHAIN, [])
    assert schedule.next() == CHAIN[0]
    assert sorted(schedule.fail("a")) == ["a", "b", "c", "y"]
    assert schedule.left == 1
    assert schedule.next() == CHAIN[3]


def test_a_lost_artifact_is_made_again_before_those_that_need_it() -> None:
    schedule = Schedule(CHAIN, ["a"])
    b, x = schedule.next(), schedule.next()
    assert b is not None
    assert x is not None
    schedule.finish("x")  # y could start now
    assert schedule.redo("a")
    assert not schedule.redo("a")  # another task has missed it too
    schedule.put_back("b")
    assert schedule.next() == CHAIN[0]
    assert schedule.next() is None  # y was offered before a was lost
    schedule.finish("a")
    assert [started.key for started in (schedule.next(), schedule.next()) if started] == ["b", "y"]


def test_abandoned_tasks_do_not_start() -> None:
    schedule = Schedule(CHAIN, [])
    schedule.next()
    schedule.abandon()
    assert schedule.left == 1
    schedule.finish("a")
    assert (schedule.next(), schedule.left) == (None, 0)
