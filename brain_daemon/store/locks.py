"""The brain's locks: who runs the daemon, who claims, who records.

All three are filelock locks on files in the state folder, never removed, so that two processes always lock the same
inode. The lock of an attempt is another thing (adapters/process.py): its descendants hold it, so it is never released,
only closed.

Failures: a lock held by another raises `Occupied` that names the holder as far as it is known.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache

from filelock import FileLock, Timeout, lock_descriptor, unlock_descriptor

from brain_daemon.model.errors import Occupied
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.probe import lock_is_held

_PROBE_SECONDS = 0.2
_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Holder:
    """Who runs the daemon of a brain; `started_at` is epoch seconds."""

    pid: int
    host: str
    started_at: float

    def describe(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_at))
        return f"process {self.pid} on {self.host}, since {since}"


class _ShortLock:
    """One thread's own hold on a lock file, so that threads exclude each other too. The file stays open: that takes longer than the lock."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._depth = 0

    def acquire(self, timeout_seconds: float) -> None:
        """Take it, perhaps once more. Raises filelock's Timeout."""
        deadline = time.monotonic() + timeout_seconds
        while not (self._depth or self._locked()):
            if time.monotonic() >= deadline:
                raise Timeout(self.path)
            time.sleep(_POLL_SECONDS)
        self._depth += 1

    def release(self) -> None:
        """Give up what `acquire` took last."""
        self._depth -= 1
        if not self._depth and self._descriptor is not None:
            unlock_descriptor(self._descriptor)

    def _locked(self) -> bool:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        if not lock_descriptor(self._descriptor, blocking=False):
            return False
        if os.fstat(self._descriptor).st_nlink:
            return True
        self._close()  # somebody has removed the file: others lock another one by now
        return False

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self._close()


# Room for each thread that takes one: a thread that holds one which has gone from here would wait for itself.
@lru_cache(maxsize=16)
def _short_lock(path: str, _process: int, _thread: int) -> _ShortLock:
    return _ShortLock(path)


class BrainLock:
    """Held by the one daemon of a brain for as long as it lives."""

    def __init__(self, layout: Layout, files: Files) -> None:
        self._layout = layout
        self._files = files
        self._lock = FileLock(os.path.join(layout.state, "brain.lock"), thread_local=False)

    def acquire(self) -> None:
        """Take it or raise Occupied naming the first daemon."""
        try:
            # `brain status` looks at the lock for some microseconds; a daemon holds it for longer than this.
            self._lock.acquire(timeout=_PROBE_SECONDS, poll_interval=0.01)
        except Timeout:
            known = read_holder(self._layout)
            who = known.describe() if known else "another process"
            raise Occupied(
                f"brain {self._layout.root} is already being run by {who}. "
                "`brain status` shows it, `brain stop` ends it."
            ) from None
        holder = Holder(os.getpid(), os.uname().nodename, time.time())
        self._files.put(_holder_path(self._layout), json.dumps(asdict(holder)).encode(), sync=False)

    def release(self) -> None:
        self._lock.release()


def _holder_path(layout: Layout) -> str:
    return os.path.join(layout.state, "daemon.json")


def read_holder(layout: Layout) -> Holder | None:
    """Who last took the brain's lock, whether it still lives or not."""
    try:
        with open(_holder_path(layout), "rb") as handle:
            return Holder(**json.load(handle))
    except (OSError, ValueError, TypeError):
        return None


def running_daemon(layout: Layout) -> Holder | None:
    """The daemon that holds the brain's lock now, or None.

    The lock decides; a held lock whose holder file is missing is still a running daemon (pid 0).
    """
    if not lock_is_held(os.path.join(layout.state, "brain.lock")):
        return None
    return read_holder(layout) or _unnamed()


def _unnamed() -> Holder:
    """Somebody, who has run at most since this machine has."""
    from psutil import boot_time  # noqa: PLC0415 - slow to import, and hardly ever asked for

    return Holder(0, os.uname().nodename, boot_time())


@contextmanager
def claims(layout: Layout, timeout_seconds: float = 30.0) -> Iterator[None]:
    """The short lock under which files leave pending/ and active/ changes hands."""
    yield from _held(layout, "claims.lock", timeout_seconds, "claiming from")


@contextmanager
def recording(layout: Layout, timeout_seconds: float = 120.0) -> Iterator[None]:
    """The lock under which outcomes are written to files and git."""
    yield from _held(layout, "record.lock", timeout_seconds, "recording in")


def _held(layout: Layout, name: str, timeout_seconds: float, doing: str) -> Iterator[None]:
    lock = _short_lock(os.path.join(layout.state, name), os.getpid(), threading.get_ident())
    try:
        lock.acquire(timeout_seconds)
    except Timeout:
        raise Occupied(
            f"{doing} {layout.root}: another process has held {lock.path} for {timeout_seconds:g} s. "
            "`brain doctor` names the holder."
        ) from None
    try:
        yield
    finally:
        lock.release()
