"""`brain interfaces show` and `approve`: what an interface would run on this machine, and the person's yes to it.

What a file says is shown with its control characters visible and secrets taken out; nothing of it is run. An approval is of
the content that was shown: if the file changes meanwhile, it is refused.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import click

from brain_daemon.adapters.registry import Approval, Entry, Registry
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.interface import InterfaceFault, InterfaceSpec, InvokeKind
from brain_daemon.model.redaction import Redactor
from brain_daemon.record.wording import utc
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.store.reading import read_regular
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import on_terminal, say

_LONGEST_LINE = 2_000
_SHORT_SHA = 12


@click.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show_command(call: Call, name: str, as_json: bool) -> None:
    """Show what an interface would run and what it is given, and its file. Nothing is run.

    Example: brain interfaces show house_model
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        registry = brain.registry()
        entry = named(registry, name)
        redactor = brain.redactor(registry)
        text = _text(brain, entry, redactor)
    if as_json:
        print_json(_facts(entry, text, redactor))
        return
    _print(entry, redactor)
    say(f"\n{text}")


@click.command("approve")
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every interface that waits.")
@click.option("--sha256", "shown", metavar="HASH", help="Only this content; its first digits are enough.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@click.pass_obj
def approve_command(call: Call, names: tuple[str, ...], every: bool, shown: str | None, yes: bool) -> None:
    """Let interfaces that came with git run on this machine, as their content is now. Shows first what each would run.

    Example: brain interfaces approve house_model
    """
    if bool(names) == every:
        raise click.UsageError("name the interfaces to approve, or say --all for every one that waits")
    if shown and (every or len(names) != 1):
        raise click.UsageError("--sha256 goes with one NAME")
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        registry = brain.registry()
        waiting = [entry for entry in registry.entries.values() if not entry.approved]
        entries = waiting if every else [named(registry, name) for name in names]
        if not entries:
            say("No interface waits for approval.")
        for entry in entries:
            _approve(brain, entry, shown, brain.redactor(registry), yes=yes)


def _approve(brain: Brain, entry: Entry, shown: str | None, redactor: Redactor, *, yes: bool) -> None:
    name = entry.spec.name
    if shown and not entry.spec.sha256.startswith(shown.lower()):
        raise Refused(f"approving {name}: its file has changed since it was shown. `brain interfaces show {name}`")
    _print(entry, redactor)
    if entry.approved:
        say(f"{name} is approved here already; nothing was changed.")
        return
    if on_terminal() and sys.stdin.isatty() and not yes and not click.confirm(f"Let {name} run on this machine?"):
        say(f"{name} was not approved.")
        return
    say(actions.approve(brain, name, entry.spec.sha256))


def named(registry: Registry, name: str) -> Entry:
    """The interface that a person means. UserError with the fault of its file, or with those there are."""
    entry = registry.find(name)
    if entry is not None:
        return entry
    faulty = next((fault for fault in registry.faults if fault.file_name == f"{name}.md"), None)
    if faulty is not None:
        raise UserError(fault_words(faulty))
    known = ", ".join(sorted(registry.entries)) or "none"
    raise UserError(
        f"looking for the interface {name}: nothing is called that in tools/interfaces/. There are: {known}."
    )


def fault_words(fault: InterfaceFault) -> str:
    """What is wrong with a file, with its path."""
    told = fault.message if fault.message.startswith(fault.file_name) else f"{fault.file_name}: {fault.message}"
    return f"tools/interfaces/{told}"


def approval_words(entry: Entry) -> str:
    """Why an interface may run here, or that it may not yet."""
    match entry.approval:
        case Approval.PERSON:
            return "by you" if entry.approved_at is None else f"by you on {utc(entry.approved_at)[:10]}"
        case Approval.HERE | Approval.SHIPPED | Approval.WAITS as word:
            return word.value


def _print(entry: Entry, redactor: Redactor) -> None:
    for key, value in _would_run(entry):
        say(f"{key:<12}{clean_line(redactor.text(clean_text(value)), _LONGEST_LINE)}")


def _would_run(entry: Entry) -> Iterator[tuple[str, str]]:
    spec, invoke = entry.spec, entry.spec.invoke
    sha256 = spec.sha256[:_SHORT_SHA]
    yield "interface", f"{spec.name} ({spec.type.value}, {spec.cost.tier.value}), sha256 {sha256}"
    yield "approved", approval_words(entry)
    aliases = f" (also called {', '.join(spec.aliases)})" if spec.aliases else ""
    yield "can do", (", ".join(spec.capabilities) or "any text") + aliases
    if invoke.kind is InvokeKind.TOOL:
        yield "calls", f"the function {invoke.function or spec.name} of an installed package"
    if invoke.endpoint is not None:
        yield "calls", invoke.endpoint.base_url
    yield from _commands(spec)
    for profile in invoke.permissions:
        given = " ".join(f"{key}={value}" for key, value in profile.set_env)
        yield f"for {profile.name}", " with ".join(filter(None, (_words(profile.arguments), given))) or "nothing more"
    if invoke.env or spec.auth.env:
        yield "is given", ", ".join(dict.fromkeys((*invoke.env, *filter(None, (spec.auth.env,)))))
    if invoke.set_env:
        yield "with", ", ".join(f"{key}={value}" for key, value in invoke.set_env)
    if invoke.files:
        yield "has files", ", ".join(name for name, _text in invoke.files)
    if invoke.refuse_workspace_with:
        yield "not beside", _words(invoke.refuse_workspace_with)
    if spec.auth.config_location:
        yield "reads", spec.auth.config_location


def _commands(spec: InterfaceSpec) -> Iterator[tuple[str, str]]:
    """Every command that the file names."""
    invoke, auth = spec.invoke, spec.auth
    for key, words in (
        ("runs", invoke.command),
        ("with model", invoke.model),
        ("begins by", invoke.session),
        ("resumes by", invoke.resume),
        ("checks by", invoke.check),
        ("and by", auth.check),
        ("its key by", auth.secret_command),
    ):
        if words:
            yield key, _words(words)


def _words(argv: Sequence[str]) -> str:
    return " ".join(word if word and word.isprintable() and " " not in word else repr(word) for word in argv)


def _text(brain: Brain, entry: Entry, redactor: Redactor) -> str:
    data = read_regular(os.path.join(brain.layout.interfaces, entry.file_name))
    return redactor.text(clean_text(data.decode("utf-8", "replace")))


def _facts(entry: Entry, text: str, redactor: Redactor) -> dict[str, Any]:
    def clean(words: Sequence[str]) -> list[str]:
        return [redactor.text(clean_text(word)) for word in words]

    spec, auth = entry.spec, entry.spec.auth
    return {
        "name": spec.name,
        "file": f"tools/interfaces/{entry.file_name}",
        "sha256": spec.sha256,
        "approved": approval_words(entry),
        "usable": entry.usable,
        "why_not": entry.why_not or None,
        "kind": spec.invoke.kind.value,
        "command": clean(spec.invoke.command),
        "check": clean(spec.invoke.check),
        "auth_check": clean(auth.check),
        "secret_command": clean(auth.secret_command),
        "env": list(dict.fromkeys((*spec.invoke.env, *filter(None, (auth.env,))))),
        "set_env": {key: redactor.text(clean_text(value)) for key, value in spec.invoke.set_env},
        "text": text,
    }
