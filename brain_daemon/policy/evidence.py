"""What the ledger says about each interface on each type of task: how often it did well, what it cost, how long it took.

Evidence of quality is an attempt that completed, or that ran and did not do it. What an interface could not even try (a rate
limit, an outage, a missing login) and what was nobody's fault (cancelled, interrupted) counts neither way. A verdict goes
before what the row says: a person's `brain rate` weighs three attempts, a passed or failed proof (`verify:`) two.

Old evidence fades by whole days, counted back from the newest row and never from a clock, so equal rows give equal histories.
Sums of dollars here are for comparing interfaces, not for accounts: those are `record/ledger.py`'s. Nothing fails.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum

from brain_daemon.model.cost_row import CostRow, Why
from brain_daemon.model.outcome import FailureKind, Reason, Status

GENERAL_TYPE = "general"
HALF_LIFE_DAYS = 90.0

QUALITY: frozenset[Why] = frozenset(
    {
        Reason.TOOL_FAILED,
        Reason.TIMED_OUT,
        Reason.VERIFICATION_FAILED,
        FailureKind.PERMANENT,
        FailureKind.CONTEXT_TOO_LONG,
        FailureKind.TURN_LIMIT,
        FailureKind.OUTPUT_LIMIT,
        FailureKind.NOT_VERIFIED,
    }
)
"""The reasons that tell how good an interface is; every other one tells about its availability, or about nobody."""


class Judge(Enum):
    """Who says whether a result was good; the value is how many attempts the word weighs."""

    PERSON = 3.0
    PROOF = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Somebody's word on one attempt. Of several on the same attempt a person's goes before a proof's, the last before the first."""

    attempt_id: str
    good: bool
    by: Judge = Judge.PERSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Faded sums over attempts, and `judged` and `praised`, which are plain counts for people to read.

    `priced` and `timed` are the weights behind `usd` and `seconds`: judged attempts of known cost, and completed ones.
    """

    good: float = 0.0
    bad: float = 0.0
    judged: int = 0
    praised: int = 0
    usd: float = 0.0
    priced: float = 0.0
    seconds: float = 0.0
    timed: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    counted: float = 0.0

    def plus(self, other: "Tally", weight: float = 1.0) -> "Tally":
        """These sums with another's, which is faded to `weight`."""
        return Tally(
            good=self.good + weight * other.good,
            bad=self.bad + weight * other.bad,
            judged=self.judged + other.judged,
            praised=self.praised + other.praised,
            usd=self.usd + weight * other.usd,
            priced=self.priced + weight * other.priced,
            seconds=self.seconds + weight * other.seconds,
            timed=self.timed + weight * other.timed,
            input_tokens=self.input_tokens + weight * other.input_tokens,
            output_tokens=self.output_tokens + weight * other.output_tokens,
            counted=self.counted + weight * other.counted,
        )


NOTHING = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Tallies by (type, interface), by interface over all types, and by type over all interfaces."""

    pairs: Mapping[tuple[str, str], Tally] = field(default_factory=dict)
    interfaces: Mapping[str, Tally] = field(default_factory=dict)
    types: Mapping[str, Tally] = field(default_factory=dict)

    def on(self, task_type: str, interface: str) -> Tally:
        """What this interface did on this type."""
        return self.pairs.get((task_type, interface), NOTHING)


NO_HISTORY = History()


def gather(
    rows: Iterable[CostRow],
    *,
    verdicts: Iterable[Verdict] = (),
    type_of: Callable[[str], str] = str,
    half_life_days: float | None = HALF_LIFE_DAYS,
) -> History:
    """The history in these rows, each attempt once. `type_of` maps a type's other names to it (routing.md's aliases).

    `half_life_days` is how many days make evidence weigh half; None lets it weigh the same for ever.
    """
    known = {row.attempt_id: row for row in sorted(rows, key=lambda row: (row.timestamp, row.attempt_id))}
    counted: dict[tuple[str, str, int], Tally] = {}
    count(counted, known.values(), words_of(verdicts), type_of)
    newest = max((_day(row) for row in known.values()), default=0)
    return faded(counted, newest, half_life_days)


def count(
    counted: dict[tuple[str, str, int], Tally],
    rows: Iterable[CostRow],
    words: Mapping[str, Verdict],
    type_of: Callable[[str], str] = str,
) -> None:
    """Add attempts that are not in it yet to the sums by (type, interface, day); a day is its proleptic ordinal."""
    for row in rows:
        if row.interface is not None:
            key = (type_of(row.task_type or GENERAL_TYPE), row.interface, _day(row))
            counted[key] = counted.get(key, NOTHING).plus(tally_of(row, words.get(row.attempt_id)))


def faded(
    counted: Mapping[tuple[str, str, int], Tally], newest: int, half_life_days: float | None = HALF_LIFE_DAYS
) -> History:
    """The history in the sums of `count`, as it looks on the day `newest`."""
    return _summed({(kind, name, newest - day): tally for (kind, name, day), tally in counted.items()}, half_life_days)


def judged(row: CostRow) -> bool | None:
    """Whether the attempt went well, as the row tells it; None where it says nothing about quality."""
    if row.status is Status.COMPLETED:
        return True
    return False if row.reason in QUALITY else None


def tally_of(row: CostRow, verdict: Verdict | None = None) -> Tally:
    """The evidence in one attempt."""
    good = judged(row) if verdict is None else verdict.good
    if good is None:
        return NOTHING
    weight = 1.0 if verdict is None else verdict.by.value
    completed = row.status is Status.COMPLETED
    told = row.input_tokens is not None and row.output_tokens is not None
    return Tally(
        good=weight if good else 0.0,
        bad=0.0 if good else weight,
        judged=1,
        praised=int(good),
        usd=float(row.cost_usd or 0),
        priced=float(row.cost_usd is not None),
        seconds=row.duration_seconds if completed else 0.0,
        timed=float(completed),
        input_tokens=float(row.input_tokens or 0) if told else 0.0,
        output_tokens=float(row.output_tokens or 0) if told else 0.0,
        counted=float(told),
    )


def summed(pairs: Mapping[tuple[str, str], Tally]) -> History:
    """The history of tallies by (type, interface) that need no fading: what a simulation counts as it goes."""
    return _summed({(*pair, 0): tally for pair, tally in pairs.items()}, None)


def words_of(verdicts: Iterable[Verdict]) -> Mapping[str, Verdict]:
    """By attempt the word that counts: a person's before a proof's, the last before the first."""
    ordered = sorted(verdicts, key=lambda one: one.by is Judge.PERSON)
    return {one.attempt_id: one for one in ordered}


def _day(row: CostRow) -> int:
    return date.fromisoformat(row.day).toordinal()


def _summed(counted: Mapping[tuple[str, str, int], Tally], half_life_days: float | None) -> History:
    pairs: dict[tuple[str, str], Tally] = {}
    interfaces: dict[str, Tally] = {}
    types: dict[str, Tally] = {}
    for (task_type, interface, age), tally in counted.items():
        weight = 1.0 if half_life_days is None else 2.0 ** (-age / half_life_days)
        pairs[task_type, interface] = pairs.get((task_type, interface), NOTHING).plus(tally, weight)
        interfaces[interface] = interfaces.get(interface, NOTHING).plus(tally, weight)
        types[task_type] = types.get(task_type, NOTHING).plus(tally, weight)
    return History(pairs=pairs, interfaces=interfaces, types=types)
