"""The JSON Schemas for editors agree with the readers they are made from."""

from dataclasses import fields

import jsonschema
import pytest
import yaml

from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.schema import interface_schema, routing_schema, task_schema
from brain_daemon.model.task import TaskSpec
from brain_daemon.model.task_fields import RULES

TASK = """
id: task-20261120T201500-7f3a
created: "2026-11-20T20:15:00Z"
priority: high
type: code
requires: [code_execution, file_ops]
preferred_interface: claude_code
model: sonnet
timeout: 30m
depends_on: [task-a]
handoff_from: [task-a]
on_dependency_failure: run
chain: nightly-report
not_before: "2026-11-21T01:00:00Z"
budget_usd: 0.50
attempts: 2
on_limit: wait
idempotent: false
workspace: scratch
permissions: write
verify: pytest -q
conflicts_with: [task-b]
local_only: true
never: codex
status: ready
anything_else: is kept
"""


@pytest.mark.parametrize("schema", [task_schema(), interface_schema(), routing_schema()])
def test_each_schema_is_a_schema(schema):
    """Editors refuse a schema that is not one."""
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"]


def test_a_task_with_every_key_satisfies_the_schema_and_the_reader():
    """The example of the documentation is right for both."""
    jsonschema.validate(yaml.safe_load(TASK), task_schema())
    assert isinstance(parse_task("t.md", f"---{TASK}---\n# T\n".encode()), TaskSpec)


@pytest.mark.parametrize(
    "keys",
    [
        {"priority": "urgent"},
        {"attempts": 0},
        {"on_limit": "panic"},
        {"on_dependency_failure": "panic"},
        {"permissions": "root"},
        {"requires": {"a": 1}},
        {"idempotent": "x"},
    ],
)
def test_a_wrong_value_in_a_task_is_seen_by_the_schema(keys):
    """The person sees it while typing, and not after the drop."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(keys, task_schema())


def test_the_schema_of_a_task_knows_every_field_the_reader_knows():
    """A field that is added to the reader appears in the schema."""
    assert task_schema()["properties"].keys() == RULES.keys()
    ours = {field.name for field in fields(TaskSpec)}
    derived = {"explicit_id", "text", "sha256", "size_bytes", "name", "timeout_seconds", "warnings", "extra"}
    assert ours - derived <= RULES.keys()


@pytest.mark.parametrize(
    "keys",
    [
        {"command": "tr a-z A-Z"},
        {"command": ["tr", "a-z", "A-Z"], "limits": {"requests_per_day": 1500, "tokens_per_minute": "none"}},
        {"command": "x", "auth": "none", "cost": "free", "timeout": 60, "capabilities": "a, b", "models": ["m"]},
        {"command": "x", "invoke": {"permissions": {"read": ["-r"], "write": {"set_env": {"A": 1}}}}},
        {"command": "x", "errors": [{"kind": "transient"}], "good_at": {"code": 0.5}, "idempotent": True},
    ],
)
def test_what_the_reader_takes_the_schema_takes(keys):
    """Short spellings are no faults in an editor."""
    values = {"name": "upper", **keys}
    jsonschema.validate(values, interface_schema())
    found = parse_interface("upper.md", f"---\n{yaml.safe_dump(values)}---\n".encode())
    assert isinstance(found, InterfaceSpec), found


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"name": "x", "type": "robot"},
        {"name": "x", "cost": {"tier": "cheap"}},
        {"name": "x", "limits": {"concurrent": 0}},
        {"name": "x", "errors": [{"when": "out"}]},
    ],
)
def test_a_wrong_interface_is_seen_by_the_schema(keys):
    """A missing name, a word outside its set, a limit of nothing, a rule without a kind."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(keys, interface_schema())
