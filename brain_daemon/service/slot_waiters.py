"""Held tasks that a freed slot may let start: one interface in their reach has every slot taken, another has room at a later time.

They are held until that time, so that the board can say it; the slot may come long before. What is full is known by how many ran
there when it was full: fewer running mean room. Whether a task then starts is judged by policy, never here.
"""

from collections.abc import Iterable, Mapping
from typing import Any


class SlotWaiters:
    """The tasks of one queue, by name, with their `order`. Not for several threads."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, Any]] = {}
        self._taken: dict[str, int] = {}
        self._where: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._where)

    def add(self, name: str, order: Any, interfaces: Iterable[str], running: Mapping[str, int]) -> None:
        """A task waits for a slot of any of these, of which so many are taken now."""
        self.discard(name)
        self._where[name] = tuple(interfaces)
        for interface in self._where[name]:
            self._waiting.setdefault(interface, {})[name] = order
            self._taken[interface] = running.get(interface, 0)

    def discard(self, name: str) -> None:
        """It waits no more."""
        for interface in self._where.pop(name, ()):
            self._waiting[interface].pop(name)
            if not self._waiting[interface]:
                del self._waiting[interface], self._taken[interface]

    def freed(self, running: Mapping[str, int]) -> list[str]:
        """Those that may have room now, in their order: for each interface as many as it has free slots."""
        found: dict[str, Any] = {}
        for interface, waiting in self._waiting.items():
            room = self._taken[interface] - running.get(interface, 0)
            if room > 0:
                found |= dict(sorted(waiting.items(), key=lambda one: one[1])[:room])
        return sorted(found, key=lambda name: found[name])
