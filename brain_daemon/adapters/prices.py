"""What tokens cost by the providers' price lists: the data inside the package genai-prices, never the network.

Cached input has its own price, and so have prompts past a provider's long-context mark; that mark counts for each request
and not for a run of many, so a run is priced as that many requests of the mean size. A model that no list knows has no
price here (None), and the cost then is `unknown`.

Not promised: a list is as old as the installed package. An interface file's own prices go before it.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Cost, Usage
from brain_daemon.policy.pricing import price, wants_list


def cost_of(spec: InterfaceSpec, usage: Usage, reported_usd: Decimal | None, *models: str | None) -> Cost:
    """What an attempt on `spec` cost; `models` are names of the model that ran, the surest first."""
    listed = None
    if wants_list(spec.cost, usage, reported_usd):
        base_url = spec.invoke.endpoint.base_url if spec.invoke.endpoint else None
        names = tuple(dict.fromkeys(name for name in (*models, spec.cost.model) if name))
        listed = listed_usd(usage, names, provider=spec.cost.provider, base_url=base_url)
    return price(spec.cost, usage, reported_usd, listed)


def listed_usd(
    usage: Usage, models: tuple[str, ...], *, provider: str | None = None, base_url: str | None = None
) -> Decimal | None:
    """US dollars for `usage` at the list price of the first of `models` that a list knows.

    A named provider's list alone counts; else that of the server at `base_url`, else the one of the model's own maker.
    Loads the lists at the first call: 0.2 s and 37 MB.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    requests = max(usage.requests or 1, 1)
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    mean = {
        "input_tokens": Decimal(usage.input_tokens) / requests,
        "cache_read_tokens": Decimal(cached) / requests,
        "output_tokens": Decimal(usage.output_tokens) / requests,
    }
    for model in models:
        for name, where in _places(model, provider, base_url):
            found = _asked(mean, name, where)
            if found is not None:
                return found * requests
    return None


def _places(model: str, provider: str | None, base_url: str | None) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Where to look, in order: resellers call a model `maker/model`, and Google calls its own `models/NAME`."""
    if provider is not None:
        yield model, {"provider_id": provider}
        return
    if base_url is not None:
        yield model, {"provider_api_url": base_url}
    yield model, {}
    maker, _, bare = model.rpartition("/")
    if maker:
        yield bare, {"provider_id": maker}
        yield bare, {}


def _asked(mean: Mapping[str, Decimal], model: str, where: Mapping[str, str]) -> Decimal | None:
    try:
        return _calculator()(mean, model, where)
    except LookupError:
        return None


@functools.cache
def _calculator() -> Callable[[Mapping[str, Decimal], str, Mapping[str, str]], Decimal]:
    from genai_prices import Usage as Tokens  # noqa: PLC0415 - 0.2 s and 37 MB, for those alone who need a list price
    from genai_prices import calc_price  # noqa: PLC0415 - as above

    def calculate(mean: Mapping[str, Decimal], model: str, where: Mapping[str, Any]) -> Decimal:
        return calc_price(Tokens(**mean), model, **where).total_price

    return calculate
