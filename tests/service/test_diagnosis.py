"""`brain doctor` on a sound brain, and on each kind of trouble it knows."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from brain_daemon.service import diagnosis, machine
from brain_daemon.service.machine import Finding, Level
from brain_daemon.store.files import Files
from brain_daemon.store.locate import layout_of
from brain_daemon.store.locks import BrainLock


@pytest.fixture
def examine(brain, tmp_path):
    """`examine()` gives the findings; settings of the environment as keyword arguments.

    What starts processes to look at vectors and at Chroma has tests of its own (test_memory_check.py).
    """
    questions = tuple(one for one in diagnosis.QUESTIONS if one is not diagnosis._memory)

    def ask(**settings) -> list[Finding]:
        layout = layout_of(str(brain.root), str(tmp_path / "state"))
        return list(diagnosis.examine(layout, {**os.environ, **settings}, questions))

    return ask


def said(findings, level: Level, area: str) -> str:
    return " ".join(f"{one.what} {one.fix}" for one in findings if one.level is level and one.area == area)


def test_a_new_brain_is_well(brain, examine):
    """Nothing is bad before the first run, and each area has been looked at."""
    findings = examine()
    assert [one for one in findings if one.level is Level.BAD] == []
    areas = {one.area for one in findings}
    assert {
        "daemon",
        "disk",
        "filesystem",
        "journal",
        "locks",
        "clock",
        "programs",
        "git",
        "interfaces",
        "secrets",
    } <= areas
    assert "librarian" in said(findings, Level.OK, "interfaces")
    assert "Ann <ann@example.org>" in said(findings, Level.OK, "git")


def test_root_is_told_what_it_means_and_others_are_told_nothing(brain, examine, monkeypatch):
    """What clients may do then, and which of them refuse it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    told = said(examine(), Level.WARN, "user")
    assert "they may change everything on this machine" in told
    assert "claude_code refuses the permission `full`" in told
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "user" not in {one.area for one in examine()}


def test_nothing_is_left_behind_in_the_state_folder(brain, examine):
    """The files that try locks and clocks come and go."""
    examine()
    layout = brain.layout
    assert [name for name in os.listdir(layout.state) if name.startswith(".")] == []


def test_wrong_settings_are_bad_and_everything_else_is_still_looked_at(brain, examine):
    """One bad file stops nothing else."""
    brain.write("brain.toml", "paralel = 3\n")
    findings = examine()
    assert "paralel" in said(findings, Level.BAD, "settings")
    assert "are free" in said(findings, Level.OK, "disk")


def test_disabled_and_paused_brains_say_why_nothing_starts(brain, examine):
    """The two quiet reasons."""
    opened = brain.open()
    opened.journal.set("paused", "yes")
    opened.close()
    findings = examine(BRAIN_ENABLED="false")
    assert "enabled = false" in said(findings, Level.WARN, "settings")
    assert "brain resume" in said(findings, Level.WARN, "daemon")


