"""`brain submit`: a task from the command line, a file or standard input, and what came of it where one waits.

Standard output has the id, or with --wait the result, and nothing else; what is said on the way goes to standard error.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import UserError
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.task import Priority, Rejection, TaskSpec
from brain_daemon.service import actions, composing
from brain_daemon.service.brain import Brain
from brain_daemon.service.foresight import foresight
from brain_daemon.service.handing_down import ANSWER_SECONDS, Inside, hand_down, inside
from brain_daemon.service.intake import explain
from brain_daemon.service.waiting import Awaited, Note, Recorded, Unended, read_recorded, wait_for
from brain_daemon.store.journal import TaskRecord
from brain_daemon.store.locks import running_daemon
from brain_daemon.surfaces.calls import Call, json_option, print_json

_KEYS = {"kind": "type", "interface": "interface", "prefer": "preferred_interface"}
_SAME = ("priority", "model", "chain", "timeout", "attempts", "verify")


def _words(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Several options or commas: one list."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


@click.command("submit")
@click.argument("prompt", required=False)
@click.option("-p", "--prompt", "spoken", metavar="PROMPT", help="The same as the argument.")
@click.option("-f", "--file", "source", type=click.Path(exists=True, dir_okay=False), help="Take the task from a file.")
@click.option("--type", "kind", metavar="WORD", help="What kind of task it is: code, research, quick, ...")
@click.option("--priority", type=click.Choice([word.value for word in Priority]), help="Whose turn comes first.")
@click.option("--requires", multiple=True, callback=_words, metavar="NAME,...", help="Capabilities it needs.")
@click.option("--interface", metavar="NAME", help="This interface and no other.")
@click.option("--prefer", metavar="NAME", help="This interface if it can.")
@click.option("--after", multiple=True, callback=_words, metavar="ID,...", help="Start when these have completed.")
@click.option("--chain", metavar="NAME", help="The chain it belongs to.")
@click.option("--timeout", metavar="TIME", help="Longest time for one attempt: 30m, 1h30m.")
@click.option("--id", "task_id", metavar="ID", help="Its id; else one is made up.")
@click.option("--model", metavar="NAME", help="A hint to the interface.")
@click.option("--attempts", type=click.IntRange(1, 100), metavar="N", help="Tries before it fails.")
@click.option("--verify", metavar="COMMAND", help="A command that must exit 0, or the attempt has not succeeded.")
@click.option("--wait", is_flag=True, help="Wait for the end; print the result; exit 0 or 1.")
@json_option
@click.pass_obj
def submit_command(
    call: Call,
    /,
    prompt: str | None,
    spoken: str | None,
    source: str | None,
    task_id: str | None,
    *,
    wait: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Drop a task: PROMPT, a file, or standard input (also as `-`). Inside a task it is a child of that task.

    Example: brain submit "Summarise knowledge/plan.md" --type research --wait
    """
    if options["interface"] and options["prefer"]:
        raise click.UsageError("--interface is binding and --prefer is advice: give one of them")
    text, place = _text(prompt, spoken, source)
    parent = inside(call.layout, call.environment)
    if parent is not None and wait:
        raise click.UsageError(
            "a task cannot wait for its children while it runs: `wait_for_children: true` in its own front matter does, once its run has ended"
        )
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        if parent is not None:
            return _say_handed_down(
                brain, parent, _child(brain, text, place, task_id, _fields(options)), as_json=as_json
            )
        since = time.time()
        placed, task = _drop(brain, text, place, task_id, _fields(options))
        _say_unknown(brain, options["after"])
        _say_estimate(brain, placed, task)
        if not wait:
            return _say_dropped(brain, placed, as_json=as_json)
        awaited = Awaited(task_id=placed.task_id, name=Path(placed.path).name, sha256=task.sha256, since=since)
        found = _waited(brain, awaited)
        if isinstance(found, Unended):
            code = _say_unended(placed, found, as_json=as_json)
        else:
            code = _say_ended(brain, found, as_json=as_json)
    sys.exit(code)


def _text(prompt: str | None, spoken: str | None, source: str | None) -> tuple[str, str]:
    """The text and where it came from, for messages; exactly one source, standard input where none is named."""
    given = [one for one in (prompt, spoken, source) if one is not None]
    if len(given) > 1:
        raise click.UsageError("the task is given more than once: use one of PROMPT, -p, -f and -")
    if source is not None:
        return Path(source).read_bytes().decode("utf-8", "surrogateescape"), source
    if not given and sys.stdin.isatty():
        raise click.UsageError(
            "there is nothing to submit: give PROMPT, -p PROMPT, -f FILE, or a text on standard input"
        )
    if not given or prompt == "-":
        return sys.stdin.buffer.read().decode("utf-8", "surrogateescape"), "standard input"
    return given[0] if given[0].endswith("\n") else f"{given[0]}\n", ""


def _fields(options: Mapping[str, Any]) -> dict[str, object]:
    """Front matter from the options that were given."""
    fields = {key: options[name] for name, key in _KEYS.items()} | {name: options[name] for name in _SAME}
    fields |= {"requires": options["requires"], "depends_on": options["after"]}
    return {key: value for key, value in fields.items() if value not in (None, [])}


