"""A routing decision as a colleague would put it: what becomes of the task now, who is chosen, why, what history and the draw had to
do with it, and what comes next.

Nothing is decided here: the sentences follow from the choice, and what becomes of the task now is what the daemon's own dispatch and
gate say of it (`look`). Nothing is reserved, noted, asked or started for that. Failures of `look`: StorageError and Damaged, as the
accounts of this user have them.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal

from brain_daemon.adapters.registry import Registry
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import Tier
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import OnLimit, Prefer, TaskSpec
from brain_daemon.policy.admission import Shut, Slots, Start, admit, within_reach
from brain_daemon.policy.drawing import drawn
from brain_daemon.policy.routing import Choice, Nobody, Ranked
from brain_daemon.record.wording import dollars, duration, until_words
from brain_daemon.service.agents import in_flight
from brain_daemon.service.brain import Brain
from brain_daemon.service.dispatch import Dispatch, Fail, Go, Held
from brain_daemon.service.gate import Gate
from brain_daemon.service.intake import Intake, PendingTask, vocabulary
from brain_daemon.service.past import Past
from brain_daemon.service.snapshot import waits_until
from brain_daemon.store.locks import running_daemon
from brain_daemon.store.queue import Signature, peek

_NO_FILE = Signature(inode=0, size_bytes=0, modified_ns=0)
_MOST_NAMED = 4
_NOTICEABLE_SECONDS = 0.1
_VIRTUES = {Prefer.COST: "cost", Prefer.QUALITY: "cost", Prefer.SPEED: "speed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What becomes of a task now: it starts on `interface`, or is at work there; or it waits (None). `why`, and until when (epoch seconds)."""

    interface: str | None
    why: str
    until: float | None = None
    at_work: bool = False


