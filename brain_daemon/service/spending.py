"""What is spent of each budget of one brain: the ledger's rows, and what running attempts may come to cost.

The rules are policy/budgets.py's; days and months are UTC, like the ledger's. A running attempt stands with its estimate, which its
attempt in the journal keeps (`routing.reserved_usd`), until its row replaces it. A row of unknown cost, as a crash leaves one, stands
with that estimate too: sums may be too high, never too low (B15). Without budgets nothing is read or counted. Nothing fails here.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Ended
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.budgets import (
    Allowed,
    Amount,
    Budget,
    Estimate,
    Scope,
    UnknownPrice,
    Verdict,
    applying,
    may_spend,
    period,
)
from brain_daemon.service.lineage import lineage_of
from brain_daemon.store.journal import Journal

RESERVED = "reserved_usd"
"""The key in an attempt's `routing` under which its estimate in US dollars stands."""

Names = Mapping[Scope, str]
_Key = tuple[Scope, str, float]
_ALLOWED = Allowed()


class Spending:
    """For one daemon, and one thread. `budgets` are those of the settings; a task may bring its own."""

    def __init__(
        self,
        journal: Journal,
        budgets: Sequence[Budget],
        unknown: UnknownPrice,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._budgets = tuple(budgets)
        self._unknown = unknown
        self._clock = clock
        self._sums: dict[_Key, Amount] = defaultdict(Amount)
        self._running: dict[str, tuple[Names, Amount]] = {}
        self._planned: list[tuple[Names, Amount]] = []
        if self._budgets:
            self._read()

    def begin(self) -> None:
        """A new look at the queue."""
        self._planned.clear()

    def concerns(self, task: TaskSpec) -> bool:
        """Whether any budget could."""
        return bool(self._budgets) or task.budget_usd is not None

    def verdict(self, task: TaskSpec, spec: InterfaceSpec, estimate: Estimate, *, streams: bool, asks: bool) -> Verdict:
        """Whether the task may start there; `asks` False: the person has allowed this interface without a known price."""
        if not self.concerns(task):
            return _ALLOWED
        names = self._names(task, spec)
        pairs = [(budget, self._spent(budget, names)) for budget in applying(self._budgets, names)]
        if task.budget_usd is not None:
            own = Budget(scope=Scope.TASK, name=task.id, usd=task.budget_usd, hard=True)
            pairs.append((own, self._spent_on(task)))
        unknown = UnknownPrice.ALLOW if self._unknown is UnknownPrice.ASK and not asks else self._unknown
        return may_spend(pairs, estimate, now=self._clock(), zone=UTC, streams=streams, unknown=unknown)

    def plan(self, task: TaskSpec, spec: InterfaceSpec, estimate: Estimate) -> None:
        """A task was chosen, and has not started."""
        if self._budgets:
            self._planned.append((self._names(task, spec), estimate.amount))

    def started(self, attempt: Attempt, task: TaskSpec, spec: InterfaceSpec, estimate: Estimate) -> Attempt:
        """The attempt with its estimate, which stands until it has ended."""
        if not self.concerns(task):
            return attempt
        self._running[attempt.attempt_id] = (self._names(task, spec), estimate.amount)
        told = "0" if estimate.usd is None else format(estimate.usd, "f")
        return replace(attempt, routing={**(attempt.routing or {}), RESERVED: told})

    def given_back(self, attempt_id: str) -> None:
        """It has not started."""
        self._running.pop(attempt_id, None)

    def ended(self, attempt: Attempt, ended: Ended) -> None:
        """Its cost takes the place of its estimate."""
        found = self._running.pop(attempt.attempt_id, None)
        if found is None or not self._budgets:
            return
        names, reserved = found
        used = Amount(
            usd=reserved.usd if ended.cost.usd is None else ended.cost.usd,
            tokens=ended.usage.total_tokens,
            unpriced=int(ended.cost.usd is None),
        )
        self._add(names, used, ended.finished_at)

    def _read(self) -> None:
        """All rows there are: a chain or a type has no beginning."""
        for row in map(CostRow.from_values, self._journal.outcomes()):
            used = Amount(
                usd=self._reserved(row.attempt_id) if row.cost_usd is None else row.cost_usd,
                tokens=(row.input_tokens or 0) + (row.output_tokens or 0),
                unpriced=int(row.cost_usd is None),
            )
            self._add(dict(_names_of(row)), used, datetime.fromisoformat(row.timestamp).timestamp())

    def _reserved(self, attempt_id: str) -> Decimal:
        attempt = self._journal.attempt(attempt_id)
        return reserved_usd(attempt) if attempt is not None else Decimal(0)

    def _add(self, names: Names, used: Amount, at: float) -> None:
        for budget in applying(self._budgets, names):
            key = _key(budget, at)
            self._sums[key] = self._sums[key].plus(used)

    def _spent(self, budget: Budget, names: Names) -> Amount:
        total = self._sums.get(_key(budget, self._clock()), Amount())
        for others, amount in (*self._running.values(), *self._planned):
            if budget.scope in (Scope.DAY, Scope.MONTH) or _same(others.get(budget.scope), budget.name):
                total = total.plus(amount)
        return total

    def _spent_on(self, task: TaskSpec) -> Amount:
        total = Amount()
        for one in self._journal.attempts_of(task.id):
            if one.ended is not None:
                usd = reserved_usd(one) if one.ended.cost.usd is None else one.ended.cost.usd
                total = total.plus(Amount(usd=usd, unpriced=int(one.ended.cost.usd is None)))
        return total

    def _names(self, task: TaskSpec, spec: InterfaceSpec) -> Names:
        names = {Scope.TASK: task.id, Scope.INTERFACE: spec.name, Scope.TYPE: task.type}
        if any(budget.scope is Scope.CHAIN for budget in self._budgets):
            chain = lineage_of(self._journal, task).chain
            return names if chain is None else {**names, Scope.CHAIN: chain}
        return names


def reserved_usd(attempt: Attempt) -> Decimal:
    """The estimate an attempt was started with; nothing where none was made."""
    try:
        return Decimal(str((attempt.routing or {}).get(RESERVED, 0)))
    except InvalidOperation:
        return Decimal(0)


def _names_of(row: CostRow) -> Iterator[tuple[Scope, str]]:
    yield Scope.TASK, row.task_id
    for scope, name in ((Scope.CHAIN, row.chain_id), (Scope.INTERFACE, row.interface), (Scope.TYPE, row.task_type)):
        if name:
            yield scope, name


def _key(budget: Budget, at: float) -> _Key:
    span = period(budget.scope, at, UTC)
    name = "" if span is not None else (budget.name or "")
    return budget.scope, name.casefold(), 0.0 if span is None else span.start


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.casefold() == other.casefold()
