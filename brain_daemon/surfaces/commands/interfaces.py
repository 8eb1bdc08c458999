"""`brain interfaces` and `brain route`: who can do work, who may, and who would do a task.

Looking at the interfaces is what the daemon does on each scan, approvals of files made here included; nothing is started
but `check` commands, and those only of interfaces that are approved on this machine or ship with this program. What
`brain interfaces` has below it stands in checking.py and approving.py.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Container, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import click

from brain_daemon.adapters.registry import Entry
from brain_daemon.model.attempt import AttemptState
from brain_daemon.model.errors import UserError
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.task import OnLimit, Rejection, TaskSpec
from brain_daemon.policy.breaker import word
from brain_daemon.policy.drawing import drawn
from brain_daemon.policy.routing import Choice, Nobody, Ranked
from brain_daemon.record.questions import QuestionKind
from brain_daemon.record.wording import utc
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.service.breakers import kept, waits_for_login
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.explaining import Now, draws, look, note, now_words
from brain_daemon.service.harvesting import sentence
from brain_daemon.service.intake import Intake, explain, original_of
from brain_daemon.service.limits import NoLimits
from brain_daemon.service.past import Past
from brain_daemon.store.journal import Journal
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.approving import approval_words, approve_command, fault_words, show_command
from brain_daemon.surfaces.commands.checking import check_command, detect_command, fault_facts
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

_LIST = (
    Column("INTERFACE"),
    Column("IS"),
    Column("APPROVED"),
    Column("STATUS", styles=STATE_STYLES),
)
_RANKED = (
    Column("", right=True),
    Column("INTERFACE"),
    Column("TIER", whole=True),
    Column("MODEL"),
    Column("EXPECTED", right=True),
    Column("DRAW", right=True),
    Column("WHY"),
)
_REFUSED = (Column("REFUSED"), Column("WHY"))


@click.group("interfaces", invoke_without_command=True)
@json_option
@click.pass_context
def interfaces_command(ctx: click.Context, as_json: bool) -> None:
    """List, check and approve who can do work.

    Example: brain interfaces
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, as_json)


@interfaces_command.command("list")
@json_option
@click.pass_obj
def _list_command(call: Call, as_json: bool) -> None:
    """List the interfaces, and why one cannot work now. `brain interfaces show NAME` says what one can do.

    Example: brain interfaces list --json
    """
    _list(call, as_json)


def _list(call: Call, as_json: bool) -> None:
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        registry = brain.registry()
        running = Counter(attempt.interface for attempt in brain.journal.open_attempts() if _runs(attempt.state))
        breakers = {name: word(breaker) for name, breaker in kept(brain.journal).items()}
        logged_out = _logged_out(brain.journal, breakers)
    entries = sorted(registry.entries.values(), key=lambda entry: (not entry.usable, entry.spec.name))
    if as_json:
        print_json(
            {
                "interfaces": [_entry_facts(entry, running[entry.spec.name], breakers) for entry in entries],
                "faults": [fault_facts(fault) for fault in registry.faults],
            }
        )
        return
    show(_LIST, [_list_row(entry, running[entry.spec.name], breakers, logged_out) for entry in entries])
    for fault in registry.faults:
        say(f"\n{fault_words(fault)}")
    if not entries and not registry.faults:
        say("No interface is registered: add a file to tools/interfaces/, or `brain interfaces detect`.")


def _runs(state: AttemptState) -> bool:
    return state is AttemptState.STARTING


def _logged_out(journal: Journal, breakers: Mapping[str, str]) -> frozenset[str]:
    """The interfaces whose login a person has been asked about, or whose own check alone lets them go on."""
    open_questions = (document for document, _ in journal.questions().values())
    asked = {str(one["subject"]) for one in open_questions if one["kind"] == QuestionKind.AUTH}
    return frozenset(asked | {name for name in breakers if waits_for_login(journal, name)})


