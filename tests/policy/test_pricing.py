"""What an attempt cost: free and subscription cost nothing more, the client's figure goes first, unknown is said."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import CostSpec, Tier
from brain_daemon.model.outcome import FREE, UNKNOWN_COST, Cost, CostBasis, Usage
from brain_daemon.policy.pricing import price

PAID = CostSpec(tier=Tier.PAID, input_per_million=Decimal(3), output_per_million=Decimal(15))
CACHING = CostSpec(
    tier=Tier.FALLBACK,
    input_per_million=Decimal(3),
    output_per_million=Decimal(15),
    cached_input_per_million=Decimal("0.30"),
)


@pytest.mark.parametrize(
    ("spec", "usage", "reported", "cost"),
    [
        (CostSpec(tier=Tier.FREE), Usage(input_tokens=10), Decimal("0.5"), FREE),
        (
            CostSpec(tier=Tier.SUBSCRIPTION),
            Usage(input_tokens=10),
            Decimal("0.5"),
            Cost(usd=Decimal(0), basis=CostBasis.SUBSCRIPTION),
        ),
        (PAID, Usage(), Decimal("0.5"), Cost(usd=Decimal("0.5"), basis=CostBasis.REPORTED)),
        (PAID, Usage(), Decimal(0), Cost(usd=Decimal(0), basis=CostBasis.REPORTED)),
        (
            PAID,
            Usage(input_tokens=1_000_000, output_tokens=100_000),
            None,
            Cost(usd=Decimal("4.5"), basis=CostBasis.PRICED),
        ),
        (
            PAID,
            Usage(input_tokens=1000, cached_input_tokens=900, output_tokens=0),
            None,
            Cost(usd=Decimal("0.003"), basis=CostBasis.PRICED),
        ),
        (
            CACHING,
            Usage(input_tokens=1000, cached_input_tokens=900, output_tokens=0),
            None,
            Cost(usd=Decimal("0.00057"), basis=CostBasis.PRICED),
        ),
        (
            CACHING,
            Usage(input_tokens=1000, cached_input_tokens=5000, output_tokens=0),
            None,
            Cost(usd=Decimal("0.0003"), basis=CostBasis.PRICED),
        ),
        (PAID, Usage(input_tokens=10), None, UNKNOWN_COST),
        (PAID, Usage(output_tokens=10), None, UNKNOWN_COST),
        (CostSpec(tier=Tier.PAID), Usage(input_tokens=1, output_tokens=1), None, UNKNOWN_COST),
        (
            CostSpec(tier=Tier.PAID, input_per_million=Decimal(1)),
            Usage(input_tokens=1, output_tokens=1),
            None,
            UNKNOWN_COST,
        ),
    ],
)
def test_each_kind_of_interface_has_its_price(spec, usage, reported, cost):
    """The table of the rules."""
    assert price(spec, usage, reported) == cost


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_price_is_never_negative_and_never_above_the_full_one(tokens_in, cached, tokens_out):
    """Caching only makes it cheaper, whatever a client says was cached."""
    usage = Usage(input_tokens=tokens_in, cached_input_tokens=cached, output_tokens=tokens_out)
    full = price(PAID, usage, None).usd
    found = price(CACHING, usage, None).usd
    assert found is not None
    assert full is not None
    assert 0 <= found <= full
