"""Pending tasks that can never run as things stand: a handoff from nowhere, a circle. Each has a while in which another file may help it.

Policy says what is a doubt and how long it may stand (policy/readiness.py); here is kept since when it does. After a restart it
counts anew, which costs nothing.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from brain_daemon.model.outcome import Reason
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.readiness import DependencyFailed, Doubt, Ready, Wait, circle_words, ready
from brain_daemon.service.intake import Intake, PendingTask

_FORGOTTEN_SECONDS = 60.0
"""A doubt is looked at again when its time is over; one that was not looked at for so long was that of a file which has gone."""

_CIRCLE = "a circle"


class Doubts:
    """The doubts about the tasks in one picture of pending/."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._since: dict[str, tuple[str, float]] = {}

    def ready(
        self, task: TaskSpec, now: float, statuses: Mapping[str, str], conflicts: Mapping[str, Any]
    ) -> Ready | Wait | DependencyFailed | Doubt:
        """policy/readiness.py with what the pool and the queue know. `conflicts` are those of the tasks that are active."""
        return ready(
            task,
            now=now,
            statuses=statuses,
            active_ids=conflicts.keys(),
            conflicts=conflicts,
            in_pool=self._intake.in_pool,
            circle=self._intake.circle,
        )

    def until(self, pending: PendingTask, doubt: Doubt, now: float) -> float:
        """When the doubt ends the task (epoch seconds); it counts anew where it is another one."""
        kind = doubt.missing or _CIRCLE
        known = self._since.get(pending.name)
        if known is None or known[0] != kind or now - known[1] > _FORGOTTEN_SECONDS:
            self._forget_gone(now)
            known = self._since[pending.name] = (kind, now)
        return doubt.until(known[1])

    def spread(self, task: TaskSpec, now: float) -> Iterator[tuple[str, Doubt]]:
        """The files of those in the circle of this task that did not know of it yet, each with its own way round; their time ends with its."""
        ring = self._intake.circle(task)[:-1]
        for at, one in enumerate(self._intake.in_circle(task), 1):
            if self._since.get(one.name, ("", 0.0))[0] != _CIRCLE:
                told = Doubt(reason=circle_words((*ring[at:], *ring[: at + 1])))
                self.until(one, told, now)
                yield one.name, told

    def resolved(self, name: str) -> None:
        """There is none about this file."""
        self._since.pop(name, None)

    def __bool__(self) -> bool:
        """Whether a task is held that fails by itself before long."""
        self._forget_gone(time.time())
        return bool(self._since)

    def _forget_gone(self, now: float) -> None:
        self._since = {
            name: one
            for name, one in self._since.items()
            if name in self._intake.tasks and now - one[1] <= _FORGOTTEN_SECONDS
        }


def why_ended(doubt: Doubt) -> Reason:
    """The reason under which a task fails whose doubt has stood for too long."""
    return Reason.DEPENDENCY_FAILED if doubt.missing is None else Reason.HANDOFF_MISSING
