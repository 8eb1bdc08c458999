"""The recorder's two threads: one files outcomes that end together, the other commits what is filed.

The recording lock is held from the first to the last act. Failures: a disk error is told to the supervisor (which stops
claiming) and tried again; a commit that is owed is tried again; anything else ends the threads, and the supervisor sees it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.errors import BrainError
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.correspondence import QUIET_SECONDS
from brain_daemon.record.recorder import Recorder
from brain_daemon.store.layout import Layout
from brain_daemon.store.locks import recording

_LOG = logging.getLogger("brain_daemon")
_OWED_SECONDS = 2.0
_LAST_TRIES = 3
_LAST_PAUSE_SECONDS = 0.3
_FAULT_SECONDS = 5.0
_IDLE_SECONDS = 30.0
# Of the time between two groups, where nothing else is about to end.
_HURRIED = 0.5
# While more is about to end, commits rest for so many times as long as the last one took: git's share of a busy machine stays small.
_REST = 4.0
_LONGEST_REST_SECONDS = 1.0


class RecorderThread:
    """Runs `make()`'s recorder; `on_settled` is called from a thread after each pass.

    An outcome is filed at once, unless a group was begun less than `group_seconds` ago: then it waits for those that end
    with it. So a lone outcome is committed without delay, and a crowd in groups; of a crowd several groups may be committed together.
    """

    def __init__(
        self,
        layout: Layout,
        make: Callable[[], Recorder],
        group_seconds: float,
        group_size: int,
        on_settled: Callable[[], None],
    ) -> None:
        self._layout = layout
        self._make = make
        self._group_seconds = group_seconds
        self._group_size = group_size
        self._on_settled = on_settled
        # One lock, two to wake: a thread that is woken for the other's news costs both a turn at the interpreter.
        self._lock = threading.Lock()
        self._to_file = threading.Condition(self._lock)
        self._to_commit = threading.Condition(self._lock)
        self._waiting = 0
        self._began = -group_seconds
        self._hurried = False
        self._rests_until = 0.0
        self._early: list[tuple[Attempt, TaskSpec | None]] = []
        self._recorder: Recorder | None = None
        self._asked = False
        self._filing = False
        self._filed = False
        self._stop = False
        self._files_done = False
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)
        self._commits = threading.Thread(target=self._run_commits, name="commits", daemon=True)
        self.fault: str | None = None
        self.crash: BaseException | None = None
        self.busy = False

    def start(self) -> None:
        self._thread.start()

    @property
    def why_owed(self) -> str | None:
        """Why git lacks what is in the files, in words; None where it lacks nothing or is about to have it."""
        return None if self._recorder is None else self._recorder.why_owed

    def hand_in(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An outcome is durable in the journal."""
        with self._lock:
            if self._recorder is None:
                self._early.append((attempt, task))
            else:
                self._recorder.remember(attempt, task)
            self._waiting += 1
            self._hurried = False
            self.busy = True
            if self._waiting in (1, self._group_size):
                self._to_file.notify()

    def keep(self, pages: Mapping[str, bytes]) -> None:
        """Pages of the brain that others have written, to be committed: path relative to the brain -> bytes. Any thread."""
        recorder = self._recorder
        if recorder is not None:
            recorder.keep(pages)
            self.wake()

    def hurry(self) -> None:
        """Nothing else is about to end: what waits for company need not wait for long. Cheap to say again and again."""
        if not self._hurried:
            with self._lock:
                self._hurried = True
                self._to_file.notify()
                self._to_commit.notify()

    def look(self) -> None:
        """What the recorder must know may have changed: it asks for it itself, each time."""

    def wake(self) -> None:
        """Look at what is owed now."""
        with self._lock:
            self._asked = True
            self.busy = True
            self._to_file.notify()

    def stop(self, timeout_seconds: float) -> bool:
        """Record what there is, commit the day files and end; False if it took longer."""
        with self._lock:
            self._stop = True
            self._to_file.notify()
        deadline = time.monotonic() + timeout_seconds
        self._thread.join(timeout_seconds)
        if self._commits.is_alive():
            self._commits.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive() and not self._commits.is_alive()

    # filing

    def _run(self) -> None:
        try:
            with recording(self._layout):
                recorder = self._open()
                if recorder is not None:
                    self._commits.start()
                    self._file_until_stopped(recorder)
                    with self._lock:
                        self._files_done = True
                        self._to_commit.notify()
                    self._commits.join()
        except BaseException as error:  # noqa: BLE001 - told to the supervisor, which ends the program with it
            self._crashed(error)

    def _open(self) -> Recorder | None:
        """The recorder, started; tried until it succeeds or the daemon stops."""
        while True:
            try:
                recorder = self._make()
                recorder.start()
            except (BrainError, OSError) as error:
                self._failed("starting to record", error)
                with self._lock:
                    if self._stop or self._to_file.wait_for(lambda: self._stop, _FAULT_SECONDS):
                        return None
                continue
            with self._lock:
                for early in self._early:
                    recorder.remember(*early)
                self._recorder = recorder
            return recorder

    def _file_until_stopped(self, recorder: Recorder) -> None:
        stopping = False
        while not stopping:
            stopping = self._gather()
            some = False
            try:
                # What has ended since waits for its own group, unless there was more than one group of it.
                while (filed := recorder.file()) >= self._group_size:
                    some = True
                    self._note_filed(more=True)
                some = some or filed > 0
                if stopping:
                    recorder.file_last()
                self.fault = None
            except (BrainError, OSError) as error:
                some = True  # others of the group may be recorded
                self._failed("recording", error)
            self._note_filed()
            if some:
                self._on_settled()

    def _gather(self) -> bool:
        """Wait for something to do, then for what ends with it; whether to stop afterwards."""
        with self._lock:
            if not (self._waiting or self._asked or self._stop):
                self._to_file.wait_for(lambda: self._waiting or self._asked or self._stop, self._patience())
            while 0 < self._waiting < self._group_size and not self._stop:
                pause = self._group_seconds * (_HURRIED if self._hurried else 1.0)
                left = self._began + pause - time.monotonic()
                if left <= 0:
                    break
                self._to_file.wait(left)
            if self._waiting:
                self._began = time.monotonic()
            self._waiting = 0
            self._asked = False
            self._filing = True
            return self._stop

    def _patience(self) -> float:
        """Seconds until another look without a reason."""
        if self.fault:
            return _FAULT_SECONDS
        if self._recorder is not None and self._recorder.is_waiting:
            return QUIET_SECONDS
        return _OWED_SECONDS if self.why_owed else _IDLE_SECONDS

    def _note_filed(self, *, more: bool = False) -> None:
        with self._lock:
            self._filing = more
            self._filed = True
            self._to_commit.notify()

    # committing

    def _run_commits(self) -> None:
        recorder = self._recorder
        assert recorder is not None
        try:
            while self._await_filed(recorder):
                began = time.monotonic()
                self._commit_all(recorder)
                ended = time.monotonic()
                self._rests_until = ended + min(_REST * (ended - began), _LONGEST_REST_SECONDS)
            self._commit_the_last(recorder)
            recorder.keep_house(now=True)
            with self._lock:
                self.busy = False
            self._on_settled()
        except BaseException as error:  # noqa: BLE001 - as above
            self._crashed(error)

    def _await_filed(self, recorder: Recorder) -> bool:
        """Wait for something to commit, or for the time to try again; False when filing has ended."""
        with self._lock:
            patience = _OWED_SECONDS if recorder.why_owed else _IDLE_SECONDS
            self._to_commit.wait_for(lambda: self._filed or self._files_done, patience)
            self._to_commit.wait_for(
                lambda: self._hurried or self._files_done, max(0.0, self._rests_until - time.monotonic())
            )
            self._filed = False
            return not self._files_done

    def _commit_the_last(self, recorder: Recorder) -> None:
        """Nobody comes after this to try again but the next daemon: an error that passes is given time to pass."""
        for _ in range(_LAST_TRIES):
            if self._commit_all(recorder):
                return
            time.sleep(_LAST_PAUSE_SECONDS)

    def _commit_all(self, recorder: Recorder) -> bool:
        """Commit until nothing is left; whether nothing went wrong."""
        fault: BrainError | OSError | None = None
        try:
            while recorder.commit():
                self._on_settled()
            recorder.keep_house()
        except (BrainError, OSError) as error:
            fault = error
            self._failed("committing", error)
        with self._lock:
            self.busy = bool(self._waiting or self._asked or self._filing or self._filed)
        self._on_settled()
        return fault is None

    def _failed(self, doing: str, error: BaseException) -> None:
        self.fault = str(error)
        _LOG.error("%s failed; it is tried again", doing, extra={"action": "record", "error": str(error)})

    def _crashed(self, error: BaseException) -> None:
        """The other thread is let go, and the supervisor told."""
        with self._lock:
            self.crash = self.crash or error
            self._stop = self._files_done = True
            self.busy = False
            self._to_file.notify()
            self._to_commit.notify()
        self._on_settled()
