"""Clocks that were set forward: the time of day went on by more than the time that has gone by.

Each look at both clocks is a `Moment`. Where the time of day is further on than a moment before and the time since then allow, somebody
has set it, and what was counted by the clock as it was must not be forgotten for that: policy/quotas.py counts on by it. A clock that
was set back forgets nothing anyway, and one that has come back needs no more thought.

Between two boots nobody knows how long the machine was off, so the time of day is believed. What steering adds, at most a two
thousandth, and what a network's time puts right within a second, is not called set. Nothing fails here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_SLACK_SECONDS = 1.0
_STEERED_SHARE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One look: the time of day in epoch seconds, and the seconds since the boot of that name, the machine's sleep included."""

    boot: str
    elapsed: float
    wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The clock was set forward after it had shown `at` (epoch seconds); it is `ahead_seconds` of what it would show now."""

    at: float
    ahead_seconds: float


def was_set_forward(before: Moment, now: Moment) -> bool:
    """Whether the clock was set between two looks."""
    gone_by = now.elapsed - before.elapsed
    return now.boot == before.boot and _ahead(before, now) > _SLACK_SECONDS + gone_by * _STEERED_SHARE


def jumps(set_after: Iterable[Moment], now: Moment) -> tuple[Jump, ...]:
    """What is to be thought of: `set_after` are the last looks before the clock was set. One it has come back to counts no more."""
    return tuple(
        Jump(at=before.wall, ahead_seconds=_ahead(before, now))
        for before in set_after
        if before.boot == now.boot and _ahead(before, now) > _SLACK_SECONDS
    )


def _ahead(before: Moment, now: Moment) -> float:
    return (now.wall - before.wall) - (now.elapsed - before.elapsed)
