"""`brain submit`, `new`, `lint`, `cancel`, `retry`, `release`."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import Rejection, TaskSpec

TASK = "# Task: one\n\nsay it\n"


@pytest.fixture
def typed(monkeypatch):
    """`typed("text")` is what comes on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def dropped(brain, task_id: str) -> TaskSpec:
    """The task as the daemon will read it."""
    name = f"{task_id}.md"
    task = parse_task(name, (brain.pending / name).read_bytes())
    assert isinstance(task, TaskSpec), task
    return task


# submit


def test_a_prompt_becomes_a_task(cli, brain):
    """Its id alone is printed; the prompt is untouched and its first words are the title."""
    said = cli("submit", "Summarise   the notes\nin three lines")
    task = dropped(brain, said.out.strip())
    assert (said.code, task.text, task.title) == (0, "Summarise   the notes\nin three lines\n", "Summarise the notes")
    assert "no daemon runs" in said.complaint


def test_the_options_become_front_matter(cli, brain):
    """Each under its key, lists from commas or repeated options."""
    options = (
        "--type", "code", "--priority", "high", "--requires", "a,b", "--requires", "c", "--interface", "Upper Case",
        "--after", "x", "--chain", "nightly", "--timeout", "90m", "--model", "sonnet", "--attempts", "3", "--verify", "make test",
    )  # fmt: skip
    assert cli("submit", "-p", TASK, "--id", "one", *options).out == "one\n"
    task = dropped(brain, "one")
    assert (task.type, task.priority, task.requires, task.interface) == ("code", "high", ("a", "b", "c"), "upper_case")
    assert (task.depends_on, task.chain, task.timeout_seconds, task.model) == (("x",), "nightly", 5400.0, "sonnet")
    assert (task.attempts, task.verify, task.title, task.text) == (3, "make test", "one", TASK)
    assert cli("submit", "y", "--id", "two", "--prefer", "upper").code == 0
    assert dropped(brain, "two").preferred_interface == "upper"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_options_join_the_front_matter_that_a_file_has(cli, brain, tmp_path, newline):
    """Below the user's keys, which stay byte for byte; the file's own id is used."""
    text = f"---\nid: mine\npriority: low  # not urgent\n---\n{TASK}".replace("\n", newline)
    (tmp_path / "task.md").write_bytes(text.encode())
    facts = cli("submit", "-f", str(tmp_path / "task.md"), "--type", "code", "--json").json
    assert facts == {"task_id": "mine", "state": "pending", "path": "brain/tasks/pending/mine.md", "daemon": False}
    data = (brain.pending / "mine.md").read_bytes().decode()
    assert data == text.replace(f"urgent{newline}", f"urgent{newline}type: code{newline}")


def test_standard_input_is_a_task(cli, brain, typed):
    """With `-`, and where nothing else is named."""
    for arguments in (("-",), ()):
        typed("from a pipe")
        assert dropped(brain, cli("submit", *arguments).out.strip()).text == "from a pipe"


def test_a_dependency_nobody_knows_is_said_and_waited_for(cli, brain):
    """It may still be dropped."""
    brain.drop("known.md", TASK)
    said = cli("submit", "x", "--after", "known,unknown")
    assert (said.code, "no task is called unknown yet" in said.complaint, "known yet" in said.complaint) == (
        0,
        True,
        True,
    )
    assert said.complaint.count("no task is called") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a", "-p", "b"), "more than once"),
        (("a", "--interface", "x", "--prefer", "y"), "give one of them"),
        (("-p", "  "), "the task is empty"),
        (("a", "--timeout", "soon"), "30m, 1h30m"),
        (("a", "--priority", "urgent"), "high"),
        (("a", "--id", "../a"), "is no id"),
        (("a", "--id", "taken"), "is there already"),
        (("-p", "---\npriority: high\n---\nx", "--priority", "low"), "says `priority` already"),
        (("-p", "---\nid: b\n---\nx", "--id", "c"), "says `id: b`, and --id says c"),
        (("-p", "---\npriority: whenever\n---\nx"), "line 2"),
        (("-p", "---\npriority: high\nx"), "never closed"),
        (("-f", "/nowhere"), "does not exist"),
    ],
)
def test_what_makes_no_task_is_bad_input(cli, brain, arguments, said):
    """Exit code 2 with what to change, and nothing is dropped."""
    brain.drop("taken.md", TASK)
    found = cli("submit", *arguments)
    assert (found.code, said in found.complaint) == (2, True), found
    assert brain.names(brain.pending) == ["taken.md"]


