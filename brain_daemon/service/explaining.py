"""A routing decision as a colleague would put it: who, why, what history and the draw had to do with it, and what comes next.

Nothing is decided here: the sentences follow from the choice.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import Tier
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import OnLimit, Prefer, TaskSpec
from brain_daemon.policy.admission import within_reach
from brain_daemon.policy.drawing import drawn
from brain_daemon.policy.routing import Choice, Nobody, Ranked
from brain_daemon.record.wording import dollars, duration
from brain_daemon.service.past import Past

_MOST_NAMED = 4
_NOTICEABLE_SECONDS = 0.1
_VIRTUES = {Prefer.COST: "cost", Prefer.QUALITY: "cost", Prefer.SPEED: "speed"}


def draws(task: TaskSpec, choice: Choice) -> dict[str, float]:
    """What each interface drew for this task, of those whose place a draw decides."""
    return {
        one.name: one.lesson.draw(task.id, one.name) for one in choice.ranked if one.open and one.lesson is not None
    }


def note(task: TaskSpec, asked: Choice | Nobody, past: Past, table: RoutingTable, on_limit: OnLimit) -> list[str]:
    """The sentences, one a line; `asked` is the choice before the draw."""
    kind = table.type_of(task.type)
    if isinstance(asked, Nobody):
        return [f"{task.id} is a task of the type {kind}. Nobody can take it now: {asked.reason}."]
    choice = drawn(asked, task.id, past.prefers(task), explained=False)
    first = choice.ranked[0]
    said = [f"{task.id} is a task of the type {kind}. It goes to {_named(first)}.", f"Why: {_why(choice)}."]
    said += _listed_before(asked, kind, first, table)
    said += _history(first)
    said += _drawn(task, choice, past)
    return [*said, _next(choice, on_limit)]


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


def _next(choice: Choice, on_limit: OnLimit) -> str:
    """Where it goes if the first has no room, and what it would take to spend money."""
    reach = [one.name for one in within_reach(choice, on_limit=on_limit)]
    after = [name for name in reach if name != choice.ranked[0].name]
    there = f"it goes to {_joined(after, 'or')}" if after else "it waits"
    paid = [
        one.name
        for one in choice.ranked
        if one.name not in reach and one.tier in (Tier.PAID, Tier.FALLBACK) and not one.last_resort
    ]
    rest = f" {_joined(paid, 'or')} would cost money, and only `on_limit: fallback` lets it." if paid else ""
    return f"If {choice.ranked[0].name} has no room, {there}.{rest}"


def _joined(names: Sequence[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
