"""The user's index: a copy of it to prepare, its lock, the exchange, and the way back.

What a crash leaves is proved by hard links, never by a name or an age:
`index.lock` is ours if it is the same file as our anchor; the index is the one we put there if it is the same file
as `placed`; `saved` is the user's own, with its inode and times. The anchor is also flocked, and every git started
meanwhile inherits the descriptor, so that nothing is undone while a git of a dead daemon still runs.

Failures: a lock that another holds is a Transient after a second's patience; a disk error passes as OSError.
"""

import contextlib
import fcntl
import os
import random
import shutil
import time
from collections.abc import Iterator

from brain_daemon.model.errors import Transient

LOCK_PATIENCE_SECONDS = 1.0
State = tuple[int, int, int, int] | None


# Every change made to the git folder by this program itself is one of these five steps.


def link(existing: str, new: str) -> None:
    """Give a file a second name; raises FileExistsError if the name is taken."""
    os.link(existing, new)


def rename(source: str, target: str) -> None:
    """Put `source` in the place of `target`."""
    os.replace(source, target)


def unlink(path: str) -> None:
    """Remove a name, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def copy(source: str, target: str) -> State:
    """Copy a file and say which state of it was copied; no source leaves no target and is the state None."""
    try:
        with open(source, "rb") as old, open(target, "wb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
            return _state(os.fstat(old.fileno()))
    except FileNotFoundError:
        unlink(target)
        return None


def open_anchor(path: str) -> int:
    """The descriptor of our own empty file, made and synced the first time."""
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return descriptor


class UserIndex:
    """The index in `git_dir`; `key` tells our files from those of another brain in the same repository."""

    def __init__(self, git_dir: str, key: str) -> None:
        ours = os.path.join(git_dir, f"brain-{key}")
        self._index = os.path.join(git_dir, "index")
        self._lock = f"{self._index}.lock"
        self._anchor, self._placed, self._saved = f"{ours}.anchor", f"{ours}.placed", f"{ours}.saved"
        self.copied = f"{ours}.index"

    @contextlib.contextmanager
    def alone(self, patience_seconds: float) -> Iterator[int]:
        """Be the only one of this brain who touches the index; yields the descriptor for children to inherit."""
        descriptor = open_anchor(self._anchor)
        try:
            if not any(_flocked(descriptor) for _ in patiently(patience_seconds)):
                raise Transient("another process is committing for this brain")
            yield descriptor
        finally:
            os.close(descriptor)

    def wait_until_free(self) -> None:
        """Return once nobody holds `index.lock`, before any work is done in vain."""
        if not any(not os.path.lexists(self._lock) for _ in patiently(LOCK_PATIENCE_SECONDS)):
            raise Transient("index.lock is held by another git")

    def take_lock(self) -> None:
        """Hold `index.lock`; it appears with the inode of the anchor or not at all."""
        for _ in patiently(LOCK_PATIENCE_SECONDS):
            try:
                return link(self._anchor, self._lock)
            except FileExistsError:
                continue
        raise Transient("index.lock is held by another git")

    def is_ours(self) -> bool:
        """Whether `index.lock` is there and ours."""
        return _same_file(self._anchor, self._lock)

    def unlock(self) -> None:
        """Remove `index.lock` if it is ours."""
        if self.is_ours():
            unlink(self._lock)

    def copy(self) -> State:
        """Make the copy, as the index is now."""
        return copy(self._index, self.copied)

    def is_still(self, state: State) -> bool:
        """Whether the index is what was copied; git never writes it in place."""
        try:
            return _state(os.stat(self._index)) == state
        except FileNotFoundError:
            return state is None

    def place(self) -> None:
        """Put the copy in the place of the index, under the lock."""
        if not os.path.exists(self.copied):
            return  # there was no index and there is nothing to hold
        link(self.copied, self._placed)
        if os.path.lexists(self._index):
            link(self._index, self._saved)
        rename(self.copied, self._index)

    def is_placed(self) -> bool:
        """Whether the index is the copy we put there, untouched since."""
        return _same_file(self._placed, self._index)

    def put_back(self) -> None:
        """Give the user's index back, under the lock; there may have been none."""
        if os.path.lexists(self._saved):
            rename(self._saved, self._index)
        else:
            unlink(self._index)

    def has_leftovers(self) -> bool:
        """Whether a group of ours ended without clearing up."""
        return os.path.lexists(self._placed) or self.is_ours()

    def clear(self) -> None:
        """Remove all our files but the anchor; the lock goes first, so that the user waits for nothing."""
        self.unlock()
        for path in (self._saved, self._placed, self.copied, f"{self.copied}.lock"):
            unlink(path)


def patiently(seconds: float) -> Iterator[None]:
    """At least one turn, then turns 5-40 ms apart until the time is over."""
    end = time.monotonic() + seconds
    yield
    while time.monotonic() < end:
        pause()
        yield


def pause() -> None:
    """Some 5-40 ms, so that two who wait for each other do not meet again."""
    time.sleep(random.uniform(0.005, 0.04))  # noqa: S311 - jitter, not a secret


def _state(found: os.stat_result) -> State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except FileNotFoundError:
        return False


def _flocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
