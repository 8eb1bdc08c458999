"""One try at a task, as the journal keeps it, and the text form of how it ended."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, assert_never

from brain_daemon.model.outcome import (
    Cancelled,
    Cost,
    CostBasis,
    Ended,
    Failed,
    FailureKind,
    Interrupted,
    Mode,
    Outcome,
    QuotaReport,
    Reason,
    Status,
    Succeeded,
    TimedOut,
    Usage,
)


class AttemptState(StrEnum):
    """Where an attempt stands; each line is the event that leads there.

    claimed    an agent that pulls its work took the task               pending -> active
    starting   the daemon is about to start it: durable before the tool sees a byte
    ended      its outcome is durable: the commit point of the attempt
    recorded   result, ledger, usage and the move are in the files
    committed  git has it
    released   given back without an outcome                           active -> pending
    """

    CLAIMED = "claimed"
    STARTING = "starting"
    ENDED = "ended"
    RECORDED = "recorded"
    COMMITTED = "committed"
    RELEASED = "released"


class Decision(StrEnum):
    """What follows an ended attempt: the task has ended, is tried again, waits for a person, waits in active/ to go on."""

    FINISH = "finish"
    AGAIN = "again"
    ASK = "ask"
    PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a task stands among those it belongs to. `depth` counts the parents above it; a task without one is a root."""

    chain: str | None = None
    parent: str | None = None
    depth: int = 0
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A row of the journal. Instants are epoch seconds; `spec` holds the task's original bytes until git has them.

    `resumes` is the attempt whose workspace this one works in. A parked one has `resume_at`, or waits for an `answer`.
    """

    attempt_id: str
    task_id: str
    number: int
    state: AttemptState
    name: str
    sha256: str
    spec: bytes
    claimant: str
    claimed_at: float
    lease_until: float | None = None
    origin: str | None = None
    interface: str | None = None
    model: str | None = None
    tier: str | None = None
    routing: Mapping[str, Any] | None = None
    argv: tuple[str, ...] = ()
    mode: Mode = Mode.DAEMON
    started_at: float | None = None
    ended: Ended | None = None
    decision: Decision | None = None
    status: Status | None = None
    reason: Reason | None = None
    message: str = ""
    resumes: str | None = None
    resume_at: float | None = None
    answer: str | None = None
    lineage: Lineage = field(default_factory=Lineage)

    @property
    def workspace_of(self) -> str:
        """The attempt whose scratch workspace this one uses: its own, or that of the first one it goes on from."""
        return self.resumes or self.attempt_id

    def finished(
        self,
        ended: Ended,
        decision: Decision,
        status: Status | None,
        reason: Reason | None,
        message: str,
        resume_at: float | None = None,
    ) -> "Attempt":
        """The same attempt with its outcome and what follows."""
        return replace(
            self,
            state=AttemptState.ENDED,
            ended=ended,
            decision=decision,
            status=status,
            reason=reason,
            message=message,
            resume_at=resume_at,
        )


def outcome_word(outcome: Outcome) -> str:
    """The one word under which an outcome is stored and shown."""
    match outcome:
        case Succeeded():
            return "succeeded"
        case Failed():
            return "failed"
        case TimedOut():
            return "timed_out"
        case Cancelled():
            return "cancelled"
        case Interrupted():
            return "interrupted"
        case _:
            assert_never(outcome)


def encode_ended(ended: Ended) -> str:
    """JSON text of an ended attempt; `decode_ended` gives back an equal value."""
    return json.dumps(
        {
            "outcome": _encode_outcome(ended.outcome),
            "started_at": ended.started_at,
            "finished_at": ended.finished_at,
            "duration_seconds": ended.duration_seconds,
            "usage": [
                ended.usage.input_tokens,
                ended.usage.cached_input_tokens,
                ended.usage.output_tokens,
                ended.usage.reasoning_tokens,
                ended.usage.requests,
                ended.usage.estimated,
            ],
            "cost": [None if ended.cost.usd is None else str(ended.cost.usd), ended.cost.basis.value],
            "model": ended.model,
            "client_session": ended.client_session,
            "text": ended.text,
            "files": ended.files,
            "survivors": ended.survivors,
            "warnings": ended.warnings,
            **({"reports": [_encode_report(one) for one in ended.reports]} if ended.reports else {}),
        },
        ensure_ascii=True,
    )


def decode_ended(text: str) -> Ended:
    """The value behind `encode_ended`; ValueError or KeyError on anything else."""
    data = json.loads(text)
    used = data["usage"]
    usd, basis = data["cost"]
    return Ended(
        outcome=_decode_outcome(data["outcome"]),
        started_at=data["started_at"],
        finished_at=data["finished_at"],
        duration_seconds=data["duration_seconds"],
        usage=Usage(
            input_tokens=used[0],
            cached_input_tokens=used[1],
            output_tokens=used[2],
            reasoning_tokens=used[3],
            requests=used[4],
            estimated=used[5],
        ),
        cost=Cost(usd=None if usd is None else Decimal(usd), basis=CostBasis(basis)),
        model=data["model"],
        client_session=data["client_session"],
        text=data["text"],
        files=tuple(data["files"]),
        survivors=tuple(data["survivors"]),
        warnings=tuple(data["warnings"]),
        reports=tuple(_decode_report(one) for one in data.get("reports", ())),
    )


def _encode_report(report: QuotaReport) -> list[Any]:
    used, limit = (None if amount is None else str(amount) for amount in (report.used, report.limit))
    return [report.name, report.utilisation, used, limit, report.resets_at]


def _decode_report(values: list[Any]) -> QuotaReport:
    name, utilisation, used, limit, resets_at = values
    return QuotaReport(
        name=name,
        utilisation=utilisation,
        used=None if used is None else Decimal(used),
        limit=None if limit is None else Decimal(limit),
        resets_at=resets_at,
    )


def _encode_outcome(outcome: Outcome) -> dict[str, Any]:
    word = outcome_word(outcome)
    match outcome:
        case Succeeded(text=text):
            return {"is": word, "text": text}
        case Failed():
            return {
                "is": word,
                "kind": outcome.kind.value,
                "message": outcome.message,
                "retry_after_seconds": outcome.retry_after_seconds,
                "resets_at": outcome.resets_at,
            }
        case TimedOut():
            return {"is": word, "after_seconds": outcome.after_seconds, "inactive": outcome.inactive}
        case Cancelled(why=why) | Interrupted(why=why):
            return {"is": word, "why": why}
        case _:
            assert_never(outcome)


def _decode_outcome(data: Mapping[str, Any]) -> Outcome:
    match data["is"]:
        case "succeeded":
            return Succeeded(text=data["text"])
        case "failed":
            return Failed(
                kind=FailureKind(data["kind"]),
                message=data["message"],
                retry_after_seconds=data["retry_after_seconds"],
                resets_at=data["resets_at"],
            )
        case "timed_out":
            return TimedOut(after_seconds=data["after_seconds"], inactive=data["inactive"])
        case "cancelled":
            return Cancelled(why=data["why"])
        case "interrupted":
            return Interrupted(why=data["why"])
        case word:
            raise ValueError(f"no outcome is called {word!r}")
