"""When a limit ends, as clients say it: an epoch, an ISO time, a clock time with or without a date and a zone, a duration.

    1795217810   1795217810000   2026-11-20T23:36:50Z   11:29pm (UTC)   4pm (Europe/Moscow)   11:29 PM   Nov 27th, 2026 4:05 PM
    tomorrow at 3am   Mon 09:00 America/Los_Angeles   8h44m7s   2 days 17 hours 14 minutes   10800s

A clock time means the next time that clock shows it, and a duration counts from the end of the run; both need to be told when
that was (`now`, epoch seconds) and in which zone people here live, since nothing in this module reads a clock. What cannot be
understood is None: a guess would park a task until the wrong day.

A minute is taken to its end: Claude Code and Codex cut the seconds off (23:36:50 was printed as 11:36pm), and a task that starts
again within that minute meets the limit once more.
"""

import math
import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from brain_daemon.model.quantities import parse_duration

_EPOCHS = (946_684_800, 4_102_444_800)  # the years 2000 to 2099: anything else is not a reset
_MILLISECONDS_ABOVE = 100_000_000_000
_LATE_SECONDS = 120.0
"""How long ago a clock time may be and still mean the one that has just been, and not tomorrow's."""
_MAX_CHARACTERS = 100

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTH = rf"(?P<%s>{'|'.join(_MONTHS)})[a-z]*\.?"
_DAY = r"(?P<%s>[0-9]{1,2})(?:st|nd|rd|th)?"
_DATE = re.compile(
    rf"(?:(?:{'|'.join(_WEEKDAYS)})[a-z]*,? )?"
    rf"(?:{_MONTH % 'month'} {_DAY % 'day'}|{_DAY % 'day_first'} {_MONTH % 'month_after'})(?:,? (?P<year>20[0-9]{{2}}))?",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?)?(?: ?(?P<half>[ap])\.?m\b\.?)?"
    r"(?: ?\(?(?P<zone>[a-z][a-z0-9_/+:-]*|[+-][0-9:]+)\)?)?",
    re.IGNORECASE,
)
_OFFSET = re.compile(r"(?:utc|gmt)?(?P<sign>[+-])(?P<hours>[0-9]{1,2}):?(?P<minutes>[0-9]{2})?", re.IGNORECASE)
_OPENING = re.compile(r"^(?:on|at|in|after|until) ", re.IGNORECASE)


def reset_instant(said: object, *, now: float, zone: tzinfo) -> float | None:
    """Epoch seconds of the moment that `said` means; None where it is none.

    `now` is the epoch second at which it was said, `zone` the one of times that name none.
    """
    seconds = number_in(said)
    if seconds is not None:
        return _within(seconds / 1000 if seconds > _MILLISECONDS_ABOVE else seconds)
    if not isinstance(said, str) or len(said) > _MAX_CHARACTERS:
        return None
    iso = _iso_instant(said.strip(), zone)
    if iso is not None:
        return _within(iso)
    words = _plain(said)
    wait = wait_seconds(words)
    return _within(now + wait if wait is not None else _clock_instant(words, now, zone))


def wait_seconds(said: object) -> float | None:
    """A wait in seconds, from a number of them or from text such as `41s`, `8h44m7s` and `1 hour and 5 minutes`."""
    if not isinstance(said, str):
        seconds = number_in(said)
        return seconds if seconds is not None and seconds >= 0 else None
    try:
        return parse_duration(" ".join(re.sub(r",|\band\b", " ", _plain(said)).split()))
    except ValueError:
        return None


def number_in(said: object) -> float | None:
    """The finite number that a value is or that a text spells; true and false are none."""
    try:
        number = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else math.nan
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _within(instant: float | None) -> float | None:
    return instant if instant is not None and _EPOCHS[0] <= instant < _EPOCHS[1] else None


def _iso_instant(text: str, zone: tzinfo) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if "T" not in text.upper() and ":" not in text:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _plain(said: str) -> str:
    """Single blanks, no word before the time and no full stop behind it."""
    return _OPENING.sub("", " ".join(said.split()).rstrip(".!"), count=1)


def _clock_instant(words: str, now: float, zone: tzinfo) -> float | None:
    """The next moment at which a clock and, where one is named, the calendar show what `words` say."""
    day, rest = _split_day(words)
    clock = _CLOCK.fullmatch(_OPENING.sub("", rest.lstrip(", "), count=1))
    if clock is None or (clock["minute"] is None and clock["half"] is None):
        return None
    there = _zone_named(clock["zone"], zone)
    time_of_day = _time_of_day(clock)
    if there is None or time_of_day is None:
        return None
    return _first_after(day, time_of_day, there, now)


def _split_day(words: str) -> tuple[str | re.Match[str] | None, str]:
    """The day that stands before the time (a weekday, `tomorrow`, a date) and what is left."""
    dated = _DATE.match(words)
    if dated is not None:
        return dated, words[dated.end() :]
    first, _, rest = words.partition(" ")
    day = first.rstrip(",").lower()
    return (day, rest) if day in ("today", "tomorrow") or day[:3] in _WEEKDAYS else (None, words)


def _time_of_day(clock: re.Match[str]) -> timedelta | None:
    """Since midnight, to the end of a minute whose seconds were not told."""
    hour, minute = int(clock["hour"]), int(clock["minute"] or 0)
    if clock["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if clock["half"] in "pP" else 0)
    if hour > 23 or minute > 59:
        return None
    seconds = int(clock["second"]) if clock["second"] else 60
    return timedelta(hours=hour, minutes=minute, seconds=seconds)


def _zone_named(name: str | None, zone: tzinfo) -> tzinfo | None:
    """The zone a clock time names; None where nobody can say which one that is (CST is two)."""
    if name is None:
        return zone
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        away = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"] or 0))
        return timezone(away if offset["sign"] == "+" else -away) if away < timedelta(hours=24) else None
    try:
        return UTC if name.lower() in ("utc", "gmt", "z") else ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None


def _first_after(day: str | re.Match[str] | None, time_of_day: timedelta, zone: tzinfo, now: float) -> float | None:
    today = datetime.fromtimestamp(now, zone).date()
    if isinstance(day, re.Match):
        return _dated_instant(day, time_of_day, zone, today)
    first = today + timedelta(days=int(day == "tomorrow"))
    if day in ("today", "tomorrow"):
        return _at(first, time_of_day, zone)
    days = (first + timedelta(days=ahead) for ahead in range(8))
    wanted = (one for one in days if day is None or _WEEKDAYS[one.weekday()] == str(day)[:3])
    return next((at for one in wanted if (at := _at(one, time_of_day, zone)) >= now - _LATE_SECONDS), None)


def _dated_instant(day: re.Match[str], time_of_day: timedelta, zone: tzinfo, today: date) -> float | None:
    """A date without its year is the next of its name, or one that has just passed."""
    month = _MONTHS.index((day["month"] or day["month_after"]).lower()) + 1
    number = int(day["day"] or day["day_first"])
    years = [int(day["year"])] if day["year"] else [today.year, today.year + 1]
    for year in years:
        try:
            named = date(year, month, number)
        except ValueError:
            continue
        if day["year"] or named >= today - timedelta(days=1):
            return _at(named, time_of_day, zone)
    return None


def _at(day: date, time_of_day: timedelta, zone: tzinfo) -> float:
    return (datetime(day.year, day.month, day.day, tzinfo=zone) + time_of_day).timestamp()
