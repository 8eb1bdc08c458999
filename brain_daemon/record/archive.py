"""Filing away: completed/ and failed/ keep their newest tasks, older ones lie under archive/YYYY/MM/DD/, the UTC day they ended.

A flat folder of some thousand files makes each commit dear, since git writes the whole folder anew for it.

    move    the task's file, and what stands beside it, by renames that overwrite nothing
    tell    the index where each task is now (journal, table tasks)
    commit  the same renames in git, one commit for all of them (record/recorder.py)

A crash after any step is found at the next start by looking: a task whose file lies in the archive and whose place in the
index is the old one is told; a path that HEAD has in completed/ and the disk in the archive is committed.
Failures: a name that is taken in the archive leaves its task where it is. A disk error leaves as StorageError.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from brain_daemon.model import document
from brain_daemon.model.errors import StorageError
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal, TaskRecord
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import names
from brain_daemon.store.reading import read_regular

ARCHIVE = "archive"
_STATUSES = ("completed", "failed")

Move = tuple[str, str]
"""A file's old and new path, relative to the brain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """A folder with more than `most` tasks is brought down to its newest `kept`."""

    most: int = 500
    kept: int = 300


def day_folder(top: str, finished_at: float) -> str:
    """Where in completed/ or failed/ (`top`) a task of that instant (epoch seconds) is filed away."""
    return os.path.join(top, ARCHIVE, *time.strftime("%Y %m %d", time.gmtime(finished_at)).split())


class Archive:
    """Files away the tasks of one brain. For one thread, whose connection `journal` is."""

    def __init__(self, layout: Layout, files: Files, journal: Journal, limits: ArchiveLimits) -> None:
        self._layout = layout
        self._files = files
        self._journal = journal
        self._limits = limits

    def file_away(self) -> list[Move]:
        """Bring both folders down to their limit; what was moved, one pair a file."""
        moves: list[Move] = []
        for status in _STATUSES:
            top = self._layout.ended(status)
            found = list(names(top))
            if len(found) > self._limits.most:
                moves += self._bring_down(top, found)
        return moves

    def settle(self, in_head: Collection[str]) -> list[Move]:
        """After a crash: tell the index what it was not told; the moves that git lacks. `in_head` are names HEAD has in the two folders."""
        at_hand = [name for status in _STATUSES for name in names(self._layout.ended(status))]
        found = [self._journal.ended_task(name.removesuffix(".md")) for name in {*in_head, *at_hand}]
        records = {one.task_id: one for one in (*found, *self._journal.not_filed_away()) if one is not None}
        told = {
            key: replace(one, path=path) for key, one in records.items() if (path := self._strayed(one)) is not None
        }
        if told:
            self._journal.remember_ended(list(told.values()))
        moves: list[Move] = []
        for record in {**records, **told}.values():
            top = self._layout.ended(record.status)
            old, new = os.path.join(top, os.path.basename(record.path)), self._layout.inside(record.path)
            if old != new and not os.path.lexists(old):
                self._move_beside(old, os.path.dirname(new))
                moves += self._pairs(old, os.path.dirname(new)) if os.path.basename(old) in in_head else []
        return moves

    def _bring_down(self, top: str, found: list[str]) -> list[Move]:
        busy = self._journal.finishing()
        records = self._journal.ended_among([name[: -len(".md")] for name in found])
        aged = sorted(
            (at, name)
            for name in found
            if (record := records.get(_key_of(name))) is not None
            and (at := self._ended_at(top, name, record)) is not None
        )
        old = [one for one in aged[: max(0, len(aged) - self._limits.kept)] if _key_of(one[1]) not in busy]
        moves: list[Move] = []
        told: list[TaskRecord] = []
        for finished_at, name in old:
            moved = self._move(os.path.join(top, name), day_folder(top, finished_at))
            if moved:
                told.append(replace(records[_key_of(name)], path=moved[0][1]))
            moves += moved
        self._files.sync_folders(dict.fromkeys((*(os.path.dirname(self._layout.inside(new)) for _, new in moves), top)))
        self._journal.remember_ended(told)
        return moves

    def _ended_at(self, top: str, name: str, record: TaskRecord) -> float | None:
        """When a task ended: as the index says, else as its file does; None for a person's own file, which stays."""
        path = os.path.join(top, name)
        if record.path != self._layout.relative(path):
            return None
        if record.finished_at is not None:
            return record.finished_at
        try:
            return os.lstat(path).st_mtime if document.is_recorded(read_regular(path)) else None
        except (StorageError, FileNotFoundError):
            return None

    def _move(self, path: str, folder: str) -> list[Move]:
        """Move a task's file, then what belongs to it; nothing if its name is taken there, or it is gone."""
        self._files.make_folder(folder)
        try:
            self._files.move(path, os.path.join(folder, os.path.basename(path)))
        except (FileExistsError, FileNotFoundError):
            return []
        self._move_beside(path, folder)
        return self._pairs(path, folder)

    def _move_beside(self, path: str, folder: str) -> None:
        for one in _beside(path):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                self._files.move(one, os.path.join(folder, os.path.basename(one)))

    def _pairs(self, path: str, folder: str) -> list[Move]:
        """What lies in `folder` of the task that was at `path`, with where it came from; the task's own file first."""
        top = os.path.dirname(path)
        there = [os.path.join(folder, os.path.basename(one)) for one in (path, *_beside(path))]
        files = [file for one in there for file in _files_of(one)]
        relative = self._layout.relative
        return [(relative(os.path.join(top, os.path.relpath(file, folder))), relative(file)) for file in files]

    def _strayed(self, record: TaskRecord) -> str | None:
        """Where a task is whose file is not where the index says, if it is in its other place."""
        if record.finished_at is None or os.path.lexists(self._layout.inside(record.path)):
            return None
        top, name = self._layout.ended(record.status), os.path.basename(record.path)
        places = (os.path.join(top, name), os.path.join(day_folder(top, record.finished_at), name))
        return next((self._layout.relative(place) for place in places if os.path.lexists(place)), None)


def _key_of(name: str) -> str:
    return name[: -len(".md")].casefold()


def _beside(path: str) -> Iterator[str]:
    stem = path.removesuffix(".md")
    return (f"{stem}{ending}" for ending in (".result.md", ".error.md", ".files"))


def _files_of(path: str) -> Iterable[str]:
    """The file, or the files below a folder; nothing where nothing is."""
    if os.path.isdir(path) and not os.path.islink(path):
        return sorted(os.path.join(folder, name) for folder, _, found in os.walk(path) for name in found)
    return [path] if os.path.lexists(path) else []
