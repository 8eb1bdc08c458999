"""The daemon as a whole: its states, its signals, storms of files, and a disk or a neighbour that says no."""

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from brain_daemon.model.errors import Damaged, Occupied, StorageError
from brain_daemon.service import actions
from brain_daemon.service import disk as disk_module
from brain_daemon.service import jobs as jobs_module
from brain_daemon.service.gate import Gate
from brain_daemon.service.lookout import Lookout
from brain_daemon.service.reindexing import recorded_paths
from brain_daemon.store import control, locks
from brain_daemon.store import watch as watch_module
from brain_daemon.store.files import Files
from brain_daemon.store.watch import Hint, PollingObserver
from tests.depth import deep

HELD_BY_ANOTHER = """
import sys
from brain_daemon.store.locate import layout_of
from brain_daemon.store.locks import claims
with claims(layout_of(sys.argv[1], sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


# in a process of its own


def test_a_second_daemon_exits_and_names_the_first(brain, daemon):
    """It says which process runs the brain, exits with 1, and changes nothing."""
    brain.echo()
    with daemon() as first:
        second = subprocess.run(
            [sys.executable, "-m", "brain_daemon", "--brain", str(brain.root), "run"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert second.returncode == 1
        assert f"process {first.pid}" in second.stderr
        first.drop("still.md")
        first.wait_for(lambda: brain.where("still") == ["completed"])


def test_sigterm_lets_what_runs_end_and_starts_nothing_more(brain, daemon, tmp_path):
    """The running task completes, the waiting one stays in pending, the exit code is 0 and git is clean."""
    gate = tmp_path / "gate"
    brain.program(
        "gated", "/bin/sh", "-c", f"echo started > {gate}.on; while [ ! -e {gate} ]; do sleep 0.02; done; echo done"
    )
    with daemon(parallel="1") as running:
        running.drop("a.md")
        running.wait_for(lambda: os.path.exists(f"{gate}.on"))
        running.drop("b.md")
        running.signal(signal.SIGTERM)
        running.wait_for(lambda: running.state() == "draining")
        gate.touch()
        assert running.exit_code() == 0
    assert brain.where("a") == ["completed"]
    assert brain.where("b") == ["pending"]
    assert running.state() == "stopped"
    assert brain.dirty() == "?? brain/tasks/pending/b.md\n"


def test_a_second_sigterm_interrupts(brain, daemon, tmp_path):
    """What is safe to repeat goes back to pending/, about the rest a person is asked; no descendant lives on."""
    for name, idempotent in (("safe", "true"), ("unsafe", "false")):
        script = f"echo $$ > {tmp_path}/{name}; sleep 300"
        brain.program(name, "/bin/sh", "-c", script, more=f"idempotent: {idempotent}\n")
    with daemon(grace="200ms") as running:
        for name in ("safe", "unsafe"):
            running.drop(f"{name}.md", f"---\ninterface: {name}\n---\n# x\n")
        running.wait_for(lambda: all((tmp_path / name).exists() for name in ("safe", "unsafe")))
        running.signal(signal.SIGTERM)
        running.wait_for(lambda: running.state() == "draining")
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
    assert brain.where("safe") == ["pending"]
    assert brain.where("unsafe") == ["active"]
    assert "brain release unsafe" in brain.questions.read_text()
    assert not any(os.path.exists(f"/proc/{(tmp_path / name).read_text().strip()}") for name in ("safe", "unsafe"))
    assert [row.reason.value for row in brain.rows()] == ["interrupted", "interrupted"]


def test_a_tool_that_never_returns_does_not_keep_the_daemon_from_ending(brain, tmp_path):
    """A thread cannot be ended from outside: the task is ended without it, and so is the process."""
    brain.echo("deaf")
    script = (
        "import asyncio, os, sys, threading\n"
        "from brain_daemon.adapters import echo\n"
        "from brain_daemon.surfaces.cli import main\n"
        "echo.echo = lambda call: threading.Event().wait()\n"
        "main()\n"
    )
    brain.drop("job.md", "---\ntimeout: 1s\nattempts: 1\n---\n# x\n")
    done = subprocess.run(
        [sys.executable, "-c", script, "--brain", str(brain.root), "run", "--once"],
        env={**os.environ, "BRAIN_GRACE": "100ms"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr.decode()
    assert brain.recorded("job").values["reason"] == "timed_out"
    assert brain.recorded("job").values["survivors"]


# told from outside


async def test_pause_and_resume(brain):
    """Paused, nothing starts and the state says so; resumed, what waits starts. The pause outlives the daemon."""
    brain.echo()
    async with brain.running() as daemon:
        control.post(daemon.brain.layout, Files(), "pause")
        await daemon.until(lambda: daemon.state == "paused", "the pause")
        brain.drop("a.md")
        await daemon.until(lambda: len(daemon.supervisor._dispatch) == 1, "the task to be seen")
    assert brain.where("a") == ["pending"]
    async with brain.running() as daemon:
        assert daemon.state == "paused"
        control.post(daemon.brain.layout, Files(), "resume")
        await daemon.ended("a")


@pytest.mark.parametrize("when", ["while it runs", "before it starts"])
async def test_an_answer_ticked_in_the_file_is_acted_on(brain, tmp_path, when):
    """A tick in prompts/pending.md runs an interrupted task again; the answer is kept and committed."""
    brain.program("once", "/bin/sh", "-c", f"[ -e {tmp_path}/on ] && echo fine || (touch {tmp_path}/on; sleep 300)")
    brain.drop("job.md")
    async with brain.running(grace="100ms") as daemon:
        await daemon.until((tmp_path / "on").exists, "it to run")
    asked = brain.questions.read_text()
    assert "- [ ] **release**" in asked
    if when == "before it starts":
        brain.questions.write_text(asked.replace("- [ ] **release**", "- [x] **release**"))
    async with brain.running() as daemon:
        if when == "while it runs":
            brain.questions.write_text(asked.replace("- [ ] **release**", "- [x] **release**"))
        await daemon.ended("job")
        await daemon.until(lambda: "nothing to answer" in brain.questions.read_text(), "the question to go")
    assert brain.where("job") == ["completed"]
    assert "release" in (brain.root / "prompts/answered.md").read_text()
    assert brain.dirty() == ""


async def test_an_interface_that_came_with_git_runs_only_when_approved(brain):
    """A clone's interface is a program somebody else wrote: the task is held until a person approves its content."""
    brain.echo("stranger")
    brain.commit("brought by git")
    async with brain.running() as daemon:
        brain.drop("job.md", "---\ninterface: stranger\n---\n# x\n")
        await daemon.until(lambda: "approve stranger" in daemon.held().get("job.md", ""), "the hold")
        actions.approve(daemon.brain, "stranger")
        await daemon.ended("job")


