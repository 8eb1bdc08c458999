"""The picture of pending/: what is settled, what is new, what stays out. Real files, hints by hand."""

import contextlib
import os
import time

import pytest

from brain_daemon.model.redaction import Redactor
from brain_daemon.service import intake as module
from brain_daemon.service.intake import Intake
from brain_daemon.store.journal import TaskRecord


@pytest.fixture
def opened(brain):
    with contextlib.closing(brain.open()) as made:
        yield made


@pytest.fixture
def intake(opened):
    return Intake(opened, Redactor())


@pytest.fixture
def slow(brain):
    """An intake for which a file is settled after a tenth of a second."""
    with contextlib.closing(brain.open(settle="100ms")) as made:
        yield Intake(made, Redactor())


def settled(intake: Intake, name: str) -> None:
    """Wait until a file has settled."""
    end = time.monotonic() + 60
    while name not in list(intake.settle()):
        assert time.monotonic() < end
        time.sleep(max(0.0, intake.next_due - time.monotonic()))


def test_a_complete_file_is_taken_at_once(brain, intake):
    """A second hint about the same bytes is no news."""
    brain.drop("a.md")
    assert intake.complete("a.md") == "a.md"
    assert intake.complete("a.md") is None
    assert intake.tasks["a.md"].id == "a"
    assert intake.statuses()["a"] == "pending"
    assert intake.complete("no-task.txt") is None
    assert intake.complete("gone.md") is None


def test_a_scan_finds_what_no_hint_told(brain, intake):
    """New, changed and gone; the second look finds nothing."""
    for name in ("a.md", "b.md"):
        brain.drop(name)
    assert sorted(intake.scan()) == ["a.md", "b.md"]
    assert list(intake.scan()) == []
    brain.drop("a.md", "# changed\n\nnow\n")
    (brain.pending / "b.md").unlink()
    assert sorted(intake.scan()) == ["a.md", "b.md"]
    assert list(intake.tasks) == ["a.md"]
    assert "now" in intake.tasks["a.md"].task.text


def test_a_scan_may_be_bounded(brain, intake):
    """The next one goes on where it stopped."""
    for number in range(5):
        brain.drop(f"{number}.md")
    assert [len(list(intake.scan(2))) for _ in range(4)] == [2, 2, 1, 0]


def test_a_file_being_written_is_read_after_a_quiet_time(brain, slow):
    """Each change of it begins the quiet time anew."""
    path = brain.drop("a.md", "# half\n")
    slow.changing("a.md")
    assert list(slow.scan()) == []
    slow.changing("ignored.txt")
    time.sleep(max(0.0, slow.next_due - time.monotonic()))
    assert list(slow.settle()) == []
    path.write_text("# half\n\nthe other half\n")
    time.sleep(max(0.0, slow.next_due - time.monotonic()))
    assert list(slow.settle()) == []
    settled(slow, "a.md")
    assert "the other half" in slow.tasks["a.md"].task.text


def test_a_fresh_file_found_by_a_scan_is_put_off(brain, slow):
    """Nobody said that it is whole; an old one is."""
    brain.drop("fresh.md")
    old = brain.drop("old.md")
    os.utime(old, (time.time() - 60,) * 2)
    assert list(slow.scan()) == ["old.md"]
    settled(slow, "fresh.md")


def test_a_known_file_that_is_saved_again_leaves_the_picture_until_it_is_quiet(brain, slow):
    """It may be under somebody's hands."""
    path = brain.drop("a.md")
    assert slow.complete("a.md") == "a.md"
    path.write_text("# other\n\ntext\n")
    assert slow.complete("a.md") == "a.md"
    assert "a.md" not in slow.tasks
    settled(slow, "a.md")
    assert "text" in slow.tasks["a.md"].task.text


def test_what_is_gone_is_forgotten(brain, intake):
    """Its id is free again."""
    path = brain.drop("a.md")
    intake.complete("a.md")
    path.unlink()
    assert intake.gone("a.md") == "a.md"
    assert intake.gone("a.md") is None
    assert "a" not in intake.holders


