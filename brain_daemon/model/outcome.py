"""How an attempt ended, what it used and what it cost: closed sets and the values that travel with them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Status(StrEnum):
    """The two ways a task ends."""

    COMPLETED = "completed"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a task failed: the closed list of the design."""

    MALFORMED = "malformed"
    TOOL_FAILED = "tool_failed"
    TIMED_OUT = "timed_out"
    VERIFICATION_FAILED = "verification_failed"
    DEPENDENCY_FAILED = "dependency_failed"
    HANDOFF_MISSING = "handoff_missing"
    BUDGET_EXCEEDED = "budget_exceeded"
    AUTH = "auth"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    NO_INTERFACE = "no_interface"


class FailureKind(StrEnum):
    """What kind of no an interface gave; each kind has one next step (policy/retry.py).

    `asked`: it needs a person's answer, the message is the question. `session_unknown`: it does not know the session to resume.
    `waiting`: it has done its part for now and waits for the tasks it has spawned.
    """

    QUOTA = "quota"
    RATE_LIMIT = "rate_limit"
    AUTH = "auth"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    PERMISSION_DENIED = "permission_denied"
    CONTEXT_TOO_LONG = "context_too_long"
    TURN_LIMIT = "turn_limit"
    BUDGET = "budget"
    OUTPUT_LIMIT = "output_limit"
    UNAVAILABLE = "unavailable"
    NOT_VERIFIED = "not_verified"
    SESSION_UNKNOWN = "session_unknown"
    ASKED = "asked"
    WAITING = "waiting"


class CostBasis(StrEnum):
    """Where a cost comes from; `unknown` is said, never counted as zero."""

    REPORTED = "reported"
    PRICED = "priced"
    FREE = "free"
    SUBSCRIPTION = "subscription"
    UNKNOWN = "unknown"


class Mode(StrEnum):
    """Which face of the program an attempt was run for."""

    DAEMON = "daemon"
    BATCH = "batch"
    WORKFLOW = "workflow"
    REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and requests of one attempt. `input_tokens` is all input, cached included; None means not told."""

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    requests: int | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together, zero where nothing was told."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """US dollars and where the figure comes from; `usd` is None if and only if the basis is unknown."""

    usd: Decimal | None
    basis: CostBasis


FREE = Cost(usd=Decimal(0), basis=CostBasis.FREE)
UNKNOWN_COST = Cost(usd=None, basis=CostBasis.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The interface gave positive evidence of a result."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The interface ran and did not do it. `resets_at` is epoch seconds, `retry_after_seconds` a duration."""

    kind: FailureKind
    message: str
    retry_after_seconds: float | None = None
    resets_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The deadline passed; `inactive` says it was the deadline for silence, not the whole one."""

    after_seconds: float
    inactive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A person ended it."""

    why: str = "cancelled by request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """It may have run: the daemon does not know how it ended."""

    why: str


Outcome = Succeeded | Failed | TimedOut | Cancelled | Interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReport:
    """What a client said of its quota `name` (`five_hour`, `weekly`; empty where it named none): a share from 0 to 1, or so much of so much.

    `resets_at` is epoch seconds.
    """

    name: str
    utilisation: float | None = None
    used: Decimal | None = None
    limit: Decimal | None = None
    resets_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One ended attempt, as the adapter reports it; times are epoch seconds, the duration is monotonic."""

    outcome: Outcome
    started_at: float
    finished_at: float
    duration_seconds: float
    usage: Usage = Usage()
    cost: Cost = UNKNOWN_COST
    model: str | None = None
    client_session: str | None = None
    text: str = ""
    files: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reports: tuple[QuotaReport, ...] = ()
