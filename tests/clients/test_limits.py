"""Limits and logins as real clients meet them: parked to the reset and gone on with, handed to a rung that costs nothing, asked once."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import pytest

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.cost_row import CostRow
from brain_daemon.record import ledger
from brain_daemon.service.brain import Brain
from tests.clients.rig import Rig, until
from tests.clients.stub import CALLING, INPUT_TOKENS, LAST_WORDS, OUTPUT_TOKENS, Stub, stub

ENDED_SECONDS = 60.0
PARKS_AT_ONCE = "from brain_daemon.policy import retry\nretry.INLINE_WAIT_SECONDS = 1.0"
"""A shorter minute: what resets within one is waited for where the client ran, and this reset is some seconds away."""
OTHER = """---
name: {name}
type: llm
capabilities: [{capabilities}]
cost: {cost}
good_at: {{default: 0.8}}
invoke: {{command: [cat]}}
---
# Other
"""


@pytest.fixture
def own() -> Iterator[Stub]:
    """A stub of one test's own: what it says changes in the course of it."""
    with stub() as server:
        yield server


def _alone(brain: Rig, name: str) -> None:
    """Of the interfaces that ship with the package only this one stays."""
    for page in (brain.root / "tools" / "interfaces").glob("*.md"):
        if page.stem != name:
            page.unlink()


def _beside(brain: Rig, name: str, capabilities: str, cost: str) -> None:
    text = OTHER.format(name=name, capabilities=capabilities, cost=cost)
    (brain.root / "tools" / "interfaces" / f"{name}.md").write_text(text)


def _tasks(brain: Rig) -> dict[str, dict[str, str]]:
    return {one["task_id"]: one for one in json.loads(brain.brain("list", "--json").stdout)["tasks"]}


def _attempts(brain: Rig, task_id: str) -> list[Attempt]:
    with closing(Brain.open(str(brain.root), brain.environment)) as opened:
        return list(opened.journal.attempts_of(task_id))


def _rows(brain: Rig, task_id: str) -> list[CostRow]:
    pages = sorted((brain.root / "logs" / "costs").glob("*.csv"))
    rows = [row for page in pages for row in ledger.parse(page.read_bytes(), str(page))]
    return [row for row in rows if row.task_id == task_id]


def test_a_limit_in_the_middle_of_a_run_is_gone_on_with_at_its_reset(rig, own):
    """Claude has run a tool when its five hours are spent: parked to the epoch it told, then by itself in the same session and folder."""
    brain = rig(own.url("middle"))
    _alone(brain, "claude_code")
    board = brain.root / "context" / "board.md"
    brain.drop("mid", "claude_code", "# Mid\n\nDo the thing.")
    with brain.running(PARKS_AT_ONCE):
        until(lambda: board.exists() and "parked" in board.read_text(), "the parked task on the board", ENDED_SECONDS)
        assert brain.results() == {}
        until(brain.results, "the end of the task", ENDED_SECONDS)
    assert brain.results()["mid"].text == LAST_WORDS
    first, second = _attempts(brain, "mid")
    assert first.resume_at is not None
    assert own.resets_at <= first.resume_at < own.resets_at + 5
    assert second.started_at >= first.resume_at
    assert first.ended is not None
    assert second.ended is not None
    assert second.ended.client_session == first.ended.client_session is not None
    assert second.workspace_of == first.workspace_of
    assert [path.read_text() for path in brain.workspaces.rglob("begun.txt")] == ["begun\n"]
    rows = _rows(brain, "mid")
    assert sum(row.input_tokens or 0 for row in rows) == CALLING[0] + INPUT_TOKENS
    assert sum(row.output_tokens or 0 for row in rows) == CALLING[1] + OUTPUT_TOKENS


def test_a_daily_quota_hands_over_to_what_costs_no_more_and_leaves_the_rest_waiting(rig, own):
    """Of three tasks for Gemini one fits a subscription; the bound one, and the one that only a paid interface could do, wait for tomorrow."""
    brain = rig(own.url("quota"))
    _alone(brain, "gemini_cli")
    _beside(brain, "plan", "reasoning", "subscription")
    _beside(
        brain, "dear", "reasoning, file_ops, research", "{tier: paid, input_per_million: 5, output_per_million: 25}"
    )
    brain.drop("fits", "", "# Quick\n\nSay it.", preferred_interface="gemini_cli")
    brain.drop("bound", "gemini_cli", "# Bound\n\nSay it.")
    brain.drop("files", "", "# Files\n\nWrite it.", requires="[file_ops]")
    brain.run_once()
    tasks = _tasks(brain)
    assert (tasks["fits"]["state"], tasks["fits"]["interface"]) == ("completed", "plan")
    for name in ("bound", "files"):
        assert tasks[name]["state"] == "held"
        assert datetime.fromisoformat(tasks[name]["until"]).timestamp() > time.time() + 60, name
    brain.drop("later", "", "# Later\n\nSay it.", preferred_interface="gemini_cli")
    asked = len(own.asked)
    brain.run_once()
    assert _tasks(brain)["later"]["interface"] == "plan"
    assert len(own.asked) == asked, "nobody is sent to a spent quota again"
    assert {row.interface for name in tasks for row in _rows(brain, name)} == {"gemini_cli", "plan"}


def test_an_expired_login_holds_its_tasks_until_it_works_again(rig, own):
    """Two were in flight when Claude's login ran out: both wait with one that came later, one question is asked, then all run."""
    brain = rig(own.url("expired"))
    _alone(brain, "claude_code")
    for name in ("one", "two"):
        brain.drop(name, "claude_code", f"# {name}\n\nDo it.")
    with brain.running(), closing(Brain.open(str(brain.root), brain.environment)) as opened:
        # Of the journal, since a command each time would take its processor from the clients.
        # The check of Claude cannot see it, so one of them has tried again before anybody is asked.
        until(opened.journal.questions, "the question", ENDED_SECONDS)
        until(lambda: _held(opened) == {"one", "two"}, "both to wait", ENDED_SECONDS)
        asked = len(own.asked)
        brain.drop("three", "claude_code", "# Three\n\nDo it.")
        until(lambda: _held(opened) == {"one", "two", "three"}, "all three to wait", ENDED_SECONDS)
        (question,) = _questions(brain)
        assert question["about"] == "claude_code"
        assert brain.brain("usage").stdout.count("circuit breaker is open") == 1
        assert len(own.asked) == asked, "nobody tries a login that has expired"
        own.logged_in = True
        said = brain.brain("answer", question["id"], "check")
        assert said.returncode == 0, said.stderr
        until(lambda: len(brain.results()) == 3, "the end of the tasks", ENDED_SECONDS)
        assert _questions(brain) == []
    assert {one.values["status"] for one in brain.results().values()} == {"completed"}


def _questions(brain: Rig) -> list[dict[str, str]]:
    return list(json.loads(brain.brain("questions", "--json").stdout)["questions"])


def _held(opened: Brain) -> set[str]:
    """The tasks that wait for the login."""
    return {hold.task_id for hold in opened.journal.holds() if "circuit breaker is open" in hold.reason}
