"""`brain request`: the directive, the run, the conversation, and what stands in the session afterwards."""

import io
import json
import sys

import pytest

from brain_daemon.model import document


@pytest.fixture(autouse=True)
def _folder(brain, monkeypatch):
    """Requests are made in the brain itself, with an interface that says back what it is asked."""
    monkeypatch.chdir(brain.root)
    for name, value in {"SETTLE": "0s", "GROUP": "20ms"}.items():
        monkeypatch.setenv(f"BRAIN_{name}", value)
    brain.program("parrot", "cat", more="cost: {tier: free}\ngood_at: {default: 0.9}\n")


@pytest.fixture
def say(monkeypatch):
    """What stands on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def session(cli, session_id: str):
    return cli("session", "show", session_id, "--json").json


def test_a_request_in_a_pipe_is_run_and_answered(cli, brain):
    """The answer is all that stands on standard output; it is a task of the mode request, recorded and in the ledger."""
    said = cli("request", "Say it back", "--session", "mine")
    assert (said.code, said.out) == (0, "Say it back\n")
    assert "no daemon runs" in said.complaint
    (row,) = brain.rows()
    assert (row.mode, row.interface, row.status) == ("request", "parrot", "completed")
    kept = session(cli, "mine")
    (entry,) = kept["routing_history"]
    assert (entry["agent"], entry["result"], entry["mode"]) == ("parrot", "completed", "orchestrated")
    assert entry["why"] == "nobody is at a terminal"
    assert entry["task_id"] == row.task_id
    assert kept["cached_results"][entry["request_hash"]]["text"] == "Say it back\n"
    assert kept["work_queue"] == []
    result = document.read_result((brain.completed / f"{row.task_id}.md").read_bytes())
    assert result.values["session"] == "mine"


def test_a_request_to_be_directed_is_not_run(cli, brain):
    """It says who should do it; nothing is queued, and the session knows."""
    said = cli("request", "Say it back", "--mode", "directive", "--session", "mine")
    assert said.code == 0
    assert said.out.startswith("parrot (free) should do this: ")
    assert brain.names(brain.pending) == []
    assert brain.rows() == []
    (entry,) = session(cli, "mine")["routing_history"]
    assert (entry["agent"], entry["result"], entry["mode"]) == ("parrot", "directed", "directive")


def test_a_directive_for_programs_has_its_reasons(cli):
    """As JSON, with those that were refused."""
    said = cli("request", "Say it back", "--mode", "directive", "--json").json
    assert (said["mode"], said["why"], said["task"]) == ("directive", "asked for with this call", None)
    assert said["directive"]["interface"] == "parrot"
    assert "claude_code" in said["directive"]["rejected"]


def test_a_request_nobody_can_do_fails_with_what_is_missing(cli):
    """In both modes, with exit code 1."""
    for mode in ("directive", "orchestrated"):
        said = cli("request", "Look at it", "--requires", "vision", "--mode", mode)
        assert said.code == 1
        assert "vision" in said.out + said.complaint


def test_a_request_that_fails_is_noted_as_failed(cli, brain):
    """Its error goes to standard error, its reason into the session, and there is no answer to use again."""
    brain.program("broken", "false")
    said = cli("request", "Do it", "--interface", "broken", "--session", "mine", "--json")
    assert said.code == 1
    assert (said.json["task"]["state"], said.json["task"]["why"]) == ("failed", "tool_failed")
    kept = session(cli, "mine")
    assert [one["result"] for one in kept["routing_history"]] == ["failed: tool_failed"]
    assert kept["cached_results"] == {}


def test_an_earlier_answer_is_given_again_where_it_is_asked_for(cli, brain):
    """With --cached the same request of the session runs once; other options make it another request."""
    for arguments in ((), ("--cached",), ("--cached", "--type", "code")):
        assert cli("request", "Say it back", "--session", "mine", *arguments).out == "Say it back\n"
    assert len(brain.rows()) == 2


def test_a_conversation_hands_the_answers_on(cli, brain, say):
    """Each turn is a task of one chain and session, and is told what was said before."""
    say("my name is Ann\n\nwhat is my name?\n/exit\nnever asked\n")
    said = cli("request", "--interactive", "--session", "mine")
    assert said.code == 0
    assert said.out.startswith("my name is Ann\n")
    first, second = brain.rows()
    assert (first.chain_id, second.chain_id) == ("mine", "mine")
    assert second.parent_id == first.task_id
    turn = document.read_result((brain.completed / f"{second.task_id}.md").read_bytes())
    assert "**Request:** my name is Ann\n\n**Answer:** my name is Ann" in turn.text
    assert "never asked" not in said.out
    assert len(session(cli, "mine")["routing_history"]) == 2


def test_the_preference_of_a_session_decides(cli):
    """For the mode and for the interface, until it is taken back."""
    cli("session", "prefer", "mode", "directive", "--session", "mine")
    cli("session", "prefer", "interface", "librarian", "--session", "mine")
    said = cli("request", "Say it back", "--session", "mine", "--json").json
    assert (said["mode"], said["why"]) == ("directive", "preferred in this session")
    assert said["directive"]["interface"] == "librarian"
    assert cli("session", "prefer", "mode", "maybe", "--session", "mine").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("request", "a", "--interface", "x", "--prefer", "y"),
        ("request", "a", "--agent", "x", "--prefer", "y"),
        ("request", "--interactive", "--json"),
        ("request", "  "),
        ("request", "a", "--session", "../x"),
        ("request", "a", "--agent", "nobody"),
        ("request", "a", "--mode", "maybe"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(cli, arguments, brain):
    """With exit code 2 and a sentence; nothing is queued."""
    said = cli(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.complaint
    assert brain.names(brain.pending) == []


def test_a_request_beside_a_daemon_is_done_by_it(cli, daemon):
    """This process only waits."""
    with daemon():
        said = cli("request", "Say it back")
    assert (said.code, said.out) == (0, "Say it back\n")
    assert "no daemon runs" not in said.complaint


def test_every_decision_is_logged(cli, brain):
    """A line for each request, with its mode and why, and no word of it."""
    cli("request", "Say the password", "--mode", "directive")
    path = f"{brain.layout.state}/requests.log"
    with open(path) as handle:
        (line,) = handle.readlines()
    assert json.loads(line)["mode"] == "directive"
    assert "password" not in line
