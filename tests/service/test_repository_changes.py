"""Tasks that work in a person's repository: what they changed is on record, and goes to the next task."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path) -> Path:
    """A repository beside the brain, with one commit."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "f.txt").write_text("one\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def agent(brain, name: str, script: str, more: str = "") -> None:
    brain.program(name, "sh", "-c", script, more="good_at: {default: 0}\n" + more)


def test_a_child_gets_what_its_parent_changed_as_a_file_and_the_paths_in_its_prompt(brain, project):
    """Also what the parent committed; the child works elsewhere, with another interface, and sees both."""
    agent(brain, "writer", "echo two >> f.txt; git commit -qam second; echo n > new.txt; echo done")
    agent(brain, "reader", "cat; echo; cat context/a.files/changes.diff")
    brain.drop("a.md", f"---\ninterface: writer\nworkspace: {project}\nverify: test -e new.txt\n---\n# Change it\n")
    brain.drop("b.md", "---\ninterface: reader\nhandoff_from: [a]\n---\n# Look at it\n")
    assert brain.run_once(memory_tokens="0") == 0
    assert brain.recorded("a").values["files"] == ["a.files/changes.diff"]
    said = brain.recorded("b").text
    assert "- done by writer" in said
    assert "`M f.txt`, `? new.txt`" in said
    assert "- checks: `test -e new.txt` passed" in said
    assert "+two\n" in said
    assert "diff --git a/f.txt b/f.txt" in brain.git("show", "HEAD:brain/tasks/completed/a.files/changes.diff")
    assert not (project / "out").exists()


def test_a_second_attempt_counts_what_the_first_one_changed(brain, project):
    """Compared with the commit before the first one."""
    agent(brain, "writer", "echo more >> f.txt; git commit -qam more; echo done")
    verify = "test $(wc -l < f.txt) -gt 2"
    brain.drop("a.md", f"---\ninterface: writer\nattempts: 2\nverify: {verify}\nworkspace: {project}\n---\n# Change\n")
    assert brain.run_once() == 0
    kept = (brain.completed / "a.files" / "changes.diff").read_text()
    assert kept.count("+more\n") == 2


def test_what_a_task_changed_before_it_failed_is_on_record_too(brain, project):
    """Somebody has to look at it."""
    agent(brain, "writer", "echo half >> f.txt; exit 1")
    brain.drop("a.md", f"---\ninterface: writer\nattempts: 1\nworkspace: {project}\n---\n# Change it\n")
    assert brain.run_once() == 1
    assert "+half\n" in (brain.failed / "a.files" / "changes.diff").read_text()


def test_a_task_that_changed_nothing_or_works_where_no_git_is_keeps_no_file(brain, project, tmp_path):
    """Nor does one in the brain's own repository, where the daemon commits; another work tree of it is a repository like any other."""
    (tmp_path / "plain").mkdir()
    agent(brain, "writer", "pwd; test -e f.txt || echo x > x.txt")
    for name, place in (("a", project), ("b", tmp_path / "plain"), ("c", brain.root / "knowledge")):
        brain.drop(f"{name}.md", f"---\ninterface: writer\nworkspace: {place}\n---\n# Look\n")
    assert brain.run_once() == 0
    for name in "abc":
        values = brain.recorded(name).values
        assert "files" not in values
        assert "warnings" not in values
    brain.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    agent(brain, "other", "echo x >> README.md")
    brain.drop("d.md", f"---\ninterface: other\nworkspace: {tmp_path / 'side'}\n---\n# Change it\n")
    assert brain.run_once() == 0
    assert "on branch side" in (brain.completed / "d.files" / "changes.diff").read_text()


def test_a_repository_that_cannot_be_read_costs_the_task_nothing(brain, project):
    """It completes, and its record says what is missing."""
    agent(brain, "writer", "echo junk > .git/index; echo x > f.txt; echo done")
    brain.drop("a.md", f"---\ninterface: writer\nworkspace: {project}\n---\n# Break it\n")
    assert brain.run_once() == 0
    [said] = brain.recorded("a").values["warnings"]
    assert said.startswith(f"what it changed in {project} is not on record: ")


def test_a_repository_that_a_task_has_made_itself_is_said_to_be_unknown(brain, tmp_path):
    """Nobody saw how it stood before."""
    (tmp_path / "plain").mkdir()
    agent(brain, "writer", "git init -q; echo x > f.txt; echo done")
    brain.drop("a.md", f"---\ninterface: writer\nworkspace: {tmp_path / 'plain'}\n---\n# Begin it\n")
    assert brain.run_once() == 0
    [said] = brain.recorded("a").values["warnings"]
    assert said.endswith("is not on record: nobody could tell how it stood before")


def test_a_secret_that_was_written_into_a_repository_is_not_kept(brain, project, monkeypatch):
    """The diff goes into the brain's git, and to other vendors."""
    monkeypatch.setenv("OF_THIS_TEST_API_KEY", "zx8-very-secret-value-91")
    agent(brain, "writer", "echo key=zx8-very-secret-value-91 >> f.txt", more="env: [OF_THIS_TEST_API_KEY]\n")
    brain.drop("a.md", f"---\ninterface: writer\nworkspace: {project}\n---\n# Change it\n")
    assert brain.run_once() == 0
    kept = (brain.completed / "a.files" / "changes.diff").read_text()
    assert "+key=" in kept
    assert "zx8-very" not in brain.all_of_git()
