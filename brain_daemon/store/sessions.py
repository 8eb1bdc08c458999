"""The files of sessions, in the state folder: `sessions/ID.json`, and beside it `ID.json.bak`, the last good copy.

Whoever changes a session reads the file, changes what it found and writes it again, all under one lock; a run that kept a
session in mind meanwhile loses nothing of the others', since what is written is the merge of both (model/session.py).

Failures: a file that is no session is kept as `ID.damaged-N.json` and the last good copy takes its place, which `Found.note`
says; where that is bad too, the session begins afresh. StorageError where the disk says no; Occupied where the lock is
held for longer than anybody needs it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from brain_daemon.model.errors import Damaged, Occupied, UserError
from brain_daemon.model.ids import is_task_id
from brain_daemon.model.session import MAX_BYTES, Session, merge, read_session, trimmed, write_session
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

LOCK_SECONDS = 10.0
_ENDING = ".json"
_COPY = ".bak"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the disk has of a session: None for nothing; `note` says what was damaged and what became of it."""

    session: Session | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A session's file: when it was last written (epoch seconds) and how large it is."""

    session_id: str
    written_at: float
    size_bytes: int


class Sessions:
    """The sessions of one brain. `limit_bytes` is the most that one may take."""

    def __init__(self, layout: Layout, files: Files, limit_bytes: int = MAX_BYTES) -> None:
        self.folder = os.path.join(layout.state, "sessions")
        self._files = files
        self._limit_bytes = limit_bytes
        self._lock_path = os.path.join(layout.state, "sessions.lock")

    def listed(self) -> list[Listed]:
        """Every session, the one written last first; nothing is read."""
        try:
            with os.scandir(self.folder) as entries:
                found = [_listed(entry) for entry in entries if _is_session(entry.name)]
        except FileNotFoundError:
            return []
        return sorted(filter(None, found), key=lambda one: (-one.written_at, one.session_id))

    def read(self, session_id: str) -> Found:
        """The session as it stands; a damaged file is put right on the way."""
        path = self._path(session_id)
        try:
            session = _session(path)
        except Damaged:
            session = None
        if session is not None:
            return Found(session=session)
        with self._locked():
            return self._recovered(session_id)

    def save(self, session: Session) -> Found:
        """Write what a run knows, merged with what others have written; the whole, and what was damaged."""
        return self.change(session.session_id, lambda known: session if known is None else merge(known, session))

    def change(self, session_id: str, act: Callable[[Session | None], Session]) -> Found:
        """Replace a session by what `act` makes of it, while nobody else can; `act` gets None where there is none."""
        with self._locked():
            found = self._recovered(session_id)
            session = trimmed(act(found.session), self._limit_bytes)
            if session != found.session:
                self._write(session, found.session)
            return Found(session=session, note=found.note)

    def prune(self, before: float) -> list[str]:
        """Take away the sessions last written before `before` (epoch seconds), with what was kept of damaged ones; their ids."""
        old = [one.session_id for one in self.listed() if one.written_at < before]
        if not old and not self._old_remains(before):
            return []
        with self._locked():
            gone = [one.session_id for one in self.listed() if one.written_at < before]
            for session_id in gone:
                # The copy first: a session whose copy alone is left would come back from it.
                self._files.remove(self._path(session_id) + _COPY)
                self._files.remove(self._path(session_id))
            for path in self._old_remains(before):
                self._files.remove(path)
        return gone

    def _write(self, session: Session, last_good: Session | None) -> None:
        path = self._path(session.session_id)
        self._files.make_folder(self.folder, 0o700)
        if last_good is not None:
            self._files.put(path + _COPY, write_session(last_good), sync=False)
        self._files.put(path, write_session(session))

    def _recovered(self, session_id: str) -> Found:
        """The session from its file, else from the last good copy; what is damaged is put aside. Under the lock."""
        path = self._path(session_id)
        notes: list[str] = []
        for place in (path, path + _COPY):
            try:
                session = _session(place)
            except Damaged as error:
                notes.append(f"{error} It is kept as {self._put_aside(place, session_id)}.")
                continue
            if session is not None and place != path:
                self._files.put(path, write_session(session))
                notes.append(f"The last good copy of {session_id} took its place.")
            if session is not None:
                return Found(session=session, note=" ".join(notes))
        return Found(session=None, note=" ".join(notes))

    def _put_aside(self, path: str, session_id: str) -> str:
        number = 1
        while True:
            target = os.path.join(self.folder, f"{session_id}.damaged-{number}{_ENDING}")
            try:
                self._files.move(path, target)
            except FileExistsError:
                number += 1
                continue
            return target

    def _old_remains(self, before: float) -> list[str]:
        """Damaged files that nobody came for."""
        try:
            with os.scandir(self.folder) as entries:
                return [one.path for one in entries if ".damaged-" in one.name and one.stat().st_mtime < before]
        except FileNotFoundError:
            return []

    def _path(self, session_id: str) -> str:
        if not is_task_id(session_id):
            raise UserError(
                f"looking for the session {session_id!r}: an id has letters, digits, dots, dashes and underscores. "
                "`brain session list` shows them."
            )
        return os.path.join(self.folder, session_id + _ENDING)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self._lock_path, thread_local=False)
        try:
            lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.005)
        except Timeout:
            raise Occupied(
                f"writing a session in {self.folder}: another process has held {self._lock_path} for {LOCK_SECONDS:g} s. "
                "`brain doctor` names the holder."
            ) from None
        try:
            yield
        finally:
            lock.release()


def _session(path: str) -> Session | None:
    """The session in a file, None where there is no file; Damaged where it holds none, or another's."""
    if not os.path.lexists(path):
        return None
    data = read_regular(path)
    session = read_session(data, path)
    expected = os.path.basename(path).removesuffix(_COPY).removesuffix(_ENDING)
    if session.session_id != expected:
        raise Damaged(f"reading the session {path}: it is the session {session.session_id}.")
    return session


def _is_session(name: str) -> bool:
    stem = name.removesuffix(_ENDING)
    return name.endswith(_ENDING) and ".damaged-" not in name and is_task_id(stem)


def _listed(entry: os.DirEntry[str]) -> Listed | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Listed(session_id=entry.name.removesuffix(_ENDING), written_at=status.st_mtime, size_bytes=status.st_size)
