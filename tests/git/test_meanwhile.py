"""What a person does with git while the daemon runs, to what the daemon has committed and to what it works on."""

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from brain_daemon.record import gitcmd
from brain_daemon.store.journal import Journal
from tests.git.cells import die, in_child
from tests.git.facts import attempts_committed, facts_of, git, litter
from tests.git.states import STATES, Templates

REBASING = STATES["rebase, edit"]


@pytest.fixture
def echoing(brain):
    """A brain with an in-process tool, in git with a note of its person's."""
    brain.echo()
    brain.write("note.txt", "one\n")
    brain.git("add", "note.txt")
    brain.git("commit", "-q", "-m", "a note")
    return brain


def _attempts(brain) -> list[str]:
    """The tasks whose outcomes HEAD has, one name a commit, oldest first."""
    return [one.split(".")[0] for one in attempts_committed(brain.root)][::-1]


def _rows(brain) -> list[str]:
    return [row.task_id for row in brain.rows()]


async def _one(daemon, name: str) -> None:
    daemon.folder.drop(f"{name}.md")
    await daemon.ended(name)


def _sound(brain) -> None:
    assert git(brain.root, "fsck", "--strict", "--no-dangling") == ""
    assert not litter(brain.root)
    assert brain.dirty() == ""


async def test_a_reset_that_drops_our_commits_is_the_persons_word(echoing):
    """Nothing runs again and nothing comes back by itself; what ends afterwards is committed on the person's branch."""
    start = echoing.git("rev-parse", "HEAD").strip()
    async with echoing.running() as daemon:
        await _one(daemon, "first")
        echoing.git("reset", "-q", "--hard", start)
        await _one(daemon, "second")
        assert echoing.git("merge-base", "HEAD", start).strip() == start
        assert len(daemon.brain.journal.attempts_of("first")) == 1
    assert _attempts(echoing) == ["second"]
    assert echoing.where("second") == ["completed"]
    _sound(echoing)


async def test_a_look_at_an_old_commit_and_back(echoing):
    """Outcomes of that time are in the files at once and in git when the person has returned, which nothing of ours prevents."""
    async with echoing.running() as daemon:
        await _one(daemon, "first")
        echoing.git("checkout", "-q", "--detach", "HEAD~1")
        echoing.drop("second.md")
        await daemon.until(lambda: "detached" in (daemon.brain.journal.get("why_owed") or ""), "the word")
        await daemon.until(lambda: echoing.where("second") == ["completed"], "the result")
        echoing.git("checkout", "-q", "main")
        await daemon.ended("second")
    assert _attempts(echoing) == ["first", "second"]
    assert _rows(echoing) == ["first", "second"]
    _sound(echoing)


def test_a_brain_that_was_never_on_a_branch_has_its_pages(echoing):
    """A submodule as git makes it: HEAD is detached for good, and ledger and usage are written all the same."""
    echoing.git("checkout", "-q", "--detach")
    echoing.drop("job.md")
    echoing.run_once()
    assert _rows(echoing) == ["job"]
    echoing.git("checkout", "-q", "main")
    assert echoing.run_once() == 0
    assert _attempts(echoing) == ["job"]
    _sound(echoing)


async def test_a_revert_of_our_commit_runs_nothing_again(echoing):
    """The result is gone from the files as the person wished, the task does not come back to life, and work goes on."""
    echoing.write("brain/tasks/pending/old.md", "# Old\n\nSay it.\n")
    echoing.commit("a task in git")
    async with echoing.running() as daemon:
        await daemon.ended("old")
        echoing.git("revert", "--no-edit", "HEAD")
        await daemon.until(lambda: "old.md" in daemon.held(), "it to be held")
        await _one(daemon, "next")
        assert len(daemon.brain.journal.attempts_of("old")) == 1
    assert echoing.where("old") == ["pending"]
    assert _attempts(echoing) == ["old", "next"]
    assert git(echoing.root, "fsck", "--strict", "--no-dangling") == ""


async def test_clean_takes_nothing_that_cannot_be_had_back(echoing, tmp_path):
    """`git clean -fdx` removes an active task's file and the board: the task goes on, is recorded and committed, and says so."""
    go = tmp_path / "go"
    echoing.program("waiting", "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; echo done")
    async with echoing.running() as daemon:
        echoing.drop("job.md", "---\ninterface: waiting\n---\n# Job\n")
        await daemon.until(lambda: echoing.where("job") == ["active"], "the claim")
        await daemon.until(echoing.board.exists, "the board")
        echoing.git("clean", "-fdxq", "-e", "tools")
        assert echoing.where("job") == []
        go.touch()
        await daemon.ended("job")
    assert echoing.where("job") == ["completed"]
    assert "was deleted while the task ran" in (echoing.completed / "job.md").read_text()
    assert _attempts(echoing) == ["job"]
    _sound(echoing)


