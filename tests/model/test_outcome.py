"""What an attempt used and cost, as values."""

from decimal import Decimal

import pytest

from brain_daemon.model.outcome import FREE, UNKNOWN_COST, CostBasis, Usage


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        (Usage(), 0),
        (Usage(input_tokens=3), 3),
        (Usage(output_tokens=4), 4),
        (Usage(input_tokens=3, cached_input_tokens=2, output_tokens=4, reasoning_tokens=1), 7),
    ],
)
def test_all_tokens_are_input_and_output(usage, total):
    """Cached tokens are input already and reasoning is output: neither counts twice."""
    assert usage.total_tokens == total


def test_an_unknown_cost_is_no_zero():
    """Free is zero dollars, unknown is no figure at all."""
    assert FREE.usd == Decimal(0)
    assert UNKNOWN_COST.usd is None
    assert UNKNOWN_COST.basis is CostBasis.UNKNOWN
