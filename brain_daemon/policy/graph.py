"""The queue as a graph: who waits for whom, in which levels it can run, and which circles and unknown names keep it from running.

A level holds tasks that wait for nothing outside the levels before it, by priority, then age, then id. Tasks in a circle,
tasks that wait for one, and tasks that wait for an id nobody has stand in no level. A note of the pool is there for whoever takes a
handoff from it. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.readiness import find_cycles, order_key

_ENDED_WELL = ("completed", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A task that has not ended, and its state: pending, held, active or parked."""

    task: TaskSpec
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """`edges` lead from a task to the one that waits for it; `ended` are the states of awaited tasks that have ended.

    `unknown` are ids that somebody waits for and nobody has.
    """

    nodes: tuple[Node, ...]
    ended: tuple[tuple[str, str], ...]
    edges: tuple[tuple[str, str], ...]
    levels: tuple[tuple[str, ...], ...]
    cycles: tuple[tuple[str, ...], ...]
    unknown: tuple[str, ...]


def graph_of(nodes: Iterable[Node], ended: Mapping[str, str]) -> Graph:
    """The graph of the tasks that have not ended; `ended` gives the states of others by casefolded id, `note` for a text of the pool."""
    kept = tuple(nodes)
    names = {node.task.id.casefold(): node.task.id for node in kept}
    awaited = {name.casefold(): name for node in kept for name in node.task.waits_for}
    edges = [(names.get(name.casefold(), name), node.task.id) for node in kept for name in node.task.waits_for]
    over = {name: ended[key] for key, name in awaited.items() if key in ended and key not in names}
    return Graph(
        nodes=kept,
        ended=tuple(sorted(over.items())),
        edges=tuple(edges),
        levels=_levels(kept, {name.casefold(): state in _ENDED_WELL for name, state in over.items()}),
        cycles=find_cycles(node.task for node in kept),
        unknown=tuple(sorted(name for key, name in awaited.items() if key not in names and key not in ended)),
    )


def _levels(nodes: tuple[Node, ...], over: dict[str, bool]) -> tuple[tuple[str, ...], ...]:
    """`over` says of what has ended whether it has ended well: the others free only who runs after a failure."""
    ended, done = set(over), {name for name, well in over.items() if well}
    left = sorted((node.task for node in nodes), key=lambda task: order_key(task, 0.0))
    levels: list[tuple[str, ...]] = []
    while True:
        free = [
            task
            for task in left
            if {name.casefold() for name in task.waits_for} <= (ended if task.runs_after_failure else done)
        ]
        if not free:
            return tuple(levels)
        levels.append(tuple(task.id for task in free))
        done |= {task.id.casefold() for task in free}
        ended |= done
        left = [task for task in left if task.id.casefold() not in done]


def graph_to(graph: Graph) -> dict[str, Any]:
    """The graph as a JSON object, with every field of every task; `graph_from` gives back an equal one."""
    document: dict[str, Any] = _ADAPTER.dump_python(graph, mode="json")
    return document


def graph_from(document: Mapping[str, Any]) -> Graph:
    """The graph behind `graph_to`; ValueError on anything else."""
    return _ADAPTER.validate_python(dict(document))


_ADAPTER = TypeAdapter(Graph)


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart; what has ended or is unknown has round corners."""
    names: dict[str, str] = {}
    lines = ["flowchart TD"]
    for label, shape in (
        *((f"{node.task.id}: {node.state}", ("[", "]")) for node in graph.nodes),
        *((f"{name}: {state}", ("(", ")")) for name, state in graph.ended),
        *((f"{name}: unknown", ("(", ")")) for name in graph.unknown),
    ):
        task_id = label.rpartition(": ")[0]
        names[task_id] = f"t{len(names)}"
        lines.append(f'    {names[task_id]}{shape[0]}"{label}"{shape[1]}')
    lines += [f"    {names[before]} --> {names[after]}" for before, after in graph.edges]
    return "\n".join(lines) + "\n"
