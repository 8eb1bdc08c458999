"""The circle through one task, found again and again in a queue that changes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.policy.circles import Circles


@pytest.mark.parametrize(
    ("edges", "start", "expected"),
    [
        ({}, "a", ()),
        ({"a": "a"}, "a", ("a", "a")),
        ({"a": "bx", "b": "c", "c": "a"}, "a", ("a", "b", "c", "a")),
        ({"a": "bc", "b": "c", "c": "a"}, "a", ("a", "c", "a")),
        ({"a": "b", "b": "c", "c": "b"}, "a", ()),
        ({"a": "bc", "b": "d", "c": "d", "d": ""}, "a", ()),
    ],
)
def test_the_shortest_circle_through_a_task_is_found(edges: dict[str, str], start: str, expected: tuple) -> None:
    """A circle it only waits for is not its own."""
    assert Circles(edges.get).through(start) == expected


def naive(edges: dict[str, str], start: str) -> bool:
    """Whether a way leads from `start` to itself."""
    reached: set[str] = set()
    todo = list(edges.get(start, ""))
    while todo:
        one = todo.pop()
        if one not in reached:
            reached.add(one)
            todo += edges.get(one, "")
    return start in reached


NAMES = st.sampled_from("abcdef")
EDGES = st.sets(NAMES).map(sorted).map("".join)


@given(st.lists(st.tuples(NAMES, st.none() | EDGES), max_size=12), st.integers(0, 8))
def test_what_is_remembered_never_hides_a_circle(changes: list[tuple[str, str | None]], most: int) -> None:
    """Tasks come, go, come back and change; every answer is that of somebody who remembers nothing."""
    edges: dict[str, str] = {}
    circles = Circles(edges.get, most)
    for name, waits in changes:
        if waits is None:
            edges.pop(name, None)
        else:
            edges[name] = waits
            circles.came(name)
        for start in edges:
            found = circles.through(start)
            assert bool(found) == naive(edges, start)
            assert all(after in edges[before] for before, after in pairwise(found))


def test_a_long_chain_is_not_walked_again_for_each_of_its_tasks() -> None:
    """Each task that comes after those it waits for asks for those alone."""
    asked: list[str] = []

    def waits(name: str) -> tuple[str, ...]:
        asked.append(name)
        number = int(name)
        return (str(number - 1),) if number else ()

    circles = Circles(waits)
    for number in range(500):
        circles.came(str(number))
        assert circles.through(str(number)) == ()
    assert len(asked) < 3 * 500
