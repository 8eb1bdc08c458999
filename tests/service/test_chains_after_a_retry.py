"""Which chain a task is shown in, after it was run again and under whatever name it is asked for."""

import os

from brain_daemon.service.actions import retry
from brain_daemon.service.chains import find_chain
from brain_daemon.service.reviving import revive


def chain_ids(brain, *names: str) -> list[str]:
    opened = brain.open()
    try:
        return [find_chain(opened, name).chain_id for name in names]
    finally:
        opened.close()


def links(brain, name: str) -> list[tuple[str, str, int, int]]:
    opened = brain.open()
    try:
        found = find_chain(opened, name)
    finally:
        opened.close()
    return [(one.task_id, one.state, one.depth, one.attempts) for one in found.links]


def test_a_task_that_was_revived_and_has_completed_is_shown_in_its_chain(brain, tmp_path):
    """It has two rows of its own then, which make it no chain; an end without a start is no attempt."""
    ready = tmp_path / "ready"
    brain.echo()
    brain.program("flaky", "sh", "-c", f"test -e {ready} && cat", more="good_at: {default: 0}\n")
    brain.drop("a.md", "---\ninterface: flaky\nattempts: 1\n---\n# A\n")
    brain.drop("b.md", "---\ndepends_on: [a]\n---\n# B\n")
    brain.drop("dd.md", "---\ndepends_on: [b]\n---\n# D\n")
    assert brain.run_once() == 1
    assert chain_ids(brain, "a", "b", "dd") == ["a", "a", "a"]
    assert links(brain, "dd") == [("a", "failed", 0, 1), ("b", "failed", 1, 0), ("dd", "failed", 2, 0)]
    ready.touch()
    opened = brain.open()
    retry(opened, "a")
    assert revive(opened, "a", retry) == ("b", "dd")
    opened.close()
    assert chain_ids(brain, "a", "b", "dd") == ["a", "a", "a"]
    assert brain.run_once() == 0
    assert chain_ids(brain, "a", "b", "dd") == ["a", "a", "a"]
    assert links(brain, "dd") == [("a", "completed", 0, 2), ("b", "completed", 1, 1), ("dd", "completed", 2, 1)]
    values = brain.recorded("dd").values
    assert (values["chain"], values["parent"], values["depth"]) == ("a", "b", 2)


def test_a_task_that_others_name_as_their_chain_is_one_beside_its_own(brain):
    """Asked for by that name, theirs is shown; each row stands in one chain."""
    brain.echo()
    brain.drop("a.md")
    brain.drop("b.md", "---\ndepends_on: [a]\n---\n# B\n")
    brain.drop("c.md", "---\nchain: b\n---\n# C\n")
    assert brain.run_once() == 0
    assert chain_ids(brain, "a", "b", "c") == ["a", "b", "b"]
    assert [name for name, *_ in links(brain, "b")] == ["c"]
    assert [name for name, *_ in links(brain, "a")] == ["a", "b"]


def test_a_task_that_waits_is_shown_in_the_chain_it_will_belong_to(brain):
    """Before it has ever run, by its own id and by its parent's; an id in another case is the same id."""
    brain.echo()
    brain.drop("a.md")
    brain.drop("b.md", "---\ndepends_on: [A]\nnot_before: 2099-01-01T00:00:00Z\n---\n# B\n")
    assert brain.run_once() == 0
    assert chain_ids(brain, "a", "A", "b") == ["a", "a", "a"]
    assert links(brain, "b") == [("a", "completed", 0, 1), ("b", "held", 1, 0)]


def test_a_parent_that_waits_for_its_children_is_neither_parked_nor_failed(brain, tmp_path):
    """In the tree, and among those that have not ended."""
    script = tmp_path / "boss.sh"
    child = "---\\nnot_before: 2099-01-01T00:00:00Z\\n---\\n# A part\\n"
    script.write_text(f'#!/bin/sh\nmkdir spawn\nprintf -- "{child}" > spawn/x.md\necho ok\n')
    script.chmod(0o755)
    brain.program("boss", os.fspath(script), more="good_at: {default: 0}\n")
    brain.drop("job.md", "---\ninterface: boss\nwait_for_children: true\n---\n# Fan out\n")
    brain.run_once()
    assert links(brain, "job") == [("job", "waiting", 0, 1), ("job-x", "held", 1, 0)]
    assert chain_ids(brain, "job-x") == ["job"]
