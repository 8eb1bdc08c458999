"""Taking tasks out of pending/ for the daemon, and giving them back. The caller holds the claims lock for `take`.

A claim reads the file again after the move: what runs is what was there then. If it is no longer what was chosen for,
it goes back and is looked at anew.
"""

import hashlib
import os
import time
from collections.abc import Sequence

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import StorageError
from brain_daemon.model.outcome import Failed, Mode, Reason, TimedOut
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.retry import is_blameless, is_transient
from brain_daemon.service.attempts import claimed
from brain_daemon.service.brain import Brain
from brain_daemon.service.dispatch import Fail, Go
from brain_daemon.service.ending import unstarted
from brain_daemon.service.intake import Intake, PendingTask, explain, original_of
from brain_daemon.service.job import Job
from brain_daemon.service.worker import Worker
from brain_daemon.store.queue import Queue

Closed = tuple[Attempt, TaskSpec | None]


class Claimer:
    """Claims for one daemon. Not for several threads. `tried`: who has failed at a task that was given back for that reason."""

    def __init__(self, brain: Brain, intake: Intake, worker: Worker) -> None:
        self._brain = brain
        self._intake = intake
        self._worker = worker
        self._queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
        self.tried: dict[str, frozenset[str]] = {}

    def take(self, picks: Sequence[Go | Fail]) -> tuple[list[Job], list[Closed]]:
        """Claim what was picked: jobs to start, and tasks that have ended without one."""
        jobs: list[Job] = []
        closed: list[Closed] = []
        for pick in picks:
            try:
                self._take_one(pick, jobs, closed)
            except StorageError:
                if not (jobs or closed):
                    raise
                # What is claimed must be carried through; the next claim meets the disk's refusal again.
                break
        return jobs, closed

    def _take_one(self, pick: Go | Fail, jobs: list[Job], closed: list[Closed]) -> None:
        if isinstance(pick, Go):
            job = self._job(pick)
            if job is not None:
                jobs.append(job)
        else:
            ended = self._fail(pick)
            if ended is not None:
                closed.append(ended)

    def _job(self, go: Go) -> Job | None:
        taken = self._claim(go.pending, go.task.sha256)
        if taken is None:
            return None
        spec, claimed_at, notes = taken
        attempt = self._attempt(go.pending, go.task, spec, max(claimed_at, go.since))
        earlier = self._earlier(attempt)
        job = Job(
            task=go.task,
            choice=go.choice,
            ranked=go.start.ranked,
            why=go.start.reason,
            attempt=attempt,
            decided=go.start.name,
            quick=go.quick,
            notes=(*notes, *go.choice.warnings),
            history=earlier,
            tried={one.interface for one in earlier if one.interface and _is_settled(one)},
        )
        if job.ranked.name in job.tried and next(self._worker.untried(job), None) is not None:
            # After a restart: whether another has room is for dispatch to say, which does not know yet what was tried.
            self.tried[go.task.id.casefold()] = frozenset(job.tried)
            self.give_back(attempt)
            self._intake.active.pop(go.task.id.casefold(), None)
            return None
        job.attempt = self._worker.placed(job, attempt)
        return job

    def _earlier(self, attempt: Attempt) -> list[Attempt]:
        """The tries of this task that came to nothing before this claim, oldest first: they count towards what is allowed."""
        found: list[Attempt] = []
        if attempt.number > 1:
            for one in reversed(self._brain.journal.attempts_of(attempt.task_id)):
                if one.decision not in (Decision.AGAIN, Decision.PARK) or one.ended is None:
                    break
                found.append(one)
        return found[::-1]

    def _claim(self, pending: PendingTask, sha256: str) -> tuple[bytes, float, tuple[str, ...]] | None:
        """Move the file and read it: its original bytes, when it was seen, and notes; None if it is another one by now."""
        claimed_at = pending.signature.modified_at
        try:
            data = self._queue.claim(pending.name, pending.id)
        except FileExistsError:
            self._intake.block(pending.name, f"another task with the id {pending.id} is active now")
            return None
        if data is None:
            self._intake.forget(pending.name)
            return None
        spec, _ = original_of(data)
        if hashlib.sha256(spec).hexdigest() != sha256:
            self._queue.give_back(pending.id, pending.name)
            self._intake.forget(pending.name)
            return None
        notes = [pending.note] if pending.note else []
        if pending.recorded:
            notes += document.strip(data).warnings
        self._intake.forget(pending.name)
        self._intake.active[pending.id.casefold()] = "active"
        return spec, min(max(claimed_at, pending.seen_at), time.time()), tuple(notes)

    def _attempt(self, pending: PendingTask, task: TaskSpec | Rejection, spec: bytes, claimed_at: float) -> Attempt:
        return claimed(
            self._brain.journal,
            pending,
            task,
            spec,
            "daemon",
            state=AttemptState.STARTING,
            mode=task.mode if isinstance(task, TaskSpec) else Mode.DAEMON,
            claimed_at=claimed_at,
        )

    def _fail(self, fail: Fail) -> Closed | None:
        pending = fail.pending
        if pending.fault is not None:
            return self.close(pending, Reason.MALFORMED, explain(pending.fault))
        return self.close(pending, fail.reason, fail.dependency or "")

    def close(self, pending: PendingTask, reason: Reason, message: str) -> Closed | None:
        """Claim a task and end it at once, without a start."""
        what = pending.task or pending.fault
        assert what is not None
        if pending.fault is not None and not what.sha256:
            return self._close_unread(pending, message)
        taken = self._claim(pending, what.sha256)
        if taken is None:
            return None
        spec, claimed_at, _ = taken
        attempt = self._attempt(pending, what, spec, claimed_at)
        return unstarted(attempt, reason, message), pending.task

    def _close_unread(self, pending: PendingTask, message: str) -> Closed | None:
        """A file too large to read is moved as it is."""
        path = os.path.join(self._brain.layout.pending, pending.name)
        try:
            self._brain.files.move(path, self._queue.active_path(pending.id))
        except FileExistsError:
            self._intake.block(pending.name, f"another task with the id {pending.id} is active now")
            return None
        except FileNotFoundError:
            self._intake.forget(pending.name)
            return None
        self._intake.forget(pending.name)
        assert pending.fault is not None
        attempt = self._attempt(pending, pending.fault, b"", time.time())
        return unstarted(attempt, Reason.MALFORMED, message), None

    def give_back(self, attempt: Attempt) -> None:
        """A task that waits long before its next attempt, or whose daemon stops, returns to pending/."""
        if os.path.lexists(self._queue.active_path(attempt.task_id)):
            self._queue.give_back(attempt.task_id, attempt.name)


def _is_settled(attempt: Attempt) -> bool:
    """Whether an earlier try says something about its interface that waiting does not mend."""
    outcome = attempt.ended.outcome if attempt.ended else None
    return isinstance(outcome, TimedOut) or (
        isinstance(outcome, Failed) and not is_transient(outcome) and not is_blameless(outcome)
    )
