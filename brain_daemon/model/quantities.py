"""Durations, instants, counts and money as people write them, and back.

Every reader takes text and raises ValueError whose message says what was found and what is allowed; the caller
reports it with the line and the field. Nothing here reads a clock: an instant is what the text says, never "now".
"""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

DURATION_ALLOWED = "a duration such as 30m, 1h30m, 45s, 2d, 1w or PT30M, or a number of seconds, up to 3650d"
INSTANT_ALLOWED = (
    "an ISO date or time such as 2026-11-20, 2026-11-20T20:15:00Z or 2026-11-20T20:15+02:00 (UTC if no zone)"
)
COUNT_ALLOWED = "a whole number such as 1500, 1_000, 200k or 10M, or none for no limit"
MONEY_ALLOWED = "US dollars such as 0.50 or $0.50"
FLAG_ALLOWED = "true or false"

MAX_DURATION_SECONDS = 3650 * 86_400.0
_MAX_TEXT = 64

_UNITS = {
    "ms": 0.001,
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 604_800.0),
}
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_PLAIN_SECONDS = re.compile(_NUMBER)
_PART = re.compile(rf"({_NUMBER}) ?([a-z]+) ?")
_ISO = re.compile(
    rf"p(?:({_NUMBER})w)?(?:({_NUMBER})d)?(?:t(?=[0-9])(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?)?"
)
_ISO_SECONDS = (604_800.0, 86_400.0, 3_600.0, 60.0, 1.0)

_COUNT = re.compile(r"([0-9][0-9_]{0,17}|[0-9]{1,3}(?:,[0-9]{3}){1,5})(\.[0-9]{1,9})? ?([kmgb]?)")
_SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_NO_LIMIT = frozenset({"none", "unlimited", "no limit", "no_limit", "infinite"})

_CENT = Decimal("0.01")
_MONEY = re.compile(
    r"(?:usd ?)?\$? ?((?:[0-9]{1,3}(?:,[0-9]{3}){1,3}|[0-9]{1,12})(?:\.[0-9]{1,12})?|\.[0-9]{1,12}) ?(?:usd|\$)?"
)
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def _wrong(text: str, allowed: str) -> ValueError:
    return ValueError(f'"{text[:_MAX_TEXT]}" is not {allowed}')


def parse_duration(text: str) -> float:
    """Seconds in `text`: `30m`, `1h 30min`, `1.5h`, `day`, `PT30M`; a number without a unit is seconds."""
    folded = text.strip().lower()
    seconds = _duration_seconds(folded) if len(folded) <= _MAX_TEXT else None
    if seconds is None or seconds > MAX_DURATION_SECONDS:
        raise _wrong(text, DURATION_ALLOWED)
    return seconds


def _duration_seconds(folded: str) -> float | None:
    if _PLAIN_SECONDS.fullmatch(folded):
        return float(folded)
    if len(folded) > 2 and folded in _UNITS:
        return _UNITS[folded]
    iso = _ISO.fullmatch(folded)
    if iso is not None and iso.lastindex is not None:
        return sum(float(part) * unit for part, unit in zip(iso.groups(), _ISO_SECONDS, strict=True) if part)
    return _sum_of_parts(folded)


def _sum_of_parts(folded: str) -> float | None:
    total, end = 0.0, 0
    for part in _PART.finditer(folded):
        if part.start() != end or part[2] not in _UNITS:
            return None
        total, end = total + float(part[1]) * _UNITS[part[2]], part.end()
    return total if folded and end == len(folded) else None


_LAST_INSTANT = 253_370_764_800.0
"""9999-01-01 in UTC: beyond it no zone's calendar is safe to print."""


def parse_instant(text: str) -> float:
    """Epoch seconds of an ISO date or time; without a zone it is UTC, a date alone is its first midnight in UTC."""
    stripped = text.strip()
    try:
        moment = datetime.fromisoformat(stripped.removesuffix(" UTC"))
    except ValueError:
        raise _wrong(text, INSTANT_ALLOWED) from None
    instant = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= instant < _LAST_INSTANT:
        raise _wrong(text, INSTANT_ALLOWED)
    return instant


def parse_count(text: str) -> int | None:
    """A whole number of things, or None where the text says that there is no limit."""
    folded = text.strip().lower()
    if folded in _NO_LIMIT:
        return None
    match = _COUNT.fullmatch(folded)
    if match is None:
        raise _wrong(text, COUNT_ALLOWED)
    amount = Decimal(re.sub("[_,]", "", match[1]) + (match[2] or "")) * _SCALE[match[3]]
    if amount != int(amount):
        raise _wrong(text, COUNT_ALLOWED)
    return int(amount)


def parse_money(text: str) -> Decimal:
    """US dollars, zero or more, exact."""
    match = _MONEY.fullmatch(text.strip().lower())
    if match is None:
        raise _wrong(text, MONEY_ALLOWED)
    return Decimal(match[1].replace(",", ""))


def dollars(usd: Decimal) -> str:
    """An amount for eyes: cents at least, with thousands set apart, and below ten cents two digits that count; `$0` is none at all."""
    if not usd:
        return "$0"
    if usd >= _CENT * 10:
        return f"${usd.quantize(_CENT, ROUND_HALF_UP):,f}"
    two_digits = f"{usd.quantize(Decimal(1).scaleb(usd.adjusted() - 1), ROUND_HALF_UP):f}".rstrip("0")
    whole, _, fraction = two_digits.partition(".")
    return f"${whole}.{fraction:0<2}"


def parse_flag(text: str) -> bool:
    """Yes or no."""
    folded = text.strip().lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise _wrong(text, FLAG_ALLOWED)
