"""A claimed task under way, as the rooms of the daemon pass it on."""

from dataclasses import dataclass, field

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.model.attempt import Attempt
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.resuming import Resumption
from brain_daemon.policy.routing import Choice, Ranked


@dataclass(slots=True)
class Job:
    """A claimed task under way. `ranked` is where it runs now; `cancel` ends it, `stopping` says the daemon itself ends.

    A `quick` one has no slot. One that is `leaving` has done its work and needs its slot no more; its end is not durable yet. `decided` is the interface admission had chosen. `history` holds the ended attempts of this task that count, oldest first;
    `resume` is how the present one goes on from them.
    `call` is the present attempt's call as far as the journal has it: all but the prompt.
    `estimate` says what a long prompt may cost there, empty for a short one.
    `free_tries` of them do not count as attempts; `returned` are the interfaces that were shown a failed verification.
    """

    task: TaskSpec
    choice: Choice
    ranked: Ranked
    why: str
    attempt: Attempt
    decided: str = ""
    quick: bool = False
    leaving: bool = False
    estimate: str = ""
    notes: tuple[str, ...] = ()
    cancel: Cancel = field(default_factory=Cancel)
    cancel_why: str = "cancelled by request"
    stopping: bool = False
    tried: set[str] = field(default_factory=set)
    history: list[Attempt] = field(default_factory=list)
    resume: Resumption | None = None
    call: Invocation | None = None
    returned: set[str] = field(default_factory=set)
    transient_tries: int = 0
    free_tries: int = 0