def test_waiting_without_a_daemon_does_the_task_here(cli, brain):
    """Its result is all that standard output has; what else was pending and had not begun stays pending."""
    brain.program("upper", "tr", "a-z", "A-Z")
    said = cli("submit", "say it", "--wait")
    assert (said.code, said.out) == (0, "SAY IT\n")
    assert "no daemon runs: working through the queue here" in said.complaint
    assert brain.dirty() == ""


def test_waiting_tells_programs_what_came_out(cli, brain):
    """The documented shape, for an end and for a hold."""
    brain.program("upper", "tr", "a-z", "A-Z")
    facts = cli("submit", "say it", "--wait", "--json").json
    assert list(facts) == [
        "task_id", "state", "path", "reason", "interface", "model", "duration_seconds", "cost_usd", "cost_basis",
        "attempt_id", "routing", "text",
    ]  # fmt: skip
    assert (facts["state"], facts["interface"], facts["cost_basis"], facts["text"]) == (
        "completed",
        "upper",
        "free",
        "SAY IT\n",
    )
    said = cli("submit", "x", "--requires", "teleport", "--wait", "--json")
    assert (said.code, said.json["state"]) == (1, "pending")
    assert "nobody offers teleport" in said.json["why"]


def test_what_is_waited_for_needs_no_quiet_time(cli, brain, monkeypatch):
    """The command has just put the file there, whole: nobody writes to it any more."""
    monkeypatch.setenv("BRAIN_SETTLE", "1h")
    brain.program("upper", "tr", "a-z", "A-Z")
    assert cli("submit", "say it", "--wait").out == "SAY IT\n"


def test_waiting_for_a_failure_exits_1(cli, brain):
    """The error is told on standard error."""
    brain.program("broken", "sh", "-c", "echo this is why >&2; exit 3")
    said = cli("submit", "x", "--attempts", "1", "--wait")
    assert (said.code, said.out) == (1, "")
    assert "this is why" in said.complaint
    assert "failed (tool_failed) by broken" in said.complaint


def test_waiting_prints_a_long_result_whole(cli, brain, monkeypatch):
    """Also the part of it that the task's file does not hold."""
    monkeypatch.setenv("BRAIN_RESULT_SIZE", "100")
    brain.program("many", "seq", "1", "500")
    said = cli("submit", "x", "--wait")
    assert said.out == "".join(f"{number}\n" for number in range(1, 501))


def test_waiting_beside_a_daemon_leaves_the_work_to_it(cli, brain, daemon):
    """The daemon runs it; the command hears of its end."""
    brain.program("upper", "tr", "a-z", "A-Z")
    with daemon() as running:
        said = cli("submit", "say it", "--wait")
        assert (said.code, said.out, said.complaint.count("no daemon")) == (0, "SAY IT\n", 0)
        assert running.process.poll() is None


def test_waiting_goes_on_here_when_its_daemon_ends(cli, brain, daemon, tmp_path):
    """What the daemon left pending is done by the command that waits."""
    brain.program("upper", "tr", "a-z", "A-Z")
    go = tmp_path / "go"
    brain.program("sleeper", "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done")
    with daemon(parallel="1") as running:
        brain.drop("long.md", "---\ninterface: sleeper\n---\nx\n")
        running.wait_for(lambda: brain.runs("long"))

        def end_it() -> None:
            """Once the command waits beside it, the daemon is to end, and what it runs may."""
            running.wait_for(lambda: len(brain.names(brain.pending)) == 1)
            running.process.terminate()
            running.wait_for(lambda: running.state() == "draining")
            go.touch()

        ending = threading.Thread(target=end_it)
        ending.start()
        said = cli("submit", "say it", "--interface", "upper", "--wait")
        ending.join()
        assert running.exit_code() == 0
    assert (said.code, said.out) == (0, "SAY IT\n")


def test_waiting_in_a_paused_brain_is_no_use(cli, brain):
    """Where no daemon runs nobody would start it: that is said at once."""
    opened = brain.open()
    opened.journal.set("paused", "yes")
    opened.close()
    said = cli("submit", "x", "--wait")
    assert (said.code, "paused" in said.complaint, "`brain resume`" in said.complaint) == (1, True, True)


