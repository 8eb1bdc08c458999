"""The accounts: shared by processes, never below the truth after a crash, never forgetful when the clock moves back (B15)."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brain_daemon.model.interface import Limits, Window
from brain_daemon.policy.quotas import NOTHING, ONE_MESSAGE, Count, NoRoom, Reported, Use, quotas_of, read
from brain_daemon.store.accounts import LAPSE_SECONDS, Accounts, Booking, Reservation
from brain_daemon.store.files import Files

HOUR = 3_600.0
DAY = 24 * HOUR
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
NO_LIMITS = Limits()
FIVE = Limits(windows=(Window(unit="messages", amount=Decimal(5), per="5h", per_seconds=5 * HOUR),))


class Clock:
    """The time of day, set by hand."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "accounts.db")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def accounts(path, clock):
    opened = Accounts(path, Files(), clock=clock)
    yield opened
    opened.close()


def reservation(attempt_id: str, at: float = NOON, **fields) -> Reservation:
    return Reservation(**{"account": "max", "attempt_id": attempt_id, "brain": "b", "at": at, **fields})


def booking(attempt_id: str, at: float = NOON, **fields) -> Booking:
    return Booking(**{"account": "max", "attempt_id": attempt_id, "brain": "b", "at": at, **fields})


def use(messages: int = 0, tokens: int = 0, usd: str = "0") -> Use:
    return Use(messages=messages, tokens=tokens, usd=Decimal(usd))


def reserve(accounts: Accounts, *wanted: Reservation, limits: Limits = NO_LIMITS) -> list[NoRoom | None]:
    quotas = quotas_of(limits, accounts.reports("max"), wanted[0].at)
    return accounts.reserve([(one, quotas) for one in wanted])


# the way of an attempt


def test_a_reservation_counts_until_its_attempt_is_settled(accounts, clock):
    """Then what was used counts, at its end; a second end changes nothing."""
    reserve(accounts, reservation("a", most=use(1, 900, "0.5")))
    assert accounts.count("max", NOON) == Count(use=use(1, 900, "0.5"))
    assert accounts.count("max", NOON + DAY).use == use(1, 900, "0.5"), "it runs, so it counts in any window"
    clock.now = NOON + 99
    accounts.settle([booking("a", at=NOON + 9, messages=3, tokens=700, usd=Decimal("0.25"))])
    accounts.settle([booking("a", at=NOON + 99, messages=8, tokens=8, usd=Decimal(8))])
    assert accounts.count("max", NOON + 9) == Count(use=use(3, 700, "0.25"), oldest=NOON + 9)
    assert accounts.count("max", NOON + 9.5) == Count()
    assert accounts.count("other", 0.0) == Count()


def test_what_was_not_told_stays_as_it_was_reserved(accounts):
    """Too high rather than too low."""
    reserve(accounts, reservation("a", most=use(1, 900, "0.5")))
    accounts.settle([booking("a")])
    assert accounts.count("max", NOON).use == use(1, 900, "0.5")


def test_an_end_without_a_reservation_is_booked(accounts):
    """One message, unless more were told; it may be an agent's that pulled its work."""
    accounts.settle([booking("a"), booking("b", messages=4, tokens=5, usd=Decimal("0.0000000001"))])
    assert accounts.count("max", NOON).use == use(5, 5, "0.000000001")


def test_a_released_attempt_was_never_there(accounts):
    """Only while it is a reservation."""
    reserve(accounts, reservation("a"), reservation("b"))
    accounts.release("max", "a")
    accounts.settle([booking("b")])
    accounts.release("max", "b")
    assert accounts.count("max", NOON).use == ONE_MESSAGE


def test_an_attempt_that_is_sent_again_counts_again(accounts):
    """After a limit it resumes under its own id; while it runs, reserving twice is once."""
    reserve(accounts, reservation("a"))
    reserve(accounts, reservation("a"))
    assert accounts.count("max", NOON).use == ONE_MESSAGE
    accounts.settle([booking("a", tokens=10)])
    reserve(accounts, reservation("a", most=use(1, 50)))
    accounts.settle([booking("a", tokens=30)])
    accounts.settle([booking("a", tokens=99)])
    assert accounts.count("max", NOON).use == use(2, 40)


