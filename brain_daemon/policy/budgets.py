"""Money and tokens the person set aside, for a task, chain, interface, type, day or month: may so much more be spent?

What counts as spent are the ledger's rows and, for attempts without one, what was reserved when they were admitted. A reservation
is the estimate's upper bound and stands until the attempt's own row replaces it, so a crash leaves the sum too high, never too low.

A budget warns from a share of it on (80 %), and beyond it: soft ones go on with the warning, hard ones stop. A run whose usage is
streamed can be stopped in the middle, so under a hard budget it may start while anything is left. An unknown price is
never zero: under a dollar budget it is asked about, allowed or refused, as the setting says, and a row or reservation without a
price is said with every figure it may have raised. Nothing fails here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from decimal import Decimal
from enum import StrEnum

from brain_daemon.model.quantities import dollars
from brain_daemon.policy.windows import Calendar, Span, span

WARN_SHARE = 0.8
_ZERO = Decimal(0)


class Scope(StrEnum):
    """What a budget is for."""

    TASK = "task"
    CHAIN = "chain"
    INTERFACE = "interface"
    TYPE = "type"
    DAY = "day"
    MONTH = "month"


class UnknownPrice(StrEnum):
    """What to do where a dollar budget meets a price nobody knows."""

    ASK = "ask"
    ALLOW = "allow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """So much for one task, chain, interface or type (`name`; None: for each of them), or for all of a day or month."""

    scope: Scope
    name: str | None = None
    usd: Decimal | None = None
    tokens: int | None = None
    hard: bool = False

    @property
    def label(self) -> str:
        """How the person would call it."""
        return f"the {self.scope} budget" if self.name is None else f"the budget of {self.scope} {self.name}"

    def __str__(self) -> str:
        """As `brain config` shows it: `day $5 hard`."""
        words = (
            self.scope.value,
            self.name or "",
            "" if self.usd is None else f"${self.usd}",
            "" if self.tokens is None else f"{self.tokens:,} tokens",
            "hard" if self.hard else "",
        )
        return " ".join(filter(None, words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Dollars and tokens; `unpriced` counts the attempts in it whose price nobody knows."""

    usd: Decimal = _ZERO
    tokens: int = 0
    unpriced: int = 0

    def plus(self, other: "Amount") -> "Amount":
        """Both together."""
        return Amount(
            usd=self.usd + other.usd, tokens=self.tokens + other.tokens, unpriced=self.unpriced + other.unpriced
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The most a task may use; None where nobody can say."""

    usd: Decimal | None = None
    tokens: int | None = None

    @property
    def amount(self) -> Amount:
        """What is reserved for it: no dollars for an unknown price, but it is counted as unpriced."""
        return Amount(usd=self.usd or _ZERO, tokens=self.tokens or 0, unpriced=int(self.usd is None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """It may start; the warnings are for the person, each once per budget and threshold (`label` and text)."""

    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A hard budget, or a refused unknown price. `until` is epoch seconds where the calendar renews the budget."""

    label: str
    why: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceUnknown:
    """The person is asked whether it may start without a known price."""

    label: str
    why: str


Verdict = Allowed | Stopped | PriceUnknown


def applying(budgets: Iterable[Budget], names: Mapping[Scope, str]) -> tuple[Budget, ...]:
    """The budgets a task falls under, `names` giving its task id, chain, interface and type. Names are compared casefolded.

    A budget for each task, chain, interface or type comes back with the name of this one.
    """
    return tuple(_for_this(budget, names) for budget in budgets if _applies(budget, names))


def may_spend(
    budgets: Iterable[tuple[Budget, Amount]],
    estimate: Estimate,
    *,
    now: float,
    zone: tzinfo,
    streams: bool = False,
    unknown: UnknownPrice = UnknownPrice.ASK,
    warn_share: float = WARN_SHARE,
) -> Verdict:
    """Whether a task of this estimate may start, given each budget it falls under with what is spent of it.

    `zone` is where days and months are counted; `streams` says that the run can be stopped where the budget ends. A stop goes before a
    question, a question before warnings. A task that costs nothing is no matter of a dollar budget, spent or not.
    """
    pairs = tuple((_concerned(budget, estimate), used) for budget, used in budgets)
    for budget, used in pairs:
        why = _stops(budget, used, estimate, unknown, streams=streams)
        if why is not None:
            renewed = period(budget.scope, now, zone)
            return Stopped(label=budget.label, why=why, until=None if renewed is None else renewed.end)
    if estimate.usd is None and unknown is UnknownPrice.ASK:
        for budget, _ in pairs:
            if budget.usd is not None:
                return PriceUnknown(label=budget.label, why=_unpriced(budget))
    return Allowed(warnings=tuple(_warnings(pairs, estimate, warn_share)))


def is_spent(budget: Budget, used: Amount) -> bool:
    """Whether nothing is left: a running attempt under a hard budget is stopped now."""
    return (budget.usd is not None and used.usd >= budget.usd) or (
        budget.tokens is not None and used.tokens >= budget.tokens
    )


def period(scope: Scope, now: float, zone: tzinfo) -> Span | None:
    """The day or month whose rows count at `now`; None: all rows of the task, chain, interface or type."""
    match scope:
        case Scope.DAY:
            return span(Calendar(every="day", zone=zone), now)
        case Scope.MONTH:
            return span(Calendar(every="month", zone=zone), now)
        case _:
            return None


def _applies(budget: Budget, names: Mapping[Scope, str]) -> bool:
    if budget.scope in (Scope.DAY, Scope.MONTH):
        return True
    name = names.get(budget.scope)
    return name is not None and (budget.name is None or budget.name.casefold() == name.casefold())


def _for_this(budget: Budget, names: Mapping[Scope, str]) -> Budget:
    return replace(budget, name=names.get(budget.scope))


def _concerned(budget: Budget, estimate: Estimate) -> Budget:
    """The part of a budget that this task may use something of."""
    return replace(
        budget,
        usd=None if estimate.usd == 0 else budget.usd,
        tokens=None if estimate.tokens == 0 else budget.tokens,
    )


def _stops(budget: Budget, used: Amount, estimate: Estimate, unknown: UnknownPrice, *, streams: bool) -> str | None:
    """Why this budget forbids the start; None where it does not."""
    if budget.usd is not None and estimate.usd is None and unknown is UnknownPrice.REFUSE:
        return _unpriced(budget)
    over = is_spent(budget, used) or (not streams and _is_over(budget, used.plus(estimate.amount)))
    if not budget.hard or not over:
        return None
    return f"{_figures(budget, used)} of {budget.label}, and this task may need {_need(estimate)}"


def _is_over(budget: Budget, total: Amount) -> bool:
    return (budget.usd is not None and total.usd > budget.usd) or (
        budget.tokens is not None and total.tokens > budget.tokens
    )


def _warnings(
    pairs: Iterable[tuple[Budget, Amount]], estimate: Estimate, warn_share: float
) -> Iterable[tuple[str, str]]:
    for budget, used in pairs:
        total = used.plus(estimate.amount)
        if _share(budget, total) >= warn_share:
            yield budget.label, f"{_figures(budget, total)} of {budget.label} would be used"
        if budget.usd is not None and estimate.usd is None:
            yield budget.label, _unpriced(budget)


def _share(budget: Budget, total: Amount) -> float:
    shares = [0.0]
    if budget.usd is not None:
        shares.append(float(total.usd / budget.usd) if budget.usd else 1.0)
    if budget.tokens is not None:
        shares.append(total.tokens / budget.tokens if budget.tokens else 1.0)
    return max(shares)


def _figures(budget: Budget, amount: Amount) -> str:
    money = [] if budget.usd is None else [f"{dollars(amount.usd)} of {dollars(budget.usd)}"]
    tokens = [] if budget.tokens is None else [f"{amount.tokens:,} of {budget.tokens:,} tokens"]
    unknown = [f"and {amount.unpriced} of unknown price"] if amount.unpriced and money else []
    return " ".join([*money, *tokens, *unknown])


def _need(estimate: Estimate) -> str:
    money = "an unknown price" if estimate.usd is None else dollars(estimate.usd)
    return money if estimate.tokens is None else f"{money}, {estimate.tokens:,} tokens"


def _unpriced(budget: Budget) -> str:
    return (
        f"nobody knows what it costs, so {budget.label} cannot be kept: give the interface file its prices, "
        "or set unknown_price = allow"
    )
