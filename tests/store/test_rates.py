"""The rates of all brains of a user: one line, one set of buckets, whoever asks, and a grant once for a request."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal

import pytest

from brain_daemon.model.errors import Damaged
from brain_daemon.model.interface import Limits
from brain_daemon.policy.buckets import Account, Granted, Later
from brain_daemon.store.files import Files
from brain_daemon.store.rates import PROMISE_SECONDS, Acquired, Ask, Grant, RateBook

LIMITS = Limits(requests_per_minute=60, tokens_per_minute=600)


class Clock:
    """A clock set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock(1_000.0)


@pytest.fixture
def opened(tmp_path, clock):
    """Opens the same rates as often as it is asked to, as other processes do."""
    books = []

    def open_one() -> RateBook:
        books.append(RateBook(str(tmp_path / "rates.db"), Files(), clock=clock, wall_clock=lambda: 1e9))
        return books[-1]

    yield open_one
    for book in books:
        book.close()


def ask(who="me", **more) -> Ask:
    return Ask(**{"key": "a", "limits": LIMITS, "who": who, "brain": "b", **more})


def take(book, *asks, **how):
    with book.changing():
        found = [book.take(one, **how) for one in asks]
    return found[0] if len(found) == 1 else found


def test_what_one_takes_the_other_lacks(opened, clock):
    """Two processes draw from one bucket, and both see it refill."""
    one, other = opened(), opened()
    assert isinstance(take(one, ask(requests=60)), Granted)
    assert take(other, ask("other")) == Later(wait_seconds=pytest.approx(1.0), why="requests a minute used up")
    clock.now += 1.0
    assert isinstance(take(other, ask("other")), Granted)
    assert isinstance(take(one, ask()), Later)
    left, waiting = one.levels("a", LIMITS)
    assert (left.requests.level, left.tokens.level, waiting) == (pytest.approx(0.0), 600.0, 0)


def test_a_boot_gives_nobody_a_second_minutes_worth(opened, clock):
    """The monotonic clock begins anew then: what was left is left, and refills from now on."""
    book = opened()
    take(book, ask(requests=60))
    clock.now = 5.0
    assert take(book, ask()).wait_seconds == pytest.approx(1.0)
    clock.now = 6.0
    assert isinstance(take(book, ask()), Granted)


def test_first_come_first_served_across_processes(opened, clock):
    """A small ask does not overtake a large one that waits, and is told the wait of both."""
    one, other = opened(), opened()
    take(one, ask(requests=60))
    assert isinstance(take(one, ask("large", requests=5), stays=True), Later)
    clock.now += 2.0
    assert take(other, ask("small"), stays=True) == Later(wait_seconds=pytest.approx(4.0), why="others wait before it")
    assert one.levels("a", LIMITS)[1] == 2
    clock.now += 3.0
    assert isinstance(take(other, ask("small"), stays=True), Later)
    assert isinstance(take(one, ask("large", requests=5)), Granted)
    clock.now += 1.0
    assert isinstance(take(other, ask("small")), Granted)
    assert one.levels("a", LIMITS)[1] == 0


def test_the_dead_hold_up_nobody(opened, clock):
    """A place whose owner does not come back is given up, also one of an earlier boot; who comes back late stands at the end."""
    book = opened()
    take(book, ask(requests=60))
    take(book, ask("dead", requests=2), stays=True)
    take(book, ask("alive"), stays=True)
    clock.now += 2.0 + PROMISE_SECONDS + 0.5
    assert take(book, ask("next", requests=5), stays=True).why == "others wait before it"
    clock.now += 1.0
    assert isinstance(take(book, ask("next", requests=5)), Granted)
    take(book, ask(requests=60), forced=True)
    take(book, ask("first"), stays=True)
    take(book, ask("dead"), stays=True)
    assert book.standing(ask("dead"))[1] is True
    clock.now = 3.0
    assert book.standing(ask("new"))[1] is False


def test_what_is_forced_leaves_a_debt(opened, clock):
    """A person let it start: the vendor counts it all the same."""
    book = opened()
    take(book, ask(requests=60))
    assert isinstance(take(book, ask(requests=5), forced=True), Granted)
    assert take(book, ask()).wait_seconds == pytest.approx(6.0)


def test_a_correction_gives_back_or_takes_more(opened):
    """And stands in the account of the task."""
    book = opened()
    take(book, ask(tokens=500, task_id="t"))
    with book.changing():
        book.correct(ask(task_id="t"), -400)
        book.correct(ask(task_id="t"), 50)
    assert book.levels("a", LIMITS)[0].tokens.level == pytest.approx(450)
    assert book.task_accounts("b", 10) == {"t": Account(requests=1, tokens=150)}


