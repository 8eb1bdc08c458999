"""Waiting for room under a rate: at once where there is some, first come first served where there is none, and never for ever."""

import asyncio
import time
from contextlib import closing

import pytest

from brain_daemon.model.interface import Limits
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.policy.buckets import Account, Granted, Later
from brain_daemon.service.rate_limiter import NOTHING_ASKED, RateLimiter

FAST = Limits(requests_per_minute=6_000)
"""A hundred a second: to wait for room takes ten milliseconds."""

SLOW = Limits(requests_per_minute=60, tokens_per_minute=600)


class Clock:
    """A monotonic clock set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Rates of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


@pytest.fixture
def opened(brain):
    with closing(brain.open()) as found:
        yield found


@pytest.fixture
def limiter(opened):
    """A daemon's, on a clock set by hand."""
    made = RateLimiter(opened, clock=Clock())
    yield made
    made.close()


@pytest.fixture
def agents(opened):
    """Limiters of as many agents as are asked for, on the real clock; the requests of the fast rate are used up."""
    made, before = [], time.monotonic()

    def new(name: str) -> RateLimiter:
        made.append(RateLimiter(opened, who=name))
        return made[-1]

    new.before = before
    first = new("first of all")
    first.take([(first.ask("a", FAST, requests=6_000), False)])
    yield new
    for one in made:
        one.close()


def test_what_a_look_has_planned_is_not_promised_twice(limiter):
    """The one that does not fit is told how long, is denied once, and the next look sees what was really taken."""
    one = limiter.ask("a", SLOW, tokens=400, task_id="one")
    two = limiter.ask("a", SLOW, tokens=400, task_id="two")
    assert limiter.foreseen(one) is None
    limiter.planned(one)
    assert limiter.foreseen(two) == Later(wait_seconds=pytest.approx(20.0), why="tokens a minute used up")
    assert limiter.foreseen(two) is not None
    assert isinstance(limiter.take([(one, False)])[0], Granted)
    limiter.begin()
    assert limiter.foreseen(two) is not None
    limiter.begin()
    assert limiter.book.task_accounts(one.brain, 9) == {
        "one": Account(requests=1, tokens=400),
        "two": Account(denials=1),
    }


def test_a_daemon_has_a_place_in_the_line_for_all_its_tasks(limiter, opened):
    """An agent that asks later does not overtake it, however small its ask; the daemon's turn comes and goes."""
    agent = RateLimiter(opened, who="agent", clock=limiter._clock)
    with closing(agent):
        limiter.take([(limiter.ask("a", SLOW, requests=60), False)])
        limiter.begin()
        assert limiter.foreseen(limiter.ask("a", SLOW, requests=3, task_id="t")) is not None
        limiter.begin()
        limiter._clock.now += 1.0
        (found,) = agent.take([(agent.ask("a", SLOW), False)])
        assert found == Later(wait_seconds=pytest.approx(3.0), why="others wait before it")
        limiter._clock.now += 2.0
        assert limiter.foreseen(limiter.ask("a", SLOW, requests=3, task_id="t")) is None
        (found,) = limiter.take([(limiter.ask("a", SLOW, requests=3, task_id="t"), False)])
        assert isinstance(found, Granted)
        limiter._clock.now += 1.0
        assert isinstance(agent.take([(agent.ask("a", SLOW), False)])[0], Granted)


def test_a_task_that_goes_elsewhere_keeps_no_place(limiter):
    """Others need not wait for it."""
    limiter.take([(limiter.ask("a", SLOW, requests=60), False)])
    assert limiter.foreseen(limiter.ask("a", SLOW, task_id="t")) is not None
    limiter.goes("t")
    limiter.begin()
    assert limiter.book.levels("a", SLOW)[1] == 0


def test_corrections_are_written_with_the_next_look_or_at_the_end(limiter, opened):
    """Tokens are taken by estimate; what the outcome tells is no write of its own."""
    ask = limiter.ask("a", SLOW, tokens=300, task_id="t")
    limiter.take([(ask, False)])
    limiter.correct(ask, 0)
    limiter.correct(ask, 600)
    assert limiter.book.task_accounts(ask.brain, 9)["t"].tokens == 300
    limiter.begin()
    assert limiter.book.task_accounts(ask.brain, 9)["t"].tokens == 900
    limiter.correct(ask, -100)
    limiter.close()
    assert limiter.book.task_accounts(ask.brain, 9)["t"].tokens == 800
    assert limiter.take([(limiter.ask("a", SLOW, tokens=1), False)])[0].wait_seconds == pytest.approx(20.1)


def test_a_restart_finds_the_buckets_as_they_were(opened, limiter):
    """No second minute's worth for a daemon that dies."""
    limiter.take([(limiter.ask("a", SLOW, requests=60), False)])
    with closing(RateLimiter(opened, clock=limiter._clock)) as next_one:
        assert isinstance(next_one.take([(next_one.ask("a", SLOW), False)])[0], Later)


def test_the_state_of_a_rate_is_told_without_asking_for_anything(limiter):
    """Full, and no file made, where nobody has asked; house-keeping forgets nothing of today."""
    spec = parse_interface(
        "api.md", b"---\nname: api\nlimits: {requests_per_minute: 60}\ninvoke: {command: [cat]}\n---\n# Api\n"
    )
    assert (limiter.state(spec).rates.requests.level, limiter.state(spec).account) == (60, NOTHING_ASKED)
    assert not limiter.is_used
    assert not limiter.task_accounts(5)
    assert not limiter.acquired()
    limiter.keep_house()
    limiter.take([(limiter.ask("other", SLOW, task_id="t"), False)])
    limiter.keep_house()
    assert limiter.state(spec).account == NOTHING_ASKED
    assert limiter.task_accounts(5) == {"t": Account(requests=1)}


async def test_who_waits_gets_room_when_there_is_some(agents):
    """In proportion to the time that has passed."""
    one = agents("one")
    assert isinstance(await one.acquire(one.ask("a", FAST, requests=30)), Granted)
    assert time.monotonic() - agents.before >= 0.3


async def test_first_come_first_served_also_for_the_large_ask(agents):
    """A small ask does not overtake a large one, though it asks more often."""
    order = []

    async def want(name: str, requests: int) -> None:
        limiter = agents(name)
        assert isinstance(await limiter.acquire(limiter.ask("a", FAST, requests=requests)), Granted)
        order.append(name)

    waiting = []
    for name, requests in [("large", 100), ("small", 1), ("last", 2)]:
        waiting.append(asyncio.create_task(want(name, requests)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == ["large", "small", "last"]


async def test_who_gives_up_has_taken_nothing_and_holds_up_nobody(agents):
    """Its time is up, or it is cancelled: the next one moves up, and it has been denied once."""
    late, gone, next_one = agents("late"), agents("gone"), agents("next")
    ask = late.ask("a", FAST, requests=6_000, task_id="late")
    found = await late.acquire(ask, timeout_seconds=0.02)
    assert isinstance(found, Later)
    assert late.task_accounts(5) == {"late": Account(denials=1)}
    cancelled = asyncio.create_task(gone.acquire(gone.ask("a", FAST, requests=6_000)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(next_one.acquire(next_one.ask("a", FAST)))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert isinstance(await waiting, Granted)
