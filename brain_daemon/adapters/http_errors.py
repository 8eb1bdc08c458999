"""What an API's refusal means: the class of the failure, the provider's own words, and when it may work again.

Pure: the status, the headers and the decoded body come in as values. A provider's specific word (`insufficient_quota`) goes
before its status, since one status stands for many things: 429 is both "slow down" and "pay first", 400 is both a bad
request and, at Google, a bad key. Sources: the error tables of OpenAI's, Anthropic's and Google's API references, the
rate-limit headers of the first two, RFC 9110 10.2.3 (Retry-After).
"""

import math
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from brain_daemon.model.cleaning import clean_text
from brain_daemon.model.errors import BrainError
from brain_daemon.model.outcome import Failed, FailureKind
from brain_daemon.model.quantities import parse_duration, parse_instant

MAX_MESSAGE_CHARACTERS = 2_000


class ApiRefused(BrainError):
    """The server said no; `status` is None where it did so in the middle of a stream."""

    def __init__(self, status: int | None, body: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}


class Unreached(BrainError):
    """No answer came: nobody listens there (`refused`), or the connection broke."""

    def __init__(self, why: str, *, refused: bool) -> None:
        super().__init__(why)
        self.refused = refused


_BY_WORD: Mapping[str, FailureKind] = {
    "insufficient_quota": FailureKind.QUOTA,
    "billing_hard_limit_reached": FailureKind.QUOTA,
    "billing_not_active": FailureKind.QUOTA,
    "billing_error": FailureKind.QUOTA,
    "usage_limit_reached": FailureKind.QUOTA,
    "context_length_exceeded": FailureKind.CONTEXT_TOO_LONG,
    "request_too_large": FailureKind.CONTEXT_TOO_LONG,
    "string_above_max_length": FailureKind.CONTEXT_TOO_LONG,
    "api_key_invalid": FailureKind.AUTH,
    "invalid_api_key": FailureKind.AUTH,
    "authentication_error": FailureKind.AUTH,
    "permission_error": FailureKind.AUTH,
    "rate_limit_exceeded": FailureKind.RATE_LIMIT,
    "rate_limit_error": FailureKind.RATE_LIMIT,
    "overloaded_error": FailureKind.TRANSIENT,
    "model_not_found": FailureKind.PERMANENT,
    "not_found_error": FailureKind.PERMANENT,
}
_BY_STATUS: Mapping[int, FailureKind] = {
    401: FailureKind.AUTH,
    402: FailureKind.QUOTA,
    403: FailureKind.AUTH,
    408: FailureKind.TRANSIENT,
    409: FailureKind.TRANSIENT,
    413: FailureKind.CONTEXT_TOO_LONG,
    425: FailureKind.TRANSIENT,
    429: FailureKind.RATE_LIMIT,
}
# What providers say in prose alone.
_BY_PROSE = (
    (re.compile(r"credit balance is too low", re.IGNORECASE), FailureKind.QUOTA),
    (
        re.compile(
            r"prompt is too long|maximum context length|exceeds? the (?:model's )?(?:maximum )?context"
            r"|input token count .{0,40}exceeds",
            re.IGNORECASE,
        ),
        FailureKind.CONTEXT_TOO_LONG,
    ),
)
_A_DAYS_QUOTA = re.compile(r"PerDay", re.IGNORECASE)  # Google's `quotaId` of a daily allowance
_LONGEST_WAIT_SECONDS = 366 * 86_400.0
_MILLISECONDS_ABOVE = 100_000_000_000
_EPOCHS = (946_684_800, 4_102_444_800)  # the years 2000 to 2099: anything else is not a reset


def failure_of(refusal: ApiRefused, *, now: float) -> Failed:
    """The outcome for a refusal; `now` is epoch seconds."""
    told = _error_in(refusal.body)
    words = {word.casefold() for word in _words(told)}
    message = clean_text(str(told.get("message") or refusal.body or "no reason given"))[:MAX_MESSAGE_CHARACTERS]
    status = _status(refusal.status, told)
    kind = _kind(status, words, message, _details(told))
    said = f"HTTP {status}: {message}" if status is not None else message
    waits = kind in (FailureKind.QUOTA, FailureKind.RATE_LIMIT, FailureKind.TRANSIENT)
    headers = {name.casefold(): value for name, value in refusal.headers.items()}
    return Failed(
        kind=kind,
        message=said,
        retry_after_seconds=_retry_after(headers, told, now) if waits else None,
        resets_at=_reset(headers, now) if waits else None,
    )


