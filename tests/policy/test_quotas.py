"""How much of a quota is used: the count here, the client's word, and the higher of the two."""

import math
from datetime import datetime
from decimal import Decimal
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import (
    CostSpec,
    InterfaceSpec,
    InterfaceType,
    Invoke,
    InvokeKind,
    Limits,
    Tier,
    Window,
)
from brain_daemon.policy.quotas import (
    NOTHING,
    ONE_MESSAGE,
    SHARE,
    UNDATED_SECONDS,
    Count,
    NoRoom,
    Quota,
    Reading,
    Reported,
    Since,
    Use,
    account_key,
    concerned,
    no_room,
    period_seconds,
    quotas_of,
    read,
)

HOUR = 3_600.0
NOW = datetime.fromisoformat("2026-11-21T11:00+00:00").timestamp()
MIDNIGHT = datetime.fromisoformat("2026-11-21T00:00+00:00").timestamp()
FIVE_HOURS = Window(unit="messages", amount=Decimal(200), per="5h", per_seconds=5 * HOUR)
DOLLARS = Window(unit="usd", amount=Decimal("2.50"), per="day", per_seconds=24 * HOUR, resets="00:00 UTC")


def counting(*rows: tuple[float, Use], running: Use = NOTHING):
    """Counts rows of (instant, use) and what is running, as the store does."""

    def count(since: float) -> Count:
        counted = [(at, use) for at, use in rows if at >= since]
        total = reduce(Use.plus, (use for _, use in counted), NOTHING)
        return Count(use=total, oldest=min((at for at, _ in counted), default=None)).beside(running)

    return count


def one(limits: Limits, count, reports=None, now=NOW) -> Reading:
    (reading,) = read(quotas_of(limits, reports or {}, now), count)
    return reading


def spec(account: str | None) -> InterfaceSpec:
    return InterfaceSpec(
        name="claude",
        type=InterfaceType.LLM,
        sha256="0",
        invoke=Invoke(kind=InvokeKind.COMMAND),
        cost=CostSpec(tier=Tier.FREE),
        account=account,
    )


def test_an_account_is_shared_by_all_brains_and_a_plain_interface_by_none():
    """Two brains may each have an interface of one name that are different things."""
    assert account_key(spec("max"), "brain-a") == account_key(spec("max"), "brain-b") == "account max"
    assert account_key(spec(None), "brain-a") != account_key(spec(None), "brain-b")


def test_a_sliding_window_counts_what_has_not_left_it():
    """What is exactly five hours old has left; running attempts count; there is room a second after the oldest leaves."""
    rows = [(NOW - 5 * HOUR, ONE_MESSAGE), (NOW - HOUR, Use(messages=2)), (NOW, Use(messages=3))]
    reading = one(Limits(windows=(FIVE_HOURS,)), counting(*rows, running=Use(messages=4)))
    assert reading.used == 9
    assert reading.resets_at == NOW - HOUR + 5 * HOUR + 1
    assert reading.share == pytest.approx(9 / 200)


def test_with_only_running_attempts_no_instant_frees_a_sliding_window():
    """Something must end first."""
    reading = one(Limits(windows=(FIVE_HOURS,)), counting(running=Use(messages=200)))
    assert no_room([reading], ONE_MESSAGE) == NoRoom(why="200 of 200 messages per 5h used", until=None)


def test_messages_of_the_day_are_the_first_quota_and_begin_at_midnight_utc():
    """The row of yesterday is no matter of today; a window of dollars beside it counts dollars."""
    limits = Limits(messages_per_day=3, windows=(DOLLARS,))
    rows = [(MIDNIGHT - 1, ONE_MESSAGE), (MIDNIGHT, Use(messages=2, usd=Decimal("0.75")))]
    day, dollars = read(quotas_of(limits, {}, NOW), counting(*rows))
    assert (day.used, day.resets_at) == (2, MIDNIGHT + 24 * HOUR)
    assert (dollars.used, dollars.quota.label) == (Decimal("0.75"), "2.50 usd per day")


# what the client says


