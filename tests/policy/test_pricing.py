"""What an attempt cost: free and subscription cost nothing more, the client's figure goes first, unknown is said."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import CostSpec, Tier
from brain_daemon.model.outcome import FREE, UNKNOWN_COST, Cost, CostBasis, Usage
from brain_daemon.policy.pricing import price, wants_list

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


SPENT = Usage(input_tokens=10, output_tokens=10)
UNPRICED = CostSpec(tier=Tier.PAID, model="m")


@pytest.mark.parametrize(
    ("spec", "usage", "reported", "wanted", "basis"),
    [
        (UNPRICED, SPENT, None, True, CostBasis.PRICED),
        (UNPRICED, SPENT, Decimal("0.5"), False, CostBasis.REPORTED),
        (PAID, SPENT, None, False, CostBasis.PRICED),
        (CostSpec(tier=Tier.FREE), SPENT, None, False, CostBasis.FREE),
        (CostSpec(tier=Tier.SUBSCRIPTION), SPENT, None, False, CostBasis.SUBSCRIPTION),
        (UNPRICED, Usage(input_tokens=10), None, False, CostBasis.PRICED),
    ],
)
def test_the_price_list_is_asked_last_and_only_if_it_can_help(spec, usage, reported, wanted, basis):
    """It counts where neither the client nor the file said a price; without token counts there is nothing to look up."""
    assert wants_list(spec, usage, reported) is wanted
    assert price(spec, usage, reported, Decimal("0.07")).basis is basis
    if wanted:
        assert price(spec, usage, reported, Decimal("0.0700001")).usd == Decimal("0.070000")
        assert price(spec, usage, reported, None) == UNKNOWN_COST


def test_nothing_used_costs_nothing_whatever_the_price():
    """A request that was refused is no unknown cost that a budget would have to fear."""
    nothing = Usage(input_tokens=0, output_tokens=0)
    assert price(UNPRICED, nothing, None) == Cost(usd=Decimal(0), basis=CostBasis.PRICED)
    assert not wants_list(UNPRICED, nothing, None)
