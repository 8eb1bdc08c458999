"""The interface files that are shipped: valid, documented, careful. What they read is proved in test_transcripts.py."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from brain_daemon.adapters.reading import compile_rules
from brain_daemon.model.frontmatter import split
from brain_daemon.model.interface import Availability, InterfaceSpec, InvokeKind, Tier
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.routing_file import parse_routing
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.schema import interface_schema, routing_schema

TOP = Path(__file__).parents[2]
SHIPPED = TOP / "tools" / "interfaces"
NAMES = sorted(path.stem for path in SHIPPED.glob("*.md"))


def spec_in(path: Path) -> InterfaceSpec:
    spec = parse_interface(path.name, path.read_bytes())
    assert isinstance(spec, InterfaceSpec), spec
    return spec


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_is_valid_and_silent(name):
    """None of the files we ship has a fault or a key that nobody knows."""
    assert spec_in(SHIPPED / f"{name}.md").warnings == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_satisfies_the_published_schema(name):
    """An editor that checks by our schema does not complain about our own files."""
    head = split((SHIPPED / f"{name}.md").read_bytes()).head
    jsonschema.validate(yaml.safe_load(head), interface_schema())


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_tells_people_how_what_for_and_what_not(name):
    """The body is documentation: every file has the three parts the format names."""
    body = (SHIPPED / f"{name}.md").read_text()
    for heading in ("## How to Invoke", "## Best For", "## Limitations"):
        assert heading in body


CLIENTS = ["claude_code", "codex", "gemini_cli", "opencode", "llm", "aider"]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_has_a_page_of_its_own(name):
    """How to install it, how to log in, what its limits look like, what it may do, and what is odd about it."""
    page = (TOP / "docs" / "clients" / f"{name}.md").read_text()
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["Install", "Log in", "Its limits", "What it may do", "Quirks"]
    for profile in spec_in(SHIPPED / f"{name}.md").invoke.permissions:
        assert f"| `{profile.name}` |" in page


@pytest.mark.parametrize("name", NAMES)
def test_no_shipped_command_puts_the_prompt_on_the_command_line(name):
    """A prompt of 200 kB as an argument fails on Linux, and arguments are seen by every user of the machine."""
    spec = spec_in(SHIPPED / f"{name}.md")
    assert "{prompt}" not in " ".join(spec.invoke.command)


def test_the_files_that_need_no_login_are_free_and_stay_on_this_machine():
    """`local_only` tasks may go to exactly these."""
    local = {name for name in NAMES if spec_in(SHIPPED / f"{name}.md").local}
    assert local == {"librarian", "ollama", "person", "shell"}
    assert {spec_in(SHIPPED / f"{name}.md").cost.tier for name in local} == {Tier.FREE}


def test_the_shell_is_off_until_a_person_turns_it_on():
    """It runs a task's text as a program, so it is nothing to ship switched on, nor to give tasks that did not ask for it."""
    shell = spec_in(SHIPPED / "shell.md")
    assert (shell.status, shell.invoke.kind, shell.capabilities) == (Availability.OFFLINE, InvokeKind.TOOL, ("shell",))
    assert dict(shell.good_at)["default"] == 0


def test_gemini_has_its_daily_allowance():
    """1,500 requests a day, under either name of the limit."""
    assert spec_in(SHIPPED / "gemini_cli.md").limits.messages_per_day == 1500


@pytest.mark.parametrize("name", ["claude_code", "codex", "gemini_cli", "opencode", "aider"])
def test_an_agent_never_leaves_its_permissions_to_chance(name):
    """A task that names no level gets `write` at most, and `full` only where it is declared and asked for."""
    levels = [profile.name for profile in spec_in(SHIPPED / f"{name}.md").invoke.permissions]
    assert levels[:2] == ["read", "write"]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_needs_positive_evidence_for_a_success(name):
    """The exit code alone proves nothing of any of them, and an empty run is none."""
    rules = compile_rules(spec_in(SHIPPED / f"{name}.md").output)
    assert not rules.read(b"", b"", 0).ok
    assert not rules.read(b"All done.\n", b"", 0).ok


@pytest.mark.parametrize("name", ["claude_code", "codex", "gemini_cli", "opencode"])
def test_an_agent_declares_what_each_level_of_permission_means(name):
    """Read, write and full differ, so a task gets what it asked for and no more."""
    profiles = spec_in(SHIPPED / f"{name}.md").invoke.permissions
    assert [profile.name for profile in profiles] == ["read", "write", "full"]
    assert len({(profile.arguments, profile.set_env) for profile in profiles}) == 3


@pytest.mark.parametrize("name", [*CLIENTS, "openai_api", "anthropic_api", "gemini_api", "ollama"])
def test_no_client_and_no_api_may_be_silent_for_ever(name):
    """A model is loaded, or a long answer made ready, in less; the file of one that needs more says so."""
    assert spec_in(SHIPPED / f"{name}.md").invoke.inactivity_seconds in (300.0, 900.0)


@pytest.mark.parametrize(("name", "key"), [("claude_code", "ANTHROPIC_API_KEY"), ("codex", "CODEX_API_KEY")])
def test_what_is_booked_as_a_subscription_is_given_no_key_to_bill(name, key):
    """With a key in sight these clients bill it; a registration of its own, as on the client's page, is for that."""
    spec = spec_in(SHIPPED / f"{name}.md")
    assert spec.cost.tier is Tier.SUBSCRIPTION
    assert key not in (*spec.invoke.env, spec.auth.env)
    page = (TOP / "docs" / "clients" / f"{name}.md").read_text()
    assert f"env: {key}}}" in page


def test_the_shipped_routing_table_names_only_what_is_shipped():
    """A name in the table that no file has would never be chosen and never be missed."""
    data = (TOP / "context" / "routing.md").read_bytes()
    table = parse_routing(data)
    assert isinstance(table, RoutingTable), table
    assert table.warnings == ()
    named = {name for _type, rule in table.types for name in (*rule.best, *rule.fallback)}
    named |= {agent.interface for _name, agent in table.agents}
    assert named <= set(NAMES)
    for agent in dict(table.agents).values():
        assert agent.model is None or spec_in(SHIPPED / f"{agent.interface}.md").knows_model(agent.model)
    jsonschema.validate(yaml.safe_load(split(data).head), routing_schema())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("code execution", "code"),
        ("Deep Analysis", "analysis"),
        ("quick queries", "quick"),
        ("file operations", "file_operations"),
        ("research", "research"),
        ("long-running", "long_running"),
    ],
)
def test_the_shipped_routing_table_has_a_row_for_each_kind_of_work(words, expected):
    """The six kinds of work people name lead to a type with somebody for it."""
    table = parse_routing((TOP / "context" / "routing.md").read_bytes())
    assert isinstance(table, RoutingTable)
    assert table.type_of(words) == expected
    rule = table.rule(words)
    assert rule is not None
    assert rule.best
