"""What is still alive of an attempt: found after the death of its daemon, proven before it is touched, and ended."""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.adapters import cgroups, procfs, pstable, survivors
from brain_daemon.adapters.process import Command, run
from brain_daemon.model.errors import StorageError

# Of its own in each run: what carries the tag is ended wherever on the machine it is, also in another run of these tests.
ATTEMPT = f"task-9.a1.{os.getpid():08x}"
PARENT = """
import asyncio, sys, time
from brain_daemon.adapters.process import Command, start
folder, attempt, script = sys.argv[1:4]
running = start(Command(
    argv=("/bin/sh", "-c", script), env={"PATH": "/usr/bin:/bin"}, cwd=folder, stdin_path=None,
    stdout_path=folder + "/stdout", stderr_path=folder + "/stderr", lock_path=folder + "/lock", attempt_id=attempt,
    timeout_seconds=None, inactivity_seconds=None, output_limit_bytes=1 << 20,
))
print(running.pid, flush=True)
if sys.argv[4:]:
    asyncio.run(running.wait())
time.sleep(600)
"""


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until `holds()`, or fail."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


@pytest.fixture(params=["native", "portable"])
def table(request, monkeypatch):
    """Each table of processes: /proc and psutil."""
    chosen = survivors.table if request.param == "native" else pstable
    monkeypatch.setattr(survivors, "table", chosen)
    return chosen


@pytest.fixture
def orphaned(tmp_path) -> Iterator[Callable[[str], int]]:
    """Starts a script as an attempt of a daemon, then kills that daemon with SIGKILL; gives the pid of the script."""
    lock = str(tmp_path / "lock")

    def go(script: str, *waiting: str) -> int:
        argv = [sys.executable, "-c", PARENT, str(tmp_path), ATTEMPT, script, *waiting]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=_importing()) as parent:
            pid = int(parent.stdout.readline())
            until(lambda: not waiting or _told(tmp_path).endswith("\n"))
            parent.kill()
        return pid

    yield go
    assert survivors.end(ATTEMPT, lock, 0.0) == ()


def _told(folder: Path) -> str:
    """What the script has said so far: a shell makes the file before it writes the line."""
    file = folder / "told"
    return file.read_text() if file.exists() else ""


def _importing() -> dict[str, str]:
    root = str(Path(survivors.__file__).parents[2])
    return {**os.environ, "PYTHONPATH": root}


def test_nothing_lives_of_an_attempt_that_never_was(tmp_path, table):
    """No lock file and no tag: nothing to wait for."""
    found = survivors.alive(ATTEMPT, str(tmp_path / "lock"))
    assert not found.any
    assert (found.lock_held, found.processes) == (False, ())


def test_a_child_outlives_its_killed_daemon_and_is_seen(tmp_path, table, orphaned):
    """Lock and tag both tell, with pid, name and time of start."""
    before = time.time()
    pid = orphaned("sleep 600")
    found = survivors.alive(ATTEMPT, str(tmp_path / "lock"))
    assert found.any
    assert found.lock_held
    first = next(living for living in found.processes if living.pid == pid)
    assert first.name == "sh"
    assert before - 2 < first.started_at < time.time() + 2


def test_a_child_that_closed_the_lock_is_seen_by_its_tag(tmp_path, table, orphaned):
    """Programs close what they inherit; the environment stays."""
    orphaned('for n in 3 4 5 6 7 8 9; do eval "exec $n>&-"; done; echo ready; sleep 600')
    until((tmp_path / "stdout").read_text)
    lock = str(tmp_path / "lock")
    found = survivors.alive(ATTEMPT, lock)
    assert not survivors.lock_held(lock)
    assert found.any


@pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is told by /proc alone")
def test_a_child_that_shed_its_tag_is_seen_and_ended_by_its_lock(tmp_path, orphaned):
    """A holder of the lock is found by the descriptor it inherited."""
    orphaned("exec env -i /bin/sleep 600")
    lock = str(tmp_path / "lock")
    until(lambda: [living.name for living in survivors.alive(ATTEMPT, lock).processes] == ["sleep"])
    assert survivors.alive(ATTEMPT, lock).lock_held
    assert survivors.end(ATTEMPT, lock, 1.0) == ()
    assert not survivors.lock_held(lock)


SHEDDING = """
while [ ! -s lock.cgroup ] || ! grep -q brain- /proc/self/cgroup; do sleep 0.01; done
for n in 3 4 5 6 7 8 9; do eval "exec $n>&-"; done
setsid env -i /bin/sleep 600 &
echo $! > told
"""


def _groups_work() -> bool:
    """Whether the kernel lets a process be moved here: a container may show a group and forbid that."""
    lock = os.path.join(tempfile.gettempdir(), f"{ATTEMPT}.lock")
    with subprocess.Popen(["/bin/sleep", "600"]) as moved:
        cgroups.enter([moved.pid], ATTEMPT, lock)
        works = moved.pid in cgroups.members(ATTEMPT, lock)
        moved.kill()
    cgroups.leave(ATTEMPT, lock)
    return works