async def test_enabled_false_stops_all_starts(brain):
    """Dropped tasks stay in pending/."""
    brain.echo()
    brain.write("brain.toml", "enabled = false\n")
    brain.drop("a.md")
    async with brain.running() as daemon:
        await daemon.until(lambda: len(daemon.supervisor._dispatch) == 1, "the task to be seen")
        assert brain.where("a") == ["pending"]


# hints and scans


async def test_where_no_events_arrive_polling_takes_over(brain, monkeypatch):
    """An observer that hears nothing is found out by the probe, and tasks are still seen."""
    monkeypatch.setattr(watch_module, "_observer", partial(PollingObserver, timeout=3_600))
    monkeypatch.setattr(watch_module.Watch.start, "__defaults__", (0.1,))
    brain.echo()
    async with brain.running(scan="60s") as daemon:
        assert daemon.supervisor._lookout.watch.kind == "polling"
        brain.drop("a.md")
        await daemon.ended("a")


async def test_an_overflow_leads_to_a_scan(brain, monkeypatch):
    """With every event lost, the one hint that says so is enough."""
    brain.echo()
    async with brain.running(scan="60s") as daemon:
        monkeypatch.setattr(daemon.supervisor, "_take_pending", lambda *_: None)
        brain.drop("a.md")
        await daemon.until(lambda: not daemon.supervisor._lookout, "the hints to be lost")
        assert brain.where("a") == ["pending"]
        daemon.supervisor._lookout._on_event(Hint.OVERFLOW, "")
        await daemon.ended("a")


async def test_with_every_event_lost_a_task_is_seen_within_one_scan_interval(brain, monkeypatch):
    """The scan is the truth; a hint only makes it faster."""
    monkeypatch.setattr(Lookout, "_on_event", lambda *_: None)
    brain.echo()
    async with brain.running(scan="200ms") as daemon:
        brain.drop("a.md")
        await daemon.ended("a")


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_storm_of_files_loses_none(brain):
    """So many files dropped at once are all done, none twice, one row and one commit each."""
    count, deadline_seconds = deep(400, 20_000), 1500.0
    brain.echo()
    async with brain.running(scan="10s", group="200ms") as daemon:
        script = f'i=0; while [ $i -lt {count} ]; do echo "# t$i" > {brain.pending}/t$i.md; i=$((i+1)); done'
        dropper = await asyncio.create_subprocess_exec("/bin/sh", "-c", script)
        await dropper.wait()
        journal = daemon.brain.journal
        await daemon.until(
            lambda: journal.count_ended().get("completed") == count, "all of them", deadline_seconds, 0.25
        )
        await daemon.until(lambda: not journal.open_attempts(), "git to have them", deadline_seconds, 0.25)
    rows = brain.rows()
    assert len(rows) == len({row.task_id for row in rows}) == count
    assert brain.dirty() == ""
    assert brain.names(brain.pending) == []
    assert len(list(recorded_paths(brain.layout))) == count
    trailers = brain.git("log", "--format=%(trailers:key=Task-Id,valueonly)").split()
    assert len(trailers) == len(set(trailers)) == count
    assert brain.git("fsck") == ""


