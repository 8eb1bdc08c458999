"""Carrying a batch through: at most so many of its tasks in the queue at a time, until all have ended or only wait.

Beside a running daemon the tasks are dropped and watched; where none runs, this process works through the queue. What has ended in
an earlier run of the same file counts as done. Interrupted, or with `fail_fast` after the first failure, what has not started is taken
back out of pending/; what runs goes on to its end.

Failures: StorageError and Occupied as their causes raise them; a task that only waits is an answer (`waiting`), never an error.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brain_daemon.model.attempt import Decision
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import Damaged, Occupied
from brain_daemon.record.ledger import GroupBy, Totals, group, total
from brain_daemon.service.batching import Batch, Row
from brain_daemon.service.brain import Brain
from brain_daemon.service.daemon_log import logging_to
from brain_daemon.service.lifecycle import State
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.service.waiting import read_recorded
from brain_daemon.store import control
from brain_daemon.store.journal import TaskRecord
from brain_daemon.store.locks import running_daemon

PATIENCE_SECONDS = 900.0
"""A wait that ends within this time is waited for; longer ones are left to the daemon, or to the next run of the file."""

_LOOK_SECONDS = 0.1

Note = Callable[["Standing"], None]


@dataclass(slots=True)
class Standing:
    """Where the batch stands. `ended` has what each row came to, `waiting` why a row does not go on, by task id."""

    batch: Batch
    sent: set[str] = field(default_factory=set)
    ended: dict[str, TaskRecord] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    earlier: frozenset[str] = frozenset()
    interrupted: bool = False
    stopped: bool = False
    seconds: float = 0.0

    @property
    def completed(self) -> int:
        return sum(record.status == "completed" for record in self.ended.values())

    @property
    def failed(self) -> int:
        return len(self.ended) - self.completed

    @property
    def under_way(self) -> int:
        """How many are in the queue or at work, and do not only wait."""
        return len(self.sent) - len(self.ended) - len(self.waiting)


class BatchRun:
    """One run of one batch; `note` hears of every change."""

    def __init__(self, brain: Brain, batch: Batch, *, parallel: int, fail_fast: bool, note: Note) -> None:
        self._brain = brain
        self._parallel = parallel
        self._fail_fast = fail_fast
        self._note = note
        self._due: float | None = None
        self.standing = Standing(batch=batch)
        self._unsent: list[Row] = []
        self._find_earlier()

    def _find_earlier(self) -> None:
        """What an earlier run of the same file has done, and what it has left in the queue."""
        journal, layout, standing = self._brain.journal, self._brain.layout, self.standing
        for row in standing.batch.rows:
            record = journal.ended_task(row.task.id)
            places = (layout.pending, layout.active)
            if record is not None:
                standing.ended[row.task.id] = record
            if record is not None or any(os.path.lexists(os.path.join(one, f"{row.task.id}.md")) for one in places):
                standing.sent.add(row.task.id)
            else:
                self._unsent.append(row)
        standing.earlier = frozenset(standing.ended)

    @property
    def left(self) -> Sequence[Row]:
        """The rows that have not ended."""
        return [row for row in self.standing.batch.rows if row.task.id not in self.standing.ended]

    def run(self) -> Standing:
        """Until every row has ended, only waits, or was taken back."""
        began = time.monotonic()
        try:
            self._carry()
        except KeyboardInterrupt:
            self.standing.interrupted = True
        if self.standing.interrupted or self.standing.stopped:
            self._take_back()
        self._look()
        self.standing.seconds = time.monotonic() - began
        return self.standing

    def _carry(self) -> None:
        while not self._is_over():
            if running_daemon(self._brain.layout) is not None:
                self._step()
                time.sleep(_LOOK_SECONDS)
                continue
            before = (len(self.standing.ended), len(self.standing.sent))
            try:
                asyncio.run(self._here())
            except Occupied:
                continue
            self._look()
            if before == (len(self.standing.ended), len(self.standing.sent)) and not self._wait_a_while():
                return

    def _is_over(self) -> bool:
        standing = self.standing
        self._step()
        if standing.interrupted or len(standing.ended) == len(standing.batch.rows):
            return True
        if standing.under_way or (self._unsent and not standing.stopped):
            return False
        return standing.stopped or self._due is None or self._due > time.time() + PATIENCE_SECONDS

    def _wait_a_while(self) -> bool:
        """Until the first wait ends, where that is soon; False if there is nothing to wait for."""
        now = time.time()
        if self._due is None or self._due > now + PATIENCE_SECONDS or self.standing.interrupted:
            return False
        time.sleep(max(_LOOK_SECONDS, self._due - now))
        return True

    async def _here(self) -> None:
        """Work through the queue in this process; it drains at Ctrl-C, and once nothing more of this batch is to start."""
        brain = self._brain
        redactor = brain.redactor(brain.registry())
        with logging_to(brain.layout.state, brain.files, brain.config.log_bytes, redactor, None):
            whole = {f"{task_id}.md" for task_id in self.standing.sent}
            running = asyncio.create_task(Supervisor(brain, once=True, whole=whole).run())
            asked = False
            while not running.done():
                await asyncio.wait({running}, timeout=_LOOK_SECONDS)
                if not asked and brain.journal.get("state") == State.DRAINING.value:
                    self.standing.interrupted = True
                self._step()
                if not asked and (self.standing.stopped or len(self.standing.ended) == len(self.standing.batch.rows)):
                    self._take_back()
                    control.post(brain.layout, brain.files, "drain")
                    asked = True
            await running

    def _step(self) -> None:
        self._look()
        if self._fail_fast and any(
            record.status != "completed"
            for key, record in self.standing.ended.items()
            if key not in self.standing.earlier
        ):
            self.standing.stopped = True
        if self.standing.stopped or self.standing.interrupted:
            return
        while self._unsent and self.standing.under_way < self._parallel:
            row = self._unsent.pop(0)
            path = os.path.join(self._brain.layout.pending, f"{row.task.id}.md")
            try:
                self._brain.files.put_new(path, row.text.encode("utf-8", "surrogateescape"))
            except FileExistsError:
                pass  # another run of the same file has dropped it
            self.standing.sent.add(row.task.id)

    def _look(self) -> None:
        """What has ended and what only waits, as the journal says."""
        journal, standing = self._brain.journal, self.standing
        before = (len(standing.ended), len(standing.waiting))
        holds = {hold.task_id: hold for hold in journal.holds()}
        waiting: dict[str, str] = {}
        dues: list[float | None] = []
        for task_id in sorted(standing.sent - standing.ended.keys()):
            record = journal.ended_task(task_id)
            if record is not None:
                standing.ended[task_id] = record
            elif task_id in holds:
                waiting[task_id] = holds[task_id].reason
                dues.append(holds[task_id].until)
            elif (parked := self._parked(task_id)) is not None:
                waiting[task_id] = parked[0]
                dues.append(parked[1])
        standing.waiting = waiting
        self._due = min((due for due in dues if due is not None), default=None)
        if before != (len(standing.ended), len(standing.waiting)):
            self._note(standing)

    def _parked(self, task_id: str) -> tuple[str, float | None] | None:
        """Why a task waits in active/, and until when."""
        attempts = self._brain.journal.attempts_of(task_id)
        if not attempts or attempts[-1].decision not in (Decision.PARK, Decision.ASK):
            return None
        newest = attempts[-1]
        said = newest.message.splitlines()[0] if newest.message else "waits for your answer: `brain questions`"
        return said, newest.resume_at

    def _take_back(self) -> None:
        """What has not started leaves pending/; its id is free for the next run of the file."""
        for row in self.left:
            path = os.path.join(self._brain.layout.pending, f"{row.task.id}.md")
            if row.task.id in self.standing.sent and os.path.lexists(path):
                self._brain.files.remove(path)
                self.standing.sent.discard(row.task.id)
                self.standing.waiting.pop(row.task.id, None)


def account(brain: Brain, standing: Standing) -> dict[str, Any]:
    """The aggregate: counts, totals by interface, and what each row came to."""
    rows = [CostRow.from_values(values) for row in standing.batch.rows for values in brain.journal.rows_of(row.task.id)]
    by_interface = group(rows, GroupBy.INTERFACE)
    done = {name: sum(row.interface == name and row.status == "completed" for row in rows) for name in by_interface}
    ended = len(standing.ended)
    return {
        "batch": standing.batch.id,
        "file": standing.batch.source,
        "tasks": len(standing.batch.rows),
        "completed": standing.completed,
        "failed": standing.failed,
        "waiting": len(standing.waiting),
        "not_started": len(standing.batch.rows) - len(standing.sent),
        "under_way": standing.under_way,
        "done_earlier": len(standing.earlier),
        "success_rate": round(standing.completed / ended, 4) if ended else None,
        "interrupted": standing.interrupted,
        "duration_seconds": round(standing.seconds, 3),
        "total": _totals(total(rows)),
        "by_interface": [
            {"interface": name, "completed": done[name], **_totals(sums)} for name, sums in by_interface.items()
        ],
        "results": [_result(brain, standing, row) for row in standing.batch.rows],
    }


def _totals(sums: Totals) -> dict[str, Any]:
    unknown = sums.rows and sums.unknown == sums.rows
    return {
        "attempts": sums.rows,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cost_usd": None if unknown else format(sums.known_usd, "f"),
        "unknown_costs": sums.unknown,
    }


def _result(brain: Brain, standing: Standing, row: Row) -> Mapping[str, Any]:
    record = standing.ended.get(row.task.id)
    told: dict[str, Any] = {"row": row.number, "name": row.name, "task_id": row.task.id}
    keys = ("interface", "model", "duration_seconds", "cost_usd")
    if record is None:
        state = (
            "waiting"
            if row.task.id in standing.waiting
            else "under_way"
            if row.task.id in standing.sent
            else "not_started"
        )
        why = standing.waiting.get(row.task.id)
        return told | {"status": state, "reason": None, "why": why, "path": None, **dict.fromkeys(keys), "text": None}
    try:
        recorded = read_recorded(brain, record)
    except Damaged as error:
        values, text, why = {}, None, str(error)
    else:
        values, text, why = recorded.values, recorded.text, None
    found = {key: values.get(key) for key in keys}
    return told | {
        "status": record.status,
        "reason": record.reason,
        "why": why,
        "path": record.path,
        **found,
        "text": text,
    }