@pytest.mark.parametrize(
    ("reported", "used"),
    [
        (Reported(at=NOW - 60, utilisation=0.5), 100 + 3),
        (Reported(at=NOW - 60, used=Decimal(45), limit=Decimal(90)), 100 + 3),
        (Reported(at=NOW - 60, utilisation=0.01), 10),
        (Reported(at=NOW - 60, utilisation=math.nan), 10),
        (Reported(at=NOW - 60, utilisation=math.inf), 10),
        (Reported(at=NOW - 60, utilisation=-0.5), 10),
        (Reported(at=NOW - 60, used=Decimal(45)), 10),
        (Reported(at=NOW - 60, limit=Decimal(45)), 10),
        (Reported(at=NOW - 60, used=Decimal(45), limit=Decimal(0)), 10),
        (Reported(at=NOW - 60, used=Decimal(-1), limit=Decimal(9)), 10),
        (Reported(at=NOW - 5 * HOUR, utilisation=0.5), 10),
        (Reported(at=NOW - 60, utilisation=0.5, resets_at=NOW - 1), 3),
        (Reported(at=NOW - 60, utilisation=0.01, resets_at=NOW + HOUR), 10),
        (Reported(at=NOW - 60, utilisation=0.0, resets_at=NOW + 4 * HOUR + 1800), 3),
        (Reported(at=NOW - 60, utilisation=0.0, resets_at=NOW - 61), 10),
        (Reported(at=NOW - 60, utilisation=0.01, resets_at=NOW + 90 * HOUR), 10),
        (Reported(at=NOW - 60, utilisation=0.01, resets_at=NOW + 5.5 * HOUR), 10),
    ],
    ids=[
        "its share and what came since",
        "so much of so much",
        "ours is higher",
        "no number",
        "no bound",
        "below zero",
        "without a limit",
        "without a use",
        "of nothing",
        "less than nothing",
        "too old",
        "its window is over: what was before is forgotten",
        "its window began before all our rows",
        "its window began after our first rows",
        "a reset that was past when it was said",
        "a reset that is not this window's",
        "a window that has not begun",
    ],
)
def test_the_higher_of_the_count_and_the_report_holds(reported, used):
    """Seven messages an hour ago, three since the report, under every kind of word of the client."""
    rows = [(NOW - HOUR, Use(messages=7)), (NOW - 0.5, Use(messages=3))]
    assert one(Limits(windows=(FIVE_HOURS,)), counting(*rows), {"five_hour": reported}).used == used


def test_a_reported_reset_is_when_there_is_room_again():
    """It overrides that of the sliding window."""
    full = one(
        Limits(windows=(FIVE_HOURS,)),
        counting(),
        {"five_hour": Reported(at=NOW, utilisation=1.0, resets_at=NOW + 100)},
    )
    assert no_room([full], ONE_MESSAGE) == NoRoom(why="200.0 of 200 messages per 5h used", until=NOW + 100)


def test_a_calendar_window_never_counts_less_than_its_own_day_because_of_a_report():
    """The vendor's day ends at another hour: what either calls today counts."""
    limits = Limits(messages_per_day=10)
    rows = [(MIDNIGHT - 2 * HOUR, ONE_MESSAGE), (MIDNIGHT, ONE_MESSAGE)]
    later = {"daily": Reported(at=NOW, utilisation=0.0, resets_at=MIDNIGHT + 32 * HOUR)}
    assert one(limits, counting(*rows), later).used == 1
    sooner = {"daily": Reported(at=NOW, utilisation=0.0, resets_at=MIDNIGHT + 20 * HOUR)}
    assert one(limits, counting(*rows), sooner).used == 2


def test_of_two_words_for_one_window_the_newer_holds():
    """`five_hour` and `5h` are the same length."""
    reports = {"five_hour": Reported(at=NOW - 9, utilisation=0.9), "5h": Reported(at=NOW - 3, utilisation=0.2)}
    assert one(Limits(windows=(FIVE_HOURS,)), counting(), reports).used == 40


@pytest.mark.parametrize(
    ("word", "seconds"),
    [("five_hour", 18_000), ("seven_day", 604_800), ("300m", 18_000), ("weekly", 604_800), ("opus", None), ("", None)],
)
def test_a_window_is_known_by_its_length(word, seconds):
    """The clients' own words and durations."""
    assert period_seconds(word) == seconds