def most_events() -> int:
    """How many events the kernel keeps for a listener; a renamed file makes two."""
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="the queue is inotify's")
async def test_more_events_than_the_kernel_keeps_lose_no_task(brain, monkeypatch):
    """While the daemon looks elsewhere the kernel's queue runs over: what is dropped then is no event, and found by the scan."""
    heard: list[str] = []
    brain.echo()
    async with brain.running(scan="1h") as daemon:
        take = daemon.supervisor._take_pending
        monkeypatch.setattr(
            daemon.supervisor, "_take_pending", lambda hint, name: (heard.append(name), take(hint, name))
        )
        names = (brain.write("brain/tasks/pending/.here", b""), brain.pending / ".there")
        # Without an await: the loop that would take the events in is this one.
        for number in range(most_events() // 2 + 1):
            os.rename(names[number % 2], names[1 - number % 2])
        brain.drop("a.md")
        await daemon.ended("a")
    assert "a.md" not in heard


# a disk or a neighbour that says no


class Refusing(Files):
    """A disk that refuses the operations for which `when` says so, as often as told."""

    def __init__(self, when, times=1) -> None:
        super().__init__()
        self.when, self.left = when, times

    def step(self, action: str, path: str) -> None:
        if self.left and self.when(action, path):
            self.left -= 1
            raise StorageError(f"{action} {path} failed: No space left on device.")


@pytest.mark.parametrize("which", ["claim", "start"])
async def test_a_disk_that_refuses_a_claim_loses_no_task(brain, monkeypatch, which):
    """What could not be claimed, or not be started durably, is tried again by itself."""
    monkeypatch.setattr(disk_module, "_PAUSE_SECONDS", 0.1)
    brain.echo()
    armed: list[bool] = []

    def when(action: str, path: str) -> bool:
        if which == "claim":
            return bool(armed) and action == "move" and "/active/b.md" in path
        return bool(armed) and action == "commit journal"

    files = Refusing(when)
    async with brain.running(files, scan="60s") as daemon:
        armed.append(True)
        for name in ("a", "b", "c"):
            brain.drop(f"{name}.md")
        await daemon.ended("a", "b", "c")
    assert files.left == 0
    assert len(brain.rows()) == 3


async def test_another_process_that_holds_the_claims_lock_delays_and_ends_nothing(brain, monkeypatch):
    """A claimer that was stopped in the middle keeps tasks waiting, not the daemon from living."""
    monkeypatch.setattr(disk_module, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(jobs_module, "_CLAIM_SECONDS", 0.05)
    brain.echo()
    async with brain.running(scan="60s") as daemon:
        layout = daemon.brain.layout
        arguments = (layout.root, os.path.dirname(os.path.dirname(layout.work)))
        pipe = asyncio.subprocess.PIPE
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HELD_BY_ANOTHER, *arguments, stdin=pipe, stdout=pipe
        )
        assert await holder.stdout.readline() == b"held\n"
        brain.drop("a.md")
        await daemon.until(lambda: "claims.lock" in (daemon.supervisor._disk._fault or ""), "the refusal")
        assert brain.where("a") == ["pending"]
        holder.stdin.close()
        await holder.wait()
        await daemon.ended("a")


def test_a_brain_that_is_being_run_is_occupied(brain):
    """In the same process as well."""
    opened = brain.open()
    lock = locks.BrainLock(opened.layout, opened.files)
    lock.acquire()
    with pytest.raises(Occupied, match=f"process {os.getpid()}"):
        brain.run_once()
    lock.release()
    opened.close()


def test_an_empty_journal_ends_the_start_before_anything_is_touched(brain):
    """Empty is not new: the file is named and kept, and the task stays where it is."""
    brain.echo()
    opened = brain.open()
    opened.close()
    for suffix in ("", "-wal", "-shm"):
        path = opened.layout.journal + suffix
        if os.path.exists(path):
            os.truncate(path, 0)
    brain.drop("a.md")
    with pytest.raises(Damaged, match=r"journal\.db is empty"):
        brain.run_once()
    assert brain.where("a") == ["pending"]
    assert os.path.getsize(opened.layout.journal) == 0


async def test_below_the_reserve_nothing_new_is_claimed(brain):
    """The board says why."""
    brain.echo()
    brain.drop("a.md")
    async with brain.running(reserve="100000GB") as daemon:
        await daemon.until(lambda: brain.board.exists() and "bytes are free" in brain.board.read_text(), "the board")
        assert brain.where("a") == ["pending"]


async def test_an_outcome_is_recorded_whatever_goes_wrong_in_what_follows_from_it(brain, monkeypatch):
    """It is durable, so a fault in counting it against the limits must not keep it out of the files until the recorder looks by itself."""
    brain.echo()

    def fail(*_told: object) -> bool:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(Gate, "ended", fail)
    async with brain.running() as daemon:
        brain.drop("a.md")
        await daemon.until((brain.completed / "a.md").exists, "the outcome in the files", 15.0)
