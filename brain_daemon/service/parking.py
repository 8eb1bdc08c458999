"""Parked tasks: each waits in active/ until a time, for a person's answer or for its children, then passes through pending/ to its
next attempt.

The journal is the record of what is parked; this is the picture of it in one daemon. Other processes answer, release and
cancel: `look` finds out. Failures: StorageError where the disk does not let a file move; it is tried again.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator

from brain_daemon.model.attempt import Attempt
from brain_daemon.policy.resuming import is_parked, is_waiting, session_of
from brain_daemon.service.brain import Brain
from brain_daemon.store.queue import Queue


class Parking:
    """The parked attempts of one brain, by casefolded task id. `resuming` says for a task where it was at work.

    `outstanding` names the children of a task that have not ended.
    """

    def __init__(self, brain: Brain, outstanding: Callable[[str], Collection[str]]) -> None:
        self._brain = brain
        self._outstanding = outstanding
        self._queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
        self._parked: dict[str, Attempt] = {}
        self.resuming: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def __contains__(self, key: str) -> bool:
        return key in self._parked

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._parked.values())

    @property
    def next_due(self) -> float | None:
        """Epoch seconds of the next one that resumes by itself."""
        return min((one.resume_at for one in self if one.resume_at is not None), default=None)

    def add(self, attempt: Attempt) -> None:
        """An attempt has ended parked, and that is durable."""
        self._parked[attempt.task_id.casefold()] = attempt

    def look(self) -> list[str]:
        """Read the journal again; the casefolded ids of tasks that are parked no more."""
        newest = {one.task_id.casefold(): one for one in self._brain.journal.newest_attempts()}
        parked = {key: one for key, one in newest.items() if is_parked(one) and self._has_file(one)}
        gone = [key for key in self._parked if key not in parked]
        for key, one in newest.items():
            if key not in parked and one.interface and (is_parked(one) or session_of(one)):
                self.resuming[key] = one.interface
        self._parked = parked
        return gone

    def resume_due(self) -> list[Attempt]:
        """Give back to pending/ what has waited long enough or has its answer; the attempts it goes on from."""
        now = time.time()
        due = [one for one in self if self._is_due(one, now)]
        for one in due:
            key = one.task_id.casefold()
            # First, so that no start takes the file in pending/ for one that active/ has lost.
            self._brain.journal.allow_again(one.attempt_id)
            self._queue.give_back(one.task_id, one.name)
            del self._parked[key]
            if one.interface:
                self.resuming[key] = one.interface
        return due

    def _is_due(self, one: Attempt, now: float) -> bool:
        if is_waiting(one):
            return not self._outstanding(one.task_id)
        return one.answer is not None or (one.resume_at is not None and one.resume_at <= now)

    def _has_file(self, attempt: Attempt) -> bool:
        return os.path.lexists(self._queue.active_path(attempt.task_id))
