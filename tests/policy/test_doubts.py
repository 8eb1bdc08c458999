"""What ends a task that can never run: a handoff that resolves to nothing, and a circle; and who runs after a failure."""

import pytest

from brain_daemon.model.task import OnDependencyFailure
from brain_daemon.policy.graph import Node, graph_of
from brain_daemon.policy.readiness import (
    GRACE_SECONDS,
    DependencyFailed,
    Doubt,
    Ready,
    Wait,
    circle_words,
    ready,
)
from tests.policy.waiting_tasks import task

RUN = OnDependencyFailure.RUN


MISSING = Doubt(reason="it takes a handoff from note, and no task and no note is called that", missing="note")


@pytest.mark.parametrize(
    ("fields", "statuses", "pool", "expected"),
    [
        ({"handoff_from": ("note",)}, {}, {"note"}, Ready()),
        ({"handoff_from": ("note",)}, {}, set(), MISSING),
        ({"handoff_from": ("note",)}, {"note": "pending"}, set(), Wait(reason="waits for note (pending)")),
        ({"handoff_from": ("note",)}, {"note": "draft"}, set(), Wait(reason="waits for note (draft)")),
        ({"depends_on": ("note",)}, {}, {"note"}, Wait(reason="waits for note (no task is called that)")),
        ({"depends_on": ("a",), "handoff_from": ("note",)}, {"a": "pending"}, set(), MISSING),
        (
            {"depends_on": ("a",), "handoff_from": ("note",)},
            {"a": "pending"},
            {"note"},
            Wait(reason="waits for a (pending)"),
        ),
        (
            {"depends_on": ("a",), "handoff_from": ("note",)},
            {"a": "failed"},
            set(),
            DependencyFailed(id="a", reason="it depends on a, which failed"),
        ),
    ],
)
def test_a_handoff_comes_from_a_task_or_a_note_or_is_missing(
    fields: dict, statuses: dict, pool: set, expected: object
) -> None:
    """A dependency that nobody has is waited for; a handoff must resolve; a failed dependency goes before both."""
    assert ready(task(**fields), now=0.0, statuses=statuses, in_pool=pool.__contains__) == expected


def test_without_a_pool_only_tasks_hand_over() -> None:
    """Who gives no pool has none."""
    assert ready(task(handoff_from=("note",)), now=0.0, statuses={}) == MISSING


def test_a_doubt_ends_the_task_a_little_after_it_came_up() -> None:
    """Files that belong together come one after the other."""
    assert MISSING.until(100.0) == 100.0 + GRACE_SECONDS


@pytest.mark.parametrize(
    ("fields", "statuses", "expected"),
    [
        ({"depends_on": ("a",)}, {"a": "failed"}, Ready()),
        ({"handoff_from": ("a",)}, {"a": "failed"}, Ready()),
        ({"depends_on": ("a", "b")}, {"a": "failed", "b": "active"}, Wait(reason="waits for b (active)")),
        ({"depends_on": ("a",)}, {}, Wait(reason="waits for a (no task is called that)")),
        ({"handoff_from": ("note",)}, {}, MISSING),
    ],
)
def test_who_runs_after_a_failure_waits_only_for_the_end(fields: dict, statuses: dict, expected: object) -> None:
    """However it ended; what has not ended is waited for all the same, and what is nowhere is missing."""
    one = task(on_dependency_failure=RUN, **fields)
    assert ready(one, now=0.0, statuses=statuses) == expected


def test_a_task_in_a_circle_is_told_the_way_round() -> None:
    """Only a task that would wait is asked about."""
    told = ready(task(depends_on=("b",)), now=0.0, statuses={"b": "pending"}, circle=lambda one: (one.id, "b", one.id))
    assert told == Doubt(reason="it waits for itself in a circle, so it can never start: t -> b -> t")
    free = ready(task(depends_on=("b",)), now=0.0, statuses={"b": "completed"}, circle=lambda one: (one.id, one.id))
    assert free == Ready()


def test_a_long_circle_is_told_by_its_two_ends() -> None:
    """Nobody reads a thousand names."""
    said = circle_words([f"t{number}" for number in range(1_000)])
    assert said.endswith(
        ": " + " -> ".join(f"t{at}" for at in range(10)) + " -> (980 more) -> t990 -> t991 -> t992"
        " -> t993 -> t994 -> t995 -> t996 -> t997 -> t998 -> t999"
    )


def test_a_note_and_a_failure_let_go_on_who_can_go_on_with_them() -> None:
    """In the levels of the graph, as in the queue; what follows from them too."""
    nodes = [
        Node(task=task("reader", handoff_from=("Mem-1",)), state="pending"),
        Node(task=task("tidy", depends_on=("bad",), on_dependency_failure=RUN), state="pending"),
        Node(task=task("after", depends_on=("tidy", "reader"), on_dependency_failure=RUN), state="pending"),
        Node(task=task("strict", depends_on=("bad",)), state="pending"),
    ]
    graph = graph_of(nodes, {"mem-1": "note", "bad": "failed"})
    assert graph.levels == (("reader", "tidy"), ("after",))
    assert graph.unknown == ()