def test_accounts_are_kept_by_rate_and_by_task_for_the_day(opened, tmp_path, clock):
    """Of all brains for a rate, of one for its tasks; a refusal counts once while it waits; another day begins anew."""
    book = opened()
    take(book, ask(tokens=5, task_id="one"), ask(tokens=9, task_id="two"), ask(tokens=1, brain="c", task_id="one"))
    take(book, ask(requests=60, task_id="one"))
    take(book, ask(requests=60, task_id="one"), counts=False)
    take(book, ask(tokens=2))
    assert book.account("a") == Account(requests=4, tokens=17, denials=1)
    assert list(book.task_accounts("b", 10).items()) == [
        ("two", Account(requests=1, tokens=9)),
        ("one", Account(requests=1, tokens=5, denials=1)),
    ]
    assert list(book.task_accounts("b", 1)) == ["two"]
    later = RateBook(str(tmp_path / "rates.db"), Files(), clock=clock, wall_clock=lambda: 1e9 + 40 * 86_400)
    with closing(later):
        assert later.account("a") == Account()
        with later.changing():
            later.prune()
    assert book.account("a") == Account()


def test_a_grant_is_kept_under_its_request(opened):
    """To be found by whoever asks again; the same id twice is refused by the table."""
    book = opened()
    grant = Grant(
        request_id="r", ask=ask(tokens=7, task_id="t"), interface="api", attempt_id="t.a1", usd=Decimal("0.5"), granted_at=1e9
    )  # fmt: skip
    with book.changing():
        book.note(grant)
    found = opened().granted("r")
    assert (found.interface, found.attempt_id, found.usd, found.ask.tokens) == ("api", "t.a1", Decimal("0.5"), 7)
    assert book.granted("other") is None
    with pytest.raises(sqlite3.IntegrityError), book.changing():
        book.note(grant)


def test_what_an_attempt_was_granted_adds_up_by_interface(opened):
    """With the number of those whose price nobody knows; those for no task are not among them."""
    book = opened()
    with book.changing():
        for number, (attempt, usd) in enumerate([("t.a1", Decimal(1)), ("t.a1", None), (None, Decimal(9))]):
            book.note(
                Grant(
                    request_id=str(number), ask=ask(tokens=10, task_id="t"), interface="api", attempt_id=attempt,
                    usd=usd, granted_at=1e9,
                )
            )  # fmt: skip
    expected = Acquired(
        attempt_id="t.a1", task_id="t", interface="api", requests=2, tokens=20, usd=Decimal(1), unpriced=1
    )
    assert book.acquired("b") == book.acquired("b", "t.a1") == [expected]
    assert book.acquired("b", "other") == book.acquired("c") == []


def test_a_process_killed_in_the_middle_has_taken_nothing(opened, tmp_path):
    """Its transaction is undone, and the others go on."""
    script = (
        "import os, sys\nfrom brain_daemon.store.rates import *\nfrom brain_daemon.store.files import Files\n"
        "from brain_daemon.model.interface import Limits\nbook = RateBook(sys.argv[1], Files(), clock=lambda: 1000.0)\n"
        "with book.changing():\n"
        "    book.take(Ask(key='a', limits=Limits(requests_per_minute=60), who='x', brain='b', requests=60))\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    book = opened()
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "rates.db")], check=False)
    assert done.returncode == -9
    assert isinstance(take(book, ask(requests=60)), Granted)


@pytest.mark.parametrize("seed", range(2))
def test_in_no_minute_more_is_granted_than_the_rate_allows(opened, clock, seed):
    """However many processes ask, wait, give up and come back: a minute's worth and what flows in."""
    draw, books, through = random.Random(seed), [opened() for _ in range(3)], []
    for _ in range(150):
        clock.now += draw.choice([0.0, 0.1, 2.0, 15.0])
        one = ask(f"w{draw.randrange(5)}", requests=draw.randrange(1, 30), tokens=draw.randrange(300))
        book = draw.choice(books)
        if draw.random() < 0.1:
            with book.changing():
                book.leave(one)
        elif isinstance(take(book, one, stays=draw.random() < 0.5), Granted):
            through.append((clock.now, one.requests, one.tokens))
    assert through
    for at, _, _ in through:
        inside = [one for one in through if at <= one[0] <= at + 60]
        assert sum(one[1] for one in inside) <= 60 + 60
        assert sum(one[2] for one in inside) <= 600 + 600


def test_a_damaged_file_is_kept_and_named(tmp_path):
    """With what to do."""
    (tmp_path / "rates.db").write_bytes(b"")
    with pytest.raises(Damaged, match="Move it away"):
        RateBook(str(tmp_path / "rates.db"), Files())
