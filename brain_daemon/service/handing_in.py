"""What pulling agents hand in: a result, or that they could not do it.

The outcome is durable in the journal, then recorded like any other. What comes late counts unless somebody has begun the
task anew or its text is another one by now; then it is kept beside the task, and the agent is told so.

Failures: Refused says where the text is kept and what would be possible instead.
"""

import asyncio
import hashlib
import os
import time
import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal

from brain_daemon.adapters.prices import cost_of
from brain_daemon.adapters.process import Command, run
from brain_daemon.model.attempt import Attempt, AttemptState, outcome_word
from brain_daemon.model.cleaning import clean_text
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.ids import ATTEMPT_ID, attempt_id, slug
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import (
    UNKNOWN_COST,
    Cost,
    CostBasis,
    Ended,
    Failed,
    FailureKind,
    Outcome,
    Reason,
    Status,
    Succeeded,
    Usage,
)
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.retry import Again, Finish, Step, after, is_blameless
from brain_daemon.record.committing import Change, CommitPlan, Committer, Owed
from brain_daemon.record.redact import clean_ended
from brain_daemon.service import actions, inquiries
from brain_daemon.service.agents import RESERVED
from brain_daemon.service.brain import Brain
from brain_daemon.service.ending import decided
from brain_daemon.service.intake import original_of
from brain_daemon.store.locks import claims, recording
from brain_daemon.store.queue import Queue
from brain_daemon.workspace.scratch import collect_out

_VERIFY_OUTPUT_BYTES = 1 << 20
_SHOWN_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an agent says of its work; tokens and dollars where it knows them."""

    text: str
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    session: str | None = None


def complete(brain: Brain, wanted: str, report: Report, *, folder: str, agent: str | None = None) -> str:
    """Hand in the result of a claimed task; a sentence on what became of it. `wanted` is a task's or an attempt's id.

    The task's `verify` line must exit 0, in the task's own folder or else in `folder`; where it does not, the task stays claimed.
    Refused where the result no longer counts; its text is kept then, and the message says where.
    """
    try:
        attempt = attempt_of(brain, wanted, agent, "completing")
    except Refused as error:
        raise Refused(f"{error} {_keep_unplaced(brain, wanted, report.text)}") from None
    if attempt.state in (AttemptState.CLAIMED, AttemptState.RELEASED):
        _verify(brain, attempt, folder)
        ended = _ended(brain, attempt, Succeeded(text=report.text), report)
        with claims(brain.layout):
            counting = _still_counting(brain, attempt)
            if isinstance(counting, Attempt):
                brain.journal.end([decided(counting, ended, Finish(status=Status.COMPLETED))])
    else:
        counting = no_longer(attempt)
    if isinstance(counting, str):
        raise Refused(f"completing {attempt.task_id}: {counting} {_keep_late(brain, attempt, report.text)}")
    return _settled(brain, counting, "completed")


def fail(
    brain: Brain, wanted: str, why: str, kind: FailureKind = FailureKind.PERMANENT, agent: str | None = None
) -> str:
    """Say that a claimed task could not be done; a sentence on what became of it."""
    attempt = attempt_of(brain, wanted, agent, "failing")
    with claims(brain.layout):
        attempt = brain.journal.attempt(attempt.attempt_id) or attempt
        if attempt.state is not AttemptState.CLAIMED:
            raise Refused(f"failing {wanted}: {no_longer(attempt)} Nothing was changed.")
        ended = _ended(brain, attempt, Failed(kind=kind, message=why), Report(text=""))
        step = _after(brain, attempt, ended)
        brain.journal.end([decided(attempt, ended, step)])
        if isinstance(step, Again):
            Queue(brain.layout, brain.files, brain.config.task_bytes).give_back(attempt.task_id, attempt.name)
    return _settled(brain, attempt, "back in pending/ for another try" if isinstance(step, Again) else "failed")


def _settled(brain: Brain, attempt: Attempt, what: str) -> str:
    inquiries.withdraw_about(brain.journal, attempt.task_id)
    owed = actions.settle(brain)
    return f"{attempt.task_id}: {what}" + ("" if owed is None else f"; its commit is owed ({owed})")


def attempt_of(brain: Brain, wanted: str, agent: str | None, doing: str) -> Attempt:
    """The attempt an agent means: by its own id, or the newest that an agent (this one, where named) has of the task."""
    named = brain.journal.attempt(wanted) if ATTEMPT_ID.fullmatch(wanted) else None
    attempts = [named] if named is not None else brain.journal.attempts_of(wanted)
    theirs = [one for one in attempts if one.claimant not in RESERVED and agent in (None, one.claimant)]
    if not theirs:
        if named is None:
            actions.find(brain, wanted)
        who = f"{agent} has not" if agent else "no agent has"
        raise Refused(f"{doing} {wanted}: {who} claimed it. `brain claim` takes a task.")
    unended = [one for one in theirs if one.ended is None]
    if len({one.claimant for one in unended}) > 1:
        known = ", ".join(f"{one.attempt_id} by {one.claimant}" for one in unended)
        raise Refused(
            f"{doing} {wanted}: several agents have claimed it ({known}). Say which claim: give its id, or --as NAME."
        )
    return (unended or theirs)[-1]


def no_longer(attempt: Attempt) -> str:
    if attempt.state is AttemptState.RELEASED:
        return f"the claim {attempt.attempt_id} was given back."
    how = "in its recording" if attempt.ended is None else outcome_word(attempt.ended.outcome)
    return f"the claim {attempt.attempt_id} has ended already ({how})."


def _ended(brain: Brain, attempt: Attempt, outcome: Outcome, report: Report) -> Ended:
    """The attempt's end in the words of its agent, safe to write."""
    now = time.time()
    started = attempt.started_at or attempt.claimed_at
    registry = brain.registry()
    entry = registry.entries.get(attempt.interface or "")
    kept, warnings = collect_out(brain.layout.workspace(attempt.attempt_id), brain.config.files_bytes)
    ended = Ended(
        outcome=outcome,
        started_at=started,
        finished_at=now,
        duration_seconds=max(0.0, now - started),
        usage=report.usage,
        cost=_cost(None if entry is None else entry.spec, report),
        model=report.model,
        client_session=report.session,
        text=report.text,
        files=kept,
        warnings=warnings,
    )
    return clean_ended(ended, brain.redactor(registry))


