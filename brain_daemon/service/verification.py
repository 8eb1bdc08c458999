"""`brain verify`: is anything lost, and do all figures agree? Read-only, also while the daemon works.

    custody   no task in two folders without a reason, every file in active/ has its attempt, every ended task its file,
              and the original bytes come out of each recorded file
    ledger    one row an attempt in the text; text, index and result blocks say the same
    journal   what SQLite itself finds wrong, and what rows, folders and commits of attempts say against each other
    git       HEAD has what the journal says was committed

On a live brain a task may move between two looks, so what is found is looked for again: only what stays is reported.

Failures: damage is a finding, in words and with the next step. Only what keeps this from looking at all is raised.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import BrainError, Damaged
from brain_daemon.record import ledger
from brain_daemon.record.day_file import read_name
from brain_daemon.record.result import KEPT_OUT
from brain_daemon.service import soundness
from brain_daemon.service.brain import Brain
from brain_daemon.service.reindexing import Recorded, ledger_paths, read_recorded, recorded_paths
from brain_daemon.service.snapshot import task_names
from brain_daemon.store.journal import TaskRecord

SAMPLE = 500
LOOKS = 3
PAUSE_SECONDS = 0.5
_EVERYTHING = 1 << 62


class Area(StrEnum):
    """What is looked at."""

    CUSTODY = "custody"
    LEDGER = "ledger"
    JOURNAL = "journal"
    GIT = "git"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: `subject` is the task, attempt or file; `message` a sentence with the next step."""

    area: Area
    subject: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """`checked` counts what was looked at; `sampled` says that only some recorded files were read."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, int]
    sampled: bool


@dataclass(slots=True)
class _Ledger:
    """The text of the ledger, read: rows by attempt, and the tasks' newest ones."""

    rows: dict[str, CostRow] = field(default_factory=dict)
    whole: bool = True

    def last_of(self) -> dict[str, CostRow]:
        """casefolded task id -> its row with the highest attempt number."""
        newest: dict[str, CostRow] = {}
        for row in self.rows.values():
            key = row.task_id.casefold()
            if key not in newest or row.attempt >= newest[key].attempt:
                newest[key] = row
        return newest


def verify(brain: Brain, *, everything: bool = False, pause_seconds: float = PAUSE_SECONDS) -> Verified:
    """Look at the brain; `everything` reads every recorded file instead of the newest and some of the others."""
    paths = list(recorded_paths(brain.layout))
    sample = paths if everything else _sample(paths)
    newest = -1 if everything else 2 * SAMPLE
    found = _Look(brain, sample, newest)
    lasting = found.run()
    for _ in range(LOOKS - 1):
        if not lasting:
            break
        time.sleep(pause_seconds)
        found = _Look(brain, sample, newest)
        known = {(one.area, one.subject) for one in lasting}
        lasting = [one for one in found.run() if (one.area, one.subject) in known]
    if found.sums is not None and any(one.area is Area.LEDGER for one in lasting):
        lasting.append(found.sums)
    return Verified(findings=tuple(lasting), checked=found.checked, sampled=len(sample) < len(paths))


