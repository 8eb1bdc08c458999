"""The four folders: what may be opened, what a claim takes, and that nothing is ever overwritten or lost."""

import os
import subprocess
import sys

import pytest

from brain_daemon.store.files import TEMPORARY_SUFFIX, Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Gone, Queue, Seen, Signature, Unreadable, look, names, peek

CLAIMER = """
import os, sys
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.locks import claims
from brain_daemon.store.queue import Queue, names
layout = Layout(*sys.argv[1:4])
queue = Queue(layout, Files())
sys.stdin.readline()
while left := sorted(names(layout.pending)):
    for name in left:
        with claims(layout):
            data = queue.claim(name, name.removesuffix(".md"))
        if data is not None:
            print(name, flush=True)
"""


@pytest.fixture
def layout(tmp_path):
    made = Layout(str(tmp_path / "root"), str(tmp_path / "state"), str(tmp_path / "work"))
    for folder in made.folders():
        os.makedirs(folder, exist_ok=True)
    return made


@pytest.fixture
def queue(layout):
    return Queue(layout, Files())


def put(folder, name, data=b"x"):
    path = os.path.join(folder, name)
    with open(path, "wb") as handle:
        handle.write(data)
    return path


# looking


def test_a_regular_file_is_read_with_its_signature(tmp_path):
    """Looking twice gives the same; a change of any byte's time gives another."""
    path = put(str(tmp_path), "a.md", b"one")
    seen = look(str(tmp_path), "a.md")
    assert isinstance(seen, Seen)
    assert seen.data == b"one"
    assert seen.signature == peek(str(tmp_path), "a.md")
    os.utime(path, (5, 5))
    changed = peek(str(tmp_path), "a.md")
    assert isinstance(changed, Signature)
    assert changed != seen.signature
    assert changed.modified_at == 5.0


def test_a_file_over_the_limit_is_not_read(tmp_path):
    """It is seen, without its bytes."""
    put(str(tmp_path), "a.md", b"12345")
    assert look(str(tmp_path), "a.md", 5).data == b"12345"
    assert look(str(tmp_path), "a.md", 4).data is None


@pytest.mark.parametrize("kind", ["link", "dangling", "hard", "folder", "fifo", "forbidden"])
def test_what_is_no_plain_file_of_its_own_is_not_opened(tmp_path, kind):
    """The reason is a value; a pipe does not block."""
    path = tmp_path / "a.md"
    if kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "hard":
        (tmp_path / "b").write_text("x")
        path.hardlink_to(tmp_path / "b")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("x")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
    assert isinstance(look(str(tmp_path), "a.md"), Unreadable)
    if kind != "forbidden":
        assert isinstance(peek(str(tmp_path), "a.md"), Unreadable)


def test_what_is_not_there_is_gone(tmp_path):
    """Gone is neither empty nor unreadable."""
    assert look(str(tmp_path), "a.md") == Gone("a.md")
    assert peek(str(tmp_path), "a.md") == Gone("a.md")
    assert isinstance(peek(str(tmp_path / "no" / "such"), "a.md"), Gone)
    put(str(tmp_path), "file")
    assert isinstance(peek(str(tmp_path / "file"), "a.md"), Unreadable)


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path):
    """OSError, never nothing."""
    put(str(tmp_path), "a.md")
    put(str(tmp_path), ".b.md")
    assert list(names(str(tmp_path))) == ["a.md"]
    with pytest.raises(FileNotFoundError):
        list(names(str(tmp_path / "gone")))


# claiming


def test_a_claim_moves_the_file_under_its_id(layout, queue):
    """It returns the bytes as they are after the move."""
    put(layout.pending, "A task.md", b"text")
    assert queue.claim("A task.md", "A-task") == b"text"
    assert queue.active_ids() == ["A-task"]
    assert os.listdir(layout.pending) == []
    assert queue.claim("A task.md", "A-task") is None


