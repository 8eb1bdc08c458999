"""A brain that may not be written: looking goes on, working is refused in words."""

import os
import subprocess
import sys

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


def look_only(brain, *arguments):
    """A command of the program where nothing can be written; skips where neither way is had."""
    command = [sys.executable, "-m", "brain_daemon", "--brain", str(brain.root), *arguments]
    if os.geteuid() == 0:
        command = ["unshare", "-m", "sh", "-c", MOUNTED, "sh", str(brain.root), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("nothing can be mounted here")
    return done


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
    for command, said in LOOKING:
        done = look_only(worked, *command.split())
        assert done.returncode == 0, (command, done.stderr)
        assert said in done.stdout
    for command in ("run --once", "submit hello"):
        done = look_only(worked, *command.split())
        assert done.returncode == 1
        assert "may not be written" in done.stderr or "Read-only" in done.stderr or "Permission" in done.stderr
        assert "Traceback" not in done.stderr
    doctor = look_only(worked, "doctor")
    assert doctor.returncode == 1
    assert "may not be" in doctor.stdout


def test_a_journal_that_is_not_there_is_not_made_where_nothing_may_be_written(brain):
    """It is said, and what the folders hold is told all the same."""
    brain.drop("one.md")
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "a-w", str(brain.root)], check=True)
    try:
        status = look_only(brain, "status")
        costs = look_only(brain, "costs")
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(brain.root)], check=True)
    assert "1 pending" in status.stdout
    assert costs.returncode == 1
    assert "may not be written" in costs.stderr
