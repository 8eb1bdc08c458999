"""The SQLite file of the journal: opened, made, refused where it is not ours, and its transactions.

One connection belongs to one thread; several processes may have the file open. A transaction is durable when its block ends
(write-ahead log, synchronous FULL); the recorder's connection may be opened with `durable=False`, because all it writes can be
found out again.

Failures: a journal that is empty, unreadable or of a newer version raises `Damaged` or `Refused` and is left as it
is: it is never replaced by a fresh one (a missing journal beside tasks in active/ is the start-up's affair).
"""

import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files as package_files

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Damaged, Refused, StorageError
from brain_daemon.store.database import statements
from brain_daemon.store.files import Files
from brain_daemon.store.looking import address_to_read, only_looking

SCHEMA_VERSION = 1
UNSETTLED = "decision in ('again', 'ask', 'park')"
"""Of an attempt that did not end its task, in the words of the partial index."""

# Indexes that journals of the same format may lack: they were made before these were thought of.
_LATER_INDEXES = {"attempts_unsettled": f"on attempts (task_id) where {UNSETTLED}"}


class JournalFile:
    """One connection to the file. A journal that cannot be what it was is refused, and never made anew."""

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
            for statement in statements(script):
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

    def check(self) -> str | None:
        """What SQLite itself finds wrong with the file, or None."""
        row = self._connection.execute("pragma quick_check(1)").fetchone()
        return None if row[0] == "ok" else str(row[0])

    def _unreadable(self, what: str, error: Exception) -> Damaged:
        said = clean_line(f"{type(error).__name__}: {error}", 200)
        return Damaged(
            f"reading {what} in the journal {self._path}: its row is not one of ours ({said}). It is kept as it is. "
            "Restore the journal from a backup, or move it away: tasks in active/ are then held as interrupted."
        )