needs_groups = pytest.mark.skipif(not _groups_work(), reason="no control group can be made here (cgroup v2)")


@needs_groups
def test_a_child_that_shed_session_lock_and_tag_is_seen_and_ended_by_its_group(tmp_path, orphaned):
    """After the death of its daemon nothing else tells of it; the group goes with it."""
    orphaned(f"{SHEDDING}exec sleep 600 < /dev/null", "wait")
    lock = str(tmp_path / "lock")
    shed = int((tmp_path / "told").read_text())
    until(lambda: Path(f"/proc/{shed}/comm").read_text() == "sleep\n")
    assert procfs.tag(shed, survivors.TAG) is None
    assert shed in [living.pid for living in survivors.alive(ATTEMPT, lock).processes]
    group = (tmp_path / "lock.cgroup").read_text()
    assert survivors.end(ATTEMPT, lock, 1.0) == ()
    assert not os.path.exists(group)
    assert not (tmp_path / "lock.cgroup").exists()


@needs_groups
def test_a_run_leaves_no_group_behind_and_ends_what_is_in_it(tmp_path):
    """What the program left behind is ended with it."""
    command = Command(
        argv=("/bin/sh", "-c", SHEDDING),
        env={"PATH": "/usr/bin:/bin"},
        cwd=str(tmp_path),
        stdin_path=None,
        stdout_path=str(tmp_path / "stdout"),
        stderr_path=str(tmp_path / "stderr"),
        lock_path=str(tmp_path / "lock"),
        attempt_id=ATTEMPT,
        timeout_seconds=None,
        inactivity_seconds=None,
        output_limit_bytes=1 << 20,
    )
    raw = asyncio.run(run(command))
    assert (raw.exit_code, raw.survivors) == (0, ())
    left = survivors.identify(int((tmp_path / "told").read_text()))
    assert left is None or left.zombie
    assert not os.path.exists(os.path.join(cgroups.home() or "", f"brain-{ATTEMPT}"))


@pytest.mark.parametrize("told", ["/sys/fs/cgroup", "brain-other", "\0", ""])
def test_a_file_that_names_another_group_counts_for_nothing(tmp_path, told):
    """A child may write beside its lock: nobody else's processes may come to be ended for that."""
    (tmp_path / "lock.cgroup").write_text(told)
    assert cgroups.members(ATTEMPT, str(tmp_path / "lock")) == []
    cgroups.leave(ATTEMPT, str(tmp_path / "lock"))
    assert (tmp_path / "lock.cgroup").exists()


def test_somebody_who_only_looks_at_the_lock_file_is_no_holder(tmp_path, orphaned):
    """An open file is not a held lock: the reader must not be ended with the attempt."""
    lock = str(tmp_path / "lock")
    orphaned("exec env -i /bin/sleep 600")
    with open(lock) as looking, subprocess.Popen(["/bin/sleep", "600"], stdin=looking) as reader:
        assert reader.pid not in procfs.holders(lock)
        survivors.end(ATTEMPT, lock, 1.0)
        assert reader.poll() is None
        reader.kill()


