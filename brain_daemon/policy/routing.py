"""Who could do a task, in which order, and why: the choice, made from values alone.

Each interface ends up in exactly one of two lists. It is *rejected* with a reason a person understands, or it is *ranked*:

1. what the task names: a binding `interface:` alone, or `preferred_interface:` first;
2. what `context/routing.md` lists for the task's type, best before fallback, in its order;
3. the others that meet the floor, cheapest rung first (or as `strategy:` says), within a rung by expected success;
4. the same with `status: limited`;
5. last resorts: those whose expected success on the type is below the floor. They serve when nothing else can.

Expected success is the interface's own `good_at` for the type, else its `good_at: {default: ...}`, else 0.5. One case is lower:
a tool or service that lists capabilities was made for them, so on a task which names none of them it counts 0.25. This is why a
program registered without capabilities takes plain text tasks before a search tool does, and why the search tool still answers
when it is alone. A declared 0 goes further: such an interface is taken only by name, by routing.md or for a capability it offers.
Where lessons of history are given (`policy/learning.py`), what they expect takes the place of all this but the declared 0;
`policy/drawing.py` then orders for each task what a rung leaves open. The table goes before history, unless `learn` is reorder.

Nothing here is fatal and nothing is retried: a task nobody can do is the value `Nobody`, which the caller holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import assert_never

from brain_daemon.model.interface import DEFAULT, Availability, InterfaceSpec, Limits, Tier
from brain_daemon.model.routing_table import RoutingTable, Strategy
from brain_daemon.model.task import Permissions, TaskSpec
from brain_daemon.policy.eligibility import (
    Candidate,
    Question,
    RoutingPolicy,
    barrier,
    expected_success,
    listing,
    meant,
    names_of,
    no_such,
    offers,
    other_trade,
    profile,
    question_of,
    refusal,
    resolve,
)
from brain_daemon.policy.learning import Learn, Lesson, disagrees

__all__ = ["Candidate", "Choice", "Nobody", "Ranked", "RoutingPolicy", "route"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One place in the ranking. `rung` is the tier's position in routing.md's order, 0 the cheapest.

    `model` is None where neither task nor interface names one. `profile` is the key of `invoke.permissions` to run it with,
    None where the interface has no profiles. A `last_resort` is below the floor. `lesson` is what history taught, where it was
    asked; `open` says that nothing but its rung gave it its place, so that a draw may order it among its equals; `listed`
    is its place in what routing.md names for the type, 0 the first, None where it does not name it.
    """

    name: str
    tier: Tier
    rung: int
    reason: str
    model: str | None = None
    profile: Permissions | None = None
    last_resort: bool = False
    limits: Limits = field(default_factory=Limits)
    lesson: Lesson | None = None
    open: bool = False
    listed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """At least one ranked interface, best first, and the refused as (name, why) in order of name."""

    ranked: tuple[Ranked, ...]
    rejected: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nobody:
    """No interface can take the task as things stand; `missing_capabilities` is what one would have to offer."""

    reason: str
    rejected: tuple[tuple[str, str], ...] = ()
    missing_capabilities: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _Place(IntEnum):
    """The groups of the ranking, first to last."""

    NAMED = 0
    BEST = 1
    FALLBACK = 2
    OPEN = 3
    LIMITED = 4
    LAST_RESORT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """A candidate that can do the task, with what decides its place."""

    candidate: Candidate
    place: _Place
    index: int
    rung: int
    expected: float
    lesson: Lesson | None = None

    @property
    def name(self) -> str:
        return self.candidate.spec.name


