"""The circuit breaker of one interface: after failures that are its own it is left alone for a while, then tried with one task.

    closed     everything may start; failures that may pass (transient) are counted, any answer sets the count back
      -> open        three transient failures in a row, or one of unavailable or auth
    open       nothing starts until the cool-down has passed; after auth, until its check passes: what was under way when the login
               ran out may still end well, and says nothing of it
      -> half-open   time has come, or the check has passed
      -> closed      a task that a person let start all the same had an answer; after a cool-down's failures, whoever had one
    half-open  one probe starts, the others wait for it
      -> closed      the probe had an answer, a good one or a no that is not the interface's fault
      -> open        the probe failed like that again: the next cool-down is twice as long, up to half an hour
      -> half-open   the probe told nothing (cancelled, interrupted, out of time): the next task is the probe

Quota and rate limits are limits and an answer; so is every fault of the task. Jitter is given. The state is a value that turns into
JSON and back, so that it outlives the process; a damaged one is closed, since that costs one failure at most. Nothing fails here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from brain_daemon.model.outcome import Failed, FailureKind, Outcome, Succeeded

TRANSIENT_LIMIT = 3
FIRST_SECONDS = 30.0
LONGEST_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """In use. `failures` are transient ones in a row."""

    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Left alone from `since` until `until` (epoch seconds). `trips` in a row; `by_check`: no time frees it, its check does.

    `probe` is the attempt that a person let start while only the check could.
    """

    since: float
    until: float
    trips: int
    why: str
    by_check: bool = False
    probe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen:
    """Tried with one task: `probe` is its attempt, None while none has started."""

    trips: int
    why: str
    probe: str | None = None


Breaker = Closed | Open | HalfOpen

CLOSED = Closed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """It may start; as the `probe` it must be named with `probing` before the next is asked about."""

    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """It may not. `until` is epoch seconds; None: until a probe ends or a check passes."""

    why: str
    until: float | None = None


def may_start(breaker: Breaker, now: float) -> Passes | Shut:
    """Whether a task may start on this interface at `now` (epoch seconds)."""
    match breaker:
        case Closed():
            return Passes()
        case HalfOpen(probe=None):
            return Passes(probe=True)
        case HalfOpen(why=why, probe=probe):
            return Shut(why=f"{why}; {probe} tries whether it is back")
        case Open(why=why, by_check=True):
            return Shut(why=f"{why}; its check must pass first")
        case Open(why=why, until=until):
            return Passes(probe=True) if _is_over(breaker, now) else Shut(why=why, until=until)
        case never:
            assert_never(never)


def probing(breaker: Breaker, attempt_id: str) -> Breaker:
    """The state once `attempt_id`, let through as the probe or by a person, has started."""
    match breaker:
        case Open(trips=trips, why=why, by_check=False) | HalfOpen(trips=trips, why=why, probe=None):
            return HalfOpen(trips=trips, why=why, probe=attempt_id)
        case Open(by_check=True):
            return replace(breaker, probe=attempt_id)
        case _:
            return breaker


def after(breaker: Breaker, attempt_id: str, outcome: Outcome, *, now: float, jitter: float) -> Breaker:
    """The state after an attempt has ended; `jitter` is from 0 to 1.

    An attempt that began before it opened speaks too: an answer closes it, one more failure of the same outage changes nothing. Of a
    login that has expired since, such an answer says nothing.
    """
    if isinstance(outcome, Failed) and outcome.kind in _OWN_FAULTS:
        return _failed(breaker, attempt_id, outcome, now, jitter)
    if isinstance(outcome, Succeeded | Failed):
        is_older = isinstance(breaker, Open) and breaker.by_check and breaker.probe != attempt_id
        return breaker if is_older else CLOSED
    return given_back(breaker, attempt_id)


def given_back(breaker: Breaker, attempt_id: str) -> Breaker:
    """The state once an attempt has told nothing: it was released, cancelled, or died with its daemon."""
    if isinstance(breaker, Open | HalfOpen) and breaker.probe == attempt_id:
        return replace(breaker, probe=None)
    return breaker