def look(brain: Brain, registry: Registry, table: RoutingTable, past: Past, task: TaskSpec, path: str) -> Now:
    """What the daemon would do with the task in the file at `path` at this moment; one that is none of the queue, as if it were dropped."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.realpath(folder) == os.path.realpath(brain.layout.active):
        attempts = brain.journal.attempts_of(task.id)
        return _at_work(attempts[-1] if attempts else None)
    if brain.journal.get("paused") == "yes":
        return Now(interface=None, why="the brain is paused, and `brain resume` lets tasks start")
    specs = {name: entry.spec for name, entry in registry.entries.items()}
    busy = _busy(brain)
    with closing(Gate(brain, specs.values, specs.get, looks_only=True)) as gate:
        gate.running = lambda: busy
        gate.open()
        intake = Intake(brain, brain.redactor(registry))
        intake.vocabulary = vocabulary(registry, table)
        intake.released = brain.journal.approvals()
        dispatch = Dispatch(brain.config, intake, registry, gate, past)
        dispatch.interfaces_changed(table)
        dispatch.conflicts = dict(in_flight(brain))
        intake.active = dict.fromkeys(dispatch.conflicts, "active")
        is_pending = os.path.realpath(folder) == os.path.realpath(brain.layout.pending)
        name = _taken_in(intake, task, path, is_pending=is_pending)
        if name in intake.declined:
            return Now(interface=None, why=f"its file {intake.declined[name][1]}")
        found = _judged(brain, dispatch, gate, name, task, busy)
    return (_as_held(brain, name) or found) if is_pending and found.interface is not None else found


def _at_work(attempt: Attempt | None) -> Now:
    """A task in active/: its worker, or what it is parked for."""
    if attempt is None:
        return Now(interface=None, why="it is being claimed")
    if attempt.decision in (Decision.PARK, Decision.ASK):
        return Now(interface=None, why=f"parked: {attempt.message}", until=attempt.resume_at)
    again = waits_until(attempt)
    if again is not None and again > time.time():
        return Now(interface=None, why=f"{attempt.message}; it is tried again then", until=again)
    return Now(interface=attempt.interface or attempt.claimant, why="it is at work there", at_work=True)


def _busy(brain: Brain) -> Mapping[str, int]:
    """How many attempts the daemon runs on each interface."""
    under_way = (one for one in brain.journal.open_attempts() if one.state is AttemptState.STARTING)
    return Counter(one.interface for one in under_way if one.interface is not None)


def _taken_in(intake: Intake, task: TaskSpec, path: str, *, is_pending: bool) -> str:
    """The task in the picture of the queue; its name there. Who waits for others is looked at beside all that are pending."""
    name = os.path.basename(path) if is_pending else f"{task.id}.md"
    if is_pending:
        intake.complete(name)
    if task.waits_for or task.conflicts_with:
        list(intake.scan())
    if name not in intake.tasks and name not in intake.declined:
        found = peek(os.path.dirname(path), os.path.basename(path))
        signature = found if isinstance(found, Signature) else _NO_FILE
        intake.tasks[name] = PendingTask(name, signature, time.time(), task, None)
    return name


def _judged(brain: Brain, dispatch: Dispatch, gate: Gate, name: str, task: TaskSpec, busy: Mapping[str, int]) -> Now:
    dispatch.changed(name)
    picks = dispatch.pick(1, busy)
    held = dispatch.held.get(name)
    if held is not None:
        return Now(interface=None, why=_said(held), until=held.until)
    match picks:
        case [Fail(dependency=reason)]:
            return Now(interface=None, why=reason or "its file is no task")
        case [Go(start=start)]:
            taken = sum(busy.values())
            if taken >= brain.config.parallel:
                return Now(
                    interface=None, why=f"every slot of this brain is taken ({taken} of {brain.config.parallel})"
                )
            return Now(interface=start.name, why=_beyond(start))
    return _without_slot(brain, dispatch, gate, task, busy)


def _without_slot(brain: Brain, dispatch: Dispatch, gate: Gate, task: TaskSpec, busy: Mapping[str, int]) -> Now:
    """A task that only lacks a slot stays in the queue without a word: this is what admission said."""
    released = gate.released(task)
    on_limit = released.on_limit or OnLimit(brain.config.on_limit)
    choice = dispatch.choices.route(released)
    if isinstance(choice, Nobody):
        return Now(interface=None, why=choice.reason)
    turn = dispatch.choices.drawn(choice, released)

    def closed(ranked: Ranked) -> Shut | None:
        return dispatch.choices.away(ranked) or gate.closed(released, ranked, turn, on_limit)

    slots = Slots(total_free=1, running=busy, caps=gate.caps(one.name for one in turn.ranked))
    answer = admit(turn, slots=slots, now=time.time(), on_limit=on_limit, closed=closed)
    if isinstance(answer, Start):
        return Now(interface=answer.name, why=_beyond(answer))
    return Now(interface=None, why=_with_names(answer.reason, turn), until=answer.until)


def _as_held(brain: Brain, name: str) -> Now | None:
    """What only the running daemon knows: that the task waits for a time that it has set itself."""
    if running_daemon(brain.layout) is None:
        return None
    now = time.time()
    holds = (one for one in brain.journal.holds() if one.name == name and one.until is not None and one.until > now)
    return next((Now(interface=None, why=one.reason, until=one.until) for one in holds), None)


def _said(held: Held) -> str:
    return held.reason if held.choice is None else _with_names(held.reason, held.choice)


def _with_names(reason: str, choice: Choice) -> str:
    """`free1: 10 of 10 slots taken` as a sentence."""
    names = {one.name for one in choice.ranked}
    parts = (part.partition(": ") for part in reason.split("; "))
    return "; ".join(
        f"{name} has no room: {why}" if name in names else name + colon + why for name, colon, why in parts
    )


def _beyond(start: Start) -> str:
    """Why it starts there, beside what speaks for that interface in itself."""
    return start.reason.removeprefix(start.ranked.reason).removeprefix("; ")


def now_words(now: Now, at: float) -> str:
    """The same in a sentence for a line of its own; `at` is epoch seconds."""
    if now.interface is None:
        waiting = _waiting(now, at)
        return waiting[:1].lower() + waiting[1:]
    if now.at_work:
        return f"it is at work now, on {now.interface}"
    return f"it goes to {now.interface} now" + (f": {now.why}" if now.why else "")


def _waiting(now: Now, at: float) -> str:
    """That it waits, for what and until when. Some reasons say `waits` themselves."""
    said = f"It {now.why}" if now.why.startswith("waits ") else f"It waits now: {now.why}"
    return said + until_words(now.until, at)


def draws(task: TaskSpec, choice: Choice) -> dict[str, float]:
    """What each interface drew for this task, of those whose place a draw decides."""
    return {
        one.name: one.lesson.draw(task.id, one.name) for one in choice.ranked if one.open and one.lesson is not None
    }


def note(
    task: TaskSpec,
    asked: Choice | Nobody,
    past: Past,
    table: RoutingTable,
    on_limit: OnLimit,
    now: Now | None = None,
) -> list[str]:
    """The sentences, one a line; `asked` is the choice before the draw, `now` what becomes of the task at this moment."""
    kind = table.type_of(task.type)
    if isinstance(asked, Nobody):
        return [f"{task.id} is a task of the type {kind}. Nobody can take it now: {asked.reason}."]
    choice = drawn(asked, task.id, past.prefers(task), explained=False)
    first = choice.ranked[0]
    straight = now is None or now.interface == first.name
    what = f"It goes to {_named(first)}." if straight or now is None else _sentence(now, choice)
    said = [f"{task.id} is a task of the type {kind}. {what}"]
    said += [] if straight else [f"Its first choice is {_named(first)}."]
    said.append(f"Why: {_why(choice)}.")
    said += _listed_before(asked, kind, first, table)
    said += _history(first)
    said += _drawn(task, choice, past)
    return [*said, *filter(None, [_next(choice, on_limit, room=straight)])]


def _sentence(now: Now, choice: Choice) -> str:
    if now.interface is None:
        return f"{_waiting(now, time.time())}."
    if now.at_work:
        return f"It is at work now, on {now.interface}."
    there = next((_named(one) for one in choice.ranked if one.name == now.interface), now.interface)
    return f"Now it goes to {there}" + (f", since {now.why}." if now.why else ".")


def _named(one: Ranked) -> str:
    model = f" with {one.model}" if one.model else ""
    return f"{one.name}{model} ({one.tier.value})"


def _why(choice: Choice) -> str:
    """The first one's reason without what the next sentence says of history."""
    first = choice.ranked[0]
    told = () if first.lesson is None else (f"history: {first.lesson.record}",)
    reason = "; ".join(part for part in first.reason.split("; ") if part not in told)
    if not first.open:
        return reason
    alone = len(choice.ranked) == 1
    return f"{'nobody else can do it' if alone else 'of those that can do it the cheapest rung goes first'}: {reason}"


