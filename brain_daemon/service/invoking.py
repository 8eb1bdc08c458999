"""The one call of an attempt: what is sent, to whom, with what limits, and what comes back with it.

    compose    the prompt, with its context
    invoke     the adapter makes the call and says how it ended
    spawned    the tasks it left become its children; a task that waits for them is not proved yet
    verify     the task's own proof, where it has one
    redact     secrets leave the raw output and the files that are kept
    asked      a question it left goes before what it says it did

Failures: an adapter never raises for what an interface does. HandoffMissing before anything is sent; a disk error leaves as
StorageError.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from brain_daemon.adapters.base import Adapter, Charged, Invocation
from brain_daemon.adapters.process import Command, run
from brain_daemon.memory.context import Composed
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceSpec, InvokeKind
from brain_daemon.model.outcome import FREE, Ended, Failed, FailureKind, Succeeded
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.charging import charged_so_far, left_of_budget
from brain_daemon.record.wording import utc
from brain_daemon.service.brain import Brain
from brain_daemon.service.children import LIST, Children, Results, waiting_words
from brain_daemon.service.job import Job
from brain_daemon.service.prompting import Prompter, prompt_tokens, sent
from brain_daemon.service.repository_changes import keep_changes, note_begin
from brain_daemon.service.spawning import Spawner
from brain_daemon.store.tokens import Tokens
from brain_daemon.workspace.asking import collect_questions
from brain_daemon.workspace.scratch import collect_out

VERIFY_OUTPUT_BYTES = 1 << 20
_RAW = ("stdout", "stderr", "response.json", "verify.stdout", "verify.stderr")
_SPEAKING = frozenset({InvokeKind.COMMAND, InvokeKind.HTTP})


class Invoker:
    """Makes the calls of one daemon. `prompter` says what is sent; `redactor` follows the secrets of now."""

    def __init__(
        self,
        brain: Brain,
        adapters: Mapping[InvokeKind, Adapter],
        redactor: Redactor,
        prompter: Prompter,
        spawner: Spawner,
        children: Children,
    ) -> None:
        self._brain = brain
        self._adapters = adapters
        self._prompter = prompter
        self._spawner = spawner
        self._children = children
        self._tokens = Tokens(brain.layout, brain.files)
        self.redactor = redactor

    def argv(self, job: Job, spec: InterfaceSpec) -> tuple[str, ...]:
        """The command line of the job's present attempt, for the journal; empty where there is none."""
        job.call = self._invocation(job, spec)
        return self._adapters[spec.invoke.kind].argv(job.call)

    async def invoke(self, job: Job, spec: InterfaceSpec) -> Ended:
        """Make the call of the job's present attempt. Raises HandoffMissing before anything is sent; StorageError."""
        composed = await self._prompter.compose(job.task, spec)
        results = await self._children.results(job, prompt_tokens(spec) // 2)
        call = job.call
        if call is None or call.attempt_id != job.attempt.attempt_id or call.interface is not spec:
            call = self._invocation(job, spec)
        invocation = replace(
            call,
            prompt=_prompt(job, composed, results),
            token=self._token(job.attempt.attempt_id),
        )
        if _lacks_workspace(job.task, invocation.workspace):
            return not_begun(
                FailureKind.PERMANENT,
                f"its workspace {invocation.workspace} is no folder: create it, or correct `workspace:`",
            )
        self._prompter.keep(invocation, composed, scratch=job.task.workspace == "scratch")
        if results is not None and job.task.workspace == "scratch":
            invocation = self._with_results(invocation, results)
        if job.task.workspace != "scratch":
            await asyncio.to_thread(note_begin, self._brain, job, invocation.workspace)
        with self._spawner.watching(job, invocation):
            ended = await self._adapters[spec.invoke.kind].invoke(invocation, job.cancel)
        ended = await self._with_children(job, invocation, ended)
        if isinstance(ended.outcome, Succeeded) and job.task.verify:
            ended = await self._verified(job.task.verify, job.cancel, invocation, ended)
        if spec.invoke.kind in _SPEAKING or job.task.verify:
            self._redact(invocation.folder, _RAW)
        ended = self._as_asked(ended, invocation)
        kept, warnings = await self._collect(job, invocation.workspace)
        return replace(ended, files=kept, warnings=(*job.notes, *composed.warnings, *ended.warnings, *warnings))

    def _with_results(self, invocation: Invocation, results: Results) -> Invocation:
        """Put what came of the children into the workspace; programs find it by a variable."""
        for name, data in results.files.items():
            self._brain.files.put(os.path.join(invocation.workspace, name), data, sync=False)
        listed = os.path.join(invocation.workspace, LIST)
        return replace(invocation, marks={**invocation.marks, "BRAIN_CHILDREN_FILE": listed})

    async def _with_children(self, job: Job, invocation: Invocation, ended: Ended) -> Ended:
        """Take up what an attempt that has ended by itself has spawned; one that waits for that has not succeeded yet."""
        if not isinstance(ended.outcome, Succeeded | Failed):
            return ended
        refused = await self._spawner.collect(job, invocation)
        ended = replace(ended, warnings=(*ended.warnings, *refused))
        waits_for = self._spawner.unreported(job) if job.task.wait_for_children else ()
        if not (waits_for and isinstance(ended.outcome, Succeeded)):
            return ended
        return replace(ended, outcome=Failed(kind=FailureKind.WAITING, message=waiting_words(waits_for)))

    def _as_asked(self, ended: Ended, invocation: Invocation) -> Ended:
        """What it wants to know of a person goes before what it says it did; a cancel and a deadline go before both."""
        if not isinstance(ended.outcome, Succeeded | Failed):
            return ended
        owner = None if invocation.task.workspace == "scratch" else invocation.attempt_id
        question = collect_questions(self._brain.files, invocation.workspace, owner)
        return replace(ended, outcome=Failed(kind=FailureKind.ASKED, message=question)) if question else ended

    async def _collect(self, job: Job, workspace: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is in a scratch workspace's out/, without secrets, and what is to be said of it; a person's own folder is left alone,
        and what was changed in its repository is noted."""
        if job.task.workspace != "scratch":
            return await asyncio.to_thread(keep_changes, self._brain, job, workspace, self.redactor)
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
            budget_usd=self._left(job),
        )

    def _left(self, job: Job) -> Decimal | None:
        """What the call may cost: what the task's children have been granted is theirs."""
        left = left_of_budget(job.task.budget_usd, job.history)
        return None if left is None else max(Decimal(0), left - self._spawner.granted_usd(job.task.id))

    def _token(self, attempt_id: str) -> str:
        """The attempt's proof of itself; a disk that does not let its key be made costs the agent `brain memory add`, no more."""
        try:
            return self._tokens.of(attempt_id)
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

    def _redact(self, folder: str, names: Iterable[str]) -> list[str]:
        """Take the secrets out of these files, as far as they exist; the names of those that had one."""
        found = []
        for name in names:
            path = os.path.join(folder, name)
            try:
                if not os.stat(path).st_size:
                    continue
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


def _prompt(job: Job, composed: Composed, results: Results | None) -> str:
    """What is sent, with what came of the children behind what the task itself is told."""
    if results is None:
        return sent(job.task, composed, job.resume)
    if job.resume is None:
        return composed.prompt_text.rstrip("\n") + results.text
    resume = replace(job.resume, prompt=job.resume.prompt.rstrip("\n") + results.text)
    return sent(job.task, composed, resume)


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


def not_begun(kind: FailureKind, message: str) -> Ended:
    """The end of an attempt whose call was never made, now."""
    now = time.time()
    return Ended(
        outcome=Failed(kind=kind, message=message), started_at=now, finished_at=now, duration_seconds=0.0, cost=FREE
    )
