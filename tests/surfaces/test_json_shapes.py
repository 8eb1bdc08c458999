"""docs/json.md says what `--json` prints: each example there has the shape of what the command really prints.

Every command runs on one brain with something of each kind in it: an ended task, a failed one, one held, one claimed.
"""

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from brain_daemon.surfaces.cli import ENTRIES
from brain_daemon.surfaces.cli import brain as brain_command

PAGE = Path(__file__).resolve().parents[2] / "docs" / "json.md"
_EXAMPLE = re.compile(r"^## `brain ([^`]+) --json`\n(.*?)^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What an object under these keys holds depends on what happened; docs/json.md says so where they stand.
OPEN = frozenset(
    {
        "params",
        "outputs",
        "rejected",
        "cost_by_basis",
        "result",
        "not_shown",
        "checked",
        "value",
        "facts",
        "cached_results",
        "user_preferences",
    }
)
SHARED = {"retry": "cancel", "release": "cancel", "fail": "complete"}


def examples() -> dict[str, Any]:
    """Command -> the example in the document."""
    return {command: json.loads(text) for command, _, text in _EXAMPLE.findall(PAGE.read_text("utf-8"))}


def merged(shapes: list[Any]) -> Any:
    """One shape that covers all: an object that is null elsewhere keeps its keys."""
    objects = [shape for shape in shapes if isinstance(shape, dict)]
    if objects:
        keys = {key: None for shape in objects for key in shape}
        return {key: merged([shape[key] for shape in objects if key in shape]) for key in keys}
    lists = [shape for shape in shapes if isinstance(shape, list)]
    if lists:
        return [merged([item for one in lists for item in one])] if any(lists) else []
    return next((shape for shape in shapes if shape is not None), None)


def differences(example: Any, real: Any, place: str = "") -> list[str]:
    """Where a document's example and a real answer have other keys or other types; null goes with everything."""
    if example is None or real is None:
        return []
    if isinstance(example, dict) and isinstance(real, dict):
        if place.rpartition(".")[2] in OPEN:
            return []
        found = [f"{place}.{key} is not in the example" for key in real.keys() - example.keys()]
        found += [f"{place}.{key} is not printed" for key in example.keys() - real.keys()]
        return found + [
            line
            for key in example.keys() & real.keys()
            for line in differences(example[key], real[key], f"{place}.{key}")
        ]
    if isinstance(example, list) and isinstance(real, list):
        shape = merged(example)
        return [line for item in real for line in differences(shape, item, place + "[]")]
    if place.rpartition(".")[2] in OPEN:
        return []
    numbers = (int, float)
    same = isinstance(real, type(example)) or (isinstance(example, numbers) and isinstance(real, numbers))
    return [] if same else [f"{place} is {type(real).__name__} and {type(example).__name__} in the example"]


PRICED = "type: llm\ncost: {tier: paid, input_per_million: 3, output_per_million: 15}\n"
NIGHT = "tasks: [{count: 4}]\ninterfaces: [{name: free_cloud, cost: {tier: free}, limits: {messages_per_day: 50}}]\n"
FACTS = (
    ("status",),
    ("list",),
    ("show", "paid"),
    ("show", "paid", "--prompt"),
    ("questions",),
    ("interfaces",),
    ("interfaces", "show", "priced"),
    ("interfaces", "check"),
    ("interfaces", "detect"),
    ("route", "{folder}/idea.md"),
    ("simulate", "{folder}/night.yaml", "--policy", "ladder"),
    ("costs", "--by", "type"),
    ("chain", "nightly"),
    ("graph",),
    ("request", "say this", "--mode", "directive", "--session", "mine"),
    ("session", "list"),
    ("session", "show", "mine"),
    ("session", "resume", "mine"),
    ("memory", "add", "The crossing opens at nine.", "--title", "Crossing"),
    ("memory", "search", "when does the crossing open", "--words"),
    ("memory", "get", "paid"),
    ("memory", "list"),
    ("memory", "rebuild"),
    ("report",),
    ("rate", "paid", "good"),
    ("usage",),
    ("lint", "{folder}/idea.md", "{folder}/bad.md"),
    ("new", "{folder}/new.md"),
    ("init", "{folder}/other"),
    ("config",),
    ("doctor",),
    ("verify",),
    ("retry", "fails"),
    ("cancel", "fails"),
    ("answer", "blind", "cancel"),
    ("release", "hopeless"),
)


@pytest.fixture
def furnished(brain, tmp_path) -> Path:
    """A brain that has worked: one task paid for, one tried twice, one failed, two that nobody can do. The folder beside it."""
    brain.echo()
    brain.program("priced", "cat", more=PRICED)
    brain.program("broken", "false", more="good_at: {default: 0}\naliases: [bust]\n")
    brain.write("tools/interfaces/wrong.md", "---\nname: wrong\ntype: robot\n---\n# Wrong\n")
    brain.drop("paid.md", "---\ninterface: priced\nchain: nightly\n---\n# Paid\n\nsome words\n")
    brain.drop("twice.md", "---\npreferred_interface: broken\n---\n# Twice\n")
    brain.drop("fails.md", "---\ninterface: broken\n---\n# Fails\n")
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    brain.drop("hopeless.md", "---\nrequires: [hearing]\n---\n# Hopeless\n")
    brain.run_once()
    (tmp_path / "idea.md").write_text("# An idea\n")
    (tmp_path / "bad.md").write_text("---\npriority: soon\n---\n# Bad\n")
    (tmp_path / "night.yaml").write_text(NIGHT)
    (tmp_path / "batch.json").write_text('[{"prompt": "Say this.", "interface": "echo"}]')
    (tmp_path / "result.md").write_text("done\n")
    (tmp_path / "small.yaml").write_text("name: small\nsteps: [{id: plan, prompt: 'Plan {topic}', interface: echo}]\n")
    (brain.active / "stray.md").write_text("# For verify to find\n")
    return tmp_path


@pytest.fixture
def answers(brain, cli, furnished) -> dict[str, Any]:
    """What each documented command prints there."""
    said: dict[str, Any] = {}

    def ask(*arguments: str) -> Any:
        answer = cli(*(argument.format(folder=furnished) for argument in arguments), "--json")
        assert answer.data, f"brain {' '.join(arguments)}: {answer.complaint}"
        said[key_of(" ".join(arguments))] = answer.json
        return answer.json

    ask("submit", "say this", "--interface", "echo")
    brain.drop("theirs.md", "# For an agent\n")
    claimed = ask("claim", "--as", "ann", "--lease", "1h")["attempt_id"]
    ask("renew", claimed, "--lease", "2h")
    ask("ask", "theirs", "Which one?")
    ask("acquire", "--interface", "priced", "--tokens", "9", "--task", "theirs")
    for arguments in FACTS:
        ask(*arguments)
    ask("workflow", "check", "{folder}/small.yaml")
    run = ask("workflow", "run", "{folder}/small.yaml", "--param", "topic=bees", "--no-wait")["run"]
    ask("workflow", "status", run)
    ask("workflow", "list")
    ask("complete", claimed, "-f", "{folder}/result.md")
    brain.drop("another.md", "# For an agent too\n")
    ask("fail", cli("claim", "--as", "ann", "--json").json["attempt_id"], "--why", "no idea")
    (brain.active / "stray.md").unlink()
    ask("batch", "{folder}/batch.json", "--yes")
    ask("reindex")
    return said


def test_every_example_has_the_shape_of_what_is_printed(answers):
    """The same keys, the same types, in lists too; and no command of the scenario is left out of the document."""
    documented = {key_of(command): example for command, example in examples().items()}
    assert documented.keys() == {SHARED.get(name, name) for name in answers}
    found = {name: differences(documented[SHARED.get(name, name)], answer) for name, answer in answers.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def key_of(command: str) -> str:
    """The words of a documented command before its arguments."""
    words = command.split()
    if "--prompt" in words:
        return f"{words[0]} --prompt"
    return " ".join(words[:2]) if words[0] in ("interfaces", "session", "memory", "workflow") else words[0]


def commands_with_json() -> list[str]:
    """Every command, and every one of a group, that has the flag."""
    found = []
    for name in ENTRIES:
        command = brain_command.get_command(click.Context(brain_command), name)
        assert command is not None
        found += [name] if has_json(command) else []
        if isinstance(command, click.Group):
            found += [f"{name} {sub}" for sub, one in command.commands.items() if has_json(one)]
    return found


def has_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_command_with_json_is_named_in_the_document():
    """With a section of its own, or in the list of those that share one."""
    text = PAGE.read_text("utf-8")
    assert [name for name in commands_with_json() if f"`brain {name}" not in text] == []


@pytest.mark.parametrize(
    ("example", "real"),
    [
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"c": 1}]}),
        ({"a": {"b": None}}, {"a": {"c": 1}}),
    ],
)
def test_the_comparison_sees_a_difference(example, real):
    """A test of the test: other keys and other types are found, at any depth."""
    assert differences(example, real) != []
