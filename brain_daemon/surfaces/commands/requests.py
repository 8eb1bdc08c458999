"""`brain request`: a request is met at once. The one at hand is told who should do it, or it is run here and answered.

Standard output has the answer or the directive and nothing else; what is said on the way goes to standard error. What runs
tasks is imported only where one is run, so that a directive stays quick.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.policy.mode import ModeChoice, RequestMode
from brain_daemon.service.brain import Brain
from brain_daemon.service.directing import agent_fields, directive_for
from brain_daemon.service.requests import Asked, Directive, Turn, log_decision, mode_for, with_talk
from brain_daemon.service.sessions import Answer, Sitting, project_root
from brain_daemon.store.locks import running_daemon
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say

if TYPE_CHECKING:
    from brain_daemon.service.waiting import Note, Unended

_KEYS = {"kind": "type", "interface": "interface", "prefer": "preferred_interface", "timeout": "timeout"}
_LEAVE = frozenset({"/exit", "/quit", "exit", "quit"})


@click.command("request")
@click.argument("prompt", required=False)
@click.option("--mode", "flag", type=click.Choice([word.value for word in RequestMode]), help="How to meet it.")
@click.option(
    "-i", "--interactive", is_flag=True, help="Converse: each line a request, the answers before it handed over."
)
@click.option("--type", "kind", metavar="WORD", help="What kind of request it is: code, research, quick, ...")
@click.option("--requires", multiple=True, metavar="NAME,...", help="Capabilities it needs.")
@click.option("--interface", metavar="NAME", help="This interface and no other.")
@click.option("--prefer", metavar="NAME", help="This interface if it can.")
@click.option("--agent", metavar="NAME", help="An agent of context/routing.md: an interface and its model.")
@click.option("--timeout", metavar="TIME", help="Longest time for one attempt: 30m, 1h30m.")
@click.option("--session", "session_id", metavar="ID", help="The session it belongs to; a new id begins one.")
@click.option("--cached", is_flag=True, help="Print the session's earlier answer to the same request, if it has one.")
@json_option
@click.pass_obj
def request_command(
    call: Call,
    /,
    prompt: str | None,
    flag: str | None,
    interactive: bool,
    agent: str | None,
    session_id: str | None,
    cached: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Say who should do PROMPT, or do it: as the moment, a setting or --mode says. `-` takes standard input.

    Example: brain request "Which tests are slow?" --mode orchestrated
    """
    if sum(bool(options[name]) for name in ("interface", "prefer")) + bool(agent) > 1:
        raise click.UsageError("--interface, --prefer and --agent each say who does it: give one of them")
    if interactive and as_json:
        raise click.UsageError("a conversation is for people: --json does not go with --interactive")
    folder = os.getcwd()
    text = prompt if interactive else _text(prompt)
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        sitting = Sitting.open(brain, project_root(folder), session_id)
        fields = _fields(options) | (agent_fields(brain, agent) if agent else {})
        if "interface" not in fields and "preferred_interface" not in fields and sitting.preference("interface"):
            fields["preferred_interface"] = sitting.preference("interface")
        asked = Asked(text=text or "", folder=folder, fields=fields)
        if interactive:
            code = _converse(brain, sitting, asked)
        else:
            code = _meet(brain, sitting, asked, flag, cached=cached, as_json=as_json)
        for note in sitting.notes:
            say(f"brain: {note}", err=True)
    sys.exit(code)