def _listed_before(choice: Choice, kind: str, first: Ranked, table: RoutingTable) -> Iterator[str]:
    """Those that routing.md would rather have seen there, and why they are not."""
    rule = table.rule(kind)
    listed = [] if rule is None else [normal_name(name) for name in (*rule.best, *rule.fallback)]
    before = listed[: listed.index(first.name)] if first.name in listed else listed
    refused = dict(choice.rejected)
    missing = [f"{name} ({refused[name]})" for name in before if name in refused]
    if missing:
        yield f"routing.md would rather have it done by {_joined(missing[:_MOST_NAMED])}."


def _history(first: Ranked) -> Iterator[str]:
    lesson = first.lesson
    if lesson is None:
        yield "History has no say: learning is off."
        return
    seen = (
        f"it did {lesson.good} of {lesson.judged} such tasks well" if lesson.judged else "it has done no such task yet"
    )
    usual = [f"about {dollars(Decimal(f'{lesson.usd:.6f}'))}"] if lesson.usd else []
    if lesson.seconds is not None and lesson.seconds >= _NOTICEABLE_SECONDS:
        usual.append(f"about {duration(lesson.seconds)}")
    costs = f", {' and '.join(usual)} each" if usual else ""
    yield f"History: {seen}{costs}. Expected: {lesson.expected * 100:.0f} of 100."


def _drawn(task: TaskSpec, choice: Choice, past: Past) -> Iterator[str]:
    first, found = choice.ranked[0], draws(task, choice)
    rivals = [one.name for one in choice.ranked[1:] if one.name in found and one.rung == first.rung]
    if first.name in found and rivals:
        others = _joined([f"{found[name]:.2f} for {name}" for name in rivals[:_MOST_NAMED]])
        weighed = past.prefers(task).value
        better = found[first.name] >= max(found[name] for name in rivals)
        made_up = "" if better else f" Its {_VIRTUES[past.prefers(task)]} made up for the difference."
        yield f"Drawn for this task: {found[first.name]:.2f} for {first.name}, {others} (prefer: {weighed}).{made_up}"


def _next(choice: Choice, on_limit: OnLimit, *, room: bool) -> str:
    """Where it goes if the first has no room (what becomes of it where that is so has been said), and what it would take to spend money."""
    reach = [one.name for one in within_reach(choice, on_limit=on_limit)]
    after = [name for name in reach if name != choice.ranked[0].name]
    there = f"it goes to {_joined(after, 'or')}" if after else "it waits"
    paid = [
        one.name
        for one in choice.ranked
        if one.name not in reach and one.tier in (Tier.PAID, Tier.FALLBACK) and not one.last_resort
    ]
    rest = f"{_joined(paid, 'or')} would cost money, and only `on_limit: fallback` lets it." if paid else ""
    return f"If {choice.ranked[0].name} has no room, {there}. {rest}".rstrip() if room else rest


def _joined(names: Sequence[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
