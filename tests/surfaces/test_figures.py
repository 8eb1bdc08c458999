"""Figures agree at any moment somebody looks: budgets, what an account has left, and what waits for less than a minute."""

import os
import shutil
import tomllib
from contextlib import closing
from decimal import Decimal

import pytest

from brain_daemon.model.outcome import FailureKind
from brain_daemon.policy.budgets import Budget, Scope, UnknownPrice
from brain_daemon.record import usage
from brain_daemon.service.brain import Brain
from brain_daemon.service.budget_standing import standing
from brain_daemon.service.snapshot import reading, take
from brain_daemon.service.spending import Spending
from tests.conftest import BrainFolder

PRICED = "type: llm\ncost: {tier: paid, input_per_million: 3000, output_per_million: 15000}\n"
BOUND = "---\ninterface: {}\ntype: code\nchain: Nightly\n---\n# Say\n\nSay it.\n"
BUDGETS = """
[[budgets]]
scope = "month"
usd = 0.5
[[budgets]]
scope = "day"
usd = 1000
[[budgets]]
scope = "chain"
usd = 0.01
[[budgets]]
scope = "type"
name = "code"
tokens = 10
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


def spend(brain) -> None:
    """About $1.60 in one task of a chain."""
    brain.program("paid1", "cat", more=PRICED)
    brain.write("brain.toml", BUDGETS)
    brain.drop("a.md", BOUND.format("paid1"))
    brain.run_once()


def test_a_budget_that_is_passed_is_shown_though_no_daemon_runs(brain, cli):
    """From the ledger: in status, in usage, and in both as figures; one that is far from its end is not said."""
    spend(brain)
    said, facts = cli("status").out, cli("status", "--json").json["budgets"]
    assert "the month budget is passed: $2." in said
    assert "of $0.50" in said
    assert "the budget of chain Nightly is passed" in said
    assert "the budget of type code is passed" in said
    assert "day budget" not in said
    assert [(one["scope"], one["name"]) for one in facts] == [("month", None), ("chain", "Nightly"), ("type", "code")]
    assert facts[0]["share"] > 2
    assert facts[0]["renewed_at"].endswith("-01T00:00:00Z")
    used = cli("usage")
    assert "the month budget is passed: $2." in used.out
    assert {one["scope"] for one in cli("usage", "--json").json["budgets"]} == {"month", "day", "chain", "type"}


async def test_the_board_has_a_budget_as_soon_as_an_end_has_passed_it(brain):
    """Not only at a look at the folders."""
    brain.program("paid1", "cat", more=PRICED)
    brain.write("brain.toml", BUDGETS)
    async with brain.running() as daemon:
        brain.drop("a.md", BOUND.format("paid1"))
        await daemon.until(lambda: brain.names(brain.completed), "the end")
        await daemon.until(lambda: "The month budget is passed" in brain.board.read_text(), "the board to say so")


@pytest.mark.parametrize("unknown", [False, True])
def test_what_is_spent_is_the_same_for_commands_and_for_admission(brain, unknown):
    """Two ways to count the same rows: by the index, and row by row; a row of unknown cost stands with its reservation in both."""
    spend(brain)
    if unknown:
        with closing(Brain.open(str(brain.root), dict(os.environ))) as opened:
            attempt_id = opened.journal.attempts_of("a")[0].attempt_id
            opened.journal._connection.execute(
                "update outcomes set cost_usd = null, cost_basis = 'unknown' where attempt_id = ?", (attempt_id,)
            )
    told = tomllib.loads(BUDGETS)["budgets"]
    budgets = [
        Budget(
            scope=Scope(one["scope"]),
            name=one.get("name"),
            usd=None if "usd" not in one else Decimal(str(one["usd"])),
            tokens=one.get("tokens"),
        )
        for one in [*told, {"scope": "interface", "usd": 1}]
    ]
    with closing(Brain.open(str(brain.root), dict(os.environ))) as opened:
        rows = Spending(opened.journal, budgets, UnknownPrice.ASK).standing()
        with reading(opened.layout) as journal:
            assert journal is not None
            assert list(standing(journal, budgets, take(opened.layout).at)) == list(rows)
        assert len(rows) == 5
        assert all(one.used.unpriced == int(unknown) for one in rows)
        assert all(one.used.usd > 1 for one in rows)


async def test_what_runs_counts_with_what_was_reserved_for_it(brain, cli):
    """Its type is read from the task itself."""
    brain.program("paid1", "sleep", "60", more=PRICED)
    brain.write("brain.toml", BUDGETS)
    async with brain.running() as daemon:
        brain.drop("a.md", BOUND.format("paid1"))
        await daemon.started("a")
        found = cli("status", "--json").json["budgets"]
    assert [(one["scope"], one["name"]) for one in found] == [("month", None), ("chain", "Nightly"), ("type", "code")]
    assert Decimal(found[0]["used_usd"]) > 1


def test_what_is_left_and_what_is_used_agree_after_a_run(brain, cli):
    """8 of 10 messages: at once, and also in what the daemon leaves in the journal for usage.md."""
    brain.echo("free1", more="limits: {messages_per_day: 10}\n")
    for number in range(8):
        brain.drop(f"t{number}.md", BOUND.format("free1"))
    brain.run_once()
    said = cli("usage").out
    assert "2 of 10" in said
    assert "free1: 80% of 10 messages per day used" in said
    with closing(Brain.open(str(brain.root), dict(os.environ))) as opened:
        found = usage.findings_from(opened.journal.get(usage.FINDINGS))["free1"]
    assert (found.messages_left, found.fullest.share, found.fullest.left) == (2, 0.8, 2)


def test_what_another_brain_has_used_of_an_account_is_gone_here_too(brain, cli, tmp_path):
    """One figure for the account, in LEFT and in the share."""
    shared = "account: plan\nlimits: {messages_per_day: 6}\n"
    other = BrainFolder(shutil.copytree(brain.root, tmp_path / "other", symlinks=True), brain.state_home)
    for one in (brain, other):
        one.echo("sub1", more=shared)
    for number in range(4):
        other.drop(f"t{number}.md", BOUND.format("sub1"))
    other.run_once()
    brain.drop("mine.md", BOUND.format("sub1"))
    brain.run_once()
    (facts,) = [one for one in cli("usage", "--json").json["interfaces"] if one["interface"] == "sub1"]
    assert facts["messages_today"] == 1
    assert facts["limit_remaining"] == 1
    assert facts["quotas"][0]["share"] == pytest.approx(5 / 6, abs=0.001)


def test_a_failure_is_named_once(brain, cli):
    """`quota: quota: …` says it twice."""
    brain.program("off", "sh", "-c", "echo 'error: 429 rate limit exceeded' >&2; exit 1", more="type: llm\n")
    brain.drop("a.md", BOUND.format("off"))
    brain.run_once()
    line = next(line for line in cli("usage").out.splitlines() if "its last error was" in line)
    for kind in FailureKind:
        assert f"{kind}: {kind}:" not in line
