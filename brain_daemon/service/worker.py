"""One task from claim to outcome, straight down the page.

    start      the journal says `starting`, durably, before the tool sees a byte
    invoke     the adapter makes the call and says how it ended
    verify     the task's own proof, where it has one
    clean      control characters and secrets leave what was said
    decide     finished, again (here or elsewhere), or ask
    end        outcome and decision are durable: the commit point of the attempt

Then the recorder, in another thread, writes files and commits; the worker is free.

Failures: an adapter never raises for what an interface does. A disk error leaves as StorageError and ends the worker with
the attempt `starting` in the journal: recovery calls it interrupted, which is the truth.
"""

import asyncio
import os
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_never

from brain_daemon.adapters.base import Adapter, Charged, Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.process import Command, run
from brain_daemon.memory.handoff import HandoffMissing
from brain_daemon.model import ids
from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceSpec, InvokeKind
from brain_daemon.model.outcome import (
    FREE,
    Cancelled,
    Ended,
    Failed,
    FailureKind,
    Interrupted,
    Outcome,
    Reason,
    Status,
    Succeeded,
)
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.policy.admission import Hold, Shut, Slots, admit, within_reach
from brain_daemon.policy.charging import charged_so_far, left_of_budget
from brain_daemon.policy.deciding import decision
from brain_daemon.policy.resuming import Resumption, resumption
from brain_daemon.policy.retry import Again, Finish, Step, after, delay_seconds, is_blameless, is_transient
from brain_daemon.policy.routing import Choice, Ranked
from brain_daemon.record.redact import clean_ended
from brain_daemon.record.wording import utc
from brain_daemon.service.brain import Brain
from brain_daemon.service.desk import Desk
from brain_daemon.service.ending import decided, unstarted
from brain_daemon.service.gate import Entrant, Gate
from brain_daemon.service.prompting import Prompter, sent
from brain_daemon.store.tokens import token_of
from brain_daemon.workspace.asking import collect_questions
from brain_daemon.workspace.scratch import collect_out

VERIFY_OUTPUT_BYTES = 1 << 20
INLINE_WAIT_SECONDS = 60.0
_RAW = ("stdout", "stderr", "response.json", "verify.stdout", "verify.stderr")
_SPEAKING = frozenset({InvokeKind.COMMAND, InvokeKind.HTTP})


@dataclass(slots=True)
class Job:
    """A claimed task under way. `ranked` is where it runs now; `cancel` ends it, `stopping` says the daemon itself ends.

    `decided` is the interface admission had chosen. `history` holds the ended attempts of this task that count, oldest first; `resume` is how the present one goes on from them.
    `free_tries` of them do not count as attempts; `returned` are the interfaces that were shown a failed verification.
    """

    task: TaskSpec
    choice: Choice
    ranked: Ranked
    why: str
    attempt: Attempt
    decided: str = ""
    notes: tuple[str, ...] = ()
    cancel: Cancel = field(default_factory=Cancel)
    cancel_why: str = "cancelled by request"
    stopping: bool = False
    tried: set[str] = field(default_factory=set)
    history: list[Attempt] = field(default_factory=list)
    resume: Resumption | None = None
    returned: set[str] = field(default_factory=set)
    transient_tries: int = 0
    free_tries: int = 0


