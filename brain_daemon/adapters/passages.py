"""What a brain knows, cut into passages: its notes, and the tasks it has completed.

Read are the text files of knowledge/, context/ and brain/tasks/completed/ (archive/ too), notes first and tasks newest
first, as their names sort. Not read: hidden files, symbolic links (one from git could point anywhere), other kinds of
file, what the daemon writes into context/ about itself, and the librarian's own answers, which only quote the rest.

Everything is bounded by `Bounds`, and a `Tally` says what was read, what could not be and which bound was reached: none
of it is an error. Files are read as they are at this moment; a file that vanishes meanwhile is one that is not there.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

AREAS = {"knowledge": "knowledge", "context": "context", "completed tasks": "brain/tasks/completed"}
_COMPLETED = "completed tasks"
_SUFFIXES = (".md", ".markdown", ".txt", ".rst", ".org", ".adoc")
_MACHINE_FILES = frozenset({"context/usage.md", "context/board.md", "context/routing.md"})
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_OWN_ANSWER = re.compile(r"^ {1,8}interface: librarian$", re.MULTILINE)
_SOFT_LENGTH = 400
_HARD_LENGTH = 1_200
_FRONT_MATTER_LINES = 2_000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a file: `line` is that of its first line, counted from 1; `path` is relative to the brain, with '/'."""

    path: str
    line: int
    heading: str
    text: str


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
    # Lines are what editors and git count as such: str.splitlines would also cut at form feeds.
    lines = [line.removesuffix("\r") for line in data[: bounds.file_bytes].decode("utf-8-sig", "replace").split("\n")]
    start = _front_matter_end(lines) if area == _COMPLETED else 0
    if start and _OWN_ANSWER.search("\n".join(lines[:start])):
        return
    tally.files[area] += 1
    tally.total_bytes += len(data)
    yield from _cut(shown, lines, start)


def _front_matter_end(lines: list[str]) -> int:
    """The index of the first line after the front matter; 0 where there is none."""
    if lines and lines[0].rstrip() == "---":
        for index, line in enumerate(lines[1:_FRONT_MATTER_LINES], 1):
            if line.rstrip() == "---":
                return index + 1
    return 0


def _cut(path: str, lines: list[str], start: int) -> Iterator[Passage]:
    """Passages that begin at a heading, or at an empty line once there is enough, or where a line would be too much."""
    trail: list[tuple[int, str]] = []
    piece = _Piece()
    for number, line, heading in _marked(lines, start):
        ends = heading is not None or not line.strip()
        if piece.worth_keeping and (
            piece.length + len(line) > _HARD_LENGTH or (ends and (heading or piece.long_enough))
        ):
            yield piece.passage(path, trail)
            piece = _Piece()
        if heading is not None:
            trail = [outer for outer in trail if outer[0] < heading[0]] + [heading]
        piece.add(number, line)
    if piece.worth_keeping:
        yield piece.passage(path, trail)


class _Piece:
    """Lines gathered for one passage."""

    def __init__(self) -> None:
        self._first = 0
        self._lines: list[str] = []
        self.length = 0
        self.worth_keeping = False

    @property
    def long_enough(self) -> bool:
        return self.length >= _SOFT_LENGTH

    def add(self, number: int, line: str) -> None:
        if not self._lines:
            if not line.strip():
                return
            self._first = number
        self._lines.append(line)
        self.length += len(line) + 1
        self.worth_keeping = self.worth_keeping or bool(line.strip() and not _HEADING.fullmatch(line))

    def passage(self, path: str, trail: list[tuple[int, str]]) -> Passage:
        heading = " > ".join(text for _, text in trail if text)
        return Passage(path=path, line=self._first, heading=heading, text="\n".join(self._lines).rstrip())


def _marked(lines: Iterable[str], start: int) -> Iterator[tuple[int, str, tuple[int, str] | None]]:
    """Lines with their numbers, those that are headings marked as such; a line too long for a passage comes in parts."""
    fence = ""
    for number, line in enumerate(lines, 1):
        if number <= start:
            continue
        mark = _FENCE.match(line)
        if mark:
            fence = mark[1] if not fence else "" if mark[1].startswith(fence) else fence
        heading = None if fence or mark else _HEADING.fullmatch(line[:_HARD_LENGTH])
        yield number, line[:_HARD_LENGTH], (len(heading[1]), heading[2]) if heading else None
        for offset in range(_HARD_LENGTH, len(line), _HARD_LENGTH):
            yield number, line[offset : offset + _HARD_LENGTH], None
