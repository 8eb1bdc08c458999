"""The journal's caches of what the text in git says: tasks that have ended (`tasks`), and the index of the ledger (`outcomes`)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from brain_daemon.store.journal_file import JournalFile

_ASKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task that has ended; `path` is relative to the brain."""

    task_id: str
    status: str
    path: str
    reason: str | None = None
    sha256: str | None = None
    finished_at: float | None = None


class HistoryRows(JournalFile):
    """The verbs on both tables; `brain reindex` makes them anew."""

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

    def chain(self, chain_id: str) -> list[tuple[Any, ...]]:
        """Ledger rows of a chain, oldest first: its tasks, and the root it is called after."""
        return self._connection.execute(
            "select * from outcomes where chain_id = ? or task_id = ? order by rowid", (chain_id, chain_id)
        ).fetchall()


def _record(row: Sequence[Any]) -> TaskRecord:
    return TaskRecord(task_id=row[0], status=row[1], reason=row[2], sha256=row[3], path=row[4], finished_at=row[5])
