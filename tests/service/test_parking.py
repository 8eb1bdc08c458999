"""Parked tasks and resumed sessions, with a real program that keeps sessions the way clients do."""

import json
import os
import sys
import time
from pathlib import Path

from brain_daemon.adapters import survivors
from brain_daemon.model.outcome import Status
from brain_daemon.policy import retry
from brain_daemon.service import actions

CLIENT = r"""
import json, os, sys, time
log, *script = sys.argv[1:]
resumed = script[script.index("--resume") + 1] if "--resume" in script else None
script = script[: script.index("--resume")] if resumed else script
calls = sum(1 for _ in open(log)) if os.path.exists(log) else 0
prompt = sys.stdin.read()
session = resumed or f"s-{calls + 1}"
print(json.dumps({"session": session}), flush=True)
with open(log, "a") as handle:
    handle.write(json.dumps({"resumed": resumed, "prompt": prompt, "cwd": os.getcwd(), "pid": os.getpid()}) + "\n")
said = script[min(calls, len(script) - 1)]
kind, _, rest = said.partition(":")
total = 100 * (calls + 1) if resumed else 100
answer = {"kind": kind, "text": rest or "done", "in": total, "out": 10 * total, "usd": total / 1000, "resets": rest}
if kind == "hang":
    time.sleep(600)
if kind == "write":
    open("made.txt", "w").write(rest)
print(json.dumps(answer))
"""

INTERFACE = """---
name: agent
type: llm
cost: paid
invoke:
  command: [{python}, {client}, {log}, {script}]
  resume: [--resume, "{{client_session}}"]
output:
  format: jsonl
  ok: out[-1].kind == 'ok' || out[-1].kind == 'write'
  text: out[-1].text
  client_session: out[0].session
  usage: {{input_tokens: "out[-1].in", output_tokens: "out[-1].out"}}
  usage_scope: session
  cost_usd: out[-1].usd
  cost_scope: session
errors:
  - {{when: "out[-1].kind == 'quota'", kind: quota, resets_at: "num(out[-1].resets)"}}
  - {{when: "out[-1].kind == 'limit'", kind: rate_limit, retry_after: "num(out[-1].resets)"}}
  - {{when: "out[-1].kind == 'ask'", kind: asked, message: "out[-1].text"}}
  - {{when: "out[-1].kind == 'lost'", kind: session_unknown}}
  - {{kind: permanent}}
---
# Agent
"""


