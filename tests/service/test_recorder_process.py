"""The recorder in a process of its own: what it records, whom it outlives, and who takes its place."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import psutil
import pytest

from brain_daemon.adapters import secrets
from brain_daemon.service import board
from brain_daemon.service.daemon_log import FILE_NAME
from brain_daemon.service.recorder_process import Forked, Known, RecorderProcess, Settled, fork, forked
from tests.conftest import BrainFolder, Daemon

MEASURED = True  # the far side of the sockets runs as a program

_FAR_SIDE = """
import sys
from multiprocessing.connection import Connection
from brain_daemon.service.recorder_process import serve
serve(Connection(int(sys.argv[1])))
"""


def recorder_of(running: Daemon) -> psutil.Process:
    """The process that records for a daemon."""
    (found,) = (one for one in psutil.Process(running.pid).children() if one.name() == "brain-recorder")
    return found


def has_ended(process: psutil.Process) -> bool:
    """Whether anybody has seen that or not: whose parent has died is reaped by whom the system chooses."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def commits(brain: BrainFolder, task_id: str) -> list[str]:
    """The commits that carry an outcome of this task."""
    return brain.git("log", "--format=%H", f"--grep=^Task-Id: {task_id}$").split()


def said(running: Daemon) -> str:
    return Path(running.folder.place.state, FILE_NAME).read_text()


# the process that the daemon forks


def test_a_daemon_records_in_another_process(brain, daemon):
    """Files and commits are that one's; it ends with a daemon that is told to end."""
    brain.echo()
    with daemon() as running:
        recorder = recorder_of(running)
        running.drop("one.md")
        running.wait_for(lambda: commits(brain, "one"))
        # It alone has the recording lock open.
        assert any(one.path.endswith("record.lock") for one in recorder.open_files())
        assert not any(one.path.endswith("record.lock") for one in psutil.Process(running.pid).open_files())
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
        assert has_ended(recorder)
    assert brain.dirty() == ""


def test_a_daemon_whose_recorder_is_killed_goes_on_and_records_itself(brain, daemon):
    """What had ended is recorded, and its log says what has happened."""
    brain.echo()
    with daemon() as running:
        running.drop("one.md")
        recorder_of(running).kill()
        running.drop("two.md")
        running.wait_for(lambda: commits(brain, "one") and commits(brain, "two"))
        running.wait_for(lambda: "has died; the daemon records itself" in said(running))
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
    assert brain.dirty() == ""


def test_a_recorder_ends_with_a_daemon_that_is_killed(brain, daemon):
    """Without finishing anything: what it was at is done by the next one."""
    with daemon() as running:
        recorder = recorder_of(running)
        running.signal(signal.SIGKILL)
        assert running.exit_code() == -signal.SIGKILL
        running.wait_for(lambda: has_ended(recorder))


def test_signals_that_a_terminal_gives_to_all_do_not_end_the_recorder(brain, daemon):
    """The daemon lets what runs end first, and then tells it."""
    brain.echo("slow", "delay_seconds: 0.3")
    with daemon() as running:
        recorder = recorder_of(running)
        running.drop("one.md")
        running.wait_for(lambda: brain.names(brain.active))
        recorder.send_signal(signal.SIGINT)
        recorder.send_signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
        assert running.exit_code() == 0
    assert len(commits(brain, "one")) == 1


def test_nothing_is_forked_where_threads_run_already():
    """What they hold would be held for ever in the copy; and where nobody forks, there is nothing to end."""
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        assert fork() is None
        with forked() as nobody:
            assert nobody is None
    finally:
        over.set()
        other.join()


def test_a_second_daemon_leaves_no_process_behind(brain, daemon):
    """It says who runs the brain, and its own recorder, which was never told to begin, ends with it."""
    with daemon() as running:
        second = subprocess.run(
            [sys.executable, "-m", "brain_daemon", "--brain", str(brain.root), "run"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert f"process {running.pid}" in second.stderr
        assert recorder_of(running).is_running()


# its two sides, one of them in this process


@pytest.fixture
def apart() -> Iterator[Forked]:
    """The far side as a program, as good as forked."""
    ours, theirs = Pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _FAR_SIDE, str(theirs.fileno())], pass_fds=[theirs.fileno()], start_new_session=True
    )
    theirs.close()
    yield Forked(process.pid, ours)
    ours.close()
    process.wait()


