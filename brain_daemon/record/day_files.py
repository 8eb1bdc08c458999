"""The day files on disk: which part of a day is written to, what it holds, and what git does not have yet.

Kept in memory between groups and read again when somebody else has changed them (another recorder, the person, git).
"""

import os
from collections.abc import Callable

from brain_daemon.record.day_file import file_name, place, read_name
from brain_daemon.store.files import Files
from brain_daemon.store.queue import Signature, sign


class DayFiles:
    """One kind of day file in one folder; `count` says how many rows a part holds."""

    def __init__(self, folder: str, suffix: str, count: Callable[[bytes], int], files: Files) -> None:
        self._folder = folder
        self._suffix = suffix
        self._count = count
        self._files = files
        self._cache: dict[str, tuple[Signature, bytes]] = {}

    def parts(self, day: str) -> list[str]:
        """The paths of the day's parts that exist, in order; at least the first one's path."""
        found = []
        number = 1
        while os.path.exists(path := os.path.join(self._folder, file_name(day, number, self._suffix))):
            found.append(path)
            number += 1
        return found or [os.path.join(self._folder, file_name(day, 1, self._suffix))]

    def read(self, path: str) -> bytes:
        """The bytes of a part, b"" if it does not exist."""
        try:
            signature = sign(os.stat(path))
        except FileNotFoundError:
            return b""
        cached = self._cache.get(path)
        if cached is not None and cached[0] == signature:
            return cached[1]
        with open(path, "rb") as handle:
            data = handle.read()
        self._cache[path] = (signature, data)
        return data

    def add(self, day: str, rows: int, append: Callable[[bytes, int, int, str], bytes]) -> list[tuple[str, bytes]]:
        """Place `rows` new rows; `append(existing, first, last, path)` gives a part's new bytes. Returns what was written."""
        paths = self.parts(day)
        last = self._count(self.read(paths[-1]))
        written, first = [], 0
        for spot in place([0] * (len(paths) - 1) + [last], rows):
            path = os.path.join(self._folder, file_name(day, spot.number, self._suffix))
            data = append(self.read(path), first, first + spot.rows, path)
            self.write(path, data)
            written.append((path, data))
            first += spot.rows
        return written

    def write(self, path: str, data: bytes) -> None:
        self._files.put(path, data)
        self._cache = {path: (sign(os.stat(path)), data)}

    def all_paths(self) -> list[str]:
        """Every part of every day."""
        names = [name for name in os.listdir(self._folder) if read_name(name) and name.endswith("." + self._suffix)]
        return [os.path.join(self._folder, name) for name in sorted(names, key=lambda name: read_name(name) or ("", 0))]