def test_a_name_submitted_again_is_waited_for_under_its_number(cli, brain):
    """`daily` has ended: the new one is `daily-2`, and its own result is printed."""
    brain.program("upper", "tr", "a-z", "A-Z")
    assert cli("submit", "first", "--id", "daily", "--wait").out == "FIRST\n"
    said = cli("submit", "second", "--id", "daily", "--wait", "--json")
    assert (said.code, said.json["task_id"], said.json["text"]) == (0, "daily-2", "SECOND\n")


# new


def test_a_new_task_is_a_draft_that_parses(cli, brain):
    """Every key is a comment; it starts once its status says ready."""
    path = cli("new", "--id", "weekly-report").out.strip()
    task = parse_task("weekly-report.md", Path(path).read_bytes())
    assert isinstance(task, TaskSpec)
    assert (path, task.draft, task.title, task.warnings) == (
        str(brain.pending / "weekly-report.md"),
        True,
        "weekly report",
        (),
    )
    ready = (
        Path(path).read_text().replace("# priority: high ", "priority: high").replace("status: draft", "status: ready")
    )
    assert parse_task("x.md", ready.encode()).priority == "high"


def test_every_key_of_the_form_is_a_key_of_ours(cli, tmp_path):
    """Taking the comment mark away gives a task without a warning."""
    path = tmp_path / "t.md"
    cli("new", str(path))
    head = path.read_text().replace("# Every key is", "#! Every key is")
    opened = head.replace("\n# ", "\n", head.split("---")[1].count("\n# "))
    task = parse_task("t.md", opened.encode())
    assert isinstance(task, TaskSpec), task
    assert (task.extra, task.warnings, task.depends_on) == ((), (), ("other-task",))


def test_a_new_task_overwrites_nothing(cli, brain, tmp_path):
    """An existing file, a missing folder, no name and two names are bad input."""
    (tmp_path / "mine.md").write_text("mine")
    for arguments in (
        (str(tmp_path / "mine.md"),),
        (str(tmp_path / "no" / "t.md"),),
        ("--id", "a/b"),
        (),
        ("x.md", "--id", "y"),
    ):
        assert cli("new", *arguments).code == 2
    assert (tmp_path / "mine.md").read_text() == "mine"
    assert cli("new", "--id", "draft", "--json").json == {"path": str(brain.pending / "draft.md"), "status": "draft"}


# lint


def test_lint_says_line_field_found_and_allowed(cli, tmp_path):
    """In the manner of a compiler, and exit code 1."""
    path = tmp_path / "task.md"
    path.write_text("---\nid: x\npriority: whenever\n---\nsay it\n")
    said = cli("lint", str(path))
    assert said.code == 1
    assert said.out.splitlines()[0].startswith(f"{path}:3: priority is whenever")
    assert said.out.splitlines()[1:] == ["  field    priority", "  found    whenever", "  allowed  high, medium or low"]
    fault = cli("lint", str(path), "--json").json["files"][0]
    assert (fault["ok"], fault["error"]["line"], fault["error"]["field"]) == (False, 3, "priority")


def test_lint_passes_what_is_sound_and_warns_of_odd_names(cli, brain):
    """Names are compared with the interfaces of the brain around."""
    brain.drop("one.md", "---\ninterface: claude-cod\nrequires: teleport\n---\nsay it\n")
    facts = cli("lint", str(brain.pending / "one.md"), "--json").json["files"][0]
    assert (facts["ok"], facts["kind"], facts["facts"]["id"]) == (True, "task", "one")
    assert any("did you mean `claude" in warning for warning in facts["warnings"])
    assert any("teleport" in warning for warning in facts["warnings"])
    assert ": ok, a task (id one" in cli("lint", str(brain.pending / "one.md")).out


def test_lint_knows_an_interface_by_its_place_or_its_keys(cli, brain, tmp_path):
    """And reads a file as what it is told to."""
    here = brain.write(
        "tools/interfaces/mine.md", "---\nname: mine\nlimits: {messages_per_day: many}\ncommand: cat\n---\n"
    )
    said = cli("lint", str(here))
    assert (said.code, "mine.md:3: `limits.messages_per_day`" in said.out, said.out.count("mine.md")) == (1, True, 1)
    elsewhere = tmp_path / "other.md"
    elsewhere.write_text("---\nname: other\ncommand: cat\n---\n# Other\n")
    assert ": ok, an interface (name other" in cli("lint", str(elsewhere)).out
    assert cli("lint", "--schema", "task", str(elsewhere)).out.startswith(f"{elsewhere}: ok, a task")


