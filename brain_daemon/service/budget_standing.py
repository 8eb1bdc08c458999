"""What is spent of each budget, read from the journal by a process that need not be the daemon's.

Imported by commands that must feel instant: nothing heavy is.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from decimal import Decimal, InvalidOperation
from typing import Any

from brain_daemon.policy.budgets import WARN_SHARE, Amount, Budget, Scope, period
from brain_daemon.record.wording import dollars

RESERVED = "reserved_usd"
"""The key in an attempt's `routing` under which its estimate in US dollars stands (service/spending.py)."""

RESERVED_TOKENS = "reserved_tokens"

_COLUMN_OF = {
    Scope.CHAIN: "o.chain_id",
    Scope.INTERFACE: "o.interface",
    Scope.TYPE: "o.task_type",
    Scope.TASK: "o.task_id",
}
# As in the partial index `attempts_open`: SQLite uses it only where the words are the same.
_OPEN = "state in ('claimed', 'starting', 'ended', 'recorded')"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetItem:
    """A budget (with the name of its chain, interface or type) and what is spent of it; `until` is when the calendar renews it, epoch seconds."""

    budget: Budget
    used: Amount
    until: float | None = None

    @property
    def label(self) -> str:
        """How the person would call it."""
        return self.budget.label

    @property
    def share(self) -> float:
        """The share spent, of dollars or tokens, whichever is more; 1 is all."""
        pairs = ((self.used.usd, self.budget.usd), (Decimal(self.used.tokens), self.budget.tokens))
        return max((float(used / of) if of else 1.0 for used, of in pairs if of is not None), default=0.0)

    @property
    def is_warned(self) -> bool:
        """Whether a person is to know."""
        return self.share >= WARN_SHARE

    @property
    def sentence(self) -> str:
        """How it stands, in words."""
        word = "passed" if self.share > 1 else "used up" if self.share == 1 else f"{int(self.share * 100)}% used"
        usd, tokens = self.budget.usd, self.budget.tokens
        figures = [] if usd is None else [f"{dollars(self.used.usd)} of {dollars(usd)}"]
        figures += [] if tokens is None else [f"{self.used.tokens:,} of {tokens:,} tokens"]
        unpriced = f" and {self.used.unpriced} of unknown price" if self.used.unpriced and usd is not None else ""
        return f"{self.label} is {word}: {', '.join(figures)}{unpriced}"


def standing(journal: sqlite3.Connection, budgets: Sequence[Budget], now: float) -> Iterator[BudgetItem]:
    """What is spent of each budget: the rows of the ledger, and what attempts without one have used or reserved.

    As service/spending.py has it, but for what agents were granted and have not recorded yet, which other databases hold.
    """
    under_way = list(_under_way(journal, types=any(one.scope is Scope.TYPE for one in budgets))) if budgets else []
    for budget in budgets:
        span = period(budget.scope, now, UTC)
        since = "" if span is None else time.strftime("%Y-%m-%d", time.gmtime(span.start))
        sums: dict[str, tuple[str, Amount]] = {}
        for name, amount in (*_rows_of(journal, budget.scope, since), *_named(under_way, budget.scope)):
            _, before = sums.get(name.casefold(), ("", Amount()))
            sums[name.casefold()] = (name, before.plus(amount))
        until = None if span is None else span.end
        if span is not None:
            yield BudgetItem(budget=budget, used=sums.get("", ("", Amount()))[1], until=until)
        elif budget.name is not None:
            yield BudgetItem(budget=budget, used=sums.get(budget.name.casefold(), ("", Amount()))[1])
        else:
            yield from (
                BudgetItem(budget=replace(budget, name=name), used=amount) for name, amount in sums.values() if name
            )


def _rows_of(journal: sqlite3.Connection, scope: Scope, since: str) -> Iterator[tuple[str, Amount]]:
    """The ledger's rows by name; a row of unknown cost stands with what was reserved for it."""
    name = _COLUMN_OF.get(scope, "''")
    within = "substr(timestamp, 1, 10) >= ?"
    rows = journal.execute(
        f"select {name}, cost_usd, count(*), sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) "  # noqa: S608 - constants only
        f"from outcomes o where {within} group by 1, 2",
        (since,),
    )
    for named, usd, number, tokens in rows:
        known = Decimal(0) if usd is None else Decimal(usd) * number
        yield named or "", Amount(usd=known, tokens=tokens, unpriced=number if usd is None else 0)
    unknown = journal.execute(
        f"select {name}, a.routing from outcomes o join attempts a using (attempt_id) where cost_usd is null and {within}",  # noqa: S608 - constants only
        (since,),
    )
    for named, routing in unknown:
        yield named or "", Amount(usd=_reserved(json.loads(routing or "{}")).usd)


def _under_way(journal: sqlite3.Connection, *, types: bool) -> Iterator[tuple[dict[Scope, str], Amount]]:
    """Attempts that were started under a budget and have no row yet: what they have used, else what was reserved."""
    rows = journal.execute(
        "select task_id, name, spec, interface, routing, ended, json_extract(lineage, '$.chain') from attempts "  # noqa: S608 - constants only
        f"where {_OPEN} and attempt_id not in (select attempt_id from outcomes)"
    )
    for task_id, name, spec, interface, routing, ended, chain in rows:
        reserved = _reserved(json.loads(routing or "{}"))
        if reserved == Amount():
            continue
        names = {Scope.INTERFACE: interface or "", Scope.CHAIN: chain or "", Scope.TASK: task_id}
        if types:
            names[Scope.TYPE] = _type_of(name, spec or b"")
        usd = None if ended is None else json.loads(ended)["cost"][0]
        yield names, reserved if usd is None else replace(reserved, usd=Decimal(usd))


def _type_of(name: str, data: bytes) -> str:
    from brain_daemon.model.parsing import parse_task  # noqa: PLC0415 - loads yaml, which only a budget of a type needs
    from brain_daemon.model.task import TaskSpec  # noqa: PLC0415 - as above

    task = parse_task(name, data)
    return task.type if isinstance(task, TaskSpec) else ""


def _named(under_way: Sequence[tuple[dict[Scope, str], Amount]], scope: Scope) -> Iterator[tuple[str, Amount]]:
    return ((names.get(scope, ""), amount) for names, amount in under_way)


def _reserved(routing: dict[str, Any]) -> Amount:
    try:
        usd = Decimal(str(routing.get(RESERVED, 0)))
    except InvalidOperation:
        usd = Decimal(0)
    tokens = routing.get(RESERVED_TOKENS, 0)
    return Amount(usd=usd, tokens=tokens if isinstance(tokens, int) else 0)
