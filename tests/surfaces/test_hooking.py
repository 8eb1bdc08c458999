"""`brain hook`: what a coding agent gets, in the form it takes, and that nothing which goes wrong here reaches it."""

import json
import os
import subprocess
import sys
import time

import pytest
from filelock import FileLock

MEASURED = True
PROMPT = {
    "session_id": "8c35adc1-1111-2222-3333-444455556666",
    "transcript_path": "/tmp/transcript.jsonl",
    "permission_mode": "default",
    "hook_event_name": "UserPromptSubmit",
    "prompt": "Fix the bug in parser.py",
}
SILENT = (0, b"", b"")


@pytest.fixture(autouse=True)
def _furnished(brain):
    brain.program("parrot", "cat", more="cost: {tier: free}\ngood_at: {default: 0.9}\n")


@pytest.fixture
def hook(brain):
    """Run the hook as an agent does: in a process of its own without a terminal, the prompt on its standard input."""

    def run(*arguments: str, said: dict | bytes | None = None, root: str | None = None, **environment: str):
        told = PROMPT | {"cwd": str(brain.root)} | (said if isinstance(said, dict) else {})
        done = subprocess.run(
            [sys.executable, "-m", "brain_daemon", "--brain", root or str(brain.root), "hook", *arguments],
            input=said if isinstance(said, bytes) else json.dumps(told).encode(),
            capture_output=True,
            env={**os.environ, "TZ": "UTC", **environment},
            start_new_session=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def forked(brain, nursery, tmp_path):
    """The same in a process that has the program loaded already, for the many ways there are to say nothing or another's words."""

    def run(*arguments: str, said: dict | bytes | None = None, root: str | None = None, **environment: str):
        told = PROMPT | {"cwd": str(brain.root)} | (said if isinstance(said, dict) else {})
        streams = [tmp_path / name for name in ("hook.in", "hook.out", "hook.err")]
        streams[0].write_bytes(said if isinstance(said, bytes) else json.dumps(told).encode())
        words = ["--brain", root or str(brain.root), "hook", *arguments]
        process = nursery.order(words, {**os.environ, "TZ": "UTC", **environment}, tuple(map(str, streams)))
        return process.wait(120), streams[1].read_bytes(), streams[2].read_bytes()

    return run


@pytest.fixture
def by_day(monkeypatch):
    """Whatever the clock says, it is noon for the hook."""
    hour = (12 - time.gmtime().tm_hour) % 24
    return {"TZ": f"<noon>-{hour:02d}"}


def context(answer) -> str:
    code, out, _ = answer
    assert code == 0
    said = json.loads(out)
    assert said["hookSpecificOutput"].keys() == {"hookEventName", "additionalContext"}
    assert said["hookSpecificOutput"]["hookEventName"] == "UserPromptSubmit"
    return said["hookSpecificOutput"]["additionalContext"]


def test_an_agent_at_hand_is_told_who_should_do_it(hook, by_day, brain, cli):
    """As additional context and nothing else; noted under the agent's own session."""
    said = context(hook(**by_day))
    assert said.startswith("Routing directive of brain-daemon for this request (code):\n- Who: parrot (free).")
    assert f"brain --brain {brain.root} submit --prefer parrot --wait -" in said
    kept = cli("session", "show", PROMPT["session_id"], "--json").json
    assert kept["project_root"] == os.path.realpath(brain.root)
    assert [one["result"] for one in kept["routing_history"]] == ["directed"]
    assert brain.names(brain.pending) == []


def test_a_request_left_overnight_is_run_and_its_answer_given(hook, brain):
    """No daemon runs: a pass over the queue does it. The agent is told not to do it again."""
    said = context(hook(CLAUDE_OVERNIGHT="1"))
    assert "has done this request already" in said
    assert said.endswith("\n\nFix the bug in parser.py\n")
    (row,) = brain.rows()
    assert (row.mode, row.interface) == ("request", "parrot")


def test_a_request_that_takes_too_long_goes_on_without_the_agent(hook, brain, daemon):
    """The agent is told its name and that it is being done."""
    brain.program("slow", "sleep", "600", more="good_at: {default: 1}\n")
    with daemon():
        for within in ("4s", "20s", "100s"):  # on a slow machine the first is over before the task is handed in
            answer = hook(
                "--within", within, "--mode", "orchestrated", said={"prompt": "---\ninterface: slow\n---\nDo it"}
            )
            if answer != SILENT:
                break
    assert "has not finished it yet" in context(answer)
    assert brain.names(brain.active) + brain.names(brain.pending)


def test_a_request_that_nobody_takes_up_is_not_waited_for(hook):
    """The pass over the queue has ended and the task is held: the agent is told so long before its time is over."""
    said = context(
        hook("--within", "9m", "--mode", "orchestrated", said={"prompt": "---\nrequires: [vision]\n---\nLook"})
    )
    assert "has not finished it yet" in said


def test_a_request_that_fails_is_the_agents_to_do(hook, brain):
    """And the person is told where to look."""
    brain.program("broken", "false", more="good_at: {default: 1}\n")
    said = context(hook("--mode", "orchestrated", said={"prompt": "---\ninterface: broken\nattempts: 1\n---\nDo it"}))
    assert "it failed: tool_failed. Do it yourself" in said


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"no JSON",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"{" * 100_000,
        {"prompt": ""},
        {"prompt": None},
        {"prompt": "/clear"},
        {"hook_event_name": "PreToolUse"},
        {"cwd": 7, "session_id": [], "prompt": 7},
    ],
)
def test_what_is_no_prompt_is_passed_over_in_silence(forked, said):
    """Exit code 0 and not a byte."""
    assert forked(said=said) == SILENT


