"""Quota that nobody would use: which low-priority tasks to draw forward before a free or subscription window resets.

A window is harvested when it ends within the horizon and more is left of it than is kept for the person. The person's share is
larger in their hours than outside them. Only what costs nothing more is harvested: free and subscription rungs, and tasks that may
go there. A task whose run would not end before the reset, or that does not fit in what is left, stays where it is.

The caller puts the drawn tasks before the others and lets them pass the question near a limit: the reserve has taken its place.
Their own `not_before`, dependencies and holds are judged before they come here. Nothing fails; instants are epoch seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

from brain_daemon.model.interface import Tier
from brain_daemon.model.task import Priority
from brain_daemon.policy.quotas import ONE_MESSAGE, SHARE, Reading, Use

HORIZON_SECONDS = 3_600.0
_FREE_OF_COST = frozenset({Tier.FREE, Tier.SUBSCRIPTION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """What is kept of each quota for the person: `share` in their hours, `away_share` outside them.

    Hours are local in `zone`, from `from_hour` up to but without `to_hour`; 22 to 6 goes over midnight, equal ones are no hours.
    """

    share: float = 0.2
    away_share: float = 0.0
    from_hour: int = 8
    to_hour: int = 22
    zone: tzinfo = UTC

    def kept(self, now: float) -> float:
        """The share kept at `now`."""
        hour = datetime.fromtimestamp(now, self.zone).hour
        past_midnight = self.from_hour > self.to_hour
        inside = (
            hour >= self.from_hour or hour < self.to_hour if past_midnight else self.from_hour <= hour < self.to_hour
        )
        return self.share if inside else self.away_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """An interface with all quotas of its account, counted."""

    interface: str
    account: str
    tier: Tier
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A task that is ready but waits: where it could go, and the most it may need. `seconds` None: nobody knows."""

    task_id: str
    priority: Priority
    interfaces: tuple[str, ...]
    need: Use = ONE_MESSAGE
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Let this task start there now, before its turn."""

    task_id: str
    interface: str
    why: str


def harvest(
    fields: Iterable[Field],
    tasks: Iterable[Waiting],
    *,
    now: float,
    reserve: Reserve = Reserve(),
    horizon_seconds: float = HORIZON_SECONDS,
) -> tuple[Draw, ...]:
    """The tasks to draw forward, in the order given, each at most once and to the window that ends first.

    All quotas of an interface must have room beyond the reserve, also those that do not end soon. Of these the weekly one bounds
    how much of a night may be harvested.
    """
    kept = Decimal(str(reserve.kept(now)))
    ripe = sorted(
        (field for field in fields if field.tier in _FREE_OF_COST and _ends_within(field, now, horizon_seconds)),
        key=lambda field: (_first_end(field, now), field.interface),
    )
    room = {field.account: field.readings for field in ripe}
    return tuple(_draws(ripe, room, [task for task in tasks if task.priority is Priority.LOW], now, kept))


def _draws(
    ripe: list[Field], room: dict[str, tuple[Reading, ...]], tasks: list[Waiting], now: float, kept: Decimal
) -> Iterable[Draw]:
    for task in tasks:
        field = next((one for one in ripe if _takes(one, room, task, now, kept)), None)
        if field is not None:
            ends = _first_end(field, now)
            room[field.account] = tuple(_with(reading, task.need) for reading in room[field.account])
            minutes = max(1, round((ends - now) / 60))
            why = f"drawn forward: a window of {field.interface} ends in {minutes} min with quota left"
            yield Draw(task_id=task.task_id, interface=field.interface, why=why)


def _takes(field: Field, room: Mapping[str, tuple[Reading, ...]], task: Waiting, now: float, kept: Decimal) -> bool:
    in_time = task.seconds is None or now + task.seconds <= _first_end(field, now)
    return (
        field.interface in task.interfaces
        and in_time
        and all(_leaves_enough(reading, task.need, kept) for reading in room[field.account])
    )


def _leaves_enough(reading: Reading, need: Use, kept: Decimal) -> bool:
    amount = reading.quota.amount * (1 - kept)
    more = need.of(reading.quota.unit)
    return reading.used < amount and reading.used + more <= amount


def _with(reading: Reading, need: Use) -> Reading:
    """After a draw. What it takes of a quota of unknown size is not known before the client reports: one task at a time."""
    more = reading.quota.amount if reading.quota.unit == SHARE else need.of(reading.quota.unit)
    return replace(reading, used=reading.used + more)


def _ends_within(field: Field, now: float, horizon_seconds: float) -> bool:
    return any(now < end <= now + horizon_seconds for end in _ends(field))


def _first_end(field: Field, now: float) -> float:
    return min(end for end in _ends(field) if end > now)


def _ends(field: Field) -> list[float]:
    """A sliding window without a reset never ends, so nothing of it is lost."""
    return [one.quota.resets_at for one in field.readings if one.quota.resets_at is not None]
