"""One command for one attempt: real process trees, well behaved and not."""

import asyncio
import errno
import fcntl
import gc
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from brain_daemon.adapters import process, procfs, pstable, survivors
from brain_daemon.adapters.process import Command, RawRun, run, start
from brain_daemon.model.errors import Occupied, StorageError, Transient, UserError
from tests.depth import deep

ATTEMPT = "task-1.a1.00000001"
MIB = 1 << 20


def command(folder: Path, *argv: str, **changes) -> Command:
    """A command whose files all lie in `folder`."""
    values = {
        "argv": argv,
        "env": {"PATH": "/usr/local/bin:/usr/bin:/bin"},
        "cwd": str(folder),
        "stdin_path": None,
        "stdout_path": str(folder / "stdout"),
        "stderr_path": str(folder / "stderr"),
        "lock_path": str(folder / "lock"),
        "attempt_id": ATTEMPT,
        "timeout_seconds": 60.0,
        "inactivity_seconds": None,
        "output_limit_bytes": 16 * MIB,
        "grace_seconds": 1.0,
    }
    return Command(**(values | changes))


def shell(folder: Path, script: str, **changes) -> Command:
    return command(folder, "/bin/sh", "-c", script, **changes)


def python(folder: Path, script: str, **changes) -> Command:
    return command(folder, sys.executable, "-SEc", script, **changes)


async def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until `holds()`, or fail."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.005)


def lives(pid: int) -> bool:
    found = survivors.identify(pid)
    return found is not None and not found.zombie


