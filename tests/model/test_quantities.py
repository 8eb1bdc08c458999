"""Durations, instants, counts and money as people write them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.quantities import (
    parse_count,
    parse_duration,
    parse_flag,
    parse_instant,
    parse_money,
)

EVENING = 1795205700.0  # 2026-11-20T20:15:00Z


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("45s", 45),
        ("2d", 172_800),
        ("1w", 604_800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1800", 1800),
        ("0.5", 0.5),
        (" 2 Hours ", 7200),
        ("day", 86_400),
        ("week", 604_800),
        ("PT30M", 1800),
        ("pt1h30m5.5s", 5405.5),
        ("P1DT2H", 93_600),
        ("P2W", 1_209_600),
        ("0", 0),
        ("3650d", 315_360_000),
    ],
)
def test_a_duration_is_read_as_people_write_it(text, seconds):
    """Units, sums of units, plain seconds and ISO 8601 give the same seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "-5m",
        "5 parsecs",
        "m",
        "1h30",
        "30m!",
        "P",
        "PT",
        "P1Y",
        "1e9",
        "3651d",
        "9" * 400,
        "1h" * 60,
        "m5",
        "nan",
        "٣m",
    ],
)
def test_what_is_no_duration_is_refused_with_the_allowed_forms(text):
    """The message shows what was found and how to write a duration."""
    with pytest.raises(ValueError, match=r"is not a duration such as 30m, 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("2026-11-20T20:15:00Z", EVENING),
        ("2026-11-20 20:15", EVENING),
        ("2026-11-20 20:15 UTC", EVENING),
        ("2026-11-20T22:15:00+02:00", EVENING),
        ("20261120T201500Z", EVENING),
        (" 2026-11-20T20:15:00.5Z ", EVENING + 0.5),
        ("2026-11-20", EVENING - 72_900),
        ("1970-01-01", 0.0),
    ],
)
def test_an_instant_is_read_as_utc_unless_it_names_a_zone(text, epoch):
    """No zone is UTC and a date alone is its midnight in UTC."""
    assert parse_instant(text) == epoch


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "20:15", "2026-13-01", "20.11.2026", "2026-11-20T20:15:00 CET", "1795205700"]
)
def test_what_is_no_instant_is_refused_with_the_allowed_forms(text):
    """The message shows how to write a time."""
    with pytest.raises(ValueError, match=r"is not an ISO date or time such as 2026-11-20"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1500", 1500),
        ("1_000", 1000),
        ("1,000,000", 1_000_000),
        ("200k", 200_000),
        ("10M", 10_000_000),
        ("1.5M", 1_500_000),
        ("2 G", 2_000_000_000),
        ("1b", 1_000_000_000),
        ("0", 0),
        ("none", None),
        ("Unlimited", None),
        ("no limit", None),
    ],
)
def test_a_count_is_read_with_its_scale_or_as_no_limit(text, count):
    """k, M and G scale; none and unlimited are None."""
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1.2345k", "many", "10MB", "1,00", "_1", "1e3", "0x10"])
def test_what_is_no_count_is_refused_with_the_allowed_forms(text):
    """A count is whole and not below zero."""
    with pytest.raises(ValueError, match=r"is not a whole number such as 1500"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "usd"),
    [
        ("$0.50", "0.50"),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("0.50 USD", "0.50"),
        ("usd 3", "3"),
        ("1,000.25", "1000.25"),
        ("0", "0"),
    ],
)
def test_money_is_read_exactly(text, usd):
    """Dollars are decimal, with or without their sign."""
    assert parse_money(text) == Decimal(usd)


@pytest.mark.parametrize("text", ["", "$", "-1", "free", "0,50", "€5", "1e5", "nan", "1" * 13, "."])
def test_what_is_no_money_is_refused_with_the_allowed_forms(text):
    """Other currencies, decimal commas and signs are said, not guessed."""
    with pytest.raises(ValueError, match=r"is not US dollars such as 0.50"):
        parse_money(text)


@pytest.mark.parametrize(
    ("text", "flag"), [("true", True), ("Yes", True), ("on", True), ("1", True), ("no", False), (" OFF ", False)]
)
def test_a_flag_is_read_in_the_words_people_use(text, flag):
    """true and false have friends."""
    assert parse_flag(text) is flag


def test_what_is_no_flag_is_refused():
    """Anything else is refused with the two that are allowed."""
    with pytest.raises(ValueError, match='"maybe" is not true or false'):
        parse_flag("maybe")


@given(st.text(max_size=40), st.sampled_from([parse_duration, parse_instant, parse_count, parse_money, parse_flag]))
def test_readers_raise_nothing_but_value_error(text, read):
    """Any text is a value or a ValueError, and a value is never below zero, except an instant before 1970."""
    try:
        value = read(text)
    except ValueError:
        value = None
    assert value is None or read is parse_instant or value >= 0


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
def test_an_instant_no_clock_can_show_is_refused(text):
    """It would have to be printed in another zone, where it has no year."""
    with pytest.raises(ValueError, match="ISO date or time"):
        parse_instant(text)
