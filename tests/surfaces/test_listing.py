"""`brain list`, `brain show` and `brain logs`."""

import os
import subprocess
import sys

import pytest

RUN = "import sys; sys.argv = ['brain', '--brain', *sys.argv[1:]]; from brain_daemon.surfaces.cli import main; main()"


def work(brain) -> None:
    brain.echo()
    brain.program("broken", "false", more="good_at: {default: 0}\n")
    brain.drop("one.md", "# First of all\n\nSay it.\n")
    brain.run_once()
    brain.drop("two.md", "---\npreferred_interface: broken\n---\n# Second\n\nSay it.\n")
    brain.drop("bad.md", "---\npriority: nonsense\n---\n# Bad\n")
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    brain.run_once()
    brain.drop("later.md", "# Later\n")


@pytest.fixture
def worked(made_once):
    """Tasks in every state but active."""
    return made_once(work)


def rows(said):
    return [line.split() for line in said.out.splitlines()[1:]]


def test_a_list_shows_what_can_be_done_about_it_first(worked, cli):
    """Held, pending, then what has ended, newest first; each with its title and why."""
    said = cli("list")
    assert [row[0] for row in rows(said)] == ["blind", "later", "two", "one", "bad"]
    assert "First of all" in said.out
    assert "nobody offers vision" in said.out
    assert "failed (malformed)" in said.out


@pytest.mark.parametrize(
    ("state", "ids"),
    [
        ("pending", ["blind", "later"]),
        ("held", ["blind"]),
        ("active", []),
        ("completed", ["two", "one"]),
        ("failed", ["bad"]),
    ],
)
def test_a_state_can_be_asked_for(worked, cli, state, ids):
    """`pending` is all that lies in pending/, what is held included."""
    tasks = cli("list", "--state", state, "--json").json["tasks"]
    assert [task["task_id"] for task in tasks] == ids


def test_a_limit_says_what_it_leaves_out(worked, cli):
    """Of each state so many."""
    said = cli("list", "--limit", "1")
    assert "and 1 more completed" in said.out
    assert cli("list", "--limit", "1", "--json").json["not_shown"] == {"completed": 1}


def test_an_empty_brain_has_no_task(brain, cli):
    """Said in words."""
    assert cli("list").out == "There is no task.\n"
    assert cli("list", "--state", "failed").out == "There is no failed task.\n"


def test_a_brain_that_never_ran_lists_its_folders(brain, cli):
    """A fresh clone has no journal, and its files are there."""
    brain.drop("new.md", "# New\n")
    (brain.completed / "old.md").write_text("# Old\n")
    tasks = cli("list", "--json").json["tasks"]
    assert [(task["task_id"], task["state"], task["title"]) for task in tasks] == [
        ("new", "pending", "New"),
        ("old", "completed", "Old"),
    ]


async def test_what_runs_is_listed_with_its_interface(brain, cli):
    """Active tasks come first."""
    brain.echo("slow", "delay_seconds: 60")
    async with brain.running() as running:
        brain.drop("busy.md", "---\ninterface: slow\n---\n# Busy\n")
        await running.started("busy")
        (task,) = cli("list", "--json").json["tasks"]
        page = cli("show", "busy").out
    assert (task["task_id"], task["state"], task["interface"], task["title"]) == ("busy", "active", "slow", "Busy")
    assert "runs on   slow since" in page


# show


def test_a_page_tells_who_did_it_why_and_what_came_out(worked, cli):
    """Also the attempts, where there was more than one, and the commit."""
    page = cli("show", "two").out
    assert "two: Second" in page
    assert "completed on echo" in page
    assert worked.git("log", "-1", "--format=%H", "--", "brain/tasks/completed/two.md").strip() in page
    assert "ATTEMPT" in page
    assert page.index("broken") < page.rindex("echo")
    assert page.rstrip().endswith("Say it.")


def test_a_failed_task_shows_what_is_wrong_with_it(worked, cli):
    """The field, what was found, what is allowed."""
    page = cli("show", "bad").out
    assert "failed (malformed)" in page
    assert "Allowed: high, medium or low" in page


def test_a_held_task_shows_what_holds_it(worked, cli):
    """And its own text, since there is no result."""
    page = cli("show", "blind").out
    assert "nobody offers vision" in page
    assert "# Blind" in page


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("crlf.md", b"---\r\ntype: x\r\n---\r\n# T\r\n\r\nno end"),
        ("bom.md", b"\xef\xbb\xbf# T\n"),
        ("plain.md", "# Größe\n".encode()),
        ("binary.md", b"# T\0\n"),
        ("bad.md", b"---\npriority: soon\n---\n# T\n"),
    ],
)
def test_the_original_comes_back_byte_for_byte(brain, cli, name, data):
    """Pending, recorded, and recorded beside: always the bytes that were dropped."""
    brain.echo()
    brain.drop(name, data)
    task_id = name.removesuffix(".md")
    assert cli("show", task_id, "--original").data == data
    brain.run_once()
    assert cli("show", task_id, "--original").data == data


