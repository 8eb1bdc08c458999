"""The SQLite journal: what is in flight, questions, approvals, and caches of what the text in git says.

One `Journal` is one connection and belongs to one thread; several processes may have the file open. A transaction is
durable when its block ends (write-ahead log, synchronous FULL); the recorder's connection may be opened with
`durable=False`, because all it writes can be found out again.

Failures: a journal that is empty, unreadable or of a newer version raises `Damaged` or `Refused` and is left as it
is: it is never replaced by a fresh one (a missing journal beside tasks in active/ is the start-up's affair).
"""

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files as package_files
from typing import Any

from brain_daemon.model.attempt import Attempt, AttemptState, Decision, Lineage, decode_ended, encode_ended
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Damaged, Refused, StorageError
from brain_daemon.model.outcome import Mode, Reason, Status
from brain_daemon.store.files import Files
from brain_daemon.store.looking import address_to_read, only_looking

SCHEMA_VERSION = 1
_OPEN_STATES = "('claimed', 'starting', 'ended', 'recorded')"
_ASKED_AT_ONCE = 500
_UNSETTLED = "decision in ('again', 'ask', 'park')"
_SETTLED = frozenset({AttemptState.COMMITTED, AttemptState.RELEASED})
# Indexes that journals of the same format may lack: they were made before these were thought of.
_LATER_INDEXES = {"attempts_unsettled": f"on attempts (task_id) where {_UNSETTLED}"}
_COLUMNS = (
    "attempt_id, task_id, number, state, name, sha256, spec, claimant, claimed_at, lease_until, origin, interface, "
    "model, tier, routing, argv, mode, started_at, ended, decision, status, reason, message, resumes, "
    "resume_at, answer, lineage"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task that has ended; `path` is relative to the brain."""

    task_id: str
    status: str
    path: str
    reason: str | None = None
    sha256: str | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A pending task that does not start, in words; `until` is epoch seconds where a time ends it."""

    task_id: str
    name: str
    reason: str
    until: float | None = None


class Journal:
    """The verbs on one connection."""

    def __init__(self, path: str, files: Files, *, durable: bool = True) -> None:
        self._path = path
        self._files = files
        self._refuse_empty()
        self.read_only = only_looking(os.path.dirname(path))
        if not os.path.exists(path):
            self._refuse_where_nothing_is_written()
            self._create()
        address = address_to_read(path) if self.read_only else path
        self._connection = sqlite3.connect(
            address, timeout=30.0, isolation_level=None, check_same_thread=False, uri=self.read_only
        )
        try:
            self._prepare(durable)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise Damaged(
                f"opening the journal {path}: {error}. It is kept as it is. Restore it from a backup, or move it away: "
                "tasks in active/ are then held as interrupted."
            ) from error

    def _refuse_where_nothing_is_written(self) -> None:
        if self.read_only:
            raise StorageError(
                f"opening the journal {self._path}: there is none, and its folder may not be written, so none is made. "
                "`brain status` and `brain list` tell what the folders hold; `brain doctor` says more."
            )

    def _refuse_empty(self) -> None:
        if os.path.exists(self._path) and os.path.getsize(self._path) == 0:
            raise Damaged(
                f"the journal {self._path} is empty, which no crash of this program leaves. Restore it from a backup, "
                "or move it away: tasks in active/ are then held as interrupted."
            )

    def _prepare(self, durable: bool) -> None:
        connection = self._connection
        if not self.read_only:
            connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
        if durable:
            # Moving the log's pages into the file takes some syncs: that is left to the recorder's thread, whose every
            # group does it when it is due, and not done between two starts. The bound is for whoever has no recorder.
            connection.execute("pragma wal_autocheckpoint = 10000")
        version = connection.execute("pragma user_version").fetchone()[0]
        if version == 0:
            raise Damaged(
                f"the journal {self._path} has no tables, which no crash of this program leaves. Restore it from a backup, "
                "or move it away: tasks in active/ are then held as interrupted."
            )
        if version > SCHEMA_VERSION:
            raise Refused(
                f"the journal {self._path} has format {version}, this program knows {SCHEMA_VERSION}: "
                "it was written by a newer release. Upgrade brain-daemon; nothing was changed."
            )
        if not self.read_only:
            self._add_later_indexes()

    def _add_later_indexes(self) -> None:
        known = {row[0] for row in self._connection.execute("select name from sqlite_master where type = 'index'")}
        for name in _LATER_INDEXES.keys() - known:
            self._connection.execute(f"create index if not exists {name} {_LATER_INDEXES[name]}")

    def _create(self) -> None:
        """Make a journal aside and move it to its place whole: another process may be doing the same, and the first one stays."""
        aside = f"{self._path}.{os.getpid()}.{uuid.uuid4().hex[:8]}.new"
        script = package_files("brain_daemon.store").joinpath("schema.sql").read_text("utf-8")
        self._files.step("create journal", aside)
        connection = sqlite3.connect(aside, isolation_level=None)
        try:
            # Now, while nobody else has it: SQLite does not wait for others when it changes to a write-ahead log.
            connection.execute("pragma journal_mode = wal")
            connection.execute("begin immediate")
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute("insert into meta values ('born', ?)", (repr(time.time()),))
            connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
            connection.execute("commit")
        finally:
            connection.close()
        try:
            self._files.move(aside, self._path)
        except FileExistsError:
            self._files.remove(aside)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable when the block has ended."""
        connection = self._connection
        self._files.writes += 1
        try:
            connection.execute("begin immediate")
            try:
                yield
                self._files.step("commit journal", self._path)
                connection.execute("commit")
            except BaseException:
                # A full disk may have rolled it back already.
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
        except sqlite3.OperationalError as error:
            self._files.failed_writes += 1
            raise StorageError(f"writing the journal {self._path}: {error}") from error

    # attempts

    def add(self, attempts: Sequence[Attempt]) -> None:
        """New attempts, `claimed` by an agent, `starting`, or `ended` before any start; durable on return."""
        with self.transaction():
            self.insert(attempts)

    def insert(self, attempts: Sequence[Attempt]) -> None:
        """`add` for a caller that holds the transaction."""
        self._connection.executemany(
            f"insert into attempts ({_COLUMNS}) values ({', '.join('?' * 27)})",  # noqa: S608 - constants only
            [_to_row(attempt) for attempt in attempts],
        )

    def end(self, attempts: Sequence[Attempt]) -> None:
        """Write outcomes: the commit point of each. An attempt that has one already keeps the first."""
        with self.transaction():
            self.set_ended(attempts)

    def set_ended(self, attempts: Sequence[Attempt]) -> None:
        """`end` for a caller that holds the transaction."""
        self._connection.executemany(
            "update attempts set state = 'ended', ended = ?, decision = ?, status = ?, reason = ?, message = ?, "
            "resume_at = ?, interface = coalesce(?, interface), model = coalesce(?, model) "
            "where attempt_id = ? and state in ('claimed', 'starting')",
            [_to_end(attempt) for attempt in attempts],
        )

    def set_recorded(self, attempt_ids: Iterable[str]) -> None:
        """The files have these attempts; for a caller that holds the transaction."""
        self._connection.executemany(
            "update attempts set state = 'recorded' where attempt_id = ? and state = 'ended'",
            [(attempt_id,) for attempt_id in attempt_ids],
        )

    def mark_committed(self, shas: Mapping[str, str]) -> None:
        """Git has these attempts; the copy of the task's bytes is kept only where its file still waits in active/."""
        with self.transaction():
            self._connection.executemany(
                "update attempts set state = 'committed', commit_sha = ?, "
                "spec = case when decision in ('ask', 'park') then spec end where attempt_id = ?",
                [(sha, attempt_id) for attempt_id, sha in shas.items()],
            )

    def release(self, attempt_id: str) -> None:
        """The attempt is given back: it has no outcome and will never have one."""
        with self.transaction():
            self._connection.execute(
                "update attempts set state = 'released' where attempt_id = ? and state in ('claimed', 'starting')",
                (attempt_id,),
            )

    def allow_again(self, attempt_id: str) -> None:
        """A person has answered, or what a parked attempt waited for has come: its task goes back to pending/."""
        with self.transaction():
            self._connection.execute(
                "update attempts set decision = 'again' where attempt_id = ? and decision in ('ask', 'park')",
                (attempt_id,),
            )

    def answer(self, attempt_id: str, text: str) -> bool:
        """A person has answered what a parked attempt asked; False if it is parked no more."""
        with self.transaction():
            cursor = self._connection.execute(
                "update attempts set answer = ? where attempt_id = ? and decision = 'park'", (text, attempt_id)
            )
        return cursor.rowcount == 1

    def renew(self, attempt_id: str, lease_until: float) -> bool:
        """Move the end of an agent's lease; False if the attempt is no longer claimed."""
        with self.transaction():
            cursor = self._connection.execute(
                "update attempts set lease_until = ? where attempt_id = ? and state = 'claimed'",
                (lease_until, attempt_id),
            )
        return cursor.rowcount == 1

    def open_attempts(self) -> list[Attempt]:
        """Attempts that are not settled in git yet, oldest first."""
        return self._attempts(f"where state in {_OPEN_STATES} order by rowid")

    def newest_attempts(self) -> list[Attempt]:
        """Of every task that may still concern active/, its newest attempt: open ones, and ends that did not end their task."""
        tasks = (
            f"select task_id from attempts where state in {_OPEN_STATES} "  # noqa: S608 - constants only
            f"union select task_id from attempts where {_UNSETTLED}"
        )
        return self._attempts(
            f"where rowid in (select max(rowid) from attempts where task_id in ({tasks}) group by task_id) and "  # noqa: S608
            f"(state in {_OPEN_STATES} or {_UNSETTLED}) order by rowid"
        )

    def ids_in(self, state: AttemptState, limit: int) -> list[str]:
        """Ids of the attempts in one state, oldest first."""
        # Said in the words of the partial index, or SQLite reads every attempt there ever was.
        few = "" if state in _SETTLED else f"and state in {_OPEN_STATES}"
        rows = self._connection.execute(
            f"select attempt_id from attempts where state = ? {few} order by rowid limit ?",  # noqa: S608 - constants
            (state, limit),
        )
        return [row[0] for row in rows]

    def finishing(self) -> set[str]:
        """casefolded ids of the tasks that have ended and are being recorded."""
        rows = self._connection.execute(
            "select task_id from attempts where state in ('ended', 'recorded') "  # noqa: S608 - constants only
            f"and state in {_OPEN_STATES} and decision = 'finish'"
        )
        return {row[0].casefold() for row in rows}

    def attempts_of(self, task_id: str) -> list[Attempt]:
        return self._attempts("where task_id = ? order by number, rowid", task_id)

    def attempt(self, attempt_id: str) -> Attempt | None:
        found = self._attempts("where attempt_id = ?", attempt_id)
        return found[0] if found else None

    def next_number(self, task_id: str) -> int:
        row = self._connection.execute(
            "select coalesce(max(number), 0) + 1 from attempts where task_id = ?", (task_id,)
        ).fetchone()
        return int(row[0])

    def lineage(self, task_id: str) -> Lineage | None:
        """Where a task stands that has been worked on; without its attempts, as far as the ledger knows it. None: never heard of."""
        row = self._connection.execute(
            "select lineage from attempts where task_id = ? order by rowid desc limit 1", (task_id,)
        ).fetchone()
        if row is not None:
            return Lineage(**json.loads(row[0]))
        row = self._connection.execute(
            "select chain_id, parent_id from outcomes where task_id = ? order by rowid desc limit 1", (task_id,)
        ).fetchone()
        return None if row is None else Lineage(chain=row[0], parent=row[1], depth=int(row[1] is not None))

    def chain(self, chain_id: str) -> list[tuple[Any, ...]]:
        """Ledger rows of a chain, oldest first: its tasks, and the root it is called after."""
        return self._connection.execute(
            "select * from outcomes where chain_id = ? or task_id = ? order by rowid", (chain_id, chain_id)
        ).fetchall()

    def commit_of(self, task_id: str) -> str | None:
        row = self._connection.execute(
            "select commit_sha from attempts where task_id = ? and commit_sha is not null order by number desc",
            (task_id,),
        ).fetchone()
        return None if row is None else str(row[0])

    def _attempts(self, clause: str, *values: object) -> list[Attempt]:
        rows = self._connection.execute(f"select {_COLUMNS} from attempts {clause}", values)  # noqa: S608 - ours
        return [self._read(row) for row in rows]

    def _read(self, row: Sequence[Any]) -> Attempt:
        """A row as the attempt it keeps; whatever cannot be one was not written by this program."""
        try:
            return _from_row(row)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
            raise self._unreadable(f"attempt {row[0]}", error) from error

    def unreadable(self, newest: int) -> list[tuple[str, str]]:
        """Of the newest attempts (-1: of all), those whose rows are not ours, each with why."""
        rows = self._connection.execute(
            f"select {_COLUMNS} from attempts order by rowid desc limit ?",  # noqa: S608 - constants only
            (newest,),
        )
        found = []
        for row in rows:
            try:
                self._read(row)
            except Damaged as error:
                found.append((str(row[0]), clean_line(str(error.__cause__), 200)))
        return found

    def attempt_ids(self) -> set[str]:
        """Of every attempt there ever was."""
        return {row[0] for row in self._connection.execute("select attempt_id from attempts")}

    def commits(self, newest: int) -> dict[str, str]:
        """attempt id -> the commit that has it, of the newest attempts (-1: of all)."""
        rows = self._connection.execute(
            "select attempt_id, commit_sha from attempts where commit_sha is not null order by rowid desc limit ?",
            (newest,),
        )
        return dict(rows.fetchall())

    def newest(self, limit: int) -> list[Attempt]:
        """The newest attempts (-1: all)."""
        return self._attempts("order by rowid desc limit ?", limit)

    def _unreadable(self, what: str, error: Exception) -> Damaged:
        said = clean_line(f"{type(error).__name__}: {error}", 200)
        return Damaged(
            f"reading {what} in the journal {self._path}: its row is not one of ours ({said}). It is kept as it is. "
            "Restore the journal from a backup, or move it away: tasks in active/ are then held as interrupted."
        )

    # tasks that have ended

    def remember_ended(self, records: Sequence[TaskRecord]) -> None:
        with self.transaction():
            self.set_ended_tasks(records)

    def set_ended_tasks(self, records: Sequence[TaskRecord]) -> None:
        """`remember_ended` for a caller that holds the transaction."""
        self._connection.executemany(
            "insert or replace into tasks (task_id, status, reason, sha256, path, finished_at) values (?, ?, ?, ?, ?, ?)",
            [(r.task_id, r.status, r.reason, r.sha256, r.path, r.finished_at) for r in records],
        )

    def ended_statuses(self) -> dict[str, str]:
        """casefolded id -> completed or failed, for every task that has ended."""
        rows = self._connection.execute("select task_id, status from tasks")
        return {task_id.casefold(): status for task_id, status in rows}

    def ended_status(self, task_id: str) -> str | None:
        """Completed or failed; None for a task that has not ended."""
        row = self._connection.execute("select status from tasks where task_id = ?", (task_id,)).fetchone()
        return None if row is None else str(row[0])

    def ended_task(self, task_id: str) -> TaskRecord | None:
        row = self._connection.execute(
            "select task_id, status, reason, sha256, path, finished_at from tasks where task_id = ?", (task_id,)
        ).fetchone()
        return None if row is None else _record(row)

    def ended_among(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Those of the tasks that have ended, by casefolded id."""
        found: list[TaskRecord] = []
        for first in range(0, len(task_ids), _ASKED_AT_ONCE):
            asked = task_ids[first : first + _ASKED_AT_ONCE]
            rows = self._connection.execute(
                "select task_id, status, reason, sha256, path, finished_at from tasks "  # noqa: S608 - constants only
                f"where task_id in ({', '.join('?' * len(asked))})",
                asked,
            )
            found += map(_record, rows)
        return {one.task_id.casefold(): one for one in found}

    def ended_with(self, reason: str) -> list[TaskRecord]:
        """The tasks that failed for this reason, oldest first."""
        rows = self._connection.execute(
            "select task_id, status, reason, sha256, path, finished_at from tasks where reason = ? order by rowid",
            (reason,),
        )
        return [_record(row) for row in rows]

    def ended_tasks(self, limit: int = -1) -> list[TaskRecord]:
        """Newest first."""
        rows = self._connection.execute(
            "select task_id, status, reason, sha256, path, finished_at from tasks "
            "order by finished_at desc, rowid desc limit ?",
            (limit,),
        )
        return [_record(row) for row in rows]

    def not_filed_away(self) -> list[TaskRecord]:
        """Those that lie in completed/ or failed/ itself."""
        rows = self._connection.execute(
            "select task_id, status, reason, sha256, path, finished_at from tasks where path not glob '*/archive/*'"
        )
        return [_record(row) for row in rows]

    def count_ended(self) -> dict[str, int]:
        return dict(self._connection.execute("select status, count(*) from tasks group by status").fetchall())

    def ended_since(self, epoch_seconds: float) -> dict[str, int]:
        """How many tasks have completed and failed since an instant."""
        rows = self._connection.execute(
            "select status, count(*) from tasks where finished_at >= ? group by status", (epoch_seconds,)
        )
        return dict(rows.fetchall())

    def forget_ended(self, task_id: str) -> None:
        with self.transaction():
            self._connection.execute("delete from tasks where task_id = ?", (task_id,))

    # outcomes (the index of the ledger)

    def add_outcomes(self, rows: Iterable[Sequence[object]]) -> None:
        """Rows in the order of `cost_records`; an attempt that is there already stays as it is."""
        with self.transaction():
            self.insert_outcomes(rows)

    def insert_outcomes(self, rows: Iterable[Sequence[object]]) -> None:
        """`add_outcomes` for a caller that holds the transaction."""
        self._connection.executemany(
            f"insert or ignore into outcomes values ({', '.join('?' * 22)})",  # noqa: S608 - constants only
            rows,
        )

    def outcomes(self, *, since: str | None = None, day: str | None = None) -> list[tuple[Any, ...]]:
        """Ledger rows, oldest first; `since` and `day` are ISO dates."""
        if day is not None:
            return self._connection.execute(
                "select * from outcomes where substr(timestamp, 1, 10) = ? order by rowid", (day,)
            ).fetchall()
        return self._connection.execute(
            "select * from outcomes where timestamp >= ? order by rowid", (since or "",)
        ).fetchall()

    def newest_outcome(self) -> int:
        """A number that grows with each ledger row, and starts again where the index was built anew; 0 without any."""
        return int(self._connection.execute("select coalesce(max(rowid), 0) from outcomes").fetchone()[0])

    def outcome_at(self, number: int) -> str | None:
        """The attempt whose row made `newest_outcome` this number."""
        row = self._connection.execute("select attempt_id from outcomes where rowid = ?", (number,)).fetchone()
        return None if row is None else str(row[0])

    def outcomes_between(self, after: int, last: int) -> list[tuple[dict[str, Any], tuple[Any, ...]]]:
        """Ledger rows by the numbers of `newest_outcome`, oldest first, each after its attempt's routing ({}: not known)."""
        rows = self._connection.execute(
            "select a.routing, o.* from outcomes o left join attempts a on a.attempt_id = o.attempt_id "
            "where o.rowid > ? and o.rowid <= ? order by o.rowid",
            (after, last),
        )
        return [(json.loads(row[0] or "{}"), row[1:]) for row in rows]

    def routings(self, attempt_ids: Iterable[str]) -> dict[str, tuple[str, dict[str, Any]]]:
        """attempt id -> its claimant and where it was routed, of those that this journal knows."""
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        for attempt_id in attempt_ids:
            row = self._connection.execute(
                "select claimant, routing from attempts where attempt_id = ?", (attempt_id,)
            ).fetchone()
            if row is not None:
                found[attempt_id] = (row[0], json.loads(row[1] or "{}"))
        return found

    def rows_of(self, task_id: str) -> list[tuple[Any, ...]]:
        """Ledger rows of a task, oldest first."""
        return self._connection.execute(
            "select * from outcomes where task_id = ? order by rowid", (task_id,)
        ).fetchall()

    def replace_caches(self, records: Sequence[TaskRecord], rows: Iterable[Sequence[object]]) -> None:
        """What the text says of ended tasks and their attempts, in place of what stood here; all or nothing."""
        with self.transaction():
            self._connection.execute("delete from outcomes")
            self._connection.execute("delete from tasks")
            self.set_ended_tasks(records)
            self.insert_outcomes(rows)

    # questions, approvals, holds, meta

    def ask(self, question_id: str, document: Mapping[str, Any], asked_at: float) -> bool:
        """Keep a question; False if it was asked already."""
        with self.transaction():
            cursor = self._connection.execute(
                "insert or ignore into questions values (?, ?, ?)", (question_id, json.dumps(document), asked_at)
            )
        return cursor.rowcount == 1

    def withdraw(self, question_id: str) -> bool:
        """Remove a question; False if it was not open."""
        with self.transaction():
            cursor = self._connection.execute("delete from questions where id = ?", (question_id,))
        return cursor.rowcount == 1

    def questions(self) -> dict[str, tuple[dict[str, Any], float]]:
        """id -> (document, epoch seconds when asked), oldest first."""
        rows = self._connection.execute("select id, document, asked_at from questions order by asked_at, id")
        return {row[0]: (self._document(row[0], row[1]), row[2]) for row in rows}

    def _document(self, question_id: str, text: str) -> dict[str, Any]:
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._unreadable(f"question {question_id}", error) from error

    def approve(self, sha256: str, name: str, how: str) -> None:
        with self.transaction():
            self._connection.execute(
                "insert or ignore into approvals values (?, ?, ?, ?)", (sha256, name, time.time(), how)
            )

    def approvals(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._connection.execute("select sha256 from approvals"))

    def approvals_told(self) -> dict[str, tuple[str, float]]:
        """sha256 -> how it was approved, and when (epoch seconds)."""
        rows = self._connection.execute("select sha256, how, approved_at from approvals")
        return {row[0]: (row[1], row[2]) for row in rows}

    def replace_holds(self, holds: Iterable[Hold]) -> None:
        with self.transaction():
            self._connection.execute("delete from holds")
            self._connection.executemany(
                "insert or replace into holds values (?, ?, ?, ?)",
                [(h.task_id, h.name, h.reason, h.until) for h in holds],
            )

    def holds(self) -> list[Hold]:
        rows = self._connection.execute("select task_id, name, reason, until from holds order by rowid")
        return [Hold(task_id=r[0], name=r[1], reason=r[2], until=r[3]) for r in rows]

    def get(self, key: str) -> str | None:
        row = self._connection.execute("select value from meta where key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        with self.transaction():
            self._connection.execute("insert or replace into meta values (?, ?)", (key, value))

    def unset(self, key: str) -> None:
        with self.transaction():
            self._connection.execute("delete from meta where key = ?", (key,))

    def values(self, prefix: str) -> dict[str, str]:
        """key -> value of the keys that begin so, which may hold none of the letters `*?[`."""
        rows = self._connection.execute("select key, value from meta where key glob ? || '*' order by key", (prefix,))
        return dict(rows.fetchall())

    @property
    def born(self) -> float:
        """Epoch seconds when this journal was created: what was claimed before it is not on it."""
        return float(self.get("born") or "inf")

    def check(self) -> str | None:
        """What SQLite itself finds wrong with the file, or None."""
        row = self._connection.execute("pragma quick_check(1)").fetchone()
        return None if row[0] == "ok" else str(row[0])


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: executescript would end our transaction."""
    text = ""
    for line in script.splitlines():
        text += line + "\n"
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _to_row(attempt: Attempt) -> tuple[object, ...]:
    return (
        attempt.attempt_id,
        attempt.task_id,
        attempt.number,
        attempt.state,
        attempt.name,
        attempt.sha256,
        attempt.spec,
        attempt.claimant,
        attempt.claimed_at,
        attempt.lease_until,
        attempt.origin,
        attempt.interface,
        attempt.model,
        attempt.tier,
        None if attempt.routing is None else json.dumps(attempt.routing),
        json.dumps(attempt.argv),
        attempt.mode,
        attempt.started_at,
        None if attempt.ended is None else encode_ended(attempt.ended),
        attempt.decision,
        attempt.status,
        attempt.reason,
        attempt.message,
        attempt.resumes,
        attempt.resume_at,
        attempt.answer,
        json.dumps(asdict(attempt.lineage)),
    )


def _to_end(attempt: Attempt) -> tuple[object, ...]:
    return (
        None if attempt.ended is None else encode_ended(attempt.ended),
        attempt.decision,
        attempt.status,
        attempt.reason,
        attempt.message,
        attempt.resume_at,
        attempt.interface,
        attempt.model,
        attempt.attempt_id,
    )


def _from_row(row: Sequence[Any]) -> Attempt:
    return Attempt(
        attempt_id=row[0],
        task_id=row[1],
        number=row[2],
        state=AttemptState(row[3]),
        name=row[4],
        sha256=row[5],
        spec=row[6] or b"",
        claimant=row[7],
        claimed_at=row[8],
        lease_until=row[9],
        origin=row[10],
        interface=row[11],
        model=row[12],
        tier=row[13],
        routing=None if row[14] is None else json.loads(row[14]),
        argv=tuple(json.loads(row[15] or "[]")),
        mode=Mode(row[16]),
        started_at=row[17],
        ended=None if row[18] is None else decode_ended(row[18]),
        decision=None if row[19] is None else Decision(row[19]),
        status=None if row[20] is None else Status(row[20]),
        reason=None if row[21] is None else Reason(row[21]),
        message=row[22],
        resumes=row[23],
        resume_at=row[24],
        answer=row[25],
        lineage=Lineage(**json.loads(row[26])),
    )


def _record(row: Sequence[Any]) -> TaskRecord:
    return TaskRecord(task_id=row[0], status=row[1], reason=row[2], sha256=row[3], path=row[4], finished_at=row[5])
