"""Token buckets: they refill with time, give from both or from none, and never let more through than they hold and gain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import Limits
from brain_daemon.policy.buckets import (
    Bucket,
    Granted,
    Later,
    Rates,
    drawn,
    try_acquire,
)

LIMITS = Limits(requests_per_minute=60, tokens_per_minute=6_000)


def rates(**limits) -> Rates:
    return Rates.of(Limits(**limits), 0.0)


def granted(verdict: Granted | Later) -> Rates:
    assert isinstance(verdict, Granted), verdict
    return verdict.rates


def test_a_bucket_refills_in_proportion_to_time_up_to_its_capacity():
    """And not at all when the clock stands still or is behind."""
    empty = Bucket.full(60, 0.0).drawn(60, 0.0)
    assert empty.refilled(1.5).level == pytest.approx(1.5)
    assert empty.refilled(1e6).level == 60
    assert empty.refilled(-5.0) == empty
    assert empty.wait_seconds(3, 1.0) == pytest.approx(2.0)
    assert empty.wait_seconds(1, 1.0) == 0.0


def test_nothing_is_taken_from_one_bucket_when_the_other_is_empty():
    """The wait is that of the scarcer one, and says which it is."""
    both = Rates.of(LIMITS, 0.0)
    first = granted(try_acquire(both, tokens=6_000, now=0.0))
    later = try_acquire(first, tokens=300, now=0.0)
    assert later == Later(wait_seconds=pytest.approx(3.0), why="tokens a minute used up")
    assert first.requests.level == 59
    one = rates(requests_per_minute=1)
    assert try_acquire(granted(try_acquire(one, now=0.0)), now=0.0) == Later(
        wait_seconds=60.0, why="requests a minute used up"
    )


def test_without_limits_everything_is_granted():
    """None is no limit, and a request of nothing needs no room."""
    assert try_acquire(Rates(), requests=9, tokens=10**9, now=0.0) == Granted(rates=Rates())
    spent = rates(tokens_per_minute=10)
    assert isinstance(try_acquire(drawn(spent, tokens=50, now=0.0), requests=5, now=0.0), Granted)


def test_an_ask_larger_than_the_bucket_goes_from_a_full_one_into_debt():
    """It could never go otherwise; the next one waits until the debt is paid."""
    small = rates(tokens_per_minute=60)
    after = granted(try_acquire(small, tokens=90, now=0.0))
    assert after.tokens.level == -30
    assert try_acquire(after, tokens=1, now=0.0).wait_seconds == pytest.approx(31.0)
    assert try_acquire(after, tokens=90, now=31.0).wait_seconds == pytest.approx(59.0)


def test_the_outcome_corrects_the_estimate_both_ways():
    """What was not used is given back, up to the capacity."""
    after = drawn(rates(tokens_per_minute=100), tokens=80, now=0.0)
    assert drawn(after, tokens=40, now=0.0).tokens.level == -20
    assert drawn(after, tokens=-30, now=0.0).tokens.level == 50
    assert drawn(after, tokens=-500, now=0.0).tokens.level == 100


@given(
    st.lists(
        st.tuples(st.floats(min_value=-1, max_value=90), st.integers(0, 4), st.integers(0, 120)),
        max_size=50,
    )
)
def test_in_no_stretch_of_time_more_gets_through_than_the_bucket_holds_and_gains(asks):
    """Two minutes' worth at most in any minute, whatever the order of asks, with the clock running back now and then."""
    buckets, now, latest, through = rates(requests_per_minute=4, tokens_per_minute=120), 0.0, 0.0, []
    for wait, requests, tokens in asks:
        now += wait
        latest = max(latest, now)
        verdict = try_acquire(buckets, requests=requests, tokens=tokens, now=now)
        if isinstance(verdict, Granted):
            buckets = verdict.rates
            through.append((latest, requests, tokens))
        else:
            there = latest + verdict.wait_seconds
            assert isinstance(try_acquire(buckets, requests=requests, tokens=tokens, now=there), Granted)
        for at, _, _ in through:
            inside = [one for one in through if at <= one[0] <= at + 60]
            assert sum(one[1] for one in inside) <= 4 + 4
            assert sum(one[2] for one in inside) <= 120 + 120
