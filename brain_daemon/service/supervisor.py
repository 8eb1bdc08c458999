"""The daemon: hints and timers in, starts out, until told to stop.

One event loop does everything short: looking at files, choosing, claiming, writing starts and ends. Recording and
committing have a thread of their own, programs are processes. Nothing is decided here that policy/ does not decide.

Failures: StorageError while claiming or recording stops new claims until a later look succeeds; Damaged at the start
ends the program before it has touched anything.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Collection, Coroutine
from typing import Any

from brain_daemon.adapters.base import Adapter
from brain_daemon.adapters.command import CommandAdapter
from brain_daemon.adapters.file_drop import FileDropAdapter
from brain_daemon.adapters.http import HttpAdapter
from brain_daemon.adapters.human import HumanAdapter
from brain_daemon.adapters.tokens import count
from brain_daemon.adapters.tool import ToolAdapter
from brain_daemon.model.attempt import Attempt
from brain_daemon.model.errors import Occupied, StorageError
from brain_daemon.model.interface import InterfaceSpec, InvokeKind
from brain_daemon.model.outcome import Failed, FailureKind, Outcome, Reason, Status
from brain_daemon.model.task import TaskSpec
from brain_daemon.service import actions, answering, leases
from brain_daemon.service.agents import in_flight
from brain_daemon.service.asker import Asker
from brain_daemon.service.board import BoardWriter
from brain_daemon.service.brain import Brain
from brain_daemon.service.children import Children
from brain_daemon.service.claiming import Claimer
from brain_daemon.service.desk import Desk
from brain_daemon.service.disk import DiskWatch
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.gate import Gate
from brain_daemon.service.intake import Intake, vocabulary
from brain_daemon.service.invoking import Invoker
from brain_daemon.service.jobs import Jobs
from brain_daemon.service.lifecycle import Lifecycle, State
from brain_daemon.service.lookout import Lookout
from brain_daemon.service.memory_keeper import MemoryKeeper
from brain_daemon.service.parking import Parking
from brain_daemon.service.past import Past
from brain_daemon.service.prompting import Prompter
from brain_daemon.service.pruning import prune
from brain_daemon.service.recorder_process import Forked
from brain_daemon.service.recorders import recorder_for
from brain_daemon.service.reporting import Reporter
from brain_daemon.service.roster import Roster
from brain_daemon.service.spawning import Spawner
from brain_daemon.service.startup import Orphan, Recovery
from brain_daemon.service.worker import Worker
from brain_daemon.service.workflows import Workflows
from brain_daemon.store import control
from brain_daemon.store.locks import BrainLock, claims
from brain_daemon.store.watch import Hint

_LOG = logging.getLogger("brain_daemon")
_HINTS_A_TICK = (
    64  # so many are read while about as many end: the recorder does not wait for all that is dropped to be read
)
_SCANNED_A_TICK = 1_000
_PRUNE_SECONDS = 60.0
_CLAIM_SECONDS = 1.0
_REST_SECONDS = 1.0
# Calls of quick tools that are claimed and started in one durable write.
_QUICK_TOGETHER = 32


class Supervisor:
    """One daemon on one brain. `once` works through what is there and ends.

    Of `whole` names in pending/ the caller knows that nobody writes to them any more: they need no quiet time. The process that was
    `forked` before the brain was opened, if any, records; else threads of this one do.
    """

    def __init__(
        self, brain: Brain, *, once: bool = False, whole: Collection[str] = (), forked: Forked | None = None
    ) -> None:
        self._brain = brain
        self._forked = forked
        self._once = once
        self._whole = frozenset(whole)
        self._lock = BrainLock(brain.layout, brain.files)
        self._life = Lifecycle(
            brain.journal,
            brain.config.drain_seconds,
            on_move=self._on_move,
            on_drain=self._on_drain,
            interrupt=self._interrupt,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed = 0
        self._scan_due = 0.0
        self._scan_now = True
        self._prune_due = 0.0
        self._orphans: list[asyncio.Task[None]] = []
        self._requests_due = True
        self._resting: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Until stopped, or with `once` until nothing more can be done; 1 if a task failed with `once`, else 0."""
        self._lock.acquire()
        try:
            await self._open()
            await self._loop()
            await self._close()
        finally:
            self._lock.release()
        return 1 if self._once and self._failed else 0

    # opening and closing

    async def _open(self) -> None:
        brain = self._brain
        self._loop_ = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._life.start()
        control.discard_all(brain.layout, brain.files)
        self._roster = Roster(brain, self._spawn, self._wake.set)
        registry = self._roster.registry
        redactor = brain.redactor(registry)
        recovery = Recovery(brain, self._roster.find)
        recovered = await asyncio.to_thread(recovery.run)
        self._intake = Intake(brain, redactor, self._whole)
        self._gate = Gate(brain, self._specs, self._roster.find)
        self._gate.open()
        self._roster.vouched = self._on_vouched
        self._past = Past(brain)
        self._dispatch = Dispatch(brain.config, self._intake, registry, self._gate, self._past)
        self._recorder = recorder_for(
            brain, registry, lambda: self._life.state.value, self._forked, self._wake_soon, self._on_recorded
        )
        self._asker = Asker(brain.journal, registry, self._intake, self._dispatch, self._recorder.wake)
        self._use_roster()
        self._intake.look_again()
        self._adapters: dict[InvokeKind, Adapter] = {
            InvokeKind.TOOL: ToolAdapter(brain.files),
            InvokeKind.COMMAND: CommandAdapter(brain.files),
            InvokeKind.HTTP: HttpAdapter(brain.files),
            InvokeKind.FILE_DROP: FileDropAdapter(brain.files, settle_seconds=brain.config.settle_seconds),
            InvokeKind.HUMAN: HumanAdapter(),
        }
        self._desk = Desk(brain.journal, self._on_end)
        self._desk.next_starts = self._start_the_next
        self._memory = MemoryKeeper(brain, lambda: self._jobs.running, self._recorder.keep, redactor.text)
        prompter = Prompter(brain, self._memory.pool)
        self._spawner = Spawner(brain, self._intake, self._specs, self._on_spawned)
        children = Children(brain, self._spawner, self._memory.pool, lambda text: count(text).tokens)
        self._invoker = Invoker(brain, self._adapters, redactor, prompter, self._spawner, children)
        self._worker = Worker(brain, self._desk, self._invoker, self._roster.find, self._gate)
        self._claimer = Claimer(brain, self._intake, self._worker)
        self._parking = Parking(brain, self._spawner.outstanding)
        self._parking.look()
        self._dispatch.resuming = self._parking.resuming
        self._board = BoardWriter(brain, self._intake, self._dispatch, self._parking, self._roster.find)
        self._disk = DiskWatch(brain, self._board)
        self._jobs = Jobs(
            brain,
            self._intake,
            self._dispatch,
            self._roster,
            self._gate,
            self._desk,
            self._worker,
            self._claimer,
            self._parking,
            spawn=self._spawn,
            rescan=self._rescan,
            record=self._recorder.wake,
            trouble=self._disk.trouble,
        )
        self._intake.running = self._jobs.running
        self._workflows = Workflows(brain, self._intake, self._on_end, self._left_active)
        self._memory.start_if_wanted(registry)
        self._recorder.start()
        self._recorder.wake()
        self._reporter = Reporter(brain, lambda: registry.candidates({}), self._recorder.wake)
        self._reporter.start()
        self._lookout = Lookout(brain.layout, self._loop_, self._wake.set, self._intake.knows)
        self._lookout.start(brain.files)
        self._catch_signals()
        self._adopt(recovery, recovered.orphans)
        self._life.work()
        self._show()
        _LOG.info(
            "the daemon runs",
            extra={"action": "start", "watching": self._lookout.watch.kind, "repaired": len(recovered.repairs)},
        )

    def _show(self) -> None:
        """The page that says that the daemon runs stands before anything starts."""
        try:
            self._board.write(self._life.state.value, self._jobs.running)
        except (StorageError, OSError) as error:
            self._disk.trouble(error)

    def _on_recorded(self) -> None:
        """Something is filed or committed. Runs may go on; HEAD may have moved, and is looked at while nothing waits for it."""
        self._brain.know_head()
        if self._resting is None:
            self._resting = self._loop_.call_later(_REST_SECONDS, self._rest)
        if self._recorder.crash is not None or self._workflows.are_running:
            self._wake.set()

    def _rest(self) -> None:
        """A moment after an outcome was recorded."""
        self._resting = None
        if not (self._jobs.running or len(self._dispatch) or self._lookout):
            try:
                self._dispatch.choices.rest()
            except StorageError as error:
                self._disk.trouble(error)

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop_.add_signal_handler(number, self._life.signal)

    def _adopt(self, recovery: Recovery, orphans: tuple[Orphan, ...]) -> None:
        for orphan in orphans:
            self._intake.active[orphan.attempt.task_id.casefold()] = "active"
            self._orphans.append(self._spawn(self._await_orphan(recovery, orphan)))

    async def _await_orphan(self, recovery: Recovery, orphan: Orphan) -> None:
        await recovery.wait_for(orphan)
        self._intake.active.pop(orphan.attempt.task_id.casefold(), None)
        self._gate.reconcile()
        self._recorder.wake()
        self._scan_now = True
        self._wake.set()

    async def _close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop_.remove_signal_handler(number)
        await asyncio.to_thread(self._lookout.close)
        await asyncio.to_thread(self._reporter.stop)
        await asyncio.to_thread(self._memory.stop)
        await asyncio.to_thread(self._recorder.stop, 120.0)
        for adapter in self._adapters.values():
            if isinstance(adapter, ToolAdapter):
                adapter.close()
        self._board.notice("budgets", *self._gate.warnings())
        self._gate.close()
        self._past.keep()
        try:
            self._life.end()
            self._board.write(self._life.state.value, self._jobs.running)
        except StorageError as error:
            _LOG.error("the last page of the board is not written", extra={"action": "stop", "error": str(error)})
        _LOG.info("the daemon has stopped", extra={"action": "stop"})

    # the loop

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._tick()
                if self._jobs.have_begun:
                    # Their work goes before our pages.
                    self._jobs.have_begun = False
                    await asyncio.sleep(0)
                self._disk.works()
                self._board.refresh(self._life.state.value, self._jobs.running)
            except (StorageError, Occupied, OSError) as error:
                self._disk.trouble(error)
            if not self._jobs.running:
                self._recorder.hurry()
            if self._is_over():
                return
            await self._sleep(self._patience())

    async def _sleep(self, seconds: float) -> None:
        """Until woken, at most so long. `asyncio.wait_for` takes a task of its own and three turns of the loop for the same."""
        timer = self._loop_.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _tick(self) -> None:
        now = time.monotonic()
        if self._disk.pause_seconds:
            return
        self._take_hints()
        if self._requests_due:
            self._take_requests()
        if now >= self._roster.due:
            self._look_at_interfaces()
        for name in self._intake.settle():
            self._dispatch.changed(name)
        if self._scan_now or now >= self._scan_due:
            self._scan()
        self._dispatch.due(time.time())
        self._resume_parked()
        self._advance_workflows()
        if self._life.state is State.RUNNING and self._brain.config.enabled:
            self._dispatch.slots_freed(self._jobs.by_interface)
            if len(self._dispatch) and self._may_start():
                self._start_what_may()
            self._asker.withdraw_settled()
        self._life.look(now)

    def _patience(self) -> float:
        """Seconds until there is something to do without a hint."""
        if self._lookout or self._scan_now:
            return 0.0
        now, wall = time.monotonic(), time.time()
        dues = [self._scan_due - now, self._roster.due - now]
        if self._intake.next_due is not None:
            dues.append(self._intake.next_due - now)
        if self._dispatch.next_due is not None:
            dues.append(self._dispatch.next_due - wall)
        if self._parking.next_due is not None:
            dues.append(self._parking.next_due - wall)
        if self._life.due is not None:
            dues.append(self._life.due - now)
        if self._board.due is not None:
            dues.append(self._board.due - now)
        if self._dispatch.workflows:
            dues.append(0.0)
        if self._disk.is_faulty:
            return max(0.05, self._disk.pause_seconds)
        return max(0.0, min(dues))

    def _is_over(self) -> bool:
        crash = self._recorder.crash or self._jobs.crash
        if crash is not None:
            raise crash
        if self._tasks:
            return False
        if self._life.state is State.DRAINING:
            return True
        if not self._once or self._lookout or self._scan_now or self._recorder.busy:
            return False
        if self._dispatch.workflows or self._workflows.has_work:
            return False
        if self._intake.next_due is not None or self._roster.is_checking:
            return False
        if self._dispatch.doubts and self._may_start():
            return False  # a task that can never run ends by itself in a moment
        return not len(self._dispatch) or not self._may_start()

    def _may_start(self) -> bool:
        """Whether anything is started at all now."""
        return self._life.state is State.RUNNING and self._brain.config.enabled and not self._disk.below_reserve()

    # hints

    def _wake_soon(self) -> None:
        self._loop_.call_soon_threadsafe(self._wake.set)

    def _take_hints(self) -> None:
        layout = self._brain.layout
        for hint, path in self._lookout.take(_HINTS_A_TICK):
            folder, name = os.path.split(path)
            if hint is Hint.OVERFLOW:
                self._scan_now = True
            elif folder == layout.pending:
                self._take_pending(hint, name)
            elif folder == layout.interfaces or name == "routing.md":
                self._roster.look_soon()
            elif folder == layout.control:
                self._requests_due = True
            elif folder == layout.prompts and hint is Hint.COMPLETE:
                self._take_answers()

    def _take_pending(self, hint: Hint, name: str) -> None:
        changed: str | None = None
        match hint:
            case Hint.COMPLETE:
                changed = self._intake.complete(name)
            case Hint.CHANGING:
                self._intake.changing(name)
            case Hint.GONE if os.path.lexists(os.path.join(self._brain.layout.pending, name)):
                changed = self._intake.complete(name)
            case _:
                changed = self._intake.gone(name)
        if changed is not None:
            self._dispatch.changed(changed)

    def _scan(self) -> None:
        self._lookout.renew()
        found = 0
        for name in self._intake.scan(_SCANNED_A_TICK):
            self._dispatch.changed(name)
            found += 1
        self._scan_now = found >= _SCANNED_A_TICK
        self._requests_due = self._asker.due = True
        self._workflows.look_again()
        self._take_answers()
        self._gate.begin()
        if self._gate.withdraw_settled():
            self._recorder.wake()
        self._gate.publish()
        self._board.notice("budgets", *self._gate.warnings())
        self._scan_due = time.monotonic() + self._brain.config.scan_seconds
        self._look_at_agents()
        if time.monotonic() >= self._prune_due:
            self._prune_due = time.monotonic() + _PRUNE_SECONDS
            self._spawn(self._prune())

    def _look_at_agents(self) -> None:
        """What agents hold, so that nothing of that name or against it starts here; and whose lease has run out."""
        running = self._jobs.running
        over = {*running, *self._brain.journal.finishing()}
        held = {key: named for key, named in in_flight(self._brain).items() if key not in over}
        gone = self._intake.active.keys() - held.keys() - running.keys()
        self._intake.active = dict.fromkeys((*held, *running), "active")
        self._dispatch.conflicts = {k: named for k, named in self._dispatch.conflicts.items() if k in running} | held
        for key in gone:
            self._dispatch.task_ended(key)
        lapses = leases.expired(self._brain, self._roster.find)
        self._board.notice("leases", *(f"{lapse.task_id}: {lapse.message}" for lapse in lapses))

    async def _prune(self) -> None:
        self._gate.keep_house()
        self._past.keep()
        self._spawner.keep_house()
        self._brain.rest()
        await asyncio.to_thread(prune, self._brain)
        await asyncio.to_thread(self._reporter.look)

    def _take_answers(self) -> None:
        """Act on the boxes a person has ticked, perhaps while no daemon ran."""
        for choice in answering.take(self._brain):
            if choice.key in ("approve", "check"):
                self._roster.look_soon()
            self._recorder.wake()

    # interfaces

    def _look_at_interfaces(self) -> None:
        changed = self._roster.look()
        # An interface may have come with a secret, and a secret may have been renewed.
        self._intake.redactor = self._invoker.redactor = self._brain.redactor(self._roster.registry)
        self._memory.start_if_wanted(self._roster.registry)
        self._recorder.look()
        if changed:
            self._gate.look()
            self._use_roster()
            self._asker.due = True
            self._recorder.wake()

    def _use_roster(self) -> None:
        """Other interfaces or another table: choices, the words that tasks may use, and questions follow."""
        self._intake.vocabulary = vocabulary(self._roster.registry, self._roster.table)
        self._dispatch.interfaces_changed(self._roster.table)
        self._asker.about_interfaces()

    # starting

    def _start_what_may(self) -> None:
        taken, quick = self._jobs.slots()
        picks = self._dispatch.pick(
            self._brain.config.parallel - taken, self._jobs.by_interface(), _QUICK_TOGETHER - quick
        )
        if self._brain.config.on_no_interface == "fail":
            self._fail_those_nobody_can_do()
        self._asker.about_held()
        if self._gate.ask():
            self._recorder.wake()
        self._board.notice("budgets", *self._gate.warnings())
        if picks:
            self._jobs.start(picks)

    def _start_the_next(self) -> bool:
        """Outcomes are about to be written, and their slots are free already."""
        if not len(self._dispatch) or not self._may_start():
            return False
        self._wake.set()
        return True

    def _advance_workflows(self) -> None:
        """Runs go on whenever one of their tasks has ended, also while nothing new may start."""
        taken, self._dispatch.workflows = self._dispatch.workflows, []
        self._workflows.begin(taken)
        for one in taken:
            self._dispatch.changed(one.name)
        if self._workflows.has_news:
            for name in self._workflows.advance():
                self._take_pending(Hint.COMPLETE, name)

    def _resume_parked(self) -> None:
        for attempt in self._parking.resume_due():
            self._left_active(attempt.task_id.casefold())
            self._scan_now = True

    def _left_active(self, key: str) -> None:
        self._intake.active.pop(key, None)
        self._dispatch.task_ended(key)

    def _rescan(self) -> None:
        self._scan_now = True
        self._wake.set()

    def _on_end(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An outcome is durable: whatever goes wrong in what follows from it here, it is recorded."""
        try:
            self._note_end(attempt, task)
        finally:
            self._recorder.hand_in(attempt, task)
        _LOG.info("an attempt has ended", extra=_facts(attempt))

    def _note_end(self, attempt: Attempt, task: TaskSpec | None) -> None:
        if attempt.status is Status.FAILED:
            self._failed += 1
        if attempt.status is not None:
            self._intake.ended[attempt.task_id.casefold()] = attempt.status.value
        if attempt.interface is not None and attempt.ended is not None:
            self._roster.note_outcome(attempt.interface, _kind_of(attempt.ended.outcome))
        try:
            if self._gate.ended(attempt, task):
                self._dispatch.room_changed()
        except StorageError as error:
            # The outcome stands; what it means for the limits is read from the journal and the ledger by the next start.
            _LOG.error("what an end means for the limits is not kept", extra={"action": "end", "error": str(error)})
        self._board.ended(attempt)

    def _on_vouched(self, name: str) -> None:
        """The check of an interface has passed."""
        if self._gate.vouched(name):
            self._dispatch.room_changed()
            self._wake.set()

    def _specs(self) -> list[InterfaceSpec]:
        return [entry.spec for entry in self._roster.registry.entries.values()]

    def _on_spawned(self, name: str) -> None:
        """A task has put another one into pending/."""
        self._take_pending(Hint.COMPLETE, name)
        self._wake.set()

    def _fail_those_nobody_can_do(self) -> None:
        """Only where the person set `on_no_interface = "fail"`."""
        for name, held in list(self._dispatch.held.items()):
            if held.nobody is not None and name in self._intake.tasks:
                self._close_as_nobody(name, held.reason)

    def _close_as_nobody(self, name: str, reason: str) -> None:
        pending = self._intake.tasks[name]
        with claims(self._brain.layout, _CLAIM_SECONDS):
            closed = self._claimer.close(pending, Reason.NO_INTERFACE, reason)
        self._dispatch.changed(name)
        if closed is not None:
            self._jobs.close(*closed)

    # requests of other processes

    def _take_requests(self) -> None:
        self._requests_due = False
        for request in control.waiting(self._brain.layout):
            self._brain.files.remove(request.path)
            match request.verb:
                case "pause":
                    self._life.pause()
                case "resume":
                    self._life.resume()
                case "drain":
                    self._life.drain()
                case "stop":
                    self._life.stop()
                case "cancel":
                    if not self._jobs.cancel(request.task_id or "", request.why):
                        actions.cancel_unstarted(self._brain, request.task_id or "", request.why)
                        self._look_again()
                case _:
                    # A wait of its own ends for the released task only: a wake must not hammer on a limit.
                    self._dispatch.pauses.pop((request.task_id or "").casefold(), None)
                    self._gate.look_at_releases()
                    self._look_again()

    def _look_again(self) -> None:
        """Somebody else has changed files or the journal."""
        self._intake.look_again()
        self._workflows.look_again()
        for key in self._parking.look():
            self._left_active(key)
        self._roster.look_soon()
        self._scan_now = True
        self._recorder.wake()
        for name in list(self._dispatch.held):
            self._intake.forget(name)
            self._dispatch.changed(name)

    def _on_move(self) -> None:
        self._recorder.look()

    def _interrupt(self) -> None:
        self._jobs.interrupt()

    def _on_drain(self) -> None:
        for waiting in self._orphans:
            waiting.cancel()  # a dead daemon's programs go on; the next start waits for them again
        self._wake.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop_.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("a part of the daemon failed", exc_info=task.exception(), extra={"action": "fault"})
        self._wake.set()


def _kind_of(outcome: Outcome) -> FailureKind | None:
    """The kind of failure; None for anything that says nothing against the interface."""
    return outcome.kind if isinstance(outcome, Failed) else None


def _facts(attempt: Attempt) -> dict[str, object]:
    """An ended attempt for the log."""
    ended = attempt.ended
    return {
        "action": "ended",
        "task": attempt.task_id,
        "status": attempt.status.value if attempt.status else f"to be tried again or asked about: {attempt.decision}",
        "reason": attempt.reason.value if attempt.reason else None,
        "interface": attempt.interface,
        "seconds": round(ended.duration_seconds, 3) if ended else None,
    }