def _text(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        raise click.UsageError("there is nothing to do: give PROMPT, a text on standard input, or --interactive")
    said = sys.stdin.buffer.read().decode("utf-8", "surrogateescape") if prompt in (None, "-") else str(prompt)
    if not said.strip():
        raise click.UsageError("the request is empty")
    return said if said.endswith("\n") else f"{said}\n"


def _fields(options: dict[str, Any]) -> dict[str, object]:
    requires = [word.strip() for value in options["requires"] for word in value.split(",") if word.strip()]
    fields: dict[str, object] = {key: options[name] for name, key in _KEYS.items() if options[name]}
    return fields | ({"requires": requires} if requires else {})


def _meet(brain: Brain, sitting: Sitting, asked: Asked, flag: str | None, *, cached: bool, as_json: bool) -> int:
    known = sitting.session.cached_results.get(asked.hash) if cached else None
    if known is not None:
        answer = Answer(task_id=known.task_id, agent=known.agent, result="completed", text=known.text)
        return _say_answer(
            sitting, asked, ModeChoice(mode=RequestMode.ORCHESTRATED, why="answered before"), answer, as_json
        )
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    mode = RequestMode(flag) if flag else None
    choice = mode_for(brain, asked, sitting, terminal=terminal, flag=mode, agent_at_hand=False)
    log_decision(brain, asked, sitting.id, choice)
    sitting.asked(asked.text, asked.folder)
    if choice.mode is RequestMode.DIRECTIVE:
        return _direct(brain, sitting, asked, choice, as_json)
    _say_who_works(brain)
    return _run(brain, sitting, asked, choice, as_json)


# directive


def _direct(brain: Brain, sitting: Sitting, asked: Asked, choice: ModeChoice, as_json: bool) -> int:
    directive = directive_for(brain, asked)
    sitting.directed(asked.hash, directive.agent, choice)
    if as_json:
        print_json(_facts(sitting, asked, choice) | {"directive": directive_facts(directive)})
        return 0 if directive.interface else 1
    if directive.interface is None:
        say(f"Nobody can do it now: {directive.reason}")
        return 1
    say(f"{_who(directive)} should do this: {clean_line(directive.reason, 500)}")
    if directive.others:
        say(f"If it cannot: {', '.join(directive.others)}")
    say(f"directive mode: {choice.why}; `--mode orchestrated` has it done", err=True)
    for warning in directive.warnings:
        say(f"note: {warning}", err=True)
    return 0


def _who(directive: Directive) -> str:
    model = f" with {directive.model}" if directive.model else ""
    return f"{directive.interface}{model} ({directive.tier})"


def directive_facts(directive: Directive) -> dict[str, Any]:
    return {
        "type": directive.task_type,
        "interface": directive.interface,
        "model": directive.model,
        "tier": directive.tier,
        "reason": directive.reason,
        "others": list(directive.others),
        "rejected": dict(directive.rejected),
        "warnings": list(directive.warnings),
    }


# orchestrated


def _run(brain: Brain, sitting: Sitting, asked: Asked, choice: ModeChoice, as_json: bool) -> int:
    answer, unended, task_id = _run_one(brain, sitting, asked, choice.why)
    if answer is not None:
        return _say_answer(sitting, asked, choice, answer, as_json)
    why = clean_line(unended.why if unended else "", 1_000)
    if as_json:
        task = {"task_id": task_id, "state": "pending", "interface": None, "why": why, "text": None}
        print_json(_facts(sitting, asked, choice) | {"task": task})
    else:
        say(f"brain: {task_id} {why}", err=True)
    return 1


def _run_one(
    brain: Brain, sitting: Sitting, asked: Asked, why: str, more: dict[str, object] | None = None, said: str = ""
) -> "tuple[Answer | None, Unended | None, str]":
    """Hand the request in and wait; `said` is what the person typed, where the task's text holds more."""
    from brain_daemon.service import collecting, waiting  # noqa: PLC0415 - 0.1 s that a directive does not need

    handed = collecting.hand_in(brain, asked, sitting.id, more)
    request = replace(asked, text=said).hash if said else asked.hash
    task_id = handed.place.task_id
    sitting.handed_in(request, task_id)
    with _progress(task_id) as note:
        found = waiting.wait_for(brain, collecting.awaited(handed), note)
    if isinstance(found, waiting.Unended):
        return None, found, task_id
    answer = collecting.answer_of(brain, found)
    sitting.answered(request, answer, why)
    return answer, None, task_id


def _say_answer(sitting: Sitting, asked: Asked, choice: ModeChoice, answer: Answer, as_json: bool) -> int:
    failed = answer.result != "completed"
    if as_json:
        task = {
            "task_id": answer.task_id,
            "state": "failed" if failed else "completed",
            "interface": answer.agent or None,
            "why": answer.result.partition(": ")[2] or None,
            "text": answer.text,
        }
        print_json(_facts(sitting, asked, choice) | {"task": task})
        return 1 if failed else 0
    _print_answer(answer)
    say(f"{answer.task_id} {answer.result}{f' by {answer.agent}' if answer.agent else ''} ({choice.why})", err=True)
    return 1 if failed else 0


def _print_answer(answer: Answer) -> None:
    shown = clean_text(answer.text) if sys.stdout.isatty() else answer.text
    click.echo(shown, err=answer.result != "completed", nl=not shown.endswith("\n"))


def _facts(sitting: Sitting, asked: Asked, choice: ModeChoice) -> dict[str, Any]:
    return {
        "session_id": sitting.id,
        "request_hash": asked.hash,
        "mode": choice.mode.value,
        "why": choice.why,
        "directive": None,
        "task": None,
    }


def _say_who_works(brain: Brain) -> None:
    if running_daemon(brain.layout) is None:
        say("no daemon runs: working through the queue here until the request has ended", err=True)


@contextmanager
def _progress(task_id: str) -> "Iterator[Note]":
    """Where the task stands: one live line on a terminal; elsewhere one line for what holds it, once."""
    if not sys.stderr.isatty():
        said: set[str] = set()
        yield lambda text: _say_once(said, task_id, text)
        return
    from rich.console import Console  # noqa: PLC0415 - 80 ms that only a terminal needs

    with Console(stderr=True).status(task_id) as status:
        yield lambda text: status.update(clean_line(f"{task_id} {text}", 300).replace("[", "\\["))


def _say_once(said: set[str], task_id: str, text: str) -> None:
    if text not in said and not text.startswith(("is pending", "has left", "runs on")):
        said.add(text)
        say(f"{task_id} {clean_line(text, 500)}", err=True)


# a conversation


def _converse(brain: Brain, sitting: Sitting, asked: Asked) -> int:
    """Each line a task of one chain, with what was said before it; ends with the input or /exit. The last turn gives the code."""
    turns: list[Turn] = []
    first: str | None = None
    code = 0
    choice = ModeChoice(mode=RequestMode.ORCHESTRATED, why="a conversation")
    say(f"session {sitting.id}; an empty line is passed over, /exit ends", err=True)
    _say_who_works(brain)
    for said in _lines(asked.text):
        turn = replace(asked, text=said)
        log_decision(brain, turn, sitting.id, choice)
        sitting.asked(said, asked.folder)
        more: dict[str, object] = {"chain": sitting.id, **({"parent": first} if first else {})}
        with_earlier = replace(turn, text=with_talk(said, turns))
        answer, unended, task_id = _run_one(brain, sitting, with_earlier, choice.why, more, said)
        first = first or task_id
        code = 0 if answer is not None and answer.result == "completed" else 1
        if answer is None:
            say(f"brain: {task_id} {clean_line(unended.why if unended else '', 1_000)}", err=True)
            continue
        _print_answer(answer)
        turns.append(Turn(said=said, answer=answer.text))
    return code


def _lines(first: str) -> Iterator[str]:
    """What the person says, line by line; `first` is what they said with the command."""
    if first.strip():
        yield f"{first.strip()}\n"
    while True:
        if sys.stdin.isatty():
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line or line.strip().lower() in _LEAVE:
            return
        if line.strip():
            yield f"{line.strip()}\n"