def _status(entry: Entry, breakers: Mapping[str, str], logged_out: Container[str]) -> str:
    """Whether a task would start on it now, and what is in the way."""
    if not entry.usable:
        return f"offline: {entry.why_not}"
    if entry.spec.name in logged_out:
        return "waits: not logged in (`brain questions`)"
    breaker = breakers.get(entry.spec.name, "closed")
    if breaker == "open":
        return "waits: its circuit breaker is open"
    return "available" if breaker == "closed" else f"available, its circuit breaker is {breaker}"


def _list_row(entry: Entry, running: int, breakers: Mapping[str, str], logged_out: Container[str]) -> tuple[str, ...]:
    spec = entry.spec
    status = _status(entry, breakers, logged_out)
    return (
        spec.name,
        f"{spec.cost.tier} {spec.type}",
        approval_words(entry),
        f"{status}, {running} running" if running else status,
    )


def _entry_facts(entry: Entry, running: int, breakers: Mapping[str, str]) -> dict[str, Any]:
    spec = entry.spec
    return {
        "name": spec.name,
        "title": spec.title,
        "file": entry.file_name,
        "type": spec.type.value,
        "kind": spec.invoke.kind.value,
        "tier": spec.cost.tier.value,
        "model": spec.cost.model,
        "account": spec.account,
        "capabilities": list(spec.capabilities),
        "aliases": list(spec.aliases),
        "usable": entry.usable,
        "why_not": entry.why_not or None,
        "breaker": breakers.get(spec.name, "closed"),
        "approved": entry.approved,
        "approval": entry.approval.value,
        "approved_at": None if entry.approved_at is None else utc(entry.approved_at),
        "running": running,
        "warnings": list(spec.warnings),
    }


interfaces_command.add_command(check_command)
interfaces_command.add_command(show_command)
interfaces_command.add_command(approve_command)
interfaces_command.add_command(detect_command)


# route


