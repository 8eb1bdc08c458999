"""Which tasks have ended, asked one by one; and which folders may hold one that the index does not know."""

import contextlib
import os
import shutil
import time

import pytest

from brain_daemon.service.ended import EndedStatuses
from brain_daemon.service.recorded_folders import RecordedFolders
from brain_daemon.service.reindexing import recorded_paths
from brain_daemon.store.journal import TaskRecord

LONG_AGO = time.time() - 60


@pytest.fixture
def opened(brain):
    with contextlib.closing(brain.open()) as found:
        yield found


def put(opened, path: str) -> None:
    """A task's file in a folder of completed/ that last changed a minute ago."""
    whole = os.path.join(opened.layout.completed, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "wb") as handle:
        handle.write(b"# T\n")
    for folder in (os.path.dirname(whole), os.path.dirname(os.path.dirname(whole))):
        os.utime(folder, (LONG_AGO, LONG_AGO))


def looked(opened, *, keep: bool = True) -> list[str]:
    folders = RecordedFolders(opened.layout, opened.journal)
    found = sorted(os.path.relpath(path, opened.layout.completed) for _, path in folders.paths())
    if keep:
        folders.keep()
    return found


def test_what_has_ended_is_asked_of_the_index(opened):
    """Whatever the case of its id; what has ended here counts before it is in the index."""
    opened.journal.remember_ended([TaskRecord(task_id="Old", status="completed", path="p")])
    ended = EndedStatuses(opened.journal, {"ending": "failed"})
    assert (ended["old"], ended.get("ending"), ended.get("unheard")) == ("completed", "failed", None)
    ended["old"] = "failed"
    assert dict(ended) == {"old": "failed", "ending": "failed"}
    assert "unheard" not in ended


def test_a_daemon_that_ends_many_tasks_does_not_remember_them_all(opened):
    """Those that the index knows by now are asked of it."""
    ended = EndedStatuses(opened.journal, {})
    for number in range(5_000):
        ended[f"t{number}"] = "completed"
        if number == 4_000:
            opened.journal.remember_ended(
                [TaskRecord(task_id=f"t{n}", status="completed", path="p") for n in range(4_000)]
            )
    assert len(ended._fresh) < 1_500
    assert {ended[f"t{number}"] for number in range(5_000)} == {"completed"}


def test_a_folder_that_has_not_changed_is_not_listed_again(opened):
    """The first look sees all that there is; afterwards a folder of the archive shows itself by its time of change."""
    for path in ("a.md", "archive/2026/11/20/b.md", "archive/2026/11/20/b.files/c.md", "archive/2026/11/21/d.md"):
        put(opened, path)
    everything = sorted(os.path.relpath(path, opened.layout.completed) for _, path in recorded_paths(opened.layout))
    assert looked(opened, keep=False) == everything
    assert looked(opened) == everything
    assert looked(opened) == ["a.md"]
    os.utime(os.path.join(opened.layout.completed, "archive/2026/11/21"))
    assert looked(opened) == ["a.md", "archive/2026/11/21/d.md"]


def test_a_folder_that_has_just_changed_is_looked_at_again(opened):
    """A second change in the same moment leaves no trace."""
    put(opened, "archive/2026/11/20/b.md")
    folder, now = os.path.join(opened.layout.completed, "archive/2026/11/20"), time.time_ns()
    os.utime(folder, ns=(now, now))
    assert looked(opened) == ["archive/2026/11/20/b.md"]
    put(opened, "archive/2026/11/20/c.md")
    os.utime(folder, ns=(now, now))
    assert looked(opened) == ["archive/2026/11/20/b.md", "archive/2026/11/20/c.md"]
    os.utime(folder, (LONG_AGO, LONG_AGO))
    assert len(looked(opened)) == 2
    assert looked(opened) == []


def test_what_stands_in_the_place_of_a_folder_keeps_no_daemon_from_starting(opened):
    """A folder that cannot be listed holds no tasks; a link to a folder is none."""
    put(opened, "archive/2026/11/20/b.md")
    shutil.rmtree(opened.layout.failed)
    with open(opened.layout.failed, "wb"):
        os.symlink(os.path.join(opened.layout.completed, "archive"), os.path.join(opened.layout.completed, "c.md"))
    assert looked(opened) == ["archive/2026/11/20/b.md"]
