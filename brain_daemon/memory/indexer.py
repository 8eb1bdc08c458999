"""The thread of the daemon that keeps the pool's index as the files are.

A hint (`hint(path)`, from a watch on the notes) is looked at within a tenth of a second. Every few seconds one look at the
folders of completed tasks tells whether there are new results; everything is looked at then, and now and then anyway, which finds
what no hint told of. While tasks run, the notes they leave in their workspaces are taken in. Between batches it rests as long
as a batch took, so that tasks are not slowed; where nothing changes it sleeps.

The child that makes vectors lives as long as somebody is told what it finds (`asked`), else until it has made those of the
texts that are new. It is told of new texts once no task runs, or after half a minute: words find them meanwhile.

Failures: a disk that refuses is logged once and tried again at the next look; nothing here ends the daemon.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from brain_daemon.memory.notes import Inbox, collect_notes
from brain_daemon.memory.pool import Pool, Refreshed
from brain_daemon.memory.texts import is_known, is_pool_note
from brain_daemon.memory.vectors import Vectors
from brain_daemon.model.errors import BrainError
from brain_daemon.store.reading import read_regular

_GATHER_SECONDS = 0.1
_INBOX_SECONDS = 1.0
_NET_SECONDS = 30.0
_SPENT_SECONDS = 20.0
_QUIET_SECONDS = 1.0
_PUT_OFF_SECONDS = 30.0
_MOST_REST_SECONDS = 0.5
_JOIN_SECONDS = 10.0
_LOG = logging.getLogger("brain_daemon")


def _no_inboxes() -> Iterable[Inbox]:
    return ()


def _always() -> bool:
    return True


def _unwatched() -> bool:
    return False


def _nobody(_notes: Mapping[str, bytes]) -> None:
    return


class Indexer:
    """`inboxes` tells of the running attempts; `on_notes` hears of notes of the pool that are new or changed, to commit them.

    `clean` takes the secrets out of what attempts left. `busy` says whether tasks run: who starts one where none ran calls
    `expect`. `watch` is called once: whether it will be told of notes by `hint`. All of them are called in this thread.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        scan_seconds: float = 10.0,
        first_seconds: float = 0.0,
        inboxes: Callable[[], Iterable[Inbox]] = _no_inboxes,
        on_notes: Callable[[Mapping[str, bytes]], None] = _nobody,
        clean: Callable[[str], str] = str,
        busy: Callable[[], bool] = _always,
        asked: Callable[[], bool] = _always,
        watch: Callable[[], bool] = _unwatched,
    ) -> None:
        self._pool = pool
        self._scan_seconds = scan_seconds
        self._first_seconds = first_seconds
        self._inboxes = inboxes
        self._on_notes = on_notes
        self._clean = clean
        self._busy = busy
        self._asked = asked
        self._watch = watch
        self._woken = threading.Condition()
        self._hints: set[str] = set()
        self._net_seconds = scan_seconds
        self._scan_at = self._results_at = 0.0
        self._synced_at = 0.0
        self._news_since = 0.0
        self._busy_at = 0.0
        self._looked = False
        self._expecting = self._looks_often = False
        self._stopping = False
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        pool.on_doubt = self.wake
        pool.on_work = self.expect

    def start(self) -> None:
        """Begin with a check of the index and a look at everything, after `first_seconds`; returns at once."""
        if self._pool.vectors is not None and self._asked():
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

    def expect(self) -> None:
        """A task begins, which may leave notes. Any thread; returns at once."""
        if self._looks_often:
            return  # to wake it would take a turn at the interpreter from each task that starts
        with self._woken:
            self._expecting = True
            self._woken.notify()

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
            self._scan_at = -1.0
            self._expecting = True
            self._woken.notify()

    def _run(self) -> None:
        with self._woken:
            self._woken.wait_for(lambda: self._stopping or self._scan_at < 0, self._first_seconds)
        if self._stopping:
            return
        if self._watch():
            self._net_seconds = max(self._scan_seconds, _NET_SECONDS)
        self._guarded(self._pool.check)
        while not self._stopping:
            working = self._busy()
            if working:
                self._busy_at = time.monotonic()
                self._guarded(self._take_in)
            if self._is_due():
                # Set before the look: whoever wakes us during it means another one.
                self._scan_at = time.monotonic() + self._net_seconds
                self._guarded(self._look)
            self._guarded(self._tend_vectors)
            self._wait(working)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now < self._scan_at and now < self._results_at:
            return False
        self._results_at = now + self._scan_seconds
        return now >= self._scan_at or self._pool.has_new_results()

    def _wait(self, working: bool) -> None:
        with self._woken:
            self._looks_often = working
            left = min(self._scan_at, self._results_at) - time.monotonic()
            if working:
                left = min(left, _INBOX_SECONDS)
            if self._news_since:
                left = min(left, _QUIET_SECONDS)
            if not (self._hints or self._expecting or self._stopping) and left > 0:
                self._woken.wait(left)
            self._expecting = self._looks_often = False
            hinted = bool(self._hints)
        if hinted and not self._stopping:
            time.sleep(_GATHER_SECONDS)
            with self._woken:
                paths, self._hints = self._hints, set()
            self._guarded(lambda: self._done(self._pool.refresh(paths)))

    def _look(self) -> None:
        self._done(self._pool.refresh(pause=self._rest))
        if not self._looked:
            # What an earlier daemon left without vectors counts as new.
            self._looked, self._synced_at = True, time.monotonic()

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
            self._synced_at = time.monotonic()
            self._news_since = self._news_since or self._synced_at

    def _tend_vectors(self) -> None:
        """See that the child is there while it is needed, and only then."""
        vectors = self._pool.vectors
        if vectors is None:
            return
        now = time.monotonic()
        told = self._tell(vectors, now) if self._news_since else True
        if self._asked():
            if vectors.runs and vectors.flat:
                vectors.rest()
            if not vectors.runs:
                vectors.start()
        elif not vectors.runs:
            if told:
                if self._synced_at and self._pool.lacks_vectors():
                    vectors.start(flat=True)
                self._synced_at = 0.0
        elif vectors.told.complete and now - self._synced_at > _SPENT_SECONDS:
            vectors.rest()
            self._synced_at = 0.0

    def _tell(self, vectors: Vectors, now: float) -> bool:
        """Let the child hear of new texts, at a time when it takes nothing from a task; whether that time has come."""
        waited = now - self._news_since
        if waited < _QUIET_SECONDS or (waited < _PUT_OFF_SECONDS and self._is_busy(now)):
            return False
        self._news_since = 0.0
        if vectors.runs:
            vectors.sync()
        return True

    def _is_busy(self, now: float) -> bool:
        """Short tasks are seen by what they leave."""
        return now - self._busy_at < _QUIET_SECONDS or self._pool.has_new_results()

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
