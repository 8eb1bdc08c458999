"""What tasks will take before any of them starts: where they would go, what that costs, and how much of each window it uses.

Each task is counted once, where routing would send it now; its size and price are those that admission reckons with, and windows
stand where the accounts of this user have them. What is unknown is said and in no sum. Nothing is started, reserved or sent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brain_daemon.adapters.registry import Registry
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.quotas import Reading, Use
from brain_daemon.policy.routing import Choice, Ranked
from brain_daemon.record.wording import dollars
from brain_daemon.service.brain import Brain
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.estimates import Estimates
from brain_daemon.service.intake import Intake
from brain_daemon.service.limits import NoLimits
from brain_daemon.service.past import Past
from brain_daemon.service.quotas import Quotas


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What one task is expected to take; `interface` None: nobody can take it now, and `why` says why not."""

    task_id: str
    interface: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowNeed:
    """One quota window of an interface: the share used now, the share with these tasks, and how many of them do not fit."""

    interface: str
    label: str
    share: float
    share_after: float
    not_fitting: int
    resets_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """All of it. `usd` is the sum of what is known, `unknown` the number of tasks that are not in it."""

    tasks: tuple[Expected, ...]
    windows: tuple[WindowNeed, ...]

    @property
    def usd(self) -> Decimal:
        return sum((one.usd for one in self.tasks if one.usd is not None), Decimal(0))

    @property
    def unknown(self) -> int:
        return sum(one.usd is None and one.interface is not None for one in self.tasks)

    @property
    def not_fitting(self) -> int:
        """How many tasks will wait for a reset: the most in any one window of each interface, all interfaces together."""
        worst: dict[str, int] = {}
        for one in self.windows:
            worst[one.interface] = max(worst.get(one.interface, 0), one.not_fitting)
        return sum(worst.values())


def forecast(brain: Brain, registry: Registry, tasks: Iterable[TaskSpec]) -> Forecast:
    """What these tasks would take if they were dropped now."""
    table, _ = brain.routing_table()
    past = Past(brain)
    past.look(table, now=True)
    dispatch = Dispatch(brain.config, Intake(brain, Redactor()), registry, NoLimits(), past)
    dispatch.interfaces_changed(table)
    estimates = Estimates(brain.journal)
    found = tuple(_expected(task, dispatch, registry, estimates) for task in tasks)
    return Forecast(tasks=found, windows=tuple(_windows(brain, registry, found)))


def _expected(task: TaskSpec, dispatch: Dispatch, registry: Registry, estimates: Estimates) -> Expected:
    choice = dispatch.route(task)
    if not isinstance(choice, Choice):
        return Expected(task_id=task.id, interface=None, why=choice.reason)
    first = dispatch.drawn(choice, task).ranked[0]
    guess = estimates.of(task.text, registry.entries[first.name].spec, first.model)
    usd = _usual(first) if guess.usd is None else guess.usd
    return Expected(
        task_id=task.id,
        interface=first.name,
        input_tokens=guess.prompt_tokens,
        output_tokens=guess.output_tokens,
        usd=usd,
    )


def _usual(ranked: Ranked) -> Decimal | None:
    """What its attempts at this type usually cost, where no price is known."""
    if ranked.lesson is None or ranked.lesson.usd is None:
        return None
    return Decimal(f"{ranked.lesson.usd:.6f}")


def _windows(brain: Brain, registry: Registry, found: Sequence[Expected]) -> Iterator[WindowNeed]:
    quotas = Quotas(brain, lambda: [entry.spec for entry in registry.entries.values()])
    try:
        quotas.look()
        for name in Counter(one.interface for one in found if one.interface is not None):
            needs = [_use(one) for one in found if one.interface == name]
            yield from (_window(name, reading, needs) for reading in quotas.readings(registry.entries[name].spec))
    finally:
        quotas.close()


def _use(one: Expected) -> Use:
    return Use(messages=1, tokens=one.input_tokens + one.output_tokens, usd=one.usd or Decimal(0))


def _window(name: str, reading: Reading, needs: Sequence[Use]) -> WindowNeed:
    quota = reading.quota
    used, fit = reading.used, 0
    for need in needs:
        if used + need.of(quota.unit) <= quota.amount:
            fit += 1
            used += need.of(quota.unit)
    wanted = sum((need.of(quota.unit) for need in needs), Decimal(0))
    return WindowNeed(
        interface=name,
        label=quota.label,
        share=reading.share,
        share_after=reading.share_with(wanted),
        not_fitting=len(needs) - fit,
        resets_at=reading.resets_at,
    )


def told(found: Forecast) -> list[str]:
    """The forecast in sentences: `about 38 % of the 5h of plan_a and $1.20; 3 tasks will not fit before the reset`."""
    shares = [f"{(one.share_after - one.share) * 100:.0f} % of {one.label} of {one.interface}" for one in found.windows]
    cost = dollars(found.usd) + (f" and the unknown cost of {found.unknown} tasks" if found.unknown else "")
    places = Counter(one.interface for one in found.tasks if one.interface is not None)
    where = ", ".join(f"{number} to {name}" for name, number in places.most_common())
    lines = [f"{len(found.tasks)} tasks: {where or 'none of them can start now'}."]
    lines.append(f"They take about {' and '.join([*shares, cost])}.")
    if found.not_fitting:
        lines.append(f"{_tasks(found.not_fitting)} will not fit before the reset.")
    nobody = [one for one in found.tasks if one.interface is None]
    if nobody:
        lines.append(f"{_tasks(len(nobody))} will wait, since nobody can take them now: {nobody[0].why}")
    return lines


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number:,} tasks"
