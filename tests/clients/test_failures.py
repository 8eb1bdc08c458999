"""What real clients make of a server's no, and what the daemon makes of that. The runs are those of `met` in conftest.py."""

import json
from datetime import datetime

import pytest

from tests.clients.cases import REFUSALS
from tests.clients.programs import CLIENTS

LONGEST_SECONDS = 280.0
EACH = [pytest.param(refusal, name, id=f"{refusal.name}-{name}") for refusal in REFUSALS for name in refusal.clients]


@pytest.mark.parametrize(("refusal", "name"), EACH)
def test_a_refusal_is_of_its_kind_and_another_interface_takes_over(refusal, name, met):
    """The first attempt failed as what it was, and the task was completed by the other interface."""
    told = met[refusal.name].result(LONGEST_SECONDS).told[name]
    first = told.attempts[0]
    assert (first["interface"], first["outcome"]) == (name, "failed")
    assert first["why"].startswith(f"{refusal.kind}:")
    assert (told.state, told.attempts[-1]["interface"]) == ("completed", "rescue")


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_clients_that_were_refused_leave_no_process(refusal, met):
    """Not one process of the brain's home is left once `brain run --once` has ended."""
    assert met[refusal.name].result(LONGEST_SECONDS).left == []


def test_a_task_waits_for_the_reset_that_the_client_told(rig, stubbed):
    """A spent plan holds the task until the server's own moment: told by Claude as an instant, by Codex as a clock time."""
    brain = rig(stubbed.url("quota"))
    names = ("claude_code", "codex")
    for name in names:
        brain.drop(name, name, "# Spent\n\nSay it.")
    brain.run_once()
    tasks = {one["task_id"]: one for one in json.loads(brain.brain("list", "--json").stdout)["tasks"]}
    for name in names:
        assert tasks[name]["state"] == "held"
        until = datetime.fromisoformat(tasks[name]["until"]).timestamp()
        # A clock time names a minute; the start is spread over some time after it, so that not everybody comes at once.
        assert -60 <= until - stubbed.resets_at < 20 * 60, name


def test_a_client_that_was_refused_once_is_tried_again(rig, mock):
    """A 429 and then an answer: the task is completed by the same interface, whoever of the two tried again."""
    brain = rig(mock.url, transient_retries="3")
    refused = {"error": {"message": "Too many requests.", "type": "rate_limit_error"}, "status": 429, "retryAfter": 1}
    for name in CLIENTS:
        mock.learn({"match": {"userMessage": f"once-{name}", "sequenceIndex": 0}, "response": refused})
        mock.say(f"once-{name}", f"at last {name}")
        brain.drop(name, name, f"# Once\n\nonce-{name}")
    assert brain.run_once() == 0
    found = {name: (one.values["status"], one.values["interface"], one.text) for name, one in brain.results().items()}
    assert found == {name: ("completed", name, f"at last {name}") for name in CLIENTS}
