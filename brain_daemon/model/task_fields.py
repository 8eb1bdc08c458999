"""One table: each key of a task's front matter, how its value is read, and what the person is told where it cannot be.

A reader takes the value as the YAML reader gave it (text, list or map) and raises ValueError where it is not allowed,
PlaceholderError where it is still what a template said. The caller adds line, field and what was found, and reports it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brain_daemon.model import ids
from brain_daemon.model.outcome import Mode
from brain_daemon.model.quantities import (
    DURATION_ALLOWED,
    FLAG_ALLOWED,
    INSTANT_ALLOWED,
    MONEY_ALLOWED,
    parse_duration,
    parse_flag,
    parse_instant,
    parse_money,
)
from brain_daemon.model.spellings import DRAFT, READY, STATUS_ALLOWED
from brain_daemon.model.task import OnDependencyFailure, OnLimit, Permissions, Prefer, Priority

MAX_WORD_LENGTH = 200
MAX_ATTEMPTS = 100

_PLACEHOLDER = re.compile(
    r"<(?![a-z]+:)[^<>\n]{1,200}>|\{[^{}\n]{0,200}\}|\{\{[^{}\n]{0,200}\}\}|\[(?!\[)[^\[\]\n]{0,200}\]|\.{3}|…|Y{2,4}-M.{0,40}"
)
_CHOICE = re.compile(r"[\w .-]{1,60}(?:\|[\w .-]{1,60})+")
_MARKDOWN_LINK = re.compile(r"\[[^\[\]\n]*\]\(([^()\n]+)\)")
_SEPARATORS = re.compile(r"[,;\n]")
_SMALL_NUMBER = re.compile(r"[0-9]{1,3}")
_ANY = frozenset({"any", "auto", "none", "best"})


class PlaceholderError(ValueError):
    """The value is still what the template said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a field is read and what it may be. The lists of two keys that mean one `many` field are joined."""

    read: Callable[[Any], Any]
    allowed: str
    many: bool = False


def is_placeholder(text: str) -> bool:
    """Whether a text is nothing but a template's `[name]`, `<name>`, `{name}` or `...`."""
    return _PLACEHOLDER.fullmatch(text) is not None


def _text(value: Any) -> str:
    """Some text, of one line or more."""
    value = _unlinked(value)
    if not isinstance(value, str):
        raise PlaceholderError if _was_placeholder(value) else ValueError
    if is_placeholder(value.strip()):
        raise PlaceholderError
    return value.strip()


def _unlinked(value: Any) -> Any:
    """`[[note]]` unquoted is a list in a list to YAML; here it is the text between the brackets."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) and len(value[0]) == 1:
        return value[0][0]
    return value


def _was_placeholder(value: Any) -> bool:
    """Whether `[name]` or `{name}` was read as YAML: a list of one word, or a map without values."""
    if isinstance(value, dict):
        return not value
    return len(value) == 1 and isinstance(value[0], str)


def _word(value: Any) -> str:
    """Text that names one thing."""
    text = _text(value)
    if _CHOICE.fullmatch(text):
        raise PlaceholderError
    if not text or len(text) > MAX_WORD_LENGTH or "\n" in text:
        raise ValueError
    return text


def _line(value: Any) -> str:
    text = _text(value)
    if "\n" in text:
        raise ValueError
    return text


def _name(value: Any) -> str:
    return ids.normal_name(_word(value).lstrip("@"))


def _interface(value: Any) -> str | None:
    name = _name(value)
    return None if name in _ANY else name


def _assignee(value: Any) -> str:
    return _name(_items(value)[0])


def _task_id(value: Any) -> str:
    return _reference(_word(value))


def _reference(text: str) -> str:
    """The task id in `task-a`, `[[tasks/Task A|shown]]`, `[shown](task-a.md)` or `task-a.md`."""
    link = _MARKDOWN_LINK.fullmatch(text)
    inner = link[1] if link else text.removeprefix("[[").removesuffix("]]")
    target = re.split(r"[|#]", inner, maxsplit=1)[0].strip()
    stem = target.rpartition("/")[2].removesuffix(".md")
    if not stem:
        raise ValueError
    return stem if ids.is_task_id(stem) else ids.slug(stem)


def _instant(value: Any) -> float:
    return parse_instant(_text(value).removeprefix("[[").removesuffix("]]"))


def _duration(value: Any) -> float:
    seconds = parse_duration(_word(value))
    if seconds == 0:
        raise ValueError
    return seconds


def _money(value: Any) -> Decimal:
    return parse_money(_word(value))


def _flag(value: Any) -> bool:
    return parse_flag(_word(value))


def _attempts(value: Any) -> int:
    text = _word(value)
    if not _SMALL_NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_ATTEMPTS:
        raise ValueError
    return int(text)


def _retries(value: Any) -> int:
    """Attempts: the first one and its retries."""
    text = _word(value)
    if not _SMALL_NUMBER.fullmatch(text) or int(text) >= MAX_ATTEMPTS:
        raise ValueError
    return int(text) + 1


def _priority(value: Any) -> Priority:
    return Priority(_word(value).lower())


def _prefer(value: Any) -> Prefer:
    return Prefer(_word(value).lower())


def _mode(value: Any) -> Mode:
    return Mode(_word(value).lower())


def _workflow(value: Any) -> Any:
    """The name of a workflow's file, or a map that says more; policy and service judge what is in it."""
    if isinstance(value, dict) and value:
        return value
    return _line(value)