def test_an_attempt_grows_as_far_as_its_quotas_have_room_and_never_shrinks(accounts):
    """Only by what is new; a quota of messages that it has its place in does not hold it up."""
    limits = Limits(
        windows=(
            Window(unit="messages", amount=Decimal(1), per="day", per_seconds=DAY, resets="00:00 UTC"),
            Window(unit="tokens", amount=Decimal(100), per="day", per_seconds=DAY, resets="00:00 UTC"),
        )
    )
    quotas = quotas_of(limits, {}, NOON)
    assert accounts.grow(reservation("a", most=use(1, 40)), quotas) is None
    assert accounts.grow(reservation("a", most=use(1, 90)), quotas) is None
    assert accounts.grow(reservation("a", most=use(1, 20)), quotas) is None
    assert accounts.grow(reservation("a", most=use(1, 101)), quotas).why == "90 of 100 tokens per day used"
    assert accounts.grow(reservation("b", most=use(1, 1)), quotas).why == "1 of 1 messages per day used"
    assert accounts.count("max", NOON).use == use(1, 90)


def test_open_reservations_come_back_as_they_were_made(accounts):
    """For recovery and for budgets: of one brain or of all."""
    full = reservation(
        "a", most=use(1, 2, "3.25"), unpriced=True, interface="i", task_id="t", chain_id="c", task_type="code"
    )
    other = reservation("b", brain="other")
    reserve(accounts, full, other, reservation("c"))
    accounts.settle([booking("c")])
    assert accounts.reserved() == [full, other]
    assert accounts.reserved("other") == [other]


def test_the_rows_of_a_ledger_are_booked_once(accounts):
    """Whatever is known of an attempt stays: its reservation, its end."""
    reserve(accounts, reservation("running", most=use(1, 70)))
    rows = [booking("old", at=NOON - DAY, tokens=5), booking("running", tokens=1), booking("new", tokens=3)]
    accounts.book(rows)
    accounts.book(rows)
    assert accounts.count("max", NOON - HOUR).use == use(2, 73)
    assert accounts.count("max", NOON - DAY).use == use(3, 78)


def test_sums_are_of_what_has_ended_between_two_instants(accounts):
    """The second is not in it; running ones are not counted."""
    accounts.book([booking("a", at=NOON - 10, tokens=1), booking("b", at=NOON - 5, tokens=2)])
    reserve(accounts, reservation("c"))
    assert accounts.sums("max", NOON - 10, NOON - 5) == use(1, 1)
    assert accounts.sums("max", NOON - 9, NOON) == use(1, 2)


def test_huge_figures_do_not_break_the_sums(accounts):
    """A row is bounded, so that a thousand of them stay within 64 bits."""
    enormous = 10**18
    accounts.book([booking(str(n), tokens=enormous, usd=Decimal(10) ** 11) for n in range(1000)])
    accounts.settle([booking("0", tokens=enormous, messages=enormous)])
    assert accounts.count("max", NOON).use.tokens >= 10**18


# quotas


def test_a_start_that_does_not_fit_is_not_reserved(accounts, clock):
    """Also not beside those of the same group; the reason says until when."""
    found = reserve(accounts, *(reservation(str(n)) for n in range(7)), limits=FIVE)
    assert found == [None] * 5 + [NoRoom(why="5 of 5 messages per 5h used")] * 2
    accounts.settle([booking("0")])
    assert reserve(accounts, reservation("x"), limits=FIVE)[0].until == NOON + 5 * HOUR + 1
    accounts.settle([booking(str(n)) for n in range(1, 5)])
    clock.now = NOON + 5 * HOUR + 1
    assert reserve(accounts, reservation("x", at=clock.now), limits=FIVE) == [None]


