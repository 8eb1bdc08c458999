"""Locks of git that somebody else holds: for a moment, for long, or for ever since their owner died."""

import threading
from pathlib import Path

import pytest

from brain_daemon.record import user_index
from brain_daemon.record.recorder import Recorder
from tests.git.facts import attempts_committed, facts_of, git, litter


@pytest.fixture
def echoing(brain):
    """A brain with an in-process tool, in whose repository a person has something staged."""
    brain.echo()
    brain.write("mine.txt", "mine\n")
    brain.git("add", "mine.txt")
    return brain


@pytest.fixture
def lock(echoing):
    return Path(echoing.root, ".git", "index.lock")


def _when_filed(monkeypatch, act) -> None:
    """Do something once, between the files and git."""
    real, done = Recorder.commit, threading.Event()

    def commit(recorder):
        if recorder._outbox.attempts and not done.is_set():
            done.set()
            act()
        return real(recorder)

    monkeypatch.setattr(Recorder, "commit", commit)


def _tasks_committed(brain) -> list[str]:
    return sorted(one.split(".")[0] for one in attempts_committed(brain.root))


def test_a_lock_held_for_a_moment_is_waited_for(echoing, lock, monkeypatch):
    """The commit is late by that moment, and never owed."""
    monkeypatch.setattr(user_index, "LOCK_PATIENCE_SECONDS", 30.0)
    owed = []
    monkeypatch.setattr(Recorder, "_owe", lambda recorder, why: owed.append(why))
    timer = threading.Timer(0.2, lock.unlink)
    _when_filed(monkeypatch, lambda: (lock.touch(), timer.start()))
    echoing.drop("job.md")
    assert echoing.run_once() == 0
    timer.join()
    assert set(owed) == {None}
    assert _tasks_committed(echoing) == ["job"]
    assert not litter(echoing.root)


async def test_a_lock_held_for_long_is_said_and_left_alone(echoing, lock, monkeypatch):
    """What has ended stands in the files; a task dropped meanwhile is not lost; once the lock is gone both are committed."""
    _when_filed(monkeypatch, lock.touch)
    before = facts_of(echoing.root)
    async with echoing.running() as daemon:
        echoing.drop("job.md")
        await daemon.until(lambda: "index.lock" in (daemon.brain.journal.get("why_owed") or ""), "the word")
        assert echoing.where("job") == ["completed"]
        echoing.drop("job-later.md")
        assert lock.exists()
        assert facts_of(echoing.root).tip == before.tip
        lock.unlink()
        await daemon.ended("job", "job-later")
    assert _tasks_committed(echoing) == ["job", "job-later"]
    assert not before.differences(facts_of(echoing.root))


def test_the_lock_of_a_dead_git_is_never_removed(echoing, lock, monkeypatch):
    """Not by its age and not by the next start: only a person can know. Then all is committed."""
    monkeypatch.setattr(user_index, "LOCK_PATIENCE_SECONDS", 0.05)
    _when_filed(monkeypatch, lock.touch)
    echoing.drop("job.md")
    echoing.run_once()
    for _ in range(2):
        echoing.run_once()
        assert lock.exists()
        assert not _tasks_committed(echoing)
    lock.unlink()
    assert echoing.run_once() == 0
    assert _tasks_committed(echoing) == ["job"]


def test_a_locked_branch_is_owed_and_the_index_as_it_was(echoing):
    """Git says which lock it was; with it gone, the commit follows."""
    place, before = Path(echoing.root, ".git", "refs", "heads", "main.lock"), facts_of(echoing.root)
    place.touch()
    echoing.drop("job.md")
    echoing.run_once()
    brain = echoing.open()
    said = brain.journal.get("why_owed") or ""
    brain.close()
    assert place.name in said
    assert facts_of(echoing.root).tip == before.tip
    assert place.exists()
    place.unlink()
    assert echoing.run_once() == 0
    assert not before.differences(facts_of(echoing.root))
    assert _tasks_committed(echoing) == ["job"]
    assert not litter(echoing.root)
    assert git(echoing.root, "fsck", "--strict", "--no-dangling") == ""
