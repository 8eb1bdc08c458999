"""Waiting for room under requests and tokens a minute: first come, first served, per account.

Own code, not aiolimiter: that has one bucket a limiter where requests and tokens must be taken together or not at all, refuses an
amount larger than its capacity, gives back or corrects nothing, and lets a small ask overtake a large one that is waiting. The
arithmetic is policy/buckets.py; here are only the queue and the clock.

For one event loop. What an account has used does not outlive the process: a restart begins with full buckets, and a vendor that
disagrees answers with a rate limit, which is an outcome. No failure is raised: no room in time is the value `Later`.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from brain_daemon.model.interface import Limits
from brain_daemon.policy.admission import Used
from brain_daemon.policy.buckets import Account, Granted, Later, Rates, as_used, changed_limits, drawn, try_acquire

_TASKS_KEPT = 10_000
_ONE_AFTER_SECONDS = 1.0


@dataclass(slots=True)
class _Line:
    """The buckets of one account and who waits at them, first come first."""

    rates: Rates
    limits: Limits
    account: Account = field(default_factory=Account)
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class RateLimiter:
    """A key is whatever shares one rate: an interface, or an account. One that was never declared has no limit."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._lines: dict[str, _Line] = {}
        self._tasks: OrderedDict[str, Account] = OrderedDict()

    def declare(self, key: str, limits: Limits) -> None:
        """The limits of an account, anew whenever they change; what was taken stays taken."""
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = _Line(rates=Rates.of(limits, self._clock()), limits=limits)
        elif line.limits != limits:
            line.rates, line.limits = changed_limits(line.rates, limits, self._clock()), limits

    def try_acquire(
        self, key: str, *, requests: int = 1, tokens: int = 0, task_id: str | None = None
    ) -> Granted | Later:
        """Take at once, or be told how long it would be; nobody who waits is overtaken."""
        line = self._line(key)
        if line.waiting:
            wait = max(_ONE_AFTER_SECONDS, self._would_wait(line, requests, tokens))
            verdict: Granted | Later = Later(wait_seconds=wait, why="others wait before it")
        else:
            verdict = self._take(line, requests, tokens)
        return self._entered(line, verdict, requests, tokens, task_id)

    def wait_seconds(self, key: str, *, requests: int = 1, tokens: int = 0) -> float:
        """How long it would be until so much could be taken; nothing is."""
        line = self._line(key)
        wait = self._would_wait(line, requests, tokens)
        return max(_ONE_AFTER_SECONDS, wait) if line.waiting else wait

    async def acquire(
        self,
        key: str,
        *,
        requests: int = 1,
        tokens: int = 0,
        task_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Granted | Later:
        """Wait for a turn and then for room, at most `timeout_seconds`; who gives up, or is cancelled, has taken nothing."""
        line = self._line(key)
        try:
            async with asyncio.timeout(timeout_seconds):
                granted = await self._wait(line, requests, tokens)
        except TimeoutError:
            wait = self._would_wait(line, requests, tokens)
            late = Later(wait_seconds=wait, why=f"no room within {timeout_seconds:g} s")
            return self._entered(line, late, requests, tokens, task_id)
        return self._entered(line, granted, requests, tokens, task_id)

    def correct(self, key: str, tokens: int, task_id: str | None = None) -> None:
        """So many tokens more than were acquired turned out to be used; fewer is a negative figure."""
        line = self._line(key)
        line.rates = drawn(line.rates, tokens=tokens, now=self._clock())
        line.account = line.account.corrected(tokens)
        if task_id is not None:
            self._note(task_id, self.task_account(task_id).corrected(tokens))

    def account(self, key: str) -> Account:
        """What was asked of this account since the process began."""
        return self._line(key).account

    def task_account(self, task_id: str) -> Account:
        """What this task has asked of all accounts since the process began; of the last ten thousand tasks."""
        return self._tasks.get(task_id, Account())

    def accounts(self) -> Mapping[str, Account]:
        """Every declared account."""
        return {key: line.account for key, line in self._lines.items()}

    def used(self, key: str, used: Used) -> Used:
        """`used` with the last minute's figures of this account, for `policy.admission`."""
        return as_used(self._line(key).rates, used, now=self._clock(), wall_now=self._wall_clock())

    def _line(self, key: str) -> _Line:
        return self._lines.setdefault(key, _Line(rates=Rates(), limits=Limits()))

    async def _wait(self, line: _Line, requests: int, tokens: int) -> Granted:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            if line.waiting[0] is not turn:
                await turn
            return await self._room(line, requests, tokens)
        finally:
            turn.cancel()
            line.waiting.remove(turn)
            _call_first(line)

    async def _room(self, line: _Line, requests: int, tokens: int) -> Granted:
        """For whoever stands first. Takes before giving up its turn, so nobody gets between."""
        while True:
            verdict = self._take(line, requests, tokens)
            if isinstance(verdict, Granted):
                return verdict
            await asyncio.sleep(verdict.wait_seconds)

    def _take(self, line: _Line, requests: int, tokens: int) -> Granted | Later:
        verdict = try_acquire(line.rates, requests=requests, tokens=tokens, now=self._clock())
        if isinstance(verdict, Granted):
            line.rates = verdict.rates
        return verdict

    def _would_wait(self, line: _Line, requests: int, tokens: int) -> float:
        verdict = try_acquire(line.rates, requests=requests, tokens=tokens, now=self._clock())
        return verdict.wait_seconds if isinstance(verdict, Later) else 0.0

    def _entered(
        self, line: _Line, verdict: Granted | Later, requests: int, tokens: int, task_id: str | None
    ) -> Granted | Later:
        if isinstance(verdict, Granted):
            line.account = line.account.granted(requests, tokens)
        else:
            line.account = line.account.denied()
        if task_id is not None:
            before = self.task_account(task_id)
            self._note(task_id, before.granted(requests, tokens) if isinstance(verdict, Granted) else before.denied())
        return verdict

    def _note(self, task_id: str, account: Account) -> None:
        self._tasks[task_id] = account
        self._tasks.move_to_end(task_id)
        while len(self._tasks) > _TASKS_KEPT:
            self._tasks.popitem(last=False)


def _call_first(line: _Line) -> None:
    if line.waiting and not line.waiting[0].done():
        line.waiting[0].set_result(None)
