"""Quota that nobody would use, and the person's part of it: what a low-priority task may take of a free or subscription window.

The person's part is kept from low-priority tasks at all times, a larger one in their hours than outside them. Beyond it, a window
that ends within the horizon is ripe: what is left of it would be lost, so such a task is drawn forward there, before tasks of higher
rank that would not use it, and without the question near a limit. Windows that do not end soon keep their question: of a week that
has days to go no night may take the rest. A task whose run would not end before the reset is not drawn.

Nothing fails here but `hours_of`; instants are epoch seconds.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

from brain_daemon.model.interface import Tier
from brain_daemon.policy.quotas import SHARE, Reading, Use

FREE_OF_COST = frozenset({Tier.FREE, Tier.SUBSCRIPTION})
"""The rungs on which unused quota is lost and used quota costs nothing more."""

_HOURS = re.compile(r"(\d{1,2})\s*-\s*(\d{1,2})(?:\s+(\S+))?")
_HOUR_SECONDS = 3_600
_HOURS_OF_A_DAY = 25


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

    def changes_at(self, now: float) -> float | None:
        """When another share is kept; None where it never is."""
        local = datetime.fromtimestamp(now, self.zone)
        at = now + _HOUR_SECONDS - (local.minute * 60 + local.second + local.microsecond / 1e6)
        hours = (at + number * _HOUR_SECONDS for number in range(_HOURS_OF_A_DAY))
        return next((one for one in hours if self.kept(one) != self.kept(now)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The rest of a quota is the person's; `until` is when it, or what is kept of it, is another one."""

    why: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Hours of the local day, and the zone where one was named."""

    from_hour: int
    to_hour: int
    zone: tzinfo | None = None


def hours_of(text: str) -> Hours:
    """Hours as a person writes them: `8-22`, or `22-6 Europe/Berlin`. ValueError for anything else."""
    match = _HOURS.fullmatch(text.strip())
    if match is None or int(match[1]) > 24 or int(match[2]) > 24:
        raise ValueError(f"{text!r} are no hours")
    try:
        zone = ZoneInfo(match[3]) if match[3] else None
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"no zone is called {match[3]!r}") from error
    return Hours(from_hour=int(match[1]) % 24, to_hour=int(match[2]), zone=zone)


def kept_back(readings: Iterable[Reading], need: Use, *, now: float, reserve: Reserve) -> Kept | None:
    """The first quota of which a low-priority task of this need would take the person's part."""
    share = reserve.kept(now)
    if share <= 0:
        return None
    for reading in readings:
        if not _leaves(reading, need, Decimal(str(share))):
            ends = (at for at in (reading.resets_at, reserve.changes_at(now)) if at is not None)
            why = f"{share:.0%} of {reading.quota.label} is kept for you, and this is of low priority"
            return Kept(why=why, until=min(ends, default=None))
    return None


def ripe(
    readings: Sequence[Reading],
    *,
    now: float,
    reserve: Reserve,
    horizon_seconds: float,
    run_seconds: float | None = None,
    alone: bool = True,
) -> tuple[Reading, ...]:
    """The quotas that would lapse within the horizon with something left; none where any quota of the account is used up.

    `run_seconds` is how long the task takes where that is known. What a task takes of a quota of unknown size is only known afterwards,
    so of such a one a task is drawn when it is `alone` on its interface.
    """
    share = Decimal(str(reserve.kept(now)))
    if any(one.used >= one.quota.amount * (1 - share) for one in readings):
        return ()
    return tuple(
        one
        for one in readings
        if _lapses(one, now, horizon_seconds, run_seconds) and (alone or one.quota.unit != SHARE)
    )


def ripens_at(readings: Iterable[Reading], *, now: float, horizon_seconds: float) -> float | None:
    """When the next of these quotas is within the horizon; None where none of them will be."""
    begins = (one.quota.resets_at - horizon_seconds for one in readings if one.quota.resets_at is not None)
    return min((at for at in begins if at > now), default=None)


def _lapses(reading: Reading, now: float, horizon_seconds: float, run_seconds: float | None) -> bool:
    """A sliding window without a reset never ends, so nothing of it is lost."""
    ends = reading.quota.resets_at
    return ends is not None and now + (run_seconds or 0.0) < ends <= now + horizon_seconds


def _leaves(reading: Reading, need: Use, share: Decimal) -> bool:
    """Whether the person's part stays whole. The first message of a tiny quota is not held back by it."""
    if reading.used == 0 and reading.quota.unit == "messages":
        return True
    amount = reading.quota.amount * (1 - share)
    return reading.used < amount and reading.used + need.of(reading.quota.unit) <= amount
