"""File events turned into hints: something changed at this path, or: look at everything.

brain/tasks is watched recursively: watching pending/ alone makes watchdog hold back each event after a file was renamed
out of it. A probe file at the start tells whether events arrive at all on this file system; where they do not, the
polling observer takes over. watchdog drops events in a storm and says so only in its log, so that log is listened to.

Nothing here is promised: an event may be lost, and every caller scans on a timer as well.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

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

# Each of our own reads, creations and removals would come back as an event too; a drop ends with a close or a rename, and
# what is deleted is found by the scan or missed by the claim. Other observers know no closing.
_INOTIFY_EVENTS: list[type[FileSystemEvent]] = [FileClosedEvent, FileMovedEvent]
_OTHER_EVENTS: list[type[FileSystemEvent]] = [FileCreatedEvent, FileModifiedEvent, FileDeletedEvent, FileMovedEvent]
if sys.platform == "linux":
    from watchdog.observers.inotify import InotifyObserver

_WATCHDOG_LOGGERS = ("watchdog", "watchdog.observers", "watchdog.observers.inotify_c", "watchdog.observers.inotify")


class Hint(StrEnum):
    """What an event is worth: a complete file, a file being written, one gone, or doubt about everything."""

    COMPLETE = "complete"
    CHANGING = "changing"
    GONE = "gone"
    OVERFLOW = "overflow"


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
    """A folder to watch, with what is below it or not."""

    path: str
    recursive: bool = False


class Watch:
    """Watches folders until closed; the listener is called from watchdog's threads and must return at once."""

    def __init__(self, folders: tuple[Folder, ...], listener: Listener, *, polling_seconds: float = 1.0) -> None:
        self._folders = folders
        self._listener = listener
        self._polling_seconds = polling_seconds
        self._overflow = _OverflowListener(listener)
        self._observer: BaseObserver | None = None
        self.kind = "none"

    def start(self, files: Files, probe_folder: str, probe_timeout_seconds: float = 2.0) -> None:
        """Begin to watch; falls back to polling if a probe file in `probe_folder` makes no event in time."""
        for name in _WATCHDOG_LOGGERS:
            logging.getLogger(name).addHandler(self._overflow)
        seen = threading.Event()
        probe = os.path.join(probe_folder, f".probe-{os.getpid()}")
        try:
            self._begin(_observer(), probe, seen)
            self.kind = "events"
        except OSError:
            self._end()
        if self.kind == "events":
            files.put(probe, b"", sync=False)
            arrived = seen.wait(probe_timeout_seconds)
            files.remove(probe)
            if arrived:
                return
            self._end()
        self._begin(PollingObserver(timeout=self._polling_seconds), probe, seen)
        self.kind = "polling"

    def close(self) -> None:
        for name in _WATCHDOG_LOGGERS:
            logging.getLogger(name).removeHandler(self._overflow)
        self._end()

    def _begin(self, observer: BaseObserver, probe: str, seen: threading.Event) -> None:
        self._observer = observer
        probe_name = os.path.basename(probe)

        def listen(hint: Hint, path: str) -> None:
            if probe_name in path:
                seen.set()
            else:
                self._listener(hint, path)

        handler = _Handler(listen)
        wanted = _INOTIFY_EVENTS if _is_inotify(observer) else _OTHER_EVENTS
        for folder in self._folders:
            observer.schedule(handler, folder.path, recursive=folder.recursive, event_filter=wanted)
        observer.start()

    def _end(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join()
