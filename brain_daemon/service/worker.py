"""One task from claim to outcome, straight down the page.

    start      the journal says `starting`, durably, before the tool sees a byte
    invoke     the call is made and proved               service/invoking.py
    clean      control characters and secrets leave what was said
    decide     finished, again (here or elsewhere), or ask
    end        outcome and decision are durable: the commit point of the attempt

Then the recorder, in another thread, writes files and commits; the worker is free.

Failures: an adapter never raises for what an interface does. A disk error leaves as StorageError and ends the worker with
the attempt `starting` in the journal: recovery calls it interrupted, which is the truth.
"""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_never

from brain_daemon.adapters.tools import is_repeatable
from brain_daemon.memory.handoff import HandoffMissing
from brain_daemon.model import ids
from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import (
    Cancelled,
    Ended,
    Failed,
    FailureKind,
    Interrupted,
    Outcome,
    Reason,
    Status,
)
from brain_daemon.model.task import OnLimit
from brain_daemon.policy.admission import Hold, Shut, Slots, admit, within_reach
from brain_daemon.policy.deciding import decision
from brain_daemon.policy.resuming import resumption
from brain_daemon.policy.retry import Again, Finish, Step, after, delay_seconds, is_blameless, is_transient
from brain_daemon.policy.routing import Ranked
from brain_daemon.record.redact import clean_ended
from brain_daemon.service.brain import Brain
from brain_daemon.service.desk import Desk
from brain_daemon.service.ending import decided, unstarted
from brain_daemon.service.foresight import ESTIMATE, estimate
from brain_daemon.service.gate import Entrant, Gate
from brain_daemon.service.invoking import Invoker, not_begun
from brain_daemon.service.job import Job

_LOG = logging.getLogger("brain_daemon")
INLINE_WAIT_SECONDS = 60.0


