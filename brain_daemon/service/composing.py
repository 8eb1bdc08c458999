"""Task files written for a person: what they asked for on the command line as front matter, and a form to fill in.

Failures: a key that the text itself has already is a UserError; nothing is overridden silently.
"""

from collections.abc import Mapping

from brain_daemon.model.emitter import emit
from brain_daemon.model.errors import UserError
from brain_daemon.model.frontmatter import Malformed, load, split
from brain_daemon.model.ids import slug
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.spellings import FIELD_OF, squeezed
from brain_daemon.model.task import TaskSpec
from brain_daemon.model.task_text import one_line

MAX_TITLE_LENGTH = 80

_FORM = """\
---
# Every key is optional; docs/user-guide.md explains them all.
status: draft                       # nothing starts before this says ready
# priority: high                    # high, medium (default), low
# type: code                        # code, research, analysis, quick, file_operations, long_running, knowledge, ...
# requires: [code_execution]        # capabilities; `brain interfaces` lists who offers what
# preferred_interface: claude_code  # advice; `interface:` instead of it is binding
# prefer: cost                      # cost, quality, speed: what counts besides success among equals
# model: sonnet                     # a hint
# timeout: 30m
# depends_on: [other-task]          # starts when these have completed
# chain: nightly-report             # tasks that belong together
# wait_for_children: true           # goes on with the results of the tasks it has spawned
# not_before: 2026-11-21T01:00:00Z
# budget_usd: 0.50
# attempts: 2
# on_limit: wait                    # wait, fallback, ask
# idempotent: false                 # may an interrupted attempt be run again without asking?
# workspace: scratch                # or the path of a folder
# permissions: write                # read, write, full
# verify: pytest -q                 # must exit 0, or the attempt has not succeeded
---
# Task: {heading}

## Input

<!-- what is to be done, and with what; link brain files as [[knowledge/note.md]] -->

## Expected Output

<!-- what a good answer looks like -->
"""


def form(title: str) -> str:
    """A commented draft of a task."""
    heading = one_line(title) or "untitled"
    return _FORM.format(heading=heading)


def compose(task_id: str, text: str, fields: Mapping[str, object]) -> str:
    """The text as a task file of this id with `fields` in its front matter, and a title where it has none of its own."""
    with_fields = _with_fields(text, fields)
    task = parse_task(f"{task_id}.md", _bytes(with_fields))
    if not isinstance(task, TaskSpec) or task.title != one_line(task_id) or "title" in fields:
        return with_fields
    return _with_fields(text, {"title": _first_words(task.text), **fields})


def id_for(text: str) -> str | None:
    """The id that a text gives itself in its front matter, or None."""
    task = parse_task("text.md", _bytes(text))
    named = task.explicit_id if isinstance(task, TaskSpec) else task.id != slug("text")
    return task.id if named else None


def _with_fields(text: str, fields: Mapping[str, object]) -> str:
    if not fields:
        return text
    parts = split(_bytes(text))
    if parts.unclosed:
        return text
    if parts.head is None:
        return f"---\n{emit(fields)}---\n{text.removeprefix(chr(0xFEFF))}"
    _refuse_doubles(parts.head.decode("utf-8", "surrogateescape"), fields)
    added = emit(fields, newline=parts.newline).encode("utf-8", "surrogateescape")
    whole = b"".join((parts.lead, parts.opening, parts.head, added, parts.closing, parts.body))
    return whole.decode("utf-8", "surrogateescape")


def _refuse_doubles(head: str, fields: Mapping[str, object]) -> None:
    try:
        present = load(head)
    except Malformed:
        return
    for key in present:
        if FIELD_OF.get(squeezed(key)) in fields:
            raise UserError(
                f"composing the task: its front matter says `{key}` already. Change it there, or leave the option away."
            )


def _first_words(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    title = one_line(line.lstrip("#>-* "))
    return title if len(title) <= MAX_TITLE_LENGTH else f"{title[: MAX_TITLE_LENGTH - 1].rstrip()}…"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
