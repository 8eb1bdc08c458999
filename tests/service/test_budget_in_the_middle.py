"""A task's own budget ends a program in the middle: with the real daemon, from the file to the ledger."""

import sys
from decimal import Decimal

from brain_daemon.model.outcome import Reason, Status

SCRIPT = """
import json, time
for number in range(1, 4):
    print(json.dumps({"said": f"part {number}. ", "usd": 0.02}), flush=True)
time.sleep(300)
"""
OUTPUT = (
    "type: llm\ncost: {tier: paid, model: nobody-knows}\noutput:\n  format: jsonl\n  text: out[-1].answer\n"
    "  so_far:\n    cost_usd: total(out[].usd)\n    text: join('', out[].said)\n"
)


async def test_what_was_produced_is_kept_and_what_was_told_is_charged(brain, monkeypatch, tmp_path):
    """Six cents are more than five: the task has failed for its budget, and is not tried again."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    program = brain.write("dear.py", SCRIPT)
    brain.program("dear", sys.executable, str(program), more=OUTPUT)
    async with brain.running(unknown_price="allow") as daemon:
        brain.drop("long.md", "---\nbudget_usd: 0.05\ninterface: dear\n---\n# Tell\n\nTell a long story.\n")
        await daemon.ended("long")
    (row,) = brain.rows()
    assert (row.status, row.reason, row.cost_usd) == (Status.FAILED, Reason.BUDGET_EXCEEDED, Decimal("0.06"))
    recorded = (brain.failed / "long.md").read_text()
    assert "ended in the middle: about $0.06 was spent, more than $0.05" in recorded
    assert "part 1. part 2. part 3." in recorded