def route(
    task: TaskSpec,
    candidates: Sequence[Candidate],
    table: RoutingTable,
    *,
    prompt_tokens: int | None,
    policy: RoutingPolicy,
    turn: int = 0,
    lessons: Mapping[str, Lesson] = MappingProxyType({}),
    learn: Learn = Learn.ORDER,
) -> Choice | Nobody:
    """Rank the interfaces for `task`, or say why nobody can do it. `prompt_tokens` None: not counted; `turn` moves round_robin on.

    `lessons` are what history taught of each interface on the task's type; without any it has no say, whatever `learn` is.
    """
    names = names_of(candidates, table)
    bound = meant(task.interface)
    if bound is not None and resolve(bound, names) is None:
        return _unknown_binding(bound, names)
    if task.permissions is not None and not any(policy.grants(task.permissions, one.spec.name) for one in candidates):
        return _not_granted(task.permissions, policy.granted, candidates)
    question = question_of(task, names, table, policy, prompt_tokens)
    verdicts = {one.spec.name: refusal(question, one) for one in candidates}
    rejected = tuple(sorted((name, why) for name, why in verdicts.items() if why is not None))
    able = [one for one in candidates if verdicts[one.spec.name] is None]
    if not able:
        return _nobody(question, candidates, rejected)
    taught = lessons if learn is not Learn.OFF else {}
    seats = _ordered([_seat(question, one, taught.get(one.spec.name)) for one in able], table.strategy, turn)
    seats, objection = _after_history(seats, learn)
    notes = objection + question.warnings + _preference_note(question, dict(rejected))
    ranked = tuple(_ranked(question, seat, notes if first == 0 else ()) for first, seat in enumerate(seats))
    return Choice(ranked=ranked, rejected=rejected, warnings=question.warnings)


def _seat(question: Question, candidate: Candidate, lesson: Lesson | None) -> _Seat:
    spec = candidate.spec
    order = question.table.order
    declared = expected_success(spec, question.type, question.requires, question.table)
    reaches = declared >= _floor(question) if lesson is None else lesson.reaches(_floor(question))
    place, index = _place(question, spec, reaches=reaches)
    rung = order.index(spec.cost.tier) if spec.cost.tier in order else len(order)
    expected = declared if lesson is None else lesson.expected
    return _Seat(candidate=candidate, place=place, index=index, rung=rung, expected=expected, lesson=lesson)


def _place(question: Question, spec: InterfaceSpec, *, reaches: bool) -> tuple[_Place, int]:
    """The group, and the position in it where a list gives one. The floor does not judge whom the person has named."""
    if spec.name in (question.bound, question.preferred):
        return _Place.NAMED, 0
    limited = spec.status is Availability.LIMITED
    if limited and (question.listed(spec.name) or reaches):
        return _Place.LIMITED, 0
    if spec.name in question.best:
        return _Place.BEST, question.best.index(spec.name)
    if spec.name in question.fallback:
        return _Place.FALLBACK, question.fallback.index(spec.name)
    return (_Place.OPEN, 0) if reaches else (_Place.LAST_RESORT, int(limited))


def _floor(question: Question) -> float:
    return question.table.floor_of(question.type)


def _ladder(seat: _Seat) -> tuple[float, ...]:
    return (seat.rung, -seat.expected)


def _capability(seat: _Seat) -> tuple[float, ...]:
    return (-seat.expected, seat.rung)


def _least_loaded(seat: _Seat) -> tuple[float, ...]:
    return (seat.rung, seat.candidate.running, -seat.expected)


_KEYS: Mapping[Strategy, Callable[[_Seat], tuple[float, ...]]] = {
    Strategy.LADDER: _ladder,
    Strategy.CAPABILITY: _capability,
    Strategy.ROUND_ROBIN: _ladder,
    Strategy.LEAST_LOADED: _least_loaded,
}


_TURNS: Mapping[Strategy, str] = {
    Strategy.LADDER: "",
    Strategy.CAPABILITY: "; the best score goes first",
    Strategy.ROUND_ROBIN: "; the cheapest rung takes turns",
    Strategy.LEAST_LOADED: "; the least loaded of the rung goes first",
}


def _ordered(seats: Iterable[_Seat], strategy: Strategy, turn: int) -> list[_Seat]:
    def key(seat: _Seat) -> tuple[int, int, tuple[float, ...], str]:
        chosen = _KEYS[strategy] if seat.place is _Place.OPEN else _ladder
        return (seat.place, seat.index, chosen(seat), seat.name)

    ordered = sorted(seats, key=key)
    return _rotated(ordered, turn) if strategy is Strategy.ROUND_ROBIN else ordered


