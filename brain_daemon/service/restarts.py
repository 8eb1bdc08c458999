"""A daemon that dies again and again right after its start: each further start waits longer before it works.

A service manager starts what has died at once, and a fault that is met at every start would fill logs and disk with it. So each
start is counted in the state folder until it has lived for a minute, or has ended as it should; the first few cost nothing, since
a power cut or an update may do that. Nothing is refused: a start that waits can be ended, and goes on by itself.

A task that ends the daemon whenever it is started is not held up by this but by its attempts: each is recorded as interrupted,
and in the end the person is asked (policy/retry.py).

Failures: a count that cannot be read is none; one that cannot be written is said in the log and costs only the waiting.
"""

import json
import logging
import os
import threading
from dataclasses import dataclass

from brain_daemon.model.errors import StorageError
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

SETTLED_SECONDS = 60.0
FREE_STARTS = 5
_FIRST_PAUSE_SECONDS = 5.0
_MAX_BYTES = 4_096
_LOG = logging.getLogger("brain_daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """`starts` in a row have ended before they had lived for a minute."""

    starts: int = 0

    def pause_seconds(self, longest_seconds: float) -> float:
        """How long the next start waits."""
        if self.starts < FREE_STARTS:
            return 0.0
        # 2**20 times the first pause is past every bound.
        return float(min(longest_seconds, _FIRST_PAUSE_SECONDS * 2 ** min(self.starts - FREE_STARTS, 20)))


def unsettled(layout: Layout) -> Unsettled:
    """What is known of the starts before this one."""
    try:
        starts = json.loads(read_regular(_path(layout), _MAX_BYTES))["starts"]
    except (StorageError, ValueError, TypeError, KeyError, RecursionError):
        return Unsettled()
    return Unsettled(starts=starts) if isinstance(starts, int) and starts >= 0 else Unsettled()


class Start:
    """One start of the daemon, as a context: counted when it is entered, forgotten when it has settled or ends without an error."""

    def __init__(self, layout: Layout, files: Files, settled_seconds: float = SETTLED_SECONDS) -> None:
        self._layout = layout
        self._files = files
        self._timer = threading.Timer(settled_seconds, self._settle)
        self._timer.daemon = True

    def __enter__(self) -> None:
        starts = unsettled(self._layout).starts + 1
        try:
            self._files.put(_path(self._layout), json.dumps({"starts": starts}).encode(), sync=False)
        except StorageError as error:
            _LOG.warning("this start is not counted", extra={"action": "start", "error": str(error)})
        self._timer.start()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if kind is None:
            self._settle()

    def _settle(self) -> None:
        try:
            self._files.remove(_path(self._layout))
        except StorageError as error:
            _LOG.warning("this start stays counted", extra={"action": "start", "error": str(error)})


def _path(layout: Layout) -> str:
    return os.path.join(layout.state, "starts.json")