def error_message(body: object) -> str:
    """The provider's own sentence in the body of a refusal, empty where there is none."""
    return str(_error_in(body).get("message") or "")


def _kind(status: int | None, words: set[str], message: str, details: str) -> FailureKind:
    if "resource_exhausted" in words and _A_DAYS_QUOTA.search(details):
        return FailureKind.QUOTA
    for word, kind in _BY_WORD.items():
        if word in words:
            return kind
    for pattern, kind in _BY_PROSE:
        if pattern.search(message):
            return kind
    if status is None or status >= 500:
        return FailureKind.TRANSIENT
    return _BY_STATUS.get(status, FailureKind.PERMANENT)


def _error_in(body: object) -> Mapping[str, Any]:
    """The object that describes the error: the body, what it holds under `error`, or, at Google, the first of a list."""
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, Mapping):
        return {}
    inner = first.get("error")
    if isinstance(inner, Mapping):
        return inner
    return first if not isinstance(inner, str) else {"message": inner, **first}


def _words(told: Mapping[str, Any]) -> Iterator[str]:
    for value in (told.get("code"), told.get("type"), told.get("status")):
        if isinstance(value, str):
            yield value
    for detail in _listed(told.get("details")):
        if isinstance(detail.get("reason"), str):
            yield detail["reason"]


def _status(status: int | None, told: Mapping[str, Any]) -> int | None:
    """The status of the response; an error inside a stream that had begun well may bring one as its code."""
    code = told.get("code")
    if (status is None or status < 400) and isinstance(code, int | str) and str(code).isdecimal():
        return int(code) if 400 <= int(code) < 600 else None
    return status if status is None or status >= 400 else None


def _details(told: Mapping[str, Any]) -> str:
    quotas = (one for detail in _listed(told.get("details")) for one in _listed(detail.get("violations")))
    return " ".join(str(one.get("quotaId")) for one in quotas)


def _listed(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, Mapping))


def _retry_after(headers: Mapping[str, str], told: Mapping[str, Any], now: float) -> float | None:
    """Seconds: by header in milliseconds, seconds or as a date, else by Google's `retryDelay`."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    plain = headers.get("retry-after")
    seconds = _number(plain)
    if seconds is not None:
        return seconds
    if plain:
        date = _http_date(plain)
        return None if date is None else _sane(max(date - now, 0.0))
    delays = (detail.get("retryDelay") for detail in _listed(told.get("details")))
    return next((_duration(delay) for delay in delays if isinstance(delay, str)), None)


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """Epoch seconds from which the limit that was met is open again.

    Providers tell one reset for each of their limits. Those with nothing remaining count, the latest of them; where no
    header says what remains, the nearest one.
    """
    resets = {
        name: at
        for name, value in headers.items()
        if "ratelimit" in name and "reset" in name and (at := _instant(value, now)) is not None
    }
    remaining = {name: headers.get(name.replace("reset", "remaining")) for name in resets}
    empty = [at for name, at in resets.items() if _number(remaining[name]) == 0]
    if empty:
        return max(empty)
    return min((at for name, at in resets.items() if remaining[name] is None), default=None)


def _instant(value: str, now: float) -> float | None:
    """Epoch seconds or milliseconds, a duration such as 6m0s or 120ms, or ISO 8601; None for what is past."""
    number = _number(value, longest=math.inf)
    if number is not None:
        number = number / 1000 if number > _MILLISECONDS_ABOVE else number
        at = number if _EPOCHS[0] <= number <= _EPOCHS[1] else now + number
    elif (wait := _duration(value)) is not None:
        at = now + wait
    else:
        try:
            at = parse_instant(value)
        except ValueError:
            return None
    return at if now <= at <= now + _LONGEST_WAIT_SECONDS else None


def _duration(text: str) -> float | None:
    try:
        return _sane(parse_duration(text))
    except ValueError:
        return None


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def _number(text: str | None, longest: float = _LONGEST_WAIT_SECONDS * 1000) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= longest and math.isfinite(value) else None


def _sane(seconds: float) -> float | None:
    return seconds if 0 <= seconds <= _LONGEST_WAIT_SECONDS else None
