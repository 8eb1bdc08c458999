"""One chain, one total: `brain chain`, `brain costs`, the ledger and git's trailers."""

from dataclasses import replace
from decimal import Decimal

import pytest

from brain_daemon.model.cost_row import CostRow

PRICED = "type: llm\ncost: {tier: paid, input_per_million: 3, output_per_million: 15}\n"


def paid_chain(brain) -> None:
    brain.program("agent", "cat", more=PRICED)
    brain.drop("a.md", "# A\n\nsome words\n")
    brain.drop("b.md", "---\nhandoff_from: [a]\n---\n# B\n\nsome words\n")
    brain.drop("c.md", "---\nhandoff_from: [b]\n---\n# C\n\nsome words\n")
    brain.drop("alone.md", "# Alone\n\nsome words\n")
    assert brain.run_once() == 0


@pytest.fixture
def worked(made_once):
    """A -> B -> C with costs, and a task that belongs to nothing."""
    return made_once(paid_chain)


def test_the_sums_of_a_chain_have_its_root_in_them(worked, cli):
    """The root's own rows name no chain, since nobody knew of one then: the same total everywhere all the same."""
    total = Decimal(cli("chain", "a", "--json").json["total"]["cost_usd"])
    groups = {one["key"]: one for one in cli("costs", "--by", "chain", "--json").json["groups"]}
    assert Decimal(groups["a"]["cost_usd"]) == total > 0
    assert groups["a"]["attempts"] == 3
    assert groups[None]["attempts"] == 1
    only = cli("costs", "--chain", "a", "--by", "task", "--json").json
    assert Decimal(only["total"]["cost_usd"]) == total
    assert [one["key"] for one in only["groups"]] == ["a", "b", "c"]
    assert sum((one.cost_usd for one in worked.rows() if one.task_id != "alone"), Decimal(0)) == total
    trailers = worked.git("log", "--format=%(trailers:key=Task-Id,key=Cost-USD,valueonly,separator=%x09)").splitlines()
    told = dict(line.split("\t") for line in trailers if line)
    assert sum((Decimal(told[name]) for name in "abc"), Decimal(0)) == total
    assert cli("costs", "--by", "chain", "--csv").out.splitlines()[1].startswith("a,3,")


def test_a_root_whose_children_are_on_other_days_names_its_chain_still(worked, cli):
    """What --since leaves out is not forgotten by the names: here the children were yesterday, and the root was run again today."""
    ran = worked.open()
    rows = [CostRow.from_values(values) for values in ran.journal.outcomes()]
    ran.journal.replace_caches(
        list(ran.journal.ended_tasks()),
        [(replace(one, timestamp="2001-01-01T00:00:00Z") if one.task_id in "bc" else one).to_values() for one in rows],
    )
    ran.close()
    groups = cli("costs", "--by", "chain", "--since", "today", "--json").json["groups"]
    assert {one["key"]: one["attempts"] for one in groups} == {"a": 1, None: 1}
