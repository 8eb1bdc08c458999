"""The brain's locks, held by real processes."""

import os
import subprocess
import sys
import threading

import pytest

from brain_daemon.model.errors import Occupied
from brain_daemon.store import locks
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout

HOLDER = """
import sys
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.locks import BrainLock, claims, recording
layout = Layout(*sys.argv[2:5])
if sys.argv[1] == "brain":
    lock = BrainLock(layout, Files())
    lock.acquire()
    print("held", flush=True)
    sys.stdin.read()
else:
    with {"claims": claims, "record": recording}[sys.argv[1]](layout):
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path):
    for name in ("root", "state", "work"):
        (tmp_path / name).mkdir()
    return Layout(*(str(tmp_path / name) for name in ("root", "state", "work")))


@pytest.fixture
def holder(layout):
    """Starts a process that takes a lock and keeps it until its input ends."""
    started = []

    def start(which: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, which, layout.root, layout.state, layout.work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_daemon_is_told_who_the_first_is(layout, holder):
    """Process, host and since when; after a kill the lock is free at once."""
    first = holder("brain")
    assert locks.running_daemon(layout).pid == first.pid
    with pytest.raises(Occupied, match=f"process {first.pid} on {os.uname().nodename}, since"):
        locks.BrainLock(layout, Files()).acquire()
    first.kill()
    first.wait()
    assert locks.running_daemon(layout) is None
    assert locks.read_holder(layout).pid == first.pid
    lock = locks.BrainLock(layout, Files())
    lock.acquire()
    assert locks.running_daemon(layout).pid == os.getpid()
    lock.release()
    assert locks.running_daemon(layout) is None


def test_a_held_lock_without_a_holder_file_is_still_a_running_daemon(layout, holder):
    """The lock decides, not the file."""
    holder("brain")
    os.unlink(os.path.join(layout.state, "daemon.json"))
    assert locks.running_daemon(layout).pid == 0
    with pytest.raises(Occupied, match="another process"):
        locks.BrainLock(layout, Files()).acquire()


def test_no_daemon_has_ever_run(layout):
    """Asking makes no file."""
    assert locks.running_daemon(layout) is None
    assert os.listdir(layout.state) == []


@pytest.mark.parametrize("data", [b"", b"[]", b'{"pid": 1}', b'{"pid": 1, "host": "h", "started_at": 1, "more": 2}'])
def test_a_damaged_holder_file_names_nobody(layout, data):
    """And breaks nothing."""
    with open(os.path.join(layout.state, "daemon.json"), "wb") as handle:
        handle.write(data)
    assert locks.read_holder(layout) is None


@pytest.mark.parametrize(("which", "take"), [("claims", locks.claims), ("record", locks.recording)])
def test_a_short_lock_is_waited_for_and_then_refused_with_its_file(layout, holder, which, take):
    """The message says how long it was waited and which file is held."""
    process = holder(which)
    with pytest.raises(Occupied, match=rf"{which}\.lock for 0\.05 s"), take(layout, 0.05):
        pytest.fail("two held it")
    process.kill()
    process.wait()
    with take(layout, 0.05):
        pass


def test_an_error_under_a_lock_frees_it(layout):
    """The next one gets it."""
    with pytest.raises(KeyError), locks.claims(layout):
        raise KeyError
    with locks.claims(layout, 0.05):
        pass


def test_threads_of_one_process_exclude_each_other(layout):
    """Each has a hold of its own on the same file."""
    met: list[str] = []

    def meet() -> None:
        try:
            with locks.claims(layout, 0.05):
                met.append("in")
        except Occupied:
            met.append("kept out")

    with locks.claims(layout):
        thread = threading.Thread(target=meet)
        thread.start()
        thread.join()
    meet()
    assert met == ["kept out", "in"]


def test_a_short_lock_is_taken_again_by_its_thread(layout):
    """And is free when the outer hold ends, not before."""
    met: list[str] = []

    def meet() -> None:
        try:
            with locks.claims(layout, 0.0):
                met.append("in")
        except Occupied:
            met.append("kept out")

    def meet_in_a_thread() -> None:
        thread = threading.Thread(target=meet)
        thread.start()
        thread.join()

    with locks.claims(layout):
        with locks.claims(layout, 0.0):
            meet_in_a_thread()
        meet_in_a_thread()
    meet_in_a_thread()
    assert met == ["kept out", "kept out", "in"]


def test_a_lock_file_that_was_removed_is_made_anew(layout, holder):
    """Whoever comes later locks the new one: a hold on the old one would keep nobody out."""
    with locks.claims(layout):
        pass
    os.unlink(os.path.join(layout.state, "claims.lock"))
    process = holder("claims")
    with pytest.raises(Occupied), locks.claims(layout, 0.05):
        pytest.fail("two held it")
    process.kill()
    process.wait()
    with locks.claims(layout, 0.05):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_takes_the_lock_for_itself(layout):
    """What its parent has made is not used by it."""
    with locks.claims(layout):
        pass
    child = os.fork()
    if child == 0:
        with locks.claims(layout, 1.0):
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
