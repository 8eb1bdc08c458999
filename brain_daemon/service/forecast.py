"""What tasks will take before any of them starts: where they go, what that costs, how much of each window it uses, and who waits.

The tasks are walked through the daemon's own choices and limits (service/outlook.py) one after the other, as its queue stands now:
quotas with the question near their end and the person's part, budgets, open breakers. Their size and price are those that admission
reckons with. What is unknown is said and in no sum. Nothing is started, reserved, asked or sent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal

from brain_daemon.adapters.registry import Registry
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.admission import Hold
from brain_daemon.policy.quotas import Reading, Use
from brain_daemon.policy.readiness import order_key
from brain_daemon.policy.routing import Nobody, Ranked
from brain_daemon.record.wording import dollars, utc
from brain_daemon.service.brain import Brain
from brain_daemon.service.estimates import Estimates
from brain_daemon.service.outlook import Outlook, first_of
from brain_daemon.service.quotas import Quotas

_MOST_SAID = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What one task is expected to take.

    `interface` is where it goes now, None where it waits: `why` for what, `until` when (epoch seconds) and `awaits` on which interface,
    None: nobody can take it. Tokens and dollars are those of the one or the other.
    """

    task_id: str
    interface: str | None
    awaits: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None
    why: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowNeed:
    """One quota window of an interface: the share used now, and the share with the tasks that go there."""

    interface: str
    label: str
    share: float
    share_after: float
    resets_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Tasks that wait for the same: how many, why in the words of the first, until when (epoch seconds), and what they will cost."""

    number: int
    why: str
    until: float | None
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """All of it. `usd` is the known sum of the tasks that go, `unknown` the number of those that are not in it."""

    tasks: tuple[Expected, ...]
    windows: tuple[WindowNeed, ...]

    @property
    def usd(self) -> Decimal:
        return sum((one.usd for one in self.tasks if one.interface is not None and one.usd is not None), Decimal(0))

    @property
    def unknown(self) -> int:
        return sum(one.usd is None and one.interface is not None for one in self.tasks)

    @property
    def waits(self) -> tuple[Waits, ...]:
        """Those that wait, by what they wait for, most first."""
        groups: dict[tuple[str | None, int | None], list[Expected]] = {}
        for one in self.tasks:
            if one.interface is None:
                when = None if one.until is None else round(one.until)
                groups.setdefault((one.awaits, when), []).append(one)
        found = [
            Waits(
                number=len(group),
                why=group[0].why,
                until=group[0].until,
                usd=sum((one.usd for one in group if one.usd is not None), Decimal(0)),
            )
            for group in groups.values()
        ]
        return tuple(sorted(found, key=lambda one: -one.number))


def forecast(brain: Brain, registry: Registry, tasks: Iterable[TaskSpec]) -> Forecast:
    """What these tasks would take if they were dropped now."""
    estimates = Estimates(brain.journal)
    with closing(Outlook(brain, registry)) as outlook:
        found = tuple(_expected(task, outlook, registry, estimates) for task in _in_turn(tasks))
    return Forecast(tasks=found, windows=tuple(_windows(brain, registry, found)))


def _in_turn(tasks: Iterable[TaskSpec]) -> Sequence[TaskSpec]:
    """In the order of the queue: urgent ones first."""
    return sorted(tasks, key=lambda task: order_key(task, 0.0)[0])


def _expected(task: TaskSpec, outlook: Outlook, registry: Registry, estimates: Estimates) -> Expected:
    choice = outlook.choice(task)
    if isinstance(choice, Nobody):
        return Expected(task_id=task.id, interface=None, why=choice.reason)
    answer = outlook.admitted(task, choice)
    first = first_of(answer, choice)
    guess = estimates.of(task.text, registry.entries[first.name].spec, first.model)
    waits = isinstance(answer, Hold)
    return Expected(
        task_id=task.id,
        interface=None if waits else first.name,
        awaits=first.name if waits else None,
        input_tokens=guess.prompt_tokens,
        output_tokens=guess.output_tokens,
        usd=_usual(first) if guess.usd is None else guess.usd,
        why=answer.reason if waits else "",
        until=answer.until if isinstance(answer, Hold) else None,
    )


def _usual(ranked: Ranked) -> Decimal | None:
    """What its attempts at this type usually cost, where no price is known."""
    if ranked.lesson is None or ranked.lesson.usd is None:
        return None
    return Decimal(f"{ranked.lesson.usd:.6f}")


def _windows(brain: Brain, registry: Registry, found: Sequence[Expected]) -> Iterator[WindowNeed]:
    """The windows of the interfaces that tasks go to, those of most tasks first."""
    quotas = Quotas(brain, lambda: [entry.spec for entry in registry.entries.values()])
    try:
        quotas.look(books=False)
        for name, _ in Counter(one.interface for one in found if one.interface is not None).most_common():
            uses = [_use(one) for one in found if one.interface == name]
            yield from (_window(name, reading, uses) for reading in quotas.readings(registry.entries[name].spec))
    finally:
        quotas.close()


def _window(name: str, reading: Reading, uses: Sequence[Use]) -> WindowNeed:
    wanted = sum((use.of(reading.quota.unit) for use in uses), Decimal(0))
    return WindowNeed(
        interface=name,
        label=reading.quota.label,
        share=reading.share,
        share_after=reading.share_with(wanted),
        resets_at=reading.resets_at,
    )


def _use(one: Expected) -> Use:
    return Use(messages=1, tokens=one.input_tokens + one.output_tokens, usd=one.usd or Decimal(0))


def told(found: Forecast) -> list[str]:
    """The forecast in sentences: `They take about 38 % of the 5h of plan_a and $1.20.` `3 tasks wait until ...`."""
    places = Counter(one.interface for one in found.tasks if one.interface is not None)
    waiting = len(found.tasks) - places.total()
    where = ", ".join(f"{number:,} to {name}" for name, number in places.most_common())
    left = f"; {_tasks(waiting)} will wait" if waiting and where else ""
    lines = [f"{_tasks(len(found.tasks))}: {where or 'none of them can start now'}{left}."]
    if where:
        lines.append(f"They take about {' and '.join([*map(_share, found.windows), _cost(found)])}.")
    lines += map(_wait, found.waits[:_MOST_SAID])
    rest = found.waits[_MOST_SAID:]
    if rest:
        lines.append(f"{_tasks(sum(one.number for one in rest))} wait for {len(rest)} other reasons.")
    return lines


def _share(one: WindowNeed) -> str:
    return f"{(one.share_after - one.share) * 100:.0f} % of {one.label} of {one.interface}"


def _cost(found: Forecast) -> str:
    return dollars(found.usd) + (f" and the unknown cost of {_tasks(found.unknown)}" if found.unknown else "")


def _wait(one: Waits) -> str:
    until = "" if one.until is None else f" until {utc(one.until)}"
    then = f" (then about {dollars(one.usd)})" if one.usd else ""
    return f"{_tasks(one.number)} will wait{until}{then}: {one.why}"


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number:,} tasks"
