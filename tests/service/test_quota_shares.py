"""Quota used of offered: single windows that ended count whole, those that run by what has passed of them."""

import contextlib
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.interface import Tier
from brain_daemon.model.outcome import CostBasis, Status
from brain_daemon.service.reporting import of_days, window_shares

DAY = date(2026, 11, 18)
"""A Wednesday."""


def at(day: int, hour: float) -> float:
    return datetime(2026, 11, day, tzinfo=UTC).timestamp() + hour * 3_600


@pytest.fixture
def opened(brain):
    with contextlib.closing(brain.open()) as found:
        yield found


def use(opened, name: str, number: int, *instants: float, **fields) -> None:
    """So many attempts that ended at each of these instants."""
    row = CostRow(
        timestamp="",
        task_id="t",
        attempt_id="",
        attempt=1,
        status=Status.COMPLETED,
        reason=None,
        interface=name,
        tier=Tier.FREE,
        cost_basis=CostBasis.UNKNOWN,
    )
    rows = [
        replace(
            row,
            **fields,
            timestamp=datetime.fromtimestamp(one, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            attempt_id=f"t{one:.0f}.a{turn}.{name}",
        )
        for one in instants
        for turn in range(number)
    ]
    opened.journal.add_outcomes([one.to_values() for one in rows])


def shares(opened, start: float, end: float):
    return {
        one.interface: (one.used, one.offered, one.share, round(one.weight, 2))
        for one in window_shares(opened.journal, opened.registry().candidates({}), start, end)
    }


def test_a_day_that_runs_is_never_used_more_than_whole(brain, opened):
    """Ten of ten at six in the evening are 100 %, and a plan used by a fifth stays one: no mean above either."""
    brain.echo("free1", more="limits: {messages_per_day: 10}\n")
    brain.echo("sub1", more="limits: {windows: [{messages: 5, per: 6h}]}\n")
    use(opened, "free1", 10, at(18, 9))
    use(opened, "sub1", 3, at(18, 9))
    found = shares(opened, at(18, 0), at(18, 18))
    assert found["free1"] == (10, Decimal("7.50"), 1.0, 0.75)
    assert found["sub1"] == (3, 15, 0.2, 1.0)
    report = of_days(opened.journal, opened.registry().candidates({}), DAY, DAY, at(18, 18))
    told = next(one.value for one in report.measures if one.key == "quota_used")
    assert told == pytest.approx((1.0 * 0.75 + 0.2 * 1.0) / 1.75)


def test_a_window_that_ended_in_the_day_counts_whole(brain, opened):
    """A day of Los Angeles ends at eight in the morning UTC: what was used of it the evening before counts with it."""
    brain.echo("west", more="limits: {windows: [{messages: 12, per: day, resets: '00:00 America/Los_Angeles'}]}\n")
    use(opened, "west", 6, at(17, 20), at(18, 2))
    assert shares(opened, at(18, 0), at(19, 0))["west"] == (12, 20, 0.6, 1.0)


def test_of_two_days_each_counts_by_itself(brain, opened):
    """What was used beyond one does not fill the other."""
    brain.echo("free1", more="limits: {messages_per_day: 10}\n")
    use(opened, "free1", 20, at(17, 9))
    assert shares(opened, at(17, 0), at(19, 0))["free1"] == (20, 20, 0.5, 1.0)


def test_a_week_counts_from_its_beginning(brain, opened):
    """On Wednesday evening three of its seven days have passed, with all that was used in them."""
    brain.echo("weekly", more="limits: {windows: [{messages: 70, per: week, resets: 'Mon 00:00 UTC'}]}\n")
    use(opened, "weekly", 5, at(15, 23), at(16, 9), at(17, 9), at(18, 9))
    assert shares(opened, at(18, 0), at(19, 0))["weekly"] == (15, 30, 0.5, 0.43)


def test_a_day_that_has_not_begun_offers_nothing(brain, opened):
    """Neither a share nor a weight."""
    brain.echo("free1", more="limits: {messages_per_day: 10}\n")
    assert shares(opened, at(18, 0), at(18, 0)) == {"free1": (0, 0, None, 0.0)}


def test_tokens_and_dollars_are_summed_as_they_were(brain, opened):
    """Each window in its own unit."""
    brain.echo("a", more="limits: {windows: [{tokens: 100, per: day, resets: '00:00 UTC'}]}\n")
    brain.echo("b", more="limits: {windows: [{usd: 4, per: day, resets: '00:00 UTC'}]}\n")
    use(opened, "a", 2, at(18, 9), input_tokens=10, output_tokens=15)
    use(opened, "b", 2, at(18, 9), cost_usd=Decimal(1), cost_basis=CostBasis.REPORTED)
    found = shares(opened, at(18, 0), at(19, 0))
    assert (found["a"][2], found["b"][2]) == (0.5, 0.5)
