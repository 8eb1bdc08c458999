"""The queue as a graph."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.task import OnDependencyFailure, OnLimit, Permissions, Priority, TaskSpec
from brain_daemon.policy.graph import Node, graph_from, graph_of, graph_to, mermaid


def node(task_id: str, *after: str, state: str = "pending", **fields: object) -> Node:
    values = {
        "id": task_id,
        "explicit_id": True,
        "title": task_id,
        "text": "",
        "sha256": "0" * 64,
        "size_bytes": 1,
        "name": f"{task_id}.md",
        "depends_on": after,
    }
    return Node(task=TaskSpec(**(values | fields)), state=state)  # type: ignore[arg-type]


def test_levels_are_what_can_run_side_by_side() -> None:
    """A -> [B, C] -> D, and within a level by priority."""
    nodes = [node("d", "b", "c"), node("b", "a"), node("c", "a", priority=Priority.HIGH), node("a")]
    graph = graph_of(nodes, {})
    assert graph.levels == (("a",), ("c", "b"), ("d",))
    assert set(graph.edges) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}


def test_a_circle_is_spelled_out_and_stands_in_no_level() -> None:
    """Neither does what waits for it."""
    graph = graph_of([node("a", "b"), node("b", "a"), node("c", "a"), node("free")], {})
    assert graph.cycles in ((("a", "b", "a"),), (("b", "a", "b"),))
    assert graph.levels == (("free",),)


def test_what_has_ended_is_waited_for_no_more_and_what_nobody_has_is_named() -> None:
    """A failed one frees nobody."""
    graph = graph_of([node("x", "Done"), node("y", "bad"), node("z", "gone")], {"done": "completed", "bad": "failed"})
    assert graph.ended == (("Done", "completed"), ("bad", "failed"))
    assert graph.unknown == ("gone",)
    assert graph.levels == (("x",),)


def test_the_flowchart_has_a_box_for_each_and_an_arrow_for_each_wait() -> None:
    """Known, ended and unknown ones."""
    drawn = mermaid(graph_of([node("x", "done", "gone"), node("y", "x", state="held")], {"done": "completed"}))
    assert drawn.count("-->") == 3
    assert all(
        label in drawn for label in ('["x: pending"]', '["y: held"]', '("done: completed")', '("gone: unknown")')
    )


IDS = st.sampled_from(["a", "b", "c", "d", "E"])
TASKS = st.builds(
    node,
    IDS,
    state=st.sampled_from(["pending", "held", "active", "parked"]),
    depends_on=st.lists(IDS, max_size=3).map(tuple),
    handoff_from=st.lists(IDS, max_size=2).map(tuple),
    priority=st.sampled_from(Priority),
    budget_usd=st.none() | st.decimals(0, 100, places=4),
    not_before=st.none() | st.floats(0, 2e9),
    permissions=st.none() | st.sampled_from(Permissions),
    on_limit=st.none() | st.sampled_from(OnLimit),
    on_dependency_failure=st.sampled_from(OnDependencyFailure),
    text=st.text(max_size=20),
    extra=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2).map(tuple),
)


@given(st.lists(TASKS, unique_by=lambda one: one.task.id.casefold()))
def test_the_queue_and_its_graph_become_json_and_back_without_loss(nodes: list[Node]) -> None:
    """Through real JSON text."""
    graph = graph_of(nodes, {"e": "completed"})
    assert graph_from(json.loads(json.dumps(graph_to(graph)))) == graph


def test_what_is_no_graph_is_refused() -> None:
    """Another object is not taken for an empty one."""
    with pytest.raises(ValueError, match="nodes"):
        graph_from({"levels": []})
    assert graph_of([node("a", budget_usd=Decimal("0.10"))], {}).nodes[0].task.budget_usd == Decimal("0.10")
