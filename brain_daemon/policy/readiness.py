"""Is a pending task ready to be routed: its dependencies, its time, its conflicts, and whose turn it is.

Waiting is a value with its reason; the only end decided here is `DependencyFailed`. An id that no task has is waited for and said,
since the task it names may still be dropped.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from brain_daemon.model.task import Priority, TaskSpec

_TURN = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Nothing but an interface is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not yet. `until` is epoch seconds, None where only an event can free the task."""

    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyFailed:
    """A task this one waits for has failed or was cancelled, so this one fails too."""

    id: str
    reason: str


def ready(
    task: TaskSpec,
    *,
    now: float,
    statuses: Mapping[str, str],
    active_ids: Collection[str] = (),
    conflicts: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Ready | Wait | DependencyFailed:
    """Whether `task` may be routed at `now` (epoch seconds).

    `statuses` maps each known id to pending, active, completed or failed. `active_ids` are the tasks being worked on, `conflicts` maps
    those of them that name any to the ids in their `conflicts_with`. All ids given are casefolded.
    """
    if task.draft:
        return Wait(reason="a draft; `status: ready` lets it start")
    for name in task.waits_for:
        if statuses.get(name.casefold()) == "failed":
            return DependencyFailed(id=name, reason=f"it depends on {name}, which failed")
    awaited = [_awaited(name, statuses) for name in task.waits_for if statuses.get(name.casefold()) != "completed"]
    if awaited:
        return Wait(reason="waits for " + ", ".join(awaited))
    if task.not_before is not None and now < task.not_before:
        return Wait(reason="not before its time", until=task.not_before)
    rivals = _rivals(task, active_ids, conflicts)
    if rivals:
        return Wait(reason=f"conflicts with {', '.join(rivals)}, active now")
    return Ready()


def _awaited(name: str, statuses: Mapping[str, str]) -> str:
    return f"{name} ({statuses.get(name.casefold(), 'no task is called that')})"


def _rivals(task: TaskSpec, active_ids: Collection[str], conflicts: Mapping[str, Collection[str]]) -> list[str]:
    """The active tasks that may not run beside this one, whichever of the two says so."""
    own = task.id.casefold()
    named = {name for name in map(str.casefold, task.conflicts_with) if name in active_ids}
    against = {active for active, names in conflicts.items() if own in names}
    return sorted((named | against) - {own})


def find_cycles(tasks: Iterable[TaskSpec], *, limit: int = 20) -> tuple[tuple[str, ...], ...]:
    """Circles of tasks that wait for each other, each from its first id round to it again; no task stands in two of them.

    At most `limit` are looked for: the others show once these are resolved.
    """
    waiting = {task.id.casefold(): task for task in tasks if task.waits_for}
    graph = {key: {name.casefold() for name in task.waits_for} & waiting.keys() for key, task in waiting.items()}
    found: list[tuple[str, ...]] = []
    while len(found) < limit and (circle := _circle(graph)):
        found.append(tuple(waiting[key].id for key in circle))
        graph = {key: needs - set(circle) for key, needs in graph.items() if key not in circle}
    return tuple(found)


def _circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # graphlib lists each node before the one that waits for it; people read it the other way round.
        return list(reversed(error.args[1]))
    return []


def order_key(task: TaskSpec, seen_at: float) -> tuple[int, float, str]:
    """Whose turn comes first: priority, then age (`created`, else when the file was first seen, epoch seconds), then id."""
    return _TURN[task.priority], seen_at if task.created is None else task.created, task.id.casefold()
