"""Token buckets: requests and tokens a minute, refilled in proportion to the time that has passed.

A bucket holds one minute's worth and starts full, as vendors' own limiters do; in any stretch of time no more than
its capacity and what flows in meanwhile gets through. An ask larger than the capacity is granted from a full bucket and leaves
it in debt, since it could never be granted otherwise. Tokens are taken by estimate and corrected by the outcome.

Instants are seconds of a monotonic clock, so that no change of the time of day matters.
Nothing fails here: no room is the value `Later`.
"""

from dataclasses import dataclass, replace

from brain_daemon.model.interface import Limits

_MINUTE_SECONDS = 60.0
# Refilling adds many small floats; without this a wait computed to be over would be denied by one part in 10^12.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """`level` of `capacity` at the monotonic instant `at`; it fills by `per_second` and may be in debt."""

    capacity: float
    per_second: float
    level: float
    at: float

    @classmethod
    def full(cls, per_minute: float, at: float) -> "Bucket":
        """A bucket nobody has drawn from."""
        return cls(capacity=per_minute, per_second=per_minute / _MINUTE_SECONDS, level=per_minute, at=at)

    def refilled(self, now: float) -> "Bucket":
        """As it stands at `now`; an instant before the last one changes nothing."""
        elapsed = max(0.0, now - self.at)
        return replace(self, level=min(self.capacity, self.level + elapsed * self.per_second), at=max(self.at, now))

    def wait_seconds(self, amount: float, now: float) -> float:
        """How long until `amount` is there; 0 where it is."""
        lacking = min(amount, self.capacity) - self.refilled(now).level
        return 0.0 if lacking <= _ROUNDING else lacking / self.per_second

    def drawn(self, amount: float, now: float) -> "Bucket":
        """After `amount` was taken; a negative amount is given back, up to the capacity."""
        here = self.refilled(now)
        return replace(here, level=min(self.capacity, here.level - amount))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The two buckets of one account; None is no limit."""

    requests: Bucket | None = None
    tokens: Bucket | None = None

    @classmethod
    def of(cls, limits: Limits, now: float) -> "Rates":
        """Full buckets for the declared limits."""
        return cls(
            requests=None if limits.requests_per_minute is None else Bucket.full(limits.requests_per_minute, now),
            tokens=None if limits.tokens_per_minute is None else Bucket.full(limits.tokens_per_minute, now),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """It may be sent; `rates` are the buckets after it."""

    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Not yet: `wait_seconds` from now there is room, if nobody else takes it."""

    wait_seconds: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one task, or everybody, has asked of the limiter: what was granted, and how often it was denied."""

    requests: int = 0
    tokens: int = 0
    denials: int = 0


def try_acquire(rates: Rates, *, requests: int = 1, tokens: int = 0, now: float) -> Granted | Later:
    """Take from both buckets, or from none."""
    waits = (
        (_wait(rates.requests, requests, now), "requests a minute used up"),
        (_wait(rates.tokens, tokens, now), "tokens a minute used up"),
    )
    longest, why = max(waits)
    if longest > 0:
        return Later(wait_seconds=longest, why=why)
    return Granted(rates=drawn(rates, requests=requests, tokens=tokens, now=now))


def drawn(rates: Rates, *, requests: int = 0, tokens: int = 0, now: float) -> Rates:
    """Take without asking, into debt if need be: a request that was sent anyway, or what an estimate had left out.

    Negative figures give back what was not used.
    """
    return Rates(
        requests=None if rates.requests is None else rates.requests.drawn(requests, now),
        tokens=None if rates.tokens is None else rates.tokens.drawn(tokens, now),
    )


def _wait(bucket: Bucket | None, amount: float, now: float) -> float:
    return 0.0 if bucket is None or amount <= 0 else bucket.wait_seconds(amount, now)