@click.command("route")
@click.argument("task", metavar="FILE_OR_ID")
@click.option("--explain", is_flag=True, help="The whole ranking and why each other one was refused.")
@json_option
@click.pass_obj
def route_command(call: Call, task: str, explain: bool, as_json: bool) -> None:
    """Say who would do a task and why, without running it. Exit 1 if nobody can.

    With --explain: what history and the draw had to do with it, the whole ranking, and every refusal.

    Example: brain route idea.md --explain
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        spec, path = _task(brain, task)
        registry = brain.registry()
        table, fault = brain.routing_table()
        past = Past(brain)
        past.look(table, now=True)
        dispatch = Dispatch(brain.config, Intake(brain, brain.redactor(registry)), registry, NoLimits(), past)
        dispatch.interfaces_changed(table)
        asked = dispatch.choices.route(spec)
        on_limit = spec.on_limit or OnLimit(brain.config.on_limit)
        told = as_json or not explain  # the table has a column for the draws
        found = drawn(asked, spec.id, past.prefers(spec), explained=told) if isinstance(asked, Choice) else asked
        soon, now = "", None
        if isinstance(found, Choice):
            now = look(brain, registry, table, past, spec, path)
            soon = sentence(spec, found, brain.journal, time.time())
            away = (f"{one.name}: {shut.why}" for one in found.ranked if (shut := dispatch.choices.away(one)))
            found = replace(found, warnings=(*found.warnings, *away))
    if as_json:
        print_json(_route_facts(spec, found, fault, now))
    else:
        for line in filter(None, (*note(spec, asked, past, table, on_limit, now), soon)) if explain else ():
            say(line)
        _print_route(spec, found, explain)
        if isinstance(found, Choice) and now is not None and not explain and now.interface != found.ranked[0].name:
            say(f"note: {now_words(now, time.time())}", err=True)
        for warning in (*found.warnings, *([fault] if fault else ())):
            say(f"note: {warning}", err=True)
    if isinstance(found, Nobody):
        sys.exit(1)


def _task(brain: Brain, task: str) -> tuple[TaskSpec, str]:
    """The task in a file, wherever it lies, else the one of that id; and the path of its file."""
    path = task if os.path.isfile(task) else actions.find(brain, task).path
    try:
        with open(path, "rb") as handle:
            data, _ = original_of(handle.read())
    except OSError as error:
        raise UserError(f"routing {task}: {path} cannot be read: {error.strerror}.") from error
    parsed = parse_task(os.path.basename(path), data, limits=ParseLimits(file_bytes=brain.config.task_bytes))
    if isinstance(parsed, Rejection):
        raise UserError(f"routing {task}: it is no task.\n{explain(parsed)}")
    return parsed, path


def _print_route(task: TaskSpec, found: Choice | Nobody, whole: bool) -> None:
    match found:
        case Choice(ranked=(first, *_)) if not whole:
            say(f"{_who(first)}: {first.reason}")
        case Choice(ranked=ranked):
            say()
            drew = draws(task, found)
            show(_RANKED, [_ranked_row(number, one, drew.get(one.name)) for number, one in enumerate(ranked, 1)])
        case Nobody(reason=reason) if not whole:
            say(f"nobody can do it now: {reason}")
    if whole and found.rejected:
        say()
        show(_REFUSED, found.rejected)


def _ranked_row(number: int, one: Ranked, drew: float | None) -> tuple[str, ...]:
    expected = "-" if one.lesson is None else f"{one.lesson.expected:.2f}"
    return (
        str(number),
        one.name,
        one.tier.value,
        one.model or "-",
        expected,
        "-" if drew is None else f"{drew:.2f}",
        one.reason,
    )


def _who(ranked: Ranked) -> str:
    model = f" with {ranked.model}" if ranked.model else ""
    return f"{ranked.name}{model} ({ranked.tier.value})"


def _route_facts(task: TaskSpec, found: Choice | Nobody, fault: str, now: Now | None) -> dict[str, Any]:
    ranked = found.ranked if isinstance(found, Choice) else ()
    drew = draws(task, found) if isinstance(found, Choice) else {}
    return {
        "task_id": task.id,
        "type": task.type,
        "interface": ranked[0].name if ranked else None,
        "reason": ranked[0].reason if isinstance(found, Choice) else found.reason,
        "missing_capabilities": list(found.missing_capabilities) if isinstance(found, Nobody) else [],
        "now": _now_facts(found, now),
        "ranked": [
            {
                "interface": one.name,
                "tier": one.tier.value,
                "model": one.model,
                "permissions": one.profile.value if one.profile else None,
                "last_resort": one.last_resort,
                "reason": one.reason,
                **_lesson_facts(one, drew.get(one.name)),
            }
            for one in ranked
        ],
        "rejected": dict(found.rejected),
        "warnings": [*found.warnings, *([fault] if fault else ())],
    }


def _now_facts(found: Choice | Nobody, now: Now | None) -> dict[str, Any]:
    """What becomes of it at this moment."""
    if now is None:
        why = found.reason if isinstance(found, Nobody) else ""
        return {"state": "waits", "interface": None, "why": why, "until": None}
    state = "waits" if now.interface is None else "active" if now.at_work else "starts"
    until = None if now.until is None else utc(now.until)
    return {"state": state, "interface": now.interface, "why": now.why, "until": until}


def _lesson_facts(one: Ranked, drew: float | None) -> dict[str, Any]:
    """What history taught of an interface; null where it was not asked, or nobody knows."""
    lesson = one.lesson
    return {
        "expected": None if lesson is None else round(lesson.expected, 4),
        "draw": None if drew is None else round(drew, 4),
        "good": None if lesson is None else lesson.good,
        "judged": None if lesson is None else lesson.judged,
        "usual_usd": None if lesson is None or lesson.usd is None else round(lesson.usd, 6),
        "usual_seconds": None if lesson is None or lesson.seconds is None else round(lesson.seconds, 3),
    }
