"""The recorder's thread: it gathers outcomes that end together, writes them, and tries again what is owed.

Failures: a disk error is told to the supervisor (which stops claiming) and tried again; nothing else ends the thread.
"""

import logging
import threading
import time
from collections.abc import Callable

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.errors import BrainError
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.recorder import Recorder

_LOG = logging.getLogger("brain_daemon")
_OWED_SECONDS = 2.0
_FAULT_SECONDS = 5.0
_IDLE_SECONDS = 30.0


class RecorderThread:
    """Runs `make()`'s recorder; `on_settled` is called from the thread after each pass."""

    def __init__(
        self, make: Callable[[], Recorder], group_seconds: float, group_size: int, on_settled: Callable[[], None]
    ) -> None:
        self._make = make
        self._group_seconds = group_seconds
        self._group_size = group_size
        self._on_settled = on_settled
        self._condition = threading.Condition()
        self._waiting: list[tuple[Attempt, TaskSpec | None]] = []
        self._asked = False
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.fault: str | None = None
        self.why_owed: str | None = None
        self.busy = False

    def start(self) -> None:
        self._thread.start()

    def hand_in(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An outcome is durable in the journal."""
        with self._condition:
            self._waiting.append((attempt, task))
            self.busy = True
            self._condition.notify()

    def wake(self) -> None:
        """Look at what is owed now."""
        with self._condition:
            self._asked = True
            self.busy = True
            self._condition.notify()

    def stop(self, timeout_seconds: float) -> bool:
        """Record what there is, commit the day files and end; False if it took longer."""
        with self._condition:
            self._stop = True
            self._condition.notify()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        recorder: Recorder | None = None
        while True:
            stopping = self._gather(recorder)
            try:
                if recorder is None:
                    made = self._make()
                    made.start()
                    recorder = made
                self._pass(recorder, stopping)
                self.fault = None
            except (BrainError, OSError) as error:
                self.fault = str(error)
                _LOG.error("recording failed; it is tried again", extra={"action": "record", "error": str(error)})
            if stopping:
                return

    def _pass(self, recorder: Recorder, stopping: bool) -> None:
        with self._condition:
            batch, self._waiting = self._waiting, []
            self._asked = False
        for attempt, task in batch:
            recorder.remember(attempt, task)
        recorder.record(housekeeping=not stopping)
        if stopping:
            recorder.commit_housekeeping()
        self.why_owed = recorder.why_owed
        with self._condition:
            self.busy = bool(self._waiting) or self._asked
        self._on_settled()

    def _gather(self, recorder: Recorder | None) -> bool:
        """Wait for something to do, then a little for what ends with it; whether to stop afterwards."""
        with self._condition:
            if recorder is None:
                return self._stop
            patience = _FAULT_SECONDS if self.fault else _OWED_SECONDS if self.why_owed else _IDLE_SECONDS
            if not (self._waiting or self._asked or self._stop):
                self._condition.wait(patience)
            deadline = time.monotonic() + self._group_seconds
            while self._waiting and len(self._waiting) < self._group_size and not self._stop:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._condition.wait(left)
            return self._stop