async def test_a_forced_push_over_what_we_committed(echoing, tmp_path):
    """A colleague rewrites our commit and forces it out; the person takes that over. We push nothing and commit on top, once each."""
    remote, theirs = tmp_path / "remote.git", tmp_path / "theirs"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    echoing.git("remote", "add", "origin", str(remote))
    async with echoing.running() as daemon:
        await _one(daemon, "first")
        echoing.git("push", "-q", "-u", "origin", "main")
        git(tmp_path, "clone", "-q", str(remote), str(theirs))
        (theirs / "theirs.txt").write_text("theirs\n")
        git(theirs, "add", "-A")
        git(theirs, "commit", "-q", "--amend", "--no-edit", "--date=2020-01-01T00:00:00Z")
        git(theirs, "push", "-q", "--force")
        echoing.git("fetch", "-q")
        echoing.git("reset", "-q", "--hard", "origin/main")
        pushed = git(remote, "rev-parse", "main")
        await _one(daemon, "second")
    assert git(remote, "rev-parse", "main") == pushed == echoing.git("rev-parse", "HEAD~1")
    assert _attempts(echoing) == ["first", "second"]
    _sound(echoing)


def test_a_rewritten_commit_of_ours_is_known_by_its_trailer(echoing):
    """Killed before the journal heard of the commit, which the person then amended: the next start makes no second one."""
    echoing.drop("job.md")

    def run() -> None:
        Journal.mark_committed = die
        echoing.run_once()

    in_child(run)
    echoing.git("commit", "-q", "--amend", "--no-edit", "--date=2020-01-01T00:00:00Z")
    assert echoing.run_once() == 0
    assert _attempts(echoing) == ["job"]
    _sound(echoing)


def test_after_a_kill_between_index_and_branch_a_person_may_help_themselves(echoing):
    """They remove the lock as git advises and commit what they have staged: our records ride along, and are committed no second time."""
    echoing.drop("job.md")

    def run() -> None:
        gitcmd.RefSwap.commit = die
        echoing.run_once()

    in_child(run)
    Path(echoing.root, ".git", "index.lock").unlink()
    echoing.write("note.txt", "two\n")
    echoing.git("add", "note.txt")
    echoing.git("commit", "-q", "-m", "mine")
    mine = echoing.git("rev-parse", "HEAD").strip()
    assert echoing.run_once() == 0
    assert echoing.git("merge-base", "HEAD", mine).strip() == mine
    assert echoing.git("show", f"{mine}:note.txt") == "two\n"
    assert _attempts(echoing) == ["job"]
    _sound(echoing)


@contextlib.contextmanager
def _open_editor(folder: Path, root: Path):
    """The person's `git commit`, whose editor waits to be told to go on."""
    here, go, script = folder / "here", folder / "go", folder / "editor.sh"
    script.write_text(f'#!/bin/sh\n: > {here}\nwhile [ ! -e {go} ]; do sleep 0.02; done\necho "by hand" > "$1"\n')
    script.chmod(0o755)
    environment = {**os.environ, "GIT_EDITOR": str(script)}
    with subprocess.Popen(["git", "commit"], cwd=root, env=environment, stdin=-3, stdout=-3, stderr=-3) as user:
        try:
            yield here, go, user
        finally:
            go.touch()


async def test_an_open_editor_holds_the_commit_and_not_the_work(echoing, tmp_path):
    """The task runs and is recorded while the person writes their message; their commit succeeds with their files only, then ours."""
    echoing.write("note.txt", "two\n")
    echoing.git("add", "note.txt")
    async with echoing.running() as daemon:
        with _open_editor(tmp_path, echoing.root) as (here, go, user):
            await daemon.until(here.exists, "the editor")
            echoing.drop("job.md")
            await daemon.until(lambda: "commit is open" in (daemon.brain.journal.get("why_owed") or ""), "the word")
            assert echoing.where("job") == ["completed"]
            go.touch()
            assert await asyncio.to_thread(user.wait) == 0
        await daemon.ended("job")
    said = echoing.git("log", "-2", "--format=%s", "--name-only").split("\n")
    assert said[0].startswith("completed job")
    assert said[-4:-1] == ["by hand", "", "note.txt"]
    _sound(echoing)


def test_a_task_in_git_does_not_keep_a_person_in_their_rebase(tmp_path):
    """`git rebase --continue` refuses over a file of HEAD that has left the work tree: the task waits until the rebase has ended."""
    desk = Templates(tmp_path).desk(REBASING)
    before = facts_of(desk.top)
    desk.brain.run_once()
    assert desk.brain.where("tracked") == ["pending"]
    assert not before.differences(facts_of(desk.top))
    REBASING.leave(desk)
    assert desk.brain.run_once() == 0
    assert desk.brain.where("tracked") == ["completed"]
