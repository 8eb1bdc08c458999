"""Who the daemon may give work to: the interfaces and the person's routing table, read again whenever they may have changed.

The `check` commands of interfaces run in threads, once for each content. Failures: none are fatal; a faulty file is said
on the board and stops nothing else.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from brain_daemon.adapters.registry import Registry, run_check
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.service.brain import Brain

_LOG = logging.getLogger("brain_daemon")
_UNDECIDED_SECONDS = 0.05


class Roster:
    """`spawn` runs a coroutine beside the loop, `wake` wakes the loop; `due` is the monotonic time of the next look."""

    def __init__(
        self, brain: Brain, spawn: Callable[[Coroutine[Any, Any, None]], object], wake: Callable[[], None]
    ) -> None:
        self._brain = brain
        self._spawn = spawn
        self._wake = wake
        self._checking: set[str] = set()
        self._fault = ""
        self.registry: Registry = brain.registry()
        self.table = self._read_table()
        self.due = 0.0

    @property
    def is_checking(self) -> bool:
        """Whether a check is under way, whose end may free a task."""
        return bool(self._checking)

    def find(self, name: str) -> InterfaceSpec | None:
        """The interface of that very name."""
        entry = self.registry.entries.get(name)
        return None if entry is None else entry.spec

    def look(self) -> bool:
        """Read tools/interfaces/ and context/routing.md again, start the checks that are due; whether anything has changed."""
        self.registry.undecided = False
        changed = self.registry.scan()
        table = self._read_table()
        changed, self.table = changed or table != self.table, table
        for spec in self.registry.unchecked():
            if spec.sha256 not in self._checking:
                self._checking.add(spec.sha256)
                self._spawn(self._check(spec))
        pause = _UNDECIDED_SECONDS if self.registry.undecided else self._brain.config.scan_seconds
        self.due = time.monotonic() + pause
        return changed

    def look_soon(self) -> None:
        """Something may have changed."""
        self.due = 0.0

    def _read_table(self) -> RoutingTable:
        """The person's table; a faulty file leaves the built-in one in force."""
        table, fault = self._brain.routing_table()
        if fault and fault != self._fault:
            _LOG.warning("context/routing.md is not used", extra={"action": "routing", "error": fault})
        self._fault = fault
        return table

    async def _check(self, spec: InterfaceSpec) -> None:
        fault = await asyncio.to_thread(run_check, spec, self._brain.config.environment)
        self.registry.note_check(spec, fault)
        self._checking.discard(spec.sha256)
        self.look_soon()
        self._wake()