def _rotated(ordered: list[_Seat], turn: int) -> list[_Seat]:
    """The cheapest rung among the open seats in order of name, begun `turn` names later; the others stay where they are."""
    cheapest = min((seat.rung for seat in ordered if seat.place is _Place.OPEN), default=None)
    ring = [seat for seat in ordered if seat.place is _Place.OPEN and seat.rung == cheapest]
    if not ring:
        return ordered
    start, begin = ordered.index(ring[0]), turn % len(ring)
    ring.sort(key=lambda seat: seat.name)
    return [*ordered[:start], *ring[begin:], *ring[:begin], *ordered[start + len(ring) :]]


def _after_history(seats: list[_Seat], learn: Learn) -> tuple[list[_Seat], tuple[str, ...]]:
    """The seats, and what history has against the first where routing.md put it there. A rival is never on a dearer rung."""
    first = seats[0]
    if first.lesson is None or first.place not in (_Place.BEST, _Place.FALLBACK):
        return seats, ()
    fit = [one for one in seats if one.place in (_Place.BEST, _Place.FALLBACK, _Place.OPEN) and one.rung <= first.rung]
    rivals = [one for one in fit if one.lesson is not None and disagrees(first.lesson, one.lesson)]
    if not rivals:
        return seats, ()
    rival = max(rivals, key=lambda one: one.expected)
    if learn is not Learn.REORDER:
        return seats, (f"history disagrees and would take {_record(rival)}",)
    others = [one for one in seats if one is not rival]
    return [rival, *others], (f"history goes before routing.md, which would take {_record(first)}",)


def _record(seat: _Seat) -> str:
    assert seat.lesson is not None
    return f"{seat.name} ({seat.lesson.record})"


def _ranked(question: Question, seat: _Seat, notes: tuple[str, ...]) -> Ranked:
    spec = seat.candidate.spec
    named = spec.name in (question.bound, question.preferred)
    hint = question.task.model or (question.agent_model if named else None)
    model_note = (f"the model {hint} is not known to it",) if hint and not spec.knows_model(hint) else ()
    return Ranked(
        name=spec.name,
        tier=spec.cost.tier,
        rung=seat.rung,
        reason="; ".join((_why(question, seat), *_taught(seat), *model_note, *notes)),
        model=spec.model_for(hint),
        profile=profile(question, spec),
        last_resort=seat.place is _Place.LAST_RESORT,
        limits=spec.limits,
        lesson=seat.lesson,
        open=seat.place is _Place.OPEN and question.table.strategy is Strategy.LADDER,
        listed=_place_in_table(question, seat),
    )


def _place_in_table(question: Question, seat: _Seat) -> int | None:
    if seat.place not in (_Place.BEST, _Place.FALLBACK):
        return None
    return seat.index if seat.place is _Place.BEST else len(question.best) + seat.index


def _taught(seat: _Seat) -> tuple[str, ...]:
    return (f"history: {seat.lesson.record}",) if seat.lesson is not None and seat.lesson.judged else ()


def _why(question: Question, seat: _Seat) -> str:
    spec, kind = seat.candidate.spec, question.type
    match seat.place:
        case _Place.NAMED:
            limited = " although its status is limited" if spec.status is Availability.LIMITED else ""
            return f"the task {'is bound to' if question.bound else 'prefers'} it{limited}"
        case _Place.BEST:
            return f"routing.md lists it as best for {kind}"
        case _Place.FALLBACK:
            return f"routing.md lists it as a fallback for {kind}"
        case _Place.OPEN:
            return f"{spec.cost.tier}, {_trust(question, seat)}{_TURNS[question.table.strategy]}"
        case _Place.LIMITED:
            return f"its status is limited, so it ranks behind the others; {spec.cost.tier}, {_trust(question, seat)}"
        case _Place.LAST_RESORT:
            return (
                f"a last resort: {_trust(question, seat)}, below the floor of {_floor(question):.2f}; {spec.cost.tier}"
            )
        case never:
            assert_never(never)