def test_names_that_give_one_id_are_numbered(brain, intake):
    """Two tasks, two ids."""
    brain.drop("My task.md")
    brain.drop("My-task.md")
    assert list(intake.scan()) == ["My task.md", "My-task.md"]
    assert {pending.id for pending in intake.tasks.values()} == {"My-task", "My-task-2"}


def test_ids_that_differ_by_case_are_one(brain, intake):
    """A written id waits for the other one to go."""
    brain.drop("a.md", "---\nid: Job\n---\n# x\n\ny\n")
    brain.drop("b.md", "---\nid: job\n---\n# x\n\ny\n")
    assert set(intake.scan()) == {"a.md", "b.md"}
    assert list(intake.tasks) == ["a.md"]
    assert intake.blocked == {"b.md"}
    (brain.pending / "a.md").unlink()
    assert "b.md" in set(intake.scan()) | set(intake.scan())
    assert list(intake.tasks) == ["b.md"]


def test_while_git_is_at_work_it_is_looked_again_shortly(brain, intake, opened):
    """Whether git brought a file is decided when no command holds the index."""
    brain.drop("a.md")
    lock = brain.write(".git/index.lock", "")
    assert intake.complete("a.md") is None
    assert intake.tasks == {}
    lock.unlink()
    settled(intake, "a.md")
    assert not intake.tasks["a.md"].in_head


def test_what_git_has_is_marked(brain, intake):
    """The same bytes in HEAD; other bytes are the person's."""
    brain.drop("a.md")
    brain.drop("b.md")
    brain.commit()
    brain.drop("b.md", "# mine\n\nnow\n")
    assert set(intake.scan()) == {"a.md", "b.md"}
    assert {name: pending.in_head for name, pending in intake.tasks.items()} == {"a.md": True, "b.md": False}


def test_others_changes_are_learned_when_told(brain, intake, opened):
    """What ended, what was retried, what was released, and whatever was declined for it."""
    opened.journal.remember_ended([TaskRecord(task_id="a", status="completed", path="x", finished_at=time.time() + 60)])
    intake.look_again()
    brain.drop("a.md")
    assert intake.complete("a.md") == "a.md"
    assert "older than the completed task" in intake.declined["a.md"][1]
    assert list(intake.scan()) == []
    opened.journal.forget_ended("a")
    intake.look_again()
    assert list(intake.scan()) == ["a.md"]
    assert intake.tasks["a.md"].id == "a"


def test_statuses_are_one_view_of_all(brain, intake):
    """active before pending before ended."""
    brain.drop("a.md")
    intake.complete("a.md")
    intake.active["b"] = "active"
    intake.ended.update({"a": "failed", "b": "completed", "c": "completed"})
    statuses = intake.statuses()
    assert dict(statuses) == {"a": "pending", "b": "active", "c": "completed"}
    assert len(statuses) == 3
    assert statuses.get("d") is None


def test_a_file_that_asks_for_nothing_is_read_once(brain, intake, monkeypatch):
    """A draft and an empty file are looked at again when they have changed, not at each scan."""
    brain.drop("draft.md", "---\nstatus: draft\n---\n# Later\n")
    brain.drop("empty.md", "")
    assert sorted(intake.scan()) == ["draft.md", "empty.md"]
    read: list[str] = []
    real = module.look
    monkeypatch.setattr(module, "look", lambda folder, name, *rest: read.append(name) or real(folder, name, *rest))
    assert list(intake.scan()) == []
    assert read == []
    brain.drop("draft.md", "---\nstatus: ready\n---\n# Now\n")
    assert list(intake.scan()) == ["draft.md"]
    assert read == ["draft.md"]
    (brain.pending / "empty.md").unlink()
    assert list(intake.scan()) == []
    assert intake.declined == {}


def test_when_a_file_was_first_seen_is_forgotten_with_it(brain, intake):
    """It keeps its place through an edit; the next file in its inode begins anew."""
    brain.drop("a.md")
    list(intake.scan())
    first = intake.tasks["a.md"].seen_at
    with open(brain.pending / "a.md", "a") as handle:
        handle.write("more\n")
    list(intake.scan())
    assert intake.tasks["a.md"].seen_at == first
    (brain.pending / "a.md").unlink()
    list(intake.scan())
    assert intake._first_seen == {}
