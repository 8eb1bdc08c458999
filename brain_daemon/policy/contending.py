"""How one contender of a simulation routes, and what it has seen so far.

Answers are kept as the daemon keeps them: a question is asked anew when history has moved on, or when whose turn it is, or who is
busy, decides. Nothing fails.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from brain_daemon.model.interface import DEFAULT, InterfaceSpec, Tier
from brain_daemon.model.routing_table import RoutingTable, Strategy
from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.policy.admission import within_reach
from brain_daemon.policy.drawing import drawn
from brain_daemon.policy.evidence import History, Tally, summed
from brain_daemon.policy.learning import Learn, lessons
from brain_daemon.policy.routing import Candidate, Choice, Nobody, RoutingPolicy, route
from brain_daemon.policy.scenario import Contender, World

_NO_BARS = RoutingPolicy()


@dataclass(slots=True)
class Seen:
    """What was counted of one interface. `by_type` holds how many were good, how many bad, and the seconds of the good ones."""

    attempts: int = 0
    completed: int = 0
    usd: Decimal = Decimal(0)
    busy_seconds: float = 0.0
    by_type: dict[str, list[float]] = field(default_factory=dict)


class Experience:
    """The ledger of a simulation: sums instead of rows, so that a million attempts take no room."""

    def __init__(self, names: Iterable[str]) -> None:
        self.of = {name: Seen() for name in names}
        self.unknown_costs = 0
        self._judged: dict[str, int] = {}

    def sent(self, name: str, usd: Decimal | None) -> None:
        """An attempt was sent; it costs what it costs, however it ends."""
        self.unknown_costs += usd is None
        self.of[name].attempts += 1
        self.of[name].usd += usd or 0

    def ended(self, name: str, task_type: str, seconds: float, *, good: bool) -> None:
        """An attempt has ended."""
        seen = self.of[name]
        seen.busy_seconds += seconds
        seen.completed += good
        self._judged[task_type] = self._judged.get(task_type, 0) + 1
        figures = seen.by_type.setdefault(task_type, [0.0, 0.0, 0.0])
        figures[not good] += 1
        figures[2] += seconds if good else 0.0

    def judged(self, task_type: str) -> int:
        """How many attempts of a type have ended."""
        return self._judged.get(task_type, 0)

    def history(self) -> History:
        """All of it, as learning takes it."""
        return summed(
            {
                (task_type, name): _tally(figures, seen)
                for name, seen in self.of.items()
                for task_type, figures in seen.by_type.items()
            }
        )


class Routes:
    """The choices of one contender. `furthest` is how far a person's answer may let a task go; None: as far as its own `on_limit`."""

    def __init__(
        self,
        worlds: Sequence[World],
        table: RoutingTable,
        contender: Contender,
        experience: Experience,
        furthest: OnLimit | None = None,
    ) -> None:
        self._contender = contender
        self._furthest = contender.on_limit if furthest is None else furthest
        self._experience = experience
        self._table = _table(table, contender)
        self._specs = [_flat(one.spec) if contender.flat else one.spec for one in worlds]
        # After so many turns every ring of these interfaces is where it began.
        self._turns = math.lcm(*range(1, len(worlds) + 1))
        self._turn = 0
        self._kept: dict[tuple[object, ...], tuple[Choice | Nobody, int]] = {}

    def choice(
        self, question: tuple[object, ...], task: TaskSpec, prompt_tokens: int | None, running: Mapping[str, int]
    ) -> Choice | Nobody:
        """Who may do a task, in order, as far as admission would let it go. Equal questions have equal tasks."""
        loads = self._loads(running)
        key = (question, loads, self._next_turn())
        kept, judged = self._kept.get(key), self._experience.judged(task.type)
        # What a tenth more outcomes teach changes little; asking anew each time would cost more than the work itself.
        if kept is None or (self._contender.learn is not Learn.OFF and judged > kept[1] * 1.1 + 4):
            kept = self._kept[key] = (self._asked(task, prompt_tokens, loads), judged)
        return kept[0]

    def drawn(self, choice: Choice, task_id: str) -> Choice:
        """The task's own order of a choice."""
        if self._contender.learn is Learn.OFF:
            return choice
        return drawn(choice, task_id, self._contender.prefer, explained=False)

    def remaining(self, choice: Choice, tried: Collection[str]) -> Choice | None:
        """The choice among those not tried yet that admission would let the task go to."""
        left = tuple(within_reach(choice, on_limit=self._contender.on_limit, tried=tried))
        return replace(choice, ranked=left) if left else None

    def _next_turn(self) -> int:
        if self._contender.strategy is Strategy.ROUND_ROBIN:
            self._turn = (self._turn + 1) % self._turns
        return self._turn

    def _loads(self, running: Mapping[str, int]) -> tuple[int, ...]:
        """Who is busier than whom, which is all that the order depends on; nobody where it does not matter."""
        if self._contender.strategy is not Strategy.LEAST_LOADED:
            return (0,) * len(self._specs)
        counts = [running[spec.name] for spec in self._specs]
        levels = sorted(set(counts))
        return tuple(levels.index(one) for one in counts)

    def _asked(self, task: TaskSpec, prompt_tokens: int | None, loads: Sequence[int]) -> Choice | Nobody:
        history = self._experience.history()
        found = route(
            task,
            [Candidate(spec=one, usable=True, running=load) for one, load in zip(self._specs, loads, strict=True)],
            self._table,
            prompt_tokens=prompt_tokens,
            policy=_NO_BARS,
            turn=self._turn,
            lessons=lessons(self._specs, task.type, task.requires, self._table, history),
            learn=self._contender.learn,
        )
        # What admission never reaches needs no draw.
        if isinstance(found, Nobody):
            return found
        return replace(found, ranked=tuple(within_reach(found, on_limit=self._furthest)))


def _table(table: RoutingTable, contender: Contender) -> RoutingTable:
    if contender.flat:
        return replace(table, strategy=contender.strategy, types=(), floor=((DEFAULT, 0.0),))
    return replace(table, strategy=contender.strategy, types=() if contender.always else table.types)


def _flat(spec: InterfaceSpec) -> InterfaceSpec:
    """The interface on a rung that all share; what it costs is reckoned elsewhere."""
    return replace(spec, cost=replace(spec.cost, tier=Tier.FREE))


def _tally(figures: Sequence[float], seen: Seen) -> Tally:
    good, bad, seconds = figures
    share = (good + bad) / seen.attempts
    return Tally(
        good=good,
        bad=bad,
        judged=int(good + bad),
        praised=int(good),
        usd=float(seen.usd) * share,
        priced=good + bad,
        seconds=seconds,
        timed=good,
    )
