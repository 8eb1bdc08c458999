"""Whether the disk lets the daemon work: free space under the reserve, and errors that stop new claims for a while.

Failures: Damaged where the journal was taken away, which nothing can be done without.
"""

import logging
import os
import time

from brain_daemon.model.errors import BrainError, Damaged, StorageError
from brain_daemon.service.board import BoardWriter
from brain_daemon.service.brain import Brain

_LOG = logging.getLogger("brain_daemon")
_PAUSE_SECONDS = 5.0


class DiskWatch:
    """For one daemon; what it finds stands on the board. Times are monotonic seconds."""

    def __init__(self, brain: Brain, board: BoardWriter) -> None:
        self._brain = brain
        self._board = board
        self._fault: str | None = None
        self._due = 0.0

    @property
    def is_faulty(self) -> bool:
        """Whether an error was seen and no good look since."""
        return self._fault is not None

    @property
    def pause_seconds(self) -> float:
        """Until work is tried again after an error; 0 without one."""
        return max(0.0, self._due - time.monotonic())

    def works(self) -> None:
        """A look has succeeded."""
        if self._fault is not None and not self.pause_seconds:
            self._fault = None
            self._board.notice("trouble")

    def trouble(self, error: BrainError | OSError) -> None:
        """Nothing new is claimed for a while; what runs goes on. Folders that somebody took away are made again.

        Raises Damaged where the journal is gone: it ends the daemon.
        """
        layout = self._brain.layout
        if not os.path.exists(layout.journal):
            raise Damaged(
                f"the journal {layout.journal} was taken away under the running daemon. Put it back, then start again."
            )
        self._board.notice("trouble", str(error))
        try:
            for folder in layout.folders():
                self._brain.files.make_folder(folder)
        except (StorageError, OSError):
            pass  # said below; the next look tries again
        if str(error) != self._fault:
            _LOG.error("nothing can be claimed for now", extra={"action": "disk", "error": str(error)})
        self._fault = str(error)
        self._due = time.monotonic() + _PAUSE_SECONDS

    def below_reserve(self) -> bool:
        """Whether free space is under the reserve: nothing new is claimed then, what runs can still be recorded."""
        status = os.statvfs(self._brain.layout.root)
        reserve_bytes = self._brain.config.reserve_bytes
        if status.f_bavail * status.f_frsize >= reserve_bytes:
            self._board.notice("disk")
            return False
        self._board.notice("disk", f"less than {reserve_bytes} bytes are free: nothing new is claimed")
        return True
