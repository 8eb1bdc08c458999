"""A client's own session, gone on with after the person has answered: what it costs is what the server counted."""

import json
from contextlib import closing

from brain_daemon.model.cost_row import CostRow
from brain_daemon.record import ledger
from brain_daemon.service.brain import Brain
from tests.clients.programs import CLIENTS
from tests.clients.rig import Rig
from tests.clients.servers import Aimock, usage

WITH_SESSIONS = [name for name, client in CLIENTS.items() if client.tool]
PAID = ["claude_code", "opencode"]
RUNS = 3
QUESTION = "mkdir -p questions && echo 'Which one?' > questions/which-{run}.md"
CALLING, ENDING = (1000, 20), (1100, 30)
"""Input and output tokens, as the server says, of the request that calls the tool and of the one that ends a run."""


def test_a_session_resumed_twice_costs_what_the_server_counted(rig, mock):
    """Three runs in one session, each charged with its own share, though some clients report the totals of the session."""
    brain = rig(mock.url, permissions="full")
    _bill_claude(brain)
    for name in WITH_SESSIONS:
        for run in range(RUNS):
            _teach(mock, name, run)
        brain.drop(name, name, f"# Talk\n\n{_marker(name, 0)}", permissions=CLIENTS[name].permissions)
    brain.run_once()
    for run in range(1, RUNS):
        _answer_all(brain, run)
        brain.run_once()
    texts = {name: (result.values["status"], result.text) for name, result in brain.results().items()}
    assert texts == dict.fromkeys(WITH_SESSIONS, ("completed", "The end."))
    for name in WITH_SESSIONS:
        sent = [[one.usage for one in mock.sent(_marker(name, run))] for run in range(RUNS)]
        assert [len(one) for one in sent] == [2, 2, 1]
        charged = [(row.input_tokens, row.output_tokens) for row in _rows(brain, name)]
        assert charged == [(_sum(one, "input_tokens"), _sum(one, "output_tokens")) for one in sent], name
        assert len(_sessions(brain, name)) == 1, "each run went on in the session of the first"
    for name in PAID:
        costs = [row.cost_usd for row in _rows(brain, name)]
        assert costs[0] == costs[1] > costs[2] > 0, name


def _bill_claude(brain: Rig) -> None:
    """As on a key that is billed: Claude reports the cost of the whole session, whoever pays for it."""
    file = brain.root / "tools" / "interfaces" / "claude_code.md"
    shipped = file.read_text()
    file.write_text(shipped.replace("tier: subscription", "tier: paid"))
    assert file.read_text() != shipped


def _marker(name: str, run: int) -> str:
    return f"talk-{run}-{name}"


def _teach(mock: Aimock, name: str, run: int) -> None:
    """All runs but the last leave a question, by the client's shell tool, and end then."""
    client, marker = CLIENTS[name], {"userMessage": _marker(name, run)}
    ending = {"content": "The end." if run == RUNS - 1 else "I asked.", "usage": usage(*ENDING)}
    if run == RUNS - 1:
        return mock.learn({"match": marker, "response": ending})
    arguments = {client.argument: QUESTION.format(run=run), "description": "Ask"}
    call = {"id": f"call_{run}", "name": client.tool, "arguments": arguments}
    return mock.learn(
        {"match": {**marker, "hasToolResult": True}, "response": ending},
        {"match": marker, "response": {"toolCalls": [call], "usage": usage(*CALLING)}},
    )


def _answer_all(brain: Rig, run: int) -> None:
    asked = json.loads(brain.brain("questions", "--json").stdout)["questions"]
    assert sorted(one["about"] for one in asked) == sorted(WITH_SESSIONS)
    for one in asked:
        said = brain.brain("answer", one["id"], f"Take this one: {_marker(one['about'], run)}")
        assert said.returncode == 0, said.stderr


def _rows(brain: Rig, task_id: str) -> list[CostRow]:
    pages = sorted((brain.root / "logs" / "costs").glob("*.csv"))
    rows = [row for page in pages for row in ledger.parse(page.read_bytes(), str(page))]
    return [row for row in rows if row.task_id == task_id]


def _sessions(brain: Rig, task_id: str) -> set[str | None]:
    with closing(Brain.open(str(brain.root), brain.environment)) as opened:
        return {one.ended.client_session for one in opened.journal.attempts_of(task_id) if one.ended}


def _sum(usages: list[dict[str, int]], key: str) -> int:
    return sum(one[key] for one in usages)
