"""The interface files that are shipped, proved against what the real clients printed, and the language they are written in."""

from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
import yaml

from brain_daemon.adapters.reading import Reading, compile_rules
from brain_daemon.model.frontmatter import split
from brain_daemon.model.interface import Availability, InterfaceSpec, InvokeKind, Tier
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import FailureKind, Usage
from brain_daemon.model.routing_table import RoutingTable, parse_routing
from brain_daemon.model.schema import interface_schema, routing_schema

TOP = Path(__file__).parents[2]
SHIPPED = TOP / "tools" / "interfaces"
OTHERS = TOP / "tests" / "data" / "interfaces"
TRANSCRIPTS = TOP / "tests" / "data" / "transcripts"
NAMES = sorted(path.stem for path in SHIPPED.glob("*.md"))

FILES = {
    "claude": SHIPPED / "claude_code.md",
    "claude-stream": SHIPPED / "claude_code.md",
    "codex": SHIPPED / "codex.md",
    "gemini": SHIPPED / "gemini_cli.md",
    "opencode": SHIPPED / "opencode.md",
    "gemini-stream": OTHERS / "gemini_stream.md",
    "llm": OTHERS / "llm.md",
    "qwen": OTHERS / "qwen.md",
}

MOCK = "MOCK-OK-7731 é中😀 done."

# transcript: text, (input, cached, output, reasoning, requests), cost in US dollars, model
GOOD = {
    "claude-stream.ok": (MOCK, (1234, 0, 56, None, 1), "0.004542", "claude-sonnet-4-5"),
    "claude.ok": (MOCK, (1234, 0, 56, None, 1), "0.004542", "claude-sonnet-4-5"),
    "claude.cached": ("CACHED-OK-6604", (9312, 9000, 77, None, 1), "0.005016", "claude-sonnet-4-5"),
    "claude.resume": (MOCK, (1234, 0, 56, None, 1), "0.009084", "claude-sonnet-4-5"),
    "claude.tool": ("TOOL-DONE-8802", (2468, 0, 112, None, 2), "0.009084", "claude-sonnet-4-5"),
    "codex.ok": (MOCK, (1234, 0, 56, 0, None), None, None),
    "codex.cached": ("CACHED-OK-6604", (9312, 9000, 77, 33, None), None, None),
    "codex.resume": (MOCK, (2468, 0, 112, 0, None), None, None),
    "codex.tool": ("TOOL-DONE-8802", (2468, 0, 112, 0, None), None, None),
    "gemini.ok": (MOCK, (1234, 0, 56, 0, 1), None, "gemini-2.5-flash"),
    "gemini.cached": ("CACHED-OK-6604", (9312, 9000, 77, 33, 1), None, "gemini-2.5-flash"),
    "gemini.tool": ("TOOL-DONE-8802", (2468, 0, 112, 0, 2), None, "gemini-2.5-flash"),
    # ended by a signal that the client swallowed: it looks finished, which is why a cancel must win over what is read here
    "gemini.sigtermdrip": ("drip " * 18 + "MOCK-FALLBACK-0000", (1234, 0, 56, 0, 1), None, "gemini-2.5-flash"),
    "gemini-stream.ok": (MOCK, (1234, 0, 56, None, None), None, "gemini-2.5-flash"),
    "opencode.ok": (MOCK, (1234, 0, 56, 0, 1), "0.004542", None),
    "opencode.cached": ("CACHED-OK-6604", (9312, 9000, 77, 33, 1), "0.004791", None),
    "opencode.tool": ("TOOL-DONE-8802", (2468, 0, 112, 0, 2), "0.009084", None),
    "llm.ok": (MOCK + "\n", (1234, None, 56, None, None), None, None),
    "llm.cached": ("CACHED-OK-6604\n", (9312, 9000, 77, None, None), None, None),
    # cut off in the middle with exit code 0 and its usual line of usage: the client gives no sign that half is missing
    "llm.cut": ("cut " * 400 + "\n", (1234, None, 56, None, None), None, None),
    "qwen.ok": (MOCK, (2468, None, 112, None, None), None, "mock-model"),
}

