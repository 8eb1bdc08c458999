"""`brain submit` inside a task."""

import pytest

from brain_daemon.store.tokens import Tokens
from brain_daemon.workspace.spawn import left_in, set_aside

ATTEMPT = "job.a1.0123abcd"


@pytest.fixture
def within(brain, tmp_path, monkeypatch):
    """This process runs for an attempt of the task `job`; its folder."""
    opened = brain.open()
    monkeypatch.setenv("BRAIN_TASK_ID", "job")
    monkeypatch.setenv("BRAIN_ATTEMPT_ID", ATTEMPT)
    monkeypatch.setenv("BRAIN_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("BRAIN_PROOF", Tokens(opened.layout, opened.files).of(ATTEMPT))
    opened.close()
    return tmp_path


def test_a_task_inside_a_task_is_left_for_its_daemon(cli, brain, within):
    """Nothing comes into pending/ past the parent; where no daemon runs, it is said that nobody has answered."""
    said = cli("submit", "Say this", "--id", "mine", "--priority", "high")
    assert (said.code, said.out) == (0, "")
    assert "nobody has answered yet" in said.complaint
    assert brain.names(brain.pending) == []
    (left,) = left_in(str(within), ATTEMPT, 1_000_000, ours=True)
    assert left.name == "/1.md"
    assert left.data is not None
    assert b"id: mine" in left.data
    assert b"priority: high" in left.data
    assert cli("submit", "Say that", "--json").json == {
        "task_id": None, "state": "spawned", "path": None, "daemon": False,
    }  # fmt: skip


def test_the_same_name_is_never_given_twice(cli, brain, within):
    """Also where a file before it has been taken up."""
    cli("submit", "One")
    opened = brain.open()
    (left,) = left_in(str(within), ATTEMPT, 1_000_000, ours=False)
    set_aside(opened.files, left.path, task_id="job-1", refused="")
    opened.close()
    cli("submit", "Two")
    assert [one.name for one in left_in(str(within), ATTEMPT, 1_000_000, ours=False)] == ["/2.md"]


def test_what_cannot_be_is_said_at_once(cli, within, monkeypatch):
    """Waiting inside, a text that is no task, and a forged token."""
    waiting = cli("submit", "Say this", "--wait")
    assert waiting.code == 2
    assert "wait_for_children: true" in waiting.complaint
    assert cli("submit", "---\npriority: urgent\n---\nSay").code == 2
    monkeypatch.setenv("BRAIN_PROOF", "0" * 64)
    forged = cli("submit", "Say this")
    assert forged.code == 1
    assert f"is not that of the attempt {ATTEMPT}" in forged.complaint
    assert not (within / "spawn").exists()