def checked(breaker: Breaker, *, passed: bool) -> Breaker:
    """The state after the interface's own check: passing lets one probe through where nothing but the check could."""
    if passed and isinstance(breaker, Open) and breaker.by_check:
        return HalfOpen(trips=breaker.trips, why=breaker.why)
    return breaker


def word(breaker: Breaker) -> str:
    """closed, open or half-open, for people."""
    match breaker:
        case Closed():
            return "closed"
        case Open():
            return "open"
        case HalfOpen():
            return "half-open"
        case never:
            assert_never(never)


def to_json(breaker: Breaker) -> dict[str, Any]:
    """A JSON object; `from_json` gives back an equal value."""
    match breaker:
        case Closed(failures=failures):
            return {"state": "closed", "failures": failures}
        case Open(since=since, until=until, trips=trips, why=why, by_check=by_check, probe=probe):
            told = {"state": "open", "since": since, "until": until, "trips": trips, "why": why, "by_check": by_check}
            return told if probe is None else {**told, "probe": probe}
        case HalfOpen(trips=trips, why=why, probe=probe):
            return {"state": "half-open", "trips": trips, "why": why, "probe": probe}
        case never:
            assert_never(never)


def from_json(document: Mapping[str, Any]) -> Breaker:
    """The state behind `to_json`; whatever else stands there is closed."""
    fields = {name: value for name, value in document.items() if name != "state"}
    if not _are_of_their_types(fields):
        return CLOSED
    try:
        return _BY_WORD[str(document.get("state"))](**fields)
    except (KeyError, TypeError):
        return CLOSED


def cool_down_seconds(trips: int, jitter: float, told: float | None = None) -> float:
    """How long the `trips`-th opening in a row lasts (from 1); a wait the interface names is kept, up to the longest."""
    # 2**40 is past every bound; larger powers only cost.
    grown = float(min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(trips - 1, 40))) * (0.5 + jitter / 2)
    return grown if told is None else min(LONGEST_SECONDS, max(grown, told))


_OWN_FAULTS = frozenset({FailureKind.TRANSIENT, FailureKind.UNAVAILABLE, FailureKind.AUTH})


def _is_over(breaker: Open, now: float) -> bool:
    """Also where the clock was set back: no cool-down is longer than the longest."""
    return not breaker.until - LONGEST_SECONDS <= now < breaker.until


def _failed(breaker: Breaker, attempt_id: str, failure: Failed, now: float, jitter: float) -> Breaker:
    match breaker:
        case Closed(failures=failures) if failure.kind is FailureKind.TRANSIENT and failures + 1 < TRANSIENT_LIMIT:
            return Closed(failures=failures + 1)
        case Closed():
            return _opened(1, failure, now, jitter)
        case HalfOpen(trips=trips, probe=probe) if probe == attempt_id or failure.kind is FailureKind.AUTH:
            return _opened(trips + 1, failure, now, jitter)
        case Open(trips=trips, by_check=False) if failure.kind is FailureKind.AUTH:
            return _opened(trips, failure, now, jitter)
        case _:
            return breaker


def _opened(trips: int, failure: Failed, now: float, jitter: float) -> Open:
    return Open(
        since=now,
        until=now + cool_down_seconds(trips, jitter, failure.retry_after_seconds),
        trips=trips,
        why=f"{failure.kind}: {failure.message}",
        by_check=failure.kind is FailureKind.AUTH,
    )


_BY_WORD: Mapping[str, type[Closed] | type[Open] | type[HalfOpen]] = {
    "closed": Closed,
    "open": Open,
    "half-open": HalfOpen,
}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "failures": int,
    "since": (int, float),
    "until": (int, float),
    "trips": int,
    "why": str,
    "by_check": bool,
    "probe": (str, type(None)),
}


def _are_of_their_types(fields: Mapping[str, Any]) -> bool:
    return all(isinstance(value, _TYPES.get(name, ())) for name, value in fields.items())