# transcript: kind, a part of the message, resets_at in epoch seconds, retry_after in seconds
BAD = {
    "claude-stream.quotaoauth": ("quota", "You've hit your 5-hour limit", 1795217810.0, None),
    "claude.quotaoauth": ("quota", "You've hit your 5-hour limit", None, None),
    "claude.billing": ("quota", "Credit balance is too low", None, None),
    "claude.auth": ("auth", "Invalid API key", None, None),
    "claude.e401": ("auth", "Invalid API key", None, None),
    "claude.nokey": ("auth", "Not logged in", None, None),
    "claude.rl429": ("rate_limit", "Request rejected (429)", None, None),
    "claude.loop": ("turn_limit", "maximum number of turns (3)", None, None),
    "claude.loop-budget": ("budget", "maximum budget ($0.005)", None, None),
    "claude.resume-missing": ("permanent", "No conversation found with session ID", None, None),
    "claude.rst": ("transient", "signal 9 ended it", None, None),
    "claude.sigint": ("transient", "exited with 0 but gave no result", None, None),
    "claude.sigterm": ("transient", "exit code 143", None, None),
    "codex.auth": ("auth", "401 Unauthorized", None, None),
    "codex.e401": ("auth", "401 Unauthorized", None, None),
    "codex.nokey": ("auth", "Missing environment variable", None, None),
    "codex.bigover": ("context_too_long", "exceeds the maximum length", None, None),
    "codex.billing": ("quota", "Quota exceeded", None, None),
    "codex.quota": ("quota", "hit your usage limit", None, None),
    "codex.quotaoauth": ("quota", "hit your usage limit", None, None),
    "codex.rl429": ("rate_limit", "429 Too Many Requests", None, None),
    "codex.cut": ("transient", "stream disconnected", None, None),
    "codex.sigterm": ("transient", "signal 15 ended it", None, None),
    "codex.resume-missing": ("permanent", "no rollout found", None, None),
    "gemini.auth": ("auth", "API key not valid", None, None),
    "gemini.e401": ("auth", "invalid x-api-key", None, None),
    "gemini.loop": ("turn_limit", "Reached max session turns", None, None),
    "gemini.quota": ("quota", "exhausted your daily quota", None, None),
    "gemini.rl429": ("rate_limit", "Rate limit reached", None, None),
    "gemini.resume-missing": ("permanent", "No previous sessions found", None, None),
    "gemini.sigterm-norelaunch": ("transient", "exited with 0 but gave no result", None, None),
    "gemini-stream.quota": ("quota", "exhausted your daily quota", None, None),
    "opencode.auth": ("auth", "Incorrect API key", None, None),
    "opencode.e401": ("auth", "invalid x-api-key", None, None),
    "opencode.quota": ("quota", "exceeded your current quota", None, None),
    "opencode.rl429": ("rate_limit", "Rate limit reached", None, 2.0),
    "opencode.rst": ("transient", "socket connection was closed", None, None),
    "opencode.resume-missing": ("permanent", "Session not found", None, None),
    "opencode.tool-ask": ("permission_denied", "auto-rejecting", None, None),
    "llm.e401": ("auth", "Error code: 401", None, None),
    "llm.rl429": ("rate_limit", "Error code: 429", None, None),
    "qwen.e401": ("auth", "API Error: 401", None, None),
}


def spec_in(path: Path) -> InterfaceSpec:
    spec = parse_interface(path.name, path.read_bytes())
    assert isinstance(spec, InterfaceSpec), spec
    return spec


def read(transcript: str) -> Reading:
    reader = compile_rules(spec_in(FILES[transcript.split(".", maxsplit=1)[0]]).output)
    stdout, stderr, rc = ((TRANSCRIPTS / f"{transcript}.{part}").read_bytes() for part in ("stdout", "stderr", "rc"))
    code = int(rc)
    return reader.read(stdout, stderr, code if code >= 0 else None, -code if code < 0 else None)


