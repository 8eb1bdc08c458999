"""context/board.md and the table of holds, written when something has changed and at most once a second."""

import os
import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from itertools import islice

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import Status
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.resuming import is_waiting
from brain_daemon.record.board import MAX_LISTED, ActiveTask, BoardView, DoneToday, HeldTask, NextTask, render
from brain_daemon.record.ledger import total
from brain_daemon.service.brain import Brain
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.foresight import Find, Foreseen
from brain_daemon.service.intake import Intake
from brain_daemon.service.job import Job
from brain_daemon.service.parking import Parking
from brain_daemon.service.snapshot import waits_until
from brain_daemon.store.journal import Hold

_EVERY_SECONDS = 1.0


class BoardWriter:
    """Writes the board of one daemon."""

    def __init__(self, brain: Brain, intake: Intake, dispatch: Dispatch, parking: Parking, find: Find) -> None:
        self._brain = brain
        self._intake = intake
        self._dispatch = dispatch
        self._parking = parking
        self._foreseen = Foreseen(brain, dispatch.choices.route, find)
        self._written_at = 0.0
        self._last: tuple[object, ...] = ()
        self._holds: tuple[Hold, ...] | None = None
        self._notices: dict[str, tuple[str, ...]] = {}
        self._midnight = 0.0
        self._done: Counter[str] = Counter()
        self._known_usd = Decimal(0)
        self.due: float | None = None

    def notice(self, about: str, *sentences: str) -> None:
        """A sentence for the board."""
        self._notices[about] = sentences

    def refresh(self, state: str, jobs: Mapping[str, Job]) -> None:
        """Write if what it would say has changed, but not twice within a second; `due` is then set (monotonic seconds)."""
        now = time.monotonic()
        if now - self._written_at < _EVERY_SECONDS:
            self.due = self._written_at + _EVERY_SECONDS
            return
        self.due = None
        signature = (
            state,
            tuple((name, job.attempt.decision) for name, job in jobs.items()),
            len(self._dispatch),
            tuple(self._dispatch.held.items()),
            tuple(one.attempt_id for one in self._parking),
            tuple(self._notices.items()),
            tuple(self._intake.declined.items()),
        )
        if signature != self._last:
            self._last = signature
            self._written_at = now
            self.write(state, jobs)

    def write(self, state: str, jobs: Mapping[str, Job]) -> None:
        held = self._held()
        self._keep_holds(held)
        between = [one for one in map(_between, jobs.values()) if one is not None]
        waiting = {one.task_id for one in between}
        active = [job for job in jobs.values() if job.task.id not in waiting]
        upcoming = [pending.task for pending in islice(self._dispatch.upcoming(), MAX_LISTED) if pending.task]
        view = BoardView(
            state=state,
            updated=time.time(),
            active=[_active(job) for job in active[:MAX_LISTED]],
            held=[
                *between[:MAX_LISTED],
                *islice(map(_parked, self._parking), MAX_LISTED),
                *map(self._held_task, held[:MAX_LISTED]),
            ],
            next=[self._next_task(task) for task in upcoming],
            active_total=len(active),
            held_total=len(held) + len(self._parking) + len(between),
            next_total=len(self._dispatch),
            done=self._today(),
            questions=len(self._brain.journal.questions()),
            notices=[sentence for sentences in self._notices.values() for sentence in sentences],
        )
        path = os.path.join(self._brain.layout.context, "board.md")
        self._brain.files.put(path, render(view), sync=False)

    def _held_task(self, hold: Hold) -> HeldTask:
        pending = self._intake.tasks.get(hold.name)
        note = "" if pending is None or pending.task is None else self._foreseen.of(pending.task)
        return HeldTask(task_id=hold.task_id, title="", why=hold.reason, until=hold.until, note=note)

    def _next_task(self, task: TaskSpec) -> NextTask:
        note = self._foreseen.of(task)
        return NextTask(task_id=task.id, title=task.title, priority=task.priority.value, task_type=task.type, note=note)

    def _held(self) -> list[Hold]:
        held = [
            Hold(task_id=self._intake.tasks[name].id, name=name, reason=held.reason, until=held.until)
            for name, held in self._dispatch.held.items()
            if name in self._intake.tasks
        ]
        declined = [
            Hold(task_id=name.removesuffix(".md"), name=name, reason=reason)
            for name, (_, reason) in self._intake.declined.items()
        ]
        return held + declined

    def _keep_holds(self, held: list[Hold]) -> None:
        """For `brain status` and `brain list`, which run in other processes."""
        holds = tuple(held)
        if holds != self._holds:
            self._brain.journal.replace_holds(holds)
            self._holds = holds

    def ended(self, attempt: Attempt) -> None:
        """Count an attempt whose outcome is durable."""
        if attempt.ended is None:
            return
        self._roll()
        self._done["completed"] += attempt.status is Status.COMPLETED
        self._done["failed"] += attempt.status is Status.FAILED
        self._done["unknown"] += attempt.ended.cost.usd is None
        self._known_usd += attempt.ended.cost.usd or Decimal(0)

    def _roll(self) -> None:
        """Begin a new count with each UTC day, from what the index knows of it."""
        if self._midnight == _midnight():
            return
        self._midnight = _midnight()
        today = time.strftime("%Y-%m-%d", time.gmtime(self._midnight))
        sums = total(map(CostRow.from_values, self._brain.journal.outcomes(day=today)))
        self._done = Counter({**self._brain.journal.ended_since(self._midnight), "unknown": sums.unknown})
        self._known_usd = sums.known_usd

    def _today(self) -> DoneToday:
        self._roll()
        return DoneToday(
            completed=self._done["completed"],
            failed=self._done["failed"],
            known_usd=self._known_usd,
            unknown_costs=self._done["unknown"],
        )


def _midnight() -> float:
    """Epoch seconds of the last midnight UTC."""
    return time.time() // 86_400 * 86_400


def _parked(attempt: Attempt) -> HeldTask:
    tells = attempt.resume_at is not None or is_waiting(attempt)
    why = f"parked: {attempt.message}" if tells else "parked: it asked you something"
    return HeldTask(task_id=attempt.task_id, title="", why=why, until=attempt.resume_at)


def _between(job: Job) -> HeldTask | None:
    """A task whose worker waits for a moment before it tries the same interface again."""
    until = waits_until(job.attempt)
    if until is None or until <= time.time():
        return None
    return HeldTask(task_id=job.task.id, title="", why=f"{job.attempt.message}; it is tried again then", until=until)


def _active(job: Job) -> ActiveTask:
    return ActiveTask(
        task_id=job.task.id,
        title=job.task.title,
        interface=job.ranked.name,
        since=job.attempt.started_at or job.attempt.claimed_at,
        note=job.estimate,
    )
