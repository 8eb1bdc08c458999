"""What follows an ended attempt: one table over every kind of ending, and the waits between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.outcome import (
    Cancelled,
    Ended,
    Failed,
    FailureKind,
    Interrupted,
    Outcome,
    Reason,
    Status,
    Succeeded,
    TimedOut,
)
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.retry import (
    BLAMELESS_LIMIT,
    CHECK,
    Again,
    Ask,
    Finish,
    Park,
    after,
    delay_seconds,
    is_blameless,
    is_transient,
)

KINDS = list(FailureKind)
BLAMELESS = [
    FailureKind.QUOTA,
    FailureKind.RATE_LIMIT,
    FailureKind.UNAVAILABLE,
    FailureKind.AUTH,
    FailureKind.CONTEXT_TOO_LONG,
]
STAYING = [FailureKind.SESSION_UNKNOWN, FailureKind.ASKED, FailureKind.WAITING]
LIMITS = [FailureKind.QUOTA, FailureKind.RATE_LIMIT]
WORTH_WAITING = [*LIMITS, FailureKind.UNAVAILABLE]
HELD = FailureKind.AUTH
FINAL = [FailureKind.PERMISSION_DENIED, FailureKind.BUDGET]
OTHERS_MAY = [FailureKind.TRANSIENT, FailureKind.PERMANENT, FailureKind.TURN_LIMIT, FailureKind.OUTPUT_LIMIT]


def task(**fields) -> TaskSpec:
    base = {
        "id": "t",
        "explicit_id": False,
        "title": "T",
        "text": "",
        "sha256": "0" * 64,
        "size_bytes": 0,
        "name": "t.md",
    }
    return TaskSpec(**(base | fields))


def failed(kind: FailureKind, **fields) -> Failed:
    return Failed(kind=kind, message="it said no", **fields)


def step(
    outcome: Outcome,
    *,
    so_far: int = 1,
    allowed: int = 2,
    remaining: tuple[str, ...] = (),
    blameless: int = 0,
) -> Finish | Again | Ask | Park:
    ended = Ended(outcome=outcome, started_at=900.0, finished_at=1_000.0, duration_seconds=100.0)
    return after(
        ended,
        task=task(),
        interface_idempotent=False,
        attempts_so_far=so_far,
        attempts_allowed=allowed,
        remaining=remaining,
        blameless_so_far=blameless,
    )


def again(verdict: Finish | Again | Ask | Park) -> Again:
    assert isinstance(verdict, Again), verdict
    return verdict


def interrupted(
    *, by_task: bool | None, by_interface: bool, blameless: int = 0, resumable: bool = False
) -> Finish | Again | Ask | Park:
    return after(
        Ended(outcome=Interrupted(why="the daemon died"), started_at=0.0, finished_at=1.0, duration_seconds=1.0),
        task=task(idempotent=by_task),
        interface_idempotent=by_interface,
        attempts_so_far=5,
        attempts_allowed=1,
        remaining=("b",),
        blameless_so_far=blameless,
        resumable=resumable,
    )


def test_success_completes_and_a_cancelled_attempt_fails_as_cancelled() -> None:
    """Neither is tried again, whatever attempts and interfaces are left."""
    assert step(Succeeded(text="ok"), remaining=("b",)) == Finish(status=Status.COMPLETED)
    cancelled = Finish(status=Status.FAILED, reason=Reason.CANCELLED, message="cancelled by request")
    assert step(Cancelled(), remaining=("b",)) == cancelled


@pytest.mark.parametrize(
    ("so_far", "remaining", "inactive", "expected"),
    [
        (1, ("b", "c"), False, Again(interface="next", name="b", why="it had not ended after 30 s")),
        (1, (), True, Again(interface="same", why="it was silent after 30 s")),
        (
            2,
            ("b",),
            False,
            Finish(status=Status.FAILED, reason=Reason.TIMED_OUT, message="it had not ended after 30 s"),
        ),
    ],
)
def test_a_timeout_uses_an_attempt(
    so_far: int, remaining: tuple[str, ...], *, inactive: bool, expected: object
) -> None:
    """The next interface is tried, else the same, while attempts are left."""
    assert step(TimedOut(after_seconds=30.0, inactive=inactive), so_far=so_far, remaining=remaining) == expected


@pytest.mark.parametrize("kind", BLAMELESS)
def test_what_is_not_the_tasks_fault_goes_to_the_next_without_using_attempts(kind: FailureKind) -> None:
    """Also with all attempts used, until the bound on blameless failures."""
    verdict = again(step(failed(kind), so_far=1, allowed=1, remaining=("b", "c")))
    assert (verdict.interface, verdict.name, verdict.delay_seconds) == ("next", "b", 0.0)
    assert kind in verdict.why
    worn = step(failed(kind), so_far=99, allowed=1, remaining=("b",), blameless=BLAMELESS_LIMIT)
    assert isinstance(worn, Finish)


@pytest.mark.parametrize("kind", OTHERS_MAY)
def test_what_may_be_the_tasks_fault_goes_to_the_next_while_attempts_are_left(kind: FailureKind) -> None:
    """Blameless attempts before it do not count against the task."""
    assert again(step(failed(kind), so_far=1, remaining=("b",))).name == "b"
    assert again(step(failed(kind), so_far=5, remaining=("b",), blameless=4)).name == "b"
    ended = step(failed(kind), so_far=2, remaining=("b",))
    assert ended == Finish(status=Status.FAILED, reason=Reason.TOOL_FAILED, message="it said no")


@pytest.mark.parametrize("kind", FINAL)
def test_what_no_interface_can_change_ends_the_task(kind: FailureKind) -> None:
    """A refused permission and a spent budget are for a person."""
    verdict = step(failed(kind), allowed=9, remaining=("b",))
    assert isinstance(verdict, Finish)
    assert verdict.status is Status.FAILED


@pytest.mark.parametrize("kind", KINDS)
def test_with_no_other_interface_each_kind_waits_tries_the_same_or_ends(kind: FailureKind) -> None:
    """An outage is waited out; a limit that lasts, a question and children park; what may pass is tried again; the rest ends with its reason."""
    verdict = step(failed(kind, retry_after_seconds=900.0) if kind in LIMITS else failed(kind))
    if kind in LIMITS:
        assert verdict == Park(why=f"{kind}: it said no", until=pytest.approx(1_960.0))
        return
    if kind in (FailureKind.ASKED, FailureKind.WAITING):
        assert verdict == Park(why="it said no")
        return
    if kind is FailureKind.SESSION_UNKNOWN:
        assert again(verdict) == Again(interface="same", why="session_unknown: it said no")
        return
    if kind is HELD:
        assert again(verdict) == Again(interface="next", why="auth: it said no")
        return
    if kind in WORTH_WAITING or kind in (FailureKind.TRANSIENT, FailureKind.NOT_VERIFIED):
        assert again(verdict).interface == "same"
        assert verdict.delay_seconds > 0
        return
    reason = Reason.BUDGET_EXCEEDED if kind is FailureKind.BUDGET else Reason.TOOL_FAILED
    assert verdict == Finish(status=Status.FAILED, reason=reason, message="it said no")


def test_an_expired_login_fails_no_task_and_uses_no_attempt() -> None:
    """It goes elsewhere or back to pending/, whose admission says when; only login after login refused is the end of it."""
    assert again(step(failed(HELD), remaining=("b",), so_far=9, allowed=1)).name == "b"
    held = again(step(failed(HELD), so_far=9, allowed=1, blameless=BLAMELESS_LIMIT - 1))
    assert (held.interface, held.name, held.delay_seconds) == ("next", None, 0.0)
    worn = step(failed(HELD), blameless=BLAMELESS_LIMIT)
    assert worn == Finish(status=Status.FAILED, reason=Reason.AUTH, message="it said no")


@pytest.mark.parametrize("remaining", [(), ("b",)])
def test_who_asks_whether_a_login_works_is_told_that_it_does_not(remaining: tuple[str, ...]) -> None:
    """`brain interfaces check --live` does not wait for somebody to log in."""
    told = after(
        Ended(outcome=failed(HELD), started_at=0.0, finished_at=1.0, duration_seconds=1.0),
        task=task(type=CHECK),
        interface_idempotent=False,
        attempts_so_far=1,
        attempts_allowed=2,
        remaining=remaining,
    )
    assert told == Finish(status=Status.FAILED, reason=Reason.AUTH, message="it said no")


def test_a_transient_failure_ends_with_the_attempts() -> None:
    """The default class of failure must not loop."""
    assert isinstance(step(failed(FailureKind.TRANSIENT), so_far=2), Finish)


@pytest.mark.parametrize("kind", WORTH_WAITING)
def test_waiting_for_an_interface_has_an_end(kind: FailureKind) -> None:
    """A quota that never frees fails the task after the bound, not before."""
    before = step(failed(kind), so_far=12, allowed=1, blameless=BLAMELESS_LIMIT - 1)
    assert isinstance(before, Park if kind in LIMITS else Again)
    assert isinstance(step(failed(kind), so_far=13, allowed=1, blameless=BLAMELESS_LIMIT), Finish)


def test_a_quota_parks_the_task_until_its_reset_and_a_margin() -> None:
    """Where another interface is left that the task may go to, it goes there instead."""
    assert step(failed(FailureKind.QUOTA, resets_at=1_500.0)) == Park(why="quota: it said no", until=1_550.0)
    assert again(step(failed(FailureKind.QUOTA, resets_at=1_500.0), remaining=("b",))).name == "b"


def test_a_short_limit_is_waited_out_by_the_worker() -> None:
    """A minute is not worth leaving the slot for."""
    assert again(step(failed(FailureKind.RATE_LIMIT, retry_after_seconds=50.0))).delay_seconds == pytest.approx(55.0)


@pytest.mark.parametrize(
    ("by_task", "by_interface", "harmless"),
    [(None, False, False), (None, True, True), (True, False, True), (True, True, True), (False, True, False)],
)
def test_an_interrupted_attempt_runs_again_only_where_that_is_harmless(
    *, by_task: bool | None, by_interface: bool, harmless: bool
) -> None:
    """The task's own word goes before the interface's; attempts are not used up by it."""
    verdict = interrupted(by_task=by_task, by_interface=by_interface)
    if harmless:
        assert verdict == Again(interface="same", why="interrupted (the daemon died), and safe to repeat")
    else:
        assert isinstance(verdict, Ask)
        assert "may have done part of its work" in verdict.question


def test_an_interrupted_attempt_goes_on_unasked_where_its_client_has_the_session() -> None:
    """What it had done is known to the client; nothing is done twice."""
    assert isinstance(interrupted(by_task=False, by_interface=False, resumable=True), Again)


def test_a_task_that_is_interrupted_again_and_again_becomes_a_question() -> None:
    """It may be what brings the daemon down."""
    assert isinstance(interrupted(by_task=None, by_interface=True, blameless=BLAMELESS_LIMIT - 1), Again)
    verdict = interrupted(by_task=None, by_interface=True, blameless=BLAMELESS_LIMIT)
    assert isinstance(verdict, Ask)
    assert f"{BLAMELESS_LIMIT} attempts" in verdict.question


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Succeeded(text=""), False),
        (Cancelled(), False),
        (TimedOut(after_seconds=1.0), False),
        (Interrupted(why=""), True),
        *((failed(kind), kind in BLAMELESS + STAYING) for kind in KINDS),
    ],
)
def test_blameless_endings_are_the_interfaces_and_the_daemons(outcome: Outcome, *, expected: bool) -> None:
    """Quota, rate, outage, credentials, a prompt too long for it, and an interruption."""
    assert is_blameless(outcome) is expected


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_short_wait_is_worth_repeating_within_the_attempt(kind: FailureKind) -> None:
    """A slot is not kept for longer than a minute."""
    soon = kind in (FailureKind.RATE_LIMIT, FailureKind.TRANSIENT)
    assert is_transient(failed(kind)) is soon
    assert is_transient(failed(kind, retry_after_seconds=60.0)) is soon
    assert not is_transient(failed(kind, retry_after_seconds=61.0))


@pytest.mark.parametrize(
    ("failure", "attempt", "jitter", "now", "expected"),
    [
        (failed(FailureKind.TRANSIENT), 1, 1.0, None, 1.0),
        (failed(FailureKind.TRANSIENT), 1, 0.0, None, 0.5),
        (failed(FailureKind.TRANSIENT), 4, 1.0, None, 8.0),
        (failed(FailureKind.TRANSIENT), 10_000, 1.0, None, 60.0),
        (failed(FailureKind.QUOTA), 2, 1.0, None, 1_800.0),
        (failed(FailureKind.RATE_LIMIT, retry_after_seconds=30.0), 5, 0.0, None, 30.0),
        (failed(FailureKind.RATE_LIMIT, retry_after_seconds=30.0), 5, 1.0, None, 33.0),
        (failed(FailureKind.QUOTA, resets_at=18_000.0), 1, 1.0, 0.0, 18_060.0),
        (failed(FailureKind.QUOTA, resets_at=500.0), 1, 0.0, 400.0, 100.0),
        (failed(FailureKind.QUOTA, resets_at=500.0), 1, 0.0, 600.0, 0.0),
        (failed(FailureKind.QUOTA, resets_at=500.0), 1, 1.0, None, 900.0),
    ],
)
def test_waits_follow_the_interface_or_double(
    failure: Failed, attempt: int, jitter: float, now: float | None, expected: float
) -> None:
    """What the interface says is never cut short; a reset needs to know the time."""
    assert delay_seconds(failure, attempt, jitter, now=now) == pytest.approx(expected)


@given(st.sampled_from(FailureKind), st.integers(1, 200), st.floats(0, 1))
def test_a_wait_never_passes_its_bound(kind: FailureKind, attempt: int, jitter: float) -> None:
    """Whatever the number of the try, it is not more than six hours; only a lost session is given up at once."""
    assert (delay_seconds(failed(kind), attempt, jitter) > 0) is (kind is not FailureKind.SESSION_UNKNOWN)
    assert delay_seconds(failed(kind), attempt, jitter) <= 6 * 3_600


@given(st.sampled_from(FailureKind), st.integers(1, 4), st.lists(st.sampled_from("bcd"), unique=True).map(tuple))
def test_every_task_ends(kind: FailureKind, allowed: int, names: tuple[str, ...]) -> None:
    """However often the same failure comes back, the steps come to an end."""
    remaining, blameless = names, 0
    for so_far in range(1, 100):
        verdict = step(failed(kind), so_far=so_far, allowed=allowed, remaining=remaining, blameless=blameless)
        if isinstance(verdict, Finish):
            return
        if isinstance(verdict, Again) and verdict.interface == "next":
            remaining = remaining[1:]
        blameless += is_blameless(failed(kind))
    pytest.fail("it went on for a hundred attempts")
