"""Quotas after the clock was set forward: a window ends when it has ended by the clock as it was as well."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from brain_daemon.model.interface import Limits, Window
from brain_daemon.policy.clock import Jump
from brain_daemon.policy.quotas import Count, Reading, Reported, Use, quotas_of, read

HOUR = 3_600.0
DAY = 24 * HOUR
FIVE_PM = datetime(2026, 11, 21, 17, tzinfo=UTC).timestamp()
MIDNIGHT = FIVE_PM + 7 * HOUR
SLIDING = Limits(windows=(Window(unit="messages", amount=Decimal(5), per="5h", per_seconds=5 * HOUR),))
DAILY = Limits(messages_per_day=5)


def reading(limits: Limits, now: float, *at: float, jumps: tuple[Jump, ...] = (), **reports: Reported) -> Reading:
    """The one quota, with a message at each of these instants."""

    def count(since: float) -> Count:
        inside = [one for one in at if one >= since]
        return Count(use=Use(messages=len(inside)), oldest=min(inside, default=None))

    (found,) = read(quotas_of(limits, reports, now, jumps), count)
    return found


def by_nine_hours(at: float = FIVE_PM) -> tuple[Jump, ...]:
    """The clock is set forward by nine hours."""
    return (Jump(at=at, ahead_seconds=9 * HOUR),)


@pytest.mark.parametrize(
    ("gone_by", "used", "resets_in"),
    [(0.0, 2, 4 * HOUR), (3.9 * HOUR, 2, 0.1 * HOUR), (4.1 * HOUR, 1, 0.5 * HOUR), (4.7 * HOUR, 0, None)],
)
def test_a_sliding_window_slides_with_the_time_that_goes_by(gone_by, used, resets_in):
    """Used an hour, and 24 minutes, before the clock was set forward by nine: each leaves five hours after it was used."""
    now = FIVE_PM + 9 * HOUR + gone_by
    found = reading(SLIDING, now, FIVE_PM - HOUR, FIVE_PM - 0.4 * HOUR, jumps=by_nine_hours())
    assert found.used == used
    assert found.resets_at == (None if resets_in is None else pytest.approx(now + resets_in + 1.0))


def test_what_was_used_since_the_jump_leaves_by_the_clock_as_it_is():
    """No later than five hours after it."""
    now = FIVE_PM + 10 * HOUR
    found = reading(SLIDING, now, now - 0.5 * HOUR, jumps=by_nine_hours())
    assert (found.used, found.resets_at) == (1, now + 4.5 * HOUR + 1.0)


def test_a_day_ends_when_both_clocks_have_passed_midnight():
    """What was used before counts until then, and what was used since goes on with the new day."""
    used = (FIVE_PM - HOUR, FIVE_PM + 10 * HOUR)
    held = reading(DAILY, FIVE_PM + 11 * HOUR, *used, jumps=by_nine_hours())
    assert (held.used, held.resets_at) == (2, MIDNIGHT + 9 * HOUR)
    after = reading(DAILY, MIDNIGHT + 9 * HOUR, *used, jumps=by_nine_hours())
    assert (after.used, after.resets_at) == (1, MIDNIGHT + DAY)


def test_a_jump_within_the_day_changes_nothing():
    """Both clocks tell the same window."""
    jump = (Jump(at=FIVE_PM, ahead_seconds=HOUR),)
    with_it = reading(DAILY, FIVE_PM + 2 * HOUR, FIVE_PM - HOUR, jumps=jump)
    assert (with_it.used, with_it.resets_at) == (1, MIDNIGHT)


def test_of_several_jumps_the_oldest_window_holds():
    """Three hours, and a little later six more."""
    earlier = Jump(at=FIVE_PM, ahead_seconds=9 * HOUR)
    later = Jump(at=FIVE_PM + 4 * HOUR, ahead_seconds=6 * HOUR)
    now = FIVE_PM + 10 * HOUR
    found = reading(DAILY, now, FIVE_PM - HOUR, FIVE_PM + 3 * HOUR, jumps=(earlier, later))
    assert (found.used, found.resets_at) == (2, MIDNIGHT + 9 * HOUR)
    assert reading(DAILY, now, FIVE_PM - HOUR, FIVE_PM + 3 * HOUR, jumps=(later, earlier)).used == 2


def test_a_reset_that_a_client_told_has_not_come_before_its_time():
    """Refused until six, and at once the clock says two in the morning: it is believed until an hour has gone by."""
    refused = Reported(at=FIVE_PM, utilisation=1.0, resets_at=FIVE_PM + HOUR)
    now = FIVE_PM + 9.5 * HOUR
    assert quotas_of(Limits(), {"": refused}, now) == ()
    held = reading(Limits(), now, jumps=by_nine_hours(), **{"": refused})
    assert (held.share, held.resets_at) == (1.0, FIVE_PM + 10 * HOUR)
    assert quotas_of(Limits(), {"": refused}, FIVE_PM + 10 * HOUR, by_nine_hours()) == ()


def test_what_a_client_said_since_the_jump_is_heard_by_the_clock_as_it_is():
    """And what it said before still stands beside it where it was higher."""
    now = FIVE_PM + 10 * HOUR
    before, since = Reported(at=FIVE_PM - HOUR, utilisation=0.8), Reported(at=now, utilisation=0.2)
    assert reading(SLIDING, now, jumps=by_nine_hours(), **{"5h": before}).used == 4
    assert reading(SLIDING, now, jumps=by_nine_hours(), **{"5h": since}).used == 1
