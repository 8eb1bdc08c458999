"""What a person has let one task do that the limits would not: `brain release ID`, `--paid`, `--budget [AMOUNT]`.

    at once     it need not wait: for a breaker, a rate, a quota, or the answer to the question near its end. Until an attempt has ended.
    paid        it may go to a dearer rung though the ladder would not, as `on_limit: fallback` does. Until the task has ended.
    budget      no budget holds it up; with an amount, that is its own hard budget in place of all others. Until the task has ended.

Each is no more than its words: a paid rung is not opened by `at once`, a budget not by `paid`. The machine's memory, its disk
and what the task itself asks for (an interface, `never`, permissions) bind in any case.

They stand in the journal under one key, written by commands alone, under the claims lock; that they are over is told by the attempts,
so nothing need be taken back. Failures: StorageError where the disk refuses; a note that cannot be read releases nothing.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from brain_daemon.model.attempt import Attempt, Decision
from brain_daemon.model.quantities import dollars
from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.store.journal import Journal

KEY = "releases"
"""The key in the journal."""

_ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a release allows. `budget_usd` None with `budget`: as much as it takes."""

    at_once: bool = False
    paid: bool = False
    budget: bool = False
    budget_usd: Decimal | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Each permission in a few words."""
        told = ((self.at_once, "at once"), (self.paid, "paid allowed"), (self.budget, self.budget_words))
        return tuple(words for is_so, words in told if is_so)

    @property
    def budget_words(self) -> str:
        """What becomes of its budgets, where something does."""
        return "budget passed" if self.budget_usd is None else f"a budget of {dollars(self.budget_usd)} of its own"


NO_TERMS = Terms()
AT_ONCE = Terms(at_once=True)


def keep(journal: Journal, task_id: str, terms: Terms) -> Terms:
    """Add to what the task may do already, durably; what it may do now. The caller holds the claims lock."""
    now = time.time()
    told = {key: one for key, one in _kept(journal).items() if not _is_over(journal, key, one)}
    before = _terms(told.get(task_id.casefold(), {}))
    both = Terms(
        at_once=terms.at_once or before.at_once,
        paid=terms.paid or before.paid,
        budget=terms.budget or before.budget,
        budget_usd=terms.budget_usd if terms.budget else before.budget_usd,
    )
    told[task_id.casefold()] = {"at": now, **_document(both)}
    journal.set(KEY, json.dumps(told))
    return both


class Releases:
    """The releases of one brain that still stand, as one process sees them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._terms: dict[str, Terms] = {}
        self.look()

    def look(self) -> None:
        """A person may have released another task."""
        told = _kept(self._journal).items()
        standing = {key: _standing(self._journal, key, one) for key, one in told}
        self._terms = {key: terms for key, terms in standing.items() if terms != NO_TERMS}

    def of(self, task_id: str) -> Terms:
        """What this task may do."""
        return self._terms.get(task_id.casefold(), NO_TERMS) if self._terms else NO_TERMS

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended, which may be all that was released."""
        key = attempt.task_id.casefold()
        if key not in self._terms:
            return
        if attempt.decision is Decision.FINISH:
            del self._terms[key]
        elif attempt.decision is not Decision.AGAIN:
            self._terms[key] = replace(self._terms[key], at_once=False)

    def applied(self, task: TaskSpec) -> TaskSpec:
        """The task with what it may do: its own `on_limit` and `budget_usd` give way."""
        terms = self.of(task.id)
        if terms.paid:
            task = replace(task, on_limit=OnLimit.FALLBACK)
        return replace(task, budget_usd=terms.budget_usd) if terms.budget else task


class Opened:
    """What releases have opened in one look at the queue, for the records of the attempts that may start."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], str] = {}

    def begin(self) -> None:
        """A new look at the queue."""
        self._told.clear()

    def note(self, task_id: str, interface: str, terms: Terms, *, waits: str | None, is_dearer: bool) -> None:
        """The task may start there on these terms. `waits` is why it would have waited, `is_dearer` that the ladder would not go there."""
        opened = (
            (waits is not None, f"at once, although {waits}"),
            (terms.paid and is_dearer, "paid allowed"),
            (terms.budget, terms.budget_words),
        )
        told = ", ".join(words for is_so, words in opened if is_so)
        if told:
            self._told[task_id.casefold(), interface] = f"released by the person: {told}"

    def marked(self, attempt: Attempt) -> Attempt:
        """The attempt, which says what a person has let it do: a decision that was overridden."""
        told = self._told.get((attempt.task_id.casefold(), attempt.interface or ""))
        if told is None:
            return attempt
        routing = attempt.routing or {}
        reason = "; ".join(filter(None, (str(routing.get("reason") or ""), told)))
        return replace(attempt, routing={**routing, "reason": reason, "overridden": True})


def _standing(journal: Journal, key: str, told: Mapping[str, Any]) -> Terms:
    terms, at = _terms(told), _at(told)
    for one in journal.attempts_of(key):
        if one.ended is None or one.ended.finished_at < at:
            continue
        if one.decision is Decision.FINISH:
            return NO_TERMS
        if one.decision is not Decision.AGAIN:
            terms = replace(terms, at_once=False)
    return terms


def _is_over(journal: Journal, key: str, told: Mapping[str, Any]) -> bool:
    return _standing(journal, key, told) == NO_TERMS


def _document(terms: Terms) -> dict[str, Any]:
    amount = _ANY if terms.budget_usd is None else format(terms.budget_usd, "f")
    return {"at_once": terms.at_once, "paid": terms.paid, "budget": amount if terms.budget else None}


def _terms(told: Mapping[str, Any]) -> Terms:
    budget = told.get("budget")
    try:
        usd = None if budget in (None, _ANY) else Decimal(str(budget))
    except InvalidOperation:
        return NO_TERMS
    return Terms(
        at_once=told.get("at_once") is True, paid=told.get("paid") is True, budget=budget is not None, budget_usd=usd
    )


def _at(told: Mapping[str, Any]) -> float:
    at = told.get("at")
    return float(at) if isinstance(at, int | float) else float("-inf")


def _kept(journal: Journal) -> dict[str, dict[str, Any]]:
    try:
        told = json.loads(journal.get(KEY) or "{}")
    except ValueError:
        return {}
    pairs = told.items() if isinstance(told, dict) else ()
    return {str(key): one for key, one in pairs if isinstance(one, dict)}
