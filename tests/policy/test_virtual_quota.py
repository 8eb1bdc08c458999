"""What a simulated interface has used, as admission asks for it."""

from decimal import Decimal

import pytest

from brain_daemon.model.interface import Limits, Window
from brain_daemon.policy.virtual_quota import VirtualMeter, VirtualMeters, metered

HOUR = 3_600.0
DAY = 86_400.0


def test_a_day_begins_at_midnight_utc() -> None:
    """Used until then, and when that is."""
    meter = VirtualMeter(Limits(messages_per_day=2))
    meter.add(23 * HOUR, 1, Decimal(0))
    meter.add(23.5 * HOUR, 1, Decimal(0))
    assert (meter.used(23.9 * HOUR).messages_today, meter.used(23.9 * HOUR).day_resets_at) == (2, DAY)
    assert meter.used(DAY).messages_today == 0


def test_a_sliding_window_frees_one_after_the_other() -> None:
    """The oldest leaves first; nothing in it has no reset."""
    meter = VirtualMeter(Limits(windows=(Window(unit="messages", amount=Decimal(2), per="1h", per_seconds=HOUR),)))
    assert meter.used(0.0).windows[0].resets_at is None
    meter.add(0.0, 1, Decimal(0))
    meter.add(600.0, 1, Decimal(0))
    assert (meter.used(700.0).windows[0].amount, meter.used(700.0).windows[0].resets_at) == (2, HOUR)
    assert meter.used(HOUR).windows[0].amount == 1


def test_a_calendar_window_follows_its_zone() -> None:
    """Midnight in Los Angeles is eight in the morning UTC in winter."""
    window = Window(unit="usd", amount=Decimal(5), per="day", per_seconds=DAY, resets="00:00 America/Los_Angeles")
    meter = VirtualMeter(Limits(windows=(window,)))
    meter.add(0.0, 1, Decimal(3))
    assert (meter.used(7.9 * HOUR).windows[0].amount, meter.used(7.9 * HOUR).windows[0].resets_at) == (3, 8 * HOUR)
    assert meter.used(8 * HOUR).windows[0].amount == 0


def test_the_last_minute_is_sixty_seconds() -> None:
    """Requests and tokens, and when the first of them is forgotten."""
    meter = VirtualMeter(Limits(tokens_per_minute=10))
    meter.add(0.0, 7, Decimal(0))
    meter.add(30.0, 2, Decimal(0))
    used = meter.used(59.0)
    assert (used.requests_last_minute, used.tokens_last_minute, used.minute_resets_at) == (2, 9, 60.0)
    assert meter.used(60.0).tokens_last_minute == 2
    assert meter.used(90.0).minute_resets_at is None


def test_the_meters_are_a_mapping_at_one_instant() -> None:
    """As admission takes it; one that counts nothing is not in it."""
    meter = VirtualMeter(Limits(requests_per_minute=1))
    meters = VirtualMeters({"a": meter})
    meter.add(0.0, 1, Decimal(0))
    assert (list(meters), len(meters), meters.get("b")) == (["a"], 1, None)
    assert meters["a"].requests_last_minute == 1
    meters.now = 61.0
    assert meters["a"].requests_last_minute == 0


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), False),
        (Limits(concurrent=3, tokens_per_request=9), False),
        (Limits(messages_per_day=1), True),
        (Limits(requests_per_minute=1), True),
        (Limits(tokens_per_minute=1), True),
        (Limits(windows=(Window(unit="messages", amount=Decimal(1), per="day"),)), True),
    ],
)
def test_only_what_is_limited_over_time_is_counted(limits: Limits, expected: bool) -> None:
    """The rest is admission's own business."""
    assert metered(limits) is expected


def test_a_window_that_offers_nothing_has_no_share() -> None:
    """A limit of none at all."""
    assert VirtualMeter(Limits(messages_per_day=0)).uses(0.0, HOUR)[0].share == 0.0


@pytest.mark.parametrize(
    ("first", "last", "days", "hours"),
    [(0.0, 0.0, 1, 1), (0.0, HOUR, 1, 1), (23 * HOUR, 25 * HOUR, 2, 2), (0.0, 2 * DAY, 3, 48), (1.0, DAY - 1, 1, 24)],
)
def test_what_was_offered_counts_the_windows_of_the_time(first: float, last: float, days: int, hours: int) -> None:
    """Days that were touched; hours end to end."""
    hour = Window(unit="messages", amount=Decimal(10), per="1h", per_seconds=HOUR)
    meter = VirtualMeter(Limits(messages_per_day=10, windows=(hour,)))
    assert [one.offered for one in meter.uses(first, last)] == [days * 10, hours * 10]
