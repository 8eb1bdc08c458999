"""JSON Schemas of the front matter of tasks, interfaces and the routing table, for editors that check while one types.

They are made from what the readers themselves go by: the classes of interface_form and routing_table, and the rules of
task_fields. A schema is narrower than its reader on purpose: it knows our spelling of each key, and the readers understand
many more. Keys it does not know are allowed, since a task may carry any.
"""

from collections.abc import Mapping
from typing import Any

from brain_daemon.model.interface_form import ALSO, InterfaceForm
from brain_daemon.model.routing_file import RoutingForm
from brain_daemon.model.task import OnDependencyFailure, OnLimit, Permissions, Priority
from brain_daemon.model.task_fields import MAX_ATTEMPTS, RULES, Rule
from brain_daemon.model.workflow_form import OPTIONS, WorkflowForm

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NUMBER_OR_TEXT = {"type": ["string", "number"]}
_TASK_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "priority": {"enum": [word.value for word in Priority], "default": Priority.MEDIUM.value},
    "timeout": {**_NUMBER_OR_TEXT, "examples": ["30m", "1h30m", 1800]},
    "budget_usd": {**_NUMBER_OR_TEXT, "minimum": 0},
    "attempts": {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS},
    "retries": {"type": "integer", "minimum": 0, "maximum": MAX_ATTEMPTS - 1},
    "on_limit": {"enum": [word.value for word in OnLimit]},
    "on_dependency_failure": {
        "enum": [word.value for word in OnDependencyFailure],
        "default": OnDependencyFailure.FAIL.value,
    },
    "idempotent": {"type": "boolean"},
    "wait_for_children": {"type": "boolean"},
    "permissions": {"enum": [word.value for word in Permissions]},
    "local_only": {"type": "boolean"},
    "draft": {"type": "boolean"},
}
_LIST_OR_TEXT = {"type": ["array", "string"], "items": {"type": "string"}}


def task_schema() -> dict[str, Any]:
    """The schema of a task's front matter; no key is required, and a task needs no front matter at all."""
    return {
        "$schema": DIALECT,
        "title": "A task",
        "description": "The front matter of a file in brain/tasks/pending/. Every key is optional.",
        "type": "object",
        "properties": {name: _task_property(name, rule) for name, rule in RULES.items()},
    }


def interface_schema() -> dict[str, Any]:
    """The schema of the front matter of a file in tools/interfaces/."""
    schema = {"$schema": DIALECT, **InterfaceForm.model_json_schema()}
    limits = schema["$defs"]["LimitsForm"]["properties"]
    limits |= {other: limits[name] for other, name in ALSO.items()}
    return schema | {"title": "An interface"}


def routing_schema() -> dict[str, Any]:
    """The schema of the front matter of context/routing.md."""
    return {"$schema": DIALECT, **RoutingForm.model_json_schema(), "title": "The routing table"}


def workflow_schema() -> dict[str, Any]:
    """The schema of a file in brain/workflows/; the keys may stand under `workflow:` as well."""
    schema = {"$schema": DIALECT, **WorkflowForm.model_json_schema(), "title": "A workflow"}
    step = schema["$defs"]["StepForm"]["properties"]
    step |= {name: _task_property(name, RULES[name]) for name in OPTIONS}
    return schema


def _task_property(name: str, rule: Rule) -> dict[str, Any]:
    shape = _TASK_SHAPES.get(name, _LIST_OR_TEXT if rule.many else {"type": "string"})
    return {"description": rule.allowed, **shape}
