"""`brain costs` and `brain usage`: sums that agree with the ledger, and costs nobody knows."""

import csv
import io
from datetime import date
from decimal import Decimal

import pytest

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import UserError
from brain_daemon.model.outcome import CostBasis, Reason, Status
from brain_daemon.record.ledger import append
from brain_daemon.surfaces.commands.costs import first_day

PRICED = "type: llm\ncost: {tier: paid, input_per_million: 3, output_per_million: 15}\n"
UNPRICED = "type: llm\ncost: {tier: paid}\n"


def work(brain) -> None:
    brain.echo()
    brain.program("priced", "cat", more=PRICED)
    brain.program("unpriced", "cat", more=UNPRICED)
    brain.program("broken", "false", more="good_at: {default: 0}\n")
    brain.drop("free.md")
    brain.drop("one.md", "---\ninterface: priced\nchain: nightly\ntype: code\n---\n# One\n\nsome words\n")
    brain.drop("two.md", "---\ninterface: unpriced\nchain: nightly\n---\n# Two\n\nsome words\n")
    brain.drop("twice.md", "---\npreferred_interface: broken\n---\n# Twice\n")
    brain.run_once()


@pytest.fixture
def worked(made_once):
    """Free, priced, unpriced, failed and repeated attempts, two of them of one chain."""
    return made_once(work)


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


@pytest.mark.parametrize("by", ["task", "interface", "chain", "type", "day", "session"])
def test_the_columns_of_the_csv_add_up_to_the_total(worked, cli, by):
    """Exactly, by every key, the split by basis too; warnings go elsewhere."""
    lines = list(csv.DictReader(io.StringIO(cli("costs", "--by", by, "--csv").out)))
    total = cli("costs", "--json").json["total"]
    assert sum(int(line["attempts"]) for line in lines) == total["attempts"]
    assert sum(int(line["unknown_costs"]) for line in lines) == total["unknown_costs"]
    known = sum((Decimal(line["cost_usd"] or 0) for line in lines), Decimal(0))
    split = sum(
        (Decimal(line[f"{basis}_usd"]) for line in lines for basis in ("reported", "priced", "free", "subscription")),
        Decimal(0),
    )
    assert known == split == Decimal(total["cost_usd"])
    assert [line[by] for line in lines] == [
        group["key"] or "" for group in cli("costs", "--by", by, "--json").json["groups"]
    ]


def test_an_unknown_cost_is_an_empty_cell(worked, cli):
    """A spreadsheet must not add a zero."""
    (line,) = (one for one in cli("costs", "--csv").out.splitlines() if one.startswith("unpriced,"))
    assert line.split(",")[5] == ""
    assert line.endswith(",1")


def test_one_form_of_output_at_a_time(brain, cli):
    """CSV and JSON together are a usage error."""
    said = cli("costs", "--csv", "--json")
    assert said.code == 2
    assert "--csv and --json" in said.complaint


def test_a_cancelled_attempt_counts(brain, cli):
    """What it had used was used."""
    ledger = brain.root / "logs" / "costs"
    row = CostRow(
        timestamp="2026-11-20T20:15:04Z",
        task_id="t",
        attempt_id="t.a1.00000000",
        attempt=1,
        status=Status.FAILED,
        reason=Reason.CANCELLED,
        cost_usd=Decimal("0.25"),
        cost_basis=CostBasis.REPORTED,
    )
    ledger.mkdir(parents=True, exist_ok=True)
    (ledger / "2026-11-20.csv").write_bytes(append(b"", [row], "2026-11-20.csv"))
    cli("reindex")
    assert cli("costs", "--json").json["total"]["cost_usd"] == "0.25"


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