def pid_in(path: Path) -> int | None:
    """The pid a script wrote into `path`, None until the whole line is there."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None


def text_of(command: Command) -> str:
    return Path(command.stdout_path).read_text()


def detached(*argv: str) -> int:
    """The pid of an orphan that belongs to no attempt, in a session of its own."""
    script = f"setsid {shlex.join(argv)} >&- 2>&- & echo $!"
    return int(subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout)


@pytest.fixture(params=["native", "portable"])
def way(request, monkeypatch) -> str:
    """Each way to notice the end and to find descendants: pidfd and descent, or thread and psutil."""
    if request.param == "portable":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr(survivors, "table", pstable)
        monkeypatch.setattr(survivors, "_adopting", lambda _pid: False)
    return request.param


@pytest.mark.parametrize("code", [0, 1, 42, 255])
async def test_the_exit_code_is_told_as_it_is(tmp_path, way, code):
    """An exit by itself carries its code, no signal and no survivor."""
    raw = await run(shell(tmp_path, f"exit {code}"))
    assert (raw.exit_code, raw.signal, raw.ended_by, raw.survivors) == (code, None, "itself", ())


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
async def test_a_death_by_signal_is_told_as_one(tmp_path, way, signum):
    """A command that a signal ended has no exit code."""
    raw = await run(shell(tmp_path, f"ulimit -c 0; kill -{signum.value} $$"))
    assert (raw.exit_code, raw.signal, raw.ended_by) == (None, signum, "itself")


async def test_output_goes_to_two_files_and_input_comes_from_one(tmp_path):
    """The prompt is read to its end, stdout and stderr stay apart, and what stood in the files before is gone."""
    prompt = tmp_path / "prompt"
    prompt.write_bytes(b"x" * MIB)
    (tmp_path / "stdout").write_text("of an earlier try")
    ask = shell(tmp_path, "wc -c; echo trouble >&2", stdin_path=str(prompt))
    raw = await run(ask)
    assert text_of(ask).strip() == str(MIB)
    assert (tmp_path / "stderr").read_text() == "trouble\n"
    assert (raw.stdout_bytes, raw.stderr_bytes) == (len(str(MIB)) + 1, 8)


async def test_without_a_prompt_stdin_is_empty(tmp_path):
    """A program that reads stdin sees its end at once and cannot hang on it."""
    ask = shell(tmp_path, "wc -c")
    assert (await run(ask)).exit_code == 0
    assert text_of(ask).strip() == "0"


async def test_the_child_has_exactly_the_environment_it_was_given_and_the_tag(tmp_path, monkeypatch):
    """Nothing of the daemon's environment passes, and the attempt's id is always there."""
    monkeypatch.setenv("CANARY", "secret")
    ask = command(tmp_path, "/usr/bin/env", env={"PATH": "/bin", "LANG": "C"})
    await run(ask)
    assert sorted(text_of(ask).split()) == sorted(["PATH=/bin", "LANG=C", f"BRAIN_ATTEMPT_ID={ATTEMPT}"])


async def test_the_child_leads_its_own_session_and_holds_no_descriptor_but_its_own(tmp_path):
    """Only stdin, stdout, stderr and the lock are open in the child; it leads session and group."""
    ask = shell(tmp_path, "ls /proc/self/fd | wc -l; cut -d' ' -f1,5,6 /proc/$$/stat")
    raw = await run(ask)
    count, numbers = text_of(ask).splitlines()
    assert int(count) == 5, "0, 1, 2, the lock, and the folder that ls reads"
    assert numbers.split() == [str(raw.pid)] * 3


async def test_times_are_of_the_command_itself(tmp_path):
    """The duration runs to the exit of the command, and the instants agree with it."""
    before = time.time()
    raw = await run(shell(tmp_path, "sleep 0.2"))
    assert raw.duration_seconds >= 0.2
    assert before <= raw.started_at <= raw.finished_at
    assert raw.finished_at - raw.started_at == pytest.approx(raw.duration_seconds, abs=0.001)


@pytest.mark.parametrize(
    ("argv", "changes", "said"),
    [
        (("/nowhere/claude",), {}, "no such program"),
        (("{folder}/script",), {}, "no such program, or its first line names none"),
        (("{folder}/plain",), {}, "executable"),
        (("{folder}",), {}, "executable"),
        (("/bin/echo", "x" * 200_000), {}, "give the prompt by stdin"),
        (("/bin/echo", "a\0b"), {}, "NUL"),
        (("/bin/true",), {"env": {"A=B": "c"}}, "name that is none"),
        (("/bin/true",), {"cwd": "/nowhere/at/all"}, "its folder /nowhere/at/all"),
    ],
)
async def test_a_command_that_cannot_be_started_says_what_to_change(tmp_path, argv, changes, said):
    """Program, arguments and folder are the user's to correct; the arguments themselves are not repeated."""
    (tmp_path / "script").write_text("#!/nowhere/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    (tmp_path / "plain").write_text("no program")
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        await run(command(tmp_path, *(part.format(folder=tmp_path) for part in argv), **changes))
    assert "xxx" not in str(caught.value)
    assert not survivors.lock_held(str(tmp_path / "lock"))


async def test_a_lack_of_descriptors_is_for_later(tmp_path):
    """A system that is short of something may start the same command in a minute."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, hard))
    try:
        with pytest.raises(Transient, match="nothing was started"):
            await run(command(tmp_path, "/bin/true"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY])
def test_a_lack_of_processes_or_memory_is_for_later(tmp_path, number):
    """What fork and exec report when the machine is full is never the user's mistake."""
    refused = process._not_started(command(tmp_path, "/bin/true"), OSError(number, os.strerror(number)))
    assert isinstance(refused, Transient)


async def test_a_prompt_or_folder_of_ours_that_is_missing_is_a_fault_of_storage(tmp_path):
    """The attempt's own files are the daemon's business, not the user's."""
    with pytest.raises(StorageError, match="prompt"):
        await run(command(tmp_path, "/bin/true", stdin_path=str(tmp_path / "prompt")))
    with pytest.raises(StorageError, match="nothing was started"):
        await run(command(tmp_path, "/bin/true", stdout_path=str(tmp_path / "none" / "stdout")))


async def test_an_attempt_that_still_runs_is_not_started_again(tmp_path):
    """Two trees of one attempt never run side by side, and the refusal names the first."""
    stop = asyncio.Event()
    running = start(shell(tmp_path, "sleep 600"))
    with pytest.raises(Occupied, match=str(running.pid)):
        start(command(tmp_path, "/bin/true"))
    stop.set()
    assert (await running.wait(stop)).ended_by == "cancel"
    assert (await run(command(tmp_path, "/bin/true"))).exit_code == 0


async def test_the_lock_is_held_while_the_command_runs_and_free_afterwards(tmp_path):
    """The lock is the child's alone: the daemon keeps no copy, so held means that a descendant lives."""
    stop = asyncio.Event()
    running = start(shell(tmp_path, "sleep 600"))
    assert survivors.lock_held(str(tmp_path / "lock"))
    stop.set()
    await running.wait(stop)
    assert not survivors.lock_held(str(tmp_path / "lock"))


async def test_a_flood_of_output_is_stopped_at_the_limit_with_memory_flat(tmp_path, way):
    """Output beyond the limit is an outcome; the file is cut back to it and none of it was ever in memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    raw = await run(command(tmp_path, "/usr/bin/head", "-c", "1000000000", "/dev/zero", output_limit_bytes=4 * MIB))
    assert raw.ended_by == "output_limit"
    assert 4 * MIB < raw.stdout_bytes <= 1_000_000_000
    assert (tmp_path / "stdout").stat().st_size == 4 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_a_quick_command_cannot_slip_past_the_output_limit(tmp_path):
    """A command that has exited before anybody looked is measured all the same, both files together."""
    raw = await run(shell(tmp_path, "head -c 600 /dev/zero; head -c 600 /dev/zero >&2", output_limit_bytes=1000))
    assert (raw.ended_by, raw.stdout_bytes, raw.stderr_bytes) == ("output_limit", 600, 600)


async def test_a_flood_gets_no_grace(tmp_path):
    """Each second of grace would be another gigabyte: past the limit there is SIGKILL at once."""
    deaf = "trap '' INT TERM; while :; do head -c 100000 /dev/zero; sleep 0.01; done"
    raw = await run(shell(tmp_path, deaf, output_limit_bytes=MIB, grace_seconds=900.0))
    assert (raw.ended_by, raw.signal) == ("output_limit", signal.SIGKILL)


async def test_exactly_the_limit_is_within_it(tmp_path):
    """The limit is the last byte allowed."""
    raw = await run(shell(tmp_path, "head -c 1000 /dev/zero", output_limit_bytes=1000))
    assert raw.ended_by == "itself"


async def test_a_silent_hang_ends_by_inactivity(tmp_path, way):
    """A command that writes nothing for that long is ended."""
    raw = await run(shell(tmp_path, "echo begun; sleep 600", inactivity_seconds=0.3))
    assert (raw.ended_by, raw.exit_code, raw.signal) == ("inactivity", None, signal.SIGINT)


async def test_a_slow_drip_on_either_file_is_not_silence(tmp_path):
    """Growth of stdout or of stderr starts the time of silence anew."""
    drip = "for n in 1 2 3 4 5 6 7 8; do sleep 0.2; echo $n; sleep 0.2; echo $n >&2; done"
    raw = await run(shell(tmp_path, drip, inactivity_seconds=2.5))
    assert (raw.ended_by, raw.exit_code) == ("itself", 0)


async def test_the_timeout_ends_a_command_that_is_not_silent(tmp_path, way):
    """The whole deadline holds whatever is written."""
    raw = await run(shell(tmp_path, "while :; do echo busy; sleep 0.05; done", timeout_seconds=0.4))
    assert raw.ended_by == "timeout"
    assert raw.duration_seconds >= 0.4


async def test_a_deadline_does_not_move_with_the_wall_clock(tmp_path, monkeypatch):
    """Deadlines are monotonic: a clock set back by years changes nothing."""
    running = start(shell(tmp_path, "sleep 600", timeout_seconds=0.3))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert (await asyncio.wait_for(running.wait(), 20)).ended_by == "timeout"


async def test_the_warning_comes_once_and_a_cancel_wins_over_exit_0(tmp_path, way):
    """The group gets one SIGINT; a program that then says it is fine is cancelled all the same."""
    ask = python(
        tmp_path,
        "import signal, sys, time\n"
        "def warned(*_):\n    print('warned', flush=True); time.sleep(0.3); sys.exit(0)\n"
        "signal.signal(signal.SIGINT, warned)\nprint('ready', flush=True)\ntime.sleep(600)",
        grace_seconds=10.0,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(run(ask, cancel=stop))
    await until(lambda: Path(ask.stdout_path).exists() and "ready" in text_of(ask))
    stop.set()
    raw = await task
    assert (raw.ended_by, raw.exit_code, raw.survivors) == ("cancel", 0, ())
    assert text_of(ask) == "ready\nwarned\n"


async def test_what_ignores_every_polite_signal_is_killed(tmp_path, way):
    """After the grace there is SIGKILL."""
    ask = python(
        tmp_path,
        "import signal, time\n"
        "for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(600)",
        grace_seconds=0.4,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(run(ask, cancel=stop))
    await until(lambda: Path(ask.stdout_path).exists() and "ready" in text_of(ask))
    stop.set()
    raw = await task
    assert (raw.ended_by, raw.signal, raw.survivors) == ("cancel", signal.SIGKILL, ())


DAEMON = """
import os, sys, time
if os.fork():
    while not os.path.exists({mark!r}): time.sleep(0.005)
    sys.exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 256)
