"""What a brain knows, cut into passages: its notes, and the tasks it has completed.

Read are the text files of knowledge/, context/ and brain/tasks/completed/ (archive/ too), notes first and tasks newest
first, as their names sort. Not read: hidden files, symbolic links (one from git could point anywhere), other kinds of
file, what the daemon writes into context/ about itself, and the librarian's own answers, which only quote the rest.

Everything is bounded by `Bounds`, and a `Tally` says what was read, what could not be and which bound was reached: none
of it is an error. Files are read as they are at this moment; a file that vanishes meanwhile is one that is not there.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from brain_daemon.model.passages import Passage, cut, front_matter_end, lines_of

AREAS = {"knowledge": "knowledge", "context": "context", "completed tasks": "brain/tasks/completed"}
_COMPLETED = "completed tasks"
_SUFFIXES = (".md", ".markdown", ".txt", ".rst", ".org", ".adoc")
_MACHINE_FILES = frozenset({"context/usage.md", "context/board.md", "context/routing.md"})
_OWN_ANSWER = re.compile(r"^ {1,8}interface: librarian$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is read at most."""

    files: int = 5_000
    total_bytes: int = 32 << 20
    file_bytes: int = 1 << 20


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was read, by area, and one line for each thing that was not."""

    files: dict[str, int] = field(default_factory=lambda: dict.fromkeys(AREAS, 0))
    total_bytes: int = 0
    unread: list[str] = field(default_factory=list)
    not_reached: int = 0

    @property
    def total_files(self) -> int:
        return sum(self.files.values())


def passages(
    root: str, tally: Tally, stop_if_asked: Callable[[], None], bounds: Bounds | None = None
) -> Iterator[Passage]:
    """All passages of the brain at `root`; `tally` is filled on the way. What `stop_if_asked` raises goes through."""
    bounds = bounds or Bounds()
    for area, folder in AREAS.items():
        for path in _files(root, folder, newest_first=area == _COMPLETED):
            stop_if_asked()
            if tally.total_files >= bounds.files or tally.total_bytes >= bounds.total_bytes:
                tally.not_reached += 1
            else:
                yield from _of_file(root, path, area, tally, bounds)


def _files(root: str, folder: str, *, newest_first: bool) -> Iterator[str]:
    """The relative paths of the text files below `folder`: its own files before those of its folders."""
    try:
        with os.scandir(os.path.join(root, folder)) as found:
            entries = sorted(found, key=lambda entry: entry.name, reverse=newest_first)
    except OSError:
        return  # a folder that is not there, or not ours to read, holds nothing for a reader
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in visible:
        path = f"{folder}/{entry.name}"
        if (
            entry.name.lower().endswith(_SUFFIXES)
            and entry.is_file(follow_symlinks=False)
            and path not in _MACHINE_FILES
        ):
            yield path
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(root, f"{folder}/{entry.name}", newest_first=newest_first)


def _of_file(root: str, path: str, area: str, tally: Tally, bounds: Bounds) -> Iterator[Passage]:
    shown = os.fsencode(path).decode("utf-8", "replace")
    try:
        with open(os.path.join(root, path), "rb") as file:
            data = file.read(bounds.file_bytes + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        tally.unread.append(f"{shown} could not be read: {error.strerror}")
        return
    if b"\0" in data:
        tally.unread.append(f"{shown} is not text")
        return
    if len(data) > bounds.file_bytes:
        tally.unread.append(f"{shown} was read up to {bounds.file_bytes} bytes")
    lines = lines_of(data[: bounds.file_bytes])
    start = front_matter_end(lines) if area == _COMPLETED else 0
    if start and _OWN_ANSWER.search("\n".join(lines[:start])):
        return
    tally.files[area] += 1
    tally.total_bytes += len(data)
    yield from cut(shown, lines, start)