def _cost(spec: InterfaceSpec | None, report: Report) -> Cost:
    """By the interface of that name where there is one; else what the agent says, which may be nothing."""
    if spec is not None:
        return cost_of(spec, report.usage, report.cost_usd, report.model)
    return UNKNOWN_COST if report.cost_usd is None else Cost(usd=report.cost_usd, basis=CostBasis.REPORTED)


def _after(brain: Brain, attempt: Attempt, ended: Ended) -> Step:
    """policy/retry.py; other interfaces are none of the agent's affair, so there is no next one."""
    task = parse_task(attempt.name, attempt.spec)
    if not isinstance(task, TaskSpec):
        return Finish(status=Status.FAILED, reason=Reason.TOOL_FAILED)
    earlier = [one.ended.outcome for one in brain.journal.attempts_of(attempt.task_id) if one.ended is not None]
    return after(
        ended,
        task=task,
        interface_idempotent=False,
        attempts_so_far=len(earlier) + 1,
        attempts_allowed=task.attempts or brain.config.attempts,
        remaining=(),
        blameless_so_far=sum(map(is_blameless, earlier)),
    )


def _verify(brain: Brain, attempt: Attempt, folder: str) -> None:
    """The task's own proof, where it has one; Refused where it is not content: the task stays with its agent then."""
    task = parse_task(attempt.name, attempt.spec)
    if not isinstance(task, TaskSpec) or not task.verify:
        return
    place = folder if task.workspace in ("scratch", "brain") else os.path.expanduser(task.workspace)
    command = _verify_command(brain, attempt, task.verify, place)
    brain.files.make_folder(os.path.dirname(command.lock_path))
    raw = asyncio.run(run(command))
    if raw.exit_code == 0 and raw.ended_by == "itself":
        return
    said = "".join(map(_last_words, (command.stdout_path, command.stderr_path))).strip()
    how = f"exited {raw.exit_code}" if raw.ended_by == "itself" else f"was ended: {raw.ended_by}"
    told = f"its proof `{task.verify}` {how} in {place}" + (f"\n{said}\n" if said else ". ")
    clean = clean_text(brain.redactor(brain.registry()).text(told))
    raise Refused(
        f"completing {task.id}: {clean}The task stays yours: correct it and complete it again, or `brain fail` it."
    )


