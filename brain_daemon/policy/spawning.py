"""May a task spawn this child, and what does the child get from it: bounds, permissions, money, and who waits for whom.

A child may have what its parent has and nothing more. What it asks for beyond that is refused in words, what it does not say it
takes from its parent. Nobody waits for whom it must have ended first: neither an ancestor nor a task that waits for one.
Pure; nothing fails.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brain_daemon.model.quantities import dollars
from brain_daemon.model.task import OnLimit, Permissions, TaskSpec
from brain_daemon.policy.eligibility import WIDTH, listing

_CENT = Decimal("0.01")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many generations below a task that nobody spawned, and how many children of one task."""

    depth: int
    children: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A task at work, as far as it bears on its children.

    `generation` counts the spawned tasks above it and itself, 0 for one that a person dropped. `above` are the casefolded ids of
    itself and those ancestors. `may` is what it was allowed to do, `on_limit` what holds for it, `left_usd` what it may still
    spend. `shells` are the interfaces that run any command, and that it may not use itself.
    """

    task: TaskSpec
    chain: str
    session: str | None
    generation: int
    above: frozenset[str]
    may: Permissions
    on_limit: OnLimit
    left_usd: Decimal | None = None
    shells: tuple[str, ...] = ()


def refusal(
    parent: Parent, child: TaskSpec, bounds: Bounds, *, spawned: int, waits: Mapping[str, Sequence[str]]
) -> str | None:
    """Why the child is refused; None if it may be.

    `spawned` is how many children the parent has; `waits` leads from the casefolded id of a task to the ids it waits for.
    """
    return (
        _beyond_bounds(parent, bounds, spawned)
        or _mislabelled(parent, child)
        or _unfit(child)
        or _beyond_permissions(parent, child)
        or _beyond_budget(parent, child)
        or _deadlocked(parent, child, waits)
    )


def _beyond_bounds(parent: Parent, bounds: Bounds, spawned: int) -> str | None:
    if parent.generation >= bounds.depth:
        deep = f"{parent.task.id} was spawned itself, and " if parent.generation else ""
        return f"{deep}the setting spawn_depth allows {bounds.depth} generations"
    if spawned >= bounds.children:
        return f"{parent.task.id} has {spawned} children already, as many as the setting spawn_children allows"
    return None


def _mislabelled(parent: Parent, child: TaskSpec) -> str | None:
    """A child that names another origin than its own."""
    own = {"parent": parent.task.id, "chain": parent.chain, "session": parent.session}
    for key, said in (("parent", child.parent), ("chain", child.chain), ("session", child.session)):
        if said is not None and said.casefold() != (own[key] or "").casefold():
            return f"its `{key}` is {said}, and may only be {own[key] or 'left away'}"
    return None


def _unfit(child: TaskSpec) -> str | None:
    if child.draft:
        return "it is a draft, and nobody would ever say that it is ready"
    if child.workflow is not None:
        return "it asks for the run of a workflow, which only a person begins"
    return None


def _beyond_permissions(parent: Parent, child: TaskSpec) -> str | None:
    if child.permissions is not None and WIDTH[child.permissions] > WIDTH[parent.may]:
        return f"it asks for `permissions: {child.permissions}`, and its parent may only {parent.may}"
    if child.interface is not None and child.interface in parent.shells:
        return f"it asks for {child.interface}, which runs any command, and its parent may not"
    if child.workspace not in ("scratch", parent.task.workspace):
        return f"it asks to work in {child.workspace}, where its parent does not"
    if child.verify is not None and child.verify != parent.task.verify and parent.may is not Permissions.FULL:
        return "its `verify` would run a command that its parent may not run"
    if child.on_limit is OnLimit.FALLBACK and parent.on_limit is not OnLimit.FALLBACK:
        return f"it says `on_limit: fallback`, and its parent may not go to dearer interfaces (`on_limit: {parent.on_limit}`)"
    return None


def _beyond_budget(parent: Parent, child: TaskSpec) -> str | None:
    if parent.left_usd is None:
        return None
    if child.budget_usd is not None and child.budget_usd > parent.left_usd:
        return f"it asks for {dollars(child.budget_usd)}, and its parent has {dollars(parent.left_usd)} left"
    if parent.left_usd <= _ZERO:
        return "its parent has nothing left of its budget"
    return None


def _deadlocked(parent: Parent, child: TaskSpec, waits: Mapping[str, Sequence[str]]) -> str | None:
    for name in child.waits_for:
        if name.casefold() in parent.above:
            return f"it waits for {name}, which is its own parent or above it"
        if parent.above & _reached(name, waits):
            return f"it waits for {name}, which waits for its own parent or one above it"
    against = [name for name in child.conflicts_with if name.casefold() in parent.above]
    if against:
        return f"it conflicts with {listing(against)}, its own parent or one above it"
    if child.id.casefold() in map(str.casefold, parent.task.conflicts_with):
        return "its parent conflicts with it"
    return None


def _reached(name: str, waits: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Whom a task waits for, directly or through others."""
    found: set[str] = set()
    ahead = [name.casefold()]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += map(str.casefold, waits.get(one, ()))
    return frozenset(found)


def shares(left_usd: Decimal | None, asked: Iterable[Decimal | None]) -> Iterator[Decimal | None]:
    """The budget of each of some children in turn: what it asks for, else an equal share of what the others leave.

    The parent counts as one more of those who share. Whoever asks for more than is left by then is not among them.
    """
    wishes = tuple(asked)
    if left_usd is None:
        yield from wishes
        return
    free = left_usd - sum((wish for wish in wishes if wish is not None), _ZERO)
    share = max(_ZERO, (free / (sum(wish is None for wish in wishes) + 1)).quantize(_CENT / 100))
    yield from (share if wish is None else wish for wish in wishes)


def inherited(parent: Parent, child: TaskSpec, budget_usd: Decimal | None) -> dict[str, object]:
    """The keys of a child's front matter that are not its own to decide, those it says in vain included."""
    values: dict[str, object] = {
        "id": child.id,
        "parent": parent.task.id,
        "chain": parent.chain,
        "session": parent.session,
        "permissions": _permissions(parent, child),
        "budget_usd": None if budget_usd is None else f"{budget_usd:f}",
        "on_limit": child.on_limit or parent.task.on_limit,
        "local_only": "true" if parent.task.local_only or child.local_only else None,
        "never": list(dict.fromkeys((*child.never, *parent.task.never, *parent.shells))) or None,
        "mode": None,
    }
    return {
        key: None if value is None else (value if isinstance(value, list) else str(value))
        for key, value in values.items()
    }


def _permissions(parent: Parent, child: TaskSpec) -> Permissions | None:
    """A child that says nothing would get `write`, which is too much below a parent that may only read."""
    if child.permissions is None and parent.may is Permissions.READ:
        return Permissions.READ
    return child.permissions