class Worker:
    """Carries jobs through.

    `desk` writes the journal in groups, `find` gives an interface's spec by name, `gate` is asked before each start after a
    job's first one, which was let in when it was claimed. `prompter` says what is sent.
    """

    def __init__(
        self,
        brain: Brain,
        desk: Desk,
        adapters: Mapping[InvokeKind, Adapter],
        redactor: Redactor,
        find: Callable[[str], InterfaceSpec | None],
        gate: Gate,
        prompter: Prompter,
    ) -> None:
        self._brain = brain
        self._desk = desk
        self._adapters = adapters
        self.redactor = redactor
        self._find = find
        self._gate = gate
        self._prompter = prompter

    async def carry(self, job: Job) -> Step:
        """Run a job whose first attempt is `starting` in the journal until its task has ended, waits for a person, or waits long."""
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
            slots=Slots(total_free=1, running=self._gate.running(), caps=self._gate.caps),
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
            said = _unstarted(FailureKind.UNAVAILABLE, f"the interface {job.ranked.name} was removed before the start")
        else:
            try:
                said = await self._invoke(job, spec)
            except HandoffMissing as error:
                missing = str(error)
                said = _unstarted(FailureKind.PERMANENT, missing)
        ended = clean_ended(_as_stopped(job, said), self.redactor)
        step = _without_handoff(missing) if missing else self._decide(job, ended, spec)
        job.attempt = decided(job.attempt, ended, step)
        job.history.append(job.attempt)
        if _again_here(step):
            self._gate.tried_again(job.attempt.attempt_id)
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

    async def _invoke(self, job: Job, spec: InterfaceSpec) -> Ended:
        composed = await self._prompter.compose(job.task, spec)
        invocation = replace(self._invocation(job, spec), prompt=sent(job.task, composed, job.resume))
        if _lacks_workspace(job.task, invocation.workspace):
            return _unstarted(
                FailureKind.PERMANENT,
                f"its workspace {invocation.workspace} is no folder: create it, or correct `workspace:`",
            )
        self._prompter.keep(invocation, composed, scratch=job.task.workspace == "scratch")
        ended = await self._adapters[spec.invoke.kind].invoke(invocation, job.cancel)
        if isinstance(ended.outcome, Succeeded) and job.task.verify:
            ended = await self._verified(job.task.verify, job.cancel, invocation, ended)
        if spec.invoke.kind in _SPEAKING or job.task.verify:
            self._redact(invocation.folder, _RAW)
        ended = self._as_asked(ended, invocation)
        kept, warnings = self._collect(job.task, invocation.workspace)
        return replace(ended, files=kept, warnings=(*job.notes, *composed.warnings, *ended.warnings, *warnings))

    def _as_asked(self, ended: Ended, invocation: Invocation) -> Ended:
        """What it wants to know of a person goes before what it says it did; a cancel and a deadline go before both."""
        if not isinstance(ended.outcome, Succeeded | Failed):
            return ended
        owner = None if invocation.task.workspace == "scratch" else invocation.attempt_id
        question = collect_questions(self._brain.files, invocation.workspace, owner)
        return replace(ended, outcome=Failed(kind=FailureKind.ASKED, message=question)) if question else ended

    def _collect(self, task: TaskSpec, workspace: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is in a scratch workspace's out/, without secrets, and what is to be said of it; a person's own folder is left alone."""
        if task.workspace != "scratch":
            return (), ()
        collected, warnings = collect_out(workspace, self._brain.config.files_bytes)
        kept = tuple(name for name in collected if not self.redactor.find(name))
        found = self._redact(os.path.join(workspace, "out"), kept)
        said: tuple[str, ...] = (f"a secret was taken out of {', '.join(found)}",) if found else ()
        if len(kept) < len(collected):
            said += (f"{len(collected) - len(kept)} not kept, whose name holds a secret",)
        return kept, (*warnings, *said)

    def _invocation(self, job: Job, spec: InterfaceSpec) -> Invocation:
        config, task, layout = self._brain.config, job.task, self._brain.layout
        attempt_id, resume = job.attempt.attempt_id, job.resume
        scratch = task.workspace == "scratch"
        session = resume.client_session if resume else None
        used, paid = charged_so_far(job.history, session)
        timeout = task.timeout_seconds or spec.timeout_seconds or config.timeout_seconds
        return Invocation(
            attempt_id=attempt_id,
            task=task,
            interface=spec,
            prompt=task.text,
            root=layout.root,
            folder=layout.attempt(attempt_id),
            workspace=layout.workspace(job.attempt.workspace_of) if scratch else os.path.expanduser(task.workspace),
            environment=config.environment,
            timeout_seconds=timeout,
            model=job.ranked.model,
            profile=job.ranked.profile,
            inactivity_seconds=config.inactivity_seconds,
            grace_seconds=config.grace_seconds,
            output_bytes=config.output_bytes,
            client_session=session,
            charged=Charged(usage=used, cost_usd=paid),
            answer=resume.answer if resume else None,
            marks=_marks(job, layout.attempt(attempt_id), timeout),
            token=self._token(attempt_id),
            budget_usd=left_of_budget(task.budget_usd, job.history),
        )

    def _token(self, attempt_id: str) -> str:
        """The attempt's proof of itself; a disk that does not let its key be made costs the agent `brain memory add`, no more."""
        try:
            return token_of(self._brain.layout, self._brain.files, attempt_id)
        except StorageError:
            return ""

    async def _verified(self, verify: str, cancel: asyncio.Event, invocation: Invocation, ended: Ended) -> Ended:
        """The task's own proof: its `verify` line, read by sh in the workspace, must exit 0."""
        command = _verification(verify, invocation)
        raw = await run(command, cancel=cancel)
        if raw.exit_code == 0 and raw.ended_by == "itself":
            return ended
        said = "".join(_tail(path) for path in (command.stdout_path, command.stderr_path)).strip()
        message = (
            f"`{verify}` exited {raw.exit_code}"
            if raw.ended_by == "itself"
            else f"`{verify}` was ended: {raw.ended_by}"
        )
        return replace(ended, outcome=Failed(kind=FailureKind.NOT_VERIFIED, message=f"{message}\n\n{said}".strip()))

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
            interface_idempotent=spec is not None and spec.idempotent,
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
            },
        )
        argv = () if spec is None else self._adapters[spec.invoke.kind].argv(self._invocation(job, spec))
        return replace(job.attempt, argv=argv)

    def _redact(self, folder: str, names: Iterable[str]) -> list[str]:
        """Take the secrets out of these files, as far as they exist; the names of those that had one."""
        found = []
        for name in names:
            path = os.path.join(folder, name)
            try:
                with open(path, "rb") as handle:
                    data = handle.read()
            except FileNotFoundError:
                continue
            clean = self.redactor.bytes(data)
            if clean != data:
                self._brain.files.put(path, clean, sync=False)
                found.append(name)
        return found


