"""A person's word on a result: kept in logs/ratings/DAY.jsonl, committed with the next group, and heard by routing.

A rating is about the attempt that ended the task. Refused where the task has not ended or nobody worked on it; Transient if
others write the file all the time.
"""

import os
import time
from functools import partial

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Refused, Transient
from brain_daemon.record import ratings
from brain_daemon.record.ratings import Rating
from brain_daemon.record.wording import utc
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.store.reading import read_regular

_TRIES = 20
_MAX_WHY_LENGTH = 500


def rate(brain: Brain, task_id: str, *, good: bool, why: str = "") -> tuple[Rating, str]:
    """Keep what a person says of a task's result; the rating, and the interface it is about."""
    place = actions.find(brain, task_id)
    if place.state not in ("completed", "failed"):
        raise Refused(f"rating {task_id}: it has not ended yet. `brain list` shows where it stands.")
    attempt_id, interface = _ended_by(brain, place.task_id)
    text = brain.redactor(brain.registry()).text(clean_line(why, _MAX_WHY_LENGTH))
    given = ratings.rating(place.task_id, attempt_id, good, text, time.time())
    _keep(brain, given)
    actions.settle(brain)
    return given, interface


def _ended_by(brain: Brain, task_id: str) -> tuple[str, str]:
    """The attempt that ended the task, and who made it."""
    for values in reversed(brain.journal.rows_of(task_id)):
        if values[6] is not None:
            return str(values[2]), str(values[6])
    raise Refused(f"rating {task_id}: no interface has worked on it, so there is nothing to rate.")


def _keep(brain: Brain, given: Rating) -> None:
    path = brain.layout.inside("logs", "ratings", f"{utc(time.time())[:10]}.jsonl")
    for _ in range(_TRIES):
        existing = read_regular(path)
        if brain.files.put_if(path, ratings.append(existing, given), partial(_holds, path, existing)):
            return
    raise Transient(f"rating {given.task_id}: {path} is being written all the time. Rate it again.")


def _holds(path: str, data: bytes) -> bool:
    return os.path.lexists(path) == bool(data) and read_regular(path) == data
