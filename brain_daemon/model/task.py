"""TaskSpec: what a task file asks for, parsed once from its bytes; Rejection: why the bytes are not a task.

A Rejection is reported (the task fails as malformed, with the line and what to change) and stops nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from brain_daemon.model.outcome import Mode


class Priority(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class OnLimit(StrEnum):
    WAIT = "wait"
    FALLBACK = "fallback"
    ASK = "ask"


class OnDependencyFailure(StrEnum):
    """What becomes of a task when one that it waits for has failed or was cancelled."""

    FAIL = "fail"
    RUN = "run"


class Prefer(StrEnum):
    """What counts besides success among interfaces of one rung."""

    COST = "cost"
    QUALITY = "quality"
    SPEED = "speed"


class Permissions(StrEnum):
    READ = "read"
    WRITE = "write"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A parsed task. Durations are seconds, instants epoch seconds (UTC); None means the person did not say.

    `interface` is binding, `preferred_interface` is advice. `sha256` is the hex digest of the file's original bytes and
    `text` everything after the front matter, decoded; `name` is the file's name as it was found. `extra` keeps unknown keys
    as they were read (text, lists, maps). `brain_daemon.model.parsing` makes one from bytes.
    """

    id: str
    explicit_id: bool
    title: str
    text: str
    sha256: str
    size_bytes: int
    name: str
    created: float | None = None
    priority: Priority = Priority.MEDIUM
    type: str = "general"
    requires: tuple[str, ...] = ()
    interface: str | None = None
    preferred_interface: str | None = None
    prefer: Prefer | None = None
    model: str | None = None
    timeout_seconds: float | None = None
    depends_on: tuple[str, ...] = ()
    handoff_from: tuple[str, ...] = ()
    on_dependency_failure: OnDependencyFailure = OnDependencyFailure.FAIL
    wait_for_children: bool = False
    chain: str | None = None
    parent: str | None = None
    session: str | None = None
    not_before: float | None = None
    budget_usd: Decimal | None = None
    attempts: int | None = None
    on_limit: OnLimit | None = None
    idempotent: bool | None = None
    workspace: str = "scratch"
    permissions: Permissions | None = None
    verify: str | None = None
    conflicts_with: tuple[str, ...] = ()
    local_only: bool = False
    never: tuple[str, ...] = ()
    draft: bool = False
    mode: Mode = Mode.DAEMON
    workflow: str | Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    extra: tuple[tuple[str, object], ...] = ()

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Ids that must have completed first: dependencies and handoffs, each once."""
        return tuple(dict.fromkeys((*self.depends_on, *self.handoff_from)))

    @property
    def runs_after_failure(self) -> bool:
        """Whether a failed or cancelled task that it waits for counts as one that has ended."""
        return self.on_dependency_failure is OnDependencyFailure.RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Bytes that are not a task. Line and field are None where the fault has none; lines count from 1.

    `message` is a sentence that stands alone; `sha256` is empty where the file was too large to be read.
    """

    id: str
    name: str
    sha256: str
    size_bytes: int
    message: str
    line: int | None = None
    field: str | None = None
    found: str | None = None
    allowed: str | None = None