def _on_limit(value: Any) -> OnLimit:
    return OnLimit(_word(value).lower())


def _on_dependency_failure(value: Any) -> OnDependencyFailure:
    return OnDependencyFailure(_word(value).lower())


def _permissions(value: Any) -> Permissions:
    name = _name(value)
    return Permissions.READ if name in {"read_only", "readonly"} else Permissions(name)


def _is_draft(value: Any) -> bool:
    status = _name(value)
    if status not in READY and status not in DRAFT:
        raise ValueError
    return status in DRAFT


def _workspace(value: Any) -> str:
    text = _line(value)
    # claude-code-queue writes "." for the folder it was started in: here that is the brain.
    return "brain" if text in {".", "./"} else text


def _items(value: Any) -> list[str]:
    """The words of a list, of a list of lists (`[[task-a]]` unquoted), or of a text with commas; each once."""
    items = list(dict.fromkeys(item.strip() for item in _flat(value) if item.strip()))
    if not items:
        raise ValueError
    return items


def _flat(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return [value] if value.strip().startswith("[[") and value.count("[[") == 1 else _SEPARATORS.split(value)
    if isinstance(value, list):
        return [item for part in value for item in ([part] if isinstance(part, str) else _flat(part))]
    raise PlaceholderError if _was_placeholder(value) else ValueError


def _names(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_name(item) for item in _items(value)))


def _references(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_reference(_linked(item)) for item in _items(value)))


def _linked(item: str) -> str:
    """A reference as it is if it is a link (`[[a|shown]]` is no choice of two), else checked like any word."""
    return item if item.startswith("[") and not is_placeholder(item) else _word(item)


_INTERFACE_ALLOWED = "the name of one interface, such as claude_code, or any"
_ID_ALLOWED = "a name of letters, digits, dots, dashes and underscores, such as task-a"
_IDS_ALLOWED = "a list of task ids, such as [task-a, task-b]"

RULES: dict[str, Rule] = {
    "id": Rule(read=_task_id, allowed=_ID_ALLOWED),
    "title": Rule(read=_text, allowed="text"),
    "created": Rule(read=_instant, allowed=INSTANT_ALLOWED),
    "priority": Rule(read=_priority, allowed="high, medium or low"),
    "type": Rule(read=_name, allowed="one word, such as code"),
    "requires": Rule(read=_names, allowed="a list of names, such as [code_execution, file_ops]", many=True),
    "interface": Rule(read=_interface, allowed=_INTERFACE_ALLOWED),
    "preferred_interface": Rule(read=_interface, allowed=_INTERFACE_ALLOWED),
    "prefer": Rule(read=_prefer, allowed="cost, quality or speed"),
    "model": Rule(read=_word, allowed="the name of one model, such as sonnet"),
    "timeout": Rule(read=_duration, allowed=DURATION_ALLOWED),
    "depends_on": Rule(read=_references, allowed=_IDS_ALLOWED, many=True),
    "handoff_from": Rule(read=_references, allowed=_IDS_ALLOWED, many=True),
    "on_dependency_failure": Rule(read=_on_dependency_failure, allowed="fail or run"),
    "wait_for_children": Rule(read=_flag, allowed=FLAG_ALLOWED),
    "chain": Rule(read=_task_id, allowed=_ID_ALLOWED),
    "parent": Rule(read=_task_id, allowed=_ID_ALLOWED),
    "session": Rule(read=_word, allowed="one name"),
    "not_before": Rule(read=_instant, allowed=INSTANT_ALLOWED),
    "budget_usd": Rule(read=_money, allowed=MONEY_ALLOWED),
    "attempts": Rule(read=_attempts, allowed=f"a whole number from 1 to {MAX_ATTEMPTS}"),
    "retries": Rule(read=_retries, allowed=f"a whole number from 0 to {MAX_ATTEMPTS - 1}"),
    "on_limit": Rule(read=_on_limit, allowed="wait, fallback or ask"),
    "idempotent": Rule(read=_flag, allowed=FLAG_ALLOWED),
    "workspace": Rule(read=_workspace, allowed="scratch, brain, or the path of a repository"),
    "permissions": Rule(read=_permissions, allowed="read, write or full"),
    "verify": Rule(read=_text, allowed="one command, such as pytest -q"),
    "conflicts_with": Rule(read=_references, allowed=_IDS_ALLOWED, many=True),
    "local_only": Rule(read=_flag, allowed=FLAG_ALLOWED),
    "never": Rule(read=_names, allowed="a list of interfaces, such as [codex]", many=True),
    "status": Rule(read=_is_draft, allowed=STATUS_ALLOWED),
    "draft": Rule(read=_flag, allowed=FLAG_ALLOWED),
    "mode": Rule(read=_mode, allowed="daemon, batch, workflow or request"),
    "workflow": Rule(
        read=_workflow,
        allowed="the name of a file in brain/workflows/, or a map with `steps` or with `use` and `params`",
    ),
    "assignee": Rule(read=_assignee, allowed="a name"),
}