def _trust(question: Question, seat: _Seat) -> str:
    """Where the expected success comes from."""
    spec = seat.candidate.spec
    figure = f"{seat.expected:.2f} expected on {question.type}"
    declared = {question.table.type_of(key) for key, _ in spec.good_at}
    if not declared.isdisjoint((question.type, DEFAULT)):
        return figure
    if other_trade(spec, question.type, question.requires):
        return f"{figure}, made for {listing(sorted(offers(spec)))}"
    if not spec.capabilities:
        return f"{figure}, it takes any text"
    return f"{figure}, it declares no score"


def _preference_note(question: Question, rejected: Mapping[str, str]) -> tuple[str, ...]:
    if question.preferred is None or question.preferred not in rejected:
        return ()
    return (f"the preferred {question.preferred} cannot take it: {rejected[question.preferred]}",)


def _not_granted(asked: Permissions, granted: Permissions, candidates: Sequence[Candidate]) -> Nobody:
    why = f"the task asks for `permissions: {asked}` and may have {granted} here; your own settings can grant more"
    return Nobody(reason=why, rejected=tuple(sorted((one.spec.name, why) for one in candidates)))


def _unknown_binding(bound: str, names: Mapping[str, str]) -> Nobody:
    why = no_such(bound, names)
    return Nobody(
        reason=why, rejected=tuple((name, f"the task is bound to {bound}") for name in sorted(set(names.values())))
    )


def _nobody(question: Question, candidates: Sequence[Candidate], rejected: tuple[tuple[str, str], ...]) -> Nobody:
    missing = _missing(question, candidates)
    if question.bound is not None:
        reason = f"the task is bound to {question.bound}, which cannot take it: {dict(rejected)[question.bound]}"
    elif not candidates:
        reason = "no interface is registered; add one to tools/interfaces/"
    elif missing:
        reason = "; ".join(_sought(name, question, candidates) for name in missing)
    else:
        reason = f"no interface can take it: {_by_reason(rejected)}"
    return Nobody(reason=reason, rejected=rejected, missing_capabilities=missing, warnings=question.warnings)


def _by_reason(rejected: tuple[tuple[str, str], ...]) -> str:
    """Each reason once with everybody it holds for, the rarest first: it is mostly the one to do something about."""
    groups: dict[str, list[str]] = {}
    for name, why in rejected:
        groups.setdefault(why, []).append(name)
    return "; ".join(
        f"{listing(names)}: {why}" for why, names in sorted(groups.items(), key=lambda group: len(group[1]))
    )


def _missing(question: Question, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """What a new interface would have to offer: the capabilities nobody who could work offers, else all that nobody offers together."""
    if question.bound is not None:
        offered = [offers(one.spec) for one in candidates if one.spec.name == question.bound]
        return _outside(question.requires, offered)
    offered = [offers(one.spec) for one in candidates if barrier(question, one) is None]
    return _outside(question.requires, offered) or question.requires


def _outside(wanted: tuple[str, ...], offered: Iterable[frozenset[str]]) -> tuple[str, ...]:
    everything = frozenset[str]().union(*offered)
    return tuple(name for name in wanted if name not in everything)


def _sought(capability: str, question: Question, candidates: Sequence[Candidate]) -> str:
    """Who would have offered it and what stands in the way."""
    holders = [one for one in candidates if capability in offers(one.spec)]
    if not holders:
        return f"nobody offers {capability}; register an interface for it in tools/interfaces/"
    why = "; ".join(f"{one.spec.name}: {barrier(question, one) or _apart(question, one)}" for one in holders)
    return f"nobody who offers {capability} can take it: {why}"


def _apart(question: Question, candidate: Candidate) -> str:
    return f"does not offer {listing(_outside(question.requires, [offers(candidate.spec)]))}"
