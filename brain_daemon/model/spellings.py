"""What people write, and what we call it: keys, statuses, and the task type that a required capability suggests.

The keys come from the words people use, and from Backlog.md, claude-code-queue, ccpm, Hugo and Obsidian (TaskNotes), whose files
are read as far as they say something we know. Keys are compared without case, spaces, dashes and underscores.
"""

import re

_OTHER_NAMES: dict[str, str] = {
    "id": "task_id",
    "title": "name summary subject",
    "created": "created_at created_date date_created date",
    "priority": "prio",
    "type": "category task_type kind",
    "requires": "require required_capabilities capabilities capability needs",
    "interface": "",
    "preferred_interface": "prefers preferred platform_hint platform interface_hint",
    "prefer": "",
    "model": "model_hint",
    "timeout": "timeout_seconds time_limit max_duration",
    "depends_on": "depends deps dependencies dependency after blocked_by",
    "handoff_from": "handoff handoffs handoff_memory_id",
    "on_dependency_failure": "on_failed_dependency if_dependency_fails",
    "wait_for_children": "await_children wait_for_spawned",
    "chain": "chain_id",
    "parent": "parent_id parent_task parent_task_id",
    "session": "session_id",
    "not_before": "start_after scheduled",
    "budget_usd": "budget max_cost max_cost_usd max_budget_usd cost_limit",
    "attempts": "max_attempts",
    "retries": "max_retries",
    "on_limit": "",
    "idempotent": "",
    "workspace": "working_directory working_dir workdir cwd repository repo",
    "permissions": "permission",
    "verify": "verify_command verification",
    "conflicts_with": "conflicts",
    "local_only": "local",
    "never": "never_interfaces exclude",
    "status": "state",
    "draft": "",
    "mode": "",
    "workflow": "",
    "assignee": "assigned assigned_to",
    "result": "",
}


WEIGHED = frozenset({"cost", "quality", "speed"})
"""What `prefer` may weigh; any other word after it is the name of an interface."""


def squeezed(key: str) -> str:
    """A key in the form in which keys are compared."""
    return re.sub(r"[\s_\-]+", "", key).lower()


FIELD_OF: dict[str, str] = {
    squeezed(name): field for field, others in _OTHER_NAMES.items() for name in (field, *others.split())
}

_FOREIGN_NAMES = """
    acceptance_criteria aliases archived author blocks board category_id completed_at completed_date context
    context_files contexts cssclass cssclasses cursor description documentation done due due_date effort epic
    estimate estimated_tokens github group labels last_executed lang layout links milestone modified notes ordinal
    owner parallel permalink phase progress project projects publish published rate_limited_at recurrence references
    reporter reset_time retry_count slug source subtasks tag tags template time_estimate updated updated_at
    updated_date url uid version
"""

# Keys of other programs that mean nothing here: kept, and never taken for a misspelling of ours.
FOREIGN = frozenset(squeezed(key) for key in _FOREIGN_NAMES.split())

# These are written by hand or by other tools for people; what we cannot read in them is no reason to refuse the task.
SOFT = frozenset(
    squeezed(key) for key in ("created_at", "created_date", "date_created", "date", "scheduled", "assignee", "mode")
)

READY = frozenset({"ready", "todo", "to_do", "pending", "open", "new", "queued", "not_started", "planned", "backlog"})
DRAFT = frozenset({"draft", "idea"})
STATUS_ALLOWED = "ready or draft (todo, pending, open, new, queued and not started are read as ready)"

# claude-code-queue counts the other way round and has no words for it: 0 is the most urgent.
QUEUE_MARKS = frozenset(
    squeezed(key) for key in ("estimated_tokens", "context_files", "working_directory", "max_retries")
)

_TYPES: tuple[tuple[str, str], ...] = (
    ("code", "code_execution code code_generation coding code_review programming testing debugging refactoring"),
    ("research", "research web_search web_research web_fetch web browsing search"),
    ("analysis", "analysis data_analysis deep_analysis"),
    ("file_operations", "file_operations file_ops files filesystem file_system"),
    ("long_running", "long_running long_context"),
    ("quick", "quick quick_query quick_queries"),
)


def type_for(requires: tuple[str, ...]) -> str:
    """The task type that the required capabilities suggest: the first row of the table any of them stands in, else general."""
    for kind, capabilities in _TYPES:
        if not set(requires).isdisjoint(capabilities.split()):
            return kind
    return "general"
