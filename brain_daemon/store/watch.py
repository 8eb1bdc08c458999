"""File events turned into hints: something changed at this path, or: look at everything.

brain/tasks is watched recursively: watching pending/ alone makes watchdog hold back each event after a file was renamed
out of it. A probe file at the start tells whether events arrive at all on this file system; where they do not, the
polling observer takes over. watchdog drops events in a storm and says so only in its log, so that log is listened to.
Where an event loop is given, one folder's events are read in it by store/inotify.py instead, and the others by watchdog.

Nothing here is promised: an event may be lost, and every caller scans on a timer as well.
"""

import asyncio
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from brain_daemon.store.files import Files
from brain_daemon.store.inotify import Hint, Inbox

__all__ = ["Folder", "Hint", "Listener", "Watch"]

# Each of our own reads, creations and removals would come back as an event too; a drop ends with a close or a rename, and
# what is deleted is found by the scan or missed by the claim. Other observers know no closing.
_INOTIFY_EVENTS: list[type[FileSystemEvent]] = [FileClosedEvent, FileMovedEvent]
_OTHER_EVENTS: list[type[FileSystemEvent]] = [FileCreatedEvent, FileModifiedEvent, FileDeletedEvent, FileMovedEvent]
if sys.platform == "linux":
    from watchdog.observers.inotify import InotifyObserver

_WATCHDOG_LOGGERS = ("watchdog", "watchdog.observers", "watchdog.observers.inotify_c", "watchdog.observers.inotify")


Listener = Callable[[Hint, str], None]


def _observer() -> BaseObserver:
    """This platform's observer; inotify's in the form that tells a file renamed in from one being written."""
    return InotifyObserver(generate_full_events=True) if sys.platform == "linux" else Observer()


def _is_inotify(observer: BaseObserver) -> bool:
    return sys.platform == "linux" and isinstance(observer, InotifyObserver)


class _Handler(FileSystemEventHandler):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def dispatch(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            return
        match event.event_type:
            case "closed":
                self._listener(Hint.COMPLETE, os.fsdecode(event.src_path))
            case "moved":
                # One end is empty where the other folder is not watched.
                if event.src_path:
                    self._listener(Hint.GONE, os.fsdecode(event.src_path))
                if event.dest_path:
                    self._listener(Hint.COMPLETE, os.fsdecode(event.dest_path))
            case "created" | "modified":
                self._listener(Hint.CHANGING, os.fsdecode(event.src_path))
            case "deleted":
                self._listener(Hint.GONE, os.fsdecode(event.src_path))
            case _:
                return


class _OverflowListener(logging.Handler):
    """Turns watchdog's warnings (the only sign of a queue overflow) into a hint."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        self._listener(Hint.OVERFLOW, record.getMessage())


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder to watch, with what is below it or not. `busy`: most of its events are our own moves."""

    path: str
    recursive: bool = False
    busy: bool = False


class Watch:
    """Watches folders until closed; the listener is called from watchdog's threads and must return at once.

    With a `loop`, a busy folder's hints are given to the listener in the loop's own thread, where this platform can.
    """

    def __init__(
        self,
        folders: tuple[Folder, ...],
        listener: Listener,
        *,
        polling_seconds: float = 1.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._folders = folders
        self._listener = listener
        self._polling_seconds = polling_seconds
        self._loop = loop
        self._overflow = _OverflowListener(listener)
        self._observer: BaseObserver | None = None
        self._inbox: Inbox | None = None
        self._probe = f".probe-{os.getpid()}"
        self.kind = "none"

    def start(self, files: Files, probe_folder: str, probe_timeout_seconds: float = 2.0) -> None:
        """Begin to watch; falls back to polling if a probe file in `probe_folder` makes no event in time."""
        for name in _WATCHDOG_LOGGERS:
            logging.getLogger(name).addHandler(self._overflow)
        seen = threading.Event()
        probe = os.path.join(probe_folder, self._probe)
        try:
            observer = _observer()
            self._open_inbox(observer)
            self._begin(observer, seen)
            self.kind = "events"
        except OSError:
            self._end()
        if self.kind == "events":
            files.put(probe, b"", sync=False)
            arrived = self._await(probe, seen, probe_timeout_seconds)
            files.remove(probe)
            if arrived:
                self._read_in_loop()
                return
            self._end()
        self._begin(PollingObserver(timeout=self._polling_seconds), seen)
        self.kind = "polling"

    def renew(self) -> None:
        """A folder may have been replaced by another of its name: its files are in doubt then. For the loop's thread."""
        if self._inbox is not None and self._inbox.renew():
            self._listener(Hint.OVERFLOW, "")

    def close(self) -> None:
        """Stop watching; from any thread."""
        for name in _WATCHDOG_LOGGERS:
            logging.getLogger(name).removeHandler(self._overflow)
        self._end()

    def _begin(self, observer: BaseObserver, seen: threading.Event) -> None:
        self._observer = observer

        def listen(hint: Hint, path: str) -> None:
            if self._probe in path:
                seen.set()
            self._pass_on(hint, path)

        handler = _Handler(listen)
        wanted = _INOTIFY_EVENTS if _is_inotify(observer) else _OTHER_EVENTS
        for folder in self._folders:
            if self._inbox is None or not folder.busy:
                observer.schedule(handler, folder.path, recursive=folder.recursive, event_filter=wanted)
        observer.start()

    def _open_inbox(self, observer: BaseObserver) -> None:
        busy = [folder.path for folder in self._folders if folder.busy]
        if self._loop is not None and busy and _is_inotify(observer):
            self._inbox = Inbox(busy[0])

    def _await(self, probe: str, seen: threading.Event, seconds: float) -> bool:
        """Whether the probe's event arrives in time; other events of the inbox are passed on meanwhile."""
        if self._inbox is None:
            return seen.wait(seconds)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            select.select([self._inbox], [], [], left)
            for hint, path in self._inbox.read():
                if path == probe:
                    return True
                self._pass_on(hint, path)
        return False

    def _read_in_loop(self) -> None:
        if self._loop is not None and self._inbox is not None:
            self._loop.add_reader(self._inbox.fileno(), self._take, self._inbox)

    def _take(self, inbox: Inbox) -> None:
        for hint, path in inbox.read():
            self._pass_on(hint, path)

    def _pass_on(self, hint: Hint, path: str) -> None:
        if self._probe not in path:
            self._listener(hint, path)

    def _end(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join()
        inbox, self._inbox = self._inbox, None
        if inbox is None or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(_put_away, self._loop, inbox)
        except RuntimeError:
            inbox.close()  # the loop has ended


def _put_away(loop: asyncio.AbstractEventLoop, inbox: Inbox) -> None:
    loop.remove_reader(inbox.fileno())
    inbox.close()
