"""Threads for tools: used again and again, and never waited for when the process ends; and the way back to the event loop.

`ThreadPoolExecutor` joins its threads at the end of the interpreter, so one tool that never returns would keep the daemon
from ending. Here there is a thread for each call that runs: one that is left behind takes no place from the next.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any


class DaemonThreads(Executor):
    """An executor; `shutdown` ends the idle threads and waits for none."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._work.put((future, lambda: fn(*args, **kwargs)))
        with self._lock:
            if self._idle:
                self._idle -= 1
                return future
        threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            _settle(*work)
            # Kept across the wait for the next call, these would hold the last one's answer alive.
            del work
            with self._lock:
                self._idle += 1
        self._work.put(None)


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        answer = call()
    except BaseException as error:  # noqa: BLE001 - whatever a tool raises is its answer
        future.set_exception(error)
    else:
        future.set_result(answer)


class Returns:
    """Brings what threads have found to those who wait in `loop`; those that end together wake it once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._arrived: deque[tuple[Future[Any], asyncio.Future[Any]]] = deque()

    def bring(self, found: Future[Any], waiting: asyncio.Future[Any]) -> None:
        """Give `waiting` the end of `found`, unless it has one by then."""
        found.add_done_callback(lambda done: self._arrive(done, waiting))

    def _arrive(self, done: Future[Any], waiting: asyncio.Future[Any]) -> None:
        with self._lock:
            self._arrived.append((done, waiting))
            if len(self._arrived) > 1:
                return  # whoever came first has woken the loop
        try:
            self.loop.call_soon_threadsafe(self._hand_over)
        except RuntimeError:
            return  # the loop has ended, and nobody waits

    def _hand_over(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, deque()
        for done, waiting in arrived:
            if not waiting.done():
                _tell(done, waiting)


def _tell(done: Future[Any], waiting: asyncio.Future[Any]) -> None:
    error = None if done.cancelled() else done.exception()
    if done.cancelled():
        waiting.cancel()
    elif error is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(done.result())