file = os.open({mark!r} + ".new", os.O_CREAT | os.O_WRONLY)
os.write(file, b"%d\\n" % os.getpid()); os.close(file)
os.rename({mark!r} + ".new", {mark!r})
time.sleep(600)
"""
LEFT_BEHIND = {
    "in the group": "sleep 600 & echo $! > {mark}",
    "keeping our files open": "sleep 600 <&0 >&1 2>&2 & echo $! > {mark}",
    "in a session of its own": "setsid sleep 600 & echo $! > {mark}",
    "without our files, in a session of its own": (
        "setsid sh -c 'for n in 0 1 2 3 4 5 6 7 8 9; do eval \"exec $n>&-\"; done; exec sleep 600' & echo $! > {mark}"
    ),
    "with an empty environment": "env -i sleep 600 & echo $! > {mark}",
    "deaf to SIGTERM": "(trap '' TERM; setsid sh -c 'while :; do sleep 1; done') & echo $! > {mark}",
    "a daemon by double fork": f"exec {shlex.quote(sys.executable)} -SEc {{daemon}}",
}


@pytest.mark.parametrize("kind", LEFT_BEHIND)
async def test_what_a_success_leaves_behind_is_ended(tmp_path, way, kind):
    """The exit of the command ends the attempt; a descendant that lives on is found wherever it went, and ended."""
    mark = tmp_path / "mark"
    daemon = shlex.quote(DAEMON.format(mark=str(mark)))
    raw = await run(shell(tmp_path, LEFT_BEHIND[kind].format(mark=mark, daemon=daemon), grace_seconds=0.5))
    assert (raw.exit_code, raw.ended_by, raw.survivors) == (0, "itself", ())
    pid = pid_in(mark)
    assert pid is not None
    assert not lives(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is told by /proc alone")
async def test_the_lock_alone_betrays_a_descendant(tmp_path):
    """No tag, another session: the inherited descriptor of the lock is proof enough."""
    mark = tmp_path / "mark"
    raw = await run(shell(tmp_path, f"env -i setsid sleep 600 & echo $! > {mark}; sleep 0.2"))
    assert raw.survivors == ()
    assert not lives(pid_in(mark))


@pytest.mark.parametrize("kind", ["in the group", "in a session of its own", "a daemon by double fork"])
async def test_a_cancel_ends_the_whole_tree(tmp_path, way, kind):
    """Descendants outside the group are ended with it while the command itself still runs."""
    mark = tmp_path / "mark"
    daemon = shlex.quote(DAEMON.format(mark=str(mark)).replace("sys.exit(0)", "time.sleep(600)"))
    stop = asyncio.Event()
    script = LEFT_BEHIND[kind].format(mark=mark, daemon=daemon)
    task = asyncio.create_task(run(shell(tmp_path, f"{script}; sleep 600"), cancel=stop))
    await until(lambda: pid_in(mark))
    stop.set()
    raw = await task
    assert (raw.ended_by, raw.survivors) == ("cancel", ())
    assert not lives(pid_in(mark))


async def test_processes_of_others_are_left_alone(tmp_path, way):
    """An orphan that this process adopted but cannot prove to be the attempt's is not touched, nor is another attempt."""
    stranger = detached("sleep", "600")
    other = tmp_path / "other"
    other.mkdir()
    stop = asyncio.Event()
    neighbour = start(shell(other, "setsid sleep 600 & sleep 600", attempt_id="task-1.a1.00000002"))
    try:
        await run(shell(tmp_path, "setsid sleep 600 & exit 0"))
        assert lives(stranger)
        assert lives(neighbour.pid)
    finally:
        stop.set()
        assert (await neighbour.wait(stop)).survivors == ()
        os.kill(stranger, signal.SIGKILL)


