"""Day files: one a day, in parts of at most `MAX_ROWS` lines, so that no commit rewrites more than a part.

`2026-11-20.csv` is part 1, `2026-11-20.2.csv` part 2. A part that is full is never written again. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_ROWS = 1000
_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.([2-9]|[1-9][0-9]+))?\.([a-z]+)")


@dataclass(frozen=True, slots=True)
class Part:
    """`rows` of the new ones go into part number `number` (from 1)."""

    number: int
    rows: int


def file_name(day: str, part: int = 1, suffix: str = "csv") -> str:
    """The name of a part: `DAY.csv`, then `DAY.2.csv`, …"""
    return f"{day}.{suffix}" if part == 1 else f"{day}.{part}.{suffix}"


def read_name(name: str) -> tuple[str, int] | None:
    """Day and part number of a day file's name; None where it is not one."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2] or 1)) if match else None


def place(existing_counts: Sequence[int], adding: int = 1) -> tuple[Part, ...]:
    """Where `adding` new rows go, in order, when the parts of the day hold `existing_counts` rows each."""
    number = max(len(existing_counts), 1)
    room = MAX_ROWS - (existing_counts[-1] if existing_counts else 0)
    parts = []
    while adding > 0:
        if room > 0:
            parts.append(Part(number, min(room, adding)))
            adding -= room
        number, room = number + 1, MAX_ROWS
    return tuple(parts)
