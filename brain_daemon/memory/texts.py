"""The text of record: which files of a brain the pool knows, and what each of them says.

Known are the notes below knowledge/ and context/ and the tasks in brain/tasks/completed/ (archive/ too): regular files with
a text's ending. Not known: hidden files, symbolic links (one from git could point anywhere), what the daemon writes into
context/ about itself, prompts/, and the folders of files beside a result. A task's id is its file's name; a note's id
is its path, or the `id` of its front matter where it is in pool/.

Failures: what cannot be read is `None` and stops nothing else; a file that vanishes meanwhile is one that is not there.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from brain_daemon.model import document
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Damaged, StorageError
from brain_daemon.model.ids import ATTEMPT_ID
from brain_daemon.model.passages import Passage, cut, front_matter_end, lines_of
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Gone, Seen, look

NOTE_AREAS = ("knowledge", "context")
COMPLETED = "brain/tasks/completed"
FAILED = "brain/tasks/failed"
POOL_FOLDERS = ("knowledge/pool", "context/pool")
MAX_FILE_BYTES = 4 << 20
INDEXED_BYTES = 1 << 20
_SUFFIXES = (".md", ".markdown", ".txt", ".rst", ".org", ".adoc")
_MACHINE_FILES = frozenset({"context/usage.md", "context/board.md", "context/routing.md"})
_BESIDE = re.compile(r"\.(result|error)\.md$")
_OWN_ANSWER = re.compile(r"^ {1,8}interface: librarian$", re.MULTILINE)
_TITLE = re.compile(r" {0,3}#{1,6}[ \t]+(?:Task:[ \t]*)?(.*?)[ \t]*#*[ \t]*")
_MAX_TITLE = 120
_GRAIN_NS = 2_000_000_000
_WHOLE_TEXT = "result.md"  # record/filing.py keeps a text under this name that is too long for the task's file


@dataclass(frozen=True, slots=True)
class Found:
    """A file the pool knows: its path, relative and with '/', and what tells one state of it from another."""

    path: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A file that was read. `kind` is knowledge, context or result; `modified_at` is epoch seconds."""

    id: str
    path: str
    kind: str
    title: str
    signature: str
    sha256: str
    modified_at: float
    lines: tuple[str, ...]
    body_line: int

    @property
    def body(self) -> str:
        """All of it but the front matter."""
        return "\n".join(self.lines[self.body_line :]).strip("\n")

    def passages(self) -> Iterator[Passage]:
        """Its pieces; of the answers of `librarian`, which only quote the rest, there are none."""
        if self.kind == "result" and _OWN_ANSWER.search("\n".join(self.lines[: self.body_line])):
            return iter(())
        return cut(self.path, list(self.lines), self.body_line)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the pool, relative: the files in it that the pool knows, None where they are as at an earlier look; its time of
    change then, and the names of the folders in it."""

    path: str
    files: list[Found] | None
    changed_ns: int
    inner: list[str]


class Scanner:
    """Lists what there is. Folders of ended tasks, whose files are never edited in place, are listed again only when they change."""

    def __init__(self, layout: Layout) -> None:
        self._root = layout.root
        self._settled: dict[str, Folder] = {}
        self._unsettled = True
        self._epoch = ""

    def scan(self, epoch: str) -> Iterator[Folder]:
        """Every folder the pool knows, from the top down; `epoch` tells one index from another that was built anew."""
        if epoch != self._epoch:
            self._settled, self._epoch = {}, epoch
        for area in NOTE_AREAS:
            yield from self._below(area)
        seen: dict[str, bool] = {}
        for folder in self._below(COMPLETED):
            seen[folder.path] = True
            yield folder
        self._settled = {path: folder for path, folder in self._settled.items() if path in seen}
        self._unsettled = len(self._settled) < len(seen)

    def settle(self, folder: Folder, epoch: str) -> None:
        """The index of that epoch has all of it. What has changed a moment ago may do so again within the grain of the clock."""
        is_old = time.time_ns() - folder.changed_ns > _GRAIN_NS
        if is_old and epoch == self._epoch and folder.path.startswith(COMPLETED):
            self._settled[folder.path] = replace(folder, files=None)

    def has_news(self) -> bool:
        """Whether a folder of ended tasks has changed since the index had all of it; True before the first time."""
        known = dict(self._settled)
        return self._unsettled or any(self._changed_ns(path) != folder.changed_ns for path, folder in known.items())

    def _changed_ns(self, folder: str) -> int:
        try:
            return os.stat(os.path.join(self._root, folder)).st_mtime_ns
        except OSError:
            return 0

    def _below(self, path: str) -> Iterator[Folder]:
        changed_ns = self._changed_ns(path)
        if not changed_ns:
            return
        folder = self._settled.get(path)
        if folder is None or folder.changed_ns != changed_ns:
            folder = Folder(path, *self._entries(path, changed_ns))
        yield folder
        for name in folder.inner:
            yield from self._below(f"{path}/{name}")

    def _entries(self, folder: str, changed_ns: int) -> tuple[list[Found], int, list[str]]:
        """Files and folders; a folder that is not ours to read holds nothing for a reader."""
        files: list[Found] = []
        folders: list[str] = []
        with suppress(OSError), os.scandir(os.path.join(self._root, folder)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and not _is_files_folder(folder, entry.name):
                        folders.append(entry.name)
                elif is_known(path := f"{folder}/{entry.name}") and entry.is_file(follow_symlinks=False):
                    files.append(Found(path, _signature(entry.stat(follow_symlinks=False))))
        return files, changed_ns, folders


def is_known(path: str) -> bool:
    """Whether a file of this relative path belongs to the pool, as far as its name tells."""
    parts = path.split("/")
    if not path.lower().endswith(_SUFFIXES) or path in _MACHINE_FILES or _is_hidden(parts):
        return False
    if path.startswith(f"{COMPLETED}/"):
        return not _BESIDE.search(path) and not any(part.endswith(".files") for part in parts[:-1])
    return parts[0] in NOTE_AREAS and len(parts) > 1


def is_pool_note(path: str) -> bool:
    """Whether a file of this relative path was written by `brain memory add` or by a task."""
    return os.path.dirname(path) in POOL_FOLDERS and is_known(path)


def _is_hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") or part in ("", "..") or not part.isprintable() for part in parts)


def _is_files_folder(folder: str, name: str) -> bool:
    return name.endswith(".files") and folder.startswith(COMPLETED)


def _signature(status: os.stat_result) -> str:
    return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}"


def read_text(layout: Layout, path: str) -> Text | None:
    """The file at a relative path, or None if it is not there, not a regular file, or no text."""
    folder, name = os.path.split(layout.inside(path))
    if os.path.realpath(folder) != folder:
        return None
    match look(folder, name, MAX_FILE_BYTES):
        case Seen(data=bytes() as data, signature=state) if b"\0" not in data[:INDEXED_BYTES]:
            signature = f"{state.inode}.{state.size_bytes}.{state.modified_ns}"
            return _text(path, data, signature, state.modified_at)
        case _:
            return None


def state_of(layout: Layout, path: str) -> str | None:
    """The signature of a file, None if it is not there."""
    try:
        return _signature(os.lstat(layout.inside(path)))
    except OSError:
        return None


def _text(path: str, data: bytes, signature: str, modified_at: float) -> Text:
    lines = lines_of(data[:INDEXED_BYTES])
    start = front_matter_end(lines)
    kind = "result" if path.startswith(COMPLETED) else path.split("/", 1)[0]
    return Text(
        id=id_of(path),
        path=path,
        kind=kind,
        title=_title(lines, start, path),
        signature=signature,
        sha256=hashlib.sha256(data).hexdigest(),
        modified_at=modified_at,
        lines=tuple(lines),
        body_line=start,
    )


def id_of(path: str) -> str:
    """The id under which the file at a path is known: a task's, a pool note's, or the path itself."""
    stem = os.path.splitext(os.path.basename(path))[0]
    if path.startswith(f"{COMPLETED}/"):
        return stem.rsplit(".", 2)[0] if ATTEMPT_ID.fullmatch(stem) else stem
    return stem if is_pool_note(path) else path


def _title(lines: list[str], start: int, path: str) -> str:
    for line in lines[start : start + 200]:
        heading = _TITLE.fullmatch(line[:1_000])
        if heading and heading[1]:
            return clean_line(heading[1], _MAX_TITLE)
    return clean_line(os.path.splitext(os.path.basename(path))[0], _MAX_TITLE)


def result_text(layout: Layout, text: Text) -> tuple[str, dict[str, object]]:
    """What an ended task said, whole, and the values of its result block; without one, all of the file."""
    path = layout.inside(text.path)
    stem = path.removesuffix(".md")
    for source in (path, f"{stem}.result.md", f"{stem}.error.md"):
        try:
            result = document.read_result(_bytes(source))
        except (Damaged, OSError):
            continue
        if result.cut_bytes is None:
            return result.text, result.values
        return _whole(stem, result.text), result.values
    return text.body, {}


def _whole(stem: str, beginning: str) -> str:
    """The text of which only the beginning stands in the task's file."""
    match look(f"{stem}.files", _WHOLE_TEXT, MAX_FILE_BYTES * 16):
        case Seen(data=bytes() as data):
            return data.decode("utf-8", "replace")
        case Gone():
            return beginning
        case _:
            return beginning


def _bytes(path: str) -> bytes:
    match look(os.path.dirname(path), os.path.basename(path), MAX_FILE_BYTES):
        case Seen(data=bytes() as data):
            return data
        case Gone():
            raise FileNotFoundError(path)
        case found:
            raise StorageError(f"reading {path}: {getattr(found, 'reason', 'it is too large')}")
