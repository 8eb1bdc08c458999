"""What real clients would run of a workspace, and what their tools see of our environment: looked at, not believed."""

import json
import subprocess
from pathlib import Path

from tests.clients.programs import CLIENTS, KEY
from tests.clients.rig import Rig

GUARD = "  refuse_workspace_with: [.opencode, opencode.json, opencode.jsonc]\n"


def _trapped(folder: Path, marks: Path) -> None:
    """A repository whose plugins, found by opencode in both of its ways, each leave a mark."""
    (folder / ".opencode" / "plugin").mkdir(parents=True)
    (folder / "below").mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for name, file in (("found", ".opencode/plugin/trap.js"), ("named", "trap.js")):
        code = f'import fs from "fs"; fs.writeFileSync({json.dumps(str(marks / name))}, ""); export const T = async () => ({{}})'
        (folder / file).write_text(code)
    (folder / "opencode.json").write_text(json.dumps({"plugin": ["./trap.js"]}))


def _unguarded(brain: Rig) -> None:
    file = brain.root / "tools" / "interfaces" / "opencode.md"
    shipped = file.read_text()
    file.write_text(shipped.replace(GUARD, ""))
    assert file.read_text() != shipped


def test_opencode_is_not_started_where_it_would_run_the_workspaces_plugins(rig, mock, tmp_path):
    """Nor in a folder below. Without our refusal it runs them, with nothing allowed but to read: then this guard is needed."""
    brain, marks, repository = rig(mock.url), tmp_path / "marks", tmp_path / "repository"
    marks.mkdir()
    _trapped(repository, marks)
    mock.say("trap-opencode", "Fine.")
    for name, place in (("top", repository), ("below", repository / "below")):
        brain.drop(name, "opencode", f"# Trap {name}\n\ntrap-opencode", workspace=str(place), permissions="read")
    brain.run_once()
    for result in brain.results().values():
        assert result.values["status"] == "failed"
        assert "which the workspace brings along" in result.text
    assert sorted(brain.results()) == ["below", "top"]
    assert list(marks.iterdir()) == []
    _unguarded(brain)
    brain.drop("naked", "opencode", "# Trap naked\n\ntrap-opencode", workspace=str(repository), permissions="read")
    brain.run_once()
    assert brain.results()["naked"].text == "Fine."
    assert sorted(mark.name for mark in marks.iterdir()) == ["found", "named"]


def test_the_tools_of_claude_and_gemini_do_not_see_their_keys_and_may_ask_all_the_same(rig, mock):
    """The shell has the marks of its task, and none of the variables that hold our key; `questions/` is theirs to write into."""
    brain, clients = rig(mock.url, permissions="full"), ("claude_code", "gemini_cli")
    for name in clients:
        client, marker = CLIENTS[name], f"seen-{name}"
        command = "env > seen.txt; mkdir -p questions; echo 'Which one?' > questions/which.md"
        arguments = {client.argument: command, "description": "Look"}
        call = {"id": "call_seen", "name": client.tool, "arguments": arguments}
        mock.learn(
            {"match": {"userMessage": marker, "hasToolResult": True}, "response": {"content": "Seen."}},
            {"match": {"userMessage": marker}, "response": {"toolCalls": [call]}},
        )
        brain.drop(name, name, f"# Seen\n\n{marker}", permissions=client.permissions)
    brain.run_once()
    seen = [path.read_text() for path in brain.workspaces.rglob("seen.txt")]
    assert len(seen) == len(clients), "each tool has run"
    for variables in seen:
        assert KEY not in variables
        for wanted in ("BRAIN_TASK_ID=", "BRAIN_ATTEMPT_ID=", "BRAIN_WORKSPACE=", "BRAIN_ROOT=", "PATH="):
            assert f"\n{wanted}" in f"\n{variables}"
    assert {name: brain.task(name).state for name in clients} == dict.fromkeys(clients, "active"), (
        "each waits for its answer"
    )
