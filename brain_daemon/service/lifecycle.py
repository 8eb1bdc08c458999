"""Where the daemon stands, and what moves it: what a person asked for, signals, and the deadline of a drain.

starting -> running <-> paused, then draining -> stopped; `--once` stops without a drain

The journal has the state for `brain status`, and whether it was paused for the next start. Failures: StorageError of the journal,
which is told last: a drain and a stop are under way although `brain status` cannot say so.
"""

import time
from collections.abc import Callable
from enum import StrEnum

from brain_daemon.store.journal import Journal


class State(StrEnum):
    """Where the daemon stands, as `brain status` shows it."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"


class Lifecycle:
    """`on_move` is called after each move behind the start, `on_drain` once nothing more is to start; `interrupt` ends what runs."""

    def __init__(
        self,
        journal: Journal,
        drain_seconds: float,
        *,
        on_move: Callable[[], None],
        on_drain: Callable[[], None],
        interrupt: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._drain_seconds = drain_seconds
        self._on_move = on_move
        self._on_drain = on_drain
        self._interrupt = interrupt
        self._drain_until: float | None = None
        self.state = State.STARTING

    @property
    def due(self) -> float | None:
        """Monotonic seconds at which a drain has lasted long enough."""
        return self._drain_until

    def start(self) -> None:
        """Say that a daemon is starting."""
        self._move(State.STARTING)

    def work(self) -> None:
        """The start is over: go on as a person has left it."""
        self._move(State.PAUSED if self._journal.get("paused") == "yes" else State.RUNNING)

    def pause(self) -> None:
        """Start nothing more until `resume`, nor after a restart."""
        if self.state is State.RUNNING:
            self._journal.set("paused", "yes")
            self._move(State.PAUSED)

    def resume(self) -> None:
        """The end of a pause."""
        if self.state is State.PAUSED:
            self._journal.set("paused", "no")
            self._move(State.RUNNING)

    def drain(self) -> None:
        """Start nothing more; end when what runs has ended, or interrupt it at the deadline."""
        if self.state is not State.DRAINING:
            self._drain_until = time.monotonic() + self._drain_seconds
            try:
                self._move(State.DRAINING)
            finally:
                self._on_drain()

    def stop(self) -> None:
        """End now, with what runs."""
        try:
            self.drain()
        finally:
            self._interrupt_all()

    def signal(self) -> None:
        """The first one drains, a second one interrupts what still runs."""
        if self.state is State.DRAINING:
            self._interrupt_all()
        else:
            self.drain()

    def look(self, now: float) -> None:
        """Interrupt what runs past the deadline; `now` is monotonic."""
        if self._drain_until is not None and now >= self._drain_until:
            self._interrupt_all()

    def end(self) -> None:
        """The daemon has stopped."""
        self._move(State.STOPPED)

    def _interrupt_all(self) -> None:
        self._drain_until = None
        self._interrupt()

    def _move(self, state: State) -> None:
        self.state = state
        if state is not State.STARTING:
            self._on_move()
        self._journal.set("state", state.value)
