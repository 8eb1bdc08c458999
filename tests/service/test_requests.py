"""Requests: how they are met, who should do them, and the tasks they become."""

import json
import os
import time
from contextlib import closing

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.model.outcome import Mode
from brain_daemon.model.parsing import parse_task
from brain_daemon.policy.mode import ModeChoice, RequestMode
from brain_daemon.service.collecting import hand_in
from brain_daemon.service.directing import agent_fields, directive_for
from brain_daemon.service.requests import (
    LOG_NAME,
    MAX_TALK_CHARACTERS,
    Asked,
    Turn,
    log_decision,
    mode_for,
    remembered,
    with_talk,
    workflow_there,
)
from brain_daemon.service.sessions import Sitting

NOON = 43_200
TOLD = ModeChoice(mode=RequestMode.DIRECTIVE, why="a test")


@pytest.fixture
def opened(brain):
    brain.echo("coder", more="cost: {tier: free}\ngood_at: {code: 0.9}\n")
    brain.echo("talker", more="cost: {tier: free}\ngood_at: {default: 0.9, code: 0.1}\n")
    with closing(brain.open()) as one:
        yield one


def asked(text: str = "Say it.\n", folder: str = "/", **fields) -> Asked:
    return Asked(text=text, folder=folder, fields=fields)


def test_a_directive_names_whom_the_queue_would_take(opened):
    """By the kind that was said, or that the words tell; the others stand behind."""
    said = directive_for(opened, asked("Say it.\n", type="code"))
    guessed = directive_for(opened, asked("Fix the bug in parser.py\n"))
    assert (said.agent, said.task_type) == (guessed.agent, guessed.task_type) == ("coder", "code")
    assert directive_for(opened, asked("Write a poem.\n")).agent == "talker"
    assert said.others
    assert said.reason


def test_a_directive_for_what_nobody_can_do_says_so(opened):
    """With what is missing."""
    none = directive_for(opened, asked(requires=["vision"]))
    assert (none.interface, none.agent) == (None, "nobody")
    assert "vision" in none.reason


def test_a_request_becomes_a_task_of_its_session(opened):
    """With the mode request, the kind that was guessed, and the text as it was."""
    handed = hand_in(opened, asked("Fix the bug in parser.py\n"), "mine", {"chain": "talk"})
    with open(handed.place.path, "rb") as handle:
        task = parse_task(os.path.basename(handed.place.path), handle.read())
    assert (task.session, task.mode, task.chain, task.type) == ("mine", Mode.REQUEST, "talk", "code")
    assert task.text.strip() == "Fix the bug in parser.py"
    assert task.sha256 == handed.sha256
    assert task.warnings == ()


def test_a_request_that_says_its_kind_itself_is_not_guessed_at(opened):
    """In its options, or in its own front matter, whose keys are not overridden."""
    assert asked("Fix the bug\n", requires=["code_execution"]).guess is None
    assert asked("---\ntype: research\n---\nFix the bug\n").guess is None
    with pytest.raises(UserError, match="session"):
        hand_in(opened, asked("---\nsession: other\n---\nFix the bug\n"), "mine")
    assert not [name for name in os.listdir(opened.layout.pending) if name.endswith(".md")]


def test_the_hash_of_a_request_is_of_what_was_asked(opened):
    """What is guessed does not change it."""
    assert asked("Fix the bug\n").hash == asked("Fix the bug").hash != asked("Fix the bug", type="code").hash


def test_an_agent_of_the_routing_table_is_an_interface_and_its_model(opened):
    """A name that is none is refused with those that are."""
    assert agent_fields(opened, "Haiku General") == {"preferred_interface": "claude_code", "model": "haiku"}
    assert agent_fields(opened, "codex-general") == {"preferred_interface": "codex"}
    with pytest.raises(UserError, match="haiku_general"):
        agent_fields(opened, "nobody")


def test_the_mode_is_decided_from_what_is_there(brain, opened, monkeypatch):
    """Variables, the setting, the session's preference, a workflow file, the task it is asked from."""
    monkeypatch.setattr("time.localtime", lambda: time.gmtime(NOON))
    sitting = Sitting.open(opened, "/p")

    def decided(one=opened, request=None):
        return mode_for(one, request or asked(), sitting, terminal=True, flag=None, agent_at_hand=False).mode.value

    assert decided() == "directive"
    path = brain.write("brain/workflows/nightly.yaml", "name: nightly\nsteps: []\n")
    assert decided(request=asked("run nightly.yaml, please\n")) == "orchestrated"
    path.unlink()
    sitting.prefer("mode", "orchestrated")
    assert decided() == "orchestrated"
    with closing(brain.open(request_mode="directive")) as told:
        assert decided(told) == "directive"
    sitting.prefer("mode", "auto")
    monkeypatch.setenv("API_REQUEST", "1")
    with closing(brain.open()) as one:
        assert decided(one) == "orchestrated"
    monkeypatch.setenv("BRAIN_TASK_ID", "task-1")
    with closing(brain.open()) as inside:
        assert decided(inside) == "directive"


