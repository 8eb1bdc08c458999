"""What a start does before it opens for work: look at active/ and the journal, and repair what a crash left.

The decisions are policy/recovery.py's; this module looks and acts. Each action can be cut short and done again: the next
start finds the same question or a smaller one.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from brain_daemon.adapters import survivors
from brain_daemon.adapters.remains import session_in
from brain_daemon.adapters.tools import is_repeatable
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import Damaged
from brain_daemon.model.ids import attempt_id
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import UNKNOWN_COST, Ended, Interrupted
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.recovery import AwaitEnd, DropTwin, Found, GiveBack, Interrupt, Leave, Repair, Restore, repair
from brain_daemon.policy.resuming import is_parked, is_waiting
from brain_daemon.policy.retry import Again, Ask, Step, after, is_blameless
from brain_daemon.service import delivery, inquiries
from brain_daemon.service.brain import Brain
from brain_daemon.service.ended import EndedStatuses
from brain_daemon.service.ending import decided
from brain_daemon.service.intake import original_of
from brain_daemon.service.recorded_folders import RecordedFolders
from brain_daemon.service.reindexing import ledger_rows
from brain_daemon.store.journal import TaskRecord
from brain_daemon.store.locks import claims
from brain_daemon.store.queue import Queue, Seen, look, names

_HELD = frozenset({AttemptState.CLAIMED, AttemptState.STARTING, AttemptState.ENDED})
_ASKED_ONE_BY_ONE = 1_000
_LOG = logging.getLogger("brain_daemon")
_UNKNOWN_TOKEN = "00000000"  # noqa: S105 - the random part of an attempt's id, and here there was none


@dataclass(frozen=True, slots=True)
class Orphan:
    """An attempt of a dead daemon whose processes still live; `deadline` is epoch seconds."""

    attempt: Attempt
    lock_path: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a start found: repairs by task id, and the orphans to wait for."""

    repairs: dict[str, Repair]
    orphans: tuple[Orphan, ...]


