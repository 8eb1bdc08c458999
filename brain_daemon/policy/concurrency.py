"""How many attempts may run at once: per interface by what it bears, in the whole by memory.

An interface starts with `min(base, max(1, remaining // 2))` slots, so that a nearly spent quota is not stormed. From there each
success adds a part of a slot, one whole slot after as many successes as there are slots, up to the base; a rate limit halves them.
Attempts that ran side by side meet the same limit together, so of all that started before a cut only the first one cuts.

Memory counts what is free now, less what clients that have just started will still take. With nothing running, one may always
start: a small machine is slow, not stuck. Nothing fails here; instants are epoch seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from brain_daemon.model.interface import InterfaceType, InvokeKind
from brain_daemon.model.outcome import Failed, FailureKind, Outcome, Succeeded

CLIENT_MEMORY_BYTES = 650_000_000
"""What a command-line client of a language model was seen to need at its peak."""

SMALL_MEMORY_BYTES = 50_000_000
"""What anything else is taken to need: a tool, a call over HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """`allowed` slots of at most `base`, whole ones count; `cut_at` is when a rate limit last halved them."""

    base: int
    allowed: float
    cut_at: float | None = None

    @property
    def slots(self) -> int:
        """How many may run at once, at least one."""
        return max(1, int(self.allowed))


def initial(base: int, remaining: int | None = None) -> Allowance:
    """Where an interface starts; `remaining` is what is left of its tightest quota of messages, None where there is none."""
    base = max(1, base)
    return Allowance(base=base, allowed=base if remaining is None else min(base, max(1, remaining // 2)))


def after(allowance: Allowance, outcome: Outcome, *, started_at: float, now: float) -> Allowance:
    """The allowance once an attempt that began at `started_at` has ended."""
    if isinstance(outcome, Succeeded):
        return replace(allowance, allowed=min(float(allowance.base), allowance.allowed + 1 / allowance.slots))
    limited = isinstance(outcome, Failed) and outcome.kind is FailureKind.RATE_LIMIT
    if not limited or (allowance.cut_at is not None and started_at < allowance.cut_at):
        return allowance
    return replace(allowance, allowed=max(1.0, allowance.allowed / 2), cut_at=now)


def bounded(allowance: Allowance, remaining: int | None) -> int:
    """Slots now that `remaining` messages are left: never more than half of them, at least one."""
    return allowance.slots if remaining is None else min(allowance.slots, max(1, remaining // 2))


def client_bytes(kind: InvokeKind, of_type: InterfaceType, client_memory_bytes: int = CLIENT_MEMORY_BYTES) -> int:
    """What one attempt of such an interface may come to need on this machine."""
    is_client = kind is InvokeKind.COMMAND and of_type is InterfaceType.LLM
    return client_memory_bytes if is_client else min(client_memory_bytes, SMALL_MEMORY_BYTES)


def memory_slots(free_bytes: int, need_bytes: int, *, keep_bytes: int = 0, warming_bytes: int = 0, running: int) -> int:
    """How many more attempts that need `need_bytes` each the memory bears.

    `free_bytes` is measured now, `keep_bytes` is left to the person, `warming_bytes` is the need of attempts that started too
    short ago to have taken theirs.
    """
    room = free_bytes - keep_bytes - warming_bytes
    return max(0 if running else 1, room // max(1, need_bytes))


def warming_bytes(started: Mapping[float, int], now: float, warm_seconds: float = 30.0) -> int:
    """The need of attempts that are not yet counted in the free memory: `started` maps their starts to their needs."""
    return sum(need for at, need in started.items() if now - warm_seconds < at)
