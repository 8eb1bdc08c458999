"""What a recorded task says about its outcome: the `result:` block, the heading, the text below it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brain_daemon.model.attempt import Attempt, outcome_word
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.cost_row import CostRow, Why
from brain_daemon.model.interface import Tier
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
    Usage,
)
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.wording import duration, utc

_NEXT_STEP = {
    Reason.MALFORMED: "Correct the file and drop it into pending/ again.",
    Reason.TIMED_OUT: "Give it more time with `timeout:` in the front matter, then `brain retry {id}`.",
    Reason.DEPENDENCY_FAILED: "`brain retry` the task it waits for, then `brain retry {id}`.",
    Reason.AUTH: "Log in to the interface or renew its key (`brain interfaces check`), then `brain retry {id}`.",
    Reason.CANCELLED: "`brain retry {id}` runs it again.",
    Reason.INTERRUPTED: "Look at what it may have done, then `brain retry {id}` runs it again.",
    Reason.NO_INTERFACE: "Register an interface that can do it in tools/interfaces/, then `brain retry {id}`.",
}
KEPT_OUT = "its text seems to contain a secret: this file is not committed"
_ANY_STEP = "`brain retry {id}` runs it again; `brain show {id}` has the details."


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is added to a task: the block of facts, the heading and the text below it."""

    values: dict[str, Any]
    heading: str
    text: str


def cost_row(attempt: Attempt, task: TaskSpec | None, account: str | None) -> CostRow:
    """The ledger's row of an ended attempt; an attempt that did not end its task counts as failed."""
    ended = _ended(attempt)
    usage = ended.usage
    return CostRow(
        timestamp=utc(ended.finished_at),
        task_id=attempt.task_id,
        attempt_id=attempt.attempt_id,
        attempt=attempt.number,
        status=attempt.status or Status.FAILED,
        reason=_finer_reason(attempt, ended.outcome),
        interface=attempt.interface,
        account=account,
        tier=None if attempt.tier is None else Tier(attempt.tier),
        model=ended.model or attempt.model,
        task_type=None if task is None else task.type,
        mode=attempt.mode,
        chain_id=attempt.lineage.chain or (task.chain if task else None),
        parent_id=attempt.lineage.parent or (task.parent if task else None),
        session_id=attempt.lineage.session or (task.session if task else None) or ended.client_session,
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=ended.cost.usd,
        cost_basis=ended.cost.basis,
        duration_seconds=ended.duration_seconds,
        overhead_seconds=max(0.0, (attempt.started_at or ended.started_at) - attempt.claimed_at),
    )


def part(
    attempt: Attempt,
    task: TaskSpec | None,
    earlier: Sequence[Attempt],
    files: Sequence[str],
    warnings: Sequence[str],
    children: Sequence[str] = (),
) -> Part:
    """The part of a task's final attempt; `earlier` are its attempts before, `files` what was kept beside it, `children` the tasks
    it has spawned: others that come to hang below it are not known yet."""
    ended = _ended(attempt)
    values: dict[str, Any] = {
        "status": (attempt.status or Status.FAILED).value,
        "reason": attempt.reason.value if attempt.reason else None,
        "interface": attempt.interface,
        "model": ended.model or attempt.model,
        "attempt": attempt.number,
        "attempt_id": attempt.attempt_id,
        "started": utc(ended.started_at),
        "finished": utc(ended.finished_at),
        "duration_seconds": round(ended.duration_seconds, 3),
        "usage": _usage(ended.usage),
        "cost_usd": ended.cost.usd,
        "cost_basis": ended.cost.basis.value,
        "client_session": ended.client_session,
        "mode": attempt.mode.value,
        "origin": attempt.origin,
        "name": attempt.name if attempt.name != f"{attempt.task_id}.md" else None,
        "chain": attempt.lineage.chain or (task.chain if task else None),
        "parent": attempt.lineage.parent or (task.parent if task else None),
        "children": list(children),
        "depth": attempt.lineage.depth or None,
        "session": attempt.lineage.session or (task.session if task else None),
        "files": list(files),
        "routing": dict(attempt.routing) if attempt.routing else None,
        "attempts": [_earlier(one) for one in earlier],
        "warnings": [clean_line(text, 500) for text in (*(task.warnings if task else ()), *ended.warnings, *warnings)],
        "survivors": list(ended.survivors),
    }
    kept = {key: value for key, value in values.items() if value not in (None, [], {}, "") or key == "cost_usd"}
    if attempt.status is Status.COMPLETED:
        return Part(values=kept, heading="Result", text=ended.text)
    return Part(values=kept, heading="Error", text=_error_text(attempt, ended))


def _ended(attempt: Attempt) -> Ended:
    if attempt.ended is None:
        raise ValueError(f"{attempt.attempt_id} has not ended")
    return attempt.ended


def _finer_reason(attempt: Attempt, outcome: Outcome) -> Why | None:
    """The interface's own kind of no where it says more than the task's reason does."""
    match outcome:
        case Failed(kind=kind) if attempt.reason in (None, Reason.TOOL_FAILED) and kind is not FailureKind.PERMANENT:
            return kind
        case Failed():
            return attempt.reason or Reason.TOOL_FAILED
        case TimedOut():
            return Reason.TIMED_OUT
        case Cancelled():
            return Reason.CANCELLED
        case Interrupted():
            return Reason.INTERRUPTED
        case Succeeded():
            return attempt.reason


def _usage(usage: Usage) -> Mapping[str, Any]:
    values = {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "requests": usage.requests,
    }
    told: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    return {**told, "estimated": True} if usage.estimated and told else told


def _earlier(attempt: Attempt) -> Mapping[str, Any]:
    values: dict[str, Any] = {"attempt": attempt.number, "interface": attempt.interface, "ended": "released"}
    if attempt.ended is not None:
        values["ended"] = ended_word(attempt.ended.outcome)
        values["why"] = clean_line(outcome_message(attempt.ended.outcome), 300) or None
        values["cost_usd"] = attempt.ended.cost.usd
    return {key: value for key, value in values.items() if value is not None}


def ended_word(outcome: Outcome) -> str:
    """How an attempt ended, for people: one that ended in order to wait for its children or for an answer has not failed."""
    kind = outcome.kind if isinstance(outcome, Failed) else None
    if kind is FailureKind.WAITING:
        return "waited"
    return "asked" if kind is FailureKind.ASKED else outcome_word(outcome)


def outcome_message(outcome: Outcome) -> str:
    """What is to be said of an outcome in one sentence; nothing of a success."""
    match outcome:
        case Failed(message=message):
            return message
        case TimedOut(inactive=True):
            return f"it said nothing for {duration(outcome.after_seconds)}"
        case TimedOut():
            return f"it did not end within {duration(outcome.after_seconds)}"
        case Cancelled(why=why) | Interrupted(why=why):
            return why
        case Succeeded():
            return ""


def _error_text(attempt: Attempt, ended: Ended) -> str:
    message = attempt.message or outcome_message(ended.outcome) or "It failed without saying why."
    reason = attempt.reason or Reason.TOOL_FAILED
    lines = [message.rstrip(), "", _NEXT_STEP.get(reason, _ANY_STEP).format(id=attempt.task_id)]
    if ended.survivors:
        lines += ["", "Still running, and could not be ended:", *(f"- {one}" for one in ended.survivors)]
    said = ended.text.strip()
    if said and said not in message:
        lines += ["", "What it had said so far:", "", said]
    return "\n".join(lines)
