"""`brain session`: the list, one session, and going on with it."""

import os

import pytest


@pytest.fixture(autouse=True)
def _folder(brain, monkeypatch):
    monkeypatch.chdir(brain.root)
    brain.program("parrot", "cat", more="cost: {tier: free}\ngood_at: {default: 0.9}\n")


def test_sessions_are_listed_and_shown(cli, brain):
    """With what each asked for and who did it."""
    assert "No session yet" in cli("session", "list").out
    cli("request", "See context/routing.md", "--mode", "directive", "--session", "mine")
    cli("session", "prefer", "mode", "directive", "--session", "mine")
    listed = cli("session", "list").out
    assert "mine" in listed
    assert str(brain.root) in listed
    shown = cli("session", "show", "mine").out
    for part in ("directive", "parrot", "directed", "prefers mode directive", "context/routing.md"):
        assert part in shown
    assert cli("session", "show", "other").code == 2


def test_a_damaged_session_is_shown_from_its_copy(cli, brain):
    """And the person is told where the broken file is."""
    for _ in range(2):
        cli("request", "Say it", "--mode", "directive", "--session", "mine")
    with open(os.path.join(brain.layout.state, "sessions", "mine.json"), "wb") as handle:
        handle.write(b"{")
    shown = cli("session", "show", "mine")
    assert shown.code == 0
    assert "mine.damaged-1.json" in shown.complaint
    assert len(cli("session", "show", "mine", "--json").json["routing_history"]) == 1


def test_resuming_a_session_notes_what_has_ended_meanwhile(cli, brain):
    """What was held and then done is in its history; the next request belongs to it."""
    said = cli("request", "Look at it", "--requires", "vision", "--session", "mine", "--json").json
    cli("request", "Say it", "--mode", "directive", "--session", "later")
    first = cli("session", "resume", "mine", "--json").json
    assert [(one["task_id"], one["ended"]) for one in first["waiting"]] == [(said["task"]["task_id"], False)]
    assert "vision" in first["waiting"][0]["stands"]
    brain.program("eye", "cat", more="capabilities: [vision]\n")
    brain.run_once()
    again = cli("session", "resume", "mine")
    assert f"{said['task']['task_id']} completed" in again.out
    kept = cli("session", "show", "mine", "--json").json
    assert kept["work_queue"] == []
    assert kept["routing_history"][-1]["agent"] == "eye"
    assert cli("request", "Say it", "--mode", "directive", "--json").json["session_id"] == "mine"


def test_without_a_name_the_session_used_last_is_resumed(cli):
    """Where there is none, the exit code says so."""
    assert cli("session", "resume").code == 1
    for name in ("one", "two"):
        cli("request", "Say it", "--mode", "directive", "--session", name)
    assert cli("session", "resume", "--json").json["session_id"] == "two"
