"""The inotify(7) events of one folder, read without a thread and without an object for each: for pending/.

Each claim of ours is an event there too, and watchdog takes an event through three threads, which under load costs more
than the claim. Deletions are not asked for: what is deleted is found by the scan or missed by the claim.

Failures: where the kernel or this C library has no inotify, or refuses one more, opening raises OSError. Nothing is
promised, as in store/watch.py: a lost event, or a folder that was replaced, is an overflow.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _MOVE_SELF = 0x8, 0x40, 0x80, 0x800
_Q_OVERFLOW, _IGNORED, _ISDIR, _ONLYDIR = 0x4000, 0x8000, 0x4000_0000, 0x100_0000
_WANTED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _MOVE_SELF | _ONLYDIR
_HEAD = struct.Struct("iIII")
_BUFFER_BYTES = 1 << 16


class Hint(StrEnum):
    """What an event is worth: a complete file, a file being written, one gone, or doubt about everything."""

    COMPLETE = "complete"
    CHANGING = "changing"
    GONE = "gone"
    OVERFLOW = "overflow"


def _call(name: str) -> Callable[..., Any]:
    """A function of the C library; OSError where there is none."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    try:
        found: Callable[..., Any] = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    return found


def _checked(answer: int, what: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return answer


class Inbox:
    """The events of `folder`, not of what is below it. For one thread."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._add = _call("inotify_add_watch")
        self._descriptor = _checked(_call("inotify_init1")(os.O_CLOEXEC | os.O_NONBLOCK), folder)
        self._watch = -1
        try:
            self._watch = self._added()
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        return self._descriptor

    def renew(self) -> bool:
        """Watch the folder that stands there now; whether it is another one than before (its files are not known then)."""
        try:
            watch = self._added()
        except OSError:
            watch = -1  # it is away; the next look tries again
        changed, self._watch = watch not in (-1, self._watch), watch
        return changed

    def read(self) -> Iterator[tuple[Hint, str]]:
        """What has happened, with absolute paths; nothing where nothing has."""
        try:
            data = os.read(self._descriptor, _BUFFER_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, offset)
            start = offset + _HEAD.size
            offset = start + length
            if watch not in (self._watch, -1):
                continue  # of a folder that has been replaced
            hint = _hint(mask)
            if hint is Hint.OVERFLOW:
                self.renew()
                yield hint, self._folder
            elif hint is not None:
                yield hint, os.path.join(self._folder, os.fsdecode(data[start:offset].rstrip(b"\0")))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _added(self) -> int:
        return _checked(self._add(self._descriptor, os.fsencode(self._folder), _WANTED), self._folder)


def _hint(mask: int) -> Hint | None:
    if mask & (_Q_OVERFLOW | _IGNORED | _MOVE_SELF):
        return Hint.OVERFLOW
    if mask & _ISDIR:
        return None
    return Hint.GONE if mask & _MOVED_FROM else Hint.COMPLETE
