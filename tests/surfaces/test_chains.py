"""`brain chain` as a person and as a program reads it."""

import json
import sys
from decimal import Decimal

import pytest

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


AGENT = """
import json, os, re, sys
said = sys.stdin.read()
seen = sorted(set(re.findall(r"made-[a-z]", said)))
name = os.environ["BRAIN_TASK_ID"]
text = f"made-{name} of {' '.join(seen)}."
print(json.dumps({"text": text, "in": 1000 + len(said), "out": 100 + len(text), "usd": f"0.{ord(name):04}7"}))
"""
READ = (
    "output:\n  format: json\n  text: out.text\n  cost_usd: out.usd\n"
    "  usage: {input_tokens: out.in, output_tokens: out.out}\n"
)
TRAILERS = ("Task-Id", "Attempt-Id", "Chain-Id", "Status", "Tokens-In", "Tokens-Out", "Cost-USD")
SHAPES = {
    "one after the other": {"a": "", "b": "a", "c": "b"},
    "fanned out and joined": {"a": "", "b": "a", "c": "a", "d": "b c"},
}
TREES = {
    "one after the other": {"a": ["b"], "b": ["c"], "c": []},
    "fanned out and joined": {"a": ["b", "c"], "b": ["d"], "c": [], "d": []},
}


def commits(brain) -> list[dict[str, str]]:
    """The trailers of each commit that recorded an attempt."""
    wanted = "%x09".join(f"%(trailers:key={name},valueonly,separator=%x2C)" for name in TRAILERS)
    rows = (line.split("\t") for line in brain.git("log", f"--format={wanted}").splitlines())
    return [dict(zip(TRAILERS, row, strict=True)) for row in rows if row[0]]


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_flow_down_a_chain_and_ledger_trailers_and_tree_agree_to_the_cent(brain, cli, shape):
    """With real commands, one of them run twice: each attempt is counted once, and the three records tell one story."""
    program = brain.write("agent.py", AGENT)
    brain.program("agent", sys.executable, str(program), more="type: llm\ncost: {tier: paid}\n" + READ)
    for name, before in SHAPES[shape].items():
        handed = f"handoff_from: [{', '.join(before.split())}]\n" if before else ""
        again = "attempts: 2\nverify: test -e ok || ! touch ok\n" if name == "b" else ""
        brain.drop(f"{name}.md", f"---\ninterface: agent\n{handed}{again}---\n# Task {name}\n\nGo on.\n")
    assert brain.run_once(memory_tokens="0") == 0

    made = {name: brain.recorded(name).text.strip() for name in SHAPES[shape]}
    assert made == {
        name: f"made-{name} of {' '.join(sorted({f'made-{one}' for one in ancestors(SHAPES[shape], name)}))}."
        for name in SHAPES[shape]
    }

    tree = json.loads(cli("chain", "a", "--json").out)
    rows = {row.attempt_id: row for row in brain.rows()}
    told = {one["Attempt-Id"]: one for one in commits(brain)}
    assert {task["task_id"]: sorted(task["children"]) for task in tree["tasks"]} == TREES[shape]
    assert {task["task_id"]: task["attempts"] for task in tree["tasks"]} == {n: 1 + (n == "b") for n in SHAPES[shape]}
    for task in tree["tasks"]:
        own = [row for row in rows.values() if row.task_id == task["task_id"]]
        assert sum((row.cost_usd for row in own), Decimal(0)) == Decimal(task["cost_usd"])
        assert [sum(row.input_tokens for row in own), sum(row.output_tokens for row in own)] == [
            task["input_tokens"],
            task["output_tokens"],
        ]
    assert Decimal(tree["total"]["cost_usd"]) == sum((row.cost_usd for row in rows.values()), Decimal(0)) > 0
    # A commit is the end of a task; what an earlier try of it cost stands in the ledger that the commit brings.
    assert [(row.task_id, row.attempt) for name, row in rows.items() if name not in told] == [("b", 1)]
    for name, one in told.items():
        row = rows[name]
        assert Decimal(one["Cost-USD"]) == row.cost_usd
        assert (int(one["Tokens-In"]), int(one["Tokens-Out"])) == (row.input_tokens, row.output_tokens)
        assert (one["Task-Id"], one["Chain-Id"], one["Status"]) == (row.task_id, row.chain_id or "-", "completed")
    assert {one["Task-Id"]: one["Chain-Id"] for one in told.values()} == {
        n: "-" if n == "a" else "a" for n in SHAPES[shape]
    }


def ancestors(shape: dict[str, str], name: str) -> list[str]:
    """The tasks whose output stands in what this one was handed: those before it, and what those name."""
    before = shape[name].split()
    return [*before, *(one for earlier in before for one in ancestors(shape, earlier))]
