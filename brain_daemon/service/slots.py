"""How many attempts each interface bears now: fewer after a rate limit, near the end of a quota, and where memory is short.

Kept in memory alone: a new daemon starts from what the interface files declare and learns again.
"""

import time
from collections import Counter
from collections.abc import Mapping

import psutil

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Failed, Succeeded
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.concurrency import (
    Allowance,
    after,
    bounded,
    client_bytes,
    initial,
    memory_slots,
    warming_bytes,
)

_LIMIT_HINT_SECONDS = 1.0


class AdaptiveSlots:
    """Slots an interface, by additive increase and multiplicative decrease. `parallel` holds where a file declares none."""

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        self._allowances: dict[str, Allowance] = {}
        self._caps: dict[str, int] = {}

    @property
    def caps(self) -> Mapping[str, int]:
        """Slots of the interfaces that bear fewer now than they declare."""
        return self._caps

    def begin(self) -> None:
        """A new look at the queue."""
        self._caps = {name: one.slots for name, one in self._allowances.items() if one.slots < one.base}

    def bound(self, spec: InterfaceSpec, remaining: int) -> None:
        """Its quota has `remaining` messages left."""
        base = self._base(spec)
        slots = bounded(self._allowances.get(spec.name) or initial(base, remaining), remaining)
        if slots < base:
            self._caps[spec.name] = slots

    def ended(self, spec: InterfaceSpec, attempt: Attempt, now: float) -> None:
        """Slots are counted from the first rate limit on, until they have all come back."""
        assert attempt.ended is not None
        known = self._allowances.get(spec.name)
        outcome = attempt.ended.outcome
        if known is None and not isinstance(outcome, Failed):
            return
        changed = after(known or initial(self._base(spec)), outcome, started_at=attempt.started_at or now, now=now)
        if changed.cut_at is None or (isinstance(outcome, Succeeded) and changed.allowed >= changed.base):
            self._allowances.pop(spec.name, None)
        else:
            self._allowances[spec.name] = changed

    def _base(self, spec: InterfaceSpec) -> int:
        return spec.limits.concurrent or self._parallel


class MemoryRoom:
    """What clients need of this machine's memory, against what is free; `client_bytes_set` is the setting for one client."""

    def __init__(self, client_bytes_set: int) -> None:
        self._client_bytes = client_bytes_set
        self._started: dict[str, tuple[float, int]] = {}
        self._free_bytes: int | None = None
        self._planned_bytes = 0
        self._running = 0

    def begin(self, running: int) -> None:
        """A new look at the queue, while `running` attempts run: what is free is measured anew when it is asked for."""
        self._free_bytes = None
        self._planned_bytes = 0
        self._running = running

    def shut(self, spec: InterfaceSpec) -> Shut | None:
        """Why one more of it does not fit now."""
        if not self._running:
            return None  # one is always let in, so nothing need be measured
        if self._free_bytes is None:
            self._free_bytes = psutil.virtual_memory().available - self._warming_bytes(time.time())
        need = self._need_bytes(spec)
        if memory_slots(self._free_bytes, need, warming_bytes=self._planned_bytes, running=self._running):
            return None
        return Shut(why="the machine's memory is taken", until=time.time() + _LIMIT_HINT_SECONDS)

    def planned(self, spec: InterfaceSpec) -> None:
        """A task was chosen for it."""
        self._planned_bytes += self._need_bytes(spec)
        self._running += 1

    def started(self, spec: InterfaceSpec, attempt_id: str, now: float) -> None:
        """It counts as taking its memory for a while, which is not measured yet."""
        self._started[attempt_id] = (now, self._need_bytes(spec))

    def ended(self, attempt_id: str) -> None:
        """It needs nothing more."""
        self._started.pop(attempt_id, None)

    def _warming_bytes(self, now: float) -> int:
        warming: Counter[float] = Counter()
        for at, need in self._started.values():
            warming[at] += need
        return warming_bytes(warming, now)

    def _need_bytes(self, spec: InterfaceSpec) -> int:
        return client_bytes(spec.invoke.kind, spec.type, self._client_bytes)
