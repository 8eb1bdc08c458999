"""The tasks an agent leaves in spawn/."""

import os
import time

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.store.files import Files
from brain_daemon.workspace import spawn
from brain_daemon.workspace.spawn import answer_to, left_in, put_task, set_aside

ATTEMPT = "job.a1.0123abcd"


def left(folder, *, ours: bool = True, quiet_seconds: float = 0.0) -> list[str]:
    return [one.name for one in left_in(str(folder), ATTEMPT, 100, ours=ours, quiet_seconds=quiet_seconds)]


def test_only_whole_markdown_files_are_tasks(tmp_path):
    """Links, FIFOs, folders, hidden and other files are passed over; without a folder, or where it is a link, there is none."""
    assert left(tmp_path) == []
    folder = tmp_path / "spawn"
    folder.mkdir()
    (folder / "b.md").write_text("# B\n")
    (folder / "a.md").write_text("# A\n")
    (folder / ".c.md").write_text("# C\n")
    (folder / "d.txt").write_text("# D\n")
    (folder / "e.md").symlink_to(folder / "a.md")
    (folder / "f.md").mkdir()
    os.mkfifo(folder / "g.md")
    assert left(tmp_path) == ["a.md", "b.md"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "spawn").symlink_to(folder)
    assert left(other) == []


def test_a_file_that_was_just_written_waits(tmp_path):
    """Unless it is one of ours, which came whole."""
    folder = tmp_path / "spawn"
    folder.mkdir()
    (folder / "new.md").write_text("# New\n")
    (folder / "old.md").write_text("# Old\n")
    os.utime(folder / "old.md", (time.time() - 100, time.time() - 100))
    put_task(Files(), str(tmp_path), ATTEMPT, "# Ours\n")
    assert left(tmp_path, quiet_seconds=60.0) == ["/1.md", "old.md"]


def test_one_that_is_too_large_is_named_without_its_bytes(tmp_path):
    """So that it can be refused."""
    (tmp_path / "spawn").mkdir()
    (tmp_path / "spawn" / "large.md").write_bytes(b"x" * 101)
    (found,) = left_in(str(tmp_path), ATTEMPT, 100, ours=True)
    assert (found.name, found.data) == ("large.md", None)


def test_an_answer_stands_beside_the_file_and_the_file_is_out_of_the_way(tmp_path):
    """However often a file of that name comes."""
    path = put_task(Files(), str(tmp_path), ATTEMPT, "# A\n")
    assert answer_to(path) is None
    set_aside(Files(), path, task_id="job-1", refused="")
    assert answer_to(path) == ("job-1", "")
    assert left(tmp_path) == []
    (tmp_path / "spawn" / f"{ATTEMPT}.1.md").write_text("# Again\n")
    set_aside(Files(), path, task_id=None, refused="no")
    assert answer_to(path) == (None, "no")
    set_aside(Files(), path, task_id=None, refused="gone")
    assert left(tmp_path) == []


def test_a_folder_holds_so_many_and_no_more(tmp_path, monkeypatch):
    """An agent in a loop is told to end."""
    monkeypatch.setattr(spawn, "MAX_SUBMITTED", 1)
    put_task(Files(), str(tmp_path), ATTEMPT, "# A\n")
    with pytest.raises(StorageError, match="holds 1 of them already"):
        put_task(Files(), str(tmp_path), ATTEMPT, "# B\n")
