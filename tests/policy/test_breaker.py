"""The circuit breaker: opens on the interface's own faults alone, waits longer each time, and tries with one probe."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.outcome import Cancelled, Failed, FailureKind, Interrupted, Succeeded, TimedOut
from brain_daemon.policy.breaker import (
    CLOSED,
    LONGEST_SECONDS,
    Closed,
    HalfOpen,
    Open,
    Passes,
    Shut,
    after,
    checked,
    cool_down_seconds,
    from_json,
    given_back,
    may_start,
    probing,
    to_json,
    word,
)

NOW = 1_000_000.0
OWN = [FailureKind.TRANSIENT, FailureKind.UNAVAILABLE, FailureKind.AUTH]
OTHERS = [kind for kind in FailureKind if kind not in OWN]
DONE = Succeeded(text="done")
SILENT = [Cancelled(), Interrupted(why="killed"), TimedOut(after_seconds=9)]


def failed(kind: FailureKind, **fields) -> Failed:
    return Failed(kind=kind, message="it said no", **fields)


def ended(breaker, *outcomes, attempt="a", now=NOW, jitter=1.0):
    for outcome in outcomes:
        breaker = after(breaker, attempt, outcome, now=now, jitter=jitter)
    return breaker


OPEN = ended(CLOSED, failed(FailureKind.UNAVAILABLE))
PROBED = HalfOpen(trips=1, why="it was away", probe="p")


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_the_interfaces_fault_leaves_it_closed(kind):
    """Limits and faults of the task, however often; they even set the count back, since it has answered."""
    assert ended(Closed(failures=2), *[failed(kind)] * 20) == CLOSED


def test_it_opens_on_the_third_transient_failure_in_a_row():
    """An answer in between sets the count back; a cancelled attempt tells nothing."""
    no = failed(FailureKind.TRANSIENT)
    assert ended(CLOSED, no, no) == Closed(failures=2)
    assert ended(CLOSED, no, no, DONE, no, no) == Closed(failures=2)
    assert ended(CLOSED, no, *SILENT, no) == Closed(failures=2)
    assert ended(CLOSED, no, no, no) == Open(since=NOW, until=NOW + 30, trips=1, why="transient: it said no")


def test_it_opens_at_once_when_the_interface_is_not_there():
    """And passes nothing until the cool-down is over, then one probe."""
    assert may_start(OPEN, NOW + 29.9) == Shut(why="unavailable: it said no", until=NOW + 30)
    assert may_start(OPEN, NOW + 30) == Passes(probe=True)
    half = probing(OPEN, "p")
    assert half == HalfOpen(trips=1, why="unavailable: it said no", probe="p")
    assert may_start(half, NOW + 1e9) == Shut(why="unavailable: it said no; p tries whether it is back")
    assert may_start(CLOSED, NOW) == Passes()


def test_a_clock_that_was_set_back_keeps_nothing_shut():
    """No cool-down is longer than half an hour, so one that would be is none."""
    assert may_start(OPEN, NOW - LONGEST_SECONDS) == Passes(probe=True)


@pytest.mark.parametrize("answer", [DONE, *map(failed, OTHERS)])
def test_any_answer_to_the_probe_closes(answer):
    """A no that is not its own fault proves that it is there."""
    assert ended(PROBED, answer, attempt="p") == CLOSED
    assert ended(OPEN, answer) == CLOSED


@pytest.mark.parametrize("outcome", SILENT)
def test_a_probe_that_tells_nothing_gives_its_place_to_the_next(outcome):
    """Another attempt that tells nothing changes nothing."""
    assert ended(PROBED, outcome, attempt="p") == replace(PROBED, probe=None)
    assert may_start(replace(PROBED, probe=None), NOW) == Passes(probe=True)
    assert probing(replace(PROBED, probe=None), "q").probe == "q"
    assert ended(PROBED, outcome, attempt="x") == PROBED
    assert given_back(OPEN, "x") == OPEN


def test_a_failed_probe_opens_for_twice_as_long():
    """Whatever own fault it is; the late failure of an older attempt is the same outage and changes nothing."""
    for kind in (FailureKind.TRANSIENT, FailureKind.UNAVAILABLE):
        assert ended(PROBED, failed(kind), attempt="p").until == NOW + 60
        assert ended(PROBED, failed(kind), attempt="x") == PROBED
        assert ended(OPEN, failed(kind), now=NOW + 5) == OPEN


def test_auth_stays_open_until_the_check_passes():
    """No time frees it; a failed check changes nothing, a passed one lets one probe through."""
    locked = ended(CLOSED, failed(FailureKind.AUTH))
    assert may_start(locked, NOW + 1e9) == Shut(why="auth: it said no; its check must pass first")
    assert checked(locked, passed=False) == locked
    half = checked(locked, passed=True)
    assert may_start(half, NOW) == Passes(probe=True)
    assert checked(OPEN, passed=True) == OPEN
    assert checked(CLOSED, passed=True) == CLOSED


@pytest.mark.parametrize("answer", [DONE, *map(failed, OTHERS)])
def test_of_a_login_that_has_expired_only_who_began_since_can_tell(answer):
    """What was under way may still end well; a task that a person let start is proof, and tells nothing where it is cancelled."""
    locked = ended(CLOSED, failed(FailureKind.AUTH))
    assert ended(locked, answer, attempt="older") == locked
    released = probing(locked, "r")
    assert may_start(released, NOW + 1e9) == may_start(locked, NOW + 1e9)
    assert ended(released, answer, attempt="older") == released
    assert ended(released, answer, attempt="r") == CLOSED
    assert ended(released, failed(FailureKind.AUTH), attempt="r").by_check
    assert ended(released, Cancelled(), attempt="r") == locked
    assert from_json(to_json(released)) == released
    assert checked(released, passed=True) == HalfOpen(trips=1, why=locked.why)


def test_auth_locks_what_is_open_or_half_open_too():
    """Whoever was refused: a later unavailable does not unlock it."""
    assert ended(OPEN, failed(FailureKind.AUTH)).by_check
    assert ended(PROBED, failed(FailureKind.AUTH), attempt="x").by_check
    assert ended(OPEN, failed(FailureKind.AUTH), failed(FailureKind.UNAVAILABLE)).by_check


def test_a_start_that_is_no_probe_changes_nothing():
    """A closed breaker and a taken probe stay what they are."""
    assert probing(CLOSED, "a") == CLOSED
    assert probing(PROBED, "a") == PROBED


@pytest.mark.parametrize(
    ("trips", "jitter", "told", "seconds"),
    [
        (1, 1.0, None, 30),
        (1, 0.0, None, 15),
        (2, 1.0, None, 60),
        (7, 1.0, None, 1800),
        (10**6, 1.0, None, 1800),
        (1, 1.0, 10.0, 30),
        (1, 1.0, 90.0, 90),
        (1, 1.0, 1e9, 1800),
    ],
)
def test_the_cool_down_grows_to_half_an_hour(trips, jitter, told, seconds):
    """Jitter spreads it over its upper half; a wait the interface names is kept up to the longest."""
    assert cool_down_seconds(trips, jitter, told) == seconds
    opened = ended(CLOSED, failed(FailureKind.UNAVAILABLE, retry_after_seconds=told))
    assert trips != 1 or jitter != 1.0 or opened.until == NOW + seconds


@pytest.mark.parametrize(("breaker", "said"), [(CLOSED, "closed"), (OPEN, "open"), (PROBED, "half-open")])
def test_it_outlives_the_process(breaker, said):
    """Through JSON text and back, and a word for people."""
    assert from_json(json.loads(json.dumps(to_json(breaker)))) == breaker
    assert word(breaker) == said


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"state": "ajar"},
        {"state": "open"},
        {"state": "closed", "failures": "two"},
        {"state": "closed", "unheard": 1},
        {"state": "half-open", "trips": 1, "why": "x", "until": 1.0},
        {"state": ["open"]},
    ],
)
def test_a_damaged_state_is_closed(document):
    """That costs one failure at most."""
    assert from_json(document) == CLOSED


OUTCOMES = st.one_of(
    st.sampled_from([DONE, *SILENT]),
    st.builds(failed, st.sampled_from(list(FailureKind)), retry_after_seconds=st.sampled_from([None, 5.0, 1e6])),
)


@given(st.lists(st.tuples(st.sampled_from("abc"), OUTCOMES, st.floats(-4000, 4000), st.floats(0, 1)), max_size=40))
def test_it_is_never_shut_for_ever_and_never_lets_two_probes_out(steps):
    """After any history: unless auth or a probe holds it, half an hour later it passes one; starts beside a probe are refused."""
    breaker, now = CLOSED, NOW
    for attempt, outcome, wait, jitter in steps:
        now += wait
        verdict = may_start(breaker, now)
        if verdict == Passes(probe=True):
            breaker = probing(breaker, attempt)
            assert isinstance(may_start(breaker, now), Shut)
        breaker = after(breaker, attempt, outcome, now=now, jitter=jitter)
        assert from_json(to_json(breaker)) == breaker
        if isinstance(breaker, Open) and not breaker.by_check:
            assert may_start(breaker, now + LONGEST_SECONDS) == Passes(probe=True)