def test_every_transcript_has_an_expected_reading():
    """No captured run is left out of the two tables."""
    assert {path.stem for path in TRANSCRIPTS.glob("*.rc")} == GOOD.keys() | BAD.keys()


@pytest.mark.parametrize("transcript", GOOD)
def test_a_good_run_gives_its_text_tokens_cost_and_model(transcript):
    """What a real client said when it succeeded is read to the byte and to the token."""
    text, counts, cost, model = GOOD[transcript]
    reading = read(transcript)
    assert (reading.ok, reading.failure, reading.text) == (True, None, text)
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "requests")
    assert reading.usage == Usage(**dict(zip(names, counts, strict=True)))
    assert reading.cost_usd == (None if cost is None else Decimal(cost))
    assert reading.model == model


@pytest.mark.parametrize("transcript", BAD)
def test_a_failed_run_gets_the_right_class_and_a_message_for_people(transcript):
    """Each way in which a real client failed has its class, its reset where one was told, and the client's own words."""
    kind, message, resets_at, retry_after = BAD[transcript]
    reading = read(transcript)
    assert not reading.ok
    assert reading.failure is not None
    assert (reading.failure.kind, reading.failure.resets_at, reading.failure.retry_after_seconds) == (
        FailureKind(kind),
        resets_at,
        retry_after,
    )
    assert message in reading.failure.message
    assert "\x1b" not in reading.failure.message


@pytest.mark.parametrize("transcript", [name for name in GOOD if name.split(".")[0] in ("claude", "codex", "opencode")])
def test_the_session_of_a_client_that_can_resume_is_kept(transcript):
    """Without the session, a parked attempt could not go on."""
    assert read(transcript).client_session


@pytest.mark.parametrize("transcript", [name for name in GOOD if not name.startswith("llm.")])
def test_everything_declared_is_found_in_a_good_run(transcript):
    """No expression looks for what the client never says; llm alone tells cached tokens only when there are some."""
    assert read(transcript).warnings == ()


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


@pytest.mark.parametrize("name", NAMES)
def test_no_shipped_command_puts_the_prompt_on_the_command_line(name):
    """A prompt of 200 kB as an argument fails on Linux, and arguments are seen by every user of the machine."""
    spec = spec_in(SHIPPED / f"{name}.md")
    assert "{prompt}" not in " ".join(spec.invoke.command)


def test_the_files_that_need_no_login_are_free_and_stay_on_this_machine():
    """`local_only` tasks may go to exactly these."""
    local = {name for name in NAMES if spec_in(SHIPPED / f"{name}.md").local}
    assert local == {"librarian", "ollama", "shell"}
    assert {spec_in(SHIPPED / f"{name}.md").cost.tier for name in local} == {Tier.FREE}


def test_the_shell_is_off_until_a_person_turns_it_on():
    """It runs a task's text as a program, so it is nothing to ship switched on, nor to give tasks that did not ask for it."""
    shell = spec_in(SHIPPED / "shell.md")
    assert (shell.status, shell.invoke.kind, shell.capabilities) == (Availability.OFFLINE, InvokeKind.TOOL, ("shell",))
    assert dict(shell.good_at)["default"] == 0


def test_gemini_has_its_daily_allowance():
    """1,500 requests a day, under either name of the limit."""
    assert spec_in(SHIPPED / "gemini_cli.md").limits.messages_per_day == 1500


@pytest.mark.parametrize("name", ["claude_code", "codex", "gemini_cli", "opencode"])
def test_an_agent_declares_what_each_level_of_permission_means(name):
    """Read, write and full differ, so a task gets what it asked for and no more."""
    profiles = spec_in(SHIPPED / f"{name}.md").invoke.permissions
    assert [profile.name for profile in profiles] == ["read", "write", "full"]
    assert len({(profile.arguments, profile.set_env) for profile in profiles}) == 3


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
