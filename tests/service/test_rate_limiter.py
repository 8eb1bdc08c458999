"""Waiting for room under a rate: at once where there is some, first come first served where there is none, and never for ever."""

import asyncio

import pytest

from brain_daemon.model.interface import Limits
from brain_daemon.policy.admission import Used
from brain_daemon.policy.buckets import Account, Granted, Later
from brain_daemon.service import rate_limiter
from brain_daemon.service.rate_limiter import RateLimiter

FAST = Limits(requests_per_minute=6_000)
"""A hundred a second: to wait for room takes ten milliseconds."""


class Clock:
    """A monotonic clock set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limiter(clock):
    made = RateLimiter(clock, lambda: 1e9)
    made.declare("a", Limits(requests_per_minute=60, tokens_per_minute=600))
    return made


def fast() -> RateLimiter:
    """A limiter on the real clock, its requests used up."""
    made = RateLimiter()
    made.declare("a", FAST)
    assert isinstance(made.try_acquire("a", requests=6_000), Granted)
    return made


def test_what_is_there_is_granted_and_counted(limiter):
    """For the account and for the task; a denial is counted too."""
    assert isinstance(limiter.try_acquire("a", tokens=500, task_id="t"), Granted)
    assert limiter.try_acquire("a", tokens=200, task_id="t") == Later(
        wait_seconds=pytest.approx(10.0), why="tokens a minute used up"
    )
    assert limiter.account("a") == limiter.task_account("t") == Account(requests=1, tokens=500, denials=1)
    assert limiter.task_account("other") == Account()
    assert limiter.accounts() == {"a": limiter.account("a")}


def test_an_account_nobody_declared_has_no_limit(limiter):
    """Its use is counted all the same."""
    assert isinstance(limiter.try_acquire("b", requests=10**6, tokens=10**9), Granted)
    assert limiter.account("b").requests == 10**6


def test_tokens_are_corrected_by_the_outcome(limiter, clock):
    """More than estimated leaves a debt, fewer are given back."""
    limiter.try_acquire("a", tokens=300, task_id="t")
    limiter.correct("a", 600, "t")
    assert limiter.task_account("t").tokens == limiter.account("a").tokens == 900
    assert limiter.try_acquire("a", tokens=1).wait_seconds == pytest.approx(30.1)
    limiter.correct("a", -600)
    assert isinstance(limiter.try_acquire("a", tokens=300), Granted)


def test_declaring_again_changes_the_limit_and_keeps_what_was_taken(limiter):
    """The same limits change nothing."""
    limiter.try_acquire("a", requests=60)
    limiter.declare("a", Limits(requests_per_minute=60, tokens_per_minute=600))
    assert isinstance(limiter.try_acquire("a"), Later)
    limiter.declare("a", Limits(requests_per_minute=120))
    assert limiter.used("a", Used()) == Used(requests_last_minute=60)
    assert isinstance(limiter.try_acquire("a", requests=60), Granted)
    assert limiter.used("a", Used(messages_today=3)) == Used(
        messages_today=3, requests_last_minute=120, minute_resets_at=1e9 + 0.5
    )


def test_only_the_last_tasks_are_remembered(limiter, monkeypatch):
    """A queue of a million tasks does not fill the memory."""
    monkeypatch.setattr(rate_limiter, "_TASKS_KEPT", 2)
    for task in ("x", "y", "x", "z"):
        limiter.try_acquire("a", task_id=task)
    assert (limiter.task_account("x").requests, limiter.task_account("y").requests) == (2, 0)


async def test_who_waits_gets_room_when_there_is_some():
    """In proportion to the time that has passed."""
    limiter = fast()
    started = asyncio.get_running_loop().time()
    assert isinstance(await limiter.acquire("a", requests=3), Granted)
    assert asyncio.get_running_loop().time() - started > 0.02


async def test_first_come_first_served_also_for_the_large_ask():
    """A small ask does not overtake a large one, whether it waits or only tries."""
    limiter, order = fast(), []

    async def want(name: str, requests: int) -> None:
        assert isinstance(await limiter.acquire("a", requests=requests), Granted)
        order.append(name)

    waiting = []
    for name, requests in [("large", 5), ("small", 1), ("last", 2)]:
        waiting.append(asyncio.create_task(want(name, requests)))
        await asyncio.sleep(0)
    refused = limiter.try_acquire("a", requests=0)
    assert isinstance(refused, Later)
    assert (refused.why, refused.wait_seconds) == ("others wait before it", 1.0)
    await asyncio.gather(*waiting)
    assert order == ["large", "small", "last"]


async def test_who_gives_up_has_taken_nothing_and_holds_up_nobody(limiter, clock):
    """Neither the first in line nor one behind it; each is told how long it would have been."""
    limiter.try_acquire("a", requests=60)
    first = asyncio.create_task(limiter.acquire("a", task_id="first", timeout_seconds=0.02))
    await asyncio.sleep(0)
    second = asyncio.create_task(limiter.acquire("a", timeout_seconds=0.01))
    third = asyncio.create_task(limiter.acquire("a", tokens=1))
    assert await second == Later(wait_seconds=pytest.approx(1.0), why="no room within 0.01 s")
    clock.now += 0.5
    assert await first == Later(wait_seconds=pytest.approx(0.5), why="no room within 0.02 s")
    assert limiter.task_account("first") == Account(denials=1)
    clock.now += 0.6
    assert isinstance(await third, Granted)
    assert limiter.account("a") == Account(requests=61, tokens=1, denials=2)


async def test_a_cancelled_wait_leaves_the_line():
    """The next one moves up."""
    limiter = fast()
    first = asyncio.create_task(limiter.acquire("a", requests=6_000))
    await asyncio.sleep(0)
    second = asyncio.create_task(limiter.acquire("a"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert isinstance(await second, Granted)
    assert limiter.account("a").requests == 6_001


async def test_many_at_once_are_held_to_the_rate():
    """Twenty of one each take the time of twenty, and all get through."""
    limiter = fast()
    loop = asyncio.get_running_loop()
    started = loop.time()
    verdicts = await asyncio.gather(*(limiter.acquire("a") for _ in range(20)))
    assert all(isinstance(one, Granted) for one in verdicts)
    assert loop.time() - started > 0.18
