"""context/routing.md becomes a table, or a fault that tells the person which line to change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import Tier
from brain_daemon.model.routing_file import MAX_FILE_BYTES, parse_routing
from brain_daemon.model.routing_table import (
    DEFAULT_FLOOR,
    Agent,
    RoutingFault,
    RoutingTable,
    Strategy,
    TypeRule,
)

FULL = """---
order: [free, paid]
strategy: round-robin
types:
  Code: {best: [Claude Code], fallback: codex, strict: yes}
  quick: ollama, gemini-cli
  research: [gemini_cli]
floor: {default: 0.4, code: 0.6}
agents:
  haiku-general: {interface: claude_code, model: haiku}
  codex-general: codex
aliases: {code_generation: code, programming: code-generation, code: research}
---
# Routing
"""


def table(text: str) -> RoutingTable:
    found = parse_routing(text.encode())
    assert isinstance(found, RoutingTable), found
    return found


def routing(*lines: str) -> str:
    return "\n".join(("---", *lines, "---", ""))


def test_the_whole_table_is_read():
    """Every key, with names in the form in which they are compared."""
    found = table(FULL)
    assert (found.order, found.strategy) == ((Tier.FREE, Tier.PAID), Strategy.ROUND_ROBIN)
    assert found.types == (
        ("code", TypeRule(best=("claude_code",), fallback=("codex",), strict=True)),
        ("quick", TypeRule(best=("ollama", "gemini_cli"))),
        ("research", TypeRule(best=("gemini_cli",))),
    )
    assert found.agents == (
        ("haiku_general", Agent(interface="claude_code", model="haiku")),
        ("codex_general", Agent(interface="codex")),
    )
    assert found.warnings == ()


@pytest.mark.parametrize("text", ["", "# Only words\n", "---\n---\n", "---\norder:\n---\n"])
def test_a_file_that_says_nothing_is_the_default_table(text):
    """Everything in the file is optional, and so is its front matter."""
    assert table(text) == RoutingTable()


def test_the_default_table_has_all_tiers_and_a_floor():
    """A weak free model does not win everything in a brain that has no routing.md."""
    default = RoutingTable()
    assert (default.order, default.floor_of("code"), default.rule("code")) == (tuple(Tier), DEFAULT_FLOOR, None)


@pytest.mark.parametrize(
    ("word", "task_type"),
    [
        ("code", "code"),
        ("Code Generation", "code"),
        ("programming", "code"),
        ("Quick", "quick"),
        ("something else", "something_else"),
    ],
)
def test_a_word_leads_to_its_type(word, task_type):
    """Aliases are followed to their end, and a type of the table is never an alias of another one."""
    assert table(FULL).type_of(word) == task_type


def test_aliases_in_a_circle_end():
    """A table made by a program, not read from a file, may hold one: the walk is bounded all the same."""
    assert RoutingTable(aliases=(("a", "b"), ("b", "a"))).type_of("a") in ("a", "b")


def test_rules_floors_and_agents_are_found_by_any_name():
    """As people write them, by alias or by default."""
    found = table(FULL)
    assert found.rule("programming") == dict(found.types)["code"]
    assert (found.floor_of("Code Generation"), found.floor_of("quick")) == (0.6, 0.4)
    assert found.agent("Haiku General") == Agent(interface="claude_code", model="haiku")
    assert found.agent("nobody") is None
    assert table(routing("floor: 0.7")).floor_of("anything") == 0.7


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        (
            routing("order: [free, cheap]"),
            2,
            "order[1]",
            "`order[1]` is `cheap`, but must be one of free, subscription",
        ),
        (routing("order: free, paid, free"), 2, "order", "a tier stands twice"),
        (routing("strategy: best"), 2, "strategy", "one of ladder, capability, round_robin, least_loaded"),
        (routing("floor:", "  code: 60"), 3, "floor.code", "not above 1"),
        (routing("floor: high"), 2, "floor.default", "must be a number"),
        (routing("types: [code]"), 2, "types", "`types` is a list, but must be keys of its own"),
        (routing("types:", "  code: {best: a, strict: perhaps}"), 3, "types.code.strict", "must be true or false"),
        (routing("agents:", "  a: {model: b}"), 3, "agents.a.interface", "`agents.a.interface` is missing"),
        (routing("aliases: {a: b, b: a}"), 2, "aliases", "`a` leads back to itself"),
        (routing("order: *x"), 2, None, "aliases are not read"),
        ("---\norder: [free]\n", 1, None, "never closed"),
    ],
)
def test_a_fault_names_the_line_and_the_key(text, line, field, words):
    """The person is told what to change; the daemon goes on with the table it had."""
    found = parse_routing(text.encode())
    assert isinstance(found, RoutingFault), found
    assert (found.line, found.field) == (line, field)
    assert words in found.message
    assert found.message.startswith(f"context/routing.md, line {line}: ")


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"a\n\xff", "line 2: it is not UTF-8"), (b"x" * (MAX_FILE_BYTES + 1), "md: it has 65,537 bytes")],
)
def test_bytes_that_are_no_text_are_a_fault(data, words):
    """So is a file too large to be a table."""
    found = parse_routing(data)
    assert isinstance(found, RoutingFault)
    assert words in found.message


def test_an_unknown_key_is_a_warning():
    """A misspelt key is said, with the one that was meant."""
    found = table(routing("types:", "  code: {bests: [a]}", "stratgy: ladder"))
    assert found.warnings == (
        "line 3: `types.code.bests` is not a key known here and was ignored; did you mean `best`?",
        "line 4: `stratgy` is not a key known here and was ignored; did you mean `strategy`?",
    )


@given(st.text(max_size=200))
def test_any_text_whatever_gives_a_table_or_a_fault(text):
    """Nothing a person may type makes the reader fail."""
    found = parse_routing(f"---\n{text}\n---\n".encode("utf-8", "surrogatepass"))
    assert isinstance(found, RoutingTable | RoutingFault)


def test_a_table_of_thousands_of_unknown_keys_is_read_in_bounded_time_and_words():
    """The first ones are named, the others are counted."""
    keys = "".join(f"key{number}: x\n" for number in range(3_000))
    found = parse_routing(f"---\n{keys}---\n".encode())
    assert isinstance(found, RoutingTable)
    assert len(found.warnings) == 21
    assert "2980 more keys" in found.warnings[-1]
