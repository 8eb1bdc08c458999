"""The daemon: hints and timers in, starts out, until told to stop.

    starting -> running <-> paused, then draining -> stopped

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
from collections import Counter, deque
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any

from brain_daemon.adapters.base import Adapter
from brain_daemon.adapters.command import CommandAdapter
from brain_daemon.adapters.registry import run_check
from brain_daemon.adapters.tool import ToolAdapter
from brain_daemon.model.attempt import Attempt
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import BrainError, Damaged, Occupied, StorageError
from brain_daemon.model.interface import InterfaceSpec, InvokeKind
from brain_daemon.model.outcome import Reason, Status
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.retry import Again, Ask, Finish
from brain_daemon.service import inquiries, leases
from brain_daemon.service.agents import in_flight
from brain_daemon.service.asker import Asker
from brain_daemon.service.board import BoardWriter
from brain_daemon.service.brain import Brain
from brain_daemon.service.claiming import Claimer, Closed
from brain_daemon.service.desk import Desk
from brain_daemon.service.dispatch import Dispatch, Fail, Go
from brain_daemon.service.intake import Intake, vocabulary
from brain_daemon.service.meter import Meter
from brain_daemon.service.pruning import prune
from brain_daemon.service.recording import RecorderThread
from brain_daemon.service.startup import Orphan, Recovery
from brain_daemon.service.worker import Job, Worker
from brain_daemon.store import control
from brain_daemon.store.locks import BrainLock, claims
from brain_daemon.store.watch import Folder, Hint, Watch

_LOG = logging.getLogger("brain_daemon")
_HINTS_A_TICK = 400
_SCANNED_A_TICK = 2_000
_DISK_PAUSE_SECONDS = 5.0
_PRUNE_SECONDS = 60.0
_CLAIM_SECONDS = 1.0


class State(StrEnum):
    """Where the daemon stands, as `brain status` shows it."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"