class Agent:
    """The program, and what it was called with."""

    def __init__(self, brain, tmp_path: Path, *script: str) -> None:
        client = tmp_path / "client.py"
        client.write_text(CLIENT)
        self.log = tmp_path / "calls.jsonl"
        words = ", ".join(f"'{word}'" for word in script)
        text = INTERFACE.format(python=sys.executable, client=client, log=self.log, script=words)
        brain.write("tools/interfaces/agent.md", text)

    @property
    def calls(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


def drop(brain, more: str = "") -> None:
    brain.drop("job.md", f"---\ninterface: agent\n{more}---\n# Build\n\nBuild it.\n")


async def test_a_quota_parks_the_task_in_active_and_says_until_when(brain, tmp_path):
    """The slot is free, the board tells the reset, and a restart changes nothing."""
    reset = time.time() + 7200
    Agent(brain, tmp_path, f"quota:{reset:.0f}", "ok")
    async with brain.running() as daemon:
        drop(brain)
        await daemon.until(lambda: len(daemon.supervisor._parking) == 1, "the task to be parked")
        assert brain.where("job") == ["active"]
        await daemon.until(lambda: "parked: quota" in brain.board.read_text(), "the board to say so")
        assert not daemon.supervisor._jobs.running
    async with brain.running() as daemon:
        assert [one.task_id for one in daemon.supervisor._parking] == ["job"]
        assert reset <= next(iter(daemon.supervisor._parking)).resume_at <= reset + 60
    assert brain.where("job") == ["active"]
    assert [row.status for row in brain.rows()] == [Status.FAILED]


async def test_a_released_task_goes_on_in_its_session_and_workspace_and_is_charged_the_difference(brain, tmp_path):
    """A client that reports the totals of its session is not paid twice."""
    agent = Agent(brain, tmp_path, f"quota:{time.time() + 7200:.0f}", f"quota:{time.time() + 7200:.0f}", "ok:built")
    async with brain.running() as daemon:
        drop(brain)
        for times in (1, 2):
            await daemon.until(
                lambda times=times: len(agent.calls) == times and len(daemon.supervisor._parking) == 1, "it to park"
            )
            actions.release(daemon.brain, "job")
        await daemon.ended("job")
    assert brain.recorded("job").text.strip() == "built"
    assert [call["resumed"] for call in agent.calls] == [None, "s-1", "s-1"]
    assert len({call["cwd"] for call in agent.calls}) == 1
    assert [row.input_tokens for row in brain.rows()] == [100, 100, 100]
    assert sum(row.cost_usd for row in brain.rows()) * 1000 == 300
    assert "goes on in the session s-1" in brain.recorded("job").values["routing"]["reason"]


async def test_a_parked_task_resumes_by_itself_when_its_time_has_come(brain, tmp_path, monkeypatch):
    """Nobody has to be there."""
    monkeypatch.setattr(retry, "INLINE_WAIT_SECONDS", 0.1)
    agent = Agent(brain, tmp_path, "limit:0.5", "ok:built")
    async with brain.running(transient_retries=0) as daemon:
        drop(brain)
        await daemon.ended("job")
    assert [call["resumed"] for call in agent.calls] == [None, "s-1"]
    assert brain.where("job") == ["completed"]


async def test_an_unknown_session_is_started_afresh_once(brain, tmp_path):
    """The client has forgotten it; the task is not lost with it, and the record says so."""
    agent = Agent(brain, tmp_path, f"quota:{time.time() + 7200:.0f}", "lost", "ok:built")
    async with brain.running() as daemon:
        drop(brain)
        await daemon.until(lambda: len(daemon.supervisor._parking) == 1, "it to park")
        actions.release(daemon.brain, "job")
        await daemon.ended("job")
    assert [call["resumed"] for call in agent.calls] == [None, "s-1", None]
    assert "Build it." in agent.calls[-1]["prompt"]
    result = brain.recorded("job").values
    assert result["status"] == "completed"
    assert "starts afresh" in result["routing"]["reason"]


async def test_work_that_fails_its_check_goes_back_to_its_session_once(brain, tmp_path):
    """What the check printed is what the client is told."""
    agent = Agent(brain, tmp_path, "write:wrong", "write:right")
    async with brain.running() as daemon:
        drop(brain, "verify: grep right made.txt || (echo 'that is not right'; exit 3)\n")
        await daemon.ended("job")
    assert brain.where("job") == ["completed"]
    assert [call["resumed"] for call in agent.calls] == [None, "s-1"]
    assert "that is not right" in agent.calls[1]["prompt"]


async def test_a_check_that_fails_again_fails_the_task_with_its_tail(brain, tmp_path):
    """Once back to the session, then no more of it."""
    agent = Agent(brain, tmp_path, "write:wrong")
    async with brain.running() as daemon:
        drop(brain, "verify: echo never right; false\nattempts: 1\n")
        await daemon.ended("job")
    assert len(agent.calls) == 2
    assert brain.recorded("job").values["reason"] == "verification_failed"
    assert "never right" in (brain.failed / "job.md").read_text()


async def test_a_question_parks_the_task_until_it_is_answered(brain, tmp_path):
    """The answer goes into the session that asked; it may come while no daemon runs."""
    agent = Agent(brain, tmp_path, "ask:Which colour?", "ok:blue it is")
    async with brain.running() as daemon:
        drop(brain)
        await daemon.until(
            lambda: brain.questions.exists() and "Which colour?" in brain.questions.read_text(), "the question"
        )
    opened = brain.open()
    parked = opened.journal.attempts_of("job")[-1]
    assert opened.journal.answer(parked.attempt_id, "blue")
    opened.close()
    async with brain.running() as daemon:
        await daemon.ended("job")
    assert agent.calls[1]["resumed"] == "s-1"
    assert "blue" in agent.calls[1]["prompt"]
    assert [row.reason for row in brain.rows()] == ["asked", None]


async def test_a_question_that_a_crash_swallowed_is_put_at_the_next_start(brain, tmp_path):
    """The end of the attempt is durable a moment before the question is."""
    Agent(brain, tmp_path, "ask:Which colour?")
    async with brain.running() as daemon:
        drop(brain)
        await daemon.until(daemon.brain.journal.questions, "the question")
        for key in daemon.brain.journal.questions():
            daemon.brain.journal.withdraw(key)
    async with brain.running() as daemon:
        assert len(daemon.brain.journal.questions()) == 1


async def test_a_parked_task_can_be_cancelled(brain, tmp_path):
    """And is then over, once."""
    Agent(brain, tmp_path, "ask:Which colour?")
    async with brain.running() as daemon:
        drop(brain)
        await daemon.until(lambda: len(daemon.supervisor._parking) == 1, "it to park")
        actions.cancel(daemon.brain, "job")
        await daemon.ended("job")
        await daemon.until(lambda: len(daemon.supervisor._parking) == 0, "it to leave the park")
        assert not daemon.brain.journal.questions()
    assert brain.recorded("job").values["reason"] == "cancelled"


async def test_an_attempt_that_the_daemons_end_cut_short_goes_on_in_its_session_unasked(brain, tmp_path):
    """Although the task is not idempotent: the client knows what it has done."""
    agent = Agent(brain, tmp_path, "hang", "ok:built")
    async with brain.running() as daemon:
        drop(brain)
        await daemon.until(lambda: agent.calls, "the start")
    async with brain.running() as daemon:
        await daemon.ended("job")
    assert [call["resumed"] for call in agent.calls] == [None, "s-1"]
    assert brain.where("job") == ["completed"]


async def test_an_attempt_whose_daemon_was_killed_goes_on_in_the_session_its_output_names(brain, tmp_path):
    """Nobody saw its end; its first line is on disk."""
    agent = Agent(brain, tmp_path, "hang", "ok:built")
    async with brain.running() as daemon:
        drop(brain)
        await daemon.until(lambda: agent.calls, "the start")
        attempt = daemon.brain.journal.attempts_of("job")[0]
        stdout = os.path.join(daemon.brain.layout.attempt(attempt.attempt_id), "stdout")
        await daemon.until(lambda: os.path.getsize(stdout) > 0, "its first line")
        kept = attempt
    _as_if_killed(brain, kept)
    async with brain.running() as daemon:
        await daemon.ended("job")
    assert [call["resumed"] for call in agent.calls] == [None, "s-1"]


def _as_if_killed(brain, attempt) -> None:
    """The journal as a daemon leaves it that had no time to write an end."""
    opened = brain.open()
    if os.path.exists(brain.pending / "job.md"):
        os.replace(brain.pending / "job.md", brain.active / "job.md")
    opened.journal._connection.execute("delete from outcomes")
    opened.journal._connection.execute(
        "update attempts set state = 'starting', ended = null, decision = null, spec = ? where attempt_id = ?",
        (attempt.spec, attempt.attempt_id),
    )
    opened.close()
    assert not survivors.alive(attempt.attempt_id, "").any
