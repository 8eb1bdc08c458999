"""`brain chain` as a person and as a program reads it."""

import json
from decimal import Decimal

from brain_daemon.policy.graph import graph_from


def test_brain_chain_prints_the_tree_as_text_json_and_mermaid(brain, cli):
    """The same facts three times."""
    brain.echo()
    brain.drop("a.md", "# A\n\nSay it.\n")
    brain.drop("b.md", "---\ndepends_on: [a]\n---\n# B\n\nSay it.\n")
    assert brain.run_once() == 0
    text = cli("chain", "a").out
    assert "└─ b" in text
    assert "total" in text
    facts = json.loads(cli("chain", "a", "--json").out)
    assert [(task["task_id"], task["children"]) for task in facts["tasks"]] == [("a", ["b"]), ("b", [])]
    assert Decimal(facts["total"]["cost_usd"]) == sum(Decimal(task["cost_usd"]) for task in facts["tasks"])
    assert "t0 --> t1" in cli("chain", "a", "--mermaid").out


def test_brain_graph_shows_levels_and_spells_out_a_circle(brain, cli):
    """What can run, what waits, and what can never start."""
    brain.drop("a.md", "# A\n\nSay it.\n")
    brain.drop("b.md", "---\ndepends_on: [a]\n---\n# B\n\nSay it.\n")
    said = cli("graph")
    assert said.code == 0
    assert [line.split()[:2] for line in said.out.splitlines()[1:]] == [["1", "a"], ["2", "b"]]
    brain.drop("x.md", "---\ndepends_on: [y]\n---\n# X\n\nSay it.\n")
    brain.drop("y.md", "---\ndepends_on: [x]\n---\n# Y\n\nSay it.\n")
    said = cli("graph")
    assert said.code == 1
    assert "a circle" in said.out
    assert len(graph_from(json.loads(cli("graph", "--json").out)).nodes) == 4