def _verify_command(brain: Brain, attempt: Attempt, line: str, place: str) -> Command:
    state, environment = brain.layout.attempt(attempt.attempt_id), brain.config.environment
    return Command(
        argv=("/bin/sh", "-c", line),
        env={name: environment[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in environment},
        cwd=place,
        stdin_path=None,
        stdout_path=os.path.join(state, "verify.stdout"),
        stderr_path=os.path.join(state, "verify.stderr"),
        lock_path=os.path.join(state, f"verify.{uuid.uuid4().hex[:8]}.lock"),
        attempt_id=attempt.attempt_id,
        timeout_seconds=brain.config.timeout_seconds,
        inactivity_seconds=None,
        output_limit_bytes=_VERIFY_OUTPUT_BYTES,
        grace_seconds=brain.config.grace_seconds,
    )


def _last_words(path: str) -> str:
    with open(path, "rb") as handle:
        return handle.read()[-_SHOWN_CHARACTERS:].decode("utf-8", "replace")


# late results


def _still_counting(brain: Brain, attempt: Attempt) -> Attempt | str:
    """The attempt that ends with this result, or why there is none; the caller holds the claims lock.

    It is the claim itself, or a new one where the claim was given back and nobody has begun the task since.
    """
    attempts = brain.journal.attempts_of(attempt.task_id)
    now = next(one for one in attempts if one.attempt_id == attempt.attempt_id)
    if now.state is AttemptState.CLAIMED:
        return now
    if now.state is not AttemptState.RELEASED:
        return no_longer(now)
    begun = [one for one in attempts if one.number > now.number and one.state is not AttemptState.RELEASED]
    if begun:
        return f"too late: {begun[-1].claimant} has taken the task since ({begun[-1].attempt_id})."
    return _taken_again(brain, now) or "too late: the task is not the one that was claimed any more."


def _taken_again(brain: Brain, attempt: Attempt) -> Attempt | None:
    """A new claim of a task that waits in pending/ with the same text; None if it does not."""
    try:
        place = actions.find(brain, attempt.task_id)
    except UserError:
        return None
    name = os.path.basename(place.path)
    if place.state != "pending" or place.task_id.casefold() != attempt.task_id.casefold():
        return None
    queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
    data = queue.claim(name, attempt.task_id)
    if data is None:
        return None
    spec = original_of(data)[0]
    if hashlib.sha256(spec).hexdigest() != attempt.sha256:
        queue.give_back(attempt.task_id, name)
        return None
    number = brain.journal.next_number(attempt.task_id)
    again = replace(
        attempt,
        attempt_id=attempt_id(attempt.task_id, number, uuid.uuid4().hex[:8]),
        number=number,
        state=AttemptState.CLAIMED,
        name=name,
        spec=spec,
    )
    brain.journal.add([again])
    left = brain.layout.workspace(attempt.attempt_id)
    if os.path.isdir(left):
        brain.files.move(left, brain.layout.workspace(again.attempt_id))
    return again


def _keep_late(brain: Brain, attempt: Attempt, text: str) -> str:
    """Keep a result that does not count; a sentence on where it is."""
    data = _late_bytes(brain, text)
    record = brain.journal.ended_task(attempt.task_id)
    if record is None:
        path = os.path.join(brain.layout.attempt(attempt.attempt_id), "late.md")
        _put(brain, path, data)
        return f"The task has not ended; your text is kept as {path}."
    name = f"{attempt.task_id}.files/late-{attempt.attempt_id}.md"
    path = os.path.join(brain.layout.ended(record.status), name)
    with recording(brain.layout):
        _put(brain, path, data)
        owed = _commit_late(brain, attempt, path, data)
    return f"The task has {record.status}; your text is kept as {path}{'' if owed is None else f' (its commit is owed: {owed})'}."


def _keep_unplaced(brain: Brain, wanted: str, text: str) -> str:
    """Keep a result of which it is not known whose it is; a sentence on where it is."""
    path = os.path.join(brain.layout.state, "late", f"{slug(wanted)}-{uuid.uuid4().hex[:8]}.md")
    _put(brain, path, _late_bytes(brain, text))
    return f"Your text is kept as {path}."


def _late_bytes(brain: Brain, text: str) -> bytes:
    now = time.time()
    ended = Ended(outcome=Succeeded(text=text), started_at=now, finished_at=now, duration_seconds=0.0, text=text)
    return clean_ended(ended, brain.redactor(brain.registry())).text.encode("utf-8", "replace")


def _put(brain: Brain, path: str, data: bytes) -> None:
    brain.files.make_folder(os.path.dirname(path))
    brain.files.put(path, data)


def _commit_late(brain: Brain, attempt: Attempt, path: str, data: bytes) -> str | None:
    """Why the file could not be committed now, or None."""
    if brain.repository is None:
        return None
    plan = CommitPlan(
        key=f"late.{attempt.attempt_id}",
        message=f"late result of {attempt.task_id} by {attempt.claimant}\n\nTask-Id: {attempt.task_id}\n",
        changes=(Change(path=brain.layout.relative(path), content=data),),
        when=time.time(),
    )
    answer = Committer(brain.repository, brain.layout.state).commit([plan])
    return answer.reason if isinstance(answer, Owed) else None
