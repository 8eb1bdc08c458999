"""`brain memory`: search, get, add, list and rebuild, from outside and from inside a task."""

import pytest

from brain_daemon.store.files import Files
from brain_daemon.store.tokens import Tokens

ATTEMPT = "task-a.a1.0123abcd"


def test_a_note_that_was_added_is_found_read_and_listed(brain, cli):
    """By one process after the other, with no daemon."""
    note = cli("memory", "add", "The zebra crossing opens at nine.", "--title", "Zebra", "--json").json
    assert note["path"] == f"knowledge/pool/{note['id']}.md"
    found = cli("memory", "search", "when does the zebra crossing open", "--words", "--json").json
    assert [(hit["id"], hit["line"] > 0) for hit in found["hits"]] == [(note["id"], True)]
    assert cli("memory", "get", note["id"]).out == "# Zebra\n\nThe zebra crossing opens at nine.\n"
    assert note["id"] in [row["id"] for row in cli("memory", "list", "--json").json["newest"]]
    assert cli("memory", "rebuild").code == 0
    assert "Zebra" in cli("memory", "search", "zebra crossing").out


def test_a_completed_task_is_in_the_pool(brain, cli):
    """Its result under the task's own id."""
    brain.echo()
    brain.drop("task-a.md", "# Zebra\n\nzebra quagga\n")
    assert brain.run_once() == 0
    assert cli("memory", "get", "task-a", "--json").json["kind"] == "result"
    assert "task-a" in cli("memory", "search", "quagga", "--words").out


@pytest.mark.parametrize("wanted", ["nothing", "../secret", "brain.toml"])
def test_what_is_not_there_is_said(cli, wanted):
    """With the next step, as bad input."""
    said = cli("memory", "get", wanted)
    assert (said.code, said.out) == (2, "")
    assert "brain memory list" in said.complaint


def test_nothing_found_is_an_answer(cli):
    """Exit 0."""
    said = cli("memory", "search", "xyzzyplugh", "--words")
    assert (said.code, said.out) == (0, "nothing found\n")


@pytest.fixture
def inside(brain, monkeypatch):
    """`inside(token)`: the variables of a task's program."""

    def enter(token: str) -> None:
        for name, value in {"TASK_ID": "task-a", "ATTEMPT_ID": ATTEMPT, "PROOF": token, "CHAIN_ID": "nightly"}.items():
            monkeypatch.setenv(f"BRAIN_{name}", value)

    return enter


def test_a_note_from_inside_a_task_says_which(brain, cli, inside):
    """The token proves it."""
    inside(Tokens(brain.layout, Files()).of(ATTEMPT))
    note = cli("memory", "add", "found it", "--area", "context", "--json").json
    lines = (brain.root / note["path"]).read_text().splitlines()
    assert {"task: task-a", f"attempt: {ATTEMPT}", "chain: nightly"} <= set(lines)


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_note_in_the_name_of_a_task_needs_its_token(brain, cli, inside, token):
    """Nothing is written without it."""
    inside(token)
    said = cli("memory", "add", "not mine")
    assert said.code == 1
    assert "BRAIN_PROOF" in said.complaint
    assert not (brain.root / "knowledge" / "pool").exists()


def test_a_secret_does_not_get_into_a_note(brain, cli):
    """What looks like a key is taken out before the file is written."""
    note = cli("memory", "add", "the key is sk-ant-api03-" + "a1B2" * 24, "--json").json
    assert "a1B2a1B2" not in (brain.root / note["path"]).read_text()