def test_the_word_of_a_client_counts_for_all_brains(path, accounts, clock):
    """The newest by time; older ones that come late change nothing."""
    accounts.report("max", "5h", Reported(at=NOON, used=Decimal(4), limit=Decimal(5)))
    accounts.report("max", "5h", Reported(at=NOON - 9, utilisation=0.1, resets_at=NOON + 9))
    second = Accounts(path, Files(), clock=clock)
    assert second.reports("max") == {"5h": Reported(at=NOON, used=Decimal(4), limit=Decimal(5))}
    assert reserve(second, reservation("a"), reservation("b"), limits=FIVE)[0] is None
    assert len(second.reserved()) == 1
    second.withdraw_report("max", "5h")
    assert accounts.reports("max") == {}
    second.close()


def test_the_version_tells_whether_anybody_has_written(path, accounts, clock):
    """This connection or another."""
    before = accounts.version
    assert accounts.version == before
    reserve(accounts, reservation("a"))
    own = accounts.version
    assert own != before
    second = Accounts(path, Files(), clock=clock)
    reserve(second, reservation("b"))
    second.close()
    assert accounts.version != own


# the clock


def test_what_was_booked_tomorrow_counts_today_when_the_clock_moves_back(accounts, clock):
    """Over midnight: what was started just before counts in the day that is now again, and in the next when it comes."""
    clock.now = datetime(2026, 11, 22, 0, 5, tzinfo=UTC).timestamp()
    accounts.book([booking("a", at=clock.now)])
    clock.now -= 600
    today = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    assert accounts.count("max", today).use == ONE_MESSAGE
    clock.now += 900
    assert accounts.count("max", today + DAY).use == ONE_MESSAGE


def test_a_clock_that_stood_years_ahead_blocks_for_one_window_only(accounts, clock):
    """What was booked then counts from the correction on, then leaves the window as anything does, also over restarts."""
    clock.now = NOON + 3000 * DAY
    accounts.book([booking("a", at=clock.now)])
    clock.now = NOON
    assert accounts.count("max", NOON - 5 * HOUR) == Count(use=ONE_MESSAGE, oldest=NOON)
    clock.now = NOON + 1
    accounts.book([booking("b", at=clock.now)])
    clock.now = NOON + 5 * HOUR + 0.5
    assert accounts.count("max", clock.now - 5 * HOUR).use == ONE_MESSAGE, "b, booked a second later"
    clock.now += 1
    assert accounts.count("max", clock.now - 5 * HOUR).use == NOTHING


def test_a_clock_that_stands_in_1970_forgets_nothing_before_or_after(accounts, clock):
    """A board without a battery: what is booked then counts then, and once the clock is right as well."""
    accounts.book([booking("a")])
    clock.now = 100.0
    accounts.book([booking("b", at=100.0)])
    assert accounts.count("max", 100.0 - 5 * HOUR).use.messages == 2
    clock.now = NOON + HOUR
    assert accounts.count("max", clock.now - 5 * HOUR).use.messages == 2


def test_a_report_from_the_future_is_one_of_now(accounts, clock):
    """What was started since it counts on top of it."""
    accounts.report("max", "5h", Reported(at=NOON, utilisation=0.5))
    clock.now = NOON - HOUR
    reserve(accounts, reservation("a", at=clock.now))
    assert accounts.reports("max")["5h"].at == NOON - HOUR
    accounts.report("max", "5h", Reported(at=NOON, utilisation=0.7))
    assert accounts.reports("max")["5h"] == Reported(at=NOON - HOUR, utilisation=0.7)


