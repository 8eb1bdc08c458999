"""What comes after an attempt has ended: the task is finished, is tried again, is parked, or a person is asked.

Failures fall in three groups. *Blameless*: the interface is out of quota, unauthorised, unreachable or too small; the next one may try
and the task's own attempts are not used up, up to `BLAMELESS_LIMIT`. *The attempt's*: it ran and did not do it; the next interface may
try while attempts are left. *Final*: trying again cannot help. An interrupted attempt may have had its effect, so it is run again
unasked only where that does no harm, or where its client goes on in the session it had.

A limit that lasts, a question of the interface, and children it waits for park the task: it keeps its place, its workspace and
its session. A login that has expired sends it back to pending/, where the interface's circuit breaker holds it until somebody has
logged in: what a person mends in a minute must not fail a night's tasks.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

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

BLAMELESS_LIMIT = 12
INLINE_WAIT_SECONDS = 60.0

CHECK = "check"
"""The type of a task that is to find out whether a login works (`brain interfaces check --live`): a refusal is its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The task has ended; `reason` is None if and only if it completed."""

    status: Status
    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Try again after `delay_seconds`: on the interface that just ended, or on the next of the remaining, which `name` is.

    The next without a name is for admission to say: the task goes back to pending/ and is held there until one of them has room.
    """

    interface: Literal["same", "next"]
    why: str
    delay_seconds: float = 0.0
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Only a person can say whether to run it again."""

    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """The task waits in active/ until `until` (epoch seconds), or with None for a person's answer or its children (`why`)."""

    why: str
    until: float | None = None


Step = Finish | Again | Ask | Park


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What a kind of failure allows.

    `same` says how long the same interface is worth another try where no other remains: never, while attempts are left, or for as
    long as blameless failures are let pass; `held` is as long, and nobody tries before admission lets it through.
    """

    blameless: bool
    next: bool
    same: Literal["never", "attempts", "patience", "held"]
    reason: Reason = Reason.TOOL_FAILED


_RULES: dict[FailureKind, _Rule] = {
    FailureKind.QUOTA: _Rule(blameless=True, next=True, same="patience"),
    FailureKind.RATE_LIMIT: _Rule(blameless=True, next=True, same="patience"),
    FailureKind.UNAVAILABLE: _Rule(blameless=True, next=True, same="patience"),
    FailureKind.AUTH: _Rule(blameless=True, next=True, same="held", reason=Reason.AUTH),
    FailureKind.CONTEXT_TOO_LONG: _Rule(blameless=True, next=True, same="never"),
    FailureKind.TRANSIENT: _Rule(blameless=False, next=True, same="attempts"),
    FailureKind.PERMANENT: _Rule(blameless=False, next=True, same="never"),
    FailureKind.TURN_LIMIT: _Rule(blameless=False, next=True, same="never"),
    FailureKind.OUTPUT_LIMIT: _Rule(blameless=False, next=True, same="never"),
    FailureKind.NOT_VERIFIED: _Rule(blameless=False, next=True, same="attempts", reason=Reason.VERIFICATION_FAILED),
    FailureKind.SESSION_UNKNOWN: _Rule(blameless=True, next=False, same="patience"),
    FailureKind.ASKED: _Rule(blameless=True, next=False, same="patience"),
    FailureKind.WAITING: _Rule(blameless=True, next=False, same="patience"),
    FailureKind.PERMISSION_DENIED: _Rule(blameless=False, next=False, same="never"),
    FailureKind.BUDGET: _Rule(blameless=False, next=False, same="never", reason=Reason.BUDGET_EXCEEDED),
}

# First wait and longest wait by kind, in seconds; a wait the interface itself names goes before both.
_WAITS: dict[FailureKind, tuple[float, float]] = {
    FailureKind.QUOTA: (900.0, 21_600.0),
    FailureKind.RATE_LIMIT: (5.0, 300.0),
    FailureKind.UNAVAILABLE: (15.0, 1_800.0),
    FailureKind.SESSION_UNKNOWN: (0.0, 0.0),
}
_LIMITS = frozenset({FailureKind.QUOTA, FailureKind.RATE_LIMIT})
_EVENTS = frozenset({FailureKind.ASKED, FailureKind.WAITING})
_MARGIN_SECONDS = 60.0
_DEFAULT_WAIT = (1.0, 60.0)


def after(
    ended: Ended,
    *,
    task: TaskSpec,
    interface_idempotent: bool,
    attempts_so_far: int,
    attempts_allowed: int,
    remaining: tuple[str, ...],
    blameless_so_far: int = 0,
    jitter: float = 1.0,
    resumable: bool = False,
) -> Step:
    """The step after one ended attempt.

    `attempts_so_far` counts every ended attempt of the task, this one included; `blameless_so_far` those before this one for which
    `is_blameless` holds. `remaining` are the interfaces not tried yet that admission would let the task go to, in order.
    `resumable`: the attempt's client can go on in the session it had.
    """
    left = attempts_so_far - blameless_so_far < attempts_allowed
    match ended.outcome:
        case Succeeded():
            return Finish(status=Status.COMPLETED)
        case Cancelled(why=why):
            return Finish(status=Status.FAILED, reason=Reason.CANCELLED, message=why)
        case Interrupted(why=why):
            harmless = resumable or (interface_idempotent if task.idempotent is None else task.idempotent)
            return _after_interruption(why, task, blameless_so_far, harmless=harmless)
        case TimedOut() as timed_out:
            return _after_timeout(timed_out, remaining, left=left)
        case Failed() as failed:
            patient = blameless_so_far < BLAMELESS_LIMIT
            delay = delay_seconds(failed, blameless_so_far + 1, jitter, now=ended.finished_at)
            if failed.kind is FailureKind.AUTH and task.type == CHECK:
                return Finish(status=Status.FAILED, reason=Reason.AUTH, message=failed.message)
            step = _after_failure(failed, remaining, delay, left=left, patient=patient)
            return _parked(failed, step, delay, ended.finished_at)
        case never:
            assert_never(never)


def is_blameless(outcome: Outcome) -> bool:
    """Whether an attempt that ended like this leaves the task's own attempts untouched."""
    match outcome:
        case Failed(kind=kind):
            return _RULES[kind].blameless
        case Interrupted():
            return True
        case Succeeded() | Cancelled() | TimedOut():
            return False
        case never:
            assert_never(never)