async def test_what_is_older_than_the_command_is_left_alone(tmp_path, monkeypatch):
    """Where the whole machine is scanned, nobody older than the command can be its descendant, whatever else matches."""
    monkeypatch.setattr(survivors, "table", pstable)
    monkeypatch.setattr(survivors, "_adopting", lambda _pid: False)
    monkeypatch.setattr(survivors.Family, "_is_ours", lambda _family, living: living.pid == older)
    older = detached("sleep", "600")
    born = pstable.identify(older).started_at
    await until(lambda: time.time() > born + 1.5)
    assert (await run(shell(tmp_path, "exit 0"))).survivors == ()
    assert lives(older)
    os.kill(older, signal.SIGKILL)


async def test_the_grace_is_not_waited_out_for_those_who_were_never_warned(tmp_path):
    """Once the warned group has gone, what lives outside it gets its SIGTERM at once."""
    mark = tmp_path / "mark"
    stop = asyncio.Event()
    ask = shell(tmp_path, f"setsid sleep 600 & echo $! > {mark}; exec sleep 600", grace_seconds=60.0)
    task = asyncio.create_task(run(ask, cancel=stop))
    await until(lambda: pid_in(mark))
    stop.set()
    async with asyncio.timeout(10):
        assert (await task).survivors == ()
    assert not lives(pid_in(mark))


