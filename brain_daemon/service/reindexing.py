"""`brain reindex`: the tables `tasks` and `outcomes` built anew from the text alone; and the reading of that text.

The text is brain/tasks/completed, brain/tasks/failed with their archive/ folders, and logs/costs/*.csv. All of it is read
before anything is changed, so a ledger that cannot be read (`Damaged`, naming file and line) leaves the index as it is. A
recorded file that cannot be read is listed by its name and said.

It refuses while a daemon runs, which adds to the index and decides by it; agents that hand in results wait on the
recording lock meanwhile. Cut short, it is done again.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from brain_daemon.model import document
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import Damaged, Occupied
from brain_daemon.model.ids import ATTEMPT_ID
from brain_daemon.record import ledger
from brain_daemon.record.day_file import read_name
from brain_daemon.record.ledger import Totals
from brain_daemon.service.brain import Brain
from brain_daemon.store.journal import TaskRecord
from brain_daemon.store.layout import Layout, is_task_name
from brain_daemon.store.locks import recording, running_daemon

_STATUSES = ("completed", "failed")
_ARCHIVE = "archive"
_MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A task's file in completed/ or failed/, read. `values` are its result block's, or those of the file beside it.

    `sha256` is the hash of the original bytes as the record states it; `fault` says why there is no result to read.
    """

    task_id: str
    status: str
    path: str
    data: bytes
    values: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    beside: str | None = None
    fault: str | None = None

    @property
    def attempt_id(self) -> str | None:
        """The attempt it is the record of."""
        found = self.values.get("attempt_id")
        return None if found is None else str(found)

    @property
    def finished_at(self) -> float | None:
        """Epoch seconds."""
        try:
            return datetime.fromisoformat(str(self.values["finished"])).timestamp()
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reindexed:
    """What the index holds now, what it held before, and what is to be said of the text."""

    tasks: int
    before: Totals
    after: Totals
    faults: tuple[str, ...] = ()


def recorded_paths(layout: Layout) -> Iterator[tuple[str, str]]:
    """Status and absolute path of each recorded task, filed away or not."""
    for status in _STATUSES:
        top = layout.ended(status)
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if may_hold_tasks(top, folder, name))
            for name in sorted(names):
                if is_task_name(name):
                    yield status, os.path.join(folder, name)


def may_hold_tasks(top: str, folder: str, name: str) -> bool:
    """Whether recorded tasks may be in the folder `name` of `folder`, which is completed/ or failed/ (`top`) or below it."""
    return not name.endswith(".files") and (folder != top or name == _ARCHIVE)


def read_recorded(layout: Layout, status: str, path: str) -> Recorded:
    """Read one; what cannot be read is its `fault`. FileNotFoundError if it has just been moved away."""
    known = os.lstat(path)
    stem = os.path.basename(path)[: -len(".md")]
    if not stat.S_ISREG(known.st_mode):
        why = "it is not a regular file, so it is no record of ours: move it away."
        return Recorded(task_id=stem, status=status, path=layout.relative(path), data=b"", fault=why)
    data = b""
    # What was too large for a task was never read, and has its result beside it.
    if known.st_size <= _MAX_BYTES:
        with open(path, "rb") as handle:
            data = handle.read()
    beside = next((found for word in ("result", "error") if os.path.exists(found := f"{path[:-3]}.{word}.md")), None)
    values: dict[str, Any] = {}
    sha256 = fault = None
    try:
        result = document.read_result(data if beside is None else _read(beside))
        values = result.values
        sha256 = result.spec_sha256
    except Damaged as error:
        fault = str(error)
    return Recorded(
        task_id=_task_id(stem, values),
        status=status,
        path=layout.relative(path),
        data=data,
        values=values,
        sha256=sha256,
        beside=beside,
        fault=fault,
    )


def ledger_paths(layout: Layout) -> list[str]:
    """The day files of the ledger, oldest first."""
    folder = layout.inside("logs", "costs")
    names = [name for name in os.listdir(folder) if name.endswith(".csv") and read_name(name)]
    return [os.path.join(folder, name) for name in sorted(names, key=lambda name: read_name(name) or ("", 0))]


def ledger_rows(layout: Layout) -> Iterator[CostRow]:
    """Every row of the text. Damaged names the first file and line that cannot be read."""
    for path in ledger_paths(layout):
        yield from ledger.parse(_read(path), layout.relative(path))


def reindex(brain: Brain) -> Reindexed:
    """Build the index anew. Occupied while a daemon runs, Damaged for a ledger that cannot be read; then nothing was changed."""
    holder = running_daemon(brain.layout)
    if holder is not None:
        raise Occupied(
            f"building the index of {brain.layout.root} anew: a daemon runs ({holder.describe()}) and adds to it. "
            "`brain drain` ends it when its tasks have; then try again."
        )
    with recording(brain.layout):
        rows = list({row.attempt_id: row for row in reversed(list(ledger_rows(brain.layout)))}.values())
        rows.reverse()
        found = [read_recorded(brain.layout, status, path) for status, path in recorded_paths(brain.layout)]
        before = ledger.total(map(CostRow.from_values, brain.journal.outcomes()))
        records = _newest(found)
        brain.journal.replace_caches(records, [row.to_values() for row in rows])
        after = ledger.total(map(CostRow.from_values, brain.journal.outcomes()))
    faults = tuple(f"{one.path}: {one.fault}" for one in found if one.fault)
    return Reindexed(tasks=len(records), before=before, after=after, faults=faults)


def _newest(found: list[Recorded]) -> list[TaskRecord]:
    """One record a task, the one that ended last, in the order in which they ended."""
    records: dict[str, Recorded] = {}
    for one in sorted(found, key=lambda one: one.finished_at or 0.0):
        records.pop(one.task_id.casefold(), None)
        records[one.task_id.casefold()] = one
    return [
        TaskRecord(
            task_id=one.task_id,
            status=one.status,
            path=one.path,
            reason=one.values.get("reason"),
            sha256=one.sha256,
            finished_at=one.finished_at,
        )
        for one in records.values()
    ]


def _task_id(stem: str, values: dict[str, Any]) -> str:
    """The file's name, but for a record that stands under its attempt's id since the task's own name was taken."""
    if stem == values.get("attempt_id") and ATTEMPT_ID.fullmatch(stem):
        return stem.rsplit(".", 2)[0]
    return stem


def _read(path: str) -> bytes:
    with open(path, "rb") as handle:
        return handle.read()