def test_the_holder_of_a_lock_is_named(brain, examine):
    """A running daemon holds brain.lock; the doctor says which process that is."""
    layout = brain.layout
    code = (
        "import sys, time\n"
        "from brain_daemon.store.files import Files\n"
        "from brain_daemon.store.layout import Layout\n"
        "from brain_daemon.store.locks import BrainLock\n"
        "lock = BrainLock(Layout(*sys.argv[1:]), Files())\n"
        "lock.acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, layout.root, layout.state, layout.work], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        findings = examine()
        holder.kill()
    assert f"brain.lock is held by {holder.pid} " in said(findings, Level.OK, "locks")


def test_less_space_than_the_reserve_is_bad(examine):
    """Below the reserve nothing new is claimed."""
    assert "nothing new is claimed" in said(examine(BRAIN_RESERVE="900000GB"), Level.BAD, "disk")


def test_a_missing_journal_beside_active_tasks_is_bad_and_is_not_made_anew(brain, examine, tmp_path):
    """Missing is never empty: a fresh journal would hide that the old one is gone."""
    (brain.active / "t.md").write_text("# T\n")
    layout = layout_of(str(brain.root), str(tmp_path / "state"))
    for _ in range(2):
        assert layout.journal in said(examine(), Level.BAD, "journal")
    assert not os.path.exists(layout.journal)


def test_an_empty_journal_is_bad(brain, examine):
    """No crash of this program leaves one."""
    brain.open().close()
    layout = brain.layout
    for ending in ("", "-wal", "-shm"):
        if os.path.exists(layout.journal + ending):
            os.truncate(layout.journal + ending, 0)
    assert "is empty" in said(examine(), Level.BAD, "journal")


def test_an_operation_in_progress_is_said(brain, examine):
    """Commits are owed until it has ended."""
    brain.write(".git/MERGE_HEAD", brain.git("rev-parse", "HEAD"))
    assert "a merge is in progress" in said(examine(), Level.WARN, "git")


def test_an_old_index_lock_that_nobody_holds_is_bad(brain, examine):
    """A git that crashed left it; the message says where and does not print a command to run blindly."""
    lock = brain.write(".git/index.lock", "")
    hour_ago = time.time() - 3600
    os.utime(lock, (hour_ago, hour_ago))
    told = said(examine(), Level.BAD, "git")
    assert str(lock) in told
    assert "1 h old" in told
    assert "rm " not in told


def test_a_fresh_index_lock_is_no_trouble(brain, examine):
    """Somebody is committing."""
    brain.write(".git/index.lock", "")
    assert [one for one in examine() if one.level is Level.BAD] == []


def test_a_missing_identity_is_said_with_whose_it_will_be(brain, examine, monkeypatch):
    """It is no trouble: the daemon has a name of its own."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert "brain-daemon" in said(examine(), Level.OK, "git")


def test_lost_git_files_of_the_brain_are_said(brain, examine):
    """Without them git converts line ends and sees working state."""
    (brain.root / ".gitattributes").write_text("")
    (brain.root / ".gitignore").write_text("")
    told = said(examine(), Level.WARN, "git")
    assert "brain/tasks/** -text" in told
    assert "brain/tasks/active/*" in told


def test_a_brain_in_no_repository_is_said(tmp_path):
    """Outcomes are recorded and not committed."""
    (tmp_path / "plain" / "brain" / "tasks" / "pending").mkdir(parents=True)
    layout = layout_of(str(tmp_path / "plain"), str(tmp_path / "state"))
    findings = list(diagnosis.examine(layout, dict(os.environ)))
    assert "in no git repository" in said(findings, Level.WARN, "git")
    assert "none can work" in said(findings, Level.BAD, "interfaces")


def test_interface_files_that_are_wrong_or_wait_are_said(brain, examine):
    """A fault with its line, and an interface that came with git."""
    brain.write("tools/interfaces/wrong.md", "---\nname: wrong\ntype: robot\n---\n# Wrong\n")
    brain.program("fromafar", "cat")
    brain.commit()
    told = said(examine(), Level.WARN, "interfaces")
    assert "wrong.md, line 3" in told
    assert "brain interfaces approve fromafar" in told


def test_a_faulty_routing_table_is_said(brain, examine):
    """The built-in one is used meanwhile."""
    brain.write("context/routing.md", "---\norder: [free, gold]\n---\n# Routing\n")
    assert "gold" in said(examine(), Level.WARN, "routing")


@pytest.mark.parametrize(
    ("mode", "level", "word"), [(0o644, Level.WARN, "read"), (0o666, Level.WARN, "read"), (0o602, Level.BAD, "written")]
)
def test_secret_files_that_others_may_read_are_said(brain, examine, tmp_path, mode, level, word):
    """Both the ones of interfaces and those of the settings."""
    secret = tmp_path / "key"
    secret.write_text("hunter2\n")
    secret.chmod(mode)
    brain.program("keyed", "cat", more=f"auth: {{method: api_key, config_location: {secret}, env: KEYED_API_KEY}}\n")
    told = said(examine(), level, "secrets")
    assert str(secret) in told
    assert word in told
    assert "hunter2" not in told


def test_a_private_secret_file_is_well(brain, examine, tmp_path):
    """Mode 600."""
    secret = tmp_path / "key"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    assert said(examine(BRAIN_SECRET_FILES=str(secret)), Level.WARN, "secrets") == ""


def test_a_file_from_the_future_is_said(brain, examine):
    """Its age and its turn would be wrong."""
    path = brain.drop("later.md")
    tomorrow = time.time() + 86_400
    os.utime(path, (tomorrow, tomorrow))
    assert str(path) in said(examine(), Level.WARN, "clock")


def test_questions_that_wait_are_said(brain, examine):
    """Somebody has to answer them."""
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    brain.run_once()
    assert "brain questions" in said(examine(), Level.WARN, "questions")


def test_a_folder_that_may_not_be_written_is_bad(tmp_path):
    """Whose it is is said; for the superuser everything may be written, so the question is asked of a file instead."""
    (tmp_path / "file").write_text("")
    findings = list(machine.folders([str(tmp_path), str(tmp_path / "file"), str(tmp_path / "missing")]))
    assert [one.level for one in findings] == [Level.BAD, Level.WARN]
    assert "is no folder" in findings[0].what


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", Level.BAD), ("fuse.sshfs", Level.BAD), ("9p", Level.BAD), ("ext4", Level.OK)]
)
def test_state_on_a_network_disk_is_bad(tmp_path, monkeypatch, kind, level):
    """What SQLite and locks promise is not promised there. The nearest mount point above the folder decides."""
    points = {"/": "ext4", str(tmp_path): kind, str(tmp_path / "other"): "tmpfs"}
    mounts = [SimpleNamespace(mountpoint=point, fstype=name) for point, name in points.items()]
    monkeypatch.setattr(machine.psutil, "disk_partitions", lambda **_: mounts)
    findings = list(machine.filesystem(str(tmp_path / "state"), "/"))
    assert findings[0].level is level
    assert kind in findings[0].what


def test_a_lock_that_is_granted_twice_is_bad(tmp_path, monkeypatch):
    """Some mounts grant every lock to everybody."""
    monkeypatch.setattr(machine.fcntl, "flock", lambda *_: None)
    (finding,) = machine.lock_test(str(tmp_path), Files())
    assert finding.level is Level.BAD
    assert list(tmp_path.iterdir()) == []


def test_too_few_file_watches_are_said(monkeypatch):
    """The folders are polled then, and the fix names the setting."""
    monkeypatch.setattr(machine, "_limit", lambda _name: 10)
    findings = list(machine.inotify(6))
    assert not findings or "max_user_watches" in findings[0].fix
    assert bool(findings) is (sys.platform == "linux")


def test_what_cannot_be_looked_at_is_itself_a_finding(brain, examine, monkeypatch):
    """No git on the PATH: said once, and the rest is looked at."""
    monkeypatch.setenv("PATH", "/nonexistent")
    findings = examine(PATH="/nonexistent")
    assert any("git" in one.what and one.level is Level.BAD for one in findings)
    assert "file locks exclude" in said(findings, Level.OK, "locks")


def test_the_daemon_that_runs_is_named(brain, examine):
    """Its state and its process."""
    lock = BrainLock(brain.layout, Files())
    lock.acquire()
    try:
        assert f"process {os.getpid()}" in said(examine(), Level.OK, "daemon")
    finally:
        lock.release()


def test_a_daemon_that_dies_again_and_again_is_said_with_its_log(brain, examine):
    """A few deaths may be an update or a power cut; five in a row are a fault."""
    state = brain.layout.state
    os.makedirs(state, exist_ok=True)
    place = os.path.join(state, "starts.json")
    for starts, level in ((4, None), (5, Level.BAD)):
        with open(place, "w") as handle:
            handle.write(f'{{"starts": {starts}}}')
        told = said(examine(), Level.BAD, "daemon")
        assert ("died 5 times" in told and "daemon.log" in told) is (level is Level.BAD)


def test_a_file_system_that_may_not_be_written_is_said_once(tmp_path, monkeypatch):
    """Not one line for each folder, and with what works all the same."""
    monkeypatch.setattr(machine.os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    (finding,) = machine.folders([str(tmp_path), str(tmp_path)])
    assert finding.level is Level.BAD
    assert "may not be written" in finding.what
    assert "brain status" in finding.fix
