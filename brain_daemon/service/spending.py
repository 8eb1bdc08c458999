"""What is spent of each budget of one brain: the ledger's rows, and what running attempts may come to cost.

The rules are policy/budgets.py's; days and months are UTC, like the ledger's. A running attempt stands with its estimate, which its
attempt in the journal keeps (`routing.reserved_usd`), until its row replaces it. A row of unknown cost, as a crash leaves one, stands
with that estimate too: sums may be too high, never too low (B15). What agents were granted (`brain acquire`) stands until their
attempt's row is there, and for good where they named no task; rows that another process has added are found at the next look. Without budgets nothing is read or counted.
Nothing fails here.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Ended
from brain_daemon.model.parsing import parse_task
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
from brain_daemon.service.budget_standing import RESERVED, RESERVED_TOKENS, BudgetItem
from brain_daemon.service.lineage import lineage_of
from brain_daemon.store.journal import Journal
from brain_daemon.store.rates import Acquired, Grant

Names = Mapping[Scope, str]
_Key = tuple[Scope, str, float]
_ALLOWED = Allowed()
_HAVE_ROWS = frozenset({AttemptState.RECORDED, AttemptState.COMMITTED})


class Spending:
    """For one daemon, and one thread. `budgets` are those of the settings; a task may bring its own."""

    def __init__(
        self,
        journal: Journal,
        budgets: Sequence[Budget],
        unknown: UnknownPrice,
        clock: Callable[[], float] = time.time,
        acquired: Callable[[str | None], Sequence[Acquired]] = lambda _: (),
        unattended: Callable[[], Sequence[Grant]] = lambda: (),
    ) -> None:
        self._journal = journal
        self._budgets = tuple(budgets)
        self._unknown = unknown
        self._clock = clock
        self._acquired = acquired
        self._unattended = unattended
        self._sums: dict[_Key, Amount] = defaultdict(Amount)
        self._spellings: dict[Scope, dict[str, str]] = defaultdict(dict)
        self._running: dict[str, tuple[Names, Amount]] = {}
        self._planned: dict[tuple[tuple[Scope, str], ...], tuple[Names, Amount]] = {}
        self._agents: list[tuple[Names, Amount]] = []
        self._alone: dict[_Key, Amount] = {}
        self._seen = 0
        self.look_at_running()
        self.begin()

    def look_at_running(self) -> None:
        """What the journal knows of attempts that are under way: another process's, or those that outlived their daemon."""
        self._running.clear()
        for attempt in self._journal.open_attempts() if self._budgets else ():
            task = parse_task(attempt.name, attempt.spec)
            reserved = Amount(usd=reserved_usd(attempt), tokens=_reserved_tokens(attempt))
            if reserved != Amount() and isinstance(task, TaskSpec):
                self._running[attempt.attempt_id] = (self._names_on(task, attempt.interface or ""), reserved)

    def begin(self) -> None:
        """A new look at the queue."""
        self._planned.clear()
        if self._budgets:
            self._read()
            self._agents = list(self._granted())
            self._alone = self._granted_alone()

    def concerns(self, task: TaskSpec) -> bool:
        """Whether any budget could."""
        return bool(self._budgets) or task.budget_usd is not None

    def verdict(
        self,
        task: TaskSpec,
        spec: InterfaceSpec,
        estimate: Estimate,
        *,
        streams: bool,
        asks: bool,
        own_only: bool = False,
    ) -> Verdict:
        """Whether the task may start there.

        `asks` False: the person has allowed this interface without a known price. `own_only`: no budget but its own holds it up.
        """
        if not self.concerns(task):
            return _ALLOWED
        names = self._names(task, spec)
        budgets = () if own_only else applying(self._budgets, names)
        pairs = [(budget, self._spent(budget)) for budget in budgets]
        if task.budget_usd is not None:
            own = Budget(scope=Scope.TASK, name=task.id, usd=task.budget_usd, hard=True)
            pairs.append((own, self._spent_on(task)))
        unknown = UnknownPrice.ALLOW if self._unknown is UnknownPrice.ASK and not asks else self._unknown
        return may_spend(pairs, estimate, now=self._clock(), zone=UTC, streams=streams, unknown=unknown)

    def standing(self) -> tuple[BudgetItem, ...]:
        """Each budget of the settings with what is spent of it, as the last look found it and what has started and ended since.

        One for each chain, interface or type is told of those that have spent anything.
        """
        return tuple(
            BudgetItem(budget=named, used=self._used(named), until=_renewed(named, self._clock()))
            for budget in self._budgets
            for named in self._each(budget)
        )

    def _each(self, budget: Budget) -> Iterator[Budget]:
        if budget.name is not None or budget.scope in (Scope.DAY, Scope.MONTH):
            yield budget
            return
        spellings = dict(self._spellings[budget.scope])
        for names, _ in (*self._running.values(), *self._agents):
            if budget.scope in names:
                spellings[names[budget.scope].casefold()] = names[budget.scope]
        yield from (replace(budget, name=name) for name in spellings.values())

    def plan(self, task: TaskSpec, spec: InterfaceSpec, estimate: Estimate) -> None:
        """A task was chosen, and has not started."""
        if self._budgets:
            names = self._names(task, spec)
            if not any(budget.scope is Scope.TASK for budget in self._budgets):
                names = {scope: name for scope, name in names.items() if scope is not Scope.TASK}
            # Equal ones are one sum, so that a long queue is not added up anew for each of its tasks.
            key = tuple(names.items())
            planned = self._planned[key][1] if key in self._planned else Amount()
            self._planned[key] = (names, planned.plus(estimate.amount))

    def started(self, attempt: Attempt, task: TaskSpec, spec: InterfaceSpec, estimate: Estimate) -> Attempt:
        """The attempt with its estimate, which stands until it has ended."""
        if not self.concerns(task):
            return attempt
        self._running[attempt.attempt_id] = (self._names(task, spec), estimate.amount)
        told = "0" if estimate.usd is None else format(estimate.usd, "f")
        tokens = {} if estimate.tokens is None else {RESERVED_TOKENS: estimate.tokens}
        return replace(attempt, routing={**(attempt.routing or {}), RESERVED: told, **tokens})

    def given_back(self, attempt_id: str) -> None:
        """It has not started."""
        self._running.pop(attempt_id, None)

    def ended(self, attempt: Attempt, ended: Ended) -> None:
        """Its cost takes the place of its estimate, and its row that of both."""
        found = self._running.pop(attempt.attempt_id, None)
        if found is None or not self._budgets:
            return
        names, reserved = found
        used = Amount(
            usd=reserved.usd if ended.cost.usd is None else ended.cost.usd,
            tokens=ended.usage.total_tokens,
            unpriced=int(ended.cost.usd is None),
        )
        self._running[attempt.attempt_id] = (names, used)

    def _read(self) -> None:
        """The rows that have come since the last look; all there are at first, since a chain or a type has no beginning."""
        newest = self._journal.newest_outcome()
        if newest < self._seen:
            self._sums.clear()
            self._seen = 0
        rows, self._seen = self._journal.outcomes_between(self._seen, newest), newest
        for row in (CostRow.from_values(values) for _, values in rows):
            self._running.pop(row.attempt_id, None)
            used = Amount(
                usd=self._reserved(row.attempt_id) if row.cost_usd is None else row.cost_usd,
                tokens=(row.input_tokens or 0) + (row.output_tokens or 0),
                unpriced=int(row.cost_usd is None),
            )
            self._add(dict(_names_of(row)), used, datetime.fromisoformat(row.timestamp).timestamp())

    def _reserved(self, attempt_id: str) -> Decimal:
        attempt = self._journal.attempt(attempt_id)
        estimate = Decimal(0) if attempt is None else reserved_usd(attempt)
        return max(estimate, sum((one.usd for one in self._acquired(attempt_id)), Decimal(0)))

    def _granted(self) -> Iterator[tuple[Names, Amount]]:
        """What agents were granted for attempts that have no row yet."""
        for one in self._acquired(None):
            attempt = self._journal.attempt(one.attempt_id)
            if attempt is None or attempt.state in _HAVE_ROWS:
                continue
            task = parse_task(attempt.name, attempt.spec)
            if isinstance(task, TaskSpec):
                amount = Amount(usd=one.usd, tokens=one.tokens, unpriced=one.unpriced)
                yield self._names_on(task, one.interface), amount

    def _granted_alone(self) -> dict[_Key, Amount]:
        """What was granted to whoever named no task: no row will ever stand for it."""
        sums: dict[_Key, Amount] = defaultdict(Amount)
        for one in self._unattended():
            amount = Amount(usd=one.usd or Decimal(0), tokens=one.ask.tokens, unpriced=int(one.usd is None))
            for budget in applying(self._budgets, {Scope.INTERFACE: one.interface}):
                key = _key(budget, one.granted_at)
                sums[key] = sums[key].plus(amount)
        return sums

    def _add(self, names: Names, used: Amount, at: float) -> None:
        for budget in applying(self._budgets, names):
            key = _key(budget, at)
            if budget.name is not None:
                self._spellings[budget.scope][budget.name.casefold()] = budget.name
            self._sums[key] = self._sums[key].plus(used)

    def _spent(self, budget: Budget) -> Amount:
        total = self._used(budget)
        for others, amount in self._planned.values():
            total = total.plus(amount) if _falls_under(budget, others) else total
        return total

    def _used(self, budget: Budget) -> Amount:
        """Without what was only chosen: it has started meanwhile, or it will not."""
        key = _key(budget, self._clock())
        total = self._sums.get(key, Amount()).plus(self._alone.get(key, Amount()))
        for others, amount in (*self._running.values(), *self._agents):
            total = total.plus(amount) if _falls_under(budget, others) else total
        return total

    def _spent_on(self, task: TaskSpec) -> Amount:
        total = Amount()
        for one in self._journal.attempts_of(task.id):
            if one.ended is not None:
                usd = self._reserved(one.attempt_id) if one.ended.cost.usd is None else one.ended.cost.usd
                total = total.plus(Amount(usd=usd, unpriced=int(one.ended.cost.usd is None)))
                continue
            for granted in self._acquired(one.attempt_id):
                total = total.plus(Amount(usd=granted.usd, tokens=granted.tokens, unpriced=granted.unpriced))
        return total

    def _names(self, task: TaskSpec, spec: InterfaceSpec) -> Names:
        return self._names_on(task, spec.name)

    def _names_on(self, task: TaskSpec, interface: str) -> Names:
        names = {Scope.TASK: task.id, Scope.INTERFACE: interface, Scope.TYPE: task.type}
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


def _reserved_tokens(attempt: Attempt) -> int:
    told = (attempt.routing or {}).get(RESERVED_TOKENS, 0)
    return told if isinstance(told, int) else 0


def _names_of(row: CostRow) -> Iterator[tuple[Scope, str]]:
    yield Scope.TASK, row.task_id
    for scope, name in ((Scope.CHAIN, row.chain_id), (Scope.INTERFACE, row.interface), (Scope.TYPE, row.task_type)):
        if name:
            yield scope, name


def _key(budget: Budget, at: float) -> _Key:
    span = period(budget.scope, at, UTC)
    name = "" if span is not None else (budget.name or "")
    return budget.scope, name.casefold(), 0.0 if span is None else span.start


def _renewed(budget: Budget, at: float) -> float | None:
    span = period(budget.scope, at, UTC)
    return None if span is None else span.end


def _falls_under(budget: Budget, names: Names) -> bool:
    return budget.scope in (Scope.DAY, Scope.MONTH) or _same(names.get(budget.scope), budget.name)


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.casefold() == other.casefold()