class Worker:
    """Carries jobs through.

    `desk` writes the journal in groups, `invoker` makes the calls, `find` gives an interface's spec by name, `gate` is asked
    before each start after a job's first one, which was let in when it was claimed.
    """

    def __init__(
        self,
        brain: Brain,
        desk: Desk,
        invoker: Invoker,
        find: Callable[[str], InterfaceSpec | None],
        gate: Gate,
    ) -> None:
        self._brain = brain
        self._desk = desk
        self._invoker = invoker
        self._find = find
        self._gate = gate

    async def carry(self, job: Job) -> Step:
        """Run a job whose first attempt is `starting` in the journal until its task has ended, waits for a person, or waits long."""
        step = await self._carried(job)
        job.tried -= _logged_out(job)
        return step

    async def _carried(self, job: Job) -> Step:
        while True:
            step = await self._on_one_interface(job)
            if isinstance(step, Again) and job.cancel.is_set() and not job.stopping:
                return await self._cancelled_between(job)
            if not isinstance(step, Again) or step.name is None or job.cancel.is_set():
                return step
            job.tried.add(job.ranked.name)
            admitted = self._admitted(job)
            if isinstance(admitted, Hold):
                return Again(interface="next", why=f"{step.why}; {admitted.reason}")
            job.ranked = admitted
            job.why = f"{job.ranked.reason}; after {job.attempt.interface}: {step.why}"
            job.transient_tries = 0

    def _admitted(self, job: Job) -> Ranked | Hold:
        """The next interface in the job's reach that has room; without any the task waits in pending/ like all others."""
        on_limit = self._on_limit(job)
        reach = tuple(self.untried(job))
        if not reach:
            return Hold(reason="no other interface is left")
        self._gate.begin()
        found = admit(
            replace(job.choice, ranked=reach),
            slots=Slots(total_free=1, running=self._gate.running(), caps=self._gate.caps(one.name for one in reach)),
            now=time.time(),
            on_limit=OnLimit.FALLBACK,  # what is in reach was bounded by the task's own before
            closed=lambda ranked: self._gate.closed(job.task, ranked, job.choice, on_limit),
        )
        return found if isinstance(found, Hold) else found.ranked

    async def _cancelled_between(self, job: Job) -> Step:
        """A cancel that came while the next attempt was waited for: the task ends with an attempt that never started."""
        job.attempt = unstarted(self._next_attempt(job), Reason.CANCELLED, job.cancel_why)
        await self._desk.close(job.attempt, job.task)
        return Finish(status=Status.FAILED, reason=Reason.CANCELLED, message=job.cancel_why)

    async def _on_one_interface(self, job: Job) -> Step:
        """Attempts on the same interface for as long as policy/retry.py says so; tenacity keeps the waits between them."""
        step = await self._one_attempt(job)
        if not _again_here(step) or job.cancel.is_set():
            return step
        retrying = AsyncRetrying(
            stop=stop_never,
            retry=retry_if_result(lambda found: _again_here(found) and not job.cancel.is_set()),
            wait=_told_wait,
            sleep=lambda seconds: _pause(job, seconds),
        )
        await _pause(job, _delay(step))
        return await retrying(self._one_attempt, job)

    async def _one_attempt(self, job: Job) -> Step:
        if job.attempt.state is not AttemptState.STARTING:
            shut = self._enter_again(job)
            if shut is not None:
                return Again(interface="same", why=shut.why, delay_seconds=_until(shut))
            await self._desk.start([job.attempt])
        spec, missing = self._find(job.ranked.name), ""
        if spec is None:
            said = not_begun(FailureKind.UNAVAILABLE, f"the interface {job.ranked.name} was removed before the start")
        else:
            try:
                said = await self._invoker.invoke(job, spec)
            except HandoffMissing as error:
                missing = str(error)
                said = not_begun(FailureKind.PERMANENT, missing)
        ended = clean_ended(_as_stopped(job, said), self._invoker.redactor)
        step = _without_handoff(missing) if missing else self._decide(job, ended, spec)
        job.attempt = decided(job.attempt, ended, step)
        job.history.append(job.attempt)
        if _again_here(step):
            self._gate.tried_again(job.attempt.attempt_id)
        # Not after a failure: what that says of the interface comes before the next start there.
        job.leaving = isinstance(step, Finish) and step.status is Status.COMPLETED
        await self._desk.end(job.attempt, job.task)
        return step

    def _enter_again(self, job: Job) -> Shut | None:
        """Make the following attempt, and take what it needs; why it may not start now, and then nothing has changed."""
        before, spec = job.attempt, self._find(job.ranked.name)
        fresh = self._next_attempt(job)
        if spec is None:
            job.attempt = fresh
            return None
        entrant = Entrant(attempt=fresh, task=job.task, spec=spec)
        try:
            self._gate.begin()
            shut = self._gate.closed(job.task, job.ranked, job.choice, self._on_limit(job))
            shut = shut or self._gate.enter([entrant]).get(fresh.attempt_id)
        except StorageError as error:
            shut = Shut(why=str(error))
        job.attempt = before if shut is not None else self._gate.reserved(entrant)
        return shut

    def _on_limit(self, job: Job) -> OnLimit:
        return job.task.on_limit or OnLimit(self._brain.config.on_limit)

    def _decide(self, job: Job, ended: Ended, spec: InterfaceSpec | None) -> Step:
        """policy/retry.py; before it, transient failures are let pass while the setting allows, and work that did not pass
        its verification goes back once to the session that did it."""
        config, outcome = self._brain.config, ended.outcome
        jitter = random.random()  # noqa: S311 - jitter, no secret
        resumable = spec is not None and bool(spec.invoke.resume) and ended.client_session is not None
        if isinstance(outcome, Failed) and is_transient(outcome) and job.transient_tries < config.transient_retries:
            job.transient_tries += 1
            job.free_tries += 1
            wait = delay_seconds(outcome, job.transient_tries, jitter, now=ended.finished_at)
            return Again(interface="same", why=outcome.message, delay_seconds=wait)
        if resumable and _failed_its_check(outcome) and job.ranked.name not in job.returned:
            job.returned.add(job.ranked.name)
            job.free_tries += 1
            return Again(interface="same", why="its verification failed; the session is shown how")
        reach = self.untried(job, job.ranked.name)
        return after(
            ended,
            task=job.task,
            interface_idempotent=spec is not None and is_repeatable(spec),
            attempts_so_far=len(job.history) + 1 - job.free_tries,
            attempts_allowed=job.task.attempts or config.attempts,
            remaining=tuple(one.name for one in reach),
            blameless_so_far=sum(is_blameless(one.ended.outcome) for one in job.history if one.ended),
            jitter=jitter,
            resumable=resumable,
        )

    def untried(self, job: Job, *also: str) -> Iterator[Ranked]:
        """The interfaces the job may still go to, in order; `also` count as tried."""
        return within_reach(job.choice, on_limit=self._on_limit(job), tried={*job.tried, *also})

    def _next_attempt(self, job: Job) -> Attempt:
        """The following try of the same claim."""
        number = job.attempt.number + 1
        fresh = replace(
            job.attempt,
            attempt_id=ids.attempt_id(job.task.id, number, uuid.uuid4().hex[:8]),
            number=number,
            state=AttemptState.STARTING,
            started_at=time.time(),
            ended=None,
            decision=None,
            message="",
            resumes=None,
            resume_at=None,
            answer=None,
        )
        return self.placed(job, fresh)

    def placed(self, job: Job, attempt: Attempt) -> Attempt:
        """The attempt with what the journal says of where it runs, why, and from which earlier one it goes on."""
        spec = self._find(job.ranked.name)
        tier = job.ranked.tier.value
        self._foresee(job, spec)
        resumes_sessions = spec is not None and bool(spec.invoke.resume)
        job.resume = resumption(job.history, job.ranked.name, job.task.text, can_resume=resumes_sessions)
        why = "; ".join(filter(None, (job.why, _how_it_goes_on(job))))
        job.attempt = replace(
            attempt,
            interface=job.ranked.name,
            model=job.ranked.model,
            tier=tier,
            resumes=job.resume.workspace_of or None if job.resume else None,
            routing={
                "reason": why,
                "tier": tier,
                "rejected": dict(job.choice.rejected),
                **decision(job.choice, job.decided, proved=bool(job.task.verify)),
                **({ESTIMATE: job.estimate} if job.estimate else {}),
            },
        )
        argv = () if spec is None else self._invoker.argv(job, spec)
        return replace(job.attempt, argv=argv)

    def _foresee(self, job: Job, spec: InterfaceSpec | None) -> None:
        """Say what a long prompt may cost before it is sent: to the log, and in the notes of the result."""
        before = job.estimate
        job.estimate = "" if spec is None else estimate(self._brain, job.task, spec, job.ranked.model) or ""
        job.notes = (*(one for one in job.notes if one != before), *([job.estimate] if job.estimate else ()))
        if job.estimate and job.estimate != before:
            _LOG.info("a long prompt", extra={"action": "estimate", "task": job.task.id, "says": job.estimate})


