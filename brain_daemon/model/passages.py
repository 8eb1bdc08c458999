"""A text cut into passages: pieces of some hundred characters that begin where a reader would begin, with their lines.

Pure and total: any lines give passages. The tool `librarian` and the pool cut alike, so that a place one of them names is
a place the other knows.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SOFT_LENGTH = 400
_HARD_LENGTH = 1_200
_FRONT_MATTER_LINES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a file: `line` is that of its first line, counted from 1; `path` is relative to the brain, with '/'."""

    path: str
    line: int
    heading: str
    text: str


def lines_of(data: bytes) -> list[str]:
    """The lines of a file as editors and git count them: str.splitlines would also cut at form feeds."""
    return [line.removesuffix("\r") for line in data.decode("utf-8-sig", "replace").split("\n")]


def front_matter_end(lines: list[str]) -> int:
    """The index of the first line after the front matter; 0 where there is none."""
    if lines and lines[0].rstrip() == "---":
        for index, line in enumerate(lines[1:_FRONT_MATTER_LINES], 1):
            if line.rstrip() == "---":
                return index + 1
    return 0


def cut(path: str, lines: list[str], start: int) -> Iterator[Passage]:
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
