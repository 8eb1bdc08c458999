"""The four folders: look at a pending file, claim it, give it back.

A file is looked at with one admission check before any of its bytes are read (name, regular file, one link, size), is
opened without following links and without blocking, and is never written. Moves never overwrite.

Failures: what cannot be read is answered as `Unreadable` with the reason and stops nothing else; a disk that refuses a
move raises StorageError.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from brain_daemon.store.files import TEMPORARY_SUFFIX, Files
from brain_daemon.store.layout import Layout, is_task_name

MAX_TASK_BYTES = 1_000_000
# store/files.py, store/watch.py and store/journal.py give these names; SQLite adds to the last one.
_LEFTOVER = re.compile(
    rf"\..*\.(\d+)\.\d+{re.escape(TEMPORARY_SUFFIX)}|\.probe-(\d+)|journal\.db\.(\d+)\.[0-9a-f]{{8}}\.new(?:-\w+)?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Signature:
    """Tells one state of a file from another: inode, size, modification and change time in nanoseconds."""

    inode: int
    size_bytes: int
    modified_ns: int

    @property
    def modified_at(self) -> float:
        """Epoch seconds."""
        return self.modified_ns / 1e9


@dataclass(frozen=True, slots=True)
class Seen:
    """A readable file: its signature, and its bytes unless it is over the size limit."""

    name: str
    signature: Signature
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A name that is a task's, but not a file we open; it stays where it is."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """No such file any more."""

    name: str


def names(folder: str) -> Iterator[str]:
    """The task names in a folder, in no order. A folder that cannot be listed raises OSError: that is not an empty one."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_task_name(entry.name):
                yield entry.name


def sign(status: os.stat_result) -> Signature:
    return Signature(status.st_ino, status.st_size, status.st_mtime_ns)


def peek(folder: str, name: str) -> Signature | Unreadable | Gone:
    """The signature of a file that may be opened."""
    try:
        status = os.lstat(os.path.join(folder, name))
    except FileNotFoundError:
        return Gone(name)
    except OSError as error:
        return Unreadable(name, f"cannot be looked at: {error.strerror}")
    reason = _inadmissible(status)
    return Unreadable(name, reason) if reason else sign(status)


def look(folder: str, name: str, limit_bytes: int = MAX_TASK_BYTES) -> Seen | Unreadable | Gone:
    """Read one file if it is one we may open: regular, one name, not a link. Its bytes are None above the limit."""
    path = os.path.join(folder, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Gone(name)
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be opened: {error.strerror}"
        return Unreadable(name, reason)
    try:
        status = os.fstat(descriptor)
        fault = _inadmissible(status)
        if fault is not None:
            return Unreadable(name, fault)
        if status.st_size > limit_bytes:
            return Seen(name, sign(status), None)
        data = _read(descriptor, status.st_size)
        return Seen(name, sign(os.fstat(descriptor)), data)
    except OSError as error:
        return Unreadable(name, f"cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)


def _inadmissible(status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_nlink > 1:
        return "is a hard link to another file; copy it instead"
    return None


def _read(descriptor: int, expected_bytes: int) -> bytes:
    data = os.read(descriptor, expected_bytes + 1)
    if len(data) == expected_bytes:
        return data
    parts = [data]
    while chunk := os.read(descriptor, 1 << 16):
        parts.append(chunk)
    return b"".join(parts)


def _writer(name: str) -> int | None:
    """The process whose number stands in a name that only this program gives: a file or journal under construction, a probe."""
    match = _LEFTOVER.fullmatch(name)
    return int(match[match.lastindex or 0]) if match else None


def _lives(process: int) -> bool:
    """Whether a process of this number is at work (not the same one any more, perhaps): one that has ended may wait to be reaped."""
    from psutil import STATUS_ZOMBIE, Error, Process  # noqa: PLC0415 - slow to import, and only asked for after a crash

    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        return bool(Process(process).status() != STATUS_ZOMBIE)
    except Error:
        return True  # what cannot be looked at is left alone; the next start asks again


class Queue:
    """Moves between the folders of one brain. The caller holds the claims lock."""

    def __init__(self, layout: Layout, files: Files, limit_bytes: int = MAX_TASK_BYTES) -> None:
        self._layout = layout
        self._files = files
        self._limit_bytes = limit_bytes

    def claim(self, name: str, task_id: str) -> bytes | None:
        """Take pending/`name` into active/ and return its bytes as they are now; None if it is gone or no longer a file to open.

        The names are not synced here: the journal's `starting` row holds the bytes before anything runs.
        """
        target = self.active_path(task_id)
        try:
            self._files.move(os.path.join(self._layout.pending, name), target)
        except FileNotFoundError:
            return None
        seen = look(self._layout.active, os.path.basename(target), self._limit_bytes)
        if isinstance(seen, Seen) and seen.data is not None:
            return seen.data
        self.give_back(task_id, name)
        return None

    def give_back(self, task_id: str, name: str) -> str:
        """Return an active task to pending/ under `name`, or the next free name beside it; the name used."""
        stem, ending = os.path.splitext(name)
        number = 1
        while True:
            candidate = name if number == 1 else f"{stem}-{number}{ending}"
            try:
                self._files.move(self.active_path(task_id), os.path.join(self._layout.pending, candidate))
            except FileExistsError:
                number += 1
                continue
            return candidate

    def active_path(self, task_id: str) -> str:
        return os.path.join(self._layout.active, f"{task_id}.md")

    def active_ids(self) -> list[str]:
        """Ids of the regular files in active/, also of one that has a second name yet; anything else there is none of ours."""
        with os.scandir(self._layout.active) as entries:
            return [
                entry.name[: -len(".md")]
                for entry in entries
                if is_task_name(entry.name) and entry.is_file(follow_symlinks=False)
            ]

    def sweep_temporaries(self, *, at_start: bool = False) -> None:
        """Remove half-written files of writers that crashed; only names this program gives, and none of a living process.

        Of this process none but `at_start`, when it has written nothing yet: an earlier one had its number.
        """
        for folder in (
            *self._layout.folders(),
            self._layout.state,
            os.path.join(self._layout.state, "memory", "watched"),
        ):
            if not os.path.isdir(folder):
                continue
            for name in os.listdir(folder):
                writer = _writer(name)
                if writer is not None and (at_start if writer == os.getpid() else not _lives(writer)):
                    self._files.remove(os.path.join(folder, name))
