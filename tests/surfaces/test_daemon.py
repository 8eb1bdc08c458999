"""`brain run` and the commands that move a daemon: states, exit codes, the log."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from brain_daemon.store.control import post
from brain_daemon.store.files import Files

TASK = "# Task\n\nsay it\n"


def events(brain) -> list[dict]:
    """The daemon's own log."""
    return [json.loads(line) for line in (Path(brain.layout.state) / "daemon.log").read_text().splitlines()]


def test_one_pass_exits_0_or_1_by_what_its_tasks_did(cli, brain):
    """For cron and CI; its log is JSON lines in the state folder and nothing is printed into a pipe."""
    brain.echo()
    brain.drop("one.md", TASK)
    said = cli("run", "--once")
    assert (said.code, said.out, said.complaint) == (0, "", "")
    assert events(brain)[0]["action"] == "start"
    brain.drop("two.md", "---\npriority: whenever\n---\nx\n")
    assert cli("run", "--once").code == 1
    assert (brain.where("one"), brain.where("two")) == (["completed"], ["failed"])


def test_commits_can_be_left_to_the_user(cli, brain):
    """With --no-commit results are written and git is as it was."""
    brain.echo()
    before = brain.git("rev-parse", "HEAD")
    brain.drop("one.md", TASK)
    assert cli("run", "--once", "--no-commit").code == 0
    assert brain.where("one") == ["completed"]
    assert brain.git("rev-parse", "HEAD") == before


@pytest.mark.parametrize("option", [["--parallel", "0"], ["--parallel", "many"], ["--twice"]])
def test_bad_options_are_usage_errors(cli, option):
    """Exit code 2."""
    assert cli("run", *option).code == 2


def test_a_second_daemon_exits_at_once_and_names_the_first(cli, daemon):
    """With its process, and 1."""
    with daemon() as running:
        said = cli("run")
        assert (said.code, f"process {running.pid} on" in said.complaint) == (1, True)


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "stop"])
def test_without_a_daemon_there_is_nothing_to_move(cli, verb):
    """It is said plainly, with the command that starts one."""
    said = cli(verb)
    assert (said.code, "no daemon runs" in said.complaint, "`brain run`" in said.complaint) == (1, True, True)


def test_a_daemon_is_paused_resumed_and_ended(cli, brain, daemon):
    """Nothing starts while it is paused; the answer comes when the daemon shows the state."""
    brain.echo()
    with daemon() as running:
        facts = cli("pause", "--json").json
        assert facts == {
            "asked": "pause",
            "state": "paused",
            "pid": running.pid,
            "brain": str(brain.root),
            "said": facts["said"],
        }
        brain.drop("one.md", TASK)
        assert "not wait" not in cli("pause").out
        assert brain.where("one") == ["pending"]
        assert cli("resume").out.startswith("running")
        running.wait_for(lambda: brain.where("one") == ["completed"])
        assert "process" in cli("drain").out
        assert running.exit_code() == 0


def test_stop_waits_for_the_end_where_asked(cli, brain, daemon, tmp_path):
    """What ran is interrupted and a question; the daemon is gone when the command returns."""
    brain.program("sleeper", "sh", "-c", f"touch {tmp_path}/on; sleep 300")
    with daemon(grace="200ms") as running:
        brain.drop("one.md", TASK)
        running.wait_for((tmp_path / "on").exists)
        assert cli("stop", "--wait", "--json").json["state"] == "stopped"
        assert running.exit_code() == 0
    assert "interrupted" in brain.questions.read_text()


def test_drain_lets_what_runs_end(cli, brain, daemon, tmp_path):
    """Pending tasks stay pending."""
    go = tmp_path / "go"
    brain.program("sleeper", "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done")
    with daemon(parallel="1") as running:
        brain.drop("one.md", TASK)
        running.wait_for(lambda: brain.runs("one"))
        brain.drop("two.md", TASK)

        def let_it_end() -> None:
            running.wait_for(lambda: running.state() == "draining")
            go.touch()

        letting = threading.Thread(target=let_it_end)
        letting.start()
        assert cli("drain", "--wait").code == 0
        letting.join()
        assert running.exit_code() == 0
    assert (brain.where("one"), brain.where("two")) == (["completed"], ["pending"])


def test_a_pause_that_outlived_its_daemon_can_be_lifted(cli, brain, daemon):
    """The next daemon starts tasks again."""
    brain.echo()
    with daemon() as running:
        cli("pause")
        running.signal(signal.SIGTERM)
        running.exit_code()
    assert "lifted for the next one" in cli("resume").out
    brain.drop("one.md", TASK)
    assert cli("run", "--once").code == 0
    assert brain.where("one") == ["completed"]


def test_a_daemon_that_does_not_answer_is_said(cli, brain, daemon, monkeypatch):
    """A stopped process keeps its lock; the request stays for when it goes on."""
    monkeypatch.setattr("brain_daemon.surfaces.commands.daemon._ANSWER_SECONDS", 0.2)
    with daemon() as running:
        running.signal(signal.SIGSTOP)
        assert "has not answered within 0.2 s, it is running" in cli("pause").out
        running.signal(signal.SIGCONT)
        running.wait_for(lambda: running.state() == "paused")


@pytest.mark.parametrize(("answer", "usable"), [("y", True), ("n", False)])
def test_a_terminal_is_asked_about_interfaces_that_came_with_git(brain, answer, usable):
    """Yes lets it run here, no does not; what it would run is shown first."""
    brain.program("upper", "tr", "a-z", "A-Z")
    brain.commit()
    brain.drop("one.md", "---\ninterface: upper\n---\nsay it\n")
    master, slave = pty.openpty()
    os.write(master, f"{answer}\n".encode())
    command = [sys.executable, "-m", "brain_daemon", "--brain", str(brain.root), "run", "--once"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    printed = b""
    while True:
        try:
            chunk = os.read(master, 1 << 16)
        except OSError:
            break
        if not chunk:
            break
        printed += chunk
    os.close(master)
    process.wait(60)
    said = printed.decode()
    assert "run: tr a-z A-Z" in said
    assert "the daemon runs" in said
    assert brain.where("one") == (["completed"] if usable else ["pending"])
    assert f"{int(usable)} completed, 0 failed, {int(not usable)} held" in said


def test_requests_for_a_daemon_that_is_no_more_are_forgotten(cli, brain):
    """A stop that nobody took does not end the next daemon."""
    post(brain.layout, Files(), "stop")
    brain.echo()
    brain.drop("one.md", TASK)
    assert cli("run", "--once").code == 0
    assert brain.where("one") == ["completed"]