class Recovery:
    """Looks and repairs, once, while the brain's lock is held and nothing runs yet."""

    def __init__(self, brain: Brain, find: Callable[[str], InterfaceSpec | None]) -> None:
        self._brain = brain
        self._find = find
        self._queue = Queue(brain.layout, brain.files, brain.config.task_bytes)

    def run(self) -> Recovered:
        self._queue.sweep_temporaries(at_start=True)
        self.remember_recorded()
        # An agent that has just moved its file has it on record only when it lets go of this lock.
        with claims(self._brain.layout):
            delivery.finish(self._brain)
            recovered = self._repair_all()
        self._ask_again()
        return recovered

    def _ask_again(self) -> None:
        """An end that waits for a person is durable a moment before its question is."""
        for one in self._brain.journal.newest_attempts():
            if one.decision is Decision.ASK:
                question = inquiries.interrupted(one.task_id, one.attempt_id, one.message)
            elif is_parked(one) and one.resume_at is None and one.answer is None and not is_waiting(one):
                question = inquiries.asked(one.task_id, one.attempt_id, one.message)
            else:
                continue
            inquiries.ask(self._brain.journal, question)

    def _repair_all(self) -> Recovered:
        newest = {attempt.task_id.casefold(): attempt for attempt in self._brain.journal.newest_attempts()}
        for one in newest.values():
            if one.state in _HELD and one.decision is not Decision.AGAIN:
                self._take_again(one)
        active = {task_id.casefold(): task_id for task_id in self._queue.active_ids()}
        pending = self._pending_names(active.values()) if active else {}
        repairs: dict[str, Repair] = {}
        orphans: list[Orphan] = []
        for key in {**active, **newest}:
            attempt = newest.get(key)
            task_id = active.get(key) or (attempt.task_id if attempt else key)
            step = repair(self._look(task_id, key in active, attempt, pending))
            repairs[task_id] = step
            self._do(task_id, step, attempt, orphans)
        return Recovered(repairs, tuple(orphans))

    def _take_again(self, attempt: Attempt) -> None:
        """Repeat a claim that lost power has undone: its start may be durable before its rename is. The same bytes under the
        same name are that file, and must not run a second time."""
        seen = look(self._brain.layout.pending, attempt.name, self._brain.config.task_bytes)
        data = seen.data if isinstance(seen, Seen) else None
        if data is None or hashlib.sha256(original_of(data)[0]).hexdigest() != attempt.sha256:
            return
        if os.path.lexists(self._queue.active_path(attempt.task_id)):
            self._brain.files.remove(os.path.join(self._brain.layout.pending, attempt.name))
        else:
            self._queue.claim(attempt.name, attempt.task_id)

    def remember_recorded(self) -> None:
        """Tasks that ended on another machine or before this journal: their files are the record."""
        journal, layout = self._brain.journal, self._brain.layout
        folders = RecordedFolders(layout, journal)
        found = {os.path.basename(path).removesuffix(".md"): (status, path) for status, path in folders.paths()}
        known = journal.ended_statuses() if len(found) > _ASKED_ONE_BY_ONE else EndedStatuses(journal, {})
        fresh = [
            TaskRecord(task_id=task_id, status=status, path=layout.relative(path))
            for task_id, (status, path) in found.items()
            if task_id.casefold() not in known
        ]
        if fresh:
            journal.remember_ended(fresh)
            self._remember_rows()
        folders.keep()

    def _remember_rows(self) -> None:
        """A clone, or a journal begun anew: what was spent stands in the ledger's text, and budgets and history ask the index."""
        journal = self._brain.journal
        if journal.newest_outcome() > 0:
            return
        try:
            journal.add_outcomes([row.to_values() for row in ledger_rows(self._brain.layout)])
        except Damaged as error:
            _LOG.error("the ledger is not in the index", extra={"action": "start", "error": str(error)})

    def _pending_names(self, active: Iterable[str]) -> dict[str, list[str]]:
        """sha256 -> the names in pending/ with these bytes, of files that are as large as one of the `active` tasks."""
        sizes = {status.st_size for one in active if (status := _status(self._queue.active_path(one))) is not None}
        found: dict[str, list[str]] = {}
        for name in names(self._brain.layout.pending):
            status = _status(os.path.join(self._brain.layout.pending, name))
            if status is None or status.st_size not in sizes:
                continue
            seen = look(self._brain.layout.pending, name, self._brain.config.task_bytes)
            if isinstance(seen, Seen) and seen.data is not None:
                found.setdefault(hashlib.sha256(seen.data).hexdigest(), []).append(name)
        return found

    def _twin(self, task_id: str, active: os.stat_result, same: list[str]) -> str | None:
        """The name in pending/ that is this active file: one inode under two names, where a rename takes two steps; or
        the same bytes under the same id, brought back by git. Two tasks of a person with the same text are no twins."""
        pending = self._brain.layout.pending
        if active.st_nlink > 1:
            return next(
                (n for n in names(pending) if os.path.samestat(os.lstat(os.path.join(pending, n)), active)), None
            )
        for name in same:
            seen = look(pending, name, self._brain.config.task_bytes)
            data = seen.data if isinstance(seen, Seen) else None
            if data is not None and parse_task(name, data).id.casefold() == task_id.casefold():
                return name
        return None

    def _look(self, task_id: str, has_file: bool, attempt: Attempt | None, pending: dict[str, list[str]]) -> Found:
        sha256 = since = twin = None
        path = self._queue.active_path(task_id)
        status = _status(path) if has_file else None
        if status is not None:
            seen = look(self._brain.layout.active, os.path.basename(path), self._brain.config.task_bytes)
            sha256 = hashlib.sha256(seen.data).hexdigest() if isinstance(seen, Seen) and seen.data is not None else ""
            since = status.st_ctime
            twin = self._twin(task_id, status, pending.get(sha256, []))
        starting = attempt is not None and attempt.state is AttemptState.STARTING
        return Found(
            task_id=task_id,
            active_sha256=sha256,
            active_since=since,
            journal_born=self._brain.journal.born,
            state=attempt.state if attempt else None,
            decision=attempt.decision if attempt else None,
            alive=starting
            and attempt is not None
            and survivors.alive(attempt.attempt_id, self._lock_path(attempt)).any,
            twin=twin,
        )

    def _lock_path(self, attempt: Attempt) -> str:
        return os.path.join(self._brain.layout.attempt(attempt.attempt_id), "lock")

    def _do(self, task_id: str, step: Repair, attempt: Attempt | None, orphans: list[Orphan]) -> None:
        match step:
            case Leave():
                return
            case GiveBack():
                self._queue.give_back(task_id, attempt.name if attempt else f"{task_id}.md")
            case DropTwin():
                self._brain.files.remove(self._queue.active_path(task_id))
            case Restore():
                self._restore(attempt)
            case Interrupt(why=why):
                self._restore(attempt if step.restore else None)
                self.interrupt(attempt or self._unknown(task_id), why)
            case AwaitEnd():
                self._restore(attempt if step.restore else None)
                assert attempt is not None
                deadline = (attempt.started_at or time.time()) + self._limit_seconds(attempt)
                orphans.append(Orphan(attempt, self._lock_path(attempt), deadline))

    def _limit_seconds(self, attempt: Attempt) -> float:
        """How long the attempt was allowed to take, as far as task and interface still say so."""
        task = parse_task(attempt.name, attempt.spec)
        spec = self._find(attempt.interface) if attempt.interface else None
        own = task.timeout_seconds if isinstance(task, TaskSpec) else None
        return own or (spec.timeout_seconds if spec else None) or self._brain.config.timeout_seconds

    def _restore(self, attempt: Attempt | None) -> None:
        """Write the task's bytes into active/ again: something like `git clean -fdx` took the file."""
        if attempt is not None and attempt.spec:
            self._brain.files.put(self._queue.active_path(attempt.task_id), attempt.spec)

    def _unknown(self, task_id: str) -> Attempt:
        """An attempt this journal has never heard of, so that its end has a place."""
        seen = look(self._brain.layout.active, f"{task_id}.md", self._brain.config.task_bytes)
        spec = (seen.data or b"") if isinstance(seen, Seen) else b""
        number = self._brain.journal.next_number(task_id)
        attempt = Attempt(
            attempt_id=attempt_id(task_id, number, _UNKNOWN_TOKEN),
            task_id=task_id,
            number=number,
            state=AttemptState.STARTING,
            name=f"{task_id}.md",
            sha256=hashlib.sha256(spec).hexdigest(),
            spec=spec,
            claimant="daemon",
            claimed_at=time.time(),
        )
        self._brain.journal.add([attempt])
        return attempt

    def interrupt(self, attempt: Attempt, why: str) -> None:
        """Give an attempt whose end nobody saw the outcome Interrupted, and do what follows from it."""
        parsed = parse_task(attempt.name, attempt.spec)
        spec = self._find(attempt.interface) if attempt.interface else None
        now = time.time()
        started = attempt.started_at or attempt.claimed_at
        ended = Ended(
            outcome=Interrupted(why=why),
            started_at=started,
            finished_at=now,
            duration_seconds=max(0.0, now - started),
            cost=UNKNOWN_COST,
            model=attempt.model,
            client_session=None if spec is None else session_in(spec, self._brain.layout.attempt(attempt.attempt_id)),
        )
        step = self._after(ended, parsed, spec, attempt)
        if isinstance(step, Ask):
            inquiries.ask(
                self._brain.journal, inquiries.interrupted(attempt.task_id, attempt.attempt_id, step.question)
            )
        self._brain.journal.end([decided(attempt, ended, step)])
        if isinstance(step, Again) and os.path.exists(self._queue.active_path(attempt.task_id)):
            self._queue.give_back(attempt.task_id, attempt.name)

    def _after(self, ended: Ended, parsed: TaskSpec | Rejection, spec: InterfaceSpec | None, attempt: Attempt) -> Step:
        if isinstance(parsed, Rejection):
            return Ask(question=f"{attempt.task_id} was interrupted and its text cannot be read. Run it again?")
        earlier = [one.ended.outcome for one in self._brain.journal.attempts_of(attempt.task_id) if one.ended]
        return after(
            ended,
            task=parsed,
            interface_idempotent=spec is not None and is_repeatable(spec),
            attempts_so_far=len(earlier) + 1,
            attempts_allowed=parsed.attempts or self._brain.config.attempts,
            remaining=(),
            blameless_so_far=sum(map(is_blameless, earlier)),
            resumable=spec is not None and bool(spec.invoke.resume) and ended.client_session is not None,
        )

    async def wait_for(self, orphan: Orphan, interval_seconds: float = 0.5) -> None:
        """Let an orphan finish, or end it at its deadline; then it is interrupted."""
        attempt = orphan.attempt
        # The end of a process that is no child of ours makes no event.
        while survivors.alive(attempt.attempt_id, orphan.lock_path).any and time.time() < orphan.deadline:  # noqa: ASYNC110
            await asyncio.sleep(interval_seconds)
        left = await asyncio.to_thread(
            survivors.end, attempt.attempt_id, orphan.lock_path, self._brain.config.grace_seconds
        )
        why = "the daemon ended while it ran; none of its processes is found any more"
        if left:
            why = f"the daemon ended while it ran; still alive: {', '.join(left)}"
        self.interrupt(attempt, why)


def _status(path: str) -> os.stat_result | None:
    """None where the file is gone: what has ended leaves active/ while we look, when an agent or a command records it."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
