"""Which task next."""

from __future__ import annotations

from unlearnbench.running.schedule import Schedule
from unlearnbench.suite.tasks import Job, NamedDataset, Stage, Task, Work

WORK = Work(dataset=NamedDataset("digits", {}, "digits"), scenario={}, suite_seed=0, seed=0)


def task(key: str, *needs: str, stage: Stage = "train", together: str = "") -> Task:
    return Task(stage, key, {need: need for need in needs}, WORK, tuple(together))


def keys(*jobs: Job | None) -> list[str]:
    """Their tasks' keys, those of a job joined."""
    return ["".join(task.key for task in job) for job in jobs if job]


CHAIN = [task("a"), task("b", "a"), task("c", "b"), task("x"), task("y", "x", "a")]


def test_tasks_come_in_the_plans_order_once_their_inputs_are_there() -> None:
    schedule = Schedule(CHAIN, [])
    assert keys(schedule.next(), schedule.next()) == ["a", "x"]
    assert schedule.next() is None
    schedule.finish("x")
    assert schedule.next() is None
    schedule.finish("a")
    order = []
    while (started := schedule.next()) is not None:
        order += keys(started)
        schedule.finish(started[0].key)
    assert order == ["b", "c", "y"]
    assert (schedule.left, schedule.done) == (0, {"a", "b", "c", "x", "y"})


def test_what_is_there_is_not_done_again() -> None:
    schedule = Schedule(CHAIN, ["a", "b"])
    assert schedule.left == 3
    assert keys(schedule.next(), schedule.next()) == ["c", "x"]


def test_a_failure_takes_with_it_all_that_waits_for_it() -> None:
    schedule = Schedule(CHAIN, [])
    assert schedule.next() == (CHAIN[0],)
    assert sorted(schedule.fail("a")) == ["a", "b", "c", "y"]
    assert schedule.left == 1
    assert schedule.next() == (CHAIN[3],)


def test_a_lost_artifact_is_made_again_before_those_that_need_it() -> None:
    schedule = Schedule(CHAIN, ["a"])
    b, x = schedule.next(), schedule.next()
    assert b is not None
    assert x is not None
    schedule.finish("x")  # y could start now
    assert schedule.redo("a")
    assert not schedule.redo("a")  # another task has missed it too
    schedule.put_back("b")
    assert schedule.next() == (CHAIN[0],)
    assert schedule.next() is None  # y was offered before a was lost
    schedule.finish("a")
    assert keys(schedule.next(), schedule.next()) == ["b", "y"]


def test_abandoned_tasks_do_not_start() -> None:
    schedule = Schedule(CHAIN, [])
    schedule.next()
    schedule.abandon()
    assert schedule.left == 1
    schedule.finish("a")
    assert (schedule.next(), schedule.left) == (None, 0)


# a and b are trained together, c and d unlearned together, from them; e attacks c.
GROUPS = [
    task("a", together="ab"), task("b", together="ab"),
    task("c", "a", together="cd"), task("d", "b", together="cd"),
    task("e", "c"),
]  # fmt: skip


def test_a_group_is_one_job() -> None:
    schedule = Schedule(GROUPS, [])
    assert keys(schedule.next(), schedule.next()) == ["ab"]
    schedule.finish("a")
    assert schedule.next() is None  # d waits for b, and c for d
    schedule.finish("b")
    assert keys(schedule.next(), schedule.next()) == ["cd"]
    schedule.finish("d")
    assert schedule.next() is None
    schedule.finish("c")
    assert keys(schedule.next()) == ["e"]


def test_a_group_of_which_something_is_missing_is_computed_whole() -> None:
    assert keys(Schedule(GROUPS, ["a"]).next()) == ["ab"]
    schedule = Schedule(GROUPS, ["a", "b", "d"])
    assert schedule.done == {"a", "b"}
    assert keys(schedule.next(), schedule.next()) == ["cd"]
    assert keys(Schedule([GROUPS[2], GROUPS[4]], ["c"]).next()) == ["e"]  # nobody wants d


def test_what_fails_in_a_group_leaves_the_others_to_go_on() -> None:
    schedule = Schedule(GROUPS, [])
    schedule.next()
    schedule.finish("b")
    assert sorted(schedule.fail("a")) == ["a", "c", "e"]
    assert keys(schedule.next(), schedule.next()) == ["d"]


def test_a_lost_artifact_is_made_again_with_its_group() -> None:
    schedule = Schedule(GROUPS, ["a", "b", "c", "d"])
    assert keys(schedule.next()) == ["e"]
    assert schedule.redo("c")
    assert not schedule.redo("d")
    schedule.put_back("e")
    assert keys(schedule.next(), schedule.next()) == ["cd"]


def test_times_are_measured_last_and_alone() -> None:
    schedule = Schedule([task("a"), task("t", "a", stage="timing"), task("b", "a"), task("c")], ["a"])
    assert keys(schedule.next(alone=True), schedule.next(alone=False), schedule.next(alone=False)) == ["b", "c"]
    schedule.finish("b")
    schedule.finish("c")
    assert keys(schedule.next(alone=True)) == ["t"]
