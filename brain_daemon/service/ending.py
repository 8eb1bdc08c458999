"""From how an attempt ended, and what policy says follows, to the attempt as the journal keeps it."""

import time
from dataclasses import replace

from brain_daemon.model.attempt import Attempt, Decision
from brain_daemon.model.outcome import FREE, Cancelled, Ended, Failed, FailureKind, Outcome, Reason, Status
from brain_daemon.policy.retry import Again, Ask, Finish, Park, Step


def decided(attempt: Attempt, ended: Ended, step: Step) -> Attempt:
    """The attempt with its outcome and the decision on its task."""
    match step:
        case Finish():
            return attempt.finished(ended, Decision.FINISH, step.status, step.reason, step.message)
        case Again():
            return attempt.finished(ended, Decision.AGAIN, None, None, step.why)
        case Ask():
            return attempt.finished(ended, Decision.ASK, None, None, step.question)
        case Park():
            return attempt.finished(ended, Decision.PARK, None, None, step.why, step.until)


def unstarted(attempt: Attempt, reason: Reason, message: str) -> Attempt:
    """The attempt of a task that ended without a start: it cost nothing."""
    now = time.time()
    outcome: Outcome = Failed(kind=FailureKind.PERMANENT, message=message)
    if reason is Reason.CANCELLED:
        outcome = Cancelled(why=message)
    ended = Ended(outcome=outcome, started_at=now, finished_at=now, duration_seconds=0.0, cost=FREE)
    return decided(
        replace(attempt, started_at=None), ended, Finish(status=Status.FAILED, reason=reason, message=message)
    )
