"""Is a pending task ready to be routed: its dependencies, its time, its conflicts, and whose turn it is.

Waiting is a value with its reason; the ends decided here are `DependencyFailed`, and what has been in `Doubt` for too long. An id that
no task has is waited for where a task depends on it, and said, since the task it names may still be dropped. A handoff must resolve,
and a circle can never be run, so both are doubts: they end the task unless another file resolves them within GRACE_SECONDS.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from brain_daemon.model.task import Priority, TaskSpec

GRACE_SECONDS = 5.0
"""How long a doubt may stand. Files that belong together are not there at once: an editor, a copy, a sync or a checkout writes them one
after the other, and whoever takes a circle apart may have to save two of them."""

_MOST_SPELLED = 20
_ENDED = frozenset({"completed", "failed"})
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The task can never run, unless another file comes or changes: `missing` is the handoff that resolves to nothing, else a circle."""

    reason: str
    missing: str | None = None

    def until(self, since: float) -> float:
        """When it ends the task (epoch seconds), if it has stood since `since`."""
        return since + GRACE_SECONDS


def _nowhere(_wanted: str) -> bool:
    return False


def _no_circle(_task: TaskSpec) -> tuple[str, ...]:
    return ()


def ready(
    task: TaskSpec,
    *,
    now: float,
    statuses: Mapping[str, str],
    active_ids: Collection[str] = (),
    conflicts: Mapping[str, Collection[str]] = MappingProxyType({}),
    in_pool: Callable[[str], bool] = _nowhere,
    circle: Callable[[TaskSpec], tuple[str, ...]] = _no_circle,
) -> Ready | Wait | DependencyFailed | Doubt:
    """Whether `task` may be routed at `now` (epoch seconds).

    `statuses` maps each known id to completed, failed, or another word for where it stands. `active_ids` are the tasks being worked on,
    `conflicts` maps those of them that name any to the ids in their `conflicts_with`. All these ids are casefolded. `in_pool` says
    whether an id that no task has is that of a text in the pool, `circle` gives the circle of pending tasks that a waiting one stands in.
    """
    if task.draft:
        return Wait(reason="a draft; `status: ready` lets it start")
    held = _held_by_others(task, statuses, in_pool, circle)
    if held is not None:
        return held
    if task.not_before is not None and now < task.not_before:
        return Wait(reason="not before its time", until=task.not_before)
    rivals = _rivals(task, active_ids, conflicts)
    if rivals:
        return Wait(reason=f"conflicts with {', '.join(rivals)}, active now")
    return Ready()


def _held_by_others(
    task: TaskSpec,
    statuses: Mapping[str, str],
    in_pool: Callable[[str], bool],
    circle: Callable[[TaskSpec], tuple[str, ...]],
) -> Wait | DependencyFailed | Doubt | None:
    """What those that the task waits for make of it; None if nothing keeps it."""
    standing = {name: statuses.get(name.casefold()) for name in task.waits_for}
    failed = next((name for name, state in standing.items() if state == "failed"), None)
    if failed is not None and not task.runs_after_failure:
        return DependencyFailed(id=failed, reason=f"it depends on {failed}, which failed")
    awaited = {name: state for name, state in standing.items() if state not in _ENDED}
    for name in [name for name, state in awaited.items() if state is None and name in task.handoff_from]:
        if not in_pool(name):
            return Doubt(reason=f"it takes a handoff from {name}, and no task and no note is called that", missing=name)
        del awaited[name]
    if not awaited:
        return None
    found = circle(task)
    said = (f"{name} ({state or 'no task is called that'})" for name, state in awaited.items())
    return Doubt(reason=circle_words(found)) if found else Wait(reason="waits for " + ", ".join(said))


def circle_words(circle: Sequence[str]) -> str:
    """A circle as people are told of it; of a very long one its beginning and its end."""
    shown = circle
    if len(circle) > _MOST_SPELLED:
        half = _MOST_SPELLED // 2
        shown = (*circle[:half], f"({len(circle) - 2 * half} more)", *circle[-half:])
    return f"it waits for itself in a circle, so it can never start: {' -> '.join(shown)}"


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