def test_every_shipped_interface_passes(cli, brain):
    """Each with exit code 0 and without a warning."""
    said = cli("lint", *map(str, sorted((brain.root / "tools" / "interfaces").glob("*.md"))))
    assert (said.code, "warning" in said.out) == (0, False)


@pytest.mark.parametrize("kind", ["task", "interface"])
def test_lint_prints_the_schemas_that_editors_read(cli, kind):
    """Valid JSON Schemas, where no file is named."""
    Draft202012Validator.check_schema(cli("lint", "--schema", kind).json)


def test_lint_needs_no_brain(cli, tmp_path):
    """A file anywhere can be looked at; nothing to look at is a usage error."""
    path = tmp_path / "task.md"
    path.write_text(TASK)
    said = cli("lint", str(path), root=str(tmp_path))
    assert (said.code, said.out) == (0, f"{path}: ok, a task (id task, title one, type general, priority medium)\n")
    assert cli("lint", root=str(tmp_path)).code == 2


# cancel, retry, release


def test_each_of_several_tasks_is_dealt_with(cli, brain):
    """One that cannot be cancelled stops none of the others; the exit code is its."""
    brain.drop("one.md", TASK)
    brain.drop("two.md", TASK)
    said = cli("cancel", "one", "nobody", "two", "--why", "not needed")
    assert (said.code, said.out) == (2, "one: cancelled\ntwo: cancelled\n")
    assert "there is no task 'nobody'" in said.complaint
    assert "not needed" in brain.recorded("two").text


def test_cancel_retry_and_release_tell_programs_what_they_did(cli, brain):
    """The same shape for all three; a refusal is exit code 1."""
    brain.drop("one.md", TASK)
    assert cli("cancel", "one", "--json").json == {
        "tasks": [{"task_id": "one", "done": True, "said": "one: cancelled"}]
    }
    assert cli("retry", "one", "--json").json["tasks"][0]["said"] == "one: back in pending/"
    cli("claim")
    assert cli("release", "one", "--json").json["tasks"][0]["done"] is True
    said = cli("retry", "one", "--json")
    assert (said.code, said.json["tasks"][0]["done"]) == (1, False)
    assert (cli("cancel").code, brain.where("one")) == (2, ["pending"])


def test_a_terminal_sees_where_the_task_stands(brain):
    """A live line while it runs, then the result without what could move the cursor."""
    brain.program("slow", "sh", "-c", "sleep 0.5; printf 'red\\033[31m\\033[2J'")
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "brain_daemon", "--brain", str(brain.root), "submit", "x", "--id", "one", "--wait"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    printed, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            printed += os.read(master, 1 << 16)
        except OSError:
            break
    os.close(master)
    assert process.wait(60) == 0
    assert b"one runs on slow" in printed
    assert b"\x1b[2J" not in printed
    assert b"red\\x1b[2J" in printed


def test_the_shapes_are_json_of_one_document(cli, brain):
    """Nothing else is printed with --json."""
    brain.drop("one.md", "---\npriority: whenever\n---\nx\n")
    assert isinstance(parse_task("one.md", (brain.pending / "one.md").read_bytes()), Rejection)
    assert json.loads(cli("cancel", "one", "--json").out)["tasks"][0]["done"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--paid",), "released (paid allowed)"),
        (("--budget",), "released (budget passed)"),
        (("--budget", "2.50", "--paid"), "released (paid allowed, a budget of $2.50 of its own)"),
        (("--budget", "2.50", "--now"), "what still holds it is shown by `brain list`"),
    ],
)
def test_a_release_says_what_it_opens(cli, brain, options, said):
    """Each of its terms in words."""
    brain.drop("one.md", "---\nrequires: [vision]\n---\nx\n")
    assert said in cli("release", "one", *options).out


def test_a_release_with_an_odd_budget_is_refused(cli, brain):
    """An option that swallowed the id, say."""
    brain.drop("one.md", "x\n")
    found = cli("release", "one", "--budget", "lots")
    assert (found.code, "found 'lots', allowed are US dollars" in found.complaint) == (2, True)
