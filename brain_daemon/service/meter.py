"""How much of its declared limits each interface has used: messages of the day, requests and tokens of the last minute.

Counts come from the ledger at the start and from this daemon's own starts and ends after it. Interfaces of one account
share their use. What another brain or the person uses is not seen here.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.policy.admission import Used

_MINUTE_SECONDS = 60.0
_DAY_SECONDS = 86_400.0


class Meter:
    """Counts by account, where an interface names one, else by interface."""

    def __init__(self, rows: Iterable[CostRow] = (), clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._day = self._today()
        self._messages: dict[str, int] = defaultdict(int)
        self._recent: dict[str, deque[tuple[float, int, int]]] = defaultdict(deque)
        for row in rows:
            if row.interface:
                self._messages[row.account or row.interface] += 1

    def started(self, spec: InterfaceSpec) -> None:
        """A message is sent: it counts from here on, whatever becomes of it."""
        self._roll()
        key = spec.account or spec.name
        self._messages[key] += 1
        self._recent[key].append((self._clock(), 1, 0))

    def ended(self, spec: InterfaceSpec, tokens: int) -> None:
        """The tokens of an ended attempt."""
        if tokens:
            self._recent[spec.account or spec.name].append((self._clock(), 0, tokens))

    def used(self, specs: Iterable[InterfaceSpec]) -> Mapping[str, Used]:
        """For policy/admission.py, by interface name; only interfaces that declare a limit are in it."""
        self._roll()
        now = self._clock()
        return {spec.name: self._used(spec.account or spec.name, now) for spec in specs if _is_limited(spec)}

    def _used(self, key: str, now: float) -> Used:
        recent = self._recent[key]
        while recent and recent[0][0] <= now - _MINUTE_SECONDS:
            recent.popleft()
        return Used(
            messages_today=self._messages[key],
            requests_last_minute=sum(requests for _, requests, _ in recent),
            tokens_last_minute=sum(tokens for _, _, tokens in recent),
            day_resets_at=(self._day + 1) * _DAY_SECONDS,
            minute_resets_at=recent[0][0] + _MINUTE_SECONDS if recent else None,
        )

    def _today(self) -> int:
        return int(self._clock() // _DAY_SECONDS)

    def _roll(self) -> None:
        if self._today() != self._day:
            self._day = self._today()
            self._messages.clear()


def _is_limited(spec: InterfaceSpec) -> bool:
    limits = spec.limits
    return any((limits.messages_per_day, limits.requests_per_minute, limits.tokens_per_minute))
