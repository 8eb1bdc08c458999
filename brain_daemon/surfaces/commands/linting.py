"""`brain new` and `brain lint`: a task file to fill in, and what is wrong with a task or interface file.

Neither needs a brain around it; where there is one, names in a task are compared with its interfaces.
"""

import os
import sys
from dataclasses import dataclass, replace
from typing import Any

import click

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.model.frontmatter import Malformed, load, split
from brain_daemon.model.ids import is_task_id, normal_name
from brain_daemon.model.interface import InterfaceFault, InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.parsing import Vocabulary, parse_task
from brain_daemon.model.schema import interface_schema, task_schema
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.readiness import circle_words
from brain_daemon.service.composing import form
from brain_daemon.service.graph_checks import circle_with
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Seen, look, names
from brain_daemon.surfaces.calls import Call, json_option, print_json

_MAX_INTERFACE_BYTES = 256 << 10
_OF_INTERFACES = frozenset({"invoke", "command", "capabilities", "auth", "limits", "cost", "aliases", "function"})


@click.command("new")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--id", "task_id", metavar="ID", help="Write it into pending/ under this id; as a draft it does not start."
)
@json_option
@click.pass_obj
def new_command(call: Call, file: str | None, task_id: str | None, as_json: bool) -> None:
    """Write a task file to fill in, with every key explained, as a draft.

    Example: brain new --id weekly-report
    """
    if (file is None) == (task_id is None):
        raise click.UsageError("say where it is to be written: give FILE or --id ID")
    if task_id is not None and not is_task_id(task_id):
        raise UserError(
            f"writing a draft: {task_id!r} is no id; letters, digits, dots, dashes and underscores are allowed."
        )
    path = os.path.abspath(file) if file is not None else os.path.join(call.layout.pending, f"{task_id}.md")
    title = os.path.basename(path).removesuffix(".md").replace("-", " ").replace("_", " ")
    try:
        Files().put_new(path, form(title).encode())
    except FileExistsError:
        raise UserError(f"writing a draft: {path} is there already and stays as it is. Choose another name.") from None
    except FileNotFoundError:
        raise UserError(f"writing a draft: the folder of {path} does not exist. Make it first.") from None
    if as_json:
        print_json({"path": path, "status": "draft"})
    else:
        click.echo(path)
        click.echo("fill it in, then change `status: draft` to `status: ready`", err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What is to be said of one file; `message` is empty where it is sound. Lines count from 1."""

    file: str
    kind: str
    message: str = ""
    line: int | None = None
    field: str | None = None
    found: str | None = None
    allowed: str | None = None
    warnings: tuple[str, ...] = ()
    facts: dict[str, Any] | None = None
    task: TaskSpec | None = None


@click.command("lint")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--schema",
    type=click.Choice(["task", "interface"]),
    help="Read the files as this, whatever they look like; without files: print the JSON Schema.",
)
@json_option
@click.pass_obj
def lint_command(call: Call, files: tuple[str, ...], schema: str | None, as_json: bool) -> None:
    """Say what is wrong with task or interface files: line, key, what was found, what is allowed. Exit 1 if anything is.

    Example: brain lint brain/tasks/pending/report.md
    """
    if not files:
        if schema is None:
            raise click.UsageError("name the files to look at, or --schema task or interface to print a JSON Schema")
        return print_json(task_schema() if schema == "task" else interface_schema())
    layout = _layout(call)
    vocabulary = None if layout is None else _vocabulary(layout)
    verdicts = [_judge(path, schema, vocabulary) for path in files]
    if layout is not None:
        verdicts = _with_circles(verdicts, layout)
    if as_json:
        print_json({"files": [_verdict_facts(one) for one in verdicts]})
    else:
        for one in verdicts:
            _say(one)
    sys.exit(1 if any(one.message for one in verdicts) else 0)


def _layout(call: Call) -> Layout | None:
    try:
        return call.layout
    except UserError:
        return None


def _vocabulary(layout: Layout) -> Vocabulary:
    """The names that exist in the brain around: interfaces, their aliases, what they offer."""
    specs = []
    for name in sorted(names(layout.interfaces)) if os.path.isdir(layout.interfaces) else ():
        seen = look(layout.interfaces, name, _MAX_INTERFACE_BYTES)
        parsed = parse_interface(name, seen.data) if isinstance(seen, Seen) and seen.data is not None else None
        specs += [parsed] if isinstance(parsed, InterfaceSpec) else []
    return Vocabulary(
        interfaces={name: spec.name for spec in specs for name in (*spec.aliases, spec.name)},
        capabilities=frozenset(normal_name(word) for spec in specs for word in spec.capabilities),
    )


def _judge(path: str, schema: str | None, vocabulary: Vocabulary | None) -> _Verdict:
    name = os.path.basename(path)
    with open(path, "rb") as handle:
        data = handle.read()
    kind = schema or ("interface" if _is_interface(path, data) else "task")
    if kind == "interface":
        return _of_interface(path, parse_interface(name, data))
    return _of_task(path, parse_task(name, data, vocabulary=vocabulary))


def _is_interface(path: str, data: bytes) -> bool:
    """By its place, else by the keys that only an interface has."""
    folder = os.path.dirname(os.path.abspath(path))
    if folder.endswith(os.path.join("tools", "interfaces")):
        return True
    if os.path.basename(os.path.dirname(folder)) == "tasks":
        return False
    try:
        keys = load((split(data).head or b"").decode())
    except (Malformed, UnicodeDecodeError):
        return False
    return b"## How to Invoke" in data or ("name" in keys and not _OF_INTERFACES.isdisjoint(keys))


def _of_task(path: str, parsed: TaskSpec | Rejection) -> _Verdict:
    if isinstance(parsed, Rejection):
        return _Verdict(
            file=path,
            kind="task",
            message=parsed.message,
            line=parsed.line,
            field=parsed.field,
            found=parsed.found,
            allowed=parsed.allowed,
        )
    facts = {
        "id": parsed.id,
        "title": parsed.title,
        "type": parsed.type,
        "priority": parsed.priority.value,
        "requires": list(parsed.requires),
        "depends_on": list(parsed.waits_for),
        "draft": parsed.draft,
    }
    return _Verdict(file=path, kind="task", warnings=parsed.warnings, facts=facts, task=parsed)


def _with_circles(verdicts: list[_Verdict], layout: Layout) -> list[_Verdict]:
    """A sound task is at fault where it waits for itself, by way of the other files or of what is pending."""
    tasks = [one.task for one in verdicts if one.task is not None]
    return [one if one.task is None else _of_circle(one, circle_with(layout, one.task, tasks)) for one in verdicts]


def _of_circle(one: _Verdict, circle: tuple[str, ...]) -> _Verdict:
    if not circle:
        return one
    allowed = "ids of tasks that do not wait for this one"
    return replace(
        one, message=circle_words(circle), field="depends_on", found=", ".join(circle[1:2]), allowed=allowed, facts=None
    )


def _of_interface(path: str, parsed: InterfaceSpec | InterfaceFault) -> _Verdict:
    if isinstance(parsed, InterfaceFault):
        where = f"{parsed.file_name}, line {parsed.line}: " if parsed.line else f"{parsed.file_name}: "
        return _Verdict(
            file=path,
            kind="interface",
            message=parsed.message.removeprefix(where),
            line=parsed.line,
            field=parsed.field,
            found=parsed.found,
            allowed=parsed.allowed,
        )
    facts = {
        "name": parsed.name,
        "type": parsed.type.value,
        "kind": parsed.invoke.kind.value,
        "tier": parsed.cost.tier.value,
        "capabilities": list(parsed.capabilities),
    }
    return _Verdict(file=path, kind="interface", warnings=parsed.warnings, facts=facts)


def _verdict_facts(one: _Verdict) -> dict[str, Any]:
    fault = {"line": one.line, "field": one.field, "message": one.message, "found": one.found, "allowed": one.allowed}
    return {
        "file": one.file,
        "kind": one.kind,
        "ok": not one.message,
        "error": fault if one.message else None,
        "warnings": list(one.warnings),
        "facts": one.facts,
    }


def _say(one: _Verdict) -> None:
    place = clean_line(one.file, 500) + (f":{one.line}" if one.line else "")
    if one.message:
        click.echo(f"{place}: {clean_line(one.message, 1000)}")
        for word, value in (("field", one.field), ("found", one.found), ("allowed", one.allowed)):
            if value is not None:
                click.echo(f"  {word:<8} {clean_line(value, 500)}")
    else:
        told = ", ".join(f"{key} {_shown(value)}" for key, value in (one.facts or {}).items() if value)
        click.echo(f"{place}: ok, {'an interface' if one.kind == 'interface' else 'a task'} ({clean_line(told, 500)})")
    for warning in one.warnings:
        click.echo(f"  warning  {clean_line(warning, 500)}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return "yes" if value is True else str(value)
