"""The jobs under way: claimed together, started in one durable write, carried by a worker each, and what follows an end.

Failures: StorageError before a start gives the tasks back to pending/ and is told to `trouble`; after it, the worker
ends with its attempt `starting` in the journal. Anything else before a start ends the daemon (`crash`).
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.errors import BrainError, StorageError
from brain_daemon.model.outcome import Reason
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.resuming import is_waiting
from brain_daemon.policy.retry import Again, Ask, Finish, Park, Step
from brain_daemon.service import inquiries
from brain_daemon.service.actions import cancel_children
from brain_daemon.service.brain import Brain
from brain_daemon.service.claiming import Claimer, Closed
from brain_daemon.service.desk import Desk
from brain_daemon.service.dispatch import Dispatch, Fail, Go
from brain_daemon.service.gate import Entrant, Gate
from brain_daemon.service.intake import Intake
from brain_daemon.service.job import Job
from brain_daemon.service.parking import Parking
from brain_daemon.service.roster import Roster
from brain_daemon.service.worker import Worker
from brain_daemon.store.locks import claims

_LOG = logging.getLogger("brain_daemon")
_CLAIM_SECONDS = 1.0


class Jobs:
    """The jobs of one daemon, by casefolded task id in `running`.

    `have_begun` says that some wait for the loop to take their first step; whoever lets it resets that. `rescan` asks for a scan of
    pending/, `record` for a look at what is owed, `trouble` hears of disk errors before a start.
    """

    def __init__(
        self,
        brain: Brain,
        intake: Intake,
        dispatch: Dispatch,
        roster: Roster,
        gate: Gate,
        desk: Desk,
        worker: Worker,
        claimer: Claimer,
        parking: Parking,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        rescan: Callable[[], None],
        record: Callable[[], None],
        trouble: Callable[[BrainError], None],
    ) -> None:
        self._brain = brain
        self._intake = intake
        self._dispatch = dispatch
        self._roster = roster
        self._gate = gate
        gate.running = self.by_interface
        self._desk = desk
        self._worker = worker
        self._claimer = claimer
        self._parking = parking
        self._spawn = spawn
        self._rescan = rescan
        self._record = record
        self._trouble = trouble
        self.running: dict[str, Job] = {}
        self.crash: Exception | None = None
        self.have_begun = False

    def by_interface(self) -> Counter[str]:
        """How many run on each interface; those that are leaving have left their slots."""
        return Counter(job.ranked.name for job in self.running.values() if not job.leaving)

    def slots(self) -> tuple[int, int]:
        """How many have a slot, and how many quick ones have none."""
        at_work = [job.quick for job in self.running.values() if not job.leaving]
        return len(at_work) - sum(at_work), sum(at_work)

    def start(self, picks: Sequence[Go | Fail]) -> None:
        """Claim what was picked and set it going."""
        jobs, ended = self._take(picks)
        for attempt, task in ended:
            self.close(attempt, task)
        jobs = self._let_in(jobs)
        if not jobs:
            return
        for job in jobs:
            self.running[job.task.id.casefold()] = job
        if self._begin(jobs):
            self.have_begun = True
            for job in jobs:
                self._spawn(self._carry(job))

    def _let_in(self, jobs: list[Job]) -> list[Job]:
        """Those that have room now that it is taken for good; the others, which another brain was faster than, go back."""
        entrants = {
            job.attempt.attempt_id: Entrant(attempt=job.attempt, task=job.task, spec=spec)
            for job in jobs
            if (spec := self._roster.find(job.ranked.name)) is not None
        }
        try:
            refused = self._gate.enter(list(entrants.values()))
        except StorageError as error:
            for job in jobs:
                self._take_back(job.attempt)
            self._trouble(error)
            return []
        let_in = []
        for job in jobs:
            if job.attempt.attempt_id in refused:
                self._take_back(job.attempt)
                continue
            if job.attempt.attempt_id in entrants:
                job.attempt = self._gate.reserved(entrants[job.attempt.attempt_id])
            let_in.append(job)
        return let_in

    def close(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """A claimed task that ends without a start: its end is made durable."""
        self._spawn(self._close(attempt, task))

    def cancel(self, task_id: str, why: str) -> bool:
        """End a job; False if there is none of that task."""
        job = self.running.get(task_id.casefold())
        if job is None:
            return False
        job.cancel_why = why or job.cancel_why
        job.cancel.set()
        return True

    def interrupt(self) -> None:
        """The daemon must end: whatever runs is ended with it, and recovery asks about it."""
        self._desk.give_up()
        for job in self.running.values():
            job.stopping = True
            job.cancel.set()

    def _take(self, picks: Sequence[Go | Fail]) -> tuple[list[Job], list[Closed]]:
        """Claim what was picked; what the disk or another claimer did not let be claimed is queued again."""
        try:
            with claims(self._brain.layout, _CLAIM_SECONDS):
                return self._claimer.take(picks)
        finally:
            if self._claimer.tried:
                self._dispatch.tried |= self._claimer.tried
                self._claimer.tried.clear()
                self._rescan()
            for pick in picks:
                if pick.pending.name in self._intake.tasks:
                    self._dispatch.changed(pick.pending.name)

    def _begin(self, jobs: list[Job]) -> bool:
        """One durable write for all starts of this tick; without it none has started."""
        try:
            self._desk.start_now([job.attempt for job in jobs])
        except Exception as error:  # noqa: BLE001 - whatever it is, none of these has started
            for job in jobs:
                self.running.pop(job.task.id.casefold(), None)
                self._give_up_room(job.attempt)
                self._take_back(job.attempt)
            if isinstance(error, StorageError):
                self._trouble(error)
            else:
                self.crash = error
            return False
        return True

    def _give_up_room(self, attempt: Attempt) -> None:
        try:
            self._gate.given_back(attempt)
        except StorageError as error:
            _LOG.error("a reservation stands until the next start", extra={"action": "quota", "error": str(error)})

    async def _close(self, attempt: Attempt, task: TaskSpec | None) -> None:
        try:
            await self._desk.close(attempt, task)
        except StorageError as error:
            self._trouble(error)
            self._take_back(attempt)
        else:
            self._left_active(attempt.task_id)

    def _take_back(self, attempt: Attempt) -> None:
        """A claimed task that has not started returns to pending/."""
        self._claimer.give_back(attempt)
        self._left_active(attempt.task_id)
        self._rescan()

    def _left_active(self, task_id: str) -> None:
        """A task is worked on no more: whoever waits for it is looked at again."""
        self._intake.active.pop(task_id.casefold(), None)
        self._dispatch.task_ended(task_id)
        if self._intake.blocked:
            self._rescan()

    async def _carry(self, job: Job) -> None:
        try:
            self._after(job, await self._worker.carry(job))
        except BrainError as error:
            _LOG.error("a worker ended early", extra={"action": "worker", "task": job.task.id, "error": str(error)})
        finally:
            self.running.pop(job.task.id.casefold(), None)
            if job.task.id.casefold() not in self._parking:
                self._left_active(job.task.id)

    def _after(self, job: Job, step: Step) -> None:
        match step:
            case Again(delay_seconds=delay):
                if step.interface == "next":
                    self._dispatch.tried[job.task.id.casefold()] = frozenset(job.tried)
                self._dispatch.pauses[job.task.id.casefold()] = time.time() + delay
                self._claimer.give_back(job.attempt)
                self._rescan()
            case Ask(question=question):
                inquiries.ask(self._brain.journal, inquiries.interrupted(job.task.id, job.attempt.attempt_id, question))
                self._record()
            case Park(until=until):
                self._parking.add(job.attempt)
                if self._gate.parked(job.task, job.ranked, job.choice):
                    self._record()
                if until is None and not is_waiting(job.attempt):
                    asked = inquiries.asked(job.task.id, job.attempt.attempt_id, step.why)
                    inquiries.ask(self._brain.journal, asked)
                    self._record()
            case Finish(reason=Reason.CANCELLED):
                cancel_children(self._brain, job.task.id)
            case Finish():
                return