def test_an_unseen_holder_is_still_alive_and_named_by_the_lock(tmp_path, monkeypatch):
    """Where the holder cannot be found the attempt is alive all the same, and not being able to end it is said."""
    monkeypatch.setattr(survivors, "table", pstable)
    monkeypatch.setattr(survivors, "KILL_WAIT_SECONDS", 0.0)
    lock = tmp_path / "lock"
    argv = ["flock", "-x", str(lock), "sh", "-c", "echo held; exec sleep 600"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as holder:
        holder.stdout.readline()
        assert survivors.alive(ATTEMPT, str(lock)).any
        assert survivors.end(ATTEMPT, str(lock), 0.0) == (f"a process that cannot be seen from here and holds {lock}",)
        os.killpg(holder.pid, signal.SIGKILL)


def test_the_end_of_an_orphaned_tree_is_complete(tmp_path, table, orphaned):
    """Sessions of their own and deafness to SIGTERM do not help."""
    orphaned("setsid sleep 600 & trap '' TERM; echo ready; while :; do sleep 1; done")
    until((tmp_path / "stdout").read_text)
    lock = str(tmp_path / "lock")
    assert survivors.end(ATTEMPT, lock, 0.2) == ()
    assert not survivors.alive(ATTEMPT, lock).any


def test_two_who_ask_at_once_do_not_take_each_other_for_the_attempt(tmp_path):
    """The probe of the lock is shared."""
    lock = tmp_path / "lock"
    lock.touch()
    answers = []
    askers = [
        threading.Thread(target=lambda: answers.extend(survivors.lock_held(str(lock)) for _ in range(500)))
        for _ in range(4)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(answers) == 2000
    assert not any(answers)


def test_a_lock_that_cannot_be_read_is_not_taken_for_free(tmp_path):
    """Not knowing is an error of its own."""
    loop = tmp_path / "lock"
    loop.symlink_to(loop)
    with pytest.raises(StorageError, match="make it readable"):
        survivors.alive(ATTEMPT, str(loop))


def test_a_process_is_signalled_only_while_it_is_the_one_that_was_meant(table):
    """A pid that has passed to another process is nobody's."""
    with subprocess.Popen(["/bin/sleep", "600"]) as child:
        meant = table.identify(child.pid)
        former = dataclasses.replace(meant, start=meant.start - 1)
        assert not survivors.send(former, signal.SIGKILL)
        assert child.poll() is None
        assert survivors.send(meant, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not survivors.send(meant, signal.SIGKILL)


def test_without_pidfd_a_process_is_still_identified_before_its_signal(monkeypatch):
    """Systems without pidfd lose the atomicity, not the proof."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    with subprocess.Popen(["/bin/sleep", "600"]) as child:
        meant = survivors.identify(child.pid)
        assert not survivors.send(dataclasses.replace(meant, start=meant.start - 1), signal.SIGKILL)
        assert survivors.send(meant, signal.SIGKILL)


def test_one_who_asks_from_inside_the_attempt_does_not_end_itself(tmp_path):
    """A `brain` command run by an agent carries the tag too and must not be its own victim."""
    script = f"import brain_daemon.adapters.survivors as s; print(s.end({ATTEMPT!r}, {str(tmp_path / 'lock')!r}, 0.0))"
    environment = {**_importing(), survivors.TAG: ATTEMPT}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "()\n"


def test_both_tables_tell_the_same(tmp_path):
    """/proc and psutil agree on who a process is, and on its tag."""
    with subprocess.Popen(["/bin/sleep", "600"], env={survivors.TAG: ATTEMPT}, start_new_session=True) as child:
        until(lambda: procfs.tag(child.pid, survivors.TAG))  # Popen returns in the middle of exec
        rows = [table.identify(child.pid) for table in (procfs, pstable)]
        tags = [table.tag(child.pid, survivors.TAG) for table in (procfs, pstable)]
        child.kill()
    first, second = ((row.pid, row.parent, row.group, row.session, row.zombie, row.name) for row in rows)
    assert first == second == (child.pid, os.getpid(), child.pid, child.pid, False, "sleep")
    assert rows[0].started_at == pytest.approx(rows[1].started_at, abs=1.5)
    assert tags == [ATTEMPT, ATTEMPT]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_a_hostile_name_does_not_confuse_the_table(tmp_path):
    """A process may be called anything, parentheses, spaces and line ends included."""
    evil = tmp_path / "a) Z 1 (\nb"
    shutil.copy(shutil.which("sleep"), evil)
    with subprocess.Popen([str(evil), "600"]) as child:
        row = procfs.identify(child.pid)
        child.kill()
    assert row.parent == os.getpid()
    assert not row.zombie
    assert row.name.startswith("a) Z 1 (?b")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_a_survivor_is_named_with_its_script_but_never_with_its_arguments(tmp_path):
    """Command lines hold prompts and keys; only the name of a script by its absolute path is shown."""
    script = tmp_path / "client.py"
    script.write_text("import time; print('up', flush=True); time.sleep(600)")
    argv = [sys.executable, str(script), "--key", "sk-secret"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as child, contextlib.ExitStack() as after:
        after.callback(child.kill)
        child.stdout.readline()
        words = {table.described(table.identify(child.pid)) for table in (procfs, pstable)}
    assert len(words) == 1
    assert words.pop().endswith("(client.py)")


@pytest.mark.parametrize("table", [procfs, pstable])
def test_a_process_that_is_gone_is_nobody(table):
    """Every question about it has an empty answer, none raises."""
    with subprocess.Popen(["/bin/true"]) as child:
        pass
    assert table.identify(child.pid) is None
    assert table.tag(child.pid, survivors.TAG) is None
    assert not table.children(child.pid)


@given(st.text())
def test_a_name_is_always_one_short_printable_line(name):
    """Whatever a process calls itself can be shown on a terminal."""
    shown = procfs.plain(name)
    assert len(shown) <= 40
    assert shown == "" or shown.isprintable()


@given(st.integers(), st.floats(0, 1e9), st.text(), st.text())
def test_a_process_is_known_by_pid_and_start_alone(pid, start, name, other):
    """A process that renames itself or gets a new parent is the same one."""
    values = {"pid": pid, "start": start, "group": 1, "session": 1, "zombie": False, "started_at": 0.0}
    first = procfs.Living(name=name, parent=2, **values)
    assert first == procfs.Living(name=other, parent=1, **values)
    assert first != procfs.Living(name=name, parent=2, **(values | {"pid": pid + 1}))
