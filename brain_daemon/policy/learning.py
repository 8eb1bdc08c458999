"""What history teaches about an interface on a type of task, and how that orders what routing.md leaves open.

The belief about a rate of success is a Beta distribution. It starts from the score the interface declares for the type, worth
`DECLARED_STRENGTH` outcomes; where it declares none for the type, from what it did on all types, worth `GUESSED_STRENGTH`.
Each outcome of the pair then moves it. Means of cost and time are shrunk the same way: pair towards interface, interface
towards what its prices say.

Among equals (one rung, above the floor) the order is a Thompson draw: a rate is drawn from each belief by a seed that the task's
id makes, and the best goes first, so a doubtful interface is tried now and then and a poor one seldom. `prefer` says what a
draw is weighed against. Equal histories and ids give equal orders.

A tool made for another trade never rises by what it did: that it answered is no evidence that it was asked the right thing.
Nothing here fails.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from brain_daemon.model.interface import DEFAULT, CostSpec, InterfaceSpec
from brain_daemon.model.outcome import Usage
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import Prefer
from brain_daemon.policy import chance
from brain_daemon.policy.eligibility import expected_success, other_trade
from brain_daemon.policy.evidence import NO_HISTORY, NOTHING, History, Tally
from brain_daemon.policy.pricing import price

DECLARED_STRENGTH = 30.0
GUESSED_STRENGTH = 4.0
BOLDNESS = 2.0
"""A draw is made as if there were this many times the evidence: less is lost to trying out, and the best are found as surely
(measured: docs/routing.md)."""
DISAGREEMENT_LEAST = 5
DISAGREEMENT_SURE = 1.2816
_SHRINKAGE = 4.0
_LEAST, _MOST = 0.01, 0.99


class Learn(StrEnum):
    """What history may do: nothing, order what routing.md leaves open, or also go before the table where they disagree."""

    OFF = "off"
    ORDER = "order"
    REORDER = "reorder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much success the dearest, or the slowest, of those compared must make up for; 0.2 is a fifth of all tasks."""

    cost: float = 0.0
    speed: float = 0.0