def test_what_only_the_client_speaks_of_is_a_quota_of_its_own_while_it_holds():
    """In shares; a bare refusal without a reset holds for a quarter of an hour."""
    reports = {
        "seven_day": Reported(at=NOW - 60, utilisation=0.5, resets_at=NOW + 9),
        "": Reported(at=NOW, utilisation=1.0),
        "over": Reported(at=NOW - 60, utilisation=1.0, resets_at=NOW),
        "mute": Reported(at=NOW, resets_at=NOW + 9),
    }
    refusal, week = read(quotas_of(Limits(), reports, NOW), counting(running=Use(messages=9)))
    assert (week.used, week.resets_at, week.fits(ONE_MESSAGE)) == (Decimal("0.5"), NOW + 9, True)
    assert no_room([week, refusal], ONE_MESSAGE) == NoRoom(
        why="100% of the limit its client reports used", until=NOW + UNDATED_SECONDS
    )
    assert week.quota.label == "the seven_day limit its client reports"
    assert quotas_of(Limits(), reports, NOW + UNDATED_SECONDS) == ()


def test_no_slip_of_a_client_shuts_an_account_for_years():
    """A reset more than a month off is not one; the refusal then holds as one without."""
    far = {"": Reported(at=NOW, utilisation=1.0, resets_at=NOW + 40 * 24 * HOUR)}
    assert read(quotas_of(Limits(), far, NOW), counting())[0].resets_at == NOW + UNDATED_SECONDS


# room


@pytest.mark.parametrize(
    ("used", "need", "fits"),
    [
        (9, ONE_MESSAGE, True),
        (10, ONE_MESSAGE, False),
        (9, Use(messages=2), False),
        (9, Use(messages=11), True),
        (10, Use(messages=11), False),
        (10, NOTHING, False),
    ],
)
def test_a_task_fits_where_it_stays_within_the_quota(used, need, fits):
    """One larger than a whole quota could never start otherwise, so it may while any is left."""
    quota = Quota(label="ten", unit="messages", amount=Decimal(10), counted=(Since(at=0.0),))
    reading = Reading(quota=quota, used=Decimal(used))
    assert reading.fits(need) is fits
    assert (no_room([reading], need) is None) is fits


def test_a_quota_of_nothing_is_all_used():
    """No division by it."""
    quota = Quota(label="none", unit="usd", amount=Decimal(0), counted=(Since(at=0.0),))
    assert Reading(quota=quota, used=Decimal(0)).share == 1.0


@given(
    steps=st.lists(
        st.tuples(
            st.floats(min_value=1, max_value=4_000),
            st.one_of(st.none(), st.floats(min_value=0, max_value=1)),
        ),
        max_size=60,
    )
)
def test_never_more_is_started_in_five_hours_than_the_quota_and_never_past_what_the_client_said(steps):
    """Tasks start whenever there is room; the client reports any share at any time, without a reset of its own."""
    limits = Limits(windows=(Window(unit="messages", amount=Decimal(5), per="5h", per_seconds=5 * HOUR),))
    now, rows, reports = NOW, [], {}
    for wait, utilisation in steps:
        now += wait
        if utilisation is not None:
            reports["5h"] = Reported(at=now, utilisation=utilisation)
        reading = one(limits, counting(*rows), reports, now)
        if no_room([reading], ONE_MESSAGE) is None:
            rows.append((now, ONE_MESSAGE))
        assert sum(at > now - 5 * HOUR for at, _ in rows) <= 5
        report = reports.get("5h")
        if report and now < report.at + 5 * HOUR:
            assert sum(at >= report.at for at, _ in rows) <= math.ceil(5 * (1 - report.utilisation))


def test_what_one_use_is_beyond_another_is_never_below_nothing():
    """In each unit by itself."""
    more = Use(messages=1, tokens=50, usd=Decimal(2)).beyond(Use(messages=3, tokens=20, usd=Decimal(1)))
    assert more == Use(messages=0, tokens=30, usd=Decimal(1))


@pytest.mark.parametrize(("unit", "found"), [("messages", False), ("tokens", True), (SHARE, True)])
def test_a_quota_is_concerned_where_something_of_it_would_be_used(unit, found):
    """Of one that only a client speaks of nobody can tell."""
    quota = Quota(label="x", unit=unit, amount=Decimal(1), counted=())
    assert concerned(quota, Use(tokens=1)) is found
