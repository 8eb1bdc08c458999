"""A cancel that can be awaited, asked about, or listened to."""

import asyncio
from collections.abc import Callable


class Cancel(asyncio.Event):
    """An event for one attempt. Listeners are called at once when it is set, in the loop's thread, and once only."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Callable[[], None]] = []

    def set(self) -> None:
        super().set()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the event is set; now, if it is already."""
        if self.is_set():
            listener()
        else:
            self._listeners.append(listener)