def _drop(
    brain: Brain, text: str, place: str, task_id: str | None, fields: Mapping[str, object]
) -> tuple[actions.Place, TaskSpec]:
    """Where the task lies in pending/, and what it is with the options. UserError where the text or the options make no task."""
    limits = ParseLimits(file_bytes=brain.config.task_bytes)
    _refuse_faulty(text, place or "the prompt", limits)
    own = composing.id_for(text)
    if own is not None and task_id not in (None, own):
        raise UserError(
            f"submitting a task: its front matter says `id: {own}`, and --id says {task_id}. Leave one away."
        )
    wanted = task_id or own or actions.new_id()
    whole = composing.compose(wanted, text, fields)
    task = _refuse_faulty(whole, "the task with these options", limits)
    return actions.submit(brain, whole, wanted), task


def _child(brain: Brain, text: str, place: str, task_id: str | None, fields: Mapping[str, object]) -> str:
    """The text of a child as its options make it. UserError where they make no task."""
    limits = ParseLimits(file_bytes=brain.config.task_bytes)
    _refuse_faulty(text, place or "the prompt", limits)
    whole = composing.compose("task", text, {**({"id": task_id} if task_id else {}), **fields})
    _refuse_faulty(whole, "the task with these options", limits)
    return whole


def _say_handed_down(brain: Brain, parent: Inside, text: str, *, as_json: bool) -> None:
    """The id of a child, once the daemon has taken it up."""
    task_id = hand_down(parent, text, ANSWER_SECONDS if running_daemon(brain.layout) is not None else 0.0)
    if as_json:
        path = None if task_id is None else brain.layout.relative(f"{brain.layout.pending}/{task_id}.md")
        state = "spawned" if task_id is None else "pending"
        return print_json({"task_id": task_id, "state": state, "path": path, "daemon": task_id is not None})
    if task_id is None:
        return click.echo("nobody has answered yet: it is taken up when your run has ended", err=True)
    return click.echo(task_id)


def _refuse_faulty(text: str, what: str, limits: ParseLimits) -> TaskSpec:
    parsed = parse_task("task.md", text.encode("utf-8", "surrogateescape"), limits=limits)
    if isinstance(parsed, Rejection):
        raise UserError(f"submitting {what}: {explain(parsed)}")
    return parsed


def _say_unknown(brain: Brain, awaited: list[str]) -> None:
    for task_id in awaited:
        try:
            actions.find(brain, task_id)
        except UserError:
            click.echo(f"brain: no task is called {clean_line(task_id)} yet; this one waits for it", err=True)


def _say_estimate(brain: Brain, placed: actions.Place, task: TaskSpec) -> None:
    """What a long prompt may cost, before it starts."""
    said = foresight(brain, task)
    if said is not None:
        click.echo(f"{placed.task_id}: {clean_line(said, 1000)}", err=True)


def _say_dropped(brain: Brain, placed: actions.Place, *, as_json: bool) -> None:
    runs = running_daemon(brain.layout) is not None
    if as_json:
        path = brain.layout.relative(placed.path)
        return print_json({"task_id": placed.task_id, "state": placed.state, "path": path, "daemon": runs})
    click.echo(placed.task_id)
    if not runs:
        click.echo("no daemon runs: `brain run` starts one, `brain run --once` works through what is there", err=True)
    return None


def _waited(brain: Brain, awaited: Awaited) -> TaskRecord | Unended:
    if running_daemon(brain.layout) is None:
        click.echo("no daemon runs: working through the queue here until this task has ended", err=True)
    with _progress(awaited.task_id) as note:
        return wait_for(brain, awaited, note)


@contextmanager
def _progress(task_id: str) -> Iterator[Note]:
    """Where the task stands: one live line on a terminal; elsewhere one line for what holds it, once."""
    if sys.stderr.isatty():
        with Console(stderr=True).status(task_id) as status:
            yield lambda text: status.update(clean_line(f"{task_id} {text}", 300).replace("[", "\\["))
    else:
        yield _once_said(task_id)


def _once_said(task_id: str) -> Callable[[str], None]:
    said: set[str] = set()

    def note(text: str) -> None:
        if text not in said and not text.startswith(("is pending", "has left", "runs on")):
            said.add(text)
            click.echo(f"{task_id} {clean_line(text, 500)}", err=True)

    return note


def _say_unended(placed: actions.Place, found: Unended, *, as_json: bool) -> int:
    if as_json:
        print_json({"task_id": placed.task_id, "state": "pending", "why": found.why})
    else:
        click.echo(f"brain: {placed.task_id} {clean_line(found.why, 1000)}", err=True)
    return 1


def _say_ended(brain: Brain, record: TaskRecord, *, as_json: bool) -> int:
    recorded = read_recorded(brain, record)
    failed = record.status != "completed"
    if as_json:
        print_json(_facts(record, recorded))
    else:
        shown = clean_text(recorded.text) if sys.stdout.isatty() else recorded.text
        click.echo(shown, err=failed, nl=not shown.endswith("\n"))
        click.echo(_summary(record, recorded), err=True)
    return 1 if failed else 0


def _facts(record: TaskRecord, recorded: Recorded) -> dict[str, Any]:
    result = recorded.values
    keys = ("reason", "interface", "model", "duration_seconds", "cost_usd", "cost_basis", "attempt_id")
    return {
        "task_id": record.task_id,
        "state": record.status,
        "path": record.path,
        **{key: result.get(key) for key in keys},
        "routing": (result.get("routing") or {}).get("reason"),
        "text": recorded.text,
    }


def _summary(record: TaskRecord, recorded: Recorded) -> str:
    by = f" by {recorded.values['interface']}" if recorded.values.get("interface") else ""
    reason = f" ({record.reason})" if record.reason else ""
    return f"{record.task_id} {record.status}{reason}{by}: {record.path}"
