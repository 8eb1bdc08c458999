"""Chains with real commands: what the tree says is what the ledger and git say."""

import sys
from decimal import Decimal

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.service.chains import find_chain

PRICED = """type: llm
cost: {tier: paid, input_per_million: 3, output_per_million: 15}
"""
READ = """output:
  format: json
  text: out.text
  usage: {input_tokens: out.in, output_tokens: out.out}
"""
SAY = (
    """import json, sys; n = len(sys.stdin.read()); print(json.dumps({"text": "ok", "in": 1000 + n, "out": 100 + n}))"""
)


@pytest.fixture
def paid(brain):
    """A brain with a program that costs money."""
    brain.program("agent", sys.executable, "-SEc", SAY, more=PRICED + READ)
    return brain


def drop(brain, task_id: str, *after: str, more: str = "") -> None:
    depends = f"depends_on: [{', '.join(after)}]\n" if after else ""
    brain.drop(f"{task_id}.md", f"---\n{depends}{more}---\n# Task {task_id}\n\n{'x' * len(task_id) * 7}\n")


def test_a_chain_of_three_adds_up_to_its_ledger_and_its_commits(paid):
    """A -> B -> C: nobody named a chain, so it is called after its root."""
    drop(paid, "a")
    drop(paid, "b", "a")
    drop(paid, "c", "b")
    assert paid.run_once() == 0
    brain = paid.open()
    chain = find_chain(brain, "c")
    brain.close()
    assert chain.chain_id == "a"
    assert [(link.task_id, link.depth, link.state) for link in chain.links] == [
        ("a", 0, "completed"),
        ("b", 1, "completed"),
        ("c", 2, "completed"),
    ]
    assert chain.totals.known_usd == sum((row.cost_usd or Decimal(0) for row in paid.rows()), Decimal(0)) > 0
    said = paid.git(
        "log", "--format=%(trailers:key=Task-Id,valueonly,separator=%x2C)|%(trailers:key=Chain-Id,valueonly)"
    )
    trailers = dict(line.split("|") for line in said.splitlines() if "|" in line and not line.startswith("|"))
    assert trailers == {"a": "-", "b": "a", "c": "a"}
    values = paid.recorded("c").values
    assert (values["chain"], values["parent"], values["depth"]) == ("a", "b", 2)


def test_a_fan_out_and_its_join_are_one_chain(paid):
    """A -> [B, C] -> D, with D below the first of those it waits for; each is paid once."""
    drop(paid, "a")
    drop(paid, "b", "a")
    drop(paid, "c", "a")
    drop(paid, "d", "b", "c")
    assert paid.run_once() == 0
    brain = paid.open()
    chain = find_chain(brain, "a")
    brain.close()
    assert {link.task_id: link.parent for link in chain.links} == {"a": None, "b": "a", "c": "a", "d": "b"}
    assert [link.task_id for link in chain.links].index("d") == [link.task_id for link in chain.links].index("b") + 1
    assert chain.totals.rows == 4


def test_a_named_chain_holds_what_failed_and_what_waits(paid):
    """Failed attempts count, pending and held tasks are in the tree before they ran."""
    paid.echo("broken", "fail: permanent")
    drop(paid, "a", more="chain: nightly\ninterface: broken\nattempts: 1\n")
    drop(paid, "later", more="chain: nightly\nnot_before: 2099-01-01T00:00:00Z\n")
    assert paid.run_once() == 1
    brain = paid.open()
    chain = find_chain(brain, "nightly")
    assert [(link.task_id, link.state) for link in chain.links] == [("a", "failed"), ("later", "held")]
    assert chain.links[0].attempts == 1
    with pytest.raises(UserError, match="no chain 'nobody'"):
        find_chain(brain, "nobody")
    brain.close()
