"""What an attempt cost, from what it used and what its interface declares. Unknown is an answer; a silent zero is not."""

from decimal import Decimal

from brain_daemon.model.interface import CostSpec, Tier
from brain_daemon.model.outcome import FREE, UNKNOWN_COST, Cost, CostBasis, Usage

_MILLION = Decimal(1_000_000)
_CENT_OF_A_CENT = Decimal("0.000001")


def price(spec: CostSpec, usage: Usage, reported_usd: Decimal | None) -> Cost:
    """US dollars of one attempt.

    Free and subscription interfaces cost nothing more, whatever their client reports (a client on a subscription prints
    list prices). Elsewhere the client's own figure counts, then the prices of the interface file.
    """
    if spec.tier is Tier.FREE:
        return FREE
    if spec.tier is Tier.SUBSCRIPTION:
        return Cost(usd=Decimal(0), basis=CostBasis.SUBSCRIPTION)
    if reported_usd is not None:
        return Cost(usd=reported_usd, basis=CostBasis.REPORTED)
    return _from_prices(spec, usage)


def _from_prices(spec: CostSpec, usage: Usage) -> Cost:
    if spec.input_per_million is None or spec.output_per_million is None:
        return UNKNOWN_COST
    if usage.input_tokens is None or usage.output_tokens is None:
        return UNKNOWN_COST
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    cached_price = spec.input_per_million if spec.cached_input_per_million is None else spec.cached_input_per_million
    total = (
        (usage.input_tokens - cached) * spec.input_per_million
        + cached * cached_price
        + usage.output_tokens * spec.output_per_million
    ) / _MILLION
    return Cost(usd=total.quantize(_CENT_OF_A_CENT), basis=CostBasis.PRICED)
