"""Is a task ready: dependencies, time, conflicts, circles, and whose turn it is."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.task import Priority, TaskSpec
from brain_daemon.policy.readiness import DependencyFailed, Ready, Wait, find_cycles, order_key, ready
from tests.policy.waiting_tasks import task

NOW = 1_000.0


@pytest.mark.parametrize(
    ("fields", "statuses", "expected"),
    [
        ({}, {}, Ready()),
        ({"draft": True}, {}, Wait(reason="a draft; `status: ready` lets it start")),
        ({"draft": True, "depends_on": ("a",)}, {"a": "failed"}, Wait(reason="a draft; `status: ready` lets it start")),
        ({"depends_on": ("A",)}, {"a": "completed"}, Ready()),
        ({"depends_on": ("A",)}, {"a": "pending"}, Wait(reason="waits for A (pending)")),
        ({"depends_on": ("a", "b")}, {"a": "completed", "b": "active"}, Wait(reason="waits for b (active)")),
        ({"depends_on": ("a",)}, {}, Wait(reason="waits for a (no task is called that)")),
        (
            {"depends_on": ("a", "c"), "handoff_from": ("b",)},
            {"a": "pending", "b": "draft"},
            Wait(reason="waits for a (pending), c (no task is called that), b (draft)"),
        ),
        ({"handoff_from": ("a",)}, {"a": "completed"}, Ready()),
        (
            {"depends_on": ("a", "B")},
            {"a": "pending", "b": "failed"},
            DependencyFailed(id="B", reason="it depends on B, which failed"),
        ),
        ({"handoff_from": ("a",)}, {"a": "failed"}, DependencyFailed(id="a", reason="it depends on a, which failed")),
        ({"not_before": NOW + 1}, {}, Wait(reason="not before its time", until=NOW + 1)),
        ({"not_before": NOW}, {}, Ready()),
        (
            {"not_before": NOW + 1, "depends_on": ("a",)},
            {"a": "failed"},
            DependencyFailed(id="a", reason="it depends on a, which failed"),
        ),
    ],
)
def test_a_task_is_ready_waits_or_fails_with_what_it_depends_on(fields: dict, statuses: dict, expected: object) -> None:
    """A failed dependency fails the task at once, whatever else it waits for; the rest is waited for and said."""
    assert ready(task(**fields), now=NOW, statuses=statuses) == expected


@pytest.mark.parametrize(
    ("mine", "active", "conflicts", "expected"),
    [
        (("A",), {"a"}, {}, Wait(reason="conflicts with a, active now")),
        (("a",), {"b"}, {}, Ready()),
        ((), {"b"}, {"b": {"t"}}, Wait(reason="conflicts with b, active now")),
        ((), {"b"}, {"b": {"x"}}, Ready()),
        (("a",), {"a", "b"}, {"b": {"t"}}, Wait(reason="conflicts with a, b, active now")),
        (("T",), {"t"}, {"t": {"t"}}, Ready()),
    ],
)
def test_a_conflict_holds_in_both_directions(
    mine: tuple[str, ...], active: set, conflicts: dict, expected: object
) -> None:
    """Whichever of the two names the other; a task is never its own rival."""
    assert (
        ready(task("T", conflicts_with=mine), now=NOW, statuses={}, active_ids=active, conflicts=conflicts) == expected
    )


def waits(**edges: str) -> list[TaskSpec]:
    return [task(name, depends_on=tuple(needs)) for name, needs in edges.items()]


def rotated(circle: tuple[str, ...]) -> tuple[str, ...]:
    """The circle begun at its smallest name, without the repeat at its end."""
    ring = circle[:-1]
    start = ring.index(min(ring))
    return ring[start:] + ring[:start]


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({}, []),
        ({"a": "b", "b": "", "c": "ab"}, []),
        ({"a": "x"}, []),
        ({"a": "a"}, [("a",)]),
        ({"a": "b", "b": "c", "c": "a"}, [("a", "b", "c")]),
        ({"a": "b", "b": "a", "c": "d", "d": "c", "e": "a"}, [("a", "b"), ("c", "d")]),
    ],
)
def test_circles_are_found_and_read_as_who_waits_for_whom(edges: dict[str, str], expected: list) -> None:
    """Each once, closed at its end; waiting for a circle from outside is not being in it."""
    found = find_cycles(waits(**edges))
    assert all(circle[0] == circle[-1] for circle in found)
    assert sorted(map(rotated, found)) == expected


def test_circles_keep_the_spelling_of_the_ids_and_count_handoffs() -> None:
    """Ids that differ only by case are one id."""
    (circle,) = find_cycles([task("Build", handoff_from=("TEST",)), task("Test", depends_on=("build",))])
    assert rotated(circle) == ("Build", "Test")


def test_no_more_circles_than_asked_for_are_looked_for() -> None:
    """The others show once these are resolved."""
    assert len(find_cycles(waits(a="a", b="b", c="c"), limit=2)) == 2


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")).map("".join)))
def test_a_circle_is_found_if_and_only_if_some_order_of_work_is_impossible(edges: dict[str, str]) -> None:
    """Checked against working the tasks off one by one; every circle reported is real."""
    found = find_cycles(waits(**edges))
    for circle in found:
        assert all(after in edges[before] for before, after in pairwise(circle))
    left = {name: set(needs) & edges.keys() for name, needs in edges.items()}
    while free := [name for name, needs in left.items() if not needs]:
        left = {name: needs - set(free) for name, needs in left.items() if name not in free}
    assert bool(found) == bool(left)


def test_turns_go_by_priority_then_age_then_id() -> None:
    """`created` where it is given, else when the file was first seen; equal ages go by id in any case."""
    queue = [
        (task("low", priority=Priority.LOW, created=1.0), 0.0),
        (task("B-late", created=50.0), 1.0),
        (task("a-late", created=50.0), 2.0),
        (task("seen"), 20.0),
        (task("high", priority=Priority.HIGH, created=99.0), 3.0),
    ]
    order = [one.id for one, seen_at in sorted(queue, key=lambda pair: order_key(*pair))]
    assert order == ["high", "seen", "a-late", "B-late", "low"]