class Supervisor:
    """One daemon on one brain. `once` works through what is there and ends."""

    def __init__(self, brain: Brain, *, once: bool = False) -> None:
        self._brain = brain
        self._once = once
        self._lock = BrainLock(brain.layout, brain.files)
        self._state = State.STARTING
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hints: deque[tuple[Hint, str]] = deque()
        self._failed = 0
        self._scan_due = 0.0
        self._scan_now = True
        self._interfaces_due = 0.0
        self._drain_until: float | None = None
        self._disk_fault: str | None = None
        self._disk_due = 0.0
        self._checking: set[str] = set()
        self._table_fault = ""
        self._prune_due = 0.0
        self._orphans: list[asyncio.Task[None]] = []
        self._crash: Exception | None = None
        self._requests_due = True

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
        self._set_state(State.STARTING)
        control.discard_all(brain.layout, brain.files)
        self._registry = brain.registry()
        redactor = brain.redactor(self._registry)
        recovery = Recovery(brain, self._find)
        recovered = await asyncio.to_thread(recovery.run)
        self._intake = Intake(brain, redactor)
        today = time.strftime("%Y-%m-%d", time.gmtime())
        self._meter = Meter(map(CostRow.from_values, brain.journal.outcomes(day=today)))
        self._dispatch = Dispatch(brain.config, self._intake, self._registry, self._meter)
        self._recorder = RecorderThread(
            brain.layout,
            lambda: brain.recorder(self._registry, lambda: self._state.value),
            brain.config.group_seconds,
            brain.config.group_size,
            self._wake_soon,
        )
        self._asker = Asker(brain.journal, self._registry, self._intake, self._dispatch, self._recorder.wake)
        self._use(self._read_table())
        self._intake.running = self._jobs
        self._intake.look_again()
        self._adapters: dict[InvokeKind, Adapter] = {
            InvokeKind.TOOL: ToolAdapter(brain.files),
            InvokeKind.COMMAND: CommandAdapter(brain.files),
        }
        self._desk = Desk(brain.journal, self._on_end)
        self._worker = Worker(brain, self._desk, self._adapters, redactor, self._find, self._meter.started)
        self._claimer = Claimer(brain, self._intake, self._worker)
        self._board = BoardWriter(brain, self._intake, self._dispatch)
        self._recorder.start()
        self._recorder.wake()
        self._watch_folders()
        self._catch_signals()
        self._adopt(recovery, recovered.orphans)
        self._set_state(State.PAUSED if brain.journal.get("paused") == "yes" else State.RUNNING)
        _LOG.info(
            "the daemon runs",
            extra={"action": "start", "watching": self._watch.kind, "repaired": len(recovered.repairs)},
        )

    def _watch_folders(self) -> None:
        layout = self._brain.layout
        folders = (
            Folder(layout.tasks, recursive=True),
            Folder(layout.interfaces),
            Folder(layout.context),
            Folder(layout.prompts),
            Folder(layout.control),
        )
        self._watch = Watch(folders, self._on_event)
        self._watch.start(self._brain.files, layout.pending)

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop_.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        """The first one drains, a second one interrupts what still runs."""
        if self._state is State.DRAINING:
            self._interrupt_all()
        else:
            self._drain()

    def _adopt(self, recovery: Recovery, orphans: tuple[Orphan, ...]) -> None:
        for orphan in orphans:
            self._intake.active[orphan.attempt.task_id.casefold()] = "active"
            self._orphans.append(self._spawn(self._await_orphan(recovery, orphan)))

    async def _await_orphan(self, recovery: Recovery, orphan: Orphan) -> None:
        await recovery.wait_for(orphan)
        self._intake.active.pop(orphan.attempt.task_id.casefold(), None)
        self._recorder.wake()
        self._scan_now = True
        self._wake.set()

    async def _close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop_.remove_signal_handler(number)
        await asyncio.to_thread(self._watch.close)
        await asyncio.to_thread(self._recorder.stop, 120.0)
        for adapter in self._adapters.values():
            if isinstance(adapter, ToolAdapter):
                adapter.close()
        try:
            self._set_state(State.STOPPED)
            self._board.write(self._state.value, self._jobs)
        except StorageError as error:
            _LOG.error("the last page of the board is not written", extra={"action": "stop", "error": str(error)})
        _LOG.info("the daemon has stopped", extra={"action": "stop"})

    def _set_state(self, state: State) -> None:
        self._state = state
        self._brain.journal.set("state", state.value)

    # the loop

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._tick()
                if self._disk_fault is not None and time.monotonic() >= self._disk_due:
                    self._disk_fault = None
                    self._board.notice("trouble")
                self._board.refresh(self._state.value, self._jobs)
            except (StorageError, Occupied, OSError) as error:
                self._disk_trouble(error)
            if self._is_over():
                return
            try:
                await asyncio.wait_for(self._wake.wait(), self._patience())
            except TimeoutError:
                continue

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._disk_due:
            return
        self._take_hints()
        if self._requests_due:
            self._take_requests()
        if now >= self._interfaces_due:
            self._look_at_interfaces()
        for name in self._intake.settle():
            self._dispatch.changed(name)
        if self._scan_now or now >= self._scan_due:
            self._scan()
        self._dispatch.due(time.time())
        if self._state is State.RUNNING and self._brain.config.enabled:
            if len(self._dispatch) and self._may_start():
                self._start_what_may()
            self._asker.withdraw_settled()
        self._finish_drain(now)

    def _patience(self) -> float:
        """Seconds until there is something to do without a hint."""
        if self._hints or self._scan_now:
            return 0.0
        now, wall = time.monotonic(), time.time()
        dues = [self._scan_due - now, self._interfaces_due - now]
        if self._intake.next_due is not None:
            dues.append(self._intake.next_due - now)
        if self._dispatch.next_due is not None:
            dues.append(self._dispatch.next_due - wall)
        if self._drain_until is not None:
            dues.append(self._drain_until - now)
        if self._board.due is not None:
            dues.append(self._board.due - now)
        if self._disk_fault is not None:
            return max(0.05, self._disk_due - now)
        return max(0.0, min(dues))

    def _is_over(self) -> bool:
        crash = self._recorder.crash or self._crash
        if crash is not None:
            raise crash
        if self._jobs or self._tasks:
            return False
        if self._state is State.DRAINING:
            return True
        if not self._once or self._hints or self._scan_now or self._recorder.busy:
            return False
        if self._intake.next_due is not None or self._checking:
            return False
        return not len(self._dispatch) or not self._may_start()

    def _may_start(self) -> bool:
        """Whether anything is started at all now."""
        return self._state is State.RUNNING and self._brain.config.enabled and not self._below_reserve()

    def _disk_trouble(self, error: BrainError | OSError) -> None:
        """Nothing new is claimed for a while; what runs goes on. Folders that somebody took away are made again.

        A journal that is gone cannot be worked without: Damaged, which ends the daemon.
        """
        layout = self._brain.layout
        if not os.path.exists(layout.journal):
            raise Damaged(
                f"the journal {layout.journal} was taken away under the running daemon. Put it back, then start again."
            )
        self._board.notice("trouble", str(error))
        try:
            for folder in layout.folders():
                self._brain.files.make_folder(folder)
        except (StorageError, OSError):
            pass  # said below; the next look tries again
        if str(error) != self._disk_fault:
            _LOG.error("nothing can be claimed for now", extra={"action": "disk", "error": str(error)})
        self._disk_fault = str(error)
        self._disk_due = time.monotonic() + _DISK_PAUSE_SECONDS

    # hints

    def _on_event(self, hint: Hint, path: str) -> None:
        """Called in watchdog's threads: most events are our own moves and end here."""
        folder = os.path.dirname(path)
        layout = self._brain.layout
        if (
            hint is Hint.OVERFLOW
            or folder in (layout.pending, layout.interfaces, layout.control)
            or path in self._watched_files
        ):
            self._loop_.call_soon_threadsafe(self._note, hint, path)

    @property
    def _watched_files(self) -> tuple[str, ...]:
        layout = self._brain.layout
        return os.path.join(layout.context, "routing.md"), os.path.join(layout.prompts, "pending.md")

    def _note(self, hint: Hint, path: str) -> None:
        self._hints.append((hint, path))
        self._wake.set()

    def _wake_soon(self) -> None:
        self._loop_.call_soon_threadsafe(self._wake.set)

    def _take_hints(self) -> None:
        layout = self._brain.layout
        for _ in range(min(len(self._hints), _HINTS_A_TICK)):
            hint, path = self._hints.popleft()
            folder, name = os.path.split(path)
            if hint is Hint.OVERFLOW:
                self._scan_now = True
            elif folder == layout.pending:
                self._take_pending(hint, name)
            elif folder == layout.interfaces or name == "routing.md":
                self._interfaces_due = 0.0
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
        found = 0
        for name in self._intake.scan(_SCANNED_A_TICK):
            self._dispatch.changed(name)
            found += 1
        self._scan_now = found >= _SCANNED_A_TICK
        self._requests_due = self._asker.due = True
        self._take_answers()
        self._scan_due = time.monotonic() + self._brain.config.scan_seconds
        self._look_at_agents()
        if time.monotonic() >= self._prune_due:
            self._prune_due = time.monotonic() + _PRUNE_SECONDS
            self._spawn(self._prune())

    def _look_at_agents(self) -> None:
        """What agents hold, so that nothing of that name or against it starts here; and whose lease has run out."""
        over = {*self._jobs, *self._brain.journal.finishing()}
        held = {key: named for key, named in in_flight(self._brain).items() if key not in over}
        gone = self._intake.active.keys() - held.keys() - self._jobs.keys()
        self._intake.active = dict.fromkeys((*held, *self._jobs), "active")
        self._dispatch.conflicts = {k: named for k, named in self._dispatch.conflicts.items() if k in self._jobs} | held
        for key in gone:
            self._dispatch.task_ended(key)
        lapses = leases.expired(self._brain, self._find)
        self._board.notice("leases", *(f"{lapse.task_id}: {lapse.message}" for lapse in lapses))

    async def _prune(self) -> None:
        await asyncio.to_thread(prune, self._brain)

    def _take_answers(self) -> None:
        """Act on the boxes a person has ticked, perhaps while no daemon ran."""
        for choice in self._claimer.ticked_answers():
            if choice.key == "approve":
                self._interfaces_due = 0.0
            self._recorder.wake()

    # interfaces

    def _find(self, name: str) -> InterfaceSpec | None:
        entry = self._registry.entries.get(name)
        return None if entry is None else entry.spec

    def _read_table(self) -> RoutingTable:
        """The person's table; a faulty file leaves the built-in one in force and is said on the board."""
        table, fault = self._brain.routing_table()
        if fault and fault != self._table_fault:
            _LOG.warning("context/routing.md is not used", extra={"action": "routing", "error": fault})
        self._table_fault = fault
        return table

    def _look_at_interfaces(self) -> None:
        """Read tools/interfaces/ and context/routing.md again; run the checks that have not been run."""
        self._registry.undecided = False
        changed = self._registry.scan()
        # An interface may have come with a secret, and a secret may have been renewed.
        self._intake.redactor = self._worker.redactor = self._brain.redactor(self._registry)
        table = self._read_table()
        if changed or table != self._dispatch.table:
            self._use(table)
            self._asker.due = True
            self._recorder.wake()
        for spec in self._registry.unchecked():
            if spec.sha256 not in self._checking:
                self._checking.add(spec.sha256)
                self._spawn(self._check(spec))
        pause = 0.05 if self._registry.undecided else self._brain.config.scan_seconds
        self._interfaces_due = time.monotonic() + pause

    async def _check(self, spec: InterfaceSpec) -> None:
        fault = await asyncio.to_thread(run_check, spec, self._brain.config.environment)
        self._registry.note_check(spec, fault)
        self._checking.discard(spec.sha256)
        self._interfaces_due = 0.0
        self._wake.set()

    def _use(self, table: RoutingTable) -> None:
        """Other interfaces or another table: choices, the words that tasks may use, and questions follow."""
        self._intake.vocabulary = vocabulary(self._registry, table)
        self._dispatch.interfaces_changed(table)
        self._asker.about_interfaces()

    # starting

    def _start_what_may(self) -> None:
        free = self._brain.config.parallel - len(self._jobs)
        picks = self._dispatch.pick(free, Counter(job.ranked.name for job in self._jobs.values()))
        if self._brain.config.on_no_interface == "fail":
            self._fail_those_nobody_can_do()
        self._asker.about_held()
        if not picks:
            return
        jobs, ended = self._take(picks)
        for attempt, task in ended:
            self._spawn(self._close_unstarted(attempt, task))
        if jobs:
            for job in jobs:
                self._jobs[job.task.id.casefold()] = job
                spec = self._find(job.ranked.name)
                if spec is not None:
                    self._meter.started(spec)
            self._spawn(self._begin(jobs))

    def _take(self, picks: list[Go | Fail]) -> tuple[list[Job], list[Closed]]:
        """Claim what was picked; what the disk or another claimer did not let be claimed is queued again."""
        taken: tuple[list[Job], list[Closed]] = ([], [])
        try:
            with claims(self._brain.layout, _CLAIM_SECONDS):
                taken = self._claimer.take(picks)
        finally:
            for pick in picks:
                if pick.pending.name in self._intake.tasks:
                    self._dispatch.changed(pick.pending.name)
        return taken

    async def _begin(self, jobs: list[Job]) -> None:
        """One durable write for all starts of this tick, then each goes its way; without it none has started."""
        try:
            await self._desk.start([job.attempt for job in jobs])
        except Exception as error:  # noqa: BLE001 - whatever it is, none of these has started
            for job in jobs:
                self._jobs.pop(job.task.id.casefold(), None)
                self._take_back(job.attempt)
            if not isinstance(error, StorageError):
                self._crash = error
                return
            self._disk_trouble(error)
            return
        for job in jobs:
            self._spawn(self._carry(job))

    async def _close_unstarted(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """Make the end of a task that never started durable."""
        try:
            await self._desk.close(attempt, task)
        except StorageError as error:
            self._disk_trouble(error)
            self._take_back(attempt)
        else:
            self._left_active(attempt.task_id)

    def _take_back(self, attempt: Attempt) -> None:
        """A claimed task that has not started returns to pending/."""
        self._claimer.give_back(attempt)
        self._left_active(attempt.task_id)
        self._scan_now = True

    def _left_active(self, task_id: str) -> None:
        """A task is worked on no more: whoever waits for it is looked at again."""
        self._intake.active.pop(task_id.casefold(), None)
        self._dispatch.task_ended(task_id)
        self._scan_now = self._scan_now or bool(self._intake.blocked)
        self._wake.set()

    async def _carry(self, job: Job) -> None:
        key = job.task.id.casefold()
        try:
            step = await self._worker.carry(job)
            self._after(job, step)
        except BrainError as error:
            _LOG.error("a worker ended early", extra={"action": "worker", "task": job.task.id, "error": str(error)})
        finally:
            self._jobs.pop(key, None)
            self._left_active(job.task.id)

    def _after(self, job: Job, step: Finish | Again | Ask) -> None:
        match step:
            case Again(delay_seconds=delay):
                self._dispatch.pauses[job.task.id.casefold()] = time.time() + delay
                self._claimer.give_back(job.attempt)
                self._scan_now = True
            case Ask(question=question):
                inquiries.ask(self._brain.journal, inquiries.interrupted(job.task.id, job.attempt.attempt_id, question))
                self._recorder.wake()
            case Finish():
                return

    def _on_end(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An outcome is durable."""
        if attempt.status is Status.FAILED:
            self._failed += 1
        if attempt.status is not None:
            self._intake.ended[attempt.task_id.casefold()] = attempt.status.value
        if attempt.interface is not None and attempt.ended is not None:
            spec = self._find(attempt.interface)
            if spec is not None:
                self._meter.ended(spec, attempt.ended.usage.total_tokens)
        self._board.ended(attempt)
        self._recorder.hand_in(attempt, task)
        _LOG.info("an attempt has ended", extra=_facts(attempt))

    def _below_reserve(self) -> bool:
        """Whether free space is under the reserve: nothing new is claimed then, what runs can still be recorded."""
        status = os.statvfs(self._brain.layout.root)
        if status.f_bavail * status.f_frsize >= self._brain.config.reserve_bytes:
            self._board.notice("disk")
            return False
        self._board.notice(
            "disk", f"less than {self._brain.config.reserve_bytes} bytes are free: nothing new is claimed"
        )
        return True

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
            self._spawn(self._close_unstarted(*closed))

    # requests of other processes

    def _take_requests(self) -> None:
        self._requests_due = False
        for request in control.waiting(self._brain.layout):
            self._brain.files.remove(request.path)
            match request.verb:
                case "pause" if self._state is State.RUNNING:
                    self._brain.journal.set("paused", "yes")
                    self._set_state(State.PAUSED)
                case "resume" if self._state is State.PAUSED:
                    self._brain.journal.set("paused", "no")
                    self._set_state(State.RUNNING)
                case "drain":
                    self._drain()
                case "stop":
                    self._drain()
                    self._interrupt_all()
                case "cancel":
                    self._cancel(request.task_id or "", request.why)
                case _:
                    # A wait of its own ends for the released task only: a wake must not hammer on a limit.
                    self._dispatch.pauses.pop((request.task_id or "").casefold(), None)
                    self._look_again()

    def _look_again(self) -> None:
        """Somebody else has changed files or the journal."""
        self._intake.look_again()
        self._interfaces_due = 0.0
        self._scan_now = True
        self._recorder.wake()
        for name in list(self._dispatch.held):
            self._intake.forget(name)
            self._dispatch.changed(name)

    def _cancel(self, task_id: str, why: str) -> None:
        job = self._jobs.get(task_id.casefold())
        if job is None:
            self._look_again()
            return
        job.cancel_why = why or job.cancel_why
        job.cancel.set()

    def _drain(self) -> None:
        """Start nothing more; end when what runs has ended, or interrupt it at the deadline."""
        if self._state is not State.DRAINING:
            self._set_state(State.DRAINING)
            self._drain_until = time.monotonic() + self._brain.config.drain_seconds
            for waiting in self._orphans:
                waiting.cancel()  # a dead daemon's programs go on; the next start waits for them again
            self._wake.set()

    def _finish_drain(self, now: float) -> None:
        if self._drain_until is not None and now >= self._drain_until:
            self._interrupt_all()

    def _interrupt_all(self) -> None:
        self._drain_until = None
        self._desk.give_up()
        for job in self._jobs.values():
            job.stopping = True
            job.cancel.set()

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
