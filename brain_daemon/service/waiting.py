"""Waiting for one task to end: beside a running daemon, or by working through the queue here where none runs.

Where this process works itself, it stops taking tasks as soon as the awaited one has ended. Failures: what keeps the task
from ending is an answer (`Unended`), never an error.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.model.errors import Occupied
from brain_daemon.policy.resuming import is_parked, is_waiting
from brain_daemon.service.brain import Brain
from brain_daemon.service.daemon_log import logging_to
from brain_daemon.service.results import Recorded, read_recorded
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.store import control
from brain_daemon.store.journal import TaskRecord
from brain_daemon.store.locks import running_daemon

__all__ = ["Awaited", "Note", "Recorded", "Unended", "ended", "read_recorded", "standing", "wait_for"]

_LOOK_SECONDS = 0.1
_DAEMON_SECONDS = 1.0

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A task that was dropped: the id and bytes' hash it was dropped with, and when (epoch seconds)."""

    task_id: str
    name: str
    sha256: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unended:
    """The task waits for something that waiting here does not bring."""

    why: str


def wait_for(brain: Brain, awaited: Awaited, note: Note) -> TaskRecord | Unended:
    """Return when the task has ended or nothing here can end it; `note` hears where it stands, in a few words."""
    while True:
        record = ended(brain, awaited)
        if record is not None:
            return record
        if running_daemon(brain.layout) is not None:
            _beside_the_daemon(brain, awaited, note)
            continue
        if brain.journal.get("paused") == "yes":
            return Unended(why="is pending, and the brain is paused: `brain resume` lets tasks start again")
        try:
            asyncio.run(_here(brain, awaited, note))
        except Occupied:
            continue
        return ended(brain, awaited) or Unended(why=standing(brain, awaited))


def ended(brain: Brain, awaited: Awaited) -> TaskRecord | None:
    """The end of this very task: an earlier one of the same id does not count, a re-run under a numbered id does."""
    record = brain.journal.ended_task(awaited.task_id)
    if record is None:
        return None
    if (record.finished_at or 0.0) >= awaited.since:
        return record
    rerun = f"{awaited.task_id}-".casefold()
    recent = (one for one in brain.journal.ended_tasks(1000) if (one.finished_at or 0.0) >= awaited.since)
    return next(
        (one for one in recent if one.sha256 == awaited.sha256 and one.task_id.casefold().startswith(rerun)), None
    )


def standing(brain: Brain, awaited: Awaited) -> str:
    """Where the task stands, in a few words."""
    attempts = brain.journal.attempts_of(awaited.task_id)
    newest = attempts[-1] if attempts else None
    if newest is not None and newest.state is AttemptState.STARTING:
        return f"runs on {newest.interface}"
    if newest is not None and newest.state is AttemptState.CLAIMED:
        return f"is claimed by {newest.claimant}"
    if newest is not None and newest.decision is Decision.ASK and newest.ended is not None:
        return "waits for your answer: `brain questions`"
    if newest is not None and is_parked(newest):
        tells = newest.resume_at is not None or is_waiting(newest)
        return f"is parked: {newest.message.splitlines()[0]}" if tells else "is parked until you answer it"
    hold = next((hold for hold in brain.journal.holds() if hold.name == awaited.name), None)
    if hold is not None:
        return f"is held: {hold.reason}"
    if os.path.lexists(os.path.join(brain.layout.pending, awaited.name)):
        return "is pending"
    return "has left pending/"


def _beside_the_daemon(brain: Brain, awaited: Awaited, note: Note) -> None:
    until = time.monotonic() + _DAEMON_SECONDS
    while time.monotonic() < until and ended(brain, awaited) is None:
        note(standing(brain, awaited))
        time.sleep(_LOOK_SECONDS)


async def _here(brain: Brain, awaited: Awaited, note: Note) -> None:
    redactor = brain.redactor(brain.registry())
    with logging_to(brain.layout.state, brain.files, brain.config.log_bytes, redactor, None):
        running = asyncio.create_task(Supervisor(brain, once=True, whole=(awaited.name,)).run())
        asked = False
        while not running.done():
            await asyncio.wait({running}, timeout=_LOOK_SECONDS)
            note(standing(brain, awaited))
            if not asked and ended(brain, awaited) is not None:
                control.post(brain.layout, brain.files, "drain")
                asked = True
        await running