class Machine(RuleBasedStateMachine):
    """Tasks start whenever there is room, end, die and are recovered, while time passes and the clock is set back and forth."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.true_time, self.clock = 0.0, Clock()
        self.starts: list[float] = []
        self.running: dict[str, float] = {}
        self.open()

    def open(self) -> None:
        path = os.path.join(self._folder.name, "accounts.db")
        self.accounts = Accounts(path, Files(), clock=self.clock, elapsed=lambda: ("boot", self.true_time))

    @rule(seconds=st.one_of(st.floats(0, 60), st.floats(0, 3 * HOUR)))
    def time_passes(self, seconds: float) -> None:
        self.true_time += seconds
        self.clock.now += seconds

    @rule(seconds=st.one_of(st.floats(0, 60), st.floats(0, 30 * DAY)))
    def the_clock_is_set_back(self, seconds: float) -> None:
        self.clock.now -= seconds

    @rule(seconds=st.one_of(st.floats(60, 6 * HOUR), st.floats(6 * HOUR, 30 * DAY)))
    def the_clock_is_set_forward(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def the_daemon_is_restarted(self) -> None:
        self.accounts.close()
        self.open()

    @rule(count=st.integers(1, 3))
    def tasks_start_where_they_may(self, count: int) -> None:
        wanted = [
            Reservation(account="max", attempt_id=f"{len(self.starts)}.{n}", brain="b", at=self.clock.now)
            for n in range(count)
        ]
        quotas = quotas_of(FIVE, self.accounts.reports("max"), self.clock.now, self.accounts.jumps())
        for one, full in zip(wanted, self.accounts.reserve([(one, quotas) for one in wanted]), strict=True):
            if full is None:
                self.starts.append(self.true_time)
                self.running[one.attempt_id] = self.true_time

    @precondition(lambda self: self.running)
    @rule(told=st.booleans())
    def one_ends(self, told: bool) -> None:
        attempt_id = next(iter(self.running))
        del self.running[attempt_id]
        end = Booking(account="max", attempt_id=attempt_id, brain="b", at=self.clock.now, messages=1 if told else None)
        self.accounts.settle([end])

    @precondition(lambda self: self.running)
    @rule()
    def one_dies_and_lapses_in_time(self) -> None:
        self.accounts.lapse(3 * HOUR)

    @rule()
    def old_rows_are_dropped(self) -> None:
        self.accounts.prune()

    @invariant()
    def no_five_hours_hold_more_starts_than_the_quota(self) -> None:
        """In true time, however the clock is set."""
        for end in self.starts:
            assert sum(end - 5 * HOUR < at <= end for at in self.starts) <= 5

    @invariant()
    def what_counts_is_never_below_the_truth(self) -> None:
        """All that started in the last five hours is in the count."""
        truth = sum(at > self.true_time - 5 * HOUR for at in self.starts)
        quotas = quotas_of(FIVE, {}, self.clock.now, self.accounts.jumps())
        (reading,) = read(quotas, lambda since: self.accounts.count("max", since))
        assert reading.used >= truth

    def teardown(self) -> None:
        self.accounts.close()
        self._folder.cleanup()


Machine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase


# crashes


def test_a_reservation_nobody_settles_lapses_into_a_row(accounts, clock):
    """After a week it counts as used from then on; its own end, should it come, still corrects it."""
    reserve(accounts, reservation("dead", most=use(1, 500)), reservation("late", most=use(1, 70)))
    clock.now = NOON + LAPSE_SECONDS
    assert accounts.lapse() == 0
    clock.now += 1
    assert accounts.lapse() == 2
    assert accounts.reserved() == []
    assert accounts.count("max", clock.now).use == use(2, 570)
    accounts.settle([booking("late", at=clock.now, tokens=30)])
    assert accounts.count("max", clock.now).use == use(2, 530)


def test_a_reservation_made_while_the_clock_stood_ahead_lapses_too(accounts, clock):
    """A week after the clock was set right."""
    clock.now = NOON + 3000 * DAY
    reserve(accounts, reservation("dead", at=clock.now))
    clock.now = NOON
    assert accounts.lapse() == 0
    clock.now = NOON + LAPSE_SECONDS + 1
    assert accounts.lapse() == 1


def test_what_is_older_than_any_window_is_dropped(accounts, clock):
    """Reservations stay."""
    accounts.book([booking("old", at=NOON - 63 * DAY), booking("young")])
    reserve(accounts, reservation("open", at=NOON - 63 * DAY))
    assert accounts.prune() == 1
    assert accounts.count("max", 0.0).use.messages == 2


_WORKER = """
import os, sys
from decimal import Decimal
from brain_daemon.model.interface import Limits, Window
from brain_daemon.policy.quotas import Use, quotas_of, read
from brain_daemon.store.accounts import Accounts, Booking, Reservation
from brain_daemon.store.files import Files
import time

