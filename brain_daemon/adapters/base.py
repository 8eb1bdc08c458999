"""What every adapter is given and must give back.

An adapter MUST return an `Ended` for whatever the interface does: a refusal, a crash or a deadline of the interface is
an outcome, never an exception. It raises only what says that nothing was started (`Transient`, `UserError`) or that the
disk failed (`StorageError`). When `cancel` is set it MUST end everything it started, then answer `Cancelled`,
whatever the interface said meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Ended, Usage
from brain_daemon.model.task import Permissions, TaskSpec

if TYPE_CHECKING:
    from brain_daemon.adapters.cancel import Cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What earlier attempts of the same client session were charged: a client that reports totals reports it once more."""

    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of an interface, complete: plain values only, so that it could be made on another machine.

    `folder` holds the attempt's raw output and lock, `workspace` is where the agent works; durations are seconds.
    `environment` is the daemon's own, from which a child is given little. With `client_session` the call goes on in that
    session, whose earlier attempts were `charged` so far; `answer` is what a person said to the question of the last one.
    `token` proves to this program that a child is the attempt's (store/tokens.py).
    `marks` are variables about the task for whoever works on it.
    `budget_usd` is what the call may cost at most; an adapter that sees the cost grow ends it there.
    """

    attempt_id: str
    task: TaskSpec
    interface: InterfaceSpec
    prompt: str
    root: str
    folder: str
    workspace: str
    environment: Mapping[str, str]
    timeout_seconds: float
    model: str | None = None
    profile: Permissions | None = None
    inactivity_seconds: float | None = None
    grace_seconds: float = 5.0
    output_bytes: int = 64 << 20
    client_session: str | None = None
    charged: Charged = field(default_factory=Charged)
    answer: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    budget_usd: Decimal | None = None
    token: str = ""


class Adapter(Protocol):
    """The code that speaks to one kind of interface."""

    def argv(self, invocation: Invocation) -> tuple[str, ...]:
        """What will be started, for the journal; empty where nothing is."""
        ...

    async def invoke(self, invocation: Invocation, cancel: "Cancel") -> Ended:
        """Make the call and say how it ended."""
        ...
