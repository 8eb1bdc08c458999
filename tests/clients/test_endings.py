"""Ends that real clients do not choose: a timeout, a cancel in the middle of an answer, a child that their tool left behind."""

from tests.clients.programs import CLIENTS
from tests.clients.rig import left_behind, until

ENDED_SECONDS = 30.0
STARTED_SECONDS = 120.0
TIMEOUT_SECONDS = 25
SLOW = {"ttft": 50, "tps": 2}
LONG_TEXT = " ".join(map(str, range(3000)))  # Gemini breaks off what repeats itself
WITH_TOOLS = [name for name, client in CLIENTS.items() if client.tool]


def _slowly(brain, mock, stubbed, word: str) -> None:
    """Every client gets an answer that takes ten minutes; llm, which does not stream, waits for one."""
    CLIENTS["llm"].dress(brain.home, stubbed.url("silent"))
    stubbed.asked.clear()
    for name in CLIENTS:
        mock.say(f"{word}-{name}", LONG_TEXT, streamingProfile=SLOW)


def _began(name: str, mock, stubbed, word: str) -> bool:
    return "silent" in stubbed.asked if name == "llm" else bool(mock.sent(f"{word}-{name}"))


def _clients_of(brain) -> list[str]:
    """What runs of a brain whose daemon still runs, and commits."""
    return [line for line in left_behind(brain.home) if "brain_daemon" not in line and "git " not in line]


def _endings(brain) -> dict[str, tuple[str, str | None]]:
    return {name: (one.values["status"], one.values.get("reason")) for name, one in brain.results().items()}


def test_a_slow_answer_ends_at_the_tasks_timeout(rig, mock, stubbed):
    """The outcome is timed_out and nothing else, in time, and no process is left."""
    brain = rig(mock.url)
    _slowly(brain, mock, stubbed, "slow")
    for name in CLIENTS:
        brain.drop(name, name, f"# Slow\n\nslow-{name}", timeout=f"{TIMEOUT_SECONDS}s", attempts="1")
    brain.run_once()
    assert left_behind(brain.home) == []
    assert _endings(brain) == dict.fromkeys(CLIENTS, ("failed", "timed_out"))
    assert [name for name in CLIENTS if not _began(name, mock, stubbed, "slow")] == []
    for one in brain.results().values():
        assert TIMEOUT_SECONDS <= one.values["duration_seconds"] < TIMEOUT_SECONDS + ENDED_SECONDS


def test_a_cancel_in_the_middle_of_an_answer_wins(rig, mock, stubbed):
    """Whatever a client says of its interrupted answer, the task was cancelled, soon, and no process is left."""
    brain = rig(mock.url)
    _slowly(brain, mock, stubbed, "cancel")
    with brain.running():
        for name in CLIENTS:
            brain.drop(name, name, f"# Cancel\n\ncancel-{name}")
        for name in CLIENTS:
            until(lambda name=name: _began(name, mock, stubbed, "cancel"), f"the answer to {name}", STARTED_SECONDS)
        for name in CLIENTS:
            said = brain.brain("cancel", name)
            assert said.returncode == 0, said.stderr
        until(lambda: len(brain.results()) == len(CLIENTS), "the end of the tasks", ENDED_SECONDS)
        until(lambda: not _clients_of(brain), "the end of the clients", ENDED_SECONDS)
    assert _endings(brain) == dict.fromkeys(CLIENTS, ("failed", "cancelled"))


def test_a_child_that_a_tool_left_behind_is_ended(rig, mock):
    """A program in a session of its own, started by the client's shell tool, does not outlive the client's success."""
    brain = rig(mock.url, permissions="full")
    for name in WITH_TOOLS:
        client, marker = CLIENTS[name], f"child-{name}"
        command = f"setsid sleep 98765 > /dev/null 2>&1 < /dev/null & echo started > {marker}.txt"
        arguments = {client.argument: command, "description": "Start it"}
        call = {"id": "call_child", "name": client.tool, "arguments": arguments}
        mock.learn(
            {"match": {"userMessage": marker, "hasToolResult": True}, "response": {"content": "It runs."}},
            {"match": {"userMessage": marker}, "response": {"toolCalls": [call]}},
        )
        brain.drop(name, name, f"# Child\n\n{marker}", permissions=client.permissions)
    brain.run_once()
    assert left_behind(brain.home) == []
    assert {name: (one.values["status"], one.text) for name, one in brain.results().items()} == dict.fromkeys(
        WITH_TOOLS, ("completed", "It runs.")
    )
    started = {path.name for path in brain.workspaces.rglob("child-*.txt")}
    assert started == {f"child-{name}.txt" for name in WITH_TOOLS}, "each tool has run"
