"""The adapter for tools: a Python function of this package or of an entry point, called in a thread.

A thread cannot be ended from outside. A tool that ignores its deadline or a cancel for longer than the grace is left
behind and named as a survivor; its answer, if one comes, is dropped. A tool that is marked as quick is called on the event
loop itself, for as long as it keeps that word.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.environment import child_environment
from brain_daemon.adapters.threads import DaemonThreads, Returns
from brain_daemon.adapters.tool_api import (
    ToolAnswer,
    ToolCall,
    ToolFailed,
    ToolFunction,
    ToolStopped,
    is_quick,
    needs_workspace,
)
from brain_daemon.adapters.tools import find_tool
from brain_daemon.model.errors import StorageError
from brain_daemon.model.outcome import (
    FREE,
    Cancelled,
    Ended,
    Failed,
    FailureKind,
    Outcome,
    Succeeded,
    TimedOut,
    Usage,
)
from brain_daemon.store.files import Files

# A quick tool that needs more than this has a thread from then on.
LOOP_PATIENCE_SECONDS = 0.05


class ToolAdapter:
    """Calls tool functions; one thread for each call that runs."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._threads = DaemonThreads("tool")
        self._returns: Returns | None = None
        self._not_quick: set[ToolFunction] = set()

    def argv(self, invocation: Invocation) -> tuple[str, ...]:
        return (f"tool:{invocation.interface.invoke.function}",)

    async def invoke(self, invocation: Invocation, cancel: Cancel) -> Ended:
        started_at, clock = time.time(), time.monotonic()
        answer: ToolAnswer | None = None
        survivors: tuple[str, ...] = ()
        outcome: Outcome
        try:
            answer = await self._call(invocation, cancel)
            outcome = Succeeded(text=answer.text)
        except ToolFailed as error:
            outcome = Failed(kind=error.kind, message=str(error))
        except (ToolStopped, TimeoutError) as error:
            outcome = TimedOut(after_seconds=invocation.timeout_seconds)
            if isinstance(error, TimeoutError):
                survivors = (f"the thread of the tool {invocation.interface.name}, which did not stop when asked",)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of a tool is the outcome of its attempt, never the daemon's end
            outcome = Failed(kind=FailureKind.PERMANENT, message=f"{type(error).__name__}: {error}")
        if cancel.is_set():
            outcome = Cancelled()
        return Ended(
            outcome=outcome,
            started_at=started_at,
            finished_at=time.time(),
            duration_seconds=time.monotonic() - clock,
            usage=answer.usage if answer else Usage(),
            cost=answer.cost if answer else FREE,
            model=invocation.model,
            text=answer.text if answer else "",
            files=answer.files if answer else (),
            survivors=survivors,
        )

    async def _call(self, invocation: Invocation, cancel: Cancel) -> ToolAnswer:
        """The tool's answer; TimeoutError if it goes on past its deadline, or a cancel, and the grace."""
        function = find_tool(invocation.interface.invoke.function or invocation.interface.name)
        if needs_workspace(function):
            self._files.make_folder(invocation.workspace)
        if is_quick(function, dict(invocation.interface.invoke.options)) and function not in self._not_quick:
            return self._at_once(function, _call_of(invocation, cancel.is_set))
        stopped = threading.Event()
        loop = asyncio.get_running_loop()
        if self._returns is None or self._returns.loop is not loop:
            self._returns = Returns(loop)
        outer: asyncio.Future[ToolAnswer] = loop.create_future()
        self._returns.bring(self._threads.submit(_guarded, function, _call_of(invocation, stopped.is_set)), outer)

        def stop() -> None:
            if not stopped.is_set():
                stopped.set()
                loop.call_later(invocation.grace_seconds, _give_up, outer)

        deadline = loop.call_later(invocation.timeout_seconds, stop)
        cancel.listen(stop)
        try:
            return await outer
        finally:
            deadline.cancel()

    def _at_once(self, function: ToolFunction, call: ToolCall) -> ToolAnswer:
        """Without a thread: the two hand-overs cost more than a quick tool."""
        began = time.monotonic()
        try:
            return _guarded(function, call)
        finally:
            if time.monotonic() - began > LOOP_PATIENCE_SECONDS:
                self._not_quick.add(function)

    def close(self) -> None:
        """Let no new call start; threads that run are not waited for."""
        self._threads.shutdown(wait=False)


def _give_up(outer: asyncio.Future[ToolAnswer]) -> None:
    if not outer.done():
        outer.set_exception(TimeoutError())


def _guarded(function: ToolFunction, call: ToolCall) -> ToolAnswer:
    """A tool that wants to end the program, or to cancel whoever waits for it, has only failed."""
    try:
        return function(call)
    except Exception:
        raise
    except BaseException as error:
        raise ToolFailed(FailureKind.PERMANENT, f"{type(error).__name__}: {error}") from error


_folder = lru_cache(maxsize=8)(Path)


def _call_of(invocation: Invocation, cancelled: Callable[[], bool]) -> ToolCall:
    task = invocation.task
    return ToolCall(
        task_id=task.id,
        attempt_id=invocation.attempt_id,
        title=task.title,
        # The person's own text: what a prompt gathers around it (handoffs, links) must never be run as a script.
        text=task.text,
        brain_root=_folder(invocation.root),
        workspace=Path(invocation.workspace),
        model=invocation.model,
        options=dict(invocation.interface.invoke.options),
        env=_Environment(invocation),
        deadline_monotonic=time.monotonic() + invocation.timeout_seconds,
        cancelled=cancelled,
    )


class _Environment(Mapping[str, str]):
    """What a program that the tool starts is given, put together when the tool asks for it: few do."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._values: dict[str, str] | None = None

    def _known(self) -> dict[str, str]:
        if self._values is None:
            self._values = child_environment(self._invocation)
        return self._values

    def __getitem__(self, name: str) -> str:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())