def test_whatever_is_wrong_with_the_brain_the_agent_hears_nothing(hook, brain, tmp_path):
    """No brain, a bad setting, a broken journal, options nobody knows; the log says what it was."""
    assert hook(root=str(tmp_path / "nowhere")) == SILENT
    assert hook(BRAIN_PARALLEL="many") == SILENT
    assert hook("--bogus", "7", "more", said=b"x") == SILENT
    with open(f"{brain.layout.state}/requests.log") as handle:
        assert "reading the setting parallel" in handle.read()
    (brain.root / "brain.toml").write_text("no = such setting\n")
    assert hook() == SILENT


def test_a_brain_that_is_held_up_does_not_hold_up_the_agent(hook, brain, by_day):
    """Somebody sits on the lock of the sessions: after its time the hook ends without a word."""
    os.makedirs(brain.layout.state, exist_ok=True)
    with FileLock(os.path.join(brain.layout.state, "sessions.lock")):
        assert hook("--within", "1s", **by_day) == SILENT


def test_an_agent_that_works_on_a_task_is_left_alone(forked):
    """Its request is one that was routed: a directive would send it in a circle."""
    assert forked(BRAIN_TASK_ID="task-1", CLAUDE_OVERNIGHT="1") == SILENT


def test_a_hook_of_ones_own_gets_the_same_input_and_comes_first(hook, by_day):
    """What it prints as text or as JSON is in the same answer; its other keys stay."""
    said = context(hook("--wrap", "cat | wc -c | tr -d ' '; echo mine", **by_day))
    assert said.partition("\n")[0].isdigit()
    assert "mine\n\nRouting directive" in said
    theirs = {
        "suppressOutput": True,
        "hookSpecificOutput": {"hookEventName": "UserPromptSubmit", "additionalContext": "x"},
    }
    code, out, _ = hook("--wrap", f"echo '{json.dumps(theirs)}'", **by_day)
    answer = json.loads(out)
    assert (code, answer["suppressOutput"]) == (0, True)
    assert answer["hookSpecificOutput"]["additionalContext"].startswith("x\n\nRouting directive")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("echo no >&2; exit 2", (2, b"", b"no\n")),
        ("echo half; echo broken >&2; exit 1", (1, b"half\n", b"broken\n")),
        ("kill -9 $$", (1, b"", b"")),
        ('echo \'{"decision": "block", "reason": "no"}\'', (0, b'{"decision": "block", "reason": "no"}\n', b"")),
        ("echo '{\"continue\": false}'", (0, b'{"continue": false}\n', b"")),
        ("echo '{broken'", (0, b"{broken\n", b"")),
    ],
)
def test_a_hook_of_ones_own_that_blocks_or_fails_stands_alone(forked, by_day, command, answer):
    """Byte for byte, with its exit code."""
    assert forked("--wrap", command, **by_day) == answer


def test_a_hook_of_ones_own_is_heard_whatever_is_wrong_here(hook, tmp_path):
    """Without a brain it is as if this hook were not there."""
    assert hook("--wrap", "echo mine", root=str(tmp_path / "nowhere")) == (0, b"mine\n", b"")


def test_an_answer_too_long_for_the_agent_is_cut(hook, brain):
    """Claude Code takes 10,000 characters; the command that shows all of it stands before the cut."""
    said = context(hook("--mode", "orchestrated", said={"prompt": "word " * 5_000}))
    assert 8_000 < len(said) < 10_000
    assert said.endswith("[cut]")
    assert "show task-" in said[:500]


def test_a_prompt_like_the_last_one_is_answered_from_memory(hook, brain, by_day):
    """It says the same; nothing that runs tasks or reads git is loaded for it."""
    first = context(hook(**by_day))
    again = hook(said={"prompt": "Refactor parser.py"}, PYTHONVERBOSE="1", **by_day)
    assert context(again) == first
    for heavy in ("brain_daemon.service.brain", "brain_daemon.service.supervisor", "git.repo", "asyncio"):
        assert f"import '{heavy}'".encode() not in again[2]