def is_transient(failure: Failed) -> bool:
    """Whether repeating the call within the attempt makes sense: it may pass soon, and the interface does not ask for a long wait."""
    soon = failure.retry_after_seconds is None or failure.retry_after_seconds <= INLINE_WAIT_SECONDS
    return soon and failure.kind in (FailureKind.RATE_LIMIT, FailureKind.TRANSIENT)


def delay_seconds(failure: Failed, attempt: int, jitter: float, *, now: float | None = None) -> float:
    """How long to wait before try number `attempt` + 1 (`attempt` counts from 1). `jitter` is from 0 to 1; `now` is epoch seconds.

    A wait the interface names is never cut short, jitter only adds up to a tenth of it, a minute at most. Otherwise the wait doubles from try to try up
    to a bound, and jitter spreads it over its upper half.
    """
    told = failure.retry_after_seconds
    if told is None and failure.resets_at is not None and now is not None:
        told = failure.resets_at - now
    if told is not None:
        return max(told, 0.0) + jitter * min(max(told, 0.0) / 10, _MARGIN_SECONDS)
    first, longest = _WAITS.get(failure.kind, _DEFAULT_WAIT)
    # 2**40 seconds is past every bound; larger powers only cost.
    return float(min(longest, first * 2 ** min(attempt - 1, 40))) * (0.5 + jitter / 2)


def _after_interruption(why: str, task: TaskSpec, blameless_so_far: int, *, harmless: bool) -> Again | Ask:
    if not harmless:
        return Ask(question=f"{task.id} was interrupted ({why}) and may have done part of its work. Run it again?")
    if blameless_so_far >= BLAMELESS_LIMIT:
        return Ask(
            question=f"{task.id} was interrupted again ({why}); {blameless_so_far} attempts have come to nothing. Run it once more?"
        )
    return Again(interface="same", why=f"interrupted ({why}), and safe to repeat")


def _after_timeout(outcome: TimedOut, remaining: tuple[str, ...], *, left: bool) -> Again | Finish:
    kind = "was silent" if outcome.inactive else "had not ended"
    message = f"it {kind} after {outcome.after_seconds:g} s"
    if not left:
        return Finish(status=Status.FAILED, reason=Reason.TIMED_OUT, message=message)
    return _to_next(remaining, message) if remaining else Again(interface="same", why=message)


def _after_failure(
    failed: Failed, remaining: tuple[str, ...], delay: float, *, left: bool, patient: bool
) -> Again | Finish:
    rule = _RULES[failed.kind]
    message = f"{failed.kind}: {failed.message}"
    if remaining and rule.next and (patient if rule.blameless else left):
        return _to_next(remaining, message)
    if rule.same == "held" and patient:
        return Again(interface="next", why=message)
    if (rule.same == "patience" and patient) or (rule.same == "attempts" and left):
        return Again(interface="same", why=message, delay_seconds=delay)
    return Finish(status=Status.FAILED, reason=rule.reason, message=failed.message)


def _parked(failed: Failed, step: Again | Finish, delay: float, now: float) -> Again | Finish | Park:
    """A limit that lasts longer than a worker waits, a question, and spawned tasks park the task where it would be tried on the same interface."""
    if not isinstance(step, Again) or step.interface != "same":
        return step
    if failed.kind in _EVENTS:
        return Park(why=failed.message)
    if failed.kind in _LIMITS and delay > INLINE_WAIT_SECONDS:
        return Park(why=step.why, until=now + delay)
    return step


def _to_next(remaining: tuple[str, ...], why: str) -> Again:
    return Again(interface="next", why=why, name=remaining[0])
