"""Budgets in dollars and tokens: warned at 80 %, soft unless hard, an unknown price never zero."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.policy.budgets import (
    Allowed,
    Amount,
    Budget,
    Estimate,
    PriceUnknown,
    Scope,
    Stopped,
    UnknownPrice,
    applying,
    is_spent,
    may_spend,
    period,
)

NOW = datetime(2026, 11, 21, 11, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")
DAY = Budget(scope=Scope.DAY, usd=Decimal(10))
HARD = Budget(scope=Scope.DAY, usd=Decimal(10), tokens=1000, hard=True)


def dollars(usd: str | None, tokens: int | None = 0) -> Estimate:
    return Estimate(usd=None if usd is None else Decimal(usd), tokens=tokens)


def asked(budget: Budget, used: str, estimate: Estimate, *, tokens: int = 0, **more):
    return may_spend([(budget, Amount(usd=Decimal(used), tokens=tokens))], estimate, now=NOW, zone=UTC, **more)


def test_a_budget_warns_from_eighty_percent_on_and_goes_on_when_it_is_soft():
    """The warning says how much with this task; the threshold is a setting."""
    assert asked(DAY, "7.98", dollars("0.01")) == Allowed()
    warning = ("the day budget", "$8.00 of $10.00 of the day budget would be used")
    assert asked(DAY, "7.99", dollars("0.01")) == Allowed(warnings=(warning,))
    assert asked(DAY, "7.99", dollars("0.01"), warn_share=0.9) == Allowed()
    assert isinstance(asked(DAY, "99", dollars("5")), Allowed)


def test_a_hard_budget_stops_what_may_go_over_it_until_the_calendar_renews_it():
    """With figures and need; the day is that of the zone."""
    found = may_spend([(HARD, Amount(usd=Decimal("9.99"), tokens=10))], dollars("0.02", 50), now=NOW, zone=BERLIN)
    assert found == Stopped(
        label="the day budget",
        why="$9.99 of $10.00 10 of 1,000 tokens of the day budget, and this task may need $0.02, 50 tokens",
        until=datetime(2026, 11, 22, tzinfo=BERLIN).timestamp(),
    )
    assert isinstance(asked(HARD, "9.98", dollars("0.02")), Allowed)
    assert isinstance(asked(HARD, "0", dollars("0", 1), tokens=1000), Stopped)


def test_a_task_budget_has_no_calendar():
    """Only the person can raise it."""
    budget = Budget(scope=Scope.TASK, usd=Decimal(1), hard=True)
    found = asked(budget, "1", dollars("0.5", None))
    assert isinstance(found, Stopped)
    assert found.until is None


def test_a_run_that_can_be_stopped_in_the_middle_may_start_while_anything_is_left():
    """Whatever it may need."""
    assert isinstance(asked(HARD, "9.99", dollars("5"), streams=True), Allowed)
    assert isinstance(asked(HARD, "10", dollars("5"), streams=True), Stopped)


def test_what_costs_nothing_is_no_matter_of_a_dollar_budget():
    """A free interface goes on when the money is spent."""
    assert asked(HARD, "10", dollars("0", 0), tokens=2000) == Allowed()
    assert asked(DAY, "10", dollars("0")) == Allowed()


@pytest.mark.parametrize(
    ("unknown", "kind"),
    [(UnknownPrice.ASK, PriceUnknown), (UnknownPrice.ALLOW, Allowed), (UnknownPrice.REFUSE, Stopped)],
)
def test_an_unknown_price_is_treated_as_the_setting_says(unknown, kind):
    """Only under a dollar budget; allowed, it is warned about."""
    found = asked(DAY, "0", dollars(None, None), unknown=unknown)
    assert isinstance(found, kind)
    if isinstance(found, Allowed):
        assert "nobody knows what it costs" in dict(found.warnings)["the day budget"]
    tokens_only = Budget(scope=Scope.DAY, tokens=100)
    assert asked(tokens_only, "0", dollars(None, 1), unknown=unknown) == Allowed()


def test_under_a_spent_hard_budget_an_unknown_price_stops():
    """It may cost something."""
    found = asked(HARD, "10", dollars(None, None), unknown=UnknownPrice.ALLOW)
    assert isinstance(found, Stopped)
    assert "this task may need an unknown price" in found.why


def test_figures_say_how_much_is_of_unknown_price():
    """So that nobody takes the sum for the whole."""
    used = Amount(usd=Decimal(9), unpriced=2)
    found = may_spend([(DAY, used)], dollars("1"), now=NOW, zone=UTC)
    assert found.warnings[0][1] == "$10.00 of $10.00 and 2 of unknown price of the day budget would be used"


@pytest.mark.parametrize("budget", [Budget(scope=Scope.DAY, usd=Decimal(0)), Budget(scope=Scope.DAY, tokens=0)])
def test_a_budget_of_nothing_is_all_used(budget):
    """No division by it."""
    assert asked(budget, "0", dollars("1", 1)).warnings


def test_a_task_falls_under_the_budgets_of_its_names_and_of_every_day():
    """A budget without a name is for each; names are compared in any case."""
    each_chain = Budget(scope=Scope.CHAIN, usd=Decimal(1))
    code = Budget(scope=Scope.TYPE, name="Code", tokens=5)
    other = Budget(scope=Scope.INTERFACE, name="codex", usd=Decimal(1))
    task = Budget(scope=Scope.TASK, usd=Decimal(1), hard=True)
    names = {Scope.CHAIN: "nightly", Scope.TYPE: "code", Scope.INTERFACE: "claude"}
    found = applying([DAY, each_chain, code, other, task], names)
    assert [budget.label for budget in found] == [
        "the day budget",
        "the budget of chain nightly",
        "the budget of type code",
    ]


def test_a_budget_is_shown_in_one_line():
    """As it was set; what has no figure is left out."""
    assert str(Budget(scope=Scope.DAY, usd=Decimal(5), hard=True)) == "day $5 hard"
    assert str(Budget(scope=Scope.TYPE, name="code", tokens=20_000)) == "type code 20,000 tokens"


def test_a_budget_is_spent_when_nothing_is_left_of_dollars_or_tokens():
    """What has no figure is no bound."""
    assert is_spent(DAY, Amount(usd=Decimal(10)))
    assert is_spent(HARD, Amount(tokens=1000))
    assert not is_spent(DAY, Amount(usd=Decimal("9.99"), tokens=10**9))


def test_days_and_months_are_counted_in_the_zone():
    """The rows of other scopes count for ever."""
    day, month = period(Scope.DAY, NOW, BERLIN), period(Scope.MONTH, NOW, BERLIN)
    assert day.start == datetime(2026, 11, 21, tzinfo=BERLIN).timestamp()
    assert month.end == datetime(2026, 12, 1, tzinfo=BERLIN).timestamp()
    assert period(Scope.CHAIN, NOW, BERLIN) is None


@given(st.lists(st.tuples(st.decimals("0", "3", places=2), st.booleans()), max_size=40))
def test_a_hard_budget_is_never_passed_by_what_is_admitted(tasks):
    """Whether runs are stopped where the budget ends or not, as long as the others stay within their estimates."""
    used = Amount()
    for usd, streams in tasks:
        estimate = Estimate(usd=usd, tokens=0)
        if isinstance(may_spend([(HARD, used)], estimate, now=NOW, zone=UTC, streams=streams), Allowed):
            used = used.plus(Amount(usd=min(usd, 10 - used.usd) if streams else usd))
        assert used.usd <= 10
