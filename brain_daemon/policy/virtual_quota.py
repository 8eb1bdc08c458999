"""What a simulated interface has used of its limits, at instants that a simulation chooses; never for real work.

Counts in memory what `policy/admission.py` asks for. Calls come in the order of their instants. Instants are seconds from an epoch
of the caller's; nothing fails.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from brain_daemon.model.interface import Limits, Window
from brain_daemon.policy.admission import Spent, Used
from brain_daemon.policy.quotas import Quota, Reading, Use
from brain_daemon.policy.windows import Rule, Sliding, length_seconds, rule_of, span

_MINUTE_SECONDS = 60.0
_DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class _Counter:
    """One declared window. `most` is the fullest it ever was, `total` all that was ever counted."""

    window: Window
    rule: Rule
    amount: Decimal = Decimal(0)
    ends_at: float | None = None
    events: deque[tuple[float, Decimal]] = field(default_factory=deque)
    most: Decimal = Decimal(0)
    total: Decimal = Decimal(0)

    def add(self, now: float, amount: Decimal) -> None:
        self.turn(now)
        self.amount += amount
        self.total += amount
        self.most = max(self.most, self.amount)
        if isinstance(self.rule, Sliding):
            self.events.append((now, amount))

    def turn(self, now: float) -> None:
        """Forget what lies outside the window at `now`."""
        if isinstance(self.rule, Sliding):
            while self.events and self.events[0][0] + self.rule.seconds <= now:
                self.amount -= self.events.popleft()[1]
        elif self.ends_at is None or now >= self.ends_at:
            self.amount, self.ends_at = Decimal(0), span(self.rule, now).end

    def spent(self, now: float) -> Spent:
        self.turn(now)
        return Spent(amount=self.amount, resets_at=self.resets_at)

    @property
    def resets_at(self) -> float | None:
        """When it is less used, or not at all."""
        if isinstance(self.rule, Sliding):
            return self.events[0][0] + self.rule.seconds if self.events else None
        return self.ends_at

    def reading(self, now: float) -> Reading:
        self.turn(now)
        window = self.window
        quota = Quota(
            label=f"{window.amount} {window.unit} per {window.per}",
            unit=window.unit,
            amount=window.amount,
            counted=(),
            resets_at=self.ends_at,
            slides_seconds=self.rule.seconds if isinstance(self.rule, Sliding) else None,
        )
        return Reading(quota=quota, used=self.amount, resets_at=self.resets_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowUse:
    """How far a window was used over a whole simulation: `used` of `offered` in `unit`, and the fullest single window."""

    per: str
    unit: str
    used: Decimal
    offered: Decimal
    fullest: Decimal

    @property
    def share(self) -> float:
        """Used of offered, 0 to 1."""
        return float(self.used / self.offered) if self.offered else 0.0


class VirtualMeter:
    """The use of one interface. `account` uses of others are added by whoever knows of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        day = limits.messages_per_day
        self._day = None if day is None else _counter(_per_day(day))
        self._windows = tuple(map(_counter, limits.windows))
        self._counters = (*((self._day,) if self._day is not None else ()), *self._windows)
        self._by_minute = limits.requests_per_minute is not None or limits.tokens_per_minute is not None
        self._minute: deque[tuple[float, int]] = deque()
        self._minute_tokens = 0

    def add(self, now: float, tokens: int, usd: Decimal) -> None:
        """One request of this size was sent."""
        if self._day is not None:
            self._day.add(now, Decimal(1))
        for counter in self._windows:
            counter.add(now, _amount(counter.window.unit, tokens, usd))
        if self._by_minute:
            self._minute.append((now, tokens))
            self._minute_tokens += tokens

    def used(self, now: float) -> Used:
        """What admission asks for."""
        while self._minute and self._minute[0][0] + _MINUTE_SECONDS <= now:
            self._minute_tokens -= self._minute.popleft()[1]
        day = None if self._day is None else self._day.spent(now)
        return Used(
            messages_today=0 if day is None else int(day.amount),
            day_resets_at=None if day is None else day.resets_at,
            requests_last_minute=len(self._minute),
            tokens_last_minute=self._minute_tokens,
            minute_resets_at=self._minute[0][0] + _MINUTE_SECONDS if self._minute else None,
            windows=tuple(counter.spent(now) for counter in self._windows),
        )

    def readings(self, now: float) -> tuple[Reading, ...]:
        """Its quotas as policy/quotas.py has them."""
        return tuple(counter.reading(now) for counter in self._counters)

    def passes(self, now: float, need: Use, share: Decimal) -> bool:
        """Whether so much more would use up this share of any quota, or more."""
        for counter in self._counters:
            counter.turn(now)
            if counter.amount + need.of(counter.window.unit) >= counter.window.amount * share:
                return True
        return False

    def uses(self, first: float, last: float) -> tuple[WindowUse, ...]:
        """How far each window was used by a simulation that went from `first` to `last`."""
        return tuple(_use(counter, _times(counter, first, last)) for counter in self._counters)


class VirtualMeters(Mapping[str, Used]):
    """The use of every interface at one instant, worked out when admission looks at it. `now` is set by the simulation."""

    def __init__(self, meters: Mapping[str, VirtualMeter]) -> None:
        self._meters = meters
        self.now = 0.0

    def __getitem__(self, name: str) -> Used:
        return self._meters[name].used(self.now)

    def __iter__(self) -> Iterator[str]:
        return iter(self._meters)

    def __len__(self) -> int:
        return len(self._meters)


def metered(limits: Limits) -> bool:
    """Whether there is anything to count."""
    return bool(limits.windows) or any(
        one is not None for one in (limits.messages_per_day, limits.requests_per_minute, limits.tokens_per_minute)
    )


def _per_day(messages: int) -> Window:
    return Window(unit="messages", amount=Decimal(messages), per="day", per_seconds=_DAY_SECONDS, resets="00:00 UTC")


def _counter(window: Window) -> _Counter:
    return _Counter(window, rule_of(window))


def _amount(unit: str, tokens: int, usd: Decimal) -> Decimal:
    return {"messages": Decimal(1), "tokens": Decimal(tokens)}.get(unit, usd)


def _times(counter: _Counter, first: float, last: float) -> int:
    """How often the window was offered: those of the calendar that were touched, those that slide end to end."""
    if isinstance(counter.rule, Sliding):
        return max(1, math.ceil((last - first) / length_seconds(counter.window)))
    times, end = 1, span(counter.rule, first).end
    while end is not None and end <= last:
        times, end = times + 1, span(counter.rule, end).end
    return times


def _use(counter: _Counter, times: int) -> WindowUse:
    window = counter.window
    return WindowUse(
        per=window.per,
        unit=window.unit,
        used=counter.total,
        offered=window.amount * times,
        fullest=counter.most,
    )
