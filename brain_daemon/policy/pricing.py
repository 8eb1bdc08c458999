"""What an attempt cost, from what it used and what its interface declares. Unknown is an answer; a silent zero is not."""

from decimal import Decimal

from brain_daemon.model.interface import CostSpec, Tier
from brain_daemon.model.outcome import FREE, UNKNOWN_COST, Cost, CostBasis, Usage

_MILLION = Decimal(1_000_000)
_CENT_OF_A_CENT = Decimal("0.000001")


def price(spec: CostSpec, usage: Usage, reported_usd: Decimal | None, listed_usd: Decimal | None = None) -> Cost:
    """US dollars of one attempt.

    Free and subscription interfaces cost nothing more, whatever their client reports (a client on a subscription prints
    list prices). Elsewhere the client's own figure counts, then the prices of the interface file, then `listed_usd`: what
    the provider's price list says for this usage, None where it was not looked up (`wants_list`) or does not know.
    """
    if spec.tier is Tier.FREE:
        return FREE
    if spec.tier is Tier.SUBSCRIPTION:
        return Cost(usd=Decimal(0), basis=CostBasis.SUBSCRIPTION)
    if reported_usd is not None:
        return Cost(usd=reported_usd, basis=CostBasis.REPORTED)
    found = _from_prices(spec, usage)
    usd = listed_usd if found is None else found
    return UNKNOWN_COST if usd is None else Cost(usd=usd.quantize(_CENT_OF_A_CENT), basis=CostBasis.PRICED)


def wants_list(spec: CostSpec, usage: Usage, reported_usd: Decimal | None) -> bool:
    """Whether only a price list could say what this cost; looking there takes time, so it is not done for nothing."""
    told = usage.input_tokens is not None and usage.output_tokens is not None
    return told and price(spec, usage, reported_usd).usd is None


def _from_prices(spec: CostSpec, usage: Usage) -> Decimal | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    if usage.total_tokens == 0:
        return Decimal(0)  # whatever the price
    if spec.input_per_million is None or spec.output_per_million is None:
        return None
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    cached_price = spec.input_per_million if spec.cached_input_per_million is None else spec.cached_input_per_million
    return (
        (usage.input_tokens - cached) * spec.input_per_million
        + cached * cached_price
        + usage.output_tokens * spec.output_per_million
    ) / _MILLION