def test_a_workflow_file_is_one_that_has_steps(brain, opened, tmp_path):
    """Named in the request, or called `workflow` in the folder; another YAML file is none."""
    folder = str(tmp_path)
    (tmp_path / "ci.yaml").write_text("jobs: {}\n")
    (tmp_path / "release.yml").write_text("# ours\nsteps:\n- id: a\n")
    (tmp_path / "one.json").write_text('{"workflow": {"steps": []}}')
    found = [
        workflow_there(opened.layout, asked(text, folder))
        for text in ("run ci.yaml", "run `release.yml`.", "do one.json", "run missing.yaml", "say it")
    ]
    assert found == [None, "release.yml", "one.json", None, None]
    (tmp_path / "workflow.yaml").write_text("steps: []\n")
    assert workflow_there(opened.layout, asked("say it", folder)) == "workflow.yaml"


def test_each_decision_is_logged_without_its_text(opened):
    """A line has the request's hash, the mode and the reason; a full log is rolled."""
    path = os.path.join(opened.layout.state, LOG_NAME)
    log_decision(opened, asked("my secret plan"), "mine", TOLD)
    with open(path) as handle:
        text = handle.read()
    assert json.loads(text).keys() == {"time", "session", "request", "mode", "why"}
    assert json.loads(text)["request"] == asked("my secret plan").hash
    assert "secret" not in text
    for _ in range(2):
        with open(path, "wb") as handle:
            handle.write(b"x" * (opened.config.log_bytes + 1))
        log_decision(opened, asked(), "mine", TOLD)
        assert os.path.getsize(path) < 1_000
        assert os.path.getsize(f"{path}.1") > opened.config.log_bytes


def test_a_turn_is_told_what_was_said_before_it():
    """The newest turns whole, the oldest left out where there is no room."""
    assert with_talk("And now?\n", []) == "And now?\n"
    talk = with_talk("And now?\n", [Turn(said="One?", answer="1"), Turn(said="Two?", answer="2")])
    assert talk.index("And now?") < talk.index("One?") < talk.index("**Answer:** 1") < talk.index("Two?")
    turns = [Turn(said=f"number {n}", answer="x" * 9_000) for n in range(5)]
    long = with_talk("And now?\n", turns)
    assert len(long) < MAX_TALK_CHARACTERS + 200
    assert ("number 4" in long, "number 3" in long, "number 1" in long) == (True, True, False)
    huge = with_talk("And now?\n", [Turn(said="One?", answer="x" * 90_000)])
    assert "[cut]" in huge
    assert len(huge) < MAX_TALK_CHARACTERS + 200


def test_a_directive_is_remembered_until_something_it_is_made_of_changes(brain, opened):
    """For requests of the same kind, for its time, and while interfaces, routing table and settings are the same."""
    first = asked("Fix the bug in parser.py\n")
    like, unlike = asked("Refactor parser.py and its tests\n"), asked("Write a poem.\n")
    assert remembered(opened, first, 60.0) is None
    told = directive_for(opened, first)
    assert remembered(opened, first, 60.0) == remembered(opened, like, 60.0) == told
    assert remembered(opened, unlike, 60.0) is None
    assert remembered(opened, first, -1.0) is None
    with closing(brain.open(never="coder")) as other:
        assert remembered(other, first, 60.0) is None
    brain.write("tools/interfaces/new.md", "---\nname: new\ncommand: cat\n---\n# New\n")
    assert remembered(opened, first, 60.0) is None


def test_what_a_text_says_of_itself_is_not_remembered_for_others(opened):
    """Its front matter may bind it to anybody."""
    bound = asked("---\ninterface: talker\n---\nFix the bug\n")
    assert directive_for(opened, bound).agent == "talker"
    assert remembered(opened, bound, 60.0) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"of": 1}', b'{"of": "%s", "directives": {"%s": {"at": %d}}}'])
def test_a_memory_that_cannot_be_read_is_forgotten(opened, data):
    """The next directive makes it anew."""
    request = asked("Fix the bug in parser.py\n")
    told = directive_for(opened, request)
    path = os.path.join(opened.layout.state, "directives.json")
    with open(path, "rb") as handle:
        whole = json.load(handle)
    if b"%" in data:
        data %= (whole["of"].encode(), next(iter(whole["directives"])).encode(), time.time())
    with open(path, "wb") as handle:
        handle.write(data)
    assert remembered(opened, request, 60.0) is None
    assert directive_for(opened, request) == told == remembered(opened, request, 60.0)
