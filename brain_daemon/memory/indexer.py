"""The thread of the daemon that keeps the pool's index as the files are.

A hint (`hint(path)`, from the watch) is looked at within a tenth of a second; a full look comes every few seconds and finds
what no hint told of. Between batches it rests as long as a batch took, so that tasks are not slowed. Each full look also takes
in the notes that running attempts left in their workspaces.

Failures: a disk that refuses is logged once and tried again at the next look; nothing here ends the daemon.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from brain_daemon.memory.notes import Inbox, collect_notes
from brain_daemon.memory.pool import Pool, Refreshed
from brain_daemon.memory.texts import is_known, is_pool_note
from brain_daemon.model.errors import BrainError
from brain_daemon.store.reading import read_regular

_GATHER_SECONDS = 0.1
_INBOX_SECONDS = 1.0
_MOST_REST_SECONDS = 0.5
_JOIN_SECONDS = 10.0
_LOG = logging.getLogger("brain_daemon")


def _no_inboxes() -> Iterable[Inbox]:
    return ()


def _nobody(_notes: Mapping[str, bytes]) -> None:
    return


class Indexer:
    """`inboxes` tells of the running attempts; `on_notes` hears of notes of the pool that are new or changed, to commit them.

    `clean` takes the secrets out of what attempts left. All three are called in this thread.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        scan_seconds: float = 10.0,
        inboxes: Callable[[], Iterable[Inbox]] = _no_inboxes,
        on_notes: Callable[[Mapping[str, bytes]], None] = _nobody,
        clean: Callable[[str], str] = str,
    ) -> None:
        self._pool = pool
        self._scan_seconds = scan_seconds
        self._inboxes = inboxes
        self._on_notes = on_notes
        self._clean = clean
        self._woken = threading.Condition()
        self._hints: set[str] = set()
        self._scan_at = 0.0
        self._stopping = False
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        pool.on_doubt = self.wake

    def start(self) -> None:
        """Begin with a check of the index and a look at everything; returns at once."""
        if self._pool.vectors is not None:
            self._pool.vectors.start()
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand."""
        with self._woken:
            self._stopping = True
            self._woken.notify()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)
        if self._pool.vectors is not None:
            self._pool.vectors.stop()

    def hint(self, path: str) -> None:
        """A file may have changed: an absolute path. Any thread; returns at once."""
        relative = self._pool.layout.relative(path)
        if is_known(relative):
            with self._woken:
                self._hints.add(relative)
                self._woken.notify()

    def wake(self) -> None:
        """Look at everything now. Any thread."""
        with self._woken:
            self._scan_at = 0.0
            self._woken.notify()

    def _run(self) -> None:
        self._guarded(self._pool.check)
        while not self._stopping:
            self._guarded(self._take_in)
            if time.monotonic() >= self._scan_at:
                # Set before the look: whoever wakes us during it means another one.
                self._scan_at = time.monotonic() + self._scan_seconds
                self._guarded(self._look)
            self._wait()

    def _wait(self) -> None:
        with self._woken:
            left = min(self._scan_at - time.monotonic(), _INBOX_SECONDS)
            if not self._hints and left > 0 and not self._stopping:
                self._woken.wait(left)
            hinted = bool(self._hints)
        if hinted and not self._stopping:
            time.sleep(_GATHER_SECONDS)
            with self._woken:
                paths, self._hints = self._hints, set()
            self._guarded(lambda: self._done(self._pool.refresh(paths)))

    def _look(self) -> None:
        self._done(self._pool.refresh(pause=self._rest))

    def _rest(self, seconds: float) -> None:
        if self._stopping:
            raise _Stopped
        time.sleep(min(seconds, _MOST_REST_SECONDS))

    def _take_in(self) -> None:
        """The notes of running attempts."""
        for inbox in self._inboxes():
            paths = collect_notes(self._pool.layout, self._pool.files, inbox, self._clean)
            if paths:
                self._done(self._pool.refresh(paths))

    def _done(self, found: Refreshed) -> None:
        notes = {path: read_regular(self._pool.layout.inside(path)) for path in found.changed if is_pool_note(path)}
        if notes:
            self._on_notes(notes)
        if self._pool.vectors is not None and (found.changed or found.gone):
            self._pool.vectors.sync()

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
            self._fault = ""
        except _Stopped:
            return
        except (BrainError, OSError) as error:
            if str(error) != self._fault:
                self._fault = str(error)
                _LOG.warning("the pool is not up to date", extra={"action": "memory", "error": str(error)})


class _Stopped(BrainError):
    """The thread was told to end in the middle of a look."""
