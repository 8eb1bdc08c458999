"""What the records of a chain say by themselves: the trailers of its commits, and the result blocks."""

import os
from decimal import Decimal

from brain_daemon.service.actions import retry

PRICED = "type: llm\ngood_at: {default: 0}\ncost: {tier: paid, input_per_million: 3, output_per_million: 15}\n"


def test_git_alone_adds_up_to_the_ledger_when_tasks_were_tried_again(brain):
    """A try that ended no task has no commit: the commit of the end says what it took, and a retry after that end does not say it again."""
    brain.program("agent", "cat", more=PRICED)
    verify = "test -e tried || { touch tried; exit 1; }"
    brain.drop("a.md", f"---\ninterface: agent\nattempts: 2\nverify: '{verify}'\n---\n# A\n\nsome words\n")
    brain.drop("b.md", "---\ninterface: agent\ndepends_on: [a]\nattempts: 1\nverify: exit 1\n---\n# B\n\nother words\n")
    assert brain.run_once() == 1
    opened = brain.open()
    retry(opened, "b")
    opened.close()
    assert brain.run_once() == 1
    keys = ("Task-Id", "Cost-USD", "Earlier-Attempts", "Earlier-Cost-USD", "Parent-Id", "Depth")
    said = brain.git(
        "log", "--reverse", "--format=" + "|".join(f"%(trailers:key={key},valueonly,separator=)" for key in keys)
    )
    told = [line.split("|") for line in said.splitlines() if not line.startswith("|")]
    assert [(one[0], one[2], one[4], one[5]) for one in told] == [
        ("a", "1", "", ""),
        ("b", "", "a", "1"),
        ("b", "", "a", "1"),
    ]
    rows = brain.rows()
    assert [(row.task_id, row.attempt) for row in rows] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert sum((Decimal(usd or 0) for one in told for usd in (one[1], one[3])), Decimal(0)) == sum(
        (row.cost_usd for row in rows), Decimal(0)
    )


def test_a_parent_that_waited_says_so_and_names_its_children(brain, tmp_path):
    """In its record; its first attempt has not failed."""
    brain.echo()
    script = tmp_path / "boss.sh"
    child = "---\\ninterface: echo\\n---\\n# A part\\n"
    script.write_text(
        f'#!/bin/sh\n[ -n "$BRAIN_CHILDREN_FILE" ] || {{ mkdir spawn; printf -- "{child}" > spawn/x.md; }}\necho ok\n'
    )
    script.chmod(0o755)
    brain.program("boss", os.fspath(script), more="good_at: {default: 0}\n")
    brain.drop("job.md", "---\ninterface: boss\nwait_for_children: true\n---\n# Fan out\n")
    assert brain.run_once() == 0
    values = brain.recorded("job").values
    assert values["children"] == ["job-x"]
    assert [one["ended"] for one in values["attempts"]] == ["waited"]
