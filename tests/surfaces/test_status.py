"""`brain status` and `brain watch`: quick, light, and plain where nobody looks."""

import fcntl
import json
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
from contextlib import closing

import pytest

from brain_daemon.store.journal import Hold
from brain_daemon.surfaces.cli import ENTRIES
from tests.depth import deep

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
MOST_TIMES_PYTHON = 8
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

RUN = "import sys; sys.argv = ['brain', '--brain', *sys.argv[1:]]; from brain_daemon.surfaces.cli import main; main()"
OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "


def work(brain) -> None:
    brain.echo()
    brain.drop("one.md")
    brain.drop("bad.md", "---\npriority: nonsense\n---\n")
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    brain.run_once()


@pytest.fixture
def worked(made_once):
    """Done, failed and held tasks."""
    return made_once(work)


def on_a_terminal(brain, *arguments, keys=b"", until=b"", deadline_seconds=60.0):
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
        return process.wait(60), said.decode()
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
        await running.started("busy")
        said = cli("status")
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


def processor_seconds(*command: str) -> float:
    """The least of three runs: the machine the tests run on may be slow, and busy with others."""
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", *command], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


@pytest.mark.parametrize("arguments", [("status",), ("--help",)])
def test_it_takes_little_more_than_python_itself(worked, arguments):
    """A third of a second where Python with what is needed anyway takes a twentieth: on any machine, in processor time."""
    light = processor_seconds("import click, dataclasses, json, platformdirs, sqlite3, subprocess, tomllib")
    assert processor_seconds(RUN, str(worked.root), *arguments) < MOST_TIMES_PYTHON * light


def test_many_pending_files_do_not_slow_it_down(brain):
    """They are counted and not read: whoever opened a named pipe would wait for ever."""
    count = deep(2_000, 20_000)
    for number in range(count - 1):
        os.close(os.open(brain.pending / f"task-{number}.md", os.O_CREAT | os.O_WRONLY))
    os.mkfifo(brain.pending / "task-pipe.md")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(brain.root), "status"], capture_output=True, text=True, check=True, timeout=120
    )
    assert f"{count} pending" in done.stdout


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


def test_breakers_that_are_not_closed_are_shown_with_what_comes_next(cli, brain):
    """Open until a time that comes or has come, or until a check; half-open with its probe or without; and for programs."""
    opened = {"state": "open", "since": 1e9, "until": 4e9, "trips": 1, "why": "unavailable: gone", "by_check": False}
    half = {"state": "half-open", "trips": 1, "why": "unavailable: gone", "probe": None}
    states = {
        "away": opened,
        "back": {**opened, "until": 1e9 + 1},
        "locked": {**opened, "why": "auth: no", "by_check": True},
        "next": half,
        "tried": {**half, "probe": "one.a1"},
    }
    with closing(brain.open()) as here:
        here.journal.set("breakers", json.dumps(states))
    said = cli("status").out
    assert "away       open until 2096-10-02T07:06:40Z, in " in said
    assert "back       open, the next task tries it" in said
    assert "locked     open until its check passes" in said
    assert "next       half-open, the next task tries it" in said
    assert "tried      half-open, one.a1 tries it" in said
    assert said.count("unavailable: gone") == 4
    first = cli("status", "--json").json["breakers"][0]
    assert first == {
        "interface": "away", "breaker": "open", "why": "unavailable: gone", "since": "2001-09-09T01:46:40Z",
        "until": "2096-10-02T07:06:40Z", "probe": None,
    }  # fmt: skip
