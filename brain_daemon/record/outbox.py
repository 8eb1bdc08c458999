"""What is in the files and not yet in git: ended attempts with their changes, and machine-written files as wholes.

Filled by the thread that files outcomes, emptied by the one that commits them. A commit that must wait gives back what it
took. Of a long wait only the ids are kept beyond `MEMORY_BYTES`; what they stand for is read from the files again.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.cost_row import CostRow
from brain_daemon.record.plan import Change

MEMORY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Filed:
    """What one attempt left in the files. `suspect`: another process filed it, so git may have it already."""

    attempt: Attempt
    row: CostRow
    title: str
    changes: tuple[Change, ...]
    suspect: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(len(change.content or b"") + len(change.only_if or b"") for change in self.changes)


class Outbox:
    """Safe for two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._filed: dict[str, Filed | None] = {}
        self._bytes = 0
        self._wholes: dict[str, bytes] = {}

    def put(self, filed: Iterable[Filed]) -> None:
        """Attempts that are in the files now, oldest first."""
        with self._lock:
            for one in filed:
                self._put(one)

    def _put(self, one: Filed) -> None:
        if self._bytes + one.size_bytes > MEMORY_BYTES:
            self._filed[one.attempt.attempt_id] = None
            return
        self._bytes += one.size_bytes
        self._filed[one.attempt.attempt_id] = one

    def put_wholes(self, wholes: Mapping[str, bytes]) -> None:
        """Machine-written files as they are now: path relative to the brain -> bytes."""
        with self._lock:
            self._wholes.update(wholes)

    def take(self, limit: int) -> tuple[dict[str, Filed | None], dict[str, bytes]]:
        """Up to `limit` attempts, oldest first (None: read it from the files), and every whole."""
        with self._lock:
            taken = {key: self._filed.pop(key) for key in list(self._filed)[:limit]}
            self._bytes -= sum(one.size_bytes for one in taken.values() if one is not None)
            wholes, self._wholes = self._wholes, {}
            return taken, wholes

    def give_back(self, taken: Mapping[str, Filed | None], wholes: Mapping[str, bytes]) -> None:
        """What could not be committed: before what has come since, and older than it."""
        with self._lock:
            later, self._filed, self._bytes = self._filed, {}, 0
            for key, one in {**taken, **later}.items():
                if one is None:
                    self._filed[key] = None
                else:
                    self._put(one)
            self._wholes = {**wholes, **self._wholes}

    @property
    def attempts(self) -> int:
        return len(self._filed)

    @property
    def is_empty(self) -> bool:
        return not self._filed and not self._wholes
