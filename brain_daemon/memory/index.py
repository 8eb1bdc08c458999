"""The index of the pool: a SQLite file with FTS5 that says where ids are and ranks passages by words. A cache, nothing more.

One `Index` is one connection, for one thread and a short while; several processes may have the file open, and SQLite lets one
of them write at a time. It keeps a rollback journal and no shared memory, so that a file that is damaged while somebody
has it open is an error that is caught, never a signal.

Failures: a file that cannot be trusted raises `Doubtful`; `discard` then takes it away and the next one is built anew. A
lock that is not had in time, or a disk that is full, raises StorageError.
"""

import os
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from typing import Any

from filelock import FileLock, Timeout

from brain_daemon.memory.texts import Text
from brain_daemon.model.errors import Damaged, StorageError
from brain_daemon.model.words import apart
from brain_daemon.store.database import statements
from brain_daemon.store.files import Files

FORMAT = 1
PIECES = 64
"""Most vectors of one chunk."""

_BUSY_SECONDS = 10.0
_TITLE_WEIGHT = 1.5
_HELD = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_MANY = 400


class Doubtful(Damaged):
    """The index cannot be trusted: it is thrown away and built anew from the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A passage in a file: lines count from 1. `score` is larger for what fits better, and compares within one list only.

    `share` is the part of the question's words it holds, 1 where words do not count.
    """

    chunk: int
    path: str
    line: int
    last_line: int
    heading: str
    score: float = 0.0
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the index says of a file; the file itself decides."""

    path: str
    id: str
    kind: str
    title: str
    sha256: str
    modified_at: float


class Index:
    """The verbs on one connection to the file at `path`, which is made if it is not there."""

    def __init__(self, path: str, files: Files) -> None:
        self.path = path
        self._files = files
        files.make_folder(os.path.dirname(path), 0o700)
        with _judged(path, "opening"):
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with _judged(path, "opening"):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("pragma journal_mode = delete")
        self._connection.execute("pragma synchronous = normal")
        self._connection.execute("pragma cache_size = -8000")
        found = self._connection.execute("pragma user_version").fetchone()[0]
        if found == 0:
            self._create()
        elif found != FORMAT:
            raise Doubtful(f"opening the index {self.path}: it has format {found}, this program writes {FORMAT}")

    def _create(self) -> None:
        script = package_files("brain_daemon.memory").joinpath("pool.sql").read_text("utf-8")
        with self._transaction():
            if self._connection.execute("pragma user_version").fetchone()[0]:
                return
            for statement in statements(script):
                self._connection.execute(statement)
            self._connection.execute("insert into meta values ('epoch', ?)", (uuid.uuid4().hex[:12],))
            self._connection.execute(f"pragma user_version = {FORMAT}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
            self._files.step("commit pool", self.path)
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise

    # writing

    def put(self, texts: Iterable[Text], gone: Iterable[str] = ()) -> None:
        """These files as they are now, in place of what was known of them; those `gone` are forgotten. All or nothing."""
        with _judged(self.path, "writing"), self._transaction():
            for path in gone:
                self._forget(path)
            for text in texts:
                self._forget(text.path)
                self._insert(text)

    def _forget(self, path: str) -> None:
        run = self._connection.execute
        run("delete from words where rowid in (select id from chunks where path = ?)", (path,))
        run("delete from vectors where chunk in (select id from chunks where path = ?)", (path,))
        run("delete from chunks where path = ?", (path,))
        run("delete from texts where path = ?", (path,))

    def _insert(self, text: Text) -> None:
        run = self._connection.execute
        facts = (text.path, text.id, text.kind, text.title, text.signature, text.sha256, text.modified_at)
        run("insert into texts values (?, ?, ?, ?, ?, ?, ?)", facts)
        for passage in text.passages():
            last = passage.line + passage.text.count("\n")
            values = (passage.path, passage.line, last, passage.heading)
            chunk = run("insert into chunks (path, line, last_line, heading) values (?, ?, ?, ?)", values).lastrowid
            about = apart(f"{text.title} {passage.heading} {_name(text.path)}")
            run("insert into words (rowid, about, body) values (?, ?, ?)", (chunk, about, apart(passage.text)))

    def sign_anew(self, path: str, signature: str) -> None:
        """The file is another one by its looks and the same by its bytes."""
        with _judged(self.path, "writing"), self._transaction():
            self._connection.execute("update texts set signature = ? where path = ?", (signature, path))

    def put_vectors(self, vectors: Mapping[int, Sequence[bytes]]) -> None:
        """Vectors of chunks that are still there, in the order of their pieces."""
        query = "insert or replace into vectors select ?, ?, ? where exists (select 1 from chunks where id = ?)"
        rows = [
            (chunk * PIECES + number, chunk, vector, chunk)
            for chunk, some in vectors.items()
            for number, vector in enumerate(some[:PIECES])
        ]
        with _judged(self.path, "writing"), self._transaction():
            self._connection.executemany(query, rows)

    def begin_vectors(self, embedding: str) -> None:
        """Vectors of another embedding than this one are forgotten."""
        if self.get("embedding") == embedding:
            return
        with _judged(self.path, "writing"), self._transaction():
            self._connection.execute("delete from vectors")
            self._connection.execute("insert or replace into meta values ('embedding', ?)", (embedding,))

    # reading

    def get(self, key: str) -> str | None:
        rows = self._rows("select value from meta where key = ?", (key,))
        return str(rows[0][0]) if rows else None

    @property
    def epoch(self) -> str:
        """What tells this index from another that was built in its place."""
        return self.get("epoch") or ""

    def known(self, paths: Iterable[str]) -> dict[str, tuple[str, str]]:
        """path -> signature and hash of those of these files that are in it."""
        rows = (self._rows(f"{_KNOWN} where path = ?", (path,)) for path in paths)
        return {str(path): (str(signature), str(sha)) for found in rows for path, signature, sha in found}

    def known_in(self, folder: str) -> dict[str, tuple[str, str]]:
        """The same of all files in a folder, without those in the folders below it."""
        rows = self._rows(
            f"{_KNOWN} where path > ? and path < ? and instr(substr(path, ?), '/') = 0",
            (f"{folder}/", f"{folder}0", len(folder) + 2),  # 0 is what follows / in the order of letters
        )
        return {str(path): (str(signature), str(sha)) for path, signature, sha in rows}

    def folders(self) -> set[str]:
        """Where its files are."""
        # A path without its last name is what is left when all that is no slash is taken off its end.
        return {
            str(path)[:-1] for (path,) in self._rows("select distinct rtrim(path, replace(path, '/', '')) from texts")
        }

    def counts(self) -> tuple[int, int, int]:
        """How many files, passages, and passages that have vectors."""
        counted = "select (select count(*) from texts), (select count(*) from chunks), (select count(distinct chunk) from vectors)"
        files, chunks, vectors = self._rows(counted)[0]
        return int(files), int(chunks), int(vectors)

    def find(self, wanted: str) -> list[Row]:
        """The files of an id, newest first."""
        query = "select path, id, kind, title, sha256, modified_at from texts where id = ? order by modified_at desc"
        return [_row(row) for row in self._rows(query, (wanted,))]

    def newest(self, kind: str | None, limit: int) -> list[Row]:
        """What changed last."""
        query = (
            "select path, id, kind, title, sha256, modified_at from texts where ? is null or kind = ? "
            "order by modified_at desc, path limit ?"
        )
        return [_row(row) for row in self._rows(query, (kind, kind, limit))]

    def rows_of(self, paths: Iterable[str]) -> dict[str, Row]:
        """What is known of these files."""
        query = "select path, id, kind, title, sha256, modified_at from texts where path in ({})"
        return {row.path: row for row in map(_row, self._of(query, list(paths)))}

    def frequencies(self, queries: Sequence[str], most: int) -> dict[str, int]:
        """How many passages hold each word, counted up to `most`."""
        query = "select count(*) from (select 1 from words where words match ? limit ?)"
        return {one: int(self._rows(query, (one, most))[0][0]) for one in queries}

    def ranked(self, terms: Sequence[str], limit: int) -> list[Place]:
        """The passages that hold any of these FTS5 terms, best first: BM25 times how many of the terms they hold."""
        sql = (
            "select id, path, line, last_line, heading, found.rank from (select rowid, bm25(words, ?, 1.0) as rank "
            "from words where words match ? order by rank limit ?) as found join chunks on id = found.rowid"
        )
        rows = self._rows(sql, (_TITLE_WEIGHT, " OR ".join(terms), limit))
        held = self._held([int(row[0]) for row in rows], terms)
        shares = {chunk: held[chunk] / len(terms) for chunk in map(int, (row[0] for row in rows))}
        places = [
            replace(_place(row, -float(row[5]) * (0.5 + shares[int(row[0])])), share=shares[int(row[0])])
            for row in rows
        ]
        return sorted(places, key=lambda place: (-place.score, place.path, place.line))

    def _held(self, chunks: list[int], terms: Sequence[str]) -> Counter[int]:
        """How many of the terms each chunk holds."""
        within = ", ".join(map(str, chunks))
        query = f"select rowid from words where words match ? and rowid in ({within})"  # noqa: S608 - numbers
        return Counter(int(row[0]) for term in terms for row in self._rows(query, (term,)))

    def places(self, chunks: Iterable[int]) -> dict[int, Place]:
        """Where these chunks are; those that are gone are left out."""
        found = self._of("select id, path, line, last_line, heading from chunks where id in ({})", list(chunks))
        return {int(row[0]): _place(row) for row in found}

    def without_vector(self, limit: int) -> dict[int, str]:
        """Chunks that lack one, with their text."""
        query = (
            "select rowid, body from words where rowid in "
            "(select id from chunks where id not in (select chunk from vectors) limit ?)"
        )
        return {int(row[0]): str(row[1]) for row in self._rows(query, (limit,))}

    def vectors_of(self, ids: Iterable[int]) -> dict[int, bytes]:
        """These vectors; those that are gone are left out."""
        return {int(row[0]): bytes(row[1]) for row in self._of(_VECTORS, list(ids))}

    def vector_ids(self) -> set[int]:
        return {int(row[0]) for row in self._rows("select id from vectors")}

    def check(self) -> None:
        """Look at all of it. Raises Doubtful."""
        rows = self._rows("pragma quick_check(1)")
        if rows != [("ok",)]:
            raise Doubtful(f"checking the index {self.path}: {rows[0][0] if rows else 'no answer'}")
        with _judged(self.path, "checking"):
            self._connection.execute("insert into words (words) values ('integrity-check')")

    def _of(self, query: str, values: list[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of a query `... in ({})`, by some hundred values at a time."""
        for start in range(0, len(values), _MANY):
            some = values[start : start + _MANY]
            yield from self._rows(query.format(", ".join("?" * len(some))), some)

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with _judged(self.path, "reading"):
            return self._connection.execute(query, values).fetchall()