async def test_many_at_once_each_get_their_own_end(tmp_path, way):
    """Trees side by side do not mix up codes, files or orphans."""
    count = deep(20, 50)

    async def one(number: int) -> tuple[RawRun, str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        ask = shell(folder, f"setsid sleep 600 & echo {number}; exit {number}", attempt_id=f"t.a1.{number:08x}")
        return await run(ask), text_of(ask)

    ended = await asyncio.gather(*(one(number) for number in range(count)))
    assert [raw.exit_code for raw, _ in ended] == list(range(count))
    assert [text for _, text in ended] == [f"{number}\n" for number in range(count)]
    assert {raw.survivors for raw, _ in ended} == {()}


async def test_a_cancel_before_the_start_starts_nothing(tmp_path):
    """No file is made, no process is born."""
    stop = asyncio.Event()
    stop.set()
    raw = await run(command(tmp_path, "/bin/true"), cancel=stop)
    assert (raw.ended_by, raw.pid, raw.exit_code) == ("cancel", None, None)
    assert list(tmp_path.iterdir()) == []


async def test_a_cancel_after_the_exit_comes_too_late(tmp_path):
    """A result that is there is not thrown away."""
    stop = asyncio.Event()
    running = start(command(tmp_path, "/bin/true"))
    await until(lambda: survivors.identify(running.pid).zombie)
    stop.set()
    raw = await running.wait(stop)
    assert (raw.ended_by, raw.exit_code) == ("itself", 0)


async def test_when_the_waiting_task_is_cancelled_the_tree_is_ended(tmp_path, way):
    """Nobody waits any more, so nothing may go on."""
    mark = tmp_path / "mark"
    task = asyncio.create_task(run(shell(tmp_path, f"setsid sleep 600 & echo $! > {mark}; sleep 600")))
    await until(lambda: pid_in(mark))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lives(pid_in(mark))
    assert not survivors.lock_held(str(tmp_path / "lock"))


async def test_a_second_cancellation_does_not_wait_for_the_grace(tmp_path, way):
    """Someone in a hurry gets SIGKILL at once."""
    ask = shell(tmp_path, "trap '' INT TERM; echo $$; while :; do sleep 1; done", grace_seconds=600.0)
    task = asyncio.create_task(run(ask))
    await until(lambda: pid_in(tmp_path / "stdout"))
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not lives(pid_in(tmp_path / "stdout")))


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors and children are counted by /proc")
async def test_two_hundred_runs_leave_no_descriptor_and_no_zombie(tmp_path):
    """Each run gives back all it took, its adopted orphans included."""
    task = shell(tmp_path, "sh -c 'sleep 0 & exit 0' & setsid sleep 600 & exit 0")
    await run(task)
    gc.collect()
    descriptors, children = len(os.listdir("/proc/self/fd")), set(procfs.children(os.getpid()))
    for _ in range(190):
        await run(command(tmp_path, "/bin/true"))
    for _ in range(10):
        await run(task)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    left = [procfs.identify(pid) for pid in set(procfs.children(os.getpid())) - children]
    assert left == []