def _as_stopped(job: Job, ended: Ended) -> Ended:
    """A cancel is the person's, or the daemon's own end: then nobody knows what the attempt had done."""
    if not isinstance(ended.outcome, Cancelled):
        return ended
    if job.stopping:
        return replace(ended, outcome=Interrupted(why="the daemon was stopped while it ran"))
    return replace(ended, outcome=Cancelled(why=job.cancel_why))


def _without_handoff(why: str) -> Finish:
    return Finish(status=Status.FAILED, reason=Reason.HANDOFF_MISSING, message=why)


def _how_it_goes_on(job: Job) -> str:
    """What the record says of where this attempt begins, if not from nothing."""
    if job.resume is None or not job.resume.workspace_of:
        return ""
    if job.resume.client_session:
        return f"goes on in the session {job.resume.client_session}"
    return "starts afresh in the same workspace"


def _until(shut: Shut) -> float:
    """Seconds to wait at an interface that is shut."""
    return INLINE_WAIT_SECONDS if shut.until is None else max(0.1, shut.until - time.time())


def _failed_its_check(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.kind is FailureKind.NOT_VERIFIED


def _again_here(step: Step) -> bool:
    return isinstance(step, Again) and step.interface == "same" and step.delay_seconds <= INLINE_WAIT_SECONDS


def _logged_out(job: Job) -> set[str]:
    """Whom the job found without a login: their breakers keep it from them, and once they are logged in again it may go there."""
    newest = {one.interface: one.ended.outcome for one in job.history if one.interface and one.ended}
    refused = ((name, outcome) for name, outcome in newest.items() if isinstance(outcome, Failed))
    return {name for name, outcome in refused if outcome.kind is FailureKind.AUTH}


def _delay(step: object) -> float:
    return step.delay_seconds if isinstance(step, Again) else 0.0


def _told_wait(state: RetryCallState) -> float:
    return _delay(state.outcome.result()) if state.outcome is not None else 0.0


async def _pause(job: Job, seconds: float) -> None:
    """Sleep, unless the job is cancelled meanwhile."""
    if seconds <= 0:
        return
    try:
        await asyncio.wait_for(job.cancel.wait(), seconds)
    except TimeoutError:
        return