def _verification(verify: str, invocation: Invocation) -> Command:
    folder, environment = invocation.folder, invocation.environment
    return Command(
        argv=("/bin/sh", "-c", verify),
        env={name: environment[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in environment},
        cwd=invocation.workspace,
        stdin_path=None,
        stdout_path=os.path.join(folder, "verify.stdout"),
        stderr_path=os.path.join(folder, "verify.stderr"),
        lock_path=os.path.join(folder, "verify.lock"),
        attempt_id=invocation.attempt_id,
        timeout_seconds=invocation.timeout_seconds,
        inactivity_seconds=None,
        output_limit_bytes=VERIFY_OUTPUT_BYTES,
        grace_seconds=invocation.grace_seconds,
    )


def _lacks_workspace(task: TaskSpec, workspace: str) -> bool:
    """Whether the folder a person named is not there; a scratch workspace is made."""
    return task.workspace != "scratch" and not os.path.isdir(workspace)


def _tail(path: str) -> str:
    with open(path, "rb") as handle:
        return handle.read()[-2000:].decode("utf-8", "replace")


def _as_stopped(job: Job, ended: Ended) -> Ended:
    """A cancel is the person's, or the daemon's own end: then nobody knows what the attempt had done."""
    if not isinstance(ended.outcome, Cancelled):
        return ended
    if job.stopping:
        return replace(ended, outcome=Interrupted(why="the daemon was stopped while it ran"))
    return replace(ended, outcome=Cancelled(why=job.cancel_why))


def _marks(job: Job, folder: str, timeout_seconds: float) -> dict[str, str]:
    """What an agent is told of its task, all of it short: an id has at most 200 bytes. The deadline is ISO 8601, UTC."""
    lineage = job.attempt.lineage
    named = {
        "BRAIN_CHAIN_ID": lineage.chain or job.task.id,
        "BRAIN_SESSION_ID": lineage.session or "",
        "BRAIN_CONTEXT_FILE": os.path.join(folder, "prompt.md"),
        "BRAIN_DEADLINE": utc(time.time() + timeout_seconds),
    }
    return {name: value for name, value in named.items() if value}


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
    return isinstance(step, Again) and step.name is None and step.delay_seconds <= INLINE_WAIT_SECONDS


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


def _unstarted(kind: FailureKind, message: str) -> Ended:
    now = time.time()
    return Ended(
        outcome=Failed(kind=kind, message=message), started_at=now, finished_at=now, duration_seconds=0.0, cost=FREE
    )