@pytest.mark.skipif(sys.platform != "linux", reason="the subreaper is Linux's")
async def test_a_chain_of_forks_hides_nothing_by_ending_while_it_is_looked_for(tmp_path):
    """Each link that ends hands its child on to us, between any two reads of ours: still nothing lives or rots."""
    before = set(procfs.children(os.getpid()))
    for number in range(40):
        attempt = f"t.a1.{number:08x}"
        chain = "setsid sleep 600 & (setsid setsid sleep 600 &) & exit 0"
        assert (await run(shell(tmp_path, chain, attempt_id=attempt))).survivors == ()
        assert not survivors.alive(attempt, str(tmp_path / "lock")).any
    rows = [procfs.identify(pid) for pid in set(procfs.children(os.getpid())) - before]
    assert [row for row in rows if row and row.zombie and row.session not in (row.pid, os.getsid(0))] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the subreaper is Linux's")
async def test_a_parent_that_ends_right_after_the_list_was_read_does_not_hide_its_child(tmp_path, monkeypatch):
    """The list of our children shows the parent only, the look finds it dead, the child has just become ours."""
    mark = tmp_path / "mark"
    between = f"setsid sleep 600 & echo $! > {mark}.new; mv {mark}.new {mark}; exec sleep 600"
    running = start(shell(tmp_path, f"sh -c {shlex.quote(between)} & echo $!; exit 0"))
    await until(lambda: pid_in(mark) and survivors.identify(running.pid).zombie)
    listed, parent = procfs.given, pid_in(tmp_path / "stdout")

    def list_then_death() -> list[int]:
        found = listed()
        if lives(parent):
            os.kill(parent, signal.SIGKILL)
            while lives(parent):
                pass
        return found

    with monkeypatch.context() as patched:
        patched.setattr(procfs, "given", list_then_death)
        patched.setattr(survivors, "lock_held", lambda _path: False)
        found = running._family.alive(leader_ended=True)
    assert [living.pid for living in found.processes] == [pid_in(mark)]
    assert (await running.wait()).survivors == ()


@pytest.mark.skipif(sys.platform != "linux", reason="the subreaper is Linux's")
async def test_an_orphan_that_ended_unseen_is_reaped_in_time(tmp_path, monkeypatch):
    """A zombie nobody waits for does not stay as long as the daemon lives."""
    await run(command(tmp_path, "/bin/true"))
    detached("true")
    monkeypatch.setattr(survivors, "_UNOWNED_ZOMBIE_SECONDS", 0.0)
    mine = os.getsid(0)

    def unowned() -> list[procfs.Living]:
        rows = [procfs.identify(pid) for pid in procfs.children(os.getpid())]
        return [row for row in rows if row and row.zombie and row.session != mine]

    await until(unowned)
    await run(command(tmp_path, "/bin/true"))
    await run(command(tmp_path, "/bin/true"))
    assert unowned() == []


async def test_a_descendant_that_cannot_be_ended_is_named(tmp_path, monkeypatch):
    """What outlives SIGKILL is told by pid and name; the attempt ends all the same."""
    monkeypatch.setattr(process, "KILL_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(survivors, "send", lambda _living, _signum: False)
    mark = tmp_path / "mark"
    raw = await run(shell(tmp_path, f"setsid sleep 600 & echo $! > {mark}; sleep 0.1", grace_seconds=0.1))
    pid = pid_in(mark)
    os.kill(pid, signal.SIGKILL)
    assert raw.exit_code == 0
    assert raw.survivors == (f"{pid} sleep",)


async def test_an_agent_that_spoils_its_lock_file_stops_nothing(tmp_path):
    """The lock is one witness of three: without it the tree is still found."""
    raw = await run(shell(tmp_path, "setsid sleep 600 & rm lock; mkdir lock; exit 0"))
    assert (raw.exit_code, raw.survivors) == (0, ())


def test_the_attempts_lock_is_never_unlocked_by_hand():
    """An unlock would free it for the living child too; only closing is allowed."""
    for module in (process, survivors):
        assert "LOCK_UN" not in Path(module.__file__).read_text()
    assert fcntl.LOCK_UN
