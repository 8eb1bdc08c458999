"""A task that would wait for itself is refused before it is in the queue, and said of a file that is looked at."""

import contextlib

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.service import actions


def drop(brain, name: str, after: str, more: str = "") -> str:
    return str(brain.drop(f"{name}.md", f"---\ndepends_on: [{after}]\n{more}---\n# Task\n\nSay it.\n"))


def test_submit_refuses_a_task_that_waits_for_itself(cli, brain):
    """With the circle spelled out, and nothing is dropped."""
    said = cli("submit", "Say it.", "--after", "selfloop", "--id", "selfloop")
    assert said.code == 2
    assert "the task waits for itself (selfloop)" in said.complaint
    assert brain.names(brain.pending) == []


@pytest.mark.parametrize(("name", "more"), [("b", ""), ("another-name", "id: B\n")])
def test_submit_refuses_a_task_that_closes_a_circle(cli, brain, name, more):
    """Whether an awaited id is the name of its file or stands in it."""
    drop(brain, name, "a", more)
    drop(brain, "a", "end")
    brain.drop("broken.md", "---\npriority: soon\n---\n# x\n")
    said = cli("submit", "Say it.", "--after", "b,elsewhere", "--id", "end")
    assert said.code == 2
    spelled = "B" if more else "b"
    assert f"it can never start: end -> {spelled} -> a -> end. Take one `depends_on` out" in said.complaint
    assert not (brain.pending / "end.md").exists()
    assert cli("submit", "Say it.", "--after", "a", "--id", "beside").code == 0


def test_what_is_no_task_under_its_name_is_not_dropped(brain):
    """Whoever drops it."""
    with contextlib.closing(brain.open()) as opened, pytest.raises(UserError, match="priority is soon"):
        actions.submit(opened, "---\npriority: soon\n---\n# x\n", "x")


def test_lint_spells_out_the_circle_a_file_is_in(cli, brain):
    """Among the files that are looked at and those that are pending; a file that only waits for a circle is sound."""
    first, second, outside = drop(brain, "a", "b"), drop(brain, "b", "c"), drop(brain, "d", "a")
    elsewhere = str(brain.write("drafts/c.md", "---\ndepends_on: [A]\n---\n# Task\n\nSay it.\n"))
    assert cli("lint", first).code == 0
    said = cli("lint", elsewhere)
    assert said.code == 1
    assert "c.md: it waits for itself in a circle, so it can never start: c -> a -> b -> c" in said.out
    found = cli("lint", first, second, outside, elsewhere, "--json").json["files"]
    assert [one["ok"] for one in found] == [False, False, True, False]
    assert found[0]["error"] == {
        "line": None,
        "field": "depends_on",
        "message": "it waits for itself in a circle, so it can never start: a -> b -> c -> a",
        "found": "b",
        "allowed": "ids of tasks that do not wait for this one",
    }


def test_lint_of_files_needs_no_pending_folder(cli, brain):
    """What is not there holds no task."""
    path = str(brain.write("drafts/c.md", "---\ndepends_on: [a]\n---\n# Task\n\nSay it.\n"))
    brain.pending.rename(brain.root / "away")
    assert cli("lint", path).code == 0
