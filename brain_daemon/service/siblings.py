"""Files that ask to become children, seen together: their ids, what they call each other, and who of them would wait for ever.

A child is called after its parent and its file, unless it brings an id of its own that is free. Siblings may name each other by their
files. Nothing is written here, and nothing fails.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from brain_daemon.model.emitter import emit
from brain_daemon.model.frontmatter import Malformed, load, split
from brain_daemon.model.ids import numbered, slug
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.spellings import FIELD_OF, squeezed
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.readiness import find_cycles
from brain_daemon.policy.spawning import Parent
from brain_daemon.service.brain import Brain
from brain_daemon.service.delivery import exists
from brain_daemon.service.intake import Intake, explain
from brain_daemon.store.offspring import Child, Offspring
from brain_daemon.workspace.spawn import Left

_REFERRING = ("depends_on", "handoff_from", "conflicts_with")


@dataclass(frozen=True, slots=True)
class Wish:
    """A file that asks to be a child: its task under the id it would have, or why it is none."""

    left: Left
    task: TaskSpec | None
    refused: str = ""


class Siblings:
    """What the files of one parent ask for, against what one brain holds."""

    def __init__(self, brain: Brain, intake: Intake) -> None:
        self._brain = brain
        self._intake = intake

    def wishes(self, parent: Parent, offspring: Offspring, files: Sequence[Left], *, last: bool) -> list[Wish]:
        """What the files ask for, in the order of their names, with the ids that siblings are called by."""
        taken = _Taken(self._brain, self._intake, {str(one.task_id).casefold() for one in offspring.accepted})
        wishes = [self._wish(parent, one, taken) for one in files]
        names = {slug(_stem(one.name)).casefold(): str(one.task_id) for one in offspring.accepted}
        names |= {slug(_stem(one.left.name)).casefold(): one.task.id for one in wishes if one.task is not None}
        wishes = [_renamed(one, names) for one in wishes]
        known = {str(one.task_id).casefold() for one in offspring.accepted}
        known |= {one.task.id.casefold() for one in wishes if one.task is not None} | parent.above
        known |= {slug(_stem(one.left.name)).casefold() for one in wishes if one.task is None}
        known |= {slug(_stem(one.name)).casefold() for one in offspring.children if one.refused}
        unknown = [self._unknown(one, known) for one in wishes]
        if not last:
            wishes = [one for one, name in zip(wishes, unknown, strict=True) if name is None]
        else:
            wishes = [
                one if name is None else Wish(one.left, None, f"it waits for {name}, and no task is called so")
                for one, name in zip(wishes, unknown, strict=True)
            ]
        return self._without_circles(wishes)

    def _wish(self, parent: Parent, left: Left, taken: "_Taken") -> Wish:
        if left.data is None:
            return Wish(left, None, f"it is larger than {self._brain.config.task_bytes} bytes")
        stem = _stem(left.name)
        task = parse_task(f"{stem}.md", left.data, limits=self._limits(), vocabulary=self._intake.vocabulary)
        if isinstance(task, Rejection):
            return Wish(left, None, explain(task))
        if task.explicit_id and task.id.casefold() in taken:
            return Wish(left, None, f"a task is called {task.id} already: leave `id` away")
        name = task.id if task.explicit_id else numbered(slug(f"{parent.task.id}-{stem}"), taken)
        taken.add(name)
        return Wish(left, replace(task, id=name))

    def _limits(self) -> ParseLimits:
        return ParseLimits(file_bytes=self._brain.config.task_bytes)

    def _unknown(self, wish: Wish, known: Collection[str]) -> str | None:
        """A task that a child waits for and nobody knows; None if there is none."""
        statuses = self._intake.statuses()
        names = wish.task.waits_for if wish.task is not None else ()
        unknown = (one for one in names if one.casefold() not in known and one.casefold() not in statuses)
        return next((one for one in unknown if not self._is_note(wish, one)), None)

    def _is_note(self, wish: Wish, name: str) -> bool:
        """Whether a child takes a handoff from a text of the pool."""
        return wish.task is not None and name in wish.task.handoff_from and self._intake.in_pool(name)

    def _without_circles(self, wishes: Sequence[Wish]) -> list[Wish]:
        waiting = [one.task for one in wishes if one.task is not None and one.task.waits_for]
        if not waiting:
            return list(wishes)
        pending = [one.task for one in self._intake.tasks.values() if one.task is not None]
        circles = {name: circle for circle in find_cycles([*waiting, *pending]) for name in circle}
        return [
            Wish(one.left, None, f"it waits in a circle: {' -> '.join(circles[one.task.id])}")
            if one.task is not None and one.task.id in circles
            else one
            for one in wishes
        ]


class _Taken:
    """The casefolded ids that no child may have."""

    def __init__(self, brain: Brain, intake: Intake, more: set[str]) -> None:
        self._brain = brain
        self._holders = intake.holders
        self._more = more

    def add(self, task_id: str) -> None:
        self._more.add(task_id.casefold())

    def __contains__(self, key: object) -> bool:
        return key in self._more or key in self._holders or exists(self._brain, str(key))


def _renamed(wish: Wish, names: Mapping[str, str]) -> Wish:
    """The wish with the ids of its siblings where it calls them by their files' names."""
    if wish.task is None:
        return wish

    def named(found: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(one.casefold(), one) for one in found)

    task = wish.task
    renamed = replace(
        task,
        depends_on=named(task.depends_on),
        handoff_from=named(task.handoff_from),
        conflicts_with=named(task.conflicts_with),
    )
    return replace(wish, task=renamed)


def stamped(wish: Wish, fields: Mapping[str, object]) -> str:
    """The child's file: its own text and front matter, but for what is its parent's to say."""
    assert wish.task is not None
    assert wish.left.data is not None
    parts = split(wish.left.data)
    references = {key: list(getattr(wish.task, key)) or None for key in _REFERRING}
    told = {**fields, **references}
    try:
        own = load((parts.head or b"").decode("utf-8"))
    except (Malformed, UnicodeDecodeError):
        own = {}
    kept = {key: value for key, value in own.items() if FIELD_OF.get(squeezed(key)) not in told}
    values = {**{key: value for key, value in told.items() if value is not None}, **kept}
    return f"---\n{emit(values)}---\n{wish.task.text}"


def without_the_forlorn(offspring: Offspring, ids: Mapping[str, str]) -> Offspring:
    """Without the new children that wait for a sibling which was refused: they would wait for ever.

    `ids` leads from the name of a new file to the id it would have had.
    """
    children = list(offspring.children)
    while True:
        accepted = {str(one.task_id).casefold() for one in children if one.task_id}
        refused = {name.casefold() for one in children if one.refused for name in _names_of(one, ids)} - accepted
        found = next(((at, name) for at, one in enumerate(children) for name in _awaited(one) if name in refused), None)
        if found is None:
            return replace(offspring, children=tuple(children))
        at, name = found
        why = f"it waits for {name}, which was refused"
        children[at] = replace(children[at], task_id=None, text="", budget_usd=None, refused=why)


def _names_of(child: Child, ids: Mapping[str, str]) -> Iterator[str]:
    yield slug(_stem(child.name))
    if child.name in ids:
        yield ids[child.name]


def _awaited(child: Child) -> tuple[str, ...]:
    """The casefolded ids that a new child waits for."""
    task = parse_task(f"{child.task_id}.md", child.text.encode("utf-8", "surrogateescape")) if child.text else None
    return tuple(map(str.casefold, task.waits_for)) if isinstance(task, TaskSpec) else ()


def _stem(name: str) -> str:
    return name.removeprefix("/").removesuffix(".md")