WEIGHTS: Mapping[Prefer, Weights] = {
    Prefer.COST: Weights(cost=0.2, speed=0.02),
    Prefer.QUALITY: Weights(),
    Prefer.SPEED: Weights(cost=0.05, speed=0.3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """The belief about one interface on one type. `good` of `judged` attempts are plain counts; None means nobody knows."""

    task_type: str
    alpha: float
    beta: float
    declared: float
    good: int = 0
    judged: int = 0
    usd: float | None = None
    seconds: float | None = None

    @property
    def expected(self) -> float:
        """The mean of the belief, 0 to 1."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def variance(self) -> float:
        """How wide the belief is."""
        strength = self.alpha + self.beta
        return self.alpha * self.beta / (strength * strength * (strength + 1))

    def reaches(self, floor: float) -> bool:
        """Whether it stands above a floor. One that declares to be is put below it by clear evidence only, not by one failure."""
        doubt = math.sqrt(self.variance) if self.declared >= floor else 0.0
        return self.expected + doubt >= floor

    def draw(self, task_id: str, interface: str) -> float:
        """A rate the belief holds possible; the same for the same task, interface and belief."""
        return chance.beta(BOLDNESS * self.alpha, BOLDNESS * self.beta, f"{task_id}\n{interface}")

    @property
    def record(self) -> str:
        """What history says, for people: `14 of 15 good on code`."""
        return f"{self.good} of {self.judged} good on {self.task_type}" if self.judged else f"none on {self.task_type}"


def lessons(
    specs: Iterable[InterfaceSpec], task_type: str, requires: Sequence[str], table: RoutingTable, history: History
) -> Mapping[str, Lesson]:
    """What is believed of each interface on a type, by name. `task_type` and `requires` are in their normal form."""
    return {spec.name: lesson(spec, task_type, requires, table, history) for spec in specs}


def lesson(
    spec: InterfaceSpec,
    task_type: str,
    requires: Sequence[str] = (),
    table: RoutingTable = RoutingTable(),  # noqa: B008 - frozen: one value serves all calls
    history: History = NO_HISTORY,
) -> Lesson:
    """What is believed of one interface on a type."""
    seen, everywhere = history.on(task_type, spec.name), history.interfaces.get(spec.name, NOTHING)
    declared = expected_success(spec, task_type, requires, table)
    mean, strength = _start(spec, task_type, declared, table, everywhere, seen)
    alpha, beta = strength * mean + seen.good, strength * (1 - mean) + seen.bad
    if other_trade(spec, task_type, requires) and alpha > declared * (alpha + beta):
        alpha, beta = declared * (alpha + beta), (1 - declared) * (alpha + beta)
    return Lesson(
        task_type=task_type,
        alpha=alpha,
        beta=beta,
        declared=declared,
        good=seen.praised,
        judged=seen.judged,
        usd=_usd(spec.cost, seen, everywhere, history.types.get(task_type, NOTHING)),
        seconds=_shrunk(seen.seconds, seen.timed, _shrunk(everywhere.seconds, everywhere.timed, None)),
    )


def scores(compared: Mapping[str, Lesson], task_id: str, weights: Weights) -> Mapping[str, tuple[float, float]]:
    """For each of these interfaces what orders them, best highest, and the draw behind it."""
    dear = _shares({name: one.usd for name, one in compared.items()})
    slow = _shares({name: one.seconds for name, one in compared.items()})
    draws = {name: one.draw(task_id, name) for name, one in compared.items()}
    return {name: (draw - weights.cost * dear[name] - weights.speed * slow[name], draw) for name, draw in draws.items()}


def disagrees(first: Lesson, other: Lesson) -> bool:
    """Whether history holds `other` to be better than `first`, each judged often enough, with nine chances in ten."""
    if min(first.judged, other.judged) < DISAGREEMENT_LEAST:
        return False
    return other.expected - first.expected > DISAGREEMENT_SURE * math.sqrt(first.variance + other.variance)


def _start(
    spec: InterfaceSpec, task_type: str, declared: float, table: RoutingTable, everywhere: Tally, seen: Tally
) -> tuple[float, float]:
    """The mean of the belief before the pair's own outcomes, and how many outcomes it is worth."""
    words = {table.type_of(key) for key, _ in spec.good_at if key != DEFAULT}
    if task_type in words:
        return _within(declared), DECLARED_STRENGTH
    good, bad = max(everywhere.good - seen.good, 0.0), max(everywhere.bad - seen.bad, 0.0)
    elsewhere = (GUESSED_STRENGTH * declared + good) / (GUESSED_STRENGTH + good + bad)
    return _within(elsewhere), GUESSED_STRENGTH


def _within(rate: float) -> float:
    """A rate that leaves room for doubt: never quite 0 or 1."""
    return min(max(rate, _LEAST), _MOST)


def _usd(cost: CostSpec, seen: Tally, everywhere: Tally, others: Tally) -> float | None:
    """Dollars an attempt is expected to cost: what is declared for a task of this type's usual size, then what was paid."""
    usual = Usage(input_tokens=_mean(others.input_tokens, others), output_tokens=_mean(others.output_tokens, others))
    asked = price(cost, usual, None).usd
    told = _shrunk(everywhere.usd, everywhere.priced, None if asked is None else float(asked))
    return _shrunk(seen.usd, seen.priced, told)


def _mean(tokens: float, counted: Tally) -> int | None:
    return round(tokens / counted.counted) if counted.counted else None


def _shrunk(total: float, weight: float, towards: float | None) -> float | None:
    """A mean drawn towards what is known more broadly; None where nothing is."""
    if towards is None:
        return total / weight if weight else None
    return (total + _SHRINKAGE * towards) / (weight + _SHRINKAGE)


def _shares(amounts: Mapping[str, float | None]) -> Mapping[str, float]:
    """Each amount as a share of the largest; one that nobody knows counts as the mean of the others."""
    known = [amount for amount in amounts.values() if amount is not None]
    largest = max(known, default=0.0)
    if not largest:
        return dict.fromkeys(amounts, 0.0)
    usual = sum(known) / len(known)
    return {name: (usual if amount is None else amount) / largest for name, amount in amounts.items()}