def _sample(paths: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The newest, and as many of the others, evenly."""
    if len(paths) <= 2 * SAMPLE:
        return paths
    newest = sorted(paths, key=lambda pair: _modified(pair[1]), reverse=True)
    older = newest[SAMPLE:]
    return newest[:SAMPLE] + older[:: -(-len(older) // SAMPLE)]


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


class _Look:
    """One look at everything."""

    def __init__(self, brain: Brain, sample: Sequence[tuple[str, str]], newest: int) -> None:
        self._brain = brain
        self._newest = newest
        self._layout = brain.layout
        self._sample = sample
        self.checked: dict[str, int] = {}
        self.sums: Finding | None = None

    def run(self) -> list[Finding]:
        said = self._sqlite()
        if said is not None:
            remedy = "Restore it from a backup, or move it away and run `brain reindex`."
            return [Finding(Area.JOURNAL, self._layout.journal, f"SQLite finds it damaged: {said}. {remedy}")]
        broken = list(soundness.unreadable_rows(self._brain.journal, self._newest))
        if broken:
            return [Finding(Area.JOURNAL, *one) for one in broken]
        # Files before figures: what is written first is read last, so a task that ends meanwhile is complete when seen.
        records = {one.task_id.casefold(): one for one in self._brain.journal.ended_tasks()}
        recorded = list(self._read_sample())
        text = _Ledger()
        findings = [*self._folders(records), *self._originals(recorded, records), *self._text(text)]
        findings += self._index(text) if text.whole else ()
        findings += self._blocks(recorded, text) if text.whole else ()
        findings += self._git(recorded, records, text)
        return [*findings, *self._soundness()]

    def _soundness(self) -> Iterator[Finding]:
        journal, repository = self._brain.journal, self._brain.repository
        newest = journal.newest(self._newest)
        found = [
            *soundness.rows([*newest, *journal.open_attempts()]),
            *soundness.folders(self._layout, journal, time.time()),
        ]
        if repository is not None:
            found += soundness.commits(repository, journal.commits(self._newest))
        for one in dict.fromkeys(found):
            yield Finding(Area.JOURNAL, *one)

    def _sqlite(self) -> str | None:
        try:
            return self._brain.journal.check()
        except sqlite3.DatabaseError as error:
            return str(error)

    def _read_sample(self) -> Iterator[Recorded]:
        for status, path in self._sample:
            try:
                yield read_recorded(self._layout, status, path)
            except FileNotFoundError:
                continue

    # custody

    def _folders(self, records: Mapping[str, TaskRecord]) -> Iterator[Finding]:
        pending = {_stem(name).casefold(): name for name in task_names(self._layout.pending)}
        active = {_stem(name).casefold(): _stem(name) for name in task_names(self._layout.active)}
        ended: dict[str, list[tuple[str, str]]] = {}
        for status, path in recorded_paths(self._layout):
            ended.setdefault(_stem(os.path.basename(path)).casefold(), []).append((status, path))
        self.checked["tasks"] = len(pending) + len(active) + len(ended)
        for task_id in active.values():
            yield from self._active(task_id)
        for attempt in self._brain.journal.open_attempts():
            yield from self._unfound(attempt, active)
        for places in ended.values():
            if len(places) > 1:
                yield from self._twice(places)
        known = {one.path for one in records.values()}
        missing = [record for key, record in records.items() if key not in pending and key not in active]
        yield from self._gone([one for one in missing if not os.path.exists(self._layout.inside(one.path))])
        for places in ended.values():
            for _, path in places:
                yield from self._unlisted(path, known, records)

    def _active(self, task_id: str) -> Iterator[Finding]:
        attempts = self._brain.journal.attempts_of(task_id)
        newest = attempts[-1] if attempts else None
        path = os.path.join(self._layout.active, f"{task_id}.md")
        name = newest.name if newest else f"{task_id}.md"
        twin = os.path.join(self._layout.pending, name)
        if _same_bytes(path, twin):
            message = (
                f"the same bytes are in active/ and in pending/{name}: a claim was cut short, `brain run` drops one."
            )
            yield Finding(Area.CUSTODY, task_id, message)
        if newest is None or newest.state is AttemptState.RELEASED:
            message = "its file is in active/ and no attempt of it is under way: `brain run` gives it back or asks."
            yield Finding(Area.CUSTODY, task_id, message)
        elif newest.state in (AttemptState.RECORDED, AttemptState.COMMITTED) and newest.decision is Decision.FINISH:
            message = (
                f"it has ended ({newest.attempt_id}) and its file is still in active/: `brain run` looks after it."
            )
            yield Finding(Area.CUSTODY, task_id, message)

    def _unfound(self, attempt: Attempt, active: Mapping[str, str]) -> Iterator[Finding]:
        if attempt.state in (AttemptState.CLAIMED, AttemptState.STARTING) and attempt.task_id.casefold() not in active:
            message = f"{attempt.attempt_id} is under way and its file in active/ is gone; the journal has its bytes."
            yield Finding(Area.CUSTODY, attempt.task_id, message)

    def _twice(self, places: list[tuple[str, str]]) -> Iterator[Finding]:
        """Two files of one id are explained by two attempts: the task was run again with its first record kept."""
        try:
            found = [read_recorded(self._layout, status, path) for status, path in places]
        except FileNotFoundError:
            return
        attempts = [one.attempt_id for one in found]
        if None in attempts or len(set(attempts)) < len(attempts):
            where = " and ".join(one.path for one in found)
            yield Finding(Area.CUSTODY, found[0].task_id, f"it stands in {where} with the same attempt: one is a copy.")

    def _gone(self, missing: Sequence[TaskRecord]) -> Iterator[Finding]:
        """Ended tasks without their file; a person who removed it in git as well has meant it."""
        repository = self._brain.repository
        kept: set[str] | None = None
        if missing and repository is not None and repository.head() is not None:
            kept = set(repository.head_blobs([one.path for one in missing]))
        for one in missing:
            attempts = self._brain.journal.attempts_of(one.task_id)
            settled = not attempts or attempts[-1].state is AttemptState.COMMITTED
            if kept is None or one.path in kept or not settled:
                message = (
                    f"it has {one.status} and {one.path} is gone: `git log -- {one.path}` has it, if it was committed."
                )
                yield Finding(Area.CUSTODY, one.task_id, message)

    def _unlisted(self, path: str, known: set[str], records: Mapping[str, TaskRecord]) -> Iterator[Finding]:
        relative = self._layout.relative(path)
        task_id = _stem(os.path.basename(path))
        # A result may be there before its row and its place in the index: while the person merges or rebases.
        waits = task_id.casefold() in self._brain.journal.finishing()
        if relative not in known and task_id.casefold() not in records and not waits:
            yield Finding(Area.JOURNAL, task_id, f"the index does not list {relative}: `brain reindex` builds it anew.")

    def _originals(self, recorded: Iterable[Recorded], records: Mapping[str, TaskRecord]) -> Iterator[Finding]:
        count = 0
        for one in recorded:
            count += 1
            fault = one.fault or _original_fault(one) or self._text_fault(one)
            if fault is not None:
                yield Finding(Area.CUSTODY, one.task_id, f"{one.path}: {fault}")
                continue
            known = records.get(one.task_id.casefold())
            if known is not None and known.path == one.path and known.sha256 not in (None, one.sha256):
                message = f"{one.path} is the record of other bytes than were run; `git log -- {one.path}` shows who changed it."
                yield Finding(Area.CUSTODY, one.task_id, message)
        self.checked["originals"] = count

    def _text_fault(self, one: Recorded) -> str | None:
        """That the answer was changed, where no git tells by whom: with git a person's own edit is theirs to commit."""
        if self._brain.repository is not None or one.beside is not None or document.read_result(one.data).intact:
            return None
        return "its result text was changed since it was recorded, as result.text_sha256 shows."

    # ledger

    def _text(self, text: _Ledger) -> Iterator[Finding]:
        for path in ledger_paths(self._layout):
            name = self._layout.relative(path)
            try:
                with open(path, "rb") as handle:
                    rows = ledger.parse(handle.read(), name)
            except Damaged as error:
                text.whole = False
                yield Finding(Area.LEDGER, name, str(error))
                continue
            day = (read_name(os.path.basename(path)) or ("", 0))[0]
            for row in rows:
                if row.day != day:
                    message = (
                        f"its row of {row.day} stands in {name}: move it to the file of its day, then `brain reindex`."
                    )
                    yield Finding(Area.LEDGER, row.attempt_id, message)
                if row.attempt_id in text.rows:
                    message = f"it has two rows, the second one in {name}: remove one of them, then `brain reindex`."
                    yield Finding(Area.LEDGER, row.attempt_id, message)
                text.rows.setdefault(row.attempt_id, row)
        self.checked["rows"] = len(text.rows)

    def _index(self, text: _Ledger) -> Iterator[Finding]:
        journal = self._brain.journal
        index = {str(values[2]): tuple(values) for values in journal.outcomes()}
        again = "`brain reindex` builds the index anew"
        for attempt_id, row in text.rows.items():
            if attempt_id not in index:
                yield Finding(Area.LEDGER, attempt_id, f"its row in {row.day}'s ledger is not in the index: {again}.")
            elif index[attempt_id] != row.to_values():
                message = (
                    f"the index and the ledger of {row.day} differ in {_differing(index[attempt_id], row)}: {again}."
                )
                yield Finding(Area.LEDGER, attempt_id, message)
        for attempt_id in index.keys() - text.rows.keys():
            message = "it is in the index and not in the ledger's text: restore logs/costs/ from git (`git log -- logs/costs`)."
            yield Finding(Area.LEDGER, attempt_id, message)
        ended = [
            *journal.ids_in(AttemptState.RECORDED, _EVERYTHING),
            *journal.ids_in(AttemptState.COMMITTED, _EVERYTHING),
        ]
        self.checked["attempts"] = len(ended)
        for attempt_id in ended:
            if attempt_id not in text.rows and attempt_id not in index:
                message = (
                    "the journal has it as recorded and the ledger has no row of it: restore logs/costs/ from git."
                )
                yield Finding(Area.LEDGER, attempt_id, message)
        self.sums = _sums(text, map(CostRow.from_values, index.values()))

    def _blocks(self, recorded: Iterable[Recorded], text: _Ledger) -> Iterator[Finding]:
        """What each result block says of its attempt, beside the ledger's row."""
        per_task: dict[str, int] = {}
        for row in text.rows.values():
            per_task[row.task_id.casefold()] = per_task.get(row.task_id.casefold(), 0) + 1
        for one in recorded:
            if one.attempt_id is None:
                continue
            found = text.rows.get(one.attempt_id)
            if found is None and one.task_id.casefold() in self._brain.journal.finishing():
                continue
            if found is None:
                message = f"{one.path} is the record of {one.attempt_id}, of which the ledger has no row."
                yield Finding(Area.LEDGER, one.task_id, message)
                continue
            differing = _block_differences(one.values, found)
            if differing:
                message = (
                    f"{one.path} and the ledger differ in {differing}: `git log -- {one.path}` shows who changed which."
                )
                yield Finding(Area.LEDGER, one.task_id, message)
            earlier = [said for said in one.values.get("attempts") or () if said.get("ended") != "released"]
            if per_task.get(one.task_id.casefold(), 0) < len(earlier) + 1:
                message = f"{one.path} tells of {len(earlier) + 1} attempts and the ledger has fewer rows of it."
                yield Finding(Area.LEDGER, one.task_id, message)

    # git

    def _git(self, recorded: Iterable[Recorded], records: Mapping[str, TaskRecord], text: _Ledger) -> Iterator[Finding]:
        repository = self._brain.repository
        if repository is None or repository.head() is None:
            return
        committed = set(self._brain.journal.ids_in(AttemptState.COMMITTED, _EVERYTHING))
        last = text.last_of()
        here = {one.path: one for one in recorded}
        paths = [
            record.path
            for key, record in records.items()
            if key in last and last[key].attempt_id in committed and os.path.exists(self._layout.inside(record.path))
            if not _stays_out(record, here.get(record.path))
        ]
        try:
            known = repository.head_blobs(paths)
        except BrainError as error:
            yield Finding(Area.GIT, repository.top, f"HEAD could not be read: {error}")
            return
        self.checked["commits"] = len(paths)
        where = repository.branch() or "a detached HEAD"
        for path in paths:
            task_id = _stem(os.path.basename(path))
            if path not in known and self._brain.journal.commit_of(task_id):
                message = f"it was committed and HEAD ({where}) does not have {path}: is this another branch than the daemon's?"
                yield Finding(Area.GIT, task_id, message)
            elif path in known and path in here and repository.blob_id(here[path].data) != known[path]:
                yield Finding(
                    Area.GIT, task_id, f"{path} differs from HEAD: `git diff -- {path}` shows what was changed."
                )


def _stays_out(record: TaskRecord, one: Recorded | None) -> bool:
    """Whether a file is not committed on purpose: too large to be read, or given up with a secret in it."""
    return record.sha256 == "" or (one is not None and KEPT_OUT in (one.values.get("warnings") or ()))


def _stem(name: str) -> str:
    return name[: -len(".md")]


def _same_bytes(path: str, other: str) -> bool:
    try:
        with open(path, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False


def _original_fault(one: Recorded) -> str | None:
    """Why the original bytes do not come out of a recorded file; None if they do."""
    if one.beside is not None:
        # No hash: it was too large to be read.
        if one.sha256 == "" or hashlib.sha256(one.data).hexdigest() == one.sha256:
            return None
        return f"it is not what {os.path.basename(one.beside)} was written about; `git log` has earlier versions"
    try:
        document.restore(one.data)
    except Damaged as error:
        return str(error)
    return None


def _differing(values: Sequence[object], row: CostRow) -> str:
    names = CostRow.__dataclass_fields__
    return ", ".join(name for name, one, other in zip(names, values, row.to_values(), strict=True) if one != other)


def _block_differences(values: Mapping[str, Any], row: CostRow) -> str:
    used = values.get("usage") or {}
    usd = values.get("cost_usd")
    told = {
        "status": (values.get("status"), row.status.value),
        "cost_usd": (None if usd is None else Decimal(usd), row.cost_usd),
        "cost_basis": (values.get("cost_basis"), row.cost_basis.value),
        "input_tokens": (used.get("input_tokens"), row.input_tokens),
        "output_tokens": (used.get("output_tokens"), row.output_tokens),
    }
    return ", ".join(name for name, (one, other) in told.items() if one != other)


def _sums(text: _Ledger, indexed: Iterable[CostRow]) -> Finding | None:
    """How far apart the sums are. On a live brain they always are by a little, so it is told beside other findings only."""
    written, index = ledger.total(text.rows.values()), ledger.total(indexed)
    if (written.known_usd, written.rows, written.unknown) == (index.known_usd, index.rows, index.unknown):
        return None
    message = (
        f"the text has {written.rows} attempts, ${written.known_usd} and {written.unknown} unknown costs; "
        f"the index has {index.rows}, ${index.known_usd} and {index.unknown}."
    )
    return Finding(Area.LEDGER, "sums", message)
