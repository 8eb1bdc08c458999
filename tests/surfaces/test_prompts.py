"""`brain show ID --prompt`: what each attempt was really sent, what it is made of, and clear words where nothing is kept."""

import os
import shutil
import time

import pytest

NOTE = "# Bees\n\nThe hive stands by the wall.\n"
TASK = (
    "---\ninterface: cat\nattempts: 2\nverify: test -e ok || ! touch ok\n---\n"
    "# Bees\n\nWhere is the hive?\n\n## Context\n\n[[knowledge/bees.md]]\n"
)


@pytest.fixture
def two_attempts(brain):
    """A task whose first attempt did not pass its check, and whose second did."""
    brain.program("cat", "cat", more="idempotent: true\n")
    brain.write("knowledge/bees.md", NOTE)
    brain.drop("hive.md", TASK)
    assert brain.run_once() == 0
    return brain


def test_each_attempt_shows_what_it_was_sent_and_of_what_that_is_made(two_attempts, cli):
    """The text to the byte on stdout, as the program read it; its parts, their sources and tokens beside it."""
    first, second = (cli("show", "hive", "--prompt", "--attempt", number) for number in "12")
    assert first.out.startswith("# Bees\n\nWhere is the hive?")
    assert "> The hive stands by the wall." in first.out
    assert [line.split() for line in first.complaint.splitlines()[1:4]] == [
        ["PART", "TOKENS", "SOURCE"],
        ["task", first.complaint.splitlines()[2].split()[1], "hive"],
        ["link", first.complaint.splitlines()[3].split()[1], "knowledge/bees.md"],
    ]
    assert "attempt 1 on cat" in first.complaint
    assert "An earlier attempt at this task was checked and did not pass." in second.out
    assert [line.split()[0] for line in second.complaint.splitlines()[2:4]] == ["resume", "link"]
    assert cli("show", "hive", "--prompt").out == second.out == two_attempts.recorded("hive").text


def test_the_parts_stand_in_the_json_and_their_loss_costs_nobody_the_prompt(two_attempts, cli):
    """Those that were counted when it was sent; where they cannot be read the prompt is shown as one part."""
    said = cli("show", "hive", "--prompt", "--attempt", "1", "--json").json
    assert [(part["kind"], part["source"]) for part in said["parts"]] == [
        ("task", "hive"),
        ("link", "knowledge/bees.md"),
    ]
    assert all(part["tokens"] > 0 for part in said["parts"])
    assert said["text"] == cli("show", "hive", "--prompt", "--attempt", "1").out
    assert said["bytes"] == os.path.getsize(said["path"])
    assert (said["attempt"], said["interface"], said["warnings"]) == (1, "cat", [])
    with open(said["path"].removesuffix(".md") + ".json", "wb") as file:
        file.write(b"{")
    damaged = cli("show", "hive", "--prompt", "--attempt", "1", "--json").json
    assert [part["kind"] for part in damaged["parts"]] == ["task"]
    assert (damaged["text"], damaged["tokens"]) == (said["text"], said["tokens"])


def test_a_task_that_is_its_own_prompt_has_one_part(brain, cli):
    """Nothing more is kept for it than the text."""
    brain.program("cat", "cat")
    brain.drop("one.md", "---\ninterface: cat\n---\n# One\n\nSay it.\n")
    brain.run_once()
    said = cli("show", "one", "--prompt", "--json").json
    assert [(part["kind"], part["source"]) for part in said["parts"]] == [("task", "one")]
    assert said["parts"][0]["tokens"] == said["tokens"]
    assert not os.path.exists(os.path.join(os.path.dirname(said["path"]), "prompt.json"))


def test_where_none_is_kept_the_reason_is_said(two_attempts, cli, monkeypatch):
    """An attempt that is not known, a task that has not started, an agent, a tool, and what was taken away."""
    brain = two_attempts
    brain.echo()
    brain.drop("tool.md", "---\ninterface: echo\n---\n# Tool\n")
    brain.drop("wait.md", "---\nrequires: [vision]\n---\n# Wait\n")
    brain.run_once()
    brain.drop("theirs.md", "# Theirs\n")
    assert cli("claim", "--as", "ann").code == 0
    wanted = {
        ("hive", "--attempt", "7"): "no attempt 7 on record on this machine, only 1, 2",
        ("wait",): "no attempt of it is on record",
        ("theirs",): "ann claimed the task",
        ("tool",): "on echo, keeps none",
    }
    for arguments, why in wanted.items():
        said = cli("show", arguments[0], "--prompt", *arguments[1:])
        assert (said.code, said.data) == (2, b"")
        assert why in said.complaint
        assert "--original" in said.complaint
    shutil.rmtree(os.path.dirname(cli("show", "hive", "--prompt", "--json").json["path"]))
    later = time.time() + 15 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    said = cli("show", "hive", "--prompt", "--attempt", "2")
    assert (said.code, said.data) == (2, b"")
    assert "was taken away: prompts are kept for 14 d after the end (setting `keep_output`)" in said.complaint


def test_an_attempt_without_the_prompt_is_a_usage_error(cli):
    """The number goes with one page only."""
    said = cli("show", "hive", "--attempt", "1")
    assert (said.code, said.data) == (2, b"")
    assert "--prompt" in said.complaint
