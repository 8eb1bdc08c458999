"""Where workers hand in what must be durable: starts and ends of attempts, written in one transaction for all that wait.

While one transaction is being written the next ones gather, so a single start costs one sync and a hundred share one. Ends that
have gathered wait a moment for the starts that take their slots: one sync for both.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.errors import StorageError
from brain_daemon.model.task import TaskSpec
from brain_daemon.store.journal import Journal

_LOG = logging.getLogger("brain_daemon")
_GATHER_SECONDS = 0.002
_JOIN_SECONDS = 0.005
_AGAIN_SECONDS = 2.0

OnEnd = Callable[[Attempt, TaskSpec | None], None]


class Desk:
    """One journal connection, used from the event loop's thread only. `on_end` hears of each outcome once it is durable.

    `next_starts` is asked, when ends have gathered, for the starts that take their slots; whether any are about to come.
    """

    def __init__(self, journal: Journal, on_end: OnEnd) -> None:
        self._journal = journal
        self._on_end = on_end
        self._starts: list[Attempt] = []
        self._ends: list[tuple[Attempt, TaskSpec | None]] = []
        self._closed: list[tuple[Attempt, TaskSpec | None]] = []
        self._running = 0
        self._given_up = False
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._written: asyncio.Future[None] | None = None
        self.next_starts: Callable[[], bool] = lambda: False

    def start_now(self, attempts: Sequence[Attempt]) -> None:
        """Make starts durable, with all that waits to be. Raises what the journal raises, and then none of it is."""
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        written = self._written
        self._starts.extend(attempts)
        self._write()
        error = written.exception()
        if error is not None:
            raise error

    async def start(self, attempts: Sequence[Attempt]) -> None:
        """Returns when the starts are durable."""
        self._starts.extend(attempts)
        await self._next_writing()

    async def end(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """Returns when the outcome is durable: a disk that refuses it is tried again, since what has run cannot be run again.

        Raises StorageError only once `give_up` was called; the attempt then stays `starting`, which recovery calls interrupted.
        """
        while True:
            self._ends.append((attempt, task))
            try:
                # Where all that runs has ended, there is nobody to wait for.
                await self._next_writing(_GATHER_SECONDS if len(self._ends) < self._running else 0.0)
            except StorageError as error:
                if self._given_up:
                    raise
                _LOG.error(
                    "an outcome cannot be kept yet",
                    extra={"action": "end", "task": attempt.task_id, "error": str(error)},
                )
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    def give_up(self) -> None:
        """The daemon must end: an outcome that the disk still refuses is not waited for."""
        self._given_up = True

    async def close(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An attempt that ended without a start: returns when it is durable."""
        self._starts.append(attempt)
        self._closed.append((attempt, task))
        await self._next_writing()

    async def _next_writing(self, patience_seconds: float | None = None) -> None:
        """Wait for the next transaction: at once for a start (None), a little later for an end, which others may join."""
        loop = asyncio.get_running_loop()
        if self._written is None:
            self._written = loop.create_future()
        if patience_seconds is not None and not self._timer:
            self._timer = loop.call_later(patience_seconds, self._gathered)
        elif patience_seconds is None and not self._soon:
            self._soon = loop.call_soon(self._write)
        await asyncio.shield(self._written)

    def _gathered(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_JOIN_SECONDS, self._write)
        if not self.next_starts():
            self._write()

    def _write(self) -> None:
        """One transaction for everything handed in since the last one."""
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()
        self._timer = self._soon = None
        written, self._written = self._written, None
        starts, self._starts = self._starts, []
        ends, self._ends = self._ends, []
        closed, self._closed = self._closed, []
        assert written is not None
        try:
            with self._journal.transaction():
                self._journal.insert(starts)
                self._journal.set_ended([attempt for attempt, _ in ends])
        except BaseException as error:
            if not written.cancelled():
                written.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        self._running += len(starts) - len(closed) - len(ends)
        for attempt, task in (*ends, *closed):
            self._tell(attempt, task)
        if not written.cancelled():
            written.set_result(None)

    def _tell(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """It is durable whatever those make of it who hear of it: a fault of theirs keeps nobody else from going on."""
        try:
            self._on_end(attempt, task)
        except Exception:  # noqa: BLE001 - whatever it is, the outcome stands
            _LOG.exception("an end was not heard of", extra={"action": "end", "task": attempt.task_id})