def test_an_edited_record_is_no_original(worked, cli):
    """It is said instead of guessed."""
    path = worked.completed / "one.md"
    path.write_bytes(path.read_bytes().replace(b"# First", b"# Worst"))
    said = cli("show", "one", "--original")
    assert (said.code, said.data) == (1, b"")
    assert "git log" in said.complaint


def test_the_prompt_is_kept_with_the_attempt(brain, cli):
    """Exactly what the program was sent."""
    brain.program("cat", "cat")
    brain.drop("one.md", "---\ninterface: cat\n---\n# One\r\n\r\nSay it.\n")
    brain.run_once()
    assert cli("show", "one", "--prompt").data == b"# One\r\n\r\nSay it.\n"


def test_no_prompt_is_said_with_what_there_is_instead(worked, cli):
    """A task that has not started was sent nowhere."""
    said = cli("show", "blind", "--prompt")
    assert said.code == 2
    assert "--original" in said.complaint


def test_an_unknown_task_is_a_usage_error(worked, cli):
    """With the command that lists them."""
    said = cli("show", "nothing")
    assert said.code == 2
    assert "brain list" in said.complaint


def test_the_commit_is_found_where_the_journal_does_not_know_it(worked, cli, tmp_path):
    """In a fresh clone git itself is asked."""
    worked.git("clone", "-q", str(worked.root), str(tmp_path / "clone"))
    said = cli("show", "one", "--json", root=str(tmp_path / "clone")).json
    assert said["commit"] == worked.git("log", "-1", "--format=%H", "--", "brain/tasks/completed/one.md").strip()
    assert said["attempts"] == []
    assert said["result"]["interface"] == "echo"


# logs


def test_logs_keep_the_two_streams_apart(brain, cli):
    """stdout to stdout, stderr to stderr."""
    brain.program("talker", "sh", "-c", "echo out; echo err >&2")
    brain.drop("one.md", "---\ninterface: talker\n---\n# One\n")
    brain.run_once()
    said = cli("logs", "one")
    assert (said.out, said.complaint) == ("out\n", "err\n")


def test_logs_of_a_task_that_never_started_are_a_usage_error(worked, cli):
    """Nothing to show is said."""
    assert cli("logs", "blind").code == 2


def test_logs_of_a_tool_say_that_there_are_none(worked, cli):
    """A tool hands in its answer itself."""
    said = cli("logs", "one")
    assert said.out == ""
    assert "brain show one" in said.complaint


def test_control_characters_of_a_program_reach_nobody(brain, cli):
    """What would clear a screen is shown as text."""
    brain.program("painter", "printf", r"\033[2J\033]0;title\007done\n")
    brain.drop("one.md", "---\ninterface: painter\n---\n# One\n")
    brain.run_once()
    for arguments in (("logs", "one"), ("show", "one")):
        out = cli(*arguments).out
        assert "done" in out
        assert not set("\x1b\x07") & set(out)


def test_following_prints_lines_as_they_come_and_ends_with_the_attempt(brain, daemon, tmp_path):
    """Secrets known here are taken out on the way."""
    go = tmp_path / "go"
    script = f'echo begin; echo "key $HOME hunter2hunter2"; while [ ! -e {go} ]; do sleep 0.02; done; echo end'
    brain.program("slow", "sh", "-c", script)
    brain.drop("one.md", "---\ninterface: slow\n---\n# One\n")
    environment = {**os.environ, "MY_SERVICE_TOKEN": "hunter2hunter2"}
    with daemon() as running:
        running.wait_for(lambda: brain.runs("one"))
        with subprocess.Popen(
            [sys.executable, "-c", RUN, str(brain.root), "logs", "-f", "one"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "begin\n"
            assert "hunter2" not in follower.stdout.readline()
            assert follower.poll() is None
            go.touch()
            out, err = follower.communicate(timeout=30)
    assert (out, follower.returncode) == ("end\n", 0)
    assert "one: succeeded" in err


def test_following_waits_for_a_task_that_has_not_started(brain, daemon):
    """`brain submit`, then `brain logs -f`, in whichever order they come."""
    brain.program("quick", "echo", "hello")
    brain.drop("one.md", "---\ninterface: quick\n---\n# One\n")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(brain.root), "logs", "-f", "one"], stdout=subprocess.PIPE, text=True
    ) as follower:
        with daemon() as running:
            running.wait_for(lambda: follower.poll() is not None)
        assert follower.stdout is not None
        assert follower.stdout.read() == "hello\n"


def test_listing_reads_only_what_it_shows(brain, cli):
    """Two thousand files, of which fifty are opened: a named pipe among the others would block a reader."""
    for number in range(2_000):
        (brain.pending / f"task-{number:04}.md").write_text("# T\n")
    os.mkfifo(brain.pending / "zz-last.md")
    said = cli("list")
    assert len(rows(said)) == 51
    assert "and 1951 more pending" in said.out
