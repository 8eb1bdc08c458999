"""What an attempt is charged where its client reports totals of a session, and what a task may still cost.

A client that goes on in a session reports all that the session has used. Each attempt is charged what the earlier ones of
that session were not, so that the ledger adds up to what the provider counted.
"""

from collections.abc import Sequence
from decimal import Decimal

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.outcome import Usage

_NOTHING = Decimal(0)


def charged_so_far(history: Sequence[Attempt], session: str | None) -> tuple[Usage, Decimal]:
    """Tokens and US dollars that the ended attempts of one client session were charged; nothing where there is no session."""
    of_session = [one.ended for one in history if one.ended and session and one.ended.client_session == session]
    usage = Usage()
    for one in of_session:
        usage = _sum(usage, one.usage)
    return usage, sum((one.cost.usd or _NOTHING for one in of_session), _NOTHING)


def newly_used(told: Usage, charged: Usage) -> Usage:
    """The totals a client told, less what was charged before; never below zero, and None stays None."""
    return Usage(
        input_tokens=_less(told.input_tokens, charged.input_tokens),
        cached_input_tokens=_less(told.cached_input_tokens, charged.cached_input_tokens),
        output_tokens=_less(told.output_tokens, charged.output_tokens),
        reasoning_tokens=_less(told.reasoning_tokens, charged.reasoning_tokens),
        requests=_less(told.requests, charged.requests),
        estimated=told.estimated,
    )


def left_of_budget(budget_usd: Decimal | None, history: Sequence[Attempt]) -> Decimal | None:
    """What a task may still cost in US dollars; None is no bound. Attempts of unknown cost count as nothing here."""
    if budget_usd is None:
        return None
    spent = sum((one.ended.cost.usd or _NOTHING for one in history if one.ended), _NOTHING)
    return max(_NOTHING, budget_usd - spent)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=_plus(one.input_tokens, other.input_tokens),
        cached_input_tokens=_plus(one.cached_input_tokens, other.cached_input_tokens),
        output_tokens=_plus(one.output_tokens, other.output_tokens),
        reasoning_tokens=_plus(one.reasoning_tokens, other.reasoning_tokens),
        requests=_plus(one.requests, other.requests),
    )


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


def _less(told: int | None, charged: int | None) -> int | None:
    return None if told is None else max(0, told - (charged or 0))
