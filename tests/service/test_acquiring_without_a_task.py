"""`brain acquire` for nobody's task: the budgets of the day, the month and the interface hold for it too."""

import asyncio
import time
from contextlib import closing
from decimal import Decimal

import pytest

from brain_daemon.policy.budgets import UnknownPrice
from brain_daemon.record.questions import question_from
from brain_daemon.service import answering
from brain_daemon.service.acquiring import Granted, OverBudget, Wait, Wanted, acquire
from brain_daemon.service.rate_limiter import RateLimiter
from brain_daemon.service.spending import Spending

API = """---
name: api
type: llm
cost: {cost}
invoke: {{command: [cat]}}
---
# Api
"""
PAID = "{tier: paid, input_per_million: 5, output_per_million: 25}"
UNKNOWN = "{tier: paid, model: nobody-knows-it}"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts and rates of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


@pytest.fixture
def under(brain):
    """`under("scope = 'day', usd = 1", PAID)` opens the brain with that one budget, and `api` at that price."""
    opened = []

    def one(budget: str, cost: str = PAID, **settings: str):
        lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
        brain.write("brain.toml", f"{lines}budgets = [{{{budget}}}]\n")
        brain.write("tools/interfaces/api.md", API.format(cost=cost))
        opened.append(closing(brain.open()))
        return opened[-1].__enter__()

    yield one
    for each in opened:
        each.__exit__(None, None, None)


def ask(here, tokens=300_000, **more):
    found, _ = asyncio.run(acquire(here, Wanted(interface="api", tokens=tokens, **more), {}))
    return found


@pytest.mark.parametrize(
    ("budget", "renewed"),
    [
        ("scope = 'day', usd = 0.01, hard = true", True),
        ("scope = 'month', usd = 0.01, hard = true", True),
        ("scope = 'interface', usd = 0.01, hard = true", False),
        ("scope = 'interface', name = 'API', usd = 0.01, hard = true", False),
        ("scope = 'day', tokens = 1000, hard = true", True),
    ],
)
def test_a_hard_budget_stops_it(under, budget, renewed):
    """With the reason, and until when; nothing is taken, and what is small enough is granted."""
    here = under(budget)
    found = ask(here)
    assert isinstance(found, OverBudget)
    assert "may need $1.5" in found.why
    assert (found.until is not None and found.until > time.time()) is renewed
    assert ask(here, 100) == Granted()
    with closing(RateLimiter(here)) as limiter:
        assert [one.ask.tokens for one in limiter.unattended()] == [100]


@pytest.mark.parametrize(
    ("budget", "cost"),
    [
        ("scope = 'day', usd = 0.01", PAID),
        ("scope = 'interface', name = 'other', usd = 0.01, hard = true", PAID),
        ("scope = 'task', usd = 0.01, hard = true", PAID),
        ("scope = 'chain', usd = 0.01, hard = true", PAID),
        ("scope = 'type', usd = 0.01, hard = true", PAID),
        ("scope = 'day', usd = 0.01, hard = true", "{tier: subscription}"),
    ],
)
def test_budgets_that_are_soft_or_for_something_else_do_not(under, budget, cost):
    """It has no task, no chain and no type; and what costs nothing more is no matter of dollars."""
    assert ask(under(budget, cost)) == Granted()


def test_what_was_granted_counts_from_then_on(under):
    """Of a dollar and a half each, two fit into four dollars; and the daemon counts them too."""
    here = under("scope = 'day', usd = 4, hard = true")
    assert [type(ask(here)) for _ in range(3)] == [Granted, Granted, OverBudget]
    with closing(RateLimiter(here)) as limiter:
        spending = Spending(here.journal, here.config.budgets, UnknownPrice.ASK, unattended=limiter.unattended)
        (item,) = spending.standing()
        assert (item.used.usd, item.used.tokens) == (3, 600_000)


def test_an_unknown_price_is_treated_as_the_setting_says(under):
    """Refused, allowed, or asked about: then the answer says."""
    hard = "scope = 'day', usd = 1, hard = true"
    refused = ask(under(hard, UNKNOWN, unknown_price="refuse"))
    assert isinstance(refused, OverBudget)
    assert "nobody knows what it costs" in refused.why
    assert ask(under(hard, UNKNOWN, unknown_price="allow")) == Granted()
    here = under(hard, UNKNOWN)
    assert isinstance(ask(here), Wait)
    (question,) = [question_from(document) for document, _ in here.journal.questions().values()]
    answering.answer(here, question, "allow", "command")
    assert ask(here) == Granted()


def test_what_was_granted_without_a_task_is_kept_for_budgets(under):
    """Longer than what was granted for one, since no row of a ledger takes its place."""
    here = under("scope = 'day', usd = 10, hard = true")
    assert ask(here) == Granted()
    later = time.time() + 40 * 86_400.0
    with closing(RateLimiter(here, wall_clock=lambda: later)) as limiter:
        limiter.keep_house()
        limiter.book.prune()
        assert [one.usd for one in limiter.unattended()] == [Decimal("1.5")]
