"""What else the journal keeps: open questions, approvals, why tasks are held, and single values."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brain_daemon.store.journal_file import JournalFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A pending task that does not start, in words; `until` is epoch seconds where a time ends it."""

    task_id: str
    name: str
    reason: str
    until: float | None = None


class NoteRows(JournalFile):
    """The verbs on `questions`, `approvals`, `holds` and `meta`."""

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
