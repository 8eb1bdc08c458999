"""Unused quota and the person's part: what low-priority tasks may take, before which reset, and what stays."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.policy.harvest import Reserve, hours_of, kept_back, ripe, ripens_at
from brain_daemon.policy.quotas import ONE_MESSAGE, SHARE, Quota, Reading, Since, Use

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
NIGHT = datetime(2026, 11, 22, 3, tzinfo=UTC).timestamp()
NOTHING_BY_NIGHT = Reserve()
HALF_BY_DAY = Reserve(share=0.5, away_share=0.1)
HOUR = 3600.0


def reading(
    used: float, ends_in: float | None = 600, *, amount: int = 10, unit: str = "messages", now=NIGHT
) -> Reading:
    end = None if ends_in is None else now + ends_in
    quota = Quota(label=f"{amount} {unit}", unit=unit, amount=Decimal(amount), counted=(Since(at=0.0),), resets_at=end)
    return Reading(quota=quota, used=Decimal(str(used)), resets_at=end)


def is_ripe(*readings: Reading, now=NIGHT, reserve=NOTHING_BY_NIGHT, **more) -> list[bool]:
    found = ripe(readings, now=now, reserve=reserve, horizon_seconds=HOUR, **more)
    return [one in found for one in readings]


def test_what_ends_within_the_hour_with_something_left_is_ripe():
    """The week that has days to go is not, and does not hinder."""
    assert is_ripe(reading(7)) == [True]
    assert is_ripe(reading(7), reading(7, ends_in=1e6, amount=100)) == [True, False]


@pytest.mark.parametrize(
    "readings",
    [
        [reading(0, ends_in=None)],
        [reading(0, ends_in=3601)],
        [reading(0, ends_in=0)],
        [reading(10)],
        [reading(0), reading(10, ends_in=1e6)],
        [],
    ],
    ids=["it slides", "not soon", "it is over", "used up", "the week is used up", "no quota"],
)
def test_nothing_is_ripe_where_nothing_would_be_lost_or_nothing_is_left(readings):
    """Also where another quota of the account has no room."""
    assert not any(is_ripe(*readings))


def test_the_persons_part_is_no_harvest():
    """By day half of it is left alone, by night a tenth."""
    assert is_ripe(reading(5, now=NOON), now=NOON, reserve=HALF_BY_DAY) == [False]
    assert is_ripe(reading(8), reserve=HALF_BY_DAY) == [True]
    assert is_ripe(reading(9), reserve=HALF_BY_DAY) == [False]


def test_a_task_that_would_not_end_before_the_reset_is_not_drawn():
    """One whose time nobody knows may go."""
    assert is_ripe(reading(0), run_seconds=599) == [True]
    assert is_ripe(reading(0), run_seconds=600) == [False]


def test_of_a_quota_of_unknown_size_one_task_is_drawn_at_a_time():
    """The client says afterwards how much it took."""
    share = reading(0.95, amount=1, unit=SHARE)
    assert is_ripe(share, alone=True) == [True]
    assert is_ripe(share, alone=False) == [False]


@pytest.mark.parametrize(
    ("one", "need", "kept"),
    [
        (reading(4, now=NOON), ONE_MESSAGE, False),
        (reading(5, now=NOON), ONE_MESSAGE, True),
        (reading(0, amount=1, now=NOON), ONE_MESSAGE, False),
        (reading(0, unit="tokens", now=NOON), Use(tokens=6), True),
        (reading(0, unit="tokens", now=NOON), Use(tokens=5), False),
        (reading(0.5, amount=1, unit=SHARE, now=NOON), ONE_MESSAGE, True),
        (reading(0.4, amount=1, unit=SHARE, now=NOON), ONE_MESSAGE, False),
    ],
    ids=["room", "the person's", "its first message", "too large", "fits", "share used", "share left"],
)
def test_the_persons_part_is_kept_from_low_priority(one, need, kept):
    """In the unit of each quota."""
    assert (kept_back([one], need, now=NOON, reserve=HALF_BY_DAY) is not None) is kept


def test_what_is_kept_says_how_much_and_until_when():
    """The reset, or the end of the person's hours, whichever comes first."""
    soon = kept_back([reading(5, now=NOON)], ONE_MESSAGE, now=NOON, reserve=HALF_BY_DAY)
    late = kept_back([reading(5, ends_in=1e6, now=NOON)], ONE_MESSAGE, now=NOON, reserve=HALF_BY_DAY)
    assert soon.why == "50% of 10 messages is kept for you, and this is of low priority"
    assert (soon.until, late.until) == (NOON + 600, NOON + 10 * HOUR)


