"""Requests as tasks: handed in, and what became of them: their answers into the session, and where the others stand.

Nothing here waits (service/waiting.py does), so a task that was handed in may go on in the daemon without whoever asked.

Failures: UserError where text and options make no task. A result that cannot be read is said in the answer's text; it stops nothing.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from brain_daemon.model.errors import StorageError
from brain_daemon.model.outcome import Mode
from brain_daemon.model.session import Waiting
from brain_daemon.service import actions, composing
from brain_daemon.service.brain import Brain
from brain_daemon.service.directing import task_of
from brain_daemon.service.requests import Asked
from brain_daemon.service.sessions import Answer, Sitting
from brain_daemon.service.waiting import Awaited, ended, read_recorded, standing
from brain_daemon.store.journal import TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """The task that a request became: its place, the hash of its bytes, and when it was dropped (epoch seconds)."""

    place: actions.Place
    sha256: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A request that a session waits for: its answer, or where it stands in a few words."""

    waiting: Waiting
    answer: Answer | None
    stands: str


def hand_in(brain: Brain, asked: Asked, session_id: str, more: Mapping[str, object] | None = None) -> HandedIn:
    """The request as a task in pending/, in its session. UserError where text and options make no task."""
    task_of(brain, asked.text, "the request")
    task_id = composing.id_for(asked.text) or actions.new_id()
    ours = {"session": session_id, "mode": Mode.REQUEST.value, **(more or {})}
    whole = composing.compose(task_id, asked.text, {**asked.front_matter, **ours})
    task = task_of(brain, whole, "the request with these options")
    since = time.time()
    return HandedIn(place=actions.submit(brain, whole, task_id), sha256=task.sha256, since=since)


def awaited(handed: HandedIn) -> Awaited:
    """What to wait for."""
    return Awaited(
        task_id=handed.place.task_id,
        name=os.path.basename(handed.place.path),
        sha256=handed.sha256,
        since=handed.since,
    )


def answer_now(brain: Brain, handed: HandedIn) -> Answer | None:
    """The answer if the task has ended."""
    record = ended(brain, awaited(handed))
    return None if record is None else answer_of(brain, record)


def answer_of(brain: Brain, record: TaskRecord) -> Answer:
    """What an ended task says."""
    result = record.status if record.status == "completed" else f"{record.status}: {record.reason or 'unknown'}"
    try:
        recorded = read_recorded(brain, record)
    except StorageError as error:
        return Answer(task_id=record.task_id, agent="", result=result, text=str(error))
    return Answer(
        task_id=record.task_id,
        agent=str(recorded.values.get("interface") or ""),
        result=result,
        text=recorded.text,
        files=tuple(map(str, recorded.values.get("files") or ())),
    )


def collect(brain: Brain, sitting: Sitting) -> list[Standing]:
    """Each request the session waits for; those that have ended meanwhile are noted and wait no more."""
    return [_collected(brain, sitting, waiting) for waiting in sitting.session.work_queue]


def _collected(brain: Brain, sitting: Sitting, waiting: Waiting) -> Standing:
    record = brain.journal.ended_task(waiting.task_id)
    if record is None:
        where = Awaited(task_id=waiting.task_id, name=f"{waiting.task_id}.md", sha256="", since=0.0)
        return Standing(waiting=waiting, answer=None, stands=standing(brain, where))
    answer = answer_of(brain, record)
    sitting.answered(waiting.request_hash, answer, "it ended while nobody waited")
    return Standing(waiting=waiting, answer=answer, stands=answer.result)
