"""Waiting for room under requests and tokens a minute: first come, first served, per account, whichever process asks.

Own code, not aiolimiter: that has one bucket a limiter where requests and tokens must be taken together or not at all, refuses an
amount larger than its capacity, gives back or corrects nothing, lets a small ask overtake a large one that is waiting, and ends with
its process, while a vendor counts an account. The arithmetic is policy/buckets.py, the buckets and the line are store/rates.py; here
is what one daemon, or one `brain acquire`, makes of them.

A daemon has one place in each line for all its tasks, so that neither it nor the agents beside it are kept out for ever. What it only
notes (corrections, denials, its places) is written together at the next look. Not for several threads.

Failures: StorageError and Damaged as store/database.py has them; no room is the value `Later`.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from brain_daemon.model.interface import InterfaceSpec, Limits
from brain_daemon.policy.buckets import Account, Granted, Later, Rates, drawn, try_acquire
from brain_daemon.policy.quotas import account_key
from brain_daemon.service.brain import Brain
from brain_daemon.service.config import user_state_path
from brain_daemon.store.rates import FILE_NAME, Acquired, Ask, Grant, RateBook

NOTHING_ASKED = Account()
_LONGEST_NAP_SECONDS = 1.0
_SHORTEST_NAP_SECONDS = 0.01

Found = TypeVar("Found")


def has_rate(spec: InterfaceSpec) -> bool:
    """Whether it declares requests or tokens a minute."""
    return spec.limits.requests_per_minute is not None or spec.limits.tokens_per_minute is not None


def rate_key(account: str, limits: Limits) -> str:
    """Interfaces of one account share a rate where they declare the same."""
    return f"{account} {limits.requests_per_minute} {limits.tokens_per_minute}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateState:
    """A rate as it stands now: its buckets, how many wait for it, and what was asked of it today (UTC) by all brains."""

    rates: Rates
    waiting: int = 0
    account: Account = NOTHING_ASKED


class RateLimiter:
    """For one process. `who` stands in the lines: this brain's daemon by default."""

    def __init__(
        self,
        brain: Brain,
        who: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._brain = brain
        self._who = who or f"daemon of {brain.layout.state}"
        self._clock = clock
        self._wall_clock = wall_clock
        self._book: RateBook | None = None
        self._drafts: dict[str, tuple[Rates, bool]] = {}
        self._notes: list[Callable[[RateBook], None]] = []
        self._places: dict[str, tuple[Ask, float]] = {}
        self._waiting: set[str | None] = set()

    @property
    def is_used(self) -> bool:
        """Whether anybody of this user has ever drawn from a rate."""
        return self._book is not None or os.path.exists(_path())

    @property
    def book(self) -> RateBook:
        """The buckets, opened when they are first needed."""
        if self._book is None:
            self._book = RateBook(_path(), self._brain.files, clock=self._clock, wall_clock=self._wall_clock)
        return self._book

    def close(self) -> None:
        """What was noted is written first."""
        if self._book is not None:
            try:
                self.flush()
            finally:
                self._book.close()
                self._book = None

    def begin(self) -> None:
        """A new look at the queue."""
        self.flush()
        self._drafts.clear()

    def flush(self) -> None:
        """Write what was noted since the last time, in one transaction."""
        if not (self._notes or self._places):
            return
        with self.book.changing():
            for note in self._notes:
                note(self.book)
            for ask, seconds in self._places.values():
                self.book.wait(ask, seconds)
        self._notes.clear()
        self._places.clear()

    def keep_house(self) -> None:
        """Now and then: forget days gone by."""
        if self._book is not None:
            with self._book.changing():
                self._book.prune()

    def ask(self, key: str, limits: Limits, *, requests: int = 1, tokens: int = 0, task_id: str | None = None) -> Ask:
        """What this process asks for."""
        return Ask(
            key=key,
            limits=limits,
            who=self._who,
            brain=self._brain.layout.state,
            requests=requests,
            tokens=tokens,
            task_id=task_id,
        )

    # a look at the queue

    def foreseen(self, ask: Ask) -> Later | None:
        """Why it would not be granted now, beside what this look has planned. A no holds a place in the line.

        It is a denial once for each time that a task has to wait, however often it is looked at meanwhile.
        """
        later = self.room(ask)
        if later is None:
            return None
        if ask.task_id not in self._waiting:
            self._waiting.add(ask.task_id)
            self._notes.append(lambda book: book.tally(ask, Account(denials=1)))
        self._places.setdefault(ask.key, (ask, later.wait_seconds))
        return later

    def room(self, ask: Ask) -> Later | None:
        """Why it would not be granted now; nothing is noted."""
        rates, ahead = self._draft(ask)
        found = try_acquire(rates, requests=ask.requests, tokens=ask.tokens, now=self._clock())
        if isinstance(found, Later):
            return found
        return Later(wait_seconds=1.0, why="others wait before it") if ahead else None

    def goes(self, task_id: str) -> None:
        """A task was chosen for some interface: it waits in no line."""
        self._places = {key: place for key, place in self._places.items() if place[0].task_id != task_id}
        self._waiting.discard(task_id)

    def planned(self, ask: Ask) -> None:
        """A task was chosen; it takes what it needs before it starts."""
        rates, ahead = self._draft(ask)
        self._drafts[ask.key] = (
            drawn(rates, requests=ask.requests, tokens=ask.tokens, now=self._clock()),
            ahead,
        )

    def take(self, asks: Sequence[tuple[Ask, bool]]) -> list[Granted | Later]:
        """Take each, or not, in order and in one transaction; the second of a pair takes it in any case, into debt."""
        if not asks:
            return []
        with self.book.changing():
            found = [self.book.take(ask, forced=forced, stays=True) for ask, forced in asks]
        for ask, _ in asks:
            self._drafts.pop(ask.key, None)
            self._places.pop(ask.key, None)
            self._waiting.discard(ask.task_id)
        return found

    def correct(self, ask: Ask, tokens: int) -> None:
        """So many tokens more than were taken turned out to be used; fewer is a negative figure. Written with the next look."""
        if tokens:
            self._notes.append(lambda book: book.correct(ask, tokens))

    def acquired(self, attempt_id: str | None = None) -> Sequence[Acquired]:
        """What the attempts of this brain, or one of them, were granted on request."""
        return self.book.acquired(self._brain.layout.state, attempt_id) if self.is_used else ()

    def unattended(self) -> Sequence[Grant]:
        """What was granted on request to whoever named no task, oldest first."""
        return self.book.unattended(self._brain.layout.state) if self.is_used else ()

    def state(self, spec: InterfaceSpec) -> RateState:
        """The rate of an interface; full where nobody has ever asked."""
        if not self.is_used:
            return RateState(rates=Rates.of(spec.limits, self._clock()))
        key = rate_key(account_key(spec, self._brain.layout.state), spec.limits)
        rates, waiting = self.book.levels(key, spec.limits)
        return RateState(rates=rates, waiting=waiting, account=self.book.account(key))

    def task_accounts(self, limit: int) -> Mapping[str, Account]:
        """What the tasks of this brain have asked of all rates today (UTC), those that asked for most first."""
        return self.book.task_accounts(self._brain.layout.state, limit) if self.is_used else {}

    # one who waits

    async def acquire(self, ask: Ask, *, timeout_seconds: float | None = None) -> Granted | Later:
        """Wait for a turn and then for room, at most so long; who gives up, or is cancelled, has taken nothing."""

        def once(*, first: bool, last: bool) -> Granted | Later:
            with self.book.changing():
                return self.book.take(ask, stays=not last, counts=first)

        return await patiently(once, _wait_of, timeout_seconds, lambda: self.leave(ask))

    def leave(self, ask: Ask) -> None:
        """Stand in the line no more."""
        with self.book.changing():
            self.book.leave(ask)

    def _draft(self, ask: Ask) -> tuple[Rates, bool]:
        if ask.key not in self._drafts:
            self._drafts[ask.key] = self.book.standing(ask)
        return self._drafts[ask.key]


async def patiently(
    once: Callable[..., Found],
    wait_of: Callable[[Found], float | None],
    timeout_seconds: float | None,
    leave: Callable[[], None],
) -> Found:
    """Ask until the answer is no wait any more (None), or time is up: then the last answer.

    `once` asks and is told whether it is the first time and the last; `leave` gives up the turn.

    Naps are short, since whoever stands before may leave at any moment.
    """
    end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    first = True
    try:
        while True:
            left = None if end is None else end - time.monotonic()
            last = left is not None and left <= 0
            found = once(first=first, last=last)
            first = False
            wait = wait_of(found)
            if wait is None or last:
                return found
            nap = max(_SHORTEST_NAP_SECONDS, min(wait, _LONGEST_NAP_SECONDS))
            await asyncio.sleep(nap if left is None else min(nap, max(left, _SHORTEST_NAP_SECONDS)))
    finally:
        leave()


def _wait_of(found: Granted | Later) -> float | None:
    return found.wait_seconds if isinstance(found, Later) else None


def _path() -> str:
    """In a folder of its own: writers queue at the door of a folder, and who holds the rates asks for the accounts (service/acquiring.py)."""
    return os.path.join(user_state_path(), "rates", FILE_NAME)
