"""What watchdog sees, as far as it concerns the daemon: hints from its threads to the loop.

Most events are the daemon's own moves and end in the thread that brings them. A hint is never the truth: the scan is.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator

from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.watch import Folder, Hint, Watch


class Lookout:
    """Watches one brain's folders. `wake` is called in the loop when a hint has come."""

    def __init__(self, layout: Layout, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._layout = layout
        self._loop = loop
        self._wake = wake
        self._hints: deque[tuple[Hint, str]] = deque()
        self._folders = (layout.pending, layout.interfaces, layout.control)
        self._pages = (os.path.join(layout.context, "routing.md"), os.path.join(layout.prompts, "pending.md"))
        self.watch = Watch(
            (
                Folder(layout.tasks, recursive=True),
                Folder(layout.interfaces),
                Folder(layout.context),
                Folder(layout.prompts),
                Folder(layout.control),
            ),
            self._on_event,
        )

    def start(self, files: Files) -> None:
        self.watch.start(files, self._layout.pending)

    def close(self) -> None:
        """Blocks until the threads have ended."""
        self.watch.close()

    def __len__(self) -> int:
        return len(self._hints)

    def take(self, most: int) -> Iterator[tuple[Hint, str]]:
        """Up to `most` hints, oldest first."""
        for _ in range(min(len(self._hints), most)):
            yield self._hints.popleft()

    def _on_event(self, hint: Hint, path: str) -> None:
        """Called in watchdog's threads."""
        if hint is Hint.OVERFLOW or os.path.dirname(path) in self._folders or path in self._pages:
            self._loop.call_soon_threadsafe(self._note, hint, path)

    def _note(self, hint: Hint, path: str) -> None:
        self._hints.append((hint, path))
        self._wake()
