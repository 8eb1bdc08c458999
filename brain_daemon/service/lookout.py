"""What is seen of the brain's folders, as far as it concerns the daemon: hints for the loop.

Most events are the daemon's own moves and end where they come in. A hint is never the truth: the scan is.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator

from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout, is_task_name
from brain_daemon.store.watch import Folder, Hint, Watch


class Lookout:
    """Watches one brain's folders. `wake` is called in the loop when a hint has come.

    `knows` says whether a name of pending/ is in the picture: what we have taken from there ourselves is not, and no news.
    """

    def __init__(
        self,
        layout: Layout,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], None],
        knows: Callable[[str], bool],
    ) -> None:
        self._layout = layout
        self._loop = loop
        self._wake = wake
        self._knows = knows
        self._thread = threading.get_ident()
        self._hints: deque[tuple[Hint, str]] = deque()
        self._folders = (layout.pending, layout.interfaces, layout.control)
        self._pages = (os.path.join(layout.context, "routing.md"), os.path.join(layout.prompts, "pending.md"))
        self.watch = Watch(
            (
                Folder(layout.pending, busy=True),
                Folder(layout.interfaces),
                Folder(layout.context),
                Folder(layout.prompts),
                Folder(layout.control),
            ),
            self._on_event,
            loop=loop,
        )

    def start(self, files: Files) -> None:
        self.watch.start(files, self._layout.pending)

    def renew(self) -> None:
        """Watch what stands in the folders' places now; a scan follows where one was replaced."""
        self.watch.renew()

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
        """Called in the loop's thread for pending/, where this platform can, else in watchdog's."""
        if threading.get_ident() == self._thread:
            if self._is_news(hint, os.path.basename(path)):
                self._note(hint, path)
        elif hint is Hint.OVERFLOW or os.path.dirname(path) in self._folders or path in self._pages:
            self._loop.call_soon_threadsafe(self._note, hint, path)

    def _is_news(self, hint: Hint, name: str) -> bool:
        return hint is Hint.OVERFLOW or (is_task_name(name) and (hint is not Hint.GONE or self._knows(name)))

    def _note(self, hint: Hint, path: str) -> None:
        self._hints.append((hint, path))
        self._wake()
