"""Low-priority tasks and quotas: the person's part is kept from them, and what a window would lose is theirs.

The rules are policy/harvest.py's, on the readings of service/quotas.py. The daemon keeps in the journal which windows it draws tasks
forward to (`HARVEST`), for commands in other processes. A person's own answer to the question near a limit goes before the harvest.
Nothing fails here; a note that cannot be read counts as none.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from brain_daemon.adapters.command import local_zone
from brain_daemon.model.attempt import Attempt
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.task import Priority, TaskSpec
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.harvest import FREE_OF_COST, Reserve, hours_of, kept_back, ripe, ripens_at
from brain_daemon.policy.quotas import Reading, Use
from brain_daemon.policy.routing import Choice, Ranked
from brain_daemon.record.wording import duration, utc
from brain_daemon.service.config import Config
from brain_daemon.store.journal import Journal

HARVEST = "harvest"
"""The key in the journal under which the ends (epoch seconds) of the windows stand, by interface."""

HARVESTED = "harvested"
"""The key in an attempt's `routing` that says: it was drawn forward."""


class Harvest:
    """For one daemon and one thread.

    `read` gives an interface's quotas as they are used now, `runs` says whether anything runs on one.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[InterfaceSpec], Sequence[Reading]],
        runs: Callable[[str], bool],
    ) -> None:
        self._on = config.harvest
        self._horizon_seconds = config.harvest_before_seconds
        self._reserve = reserve_of(config)
        self._read = read
        self._runs = runs
        self._ends: dict[str, float] = {}
        self._due: tuple[Sequence[InterfaceSpec], float] | None = None
        self._passed: dict[tuple[str, str], str] = {}
        self._drawn: set[str] = set()

    @property
    def ends(self) -> Mapping[str, float]:
        """When the window ends of each interface that low-priority tasks are drawn forward to, epoch seconds."""
        if self._due is not None:
            (specs, now), self._due = self._due, None
            self._ends = {spec.name: end for spec in specs if (end := self._first_end(spec, now)) is not None}
        return self._ends

    def begin(self, specs: Sequence[InterfaceSpec], now: float) -> None:
        """A new look at the queue, with the interfaces that have quotas. Their windows are looked at when somebody asks."""
        self._passed.clear()
        self._due = specs, now

    def shut(self, task: TaskSpec, spec: InterfaceSpec, need: Use, now: float) -> Shut | None:
        """Why a task leaves this interface to the person."""
        if not _may_wait(task, spec):
            return None
        kept = kept_back(self._read(spec), need, now=now, reserve=self._reserve)
        return None if kept is None else Shut(why=kept.why, until=kept.until)

    def unasked(self, task: TaskSpec, ranked: Ranked, spec: InterfaceSpec, need: Use, now: float) -> frozenset[str]:
        """The labels of the quotas that lapse so soon that nobody is asked about the rest of them."""
        if not (self._on and _may_wait(task, spec)):
            return frozenset()
        return frozenset(one.quota.label for one in self._ripe(spec, now, ranked) if one.fits(need))

    def passed(self, task: TaskSpec, spec: InterfaceSpec, label: str) -> None:
        """The person would have been asked about this quota, and was not."""
        self._passed[task.id.casefold(), spec.name] = label

    def looks_again(self, task: TaskSpec, spec: InterfaceSpec, until: float | None, now: float) -> float | None:
        """Until when a task waits that waits for an answer: no longer than until its window is ripe."""
        if not (self._on and _may_wait(task, spec)):
            return until
        ripens = ripens_at(self._read(spec), now=now, horizon_seconds=self._horizon_seconds)
        return min((at for at in (until, ripens) if at is not None), default=None)

    def drawn(self, task: TaskSpec, ranked: Ranked, now: float, *, early: bool) -> str:
        """Say that a task which starts there is drawn forward: before its turn (`early`), or unasked; empty where it is not."""
        self._drawn.discard(task.id.casefold())
        label = self._passed.get((task.id.casefold(), ranked.name))
        if task.priority is not Priority.LOW or not (early or label):
            return ""
        ends = self.ends.get(ranked.name)
        if ends is None:
            return ""
        self._drawn.add(task.id.casefold())
        unasked = f"; nobody is asked about the last of {label}" if label else ""
        return f"drawn forward: a window of {ranked.name} ends in {duration(ends - now)} with quota left{unasked}"

    def marked(self, attempt: Attempt) -> Attempt:
        """The attempt, which says whether it was drawn forward."""
        if attempt.task_id.casefold() not in self._drawn:
            return attempt
        self._drawn.discard(attempt.task_id.casefold())
        return replace(attempt, routing={**(attempt.routing or {}), HARVESTED: True})

    def keep(self, journal: Journal) -> None:
        """Leave word for other processes."""
        told = json.dumps(self.ends)
        if (journal.get(HARVEST) or "{}") != told:
            journal.set(HARVEST, told)

    def notices(self) -> tuple[str, ...]:
        """What the board says, by the last look at the windows."""
        return tuple(
            f"Low-priority tasks are drawn forward to {name}: its window ends at {utc(end)} with quota left."
            for name, end in sorted(self._ends.items())
        )

    def _first_end(self, spec: InterfaceSpec, now: float) -> float | None:
        if not self._on or spec.cost.tier not in FREE_OF_COST:
            return None
        ends = [one.quota.resets_at for one in self._ripe(spec, now) if one.quota.resets_at is not None]
        return min(ends, default=None)

    def _ripe(self, spec: InterfaceSpec, now: float, ranked: Ranked | None = None) -> Sequence[Reading]:
        return ripe(
            self._read(spec),
            now=now,
            reserve=self._reserve,
            horizon_seconds=self._horizon_seconds,
            run_seconds=None if ranked is None or ranked.lesson is None else ranked.lesson.seconds,
            alone=not self._runs(spec.name),
        )


def reserve_of(config: Config) -> Reserve:
    """The person's part, as the settings have it; hours without a zone are this machine's."""
    hours = hours_of(config.quota_reserve_hours)
    return Reserve(
        share=config.quota_reserve,
        away_share=config.quota_reserve_away,
        from_hour=hours.from_hour,
        to_hour=hours.to_hour,
        zone=hours.zone or local_zone(config.environment.get("TZ", "")),
    )


def sentence(task: TaskSpec, choice: Choice, journal: Journal, now: float) -> str:
    """What `brain route --explain` says of a task that would be drawn forward now; empty for any other."""
    ends = _kept(journal)
    there = [one.name for one in choice.ranked if ends.get(one.name, 0.0) > now]
    if task.priority is not Priority.LOW or not there:
        return ""
    return (
        f"It is of low priority, and a window of {there[0]} ends at {utc(ends[there[0]])} with quota left: there it is drawn forward, "
        "before tasks that would not use it, and nobody is asked about the last tenth."
    )


def _may_wait(task: TaskSpec, spec: InterfaceSpec) -> bool:
    return task.priority is Priority.LOW and spec.cost.tier in FREE_OF_COST


def _kept(journal: Journal) -> Mapping[str, float]:
    try:
        told = json.loads(journal.get(HARVEST) or "{}")
    except ValueError:
        return {}
    pairs = told.items() if isinstance(told, dict) else ()
    return {name: float(end) for name, end in pairs if isinstance(end, int | float)}