def test_a_claim_never_takes_the_place_of_an_active_task(layout, queue):
    """FileExistsError, and both files are as they were."""
    put(layout.pending, "a.md", b"new")
    put(layout.active, "a.md", b"old")
    with pytest.raises(FileExistsError):
        queue.claim("a.md", "a")
    assert look(layout.pending, "a.md").data == b"new"
    assert look(layout.active, "a.md").data == b"old"


def test_what_was_no_file_to_open_goes_back(layout, queue):
    """A link that took the file's place between look and claim is not followed."""
    os.symlink("/etc/hostname", os.path.join(layout.pending, "a.md"))
    assert queue.claim("a.md", "a") is None
    assert os.path.islink(os.path.join(layout.pending, "a.md"))
    assert queue.active_ids() == []


def test_given_back_it_takes_the_next_free_name(layout, queue):
    """A file dropped meanwhile under the same name stays."""
    for expected in ("a b.md", "a b-2.md", "a b-3.md"):
        put(layout.active, "a-b.md", expected.encode())
        assert queue.give_back("a-b", "a b.md") == expected
    assert {name: look(layout.pending, name).data for name in os.listdir(layout.pending)} == {
        name: name.encode() for name in ("a b.md", "a b-2.md", "a b-3.md")
    }


def test_many_claimers_never_share_a_task(layout):
    """Three processes empty pending/: each task is had once."""
    wanted = {f"t{number:03}.md" for number in range(150)}
    for name in wanted:
        put(layout.pending, name)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, layout.root, layout.state, layout.work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    assert sorted(name for names_ in said for name in names_) == sorted(wanted)


def test_temporaries_of_the_dead_are_swept(layout, queue):
    """Only names this program gives, and none of a process that lives."""
    with subprocess.Popen(["/bin/true"]) as dead:
        dead.wait()
    mine = f".a.md.{dead.pid}.0{TEMPORARY_SUFFIX}"
    living = f".a.md.{os.getppid()}.0{TEMPORARY_SUFFIX}"
    for name in (mine, living, ".a.md.swp", "a.md", f".odd{TEMPORARY_SUFFIX}"):
        put(layout.pending, name)
    queue.sweep_temporaries()
    assert sorted(os.listdir(layout.pending)) == sorted([living, ".a.md.swp", "a.md", f".odd{TEMPORARY_SUFFIX}"])


def test_what_has_ended_but_is_not_reaped_counts_as_dead(layout, queue):
    """A daemon that is killed leaves its recorder to nobody: in some containers that one is never reaped."""
    zombie = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    put(layout.pending, f".a.md.{zombie.pid}.0{TEMPORARY_SUFFIX}")
    queue.sweep_temporaries()
    zombie.wait()
    assert os.listdir(layout.pending) == []


def test_what_bears_our_own_number_is_swept_at_the_start_only(layout, queue):
    """Later it is a file that another thread is about to put in place."""
    ours = f".a.md.{os.getpid()}.0{TEMPORARY_SUFFIX}"
    put(layout.pending, ours)
    queue.sweep_temporaries()
    assert os.listdir(layout.pending) == [ours]
    queue.sweep_temporaries(at_start=True)
    assert os.listdir(layout.pending) == []


def test_a_journal_that_was_never_finished_is_swept(layout, queue):
    """With what SQLite left beside it; the journal itself, and one that another process is making, stay."""
    with subprocess.Popen(["/bin/true"]) as dead:
        dead.wait()
    made = f"journal.db.{os.getppid()}.0123abcd.new"
    for name in (
        "journal.db",
        "journal.db-wal",
        made,
        *(f"journal.db.{dead.pid}.0123abcd.new{e}" for e in ("", "-journal")),
    ):
        put(layout.state, name)
    before = set(os.listdir(layout.state))
    queue.sweep_temporaries()
    assert before - set(os.listdir(layout.state)) == {
        f"journal.db.{dead.pid}.0123abcd.new",
        f"journal.db.{dead.pid}.0123abcd.new-journal",
    }
