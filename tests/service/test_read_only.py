"""A brain that may not be written: looking goes on, working is refused in words."""

import os
import subprocess
import sys
import tempfile
from typing import NamedTuple

import pytest

# As root nothing is forbidden by permissions: the brain is mounted again, for reading only, in a namespace of its own.
MOUNTED = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 77; shift; exec "$@"'
LOOKING = (
    ("status", "1 completed"),
    ("list", "one"),
    ("show one", "completed on echo"),
    ("costs", "echo"),
    ("verify", "Nothing"),
)


# The program is loaded once; each command runs in a process of its own, forked from there.
COMMANDS = """
import importlib, os, pkgutil, sys
from brain_daemon.surfaces import commands as parts
from brain_daemon.surfaces.cli import main
for part in pkgutil.iter_modules(parts.__path__):
    importlib.import_module(f"{parts.__name__}.{part.name}")
root, folder, *commands = sys.argv[1:]
for number, command in enumerate(commands):
    if (child := os.fork()) == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{folder}/{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv = ["brain", "--brain", root, *command.split()]
        main()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    with open(f"{folder}/{number}.code", "w") as handle:
        handle.write(str(os.waitstatus_to_exitcode(status)))
"""


class Done(NamedTuple):
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def look_only(brain, *commands) -> list[Done]:
    """Commands of the program where nothing can be written; skips where neither way is had."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-c", COMMANDS, str(brain.root), folder, *commands]
        if os.geteuid() == 0:
            program = ["unshare", "-m", "sh", "-c", MOUNTED, "sh", str(brain.root), *program]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip("nothing can be mounted here")
        assert done.returncode == 0, done.stderr
        return [
            Done(int(read(f"{folder}/{number}.code")), read(f"{folder}/{number}.out"), read(f"{folder}/{number}.err"))
            for number in range(len(commands))
        ]


def read(path: str) -> str:
    with open(path) as handle:
        return handle.read()


@pytest.fixture
def worked(brain):
    brain.echo()
    brain.drop("one.md")
    brain.run_once()
    yield brain
    subprocess.run(["chmod", "-R", "u+w", str(brain.root)], check=True)


def test_looking_goes_on_and_working_is_refused_in_words(worked):
    """Status, list, show, costs and verify answer; run and submit say what may not be written."""
    worked.drop("two.md")
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "a-w", str(worked.root)], check=True)
    *looks, ran, submitted, doctor = look_only(
        worked, *(command for command, _ in LOOKING), "run --once", "submit hello", "doctor"
    )
    for (command, said), done in zip(LOOKING, looks, strict=True):
        assert done.returncode == 0, (command, done.stderr)
        assert said in done.stdout
    for done in (ran, submitted):
        assert done.returncode == 1
        assert "may not be written" in done.stderr or "Read-only" in done.stderr or "Permission" in done.stderr
        assert "Traceback" not in done.stderr
    assert doctor.returncode == 1
    assert "may not be" in doctor.stdout


def test_a_journal_that_is_not_there_is_not_made_where_nothing_may_be_written(brain):
    """It is said, and what the folders hold is told all the same."""
    brain.drop("one.md")
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "a-w", str(brain.root)], check=True)
    try:
        status, costs = look_only(brain, "status", "costs")
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(brain.root)], check=True)
    assert "1 pending" in status.stdout
    assert costs.returncode == 1
    assert "may not be written" in costs.stderr