def test_nothing_is_kept_where_no_share_is_set():
    """A full quota is another matter."""
    assert kept_back([reading(10)], ONE_MESSAGE, now=NIGHT, reserve=Reserve()) is None


def test_a_share_that_is_the_same_all_day_never_changes():
    """Then only the reset helps, where there is one."""
    always = Reserve(share=0.3, away_share=0.3)
    assert always.changes_at(NOON) is None
    assert kept_back([reading(9, ends_in=None)], ONE_MESSAGE, now=NIGHT, reserve=always).until is None


@pytest.mark.parametrize(
    ("hours", "hour", "inside"),
    [
        ((8, 22), 8, True),
        ((8, 22), 22, False),
        ((22, 6), 23, True),
        ((22, 6), 5, True),
        ((22, 6), 6, False),
        ((9, 9), 9, False),
    ],
)
def test_the_persons_hours_may_go_over_midnight(hours, hour, inside):
    """The last hour is not in them."""
    reserve = Reserve(from_hour=hours[0], to_hour=hours[1])
    now = datetime(2026, 11, 21, hour, 30, tzinfo=UTC).timestamp()
    assert reserve.kept(now) == (0.2 if inside else 0.0)


def test_hours_are_counted_in_the_persons_zone():
    """Half past seven in the evening in UTC is past ten in Kolkata, and half hours do not matter."""
    reserve = Reserve(zone=ZoneInfo("Asia/Kolkata"))
    now = datetime(2026, 11, 21, 16, 0, tzinfo=UTC).timestamp()
    assert reserve.kept(now) == 0.2
    assert reserve.changes_at(now) == datetime(2026, 11, 21, 16, 30, tzinfo=UTC).timestamp()


def test_hours_are_read_as_people_write_them():
    """With a zone, and with a day that ends at 24."""
    assert (hours_of("8-22").from_hour, hours_of("8-22").to_hour, hours_of("8-22").zone) == (8, 22, None)
    assert hours_of(" 22 - 6 Europe/Berlin").zone == ZoneInfo("Europe/Berlin")
    assert Reserve(from_hour=0, to_hour=hours_of("0-24").to_hour).changes_at(NOON) is None


@pytest.mark.parametrize("text", ["", "8", "8-25", "99-3", "8-22 Nowhere/City", "8-22 /etc/passwd", "a-b"])
def test_what_is_no_hours_is_refused(text):
    """With what was found."""
    with pytest.raises(ValueError, match=r"hours|zone"):
        hours_of(text)


def test_a_window_ripens_an_hour_before_its_end():
    """The next one that will; none that slides or is ripe already."""
    readings = [reading(0), reading(0, ends_in=None), reading(0, ends_in=HOUR * 3), reading(0, ends_in=HOUR * 2)]
    assert ripens_at(readings, now=NIGHT, horizon_seconds=HOUR) == NIGHT + HOUR
    assert ripens_at(readings[:2], now=NIGHT, horizon_seconds=HOUR) is None


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(-10, 5000), st.integers(1, 12)), max_size=4),
    st.floats(0, 1),
    st.integers(0, 6),
)
def test_who_leaves_the_persons_part_alone_never_takes_of_it(windows, share, need):
    """Over any quotas: what may start leaves the share in each, but for the first message of a quota; what is ripe has some beyond it."""
    readings = [reading(used, ends, amount=amount) for used, ends, amount in windows]
    reserve = Reserve(share=share, away_share=share)
    use = Use(messages=need)
    if share and kept_back(readings, use, now=NIGHT, reserve=reserve) is None:
        assert all(one.used == 0 or one.used + need <= one.quota.amount * (1 - Decimal(str(share))) for one in readings)
    for one in ripe(readings, now=NIGHT, reserve=reserve, horizon_seconds=HOUR):
        assert one.used < one.quota.amount * (1 - Decimal(str(share)))
        assert NIGHT < one.quota.resets_at <= NIGHT + HOUR
