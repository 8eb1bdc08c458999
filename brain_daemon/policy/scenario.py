"""What a simulation is about: tasks that arrive, interfaces as they behave, ways to route that contend, and the figures they got.

Values only; `policy/simulation.py` makes figures of them. Seconds are those of a virtual clock whose zero is the caller's choice; quota
windows of the calendar take it for an epoch. Nothing fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from brain_daemon.model.interface import DEFAULT, InterfaceSpec
from brain_daemon.model.routing_table import Strategy
from brain_daemon.model.task import OnLimit, Prefer, Priority
from brain_daemon.policy.learning import Learn
from brain_daemon.policy.virtual_quota import WindowUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A task as far as a simulation cares; `at_seconds` is when it is dropped, in seconds of the virtual clock."""

    id: str
    at_seconds: float = 0.0
    type: str = "general"
    requires: tuple[str, ...] = ()
    priority: Priority = Priority.MEDIUM
    interface: str | None = None
    preferred_interface: str | None = None
    input_tokens: int = 1_000
    output_tokens: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How one interface behaves: rates of success 0 to 1 and mean seconds by type, `default` for the others.

    `usd` is what an attempt costs where the interface declares no prices and its tier is not free of charge; None is unknown.
    `spread` is the standard deviation of the logarithm of the seconds; 0 takes the mean each time.
    """

    spec: InterfaceSpec
    success: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    usd: Decimal | None = None
    spread: float = 0.5

    def rate(self, task_type: str) -> float:
        """The true rate of success on a type."""
        return self.success.get(task_type, self.success.get(DEFAULT, 0.9))

    def mean_seconds(self, task_type: str) -> float:
        """The true mean time of an attempt."""
        return self.seconds.get(task_type, self.seconds.get(DEFAULT, 30.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to route. `always` sends everything to one interface; `flat` forgets what a rung costs and what routing.md lists."""

    name: str
    strategy: Strategy = Strategy.LADDER
    always: str | None = None
    flat: bool = False
    learn: Learn = Learn.ORDER
    prefer: Prefer = Prefer.COST
    on_limit: OnLimit = OnLimit.WAIT


LADDER = Contender(name="ladder")
CONTENDERS: tuple[Contender, ...] = (
    LADDER,
    Contender(name="ladder_untaught", learn=Learn.OFF),
    Contender(name="ladder_fallback", on_limit=OnLimit.FALLBACK),
    Contender(name="capability", strategy=Strategy.CAPABILITY, flat=True, learn=Learn.OFF),
    Contender(name="round_robin", strategy=Strategy.ROUND_ROBIN, flat=True, learn=Learn.OFF),
    Contender(name="least_loaded", strategy=Strategy.LEAST_LOADED, flat=True, learn=Learn.OFF),
)
"""Those that need no interface's name; `ladder_fallback` may go on to a dearer rung when a limit is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceUse:
    """What one interface did in a simulation; `busy_seconds` sums its attempts."""

    name: str
    attempts: int
    completed: int
    usd: Decimal
    busy_seconds: float
    windows: tuple[WindowUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of one contender. Each task is in exactly one of completed, failed, refused and waiting.

    `usd` is the known cost of all attempts; that of `unknown_costs` attempts is in no sum. Waiting is from arrival to first start,
    of the tasks that started; `seconds` is from the first arrival to the last end.
    """

    contender: str
    tasks: int
    completed: int
    failed: int
    refused: int
    waiting: int
    attempts: int
    usd: Decimal
    unknown_costs: int
    wait_p50_seconds: float | None
    wait_p95_seconds: float | None
    seconds: float
    interfaces: tuple[InterfaceUse, ...]

    @property
    def completion(self) -> float | None:
        """The share of all tasks that completed."""
        return self.completed / self.tasks if self.tasks else None
