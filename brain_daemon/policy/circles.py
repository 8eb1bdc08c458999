"""Tasks that wait for themselves, by way of others: the circle through one task, found each time a task has to wait.

A long queue is not walked for each of its tasks: what is known to stand in no circle is remembered until a task comes, or comes back,
of which that knowledge made use. No I/O; ids are casefolded by who calls.
"""

from collections.abc import Callable, Collection, Mapping

_MOST_REMEMBERED = 100_000


class Circles:
    """`waits` gives the ids that a pending task waits for, nothing for one that waits no more, None for an id that nobody has."""

    def __init__(self, waits: Callable[[str], Collection[str] | None], most: int = _MOST_REMEMBERED) -> None:
        self._waits = waits
        self._most = most
        self._free: set[str] = set()
        self._used: set[str] = set()

    def came(self, key: str) -> None:
        """A task of this id has come, or is another one now."""
        if key in self._used:
            self._free.clear()
            self._used.clear()

    def through(self, start: str) -> tuple[str, ...]:
        """The shortest circle from `start` round to it again, as who waits for whom; empty if there is none."""
        came_from: dict[str, str] = {}
        layer = [] if start in self._free else [start]
        closed = bool(layer)
        while layer:
            found: list[str] = []
            for one in layer:
                for name in self._waits(one) or ():
                    if name == start:
                        return (*_way(start, one, came_from), start)
                    if name not in came_from:
                        came_from[name] = one
                        closed = closed and self._waits(name) is not None
                        found += [] if name in self._free else [name]
            layer = found
        if closed:
            self._remember(start, came_from)
        return ()

    def _remember(self, start: str, reached: Collection[str]) -> None:
        """Where all that is waited for is here, no later task can close a circle unless it takes the place of one of these."""
        if len(self._used) > self._most:
            self._free.clear()
            self._used.clear()
        self._free.add(start)
        self._used |= {start, *reached}


def _way(start: str, end: str, came_from: Mapping[str, str]) -> tuple[str, ...]:
    way = [end]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return tuple(reversed(way))