_VECTORS = "select id, vector from vectors where id in ({})"
_KNOWN = "select path, signature, sha256 from texts"


def _row(row: Sequence[Any]) -> Row:
    path, wanted, kind, title, sha256, modified_at = row
    return Row(
        path=str(path),
        id=str(wanted),
        kind=str(kind),
        title=str(title),
        sha256=str(sha256),
        modified_at=float(modified_at),
    )


def _place(row: Sequence[Any], score: float = 0.0) -> Place:
    return Place(
        chunk=int(row[0]),
        path=str(row[1]),
        line=int(row[2]),
        last_line=int(row[3]),
        heading=str(row[4]),
        score=score,
    )


def _name(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


@contextmanager
def _judged(path: str, doing: str) -> Iterator[None]:
    """Errors of SQLite, classed: somebody else writes, no room, or the file is not to be trusted."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _HELD:
            raise StorageError(f"{doing} the index {path}: another process has held it for long. Try again.") from error
        if code in _NO_ROOM:
            raise StorageError(f"{doing} the index {path}: {error}. Free space and permissions decide.") from error
        raise Doubtful(f"{doing} the index {path}: {error}") from error
    except (UnicodeError, TypeError, ValueError, OverflowError) as error:
        raise Doubtful(f"{doing} the index {path}: {error}") from error


def inode_of(path: str) -> int | None:
    """What tells the file at a path from another that took its place; None if there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def discard(path: str, files: Files, inode: int | None) -> None:
    """Take away an index that was found in doubt; not if another process has put a new one in its place meanwhile."""
    files.make_folder(os.path.dirname(path), 0o700)
    try:
        with FileLock(f"{path}.lock", timeout=_BUSY_SECONDS):
            if inode is None or inode_of(path) == inode:
                # The file first: beside one that is gone or empty SQLite takes a journal for what it is, a leftover.
                for suffix in ("", "-journal", "-wal", "-shm"):
                    files.remove(path + suffix)
    except Timeout as error:
        raise StorageError(
            f"building the index {path} anew: another process has held it for long. Try again."
        ) from error
