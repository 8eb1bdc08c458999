"""Who the daemon may give work to: the interfaces and the person's routing table, read again whenever they may have changed.

An interface that declares a check joins when it has passed; service/checks.py says when it is looked at again. Failures: none
are fatal; a faulty file is said on the board and stops nothing else.
"""

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from brain_daemon.adapters.registry import Registry
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import FailureKind
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.service.brain import Brain
from brain_daemon.service.checks import Checks

_LOG = logging.getLogger("brain_daemon")
_UNDECIDED_SECONDS = 0.05


class Roster:
    """`spawn` runs a coroutine beside the loop, `wake` wakes the loop; `vouched` hears of each check that an interface has passed."""

    def __init__(
        self, brain: Brain, spawn: Callable[[Coroutine[Any, Any, None]], object], wake: Callable[[], None]
    ) -> None:
        self._brain = brain
        self._spawn = spawn
        self._wake = wake
        self._fault = ""
        self._due = 0.0
        self.vouched: Callable[[str], None] = lambda _: None
        self.registry: Registry = brain.registry(await_checks=True)
        self.table = self._read_table()
        config = brain.config
        self._checks = Checks(
            brain.journal, self.registry, config.environment, config.check_interval_seconds, self._look_at_once
        )

    @property
    def due(self) -> float:
        """The monotonic time of the next look."""
        check = self._checks.next_due
        return self._due if check is None else min(self._due, check)

    @property
    def is_checking(self) -> bool:
        """Whether a check is under way or about to be, whose end may free a task."""
        return self._checks.is_checking or any(self._checks.due(time.monotonic()))

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
        now = time.monotonic()
        for spec in self._checks.due(now):
            self._spawn(self._check(spec))
        pause = _UNDECIDED_SECONDS if self.registry.undecided else self._brain.config.scan_seconds
        self._due = now + pause
        return changed

    def look_soon(self) -> None:
        """Something may have changed."""
        self._due = 0.0

    def note_outcome(self, name: str, kind: FailureKind | None) -> None:
        """An attempt has ended with this kind of failure, or well: a refused login is looked at."""
        self._checks.note_outcome(name, kind, time.monotonic())

    def _read_table(self) -> RoutingTable:
        """The person's table; a faulty file leaves the built-in one in force."""
        table, fault = self._brain.routing_table()
        if fault and fault != self._fault:
            _LOG.warning("context/routing.md is not used", extra={"action": "routing", "error": fault})
        self._fault = fault
        return table

    async def _check(self, spec: InterfaceSpec) -> None:
        if self._checks.vouches(spec, await self._checks.run(spec)):
            self.vouched(spec.name)

    def _look_at_once(self) -> None:
        self.look_soon()
        self._wake()
