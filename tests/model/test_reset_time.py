"""When a limit ends, in all the ways clients say it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.reset_time import reset_instant, wait_seconds

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)  # a Friday, 23:00 in Berlin


def said(text: object, *, now: datetime = NOW) -> str | None:
    """The moment `text` means when it is said in Berlin at `now`, in UTC."""
    instant = reset_instant(text, now=now.timestamp(), zone=BERLIN)
    return None if instant is None else datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (1795217810, "2026-11-20 23:36:50"),
        (1795217810000, "2026-11-20 23:36:50"),
        ("1795217810", "2026-11-20 23:36:50"),
        ("1795217810.5", "2026-11-20 23:36:50"),
        ("2026-11-20T23:36:50Z", "2026-11-20 23:36:50"),
        ("2026-11-20 23:36:50+01:00", "2026-11-20 22:36:50"),
        ("2026-11-20T23:36:50", "2026-11-20 22:36:50"),
        # a clock time is the next of its kind, to the end of the minute that was told
        ("11:29pm (UTC)", "2026-11-20 23:30:00"),
        ("11:29 PM", "2026-11-20 22:30:00"),
        ("11:29\u202fPM", "2026-11-20 22:30:00"),
        ("4pm (Europe/Moscow)", "2026-11-21 13:01:00"),
        ("3:30am", "2026-11-21 02:31:00"),
        ("12am", "2026-11-20 23:01:00"),
        ("12pm", "2026-11-21 11:01:00"),
        ("4 p.m. UTC", "2026-11-21 16:01:00"),
        ("at 23:15.", "2026-11-20 22:16:00"),
        ("23:15:20", "2026-11-20 22:15:20"),
        ("00:00 UTC", "2026-11-21 00:01:00"),
        ("00:00 America/Los_Angeles", "2026-11-21 08:01:00"),
        ("3am (Etc/GMT+5)", "2026-11-21 08:01:00"),
        ("1:29am (UTC+3)", "2026-11-20 22:30:00"),
        ("9am +05:30", "2026-11-21 03:31:00"),
        ("tomorrow at 3am", "2026-11-21 02:01:00"),
        ("today, 11:30pm", "2026-11-20 22:31:00"),
        ("Mon 09:00 America/Los_Angeles", "2026-11-23 17:01:00"),
        ("Friday 4pm", "2026-11-27 15:01:00"),
        ("Fri 11:30pm", "2026-11-20 22:31:00"),
        ("Nov 27th, 2026 4:05 PM", "2026-11-27 15:06:00"),
        ("Nov 27 at 4pm (UTC)", "2026-11-27 16:01:00"),
        ("on Friday, November 27, 4pm", "2026-11-27 15:01:00"),
        ("27 Nov 2026, 16:05", "2026-11-27 15:06:00"),
        ("Jan 2, 9am", "2027-01-02 08:01:00"),
        # durations count from the end of the run
        ("8h44m7s", "2026-11-21 06:44:07"),
        ("in 2 days 17 hours 14 minutes.", "2026-11-23 15:14:00"),
        ("1 hour, 5 minutes and 3 seconds", "2026-11-20 23:05:03"),
        ("10800s", "2026-11-21 01:00:00"),
        ("41s", "2026-11-20 22:00:41"),
    ],
)
def test_a_reset_is_understood_in_each_of_its_forms(text, meant):
    """Epochs, ISO times, clock times with and without a day and a zone, durations."""
    assert said(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        None, True, [], {}, "", "later", "soon (UTC)", "11", "1", "-5", "nan", "1e400", 0, -1, float("inf"), 10**30,
        "13pm", "0am", "25:00", "12:60", "4pm (CST)", "4pm (Nowhere/Land)", "4pm (../../etc/passwd)", "4pm +99:00",
        "Feb 30, 2027 4pm", "2026-11-20", "99999999999999999999s", "tomorrow", "Mon", "4pm " + "x" * 200,
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_no_time(text):
    """A guess would park a task until the wrong day."""
    assert said(text) is None


def test_a_clock_time_that_has_just_been_is_not_tomorrows():
    """The limit ended while the client said so; some minutes earlier it is the next day's."""
    assert said("10:59pm") == "2026-11-20 22:00:00"
    assert said("10:56pm") == "2026-11-21 21:57:00"


def test_a_clock_time_keeps_its_zone_when_the_clocks_change():
    """Six in the morning in Berlin is another hour of UTC once summer time begins in between."""
    before = datetime(2027, 3, 27, 22, 0, tzinfo=UTC)
    assert said("6am", now=before) == "2027-03-28 04:01:00"


def test_the_epoch_of_a_limit_is_within_the_minute_that_its_clock_text_means():
    """Claude Code printed both for one answer: 23:36:50 as an epoch, and 11:36pm."""
    assert said("11:36pm (UTC)") == "2026-11-20 23:37:00"
    assert said(1795217810) == "2026-11-20 23:36:50"


@pytest.mark.parametrize(("text", "seconds"), [("41.5s", 41.5), (2, 2.0), ("90", 90.0), (-1, None), ("soon", None)])
def test_a_wait_is_a_number_of_seconds_or_a_duration(text, seconds):
    """As `retry-after` is written."""
    assert wait_seconds(text) == seconds


@given(second=st.integers(1_767_225_600, 1_893_456_000), ahead=st.integers(3, 23 * 60))
def test_any_minute_of_the_coming_day_is_found_again(second, ahead):
    """What a clock shows at a moment means that moment, to the end of its minute."""
    now = datetime.fromtimestamp(second, UTC)
    then = (now + timedelta(minutes=ahead)).replace(second=0)
    found = reset_instant(f"{then:%I:%M%p} (UTC)", now=now.timestamp(), zone=BERLIN)
    assert found == (then + timedelta(minutes=1)).timestamp()


@given(text=st.text(max_size=40) | st.from_regex(r"[a-z0-9: ,()+-]{0,30}"))
def test_any_text_is_a_time_or_none(text):
    """Whatever a client prints, nothing is raised."""
    found = reset_instant(text, now=NOW.timestamp(), zone=BERLIN)
    assert found is None or 946_684_800 <= found < 4_102_444_800
