"""Whether a clock was set forward: it tells of more time than has gone by."""

import pytest

from brain_daemon.policy.clock import Jump, Moment, jumps, was_set_forward

BEFORE = Moment(boot="b", elapsed=1_000.0, wall=50_000.0)


def later(elapsed: float, wall: float, boot: str = "b") -> Moment:
    """So many seconds later by each clock."""
    return Moment(boot=boot, elapsed=BEFORE.elapsed + elapsed, wall=BEFORE.wall + wall)


@pytest.mark.parametrize(
    ("now", "was_set"),
    [
        (later(600.0, 600.0), False),
        (later(600.0, 604.0), True),
        (later(600.0, 0.0), False),
        (later(86_400.0, 86_440.0), False),  # steered by half a thousandth
        (later(86_400.0, 90_000.0), True),
        (later(600.0, 90_000.0, boot="c"), False),  # who knows how long it was off
    ],
)
def test_a_clock_was_set_where_it_tells_of_more_than_has_gone_by(now, was_set):
    """Beyond a second, and what steering adds; in one boot."""
    assert was_set_forward(BEFORE, now) is was_set


def test_a_jump_lasts_until_the_clock_has_come_back():
    """It tells what the clock showed before, and how far ahead it is now; those of another boot are no matter."""
    other = Moment(boot="a", elapsed=0.0, wall=0.0)
    assert jumps([other, BEFORE], later(60.0, 3_660.0)) == (Jump(at=50_000.0, ahead_seconds=3_600.0),)
    assert jumps([BEFORE], later(120.0, 120.5)) == ()
    assert jumps([BEFORE], later(120.0, -500.0)) == ()
