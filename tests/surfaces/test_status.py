"""`brain status` and `brain watch`: quick, light, and plain where nobody looks."""

import fcntl
import os
import pty
import re
import resource
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from brain_daemon.store.journal import Hold
from brain_daemon.surfaces.cli import ENTRIES

HEAVY = {
    "git",
    "pydantic",
    "rich",
    "tiktoken",
    "jmespath",
    "watchdog",
    "filelock",
    "psutil",
    "yaml",
    "asyncio",
    "tenacity",
}
LIMIT_SECONDS = 0.3
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

RUN = "import sys; sys.argv = ['brain', '--brain', *sys.argv[1:]]; from brain_daemon.surfaces.cli import main; main()"
OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "


@pytest.fixture
def worked(brain):
    """Done, failed and held tasks."""
    brain.echo()
    brain.drop("one.md")
    brain.drop("bad.md", "---\npriority: nonsense\n---\n")
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    brain.run_once()
    return brain


def on_a_terminal(brain, *arguments, keys=b"", until=b"", deadline_seconds=30.0):
    """Run a command on a terminal of 80 columns; press `keys` once `until` was shown; exit code and what it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL + RUN, str(brain.root), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    end = time.monotonic() + deadline_seconds
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    said += os.read(ours, 65536)
                except OSError:
                    break
            if keys and until in said:
                os.write(ours, keys)
                keys = b""
        return process.wait(10), said.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_pipe_gets_plain_lines(worked, cli):
    """Daemon, counts, today, and for a task that nobody can do the capability it lacks."""
    said = cli("status")
    assert said.code == 0
    lines = dict(line.split(maxsplit=1) for line in said.out.split("\n\n")[0].splitlines())
    assert lines["daemon"] == "stopped"
    assert lines["tasks"] == "1 pending (1 held), 0 active, 1 completed, 1 failed"
    assert lines["today"].startswith("1 completed, 1 failed, $0")
    assert lines["you"].startswith("1 question waits")
    assert re.search(r"blind +nobody offers vision", said.out)
    assert "\x1b" not in said.out


async def test_the_running_daemon_and_its_work_are_shown(brain, cli):
    """Which task is on which interface, since when, by which process."""
    brain.echo("slow", "delay_seconds: 60")
    async with brain.running() as running:
        brain.drop("busy.md", "---\ninterface: slow\n---\n# Busy\n")
        said = await running.until(lambda: "busy" in (found := cli("status")).out and found, "the task to run")
    assert f"running, process {os.getpid()} on" in said.out
    assert re.search(r"busy +slow +\d+ s +running", said.out)


def test_no_heavy_library_is_imported(worked):
    """The rule that keeps it quick: what a pipe gets needs the standard library, click and platformdirs."""
    code = (
        f"{RUN.removesuffix('main()')}\ntry:\n    main()\nfinally:\n    print(' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(worked.root), "status"], capture_output=True, text=True, check=True
    )
    assert "1 completed" in done.stdout
    assert HEAVY & {name.partition(".")[0] for name in done.stderr.split()} == set()


@pytest.mark.parametrize("arguments", [("status",), ("--help",)])
def test_it_answers_well_under_a_third_of_a_second(worked, arguments):
    """Processor time, the best of some, since the machine the tests run on may be busy with others."""
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", RUN, str(worked.root), *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best < LIMIT_SECONDS


def test_twenty_thousand_pending_files_do_not_slow_it_down(brain):
    """They are counted and not read."""
    for number in range(20_000):
        os.close(os.open(brain.pending / f"task-{number}.md", os.O_CREAT | os.O_WRONLY))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(brain.root), "status"], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "20000 pending" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2 * LIMIT_SECONDS


def test_text_from_outside_moves_no_cursor(brain, cli):
    """Escape sequences in a title, and in the reason why a task is held, are made visible."""
    brain.drop("evil.md", "# Evil \x1b[2J title\n")
    opened = brain.open()
    opened.journal.replace_holds([Hold(task_id="evil", name="evil.md", reason="it says \x1b]0;title\x07")])
    opened.close()
    for arguments in (("status",), ("list",), ("show", "evil"), ("watch",)):
        said = cli(*arguments)
        assert "\\x1b" in said.out
        assert not set("\x1b\x07") & set(said.out)


def test_watch_in_a_pipe_prints_one_look(worked, cli):
    """So that it ends."""
    assert cli("watch").out == cli("status").out


def test_a_terminal_gets_tables_of_eighty_columns(worked):
    """Nothing is wider than the terminal, and nothing is cut away."""
    code, said = on_a_terminal(worked, "status")
    text = _SEQUENCE.sub("", said)
    assert code == 0
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "nobody offers vision" in " ".join(text.split())


def test_watch_is_live_until_q_is_pressed(worked):
    """The board appears on the other screen, and the terminal is given back as it was."""
    code, said = on_a_terminal(worked, "watch", keys=b"q", until=b"HELD")
    assert code == 0
    assert "blind" in said
    assert said.rstrip().endswith(("\x1b[?1049l", "\x1b[?25h"))


def test_watch_ends_by_control_c(worked):
    """No trace is printed."""
    code, said = on_a_terminal(worked, "watch", keys=b"\x03", until=b"HELD")
    assert code == 0
    assert "Traceback" not in said


def test_outside_of_a_brain_it_says_how_to_make_one(cli, tmp_path):
    """A usage error names the command."""
    said = cli("status", root=str(tmp_path))
    assert said.code == 2
    assert "brain init" in said.complaint


OURS = (
    "list show logs status watch interfaces route costs usage doctor verify reindex config completion".split()  # noqa: SIM905
)


@pytest.mark.parametrize("name", OURS)
def test_the_help_of_each_command_has_an_example(cli, name):
    """One line that can be tried."""
    assert name in ENTRIES
    said = cli(name, "--help")
    assert said.code == 0
    assert re.search(rf"Example: .*brain {name}", said.out)


def test_damage_of_the_journal_is_said_beside_the_counts(worked, cli):
    """The folders are told all the same."""
    layout = worked.layout
    for ending in ("-wal", "-shm"):
        if os.path.exists(layout.journal + ending):
            os.unlink(layout.journal + ending)
    with open(layout.journal, "r+b") as handle:
        handle.write(b"scribbled over")
    said = cli("status")
    assert said.code == 0
    assert "1 completed" in said.out
    assert "brain doctor" in said.out
