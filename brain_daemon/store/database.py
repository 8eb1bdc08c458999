"""A SQLite file of ours: made whole or not at all, opened with its format checked, written in durable transactions.

One `Database` is one connection and belongs to one thread; several processes may have the file open. A transaction is durable
when its block ends (write-ahead log, synchronous FULL).

Failures: a file that is empty, unreadable or of a newer format raises `Damaged` or `Refused` and is left as it is; a write that
the disk refuses, or a lock that is not had in half a minute, raises `StorageError`.
"""

import fcntl
import os
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files as package_files
from typing import Any

from brain_daemon.model.errors import Damaged, Refused, StorageError
from brain_daemon.store.files import Files

_BUSY_SECONDS = 30.0
# Between two looks at a lock that somebody else has, at random. SQLite's own wait grows to a tenth of a second and queues nobody:
# beside one that writes again and again, the others would not get a turn.
_PAUSE_SECONDS = (0.0005, 0.005)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the file is: its `name` in messages, the script of its tables, its format, and what helps when it is damaged."""

    name: str
    script: str
    version: int
    remedy: str


class Database:
    """One connection to the file at `path`, which is made if it is not there."""

    def __init__(self, path: str, files: Files, kind: Kind) -> None:
        self.path = path
        self._files = files
        self._kind = kind
        files.make_folder(os.path.dirname(path), 0o700)
        if not os.path.exists(path):
            self._create()
        elif os.path.getsize(path) == 0:
            raise self._damaged("it is empty, which no crash of this program leaves")
        self.connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._damaged(str(error)) from error
        except (Damaged, Refused):
            self.close()
            raise

    def close(self) -> None:
        """The file stays; unfinished transactions are undone."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable when the block has ended. Other writers wait for it."""
        try:
            self._begin()
            try:
                yield
                self._files.step(f"commit {self._kind.name}", self.path)
                self.connection.execute("commit")
            except BaseException:
                # A full disk may have rolled it back already.
                if self.connection.in_transaction:
                    self.connection.execute("rollback")
                raise
        except sqlite3.OperationalError as error:
            raise StorageError(f"writing {self._kind.name} {self.path}: {error}") from error

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever anybody has written, through this connection (total_changes) or another one (data_version)."""
        return self.rows("pragma data_version")[0][0], self.connection.total_changes

    def rows(self, query: str, values: Sequence[object] | dict[str, object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.connection.execute(query, values).fetchall()

    def _begin(self) -> None:
        """Take the one lock of all writers when it is our turn; sqlite3.OperationalError where it does not come in half a minute."""
        deadline = time.monotonic() + _BUSY_SECONDS
        try:
            door = os.open(os.path.dirname(self.path) or os.curdir, os.O_RDONLY)
        except OSError as error:
            raise StorageError(f"writing {self._kind.name} {self.path}: {error}") from error
        self.connection.execute("pragma busy_timeout = 0")
        try:
            while not self._begun(door, late=time.monotonic() > deadline):
                time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - jitter, not a secret
        finally:
            self.connection.execute(f"pragma busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
            os.close(door)

    def _begun(self, door: int, *, late: bool) -> bool:
        """Whether we hold the writers' lock now. Who is next holds the door, a lock on the folder, until it does."""
        if not (_is_held(door) or late):
            return False
        try:
            self.connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or late:
                raise
            return False
        return True

    def _prepare(self) -> None:
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("pragma synchronous = full")
        version = self.rows("pragma user_version")[0][0]
        if version == 0:
            raise self._damaged("it has no tables, which no crash of this program leaves")
        if version > self._kind.version:
            raise Refused(
                f"{self._kind.name} {self.path} has format {version}, this program knows {self._kind.version}: "
                "it was written by a newer release. Upgrade brain-daemon; nothing was changed."
            )

    def _create(self) -> None:
        """Make the file aside and move it to its place whole: another process may be doing the same, and the first one stays."""
        aside = f"{self.path}.{os.getpid()}.{uuid.uuid4().hex[:8]}.new"
        script = package_files("brain_daemon.store").joinpath(self._kind.script).read_text("utf-8")
        self._files.step(f"create {self._kind.name}", aside)
        connection = sqlite3.connect(aside, isolation_level=None)
        try:
            # Now, while nobody else has it: SQLite does not wait for others when it changes to a write-ahead log.
            connection.execute("pragma journal_mode = wal")
            connection.execute("begin immediate")
            for statement in statements(script):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {self._kind.version}")
            connection.execute("commit")
        finally:
            connection.close()
        try:
            self._files.move(aside, self.path)
            self._files.sync_folders([os.path.dirname(self.path)])
        except FileExistsError:
            self._files.remove(aside)

    def _damaged(self, why: str) -> Damaged:
        return Damaged(f"opening {self._kind.name} {self.path}: {why}. It is kept as it is. {self._kind.remedy}")


def _is_held(door: int) -> bool:
    """Whether this door is ours now. Where the file system has no such locks there is no queue, and whoever comes may pass."""
    try:
        fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: executescript would end our transaction."""
    text = ""
    for line in script.splitlines():
        text += line + "\n"
        if sqlite3.complete_statement(text):
            yield text
            text = ""
