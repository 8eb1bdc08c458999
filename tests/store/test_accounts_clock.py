"""The accounts' look at the clocks: a jump forward is seen, kept and forgotten in time."""

import time

import pytest

from brain_daemon.policy.clock import Jump
from brain_daemon.store import accounts as module
from brain_daemon.store.accounts import KEEP_SECONDS, Accounts, Booking, since_boot
from brain_daemon.store.files import Files

HOUR = 3_600.0
NOON = 1_795_262_400.0


class Clocks:
    """The time of day, the boot and the time since then, set by hand."""

    def __init__(self) -> None:
        self.now, self.boot, self.elapsed = NOON, "one", 100.0

    def pass_by(self, seconds: float, more: float = 0.0) -> None:
        """Time goes by, and the clock is set forward by some more."""
        self.elapsed += seconds
        self.now += seconds + more


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def opened(tmp_path, clocks):
    """`opened()` opens the accounts, each time as another process would."""
    made = []

    def one(*, sees: bool = True) -> Accounts:
        elapsed = (lambda: (clocks.boot, clocks.elapsed)) if sees else None
        made.append(Accounts(str(tmp_path / "accounts.db"), Files(), clock=lambda: clocks.now, elapsed=elapsed))
        return made[-1]

    yield one
    for accounts in made:
        accounts.close()


def test_a_jump_is_seen_before_anything_is_written_and_by_all(opened, clocks):
    """Also by who opens them later; it lasts until the clock has come back."""
    accounts = opened()
    assert accounts.jumps() == ()
    accounts.lapse()
    clocks.pass_by(60.0, more=HOUR)
    jump = Jump(at=NOON, ahead_seconds=HOUR)
    assert accounts.jumps() == (jump,)
    accounts.lapse()
    clocks.pass_by(600.0)
    assert opened().jumps() == (jump,)
    clocks.now -= HOUR
    accounts.lapse()
    assert accounts.jumps() == ()


def test_after_a_boot_the_time_of_day_is_believed(opened, clocks):
    """Nobody knows how long the machine was off."""
    accounts = opened()
    accounts.lapse()
    clocks.pass_by(60.0, more=HOUR)
    accounts.lapse()
    clocks.boot, clocks.elapsed = "two", 5.0
    assert accounts.jumps() == ()
    accounts.lapse()
    clocks.pass_by(60.0, more=2 * HOUR)
    assert accounts.jumps() == (Jump(at=NOON + 60.0 + HOUR, ahead_seconds=2 * HOUR),)


def test_of_many_jumps_the_newest_hundred_are_kept(opened, clocks):
    """A clock that is set again and again does not fill the file."""
    accounts = opened()
    for _ in range(130):
        accounts.lapse()
        clocks.pass_by(60.0, more=HOUR)
    assert len(accounts.jumps()) == 100


def test_a_clock_that_was_set_forward_makes_no_row_old(opened, clocks):
    """It is dropped when it is older than any window by the time that has gone by."""
    accounts = opened()
    accounts.settle([Booking(account="max", attempt_id="a", brain="b", at=NOON)])
    clocks.pass_by(60.0, more=2 * KEEP_SECONDS)
    assert accounts.prune() == 0
    clocks.pass_by(KEEP_SECONDS)
    assert accounts.prune() == 1


def test_accounts_of_an_older_release_learn_to_see_jumps(opened, clocks):
    """Who is given no time since the boot sees none, and makes no table for them."""
    older = opened(sees=False)
    older.lapse()
    clocks.pass_by(60.0, more=HOUR)
    assert older.jumps() == ()
    accounts = opened()
    accounts.lapse()
    clocks.pass_by(60.0, more=HOUR)
    assert len(accounts.jumps()) == 1


def test_the_time_since_the_boot_goes_on_within_one_boot(monkeypatch):
    """On a system that does not name its boots as well."""
    (boot, before), (same, after) = since_boot(), since_boot()
    assert boot == same != ""
    assert 0 < before <= after < time.time()
    monkeypatch.setattr(module, "_BOOT_NAME", "/nowhere")
    assert since_boot()[0] == ""