path, witness, me, quota = sys.argv[1:]
limits = Limits(windows=(Window(unit="messages", amount=Decimal(quota), per="day", per_seconds=86400.0),))
accounts = Accounts(path, Files())
told = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(10_000):
    attempt = f"{me}.{number}"
    now = time.time()
    wanted = Reservation(account="max", attempt_id=attempt, brain=me, at=now, most=Use(messages=1, tokens=100))
    if accounts.reserve([(wanted, quotas_of(limits, {}, now))])[0] is not None:
        break
    os.write(told, f"{attempt} 60\\n".encode())
    accounts.settle([Booking(account="max", attempt_id=attempt, brain=me, at=time.time(), messages=1, tokens=60)])
"""


def workers(path: str, witness: str, quota: int, count: int) -> list[subprocess.Popen]:
    """Daemons of several brains: each starts tasks until the quota is full, telling the witness before each end."""
    return [
        subprocess.Popen([sys.executable, "-c", _WORKER, path, witness, str(number), str(quota)])
        for number in range(count)
    ]


def lines(witness: str) -> list[str]:
    if not os.path.exists(witness):
        return []
    with open(witness, encoding="utf-8") as stream:
        return [line for line in stream.read().splitlines() if line.endswith(" 60")]


def test_several_daemons_together_start_as_many_as_the_quota_and_no_more(path, tmp_path):
    """They make the file together and race for every message."""
    witness = str(tmp_path / "witness")
    for worker in workers(path, witness, 60, 4):
        assert worker.wait(60) == 0
    assert len(lines(witness)) == 60
    accounts = Accounts(path, Files())
    assert accounts.count("max", 0.0).use == use(60, 60 * 60)
    assert accounts.reserved() == []
    accounts.close()


def test_killed_in_the_middle_the_sums_are_never_below_what_was_spent(path, tmp_path):
    """B15: each kill -9 leaves at most one reservation, which counts in full until it is settled."""
    witness = str(tmp_path / "witness")
    accounts = Accounts(path, Files())
    for round_ in range(1, 5):
        before = len(lines(witness))
        victims = workers(path, witness, 100_000, 2)
        deadline = time.monotonic() + 60
        while len(lines(witness)) < before + 10 * round_:
            assert time.monotonic() < deadline, "the workers do not start"
            time.sleep(0.002)
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
            victim.wait(60)
        spent = lines(witness)
        counted = accounts.count("max", 0.0).use
        assert counted.messages >= len(set(spent))
        assert counted.tokens >= 60 * len(set(spent))
        left = Counter(one.brain for one in accounts.reserved())
        assert all(number <= 1 for number in left.values())
        for one in accounts.reserved():
            accounts.settle([Booking(account="max", attempt_id=one.attempt_id, brain=one.brain, at=time.time())])
        accounts.prune(-1e9)  # the next round begins with empty books
        os.unlink(witness)
    accounts.close()


@pytest.mark.parametrize("point", range(1, 4))
def test_a_crash_at_any_step_leaves_all_or_nothing(path, clock, point):
    """Struck before the n-th change of the disk, the file opens again and holds either state."""

    class Crash(BaseException):
        pass

    class Striking(Files):
        left = point

        def step(self, action: str, path_: str) -> None:
            self.left -= 1
            if self.left == 0:
                raise Crash

    Accounts(path, Files(), clock=clock).close()
    struck = Accounts(path, Striking(), clock=clock)
    made = []
    try:
        for number in range(3):
            reserve(struck, reservation(str(number)))
            made.append(str(number))
    except Crash:
        pass
    struck.close()
    again = Accounts(path, Files(), clock=clock)
    assert [one.attempt_id for one in again.reserved()] == made
    assert len(made) == point - 1
    again.close()