async def test_what_ends_is_handed_over_and_so_are_pages_of_others(brain, apart):
    """The result, the ledger, usage.md and a page of the pool are in git when the daemon has ended."""
    brain.echo()
    async with brain.running(forked=apart) as running:
        brain.drop("one.md")
        await running.ended("one")
        running.supervisor._recorder.keep({"memory/a-page.md": b"# A page\n"})
        brain.write("memory/a-page.md", "# A page\n")
        before = running.brain.files.writes
    assert running.brain.files.writes > before  # what the process has written counts with the rest
    assert "messages_today: 1" in brain.git("show", "HEAD:context/usage.md")
    assert brain.git("show", "HEAD:memory/a-page.md") == "# A page\n"


async def test_a_run_goes_on_as_soon_as_a_step_is_recorded_there(brain, apart, monkeypatch):
    """Word of it wakes the daemon: nothing else would before the next scan."""
    monkeypatch.setattr(board, "_EVERY_SECONDS", 3_600.0)
    brain.echo()
    async with brain.running(scan="1h", forked=apart) as running:
        brain.write("brain/workflows/w.yaml", 'steps: [{id: a, prompt: "a"}, {id: b, prompt: "{a}b"}]')
        brain.drop("job.md", "---\nworkflow: w\n---\n# A run\n")
        await running.ended("job")


async def test_what_the_daemon_comes_to_know_is_told(brain, apart):
    """A new interface stands in usage.md; a secret that was read while it ran is kept out of what a person left in active/."""
    async with brain.running(forked=apart) as running:
        brain.echo("late", "delay_seconds: 0.5")
        brain.drop("one.md")
        await running.started("one")
        vault = secrets._vault
        before = vault._values
        try:
            vault.remember("a-value-read-while-it-ran")
            (brain.active / "one.md").write_text("edited: a-value-read-while-it-ran\n")
            await running.ended("one")
        finally:
            vault._values = before
    assert "late:" in brain.git("show", "HEAD:context/usage.md")
    kept = brain.git("show", "HEAD:brain/tasks/completed/one.files/edited-while-active.md")
    assert "edited: [redacted" in kept
    assert "a-value-read-while-it-ran" not in kept


async def test_what_it_says_is_in_the_daemons_log(brain, apart, caplog):
    """There is one log; what the disk refused is tried again."""
    brain.echo()
    costs = brain.root / "logs" / "costs"
    async with brain.running(forked=apart) as running:
        brain.drop("before.md")
        await running.ended("before")
        costs.rename(costs.with_name("elsewhere"))
        costs.write_text("in the way")
        brain.drop("one.md")
        await running.until(lambda: "recording failed; it is tried again" in caplog.text, "the complaint")
        costs.unlink()
        costs.with_name("elsewhere").rename(costs)
        await running.ended("one")


async def test_a_mistake_of_ours_in_it_ends_the_daemon(brain, apart):
    """As it would in a thread: what it is stands in the error."""
    brain.echo()

    async def work() -> None:
        async with brain.running(forked=apart, memory_tokens=0) as running:
            brain.drop("one.md")
            await running.ended("one")
            running.supervisor._recorder.keep({"memory/a-page.md": 17})
            brain.drop("two.md")
            await running.until(lambda: False, "the end of the daemon")

    with pytest.raises(RuntimeError, match="TypeError"):
        await work()


async def test_a_crash_that_was_told_stays_told(brain):
    """Two threads there speak, and the word of the one that knew nothing of it may come later."""
    ours, theirs = Pipe()
    with contextlib.closing(brain.open()) as opened:
        known = Known(interfaces=(), state="running", secrets=())
        made = RecorderProcess(Forked(os.getpid(), ours), opened, lambda: known, lambda: None, lambda: None)
        made.start()
        for crash in (None, RuntimeError("a mistake of ours"), None):
            theirs.send(("settled", Settled(writes=0, failed_writes=0, crash=crash)))
            made._hear()
        assert str(made.crash) == "a mistake of ours"
        asyncio.get_running_loop().remove_reader(ours.fileno())
    ours.close()
    theirs.close()


async def test_an_order_it_cannot_read_ends_it_alone(brain, apart, caplog):
    """A thread takes its place and hears all that follows; the daemon's end waits for that one."""
    brain.echo()
    async with brain.running(forked=apart) as running:
        running.supervisor._recorder._send("no such order")
        await running.until(lambda: "the daemon records itself" in caplog.text, "the complaint")
        brain.drop("one.md")
        await running.ended("one")
        running.supervisor._recorder.keep({"memory/a-page.md": b"# A page\n"})
    assert brain.git("show", "HEAD:memory/a-page.md") == "# A page\n"


async def test_one_that_does_not_end_in_time_is_killed(brain, apart):
    """Its daemon ends without it; what it was at is done by the next one."""
    async with brain.running(forked=apart) as running:
        os.kill(apart.pid, signal.SIGSTOP)
        assert not running.supervisor._recorder.stop(0.05)
