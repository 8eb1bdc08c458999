"""Figures and names are spelt one way wherever people read them."""

from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.outcome import CostBasis
from brain_daemon.record.wording import code, cost, dollars, duration, markdown, utc, yaml_text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.00 s"),
        (0, "0.00 s"),
        (0.004, "0.00 s"),
        (0.08, "0.08 s"),
        (0.0996, "0.1 s"),
        (12.4, "12.4 s"),
        (12, "12 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (1800.3, "30 min"),
        (3599.9, "1 h"),
        (7500, "2 h 5 min"),
        (86400, "1 d"),
        (273600, "3 d 4 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, words: str):
    """Enough to judge it, not more."""
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        ("0", "$0"),
        ("0.0045", "$0.0045"),
        ("0.001", "$0.001"),
        ("0.04", "$0.04"),
        ("0.0996", "$0.10"),
        ("0.00000012345", "$0.00000012"),
        ("1E-40", "$0." + "0" * 39 + "1"),
        ("0.125", "$0.13"),
        ("12.3", "$12.30"),
        ("1234567.891", "$1,234,567.89"),
    ],
)
def test_an_amount_never_looks_like_nothing_unless_it_is(usd: str, words: str):
    """Small costs keep two digits that count."""
    assert dollars(Decimal(usd)) == words


@pytest.mark.parametrize(
    ("usd", "basis", "words"),
    [
        (None, CostBasis.UNKNOWN, "cost unknown"),
        (Decimal(0), CostBasis.FREE, "free"),
        (Decimal(0), CostBasis.SUBSCRIPTION, "subscription"),
        (Decimal("0.2"), CostBasis.SUBSCRIPTION, "$0.20"),
        (Decimal(0), CostBasis.PRICED, "$0"),
    ],
)
def test_a_cost_says_why_it_is_nothing(usd: Decimal | None, basis: CostBasis, words: str):
    """Free, paid for already, and unknown are three things."""
    assert cost(usd, basis) == words


def test_an_instant_is_utc_to_the_second():
    """The form of the ledger."""
    assert utc(1795205704.9) == "2026-11-20T20:15:04Z"


@pytest.mark.parametrize("text", ["[a](b)", "![a](b)", r"\[a\](b)", "`x`", "<b>", "a|b", "\\", r"\`x\`"])
def test_text_in_markdown_is_only_text(text: str):
    """An odd number of backslashes stands before each sign that markdown would act on."""
    shown = markdown(text)
    for index, sign in enumerate(shown):
        if sign in "[]`<|":
            before = shown[:index]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1


@pytest.mark.parametrize(
    ("text", "shown"), [("a b", "`a b`"), ("a`b", "``a`b``"), ("`a``", "``` `a`` ```"), ("a\nb", "`a b`")]
)
def test_a_fence_is_longer_than_any_run_in_the_code(text: str, shown: str):
    """The code ends where we say."""
    assert code(text) == shown


@given(
    st.text().map(clean_line)
    | st.sampled_from(["null", "No", "y", "1", "1.5", "a: b", "a #b", "- a", "", "2026-11-20", "~", "%"])
)
def test_yaml_gives_the_text_back_as_text(text: str):
    """Whatever the reader makes of bare words, ours stay strings."""
    assert yaml.safe_load(f"key: {yaml_text(text)}\n") == {"key": text}
    assert yaml.safe_load(f"{yaml_text(text)}: 1\n") == {text: 1}
