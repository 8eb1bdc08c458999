"""`brain costs` and `brain usage`: sums that agree with the ledger, and costs nobody knows."""

from datetime import date
from decimal import Decimal

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.surfaces.commands.costs import first_day

PRICED = "type: llm\ncost: {tier: paid, input_per_million: 3, output_per_million: 15}\n"
UNPRICED = "type: llm\ncost: {tier: paid}\n"


@pytest.fixture
def worked(brain):
    """Free, priced, unpriced, failed and repeated attempts, two of them of one chain."""
    brain.echo()
    brain.program("priced", "cat", more=PRICED)
    brain.program("unpriced", "cat", more=UNPRICED)
    brain.program("broken", "false", more="good_at: {default: 0}\n")
    brain.drop("free.md")
    brain.drop("one.md", "---\ninterface: priced\nchain: nightly\ntype: code\n---\n# One\n\nsome words\n")
    brain.drop("two.md", "---\ninterface: unpriced\nchain: nightly\n---\n# Two\n\nsome words\n")
    brain.drop("twice.md", "---\npreferred_interface: broken\n---\n# Twice\n")
    brain.run_once()
    return brain


def test_the_total_is_that_of_the_ledger(worked, cli):
    """Every attempt once, failed and repeated ones too; the unknown cost is counted and not summed."""
    rows = worked.rows()
    total = cli("costs", "--json").json["total"]
    known = sum((row.cost_usd for row in rows if row.cost_usd is not None), Decimal(0))
    assert total["attempts"] == len(rows) == 5
    assert Decimal(total["cost_usd"]) == known > 0
    assert total["unknown_costs"] == sum(row.cost_usd is None for row in rows) == 1


@pytest.mark.parametrize("by", ["task", "interface", "chain", "type", "day", "session"])
def test_the_groups_add_up_to_the_total(worked, cli, by):
    """Whatever they are made by."""
    found = cli("costs", "--by", by, "--json").json
    assert sum(group["attempts"] for group in found["groups"]) == found["total"]["attempts"]
    known = sum((Decimal(group["cost_usd"] or 0) for group in found["groups"]), Decimal(0))
    assert known == Decimal(found["total"]["cost_usd"])


def test_a_cost_nobody_knows_is_never_nothing(worked, cli):
    """In the table, in the sentence below it, and in JSON."""
    said = cli("costs").out
    (line,) = (line for line in said.splitlines() if line.startswith("unpriced"))
    assert line.split()[-2:] == ["-", "1"]
    assert "The cost of 1 attempt is unknown" in said
    groups = {group["key"]: group for group in cli("costs", "--json").json["groups"]}
    assert groups["unpriced"]["cost_usd"] is None
    assert groups["echo"]["cost_usd"] == "0"


def test_a_chain_is_summed_alone(worked, cli):
    """Both of its attempts."""
    found = cli("costs", "--chain", "nightly", "--by", "task", "--json").json
    assert {group["key"] for group in found["groups"]} == {"one", "two"}
    assert found["total"]["attempts"] == 2


def test_a_first_day_leaves_earlier_ones_out(worked, cli):
    """Tomorrow nothing has been run."""
    assert cli("costs", "--since", "today", "--json").json["total"]["attempts"] == 5
    assert cli("costs", "--since", "2999-01-01").out == "Nothing has been run yet.\n"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-20", "2026-11-20"),
        ("today", "2026-11-21"),
        ("7d", "2026-11-14"),
        ("1w", "2026-11-14"),
        ("12h", "2026-11-21"),
    ],
)
def test_a_first_day_can_be_said_in_several_ways(text, day):
    """A day, a word, an age."""
    assert first_day(text, date(2026, 11, 21)) == day


@pytest.mark.parametrize("text", ["yesterday-ish", "2026-13-01", "20261120", "", "9999999d"])
def test_what_is_no_day_is_a_usage_error(text):
    """With what is allowed."""
    with pytest.raises(UserError, match="7d"):
        first_day(text, date(2026, 11, 21))


def test_an_index_that_differs_from_the_text_is_said(worked, cli):
    """The text is the record; `brain reindex` mends the index."""
    opened = worked.open()
    opened.journal.replace_caches([], [])
    opened.close()
    said = cli("costs")
    assert "brain reindex" in said.complaint
    assert cli("costs", "--json").json["warnings"] != []
    cli("reindex")
    assert cli("costs", "--json").json["warnings"] == []


def test_an_empty_brain_has_spent_nothing(brain, cli):
    """In words, and as zero."""
    assert cli("costs").out == "Nothing has been run yet.\n"
    assert cli("costs", "--json").json["total"]["cost_usd"] == "0"


# usage


def test_usage_counts_what_was_sent_today(worked, cli):
    """And what a limit leaves."""
    worked.program("limited", "cat", more="limits: {messages_per_day: 10}\n")
    worked.drop("three.md", "---\ninterface: limited\n---\n# Three\n")
    worked.run_once()
    found = {one["interface"]: one for one in cli("usage", "--json").json["interfaces"]}
    assert (found["limited"]["messages_today"], found["limited"]["limit_remaining"]) == (1, 9)
    assert found["priced"]["tokens_today"] > 0
    assert found["unpriced"]["cost_usd"] is None
    assert found["broken"]["last_error"] is not None
    assert found["claude_code"]["messages_today"] == 0
    said = cli("usage").out
    assert "9 of 10" in said
    assert "broken: its last error was" in said


def test_an_interface_that_is_gone_still_has_its_use(worked, cli):
    """What was spent was spent."""
    (worked.root / "tools/interfaces/priced.md").unlink()
    found = {one["interface"]: one for one in cli("usage", "--json").json["interfaces"]}
    assert found["priced"]["status"] == "not registered"
    assert found["priced"]["messages_today"] == 1
