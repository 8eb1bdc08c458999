"""When a quota window began and when it ends: windows that slide, and windows that the calendar resets.

A declared `Window` with a reset rule on a day, a week or a month follows the calendar of its zone: it begins at the last reset and
ends at the next one, however long the day between them was. Local times that a clock change skips count as the same distance after
the change, times that come twice count the first time. Every other window slides. A month without a reset rule slides over 31
days, so that no calendar month can hold more than its amount.

Zones are the tables of the machine or of the `tzdata` package, read once by `zoneinfo`. A zone nobody knows is not guessed: the
window slides, which never lets more through, and `fault_in_resets` says so to whoever reads the interface's file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from brain_daemon.model.interface import Window

DAY_SECONDS = 86_400.0
WEEK_SECONDS = 7 * DAY_SECONDS
MONTH_SECONDS = 31 * DAY_SECONDS

Every = Literal["day", "week", "month"]

_EVERY: dict[float, Every] = {DAY_SECONDS: "day", WEEK_SECONDS: "week", MONTH_SECONDS: "month"}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RESETS = re.compile(
    r"(?:(?P<weekday>[a-z]{3})[a-z]* |(?P<day>[0-9]{1,2}) )?(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?: (?P<zone>\S+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliding:
    """What happened in the last `seconds` counts."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """It begins anew `every` day, week or month at a local time of `zone`.

    `weekday` counts from Monday as 0; `day` of the month is the last one where a month is shorter.
    """

    every: Every
    zone: tzinfo = UTC
    hour: int = 0
    minute: int = 0
    weekday: int = 0
    day: int = 1


Rule = Sliding | Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From `start` (counted) to `end` (not counted any more), epoch seconds; a sliding window has no end of its own."""

    start: float
    end: float | None = None


def length_seconds(window: Window) -> float:
    """The declared length; a month is 31 days here."""
    return MONTH_SECONDS if window.per_seconds is None else window.per_seconds


def rule_of(window: Window) -> Rule:
    """How `window` moves on."""
    seconds = length_seconds(window)
    every = _EVERY.get(seconds)
    if window.resets is None or every is None:
        return Sliding(seconds=seconds)
    try:
        return _calendar(every, window.resets)
    except ValueError:
        return Sliding(seconds=seconds)


def fault_in_resets(resets: str) -> str | None:
    """Why the text of a reset rule cannot be followed on this machine; None where it can."""
    try:
        _calendar("week", resets)
    except ValueError as error:
        return str(error)
    return None


def zone_named(name: str) -> tzinfo:
    """The zone of an IANA name; ValueError says what was found and what is allowed."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f'no time zone is called "{name}" here: use a name such as America/Los_Angeles or UTC, '
            "and install the tzdata package where the system has no zones"
        ) from None


def span(rule: Rule, now: float) -> Span:
    """The window that contains the instant `now`, epoch seconds."""
    if isinstance(rule, Sliding):
        return Span(start=now - rule.seconds)
    boundaries = [moment.timestamp() for moment in _resets_around(rule, now)]
    return Span(
        start=max(boundary for boundary in boundaries if boundary <= now),
        end=min(boundary for boundary in boundaries if boundary > now),
    )


def _calendar(every: Every, resets: str) -> Calendar:
    found = _RESETS.fullmatch(" ".join(resets.split()))
    if found is None:
        raise ValueError(f'"{resets}" is not a time such as 00:00 UTC, Mon 00:00 America/Los_Angeles or 15 00:00 UTC')
    time(int(found["hour"]), int(found["minute"]))
    weekday = (found["weekday"] or "mon").lower()
    if weekday not in _WEEKDAYS:
        raise ValueError(f'"{found["weekday"]}" is not a day of the week')
    return Calendar(
        every=every,
        zone=zone_named(found["zone"] or "UTC"),
        hour=int(found["hour"]),
        minute=int(found["minute"]),
        weekday=_WEEKDAYS.index(weekday),
        day=int(found["day"] or 1),
    )


def _resets_around(rule: Calendar, now: float) -> Iterator[datetime]:
    """Resets before and after `now`, enough of them for any clock change."""
    today = datetime.fromtimestamp(now, rule.zone).date()
    for day in _days_around(rule, today):
        yield datetime.combine(day, time(rule.hour, rule.minute), tzinfo=rule.zone)


def _days_around(rule: Calendar, today: date) -> Iterator[date]:
    if rule.every == "month":
        yield from (_day_of_month(today, months, rule.day) for months in range(-2, 3))
        return
    reach = 2 if rule.every == "day" else 9
    for days in range(-reach, reach + 1):
        day = today + timedelta(days=days)
        if rule.every == "day" or day.weekday() == rule.weekday:
            yield day


def _day_of_month(today: date, months: int, day: int) -> date:
    """`day` in the month that lies `months` from today's; the last day of a shorter month."""
    year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
    last = date(year + month // 11, (month + 1) % 12 + 1, 1) - timedelta(days=1)
    return last.replace(day=max(1, min(day, last.day)))
