"""Where a quota window begins and ends: it slides, or the calendar of its zone resets it, through every clock change."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import Window
from brain_daemon.policy.windows import (
    MONTH_SECONDS,
    Calendar,
    Sliding,
    Span,
    fault_in_resets,
    length_seconds,
    rule_of,
    span,
    zone_named,
)

HOUR = 3_600.0
DAY = 86_400.0
WEEK = 7 * DAY
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
ZONES = ["UTC", "America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]


def window(per_seconds: float | None, resets: str | None = None) -> Window:
    return Window(unit="messages", amount=Decimal(10), per="so long", per_seconds=per_seconds, resets=resets)


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("declared", "rule"),
    [
        (window(5 * HOUR), Sliding(seconds=5 * HOUR)),
        (window(5 * HOUR, "00:00 UTC"), Sliding(seconds=5 * HOUR)),
        (window(DAY), Sliding(seconds=DAY)),
        (window(None), Sliding(seconds=MONTH_SECONDS)),
        (window(DAY, "25:00 UTC"), Sliding(seconds=DAY)),
        (window(DAY, "00:00 Nowhere/Atall"), Sliding(seconds=DAY)),
        (window(DAY, "7:30"), Calendar(every="day", hour=7, minute=30)),
        (window(DAY, "00:00 America/Los_Angeles"), Calendar(every="day", zone=LOS_ANGELES)),
        (window(WEEK, "Wednesday 09:15 UTC"), Calendar(every="week", hour=9, minute=15, weekday=2)),
        (window(WEEK, "00:00 utc"), Calendar(every="week")),
        (window(None, "15 00:00 UTC"), Calendar(every="month", day=15)),
    ],
)
def test_a_reset_rule_on_a_day_a_week_or_a_month_follows_the_calendar_and_all_else_slides(declared, rule):
    """Also where the rule cannot be followed: sliding never lets more through."""
    assert rule_of(declared) == rule
    assert length_seconds(declared) == (declared.per_seconds or MONTH_SECONDS)


@pytest.mark.parametrize(
    ("resets", "fault"),
    [
        ("00:00 America/Los_Angeles", None),
        ("Mon 00:00 UTC", None),
        ("Foo 00:00 UTC", '"Foo" is not a day of the week'),
        ("24:30 UTC", "hour must be in 0..23"),
        ("midnight", '"midnight" is not a time such as'),
        ("00:00 Mars/Olympus", 'no time zone is called "Mars/Olympus" here'),
        ("00:00 America", 'no time zone is called "America" here'),
        ("00:00 ../etc", 'no time zone is called "../etc" here'),
    ],
)
def test_a_reset_rule_that_cannot_be_followed_is_said(resets, fault):
    """With what was found, for whoever reads the interface's file."""
    found = fault_in_resets(resets)
    assert found is None if fault is None else fault in found


def test_utc_needs_no_table_of_zones():
    """So that the commonest rule works on any machine."""
    assert zone_named("utc") is UTC
    assert zone_named("Z") is UTC


def test_a_sliding_window_ends_now_and_has_no_end_of_its_own():
    """It goes on for ever."""
    assert span(Sliding(seconds=10), 100.0) == Span(start=90.0)


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2026-03-08T12:00-07:00", "2026-03-08T00:00-08:00", "2026-03-09T00:00-07:00"),
        ("2026-11-01T12:00-08:00", "2026-11-01T00:00-07:00", "2026-11-02T00:00-08:00"),
        ("2026-11-21T23:59:59-08:00", "2026-11-21T00:00-08:00", "2026-11-22T00:00-08:00"),
        ("2026-11-22T00:00:00-08:00", "2026-11-22T00:00-08:00", "2026-11-23T00:00-08:00"),
        ("2027-01-01T03:00-08:00", "2027-01-01T00:00-08:00", "2027-01-02T00:00-08:00"),
    ],
)
def test_a_day_in_los_angeles_has_23_24_or_25_hours(now, start, end):
    """It begins at its midnight, counted, and ends at the next, not counted, whatever the clock change between."""
    found = span(Calendar(every="day", zone=LOS_ANGELES), instant(now))
    assert found == Span(start=instant(start), end=instant(end))


def test_a_reset_in_an_hour_that_is_skipped_comes_the_same_distance_later():
    """02:30 does not exist on 8 March 2026 in Los Angeles; one in an hour that comes twice is the first of the two."""
    rule = Calendar(every="day", zone=LOS_ANGELES, hour=2, minute=30)
    assert span(rule, instant("2026-03-08T12:00-07:00")).start == instant("2026-03-08T03:30-07:00")
    rule = Calendar(every="day", zone=LOS_ANGELES, hour=1, minute=30)
    assert span(rule, instant("2026-11-01T12:00-08:00")).start == instant("2026-11-01T01:30-07:00")


def test_a_week_begins_on_its_day():
    """Monday midnight in Los Angeles, seen from a Saturday and from that very instant."""
    rule = rule_of(window(WEEK, "Mon 00:00 America/Los_Angeles"))
    week = Span(start=instant("2026-11-16T00:00-08:00"), end=instant("2026-11-23T00:00-08:00"))
    assert span(rule, instant("2026-11-21T11:00+00:00")) == week
    assert span(rule, week.start) == week


@pytest.mark.parametrize(
    ("day", "now", "start", "end"),
    [
        (1, "2026-11-21T00:00Z", "2026-11-01T00:00Z", "2026-12-01T00:00Z"),
        (31, "2027-02-27T00:00Z", "2027-01-31T00:00Z", "2027-02-28T00:00Z"),
        (31, "2027-02-28T00:00Z", "2027-02-28T00:00Z", "2027-03-31T00:00Z"),
        (15, "2026-12-20T00:00Z", "2026-12-15T00:00Z", "2027-01-15T00:00Z"),
    ],
)
def test_a_month_resets_on_its_day_or_on_the_last_one(day, now, start, end):
    """A reset on the 31st comes on the 28th in February."""
    assert span(Calendar(every="month", day=day), instant(now)) == Span(start=instant(start), end=instant(end))


@given(
    now=st.floats(min_value=1e9, max_value=4e9),
    zone=st.sampled_from(ZONES),
    every=st.sampled_from(["day", "week", "month"]),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    weekday=st.integers(0, 6),
    day=st.integers(0, 40),
)
def test_windows_lie_end_to_end_without_gap_or_overlap(now, zone, every, hour, minute, weekday, day):
    """Each contains the instant asked for, the next begins where it ends, and any instant in it gives the same one."""
    rule = Calendar(every=every, zone=zone_named(zone), hour=hour, minute=minute, weekday=weekday, day=day)
    found = span(rule, now)
    assert found.start <= now < found.end
    assert span(rule, found.start) == found
    assert span(rule, found.start / 2 + found.end / 2) == found
    assert span(rule, found.end).start == found.end


@given(start=st.floats(min_value=1e9, max_value=4e9), zone=st.sampled_from(ZONES))
def test_forty_days_in_a_row_are_about_a_day_long_each(start, zone):
    """Between 22 and 26 hours, but for the one day that Samoa left out."""
    rule = Calendar(every="day", zone=zone_named(zone))
    ends = [start]
    for _ in range(40):
        ends.append(span(rule, ends[-1]).end)
    lengths = [after - before for before, after in pairwise(ends[1:])]
    assert all(22 * HOUR <= one <= 26 * HOUR for one in lengths), lengths
