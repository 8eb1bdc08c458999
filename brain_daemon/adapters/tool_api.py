"""What a tool is: a plain function `ToolCall -> ToolAnswer`, in this package or behind a `brain_daemon.tools` entry point.

A tool runs in a thread of its own, unless it is marked as quick. It may read the brain and write into its workspace; it looks at `stop_if_asked`
often enough that a cancel or a deadline is honoured within a second, because a thread cannot be ended from outside.

Reported: `ToolFailed` (the tool's no, with its kind) and `ToolStopped` (it was asked to stop and did). Any other
exception is a fault of the tool, and the caller reports it as a permanent failure of the attempt, never of the daemon.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brain_daemon.model.errors import BrainError
from brain_daemon.model.outcome import FREE, Cost, FailureKind, Usage


class ToolFailed(BrainError):
    """The tool could not do the task. `kind` decides what comes next: a permanent no is not asked again."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ToolStopped(BrainError):
    """The tool ended early because it was asked to: cancelled by a person, or (`cancelled` false) past its deadline."""

    def __init__(self, *, cancelled: bool) -> None:
        super().__init__("stopped: cancelled by request" if cancelled else "stopped: the deadline has passed")
        self.cancelled = cancelled


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call. `text` is the task's body; `env` is the whole environment for programs the tool starts; it holds the attempt's tag.

    `deadline_monotonic` is a `time.monotonic` instant in seconds, None for no deadline. `workspace` exists and is the
    only folder to write to; what the tool leaves in its `out/` is collected by the caller.
    """

    task_id: str
    attempt_id: str
    title: str
    text: str
    brain_root: Path
    workspace: Path
    model: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    deadline_monotonic: float | None = None
    cancelled: Callable[[], bool] = _never

    def stop_if_asked(self) -> None:
        """Return, or raise ToolStopped when the attempt was cancelled or its deadline has passed."""
        if self.cancelled():
            raise ToolStopped(cancelled=True)
        if self.deadline_monotonic is not None and time.monotonic() >= self.deadline_monotonic:
            raise ToolStopped(cancelled=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """What came out: text, and what it used and cost. `files` are paths below the workspace worth keeping beside it."""

    text: str
    usage: Usage = field(default_factory=Usage)
    cost: Cost = FREE
    files: tuple[str, ...] = ()


ToolFunction = Callable[[ToolCall], ToolAnswer]
_WRITES_NOTHING: set[ToolFunction] = set()


def writes_nothing(function: ToolFunction) -> ToolFunction:
    """Marks a tool that leaves no files: no workspace is made for it."""
    _WRITES_NOTHING.add(function)
    return function


def needs_workspace(function: ToolFunction) -> bool:
    """Whether a workspace must exist when the tool is called."""
    return function not in _WRITES_NOTHING


_QUICK: dict[ToolFunction, frozenset[str]] = {}


def quick(*unless: str) -> Callable[[ToolFunction], ToolFunction]:
    """Marks a tool that computes for less than a millisecond and waits for nothing, no disk and no network.

    It is called on the daemon's event loop, without a thread or a slot, except where the interface sets one of the options `unless`.
    Since it touches nothing, it is called again unasked where it was interrupted.
    While it runs nothing else does: one that needs more than some hundredths of a second is given a thread from then on.
    """

    def mark(function: ToolFunction) -> ToolFunction:
        _QUICK[function] = frozenset(unless)
        return function

    return mark


def is_quick(function: ToolFunction, options: Mapping[str, object]) -> bool:
    """Whether a call with these options may be made on the event loop."""
    unless = _QUICK.get(function)
    return unless is not None and unless.isdisjoint(options)
