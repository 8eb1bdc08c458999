"""`brain interfaces` and `brain route`: who can do work, who may, and who would do a task.

Looking at the interfaces is what the daemon does on each scan, approvals of files made here included; nothing is started
but `check` commands, and those only of interfaces that are approved on this machine or ship with this program.
"""

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click

from brain_daemon.adapters.environment import child_path
from brain_daemon.adapters.registry import Entry, Registry, run_check
from brain_daemon.model.attempt import AttemptState
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.interface import InterfaceFault, InterfaceSpec, InvokeKind
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.routing import Choice, Nobody, Ranked
from brain_daemon.record.wording import duration
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.service.claiming import explain
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.intake import Intake, original_of
from brain_daemon.service.meter import Meter
from brain_daemon.store.template import shipped_interfaces
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import STATE_STYLES, Column, on_terminal, say, show

_LIST = (
    Column("INTERFACE"),
    Column("IS"),
    Column("STATUS", styles=STATE_STYLES),
    Column("CAN DO"),
)
_CHECK = (Column("INTERFACE"), Column("RESULT", styles=STATE_STYLES), Column("TOOK", right=True))
_DETECT = (Column("PROGRAM"), Column("INTERFACE"), Column("FOUND", styles=STATE_STYLES))
_RANKED = (Column("", right=True), Column("INTERFACE"), Column("TIER", whole=True), Column("MODEL"), Column("WHY"))
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
    """List the interfaces with what they can do and why one cannot work now.

    Example: brain interfaces list --json
    """
    _list(call, as_json)


def _list(call: Call, as_json: bool) -> None:
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        registry = brain.registry()
        running = Counter(attempt.interface for attempt in brain.journal.open_attempts() if _runs(attempt.state))
    entries = sorted(registry.entries.values(), key=lambda entry: (not entry.usable, entry.spec.name))
    if as_json:
        print_json(
            {
                "interfaces": [_entry_facts(entry, running[entry.spec.name]) for entry in entries],
                "faults": [_fault_facts(fault) for fault in registry.faults],
            }
        )
        return
    show(_LIST, [_list_row(entry, running[entry.spec.name]) for entry in entries])
    for fault in registry.faults:
        say(f"\n{_fault_words(fault)}")
    if not entries and not registry.faults:
        say("No interface is registered: add a file to tools/interfaces/, or `brain interfaces detect`.")


def _runs(state: AttemptState) -> bool:
    return state is AttemptState.STARTING


def _list_row(entry: Entry, running: int) -> tuple[str, ...]:
    spec = entry.spec
    status = "available" if entry.usable else f"offline: {entry.why_not}"
    aliases = f" (also called {', '.join(spec.aliases)})" if spec.aliases else ""
    return (
        spec.name,
        f"{spec.cost.tier} {spec.type}",
        f"{status}, {running} running" if running else status,
        (", ".join(spec.capabilities) or "any text") + aliases,
    )


def _entry_facts(entry: Entry, running: int) -> dict[str, Any]:
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
        "approved": entry.approved,
        "running": running,
        "warnings": list(spec.warnings),
    }


def _fault_facts(fault: InterfaceFault) -> dict[str, Any]:
    return {
        "file": fault.file_name,
        "line": fault.line,
        "field": fault.field,
        "message": fault.message,
        "found": fault.found,
        "allowed": fault.allowed,
    }


def _fault_words(fault: InterfaceFault) -> str:
    told = fault.message if fault.message.startswith(fault.file_name) else f"{fault.file_name}: {fault.message}"
    return f"tools/interfaces/{told}"


# check


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What came of looking at one interface; empty `fault` is good. `seconds` is None where nothing was started."""

    name: str
    fault: str
    seconds: float | None = None


@interfaces_command.command("check")
@click.argument("name", required=False)
@json_option
@click.pass_obj
def _check_command(call: Call, name: str | None, as_json: bool) -> None:
    """Run the `check` command of one interface, or of all that may run here. Exit 1 if one that was run fails.

    Example: brain interfaces check claude_code
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        registry = brain.registry()
        entries = [_named(registry, name)] if name else list(registry.entries.values())
        results = _checked(entries, brain.config.environment)
    if as_json:
        print_json({"checks": [_result_facts(one) for one in results], "faults": [*map(_fault_facts, registry.faults)]})
    else:
        show(_CHECK, [(one.name, one.fault or "ok", _took(one.seconds)) for one in results])
        for fault in () if name else registry.faults:
            say(f"\n{_fault_words(fault)}")
    if any(one.fault and (one.seconds is not None or name) for one in results) or (registry.faults and not name):
        sys.exit(1)


def _named(registry: Registry, name: str) -> Entry:
    entry = registry.find(name)
    if entry is not None:
        return entry
    faulty = next((fault for fault in registry.faults if fault.file_name == f"{name}.md"), None)
    if faulty is not None:
        raise UserError(_fault_words(faulty))
    known = ", ".join(sorted(registry.entries)) or "none"
    raise UserError(
        f"looking for the interface {name}: nothing is called that in tools/interfaces/. There are: {known}."
    )


def _checked(entries: Sequence[Entry], environment: Mapping[str, str]) -> list[_Result]:
    with ThreadPoolExecutor(max_workers=8) as threads:
        return list(threads.map(lambda entry: _check(entry.spec, entry.why_not, environment), entries))


def _check(spec: InterfaceSpec, why_not: str, environment: Mapping[str, str]) -> _Result:
    if why_not or not spec.invoke.check:
        return _Result(name=spec.name, fault=why_not)
    began = time.monotonic()
    fault = run_check(spec, environment)
    return _Result(name=spec.name, fault=fault, seconds=time.monotonic() - began)


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _result_facts(result: _Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "ok": not result.fault,
        "fault": result.fault or None,
        "ran": result.seconds is not None,
        "seconds": None if result.seconds is None else round(result.seconds, 3),
    }


# approve


@interfaces_command.command("approve")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@click.pass_obj
def _approve_command(call: Call, name: str, yes: bool) -> None:
    """Let an interface that came with git run on this machine, as its content is now. Shows first what it would run.

    Example: brain interfaces approve house_model
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        entry = _named(brain.registry(), name)
        for key, value in _would_run(entry.spec):
            say(f"{key:<12}{value}")
        if entry.approved:
            say(f"{entry.spec.name} is approved here already; nothing was changed.")
            return
        if on_terminal() and sys.stdin.isatty() and not yes:
            click.confirm("Let it run on this machine?", abort=True)
        if _named(brain.registry(), name).spec.sha256 != entry.spec.sha256:
            raise Refused(f"approving {entry.spec.name}: its file has just been changed. Look at it again.")
        say(actions.approve(brain, entry.spec.name))


def _would_run(spec: InterfaceSpec) -> Iterator[tuple[str, str]]:
    invoke = spec.invoke
    yield "interface", f"{spec.name} ({spec.type.value}, {spec.cost.tier.value}), sha256 {spec.sha256[:16]}…"
    if invoke.kind is InvokeKind.TOOL:
        yield "calls", f"the function {invoke.function or spec.name} of an installed package"
    yield from ((key, _words(words)) for key, words in (("runs", invoke.command), ("checks by", invoke.check)) if words)
    for profile in invoke.permissions:
        yield f"for {profile.name}", _words(profile.arguments) or "nothing more"
    if invoke.env or spec.auth.env:
        yield "is given", ", ".join(dict.fromkeys((*invoke.env, *filter(None, (spec.auth.env,)))))
    if invoke.set_env:
        yield "with", ", ".join(f"{key}={value}" for key, value in invoke.set_env)
    if spec.auth.config_location:
        yield "reads", spec.auth.config_location


def _words(argv: Sequence[str]) -> str:
    return " ".join(word if word and word.isprintable() and " " not in word else repr(word) for word in argv)


# detect


@interfaces_command.command("detect")
@json_option
@click.pass_obj
def _detect_command(call: Call, as_json: bool) -> None:
    """Say which known AI programs are on this machine and would work.

    Example: brain interfaces detect
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        entries = brain.registry().entries
        known = {spec.name: spec for spec in _shipped() if spec.invoke.kind is InvokeKind.COMMAND}
        path = child_path(brain.config.environment)
        found = [(spec, shutil.which(spec.invoke.command[0], path=path)) for spec in known.values()]
        checked = {
            one.name: one for one in _checked_specs([spec for spec, place in found if place], brain.config.environment)
        }
    rows = [_detected(spec, place, entries.get(spec.name), checked.get(spec.name)) for spec, place in found]
    if as_json:
        print_json({"programs": rows})
        return
    show(_DETECT, [(row["program"], row["interface"], _found_words(row)) for row in rows])


def _shipped() -> Iterator[InterfaceSpec]:
    for name, data in shipped_interfaces().items():
        parsed = parse_interface(name, data)
        if isinstance(parsed, InterfaceSpec):
            yield parsed


def _checked_specs(specs: Sequence[InterfaceSpec], environment: Mapping[str, str]) -> list[_Result]:
    with ThreadPoolExecutor(max_workers=8) as threads:
        return list(threads.map(lambda spec: _check(spec, "", environment), specs))


def _detected(spec: InterfaceSpec, place: str | None, entry: Entry | None, check: _Result | None) -> dict[str, Any]:
    return {
        "program": spec.invoke.command[0],
        "interface": spec.name,
        "path": place,
        "registered": entry is not None,
        "works": bool(place) and entry is not None and entry.usable and not (check and check.fault),
        "why_not": (check.fault if check else None) or (entry.why_not if entry else None) or None,
    }


def _found_words(row: Mapping[str, Any]) -> str:
    if row["path"] is None:
        return "not on PATH"
    if not row["registered"]:
        return f"{row['path']}; tools/interfaces/{row['interface']}.md is not in this brain: `brain init` elsewhere shows one"
    return f"ok: {row['path']}" if row["works"] else f"{row['path']}; {row['why_not']}"


# route


@click.command("route")
@click.argument("task", metavar="FILE_OR_ID")
@click.option("--explain", is_flag=True, help="The whole ranking and why each other one was refused.")
@json_option
@click.pass_obj
def route_command(call: Call, task: str, explain: bool, as_json: bool) -> None:
    """Say who would do a task and why, without running it. Exit 1 if nobody can.

    Example: brain route idea.md --explain
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        spec = _task(brain, task)
        registry = brain.registry()
        table, fault = brain.routing_table()
        dispatch = Dispatch(brain.config, Intake(brain, brain.redactor(registry)), registry, Meter())
        dispatch.interfaces_changed(table)
        found = dispatch.route(spec)
    if as_json:
        print_json(_route_facts(spec, found, fault))
    else:
        _print_route(found, explain)
        for warning in (*found.warnings, *([fault] if fault else ())):
            say(f"note: {warning}", err=True)
    if isinstance(found, Nobody):
        sys.exit(1)


def _task(brain: Brain, task: str) -> TaskSpec:
    """The task in a file, wherever it lies, else the one of that id."""
    path = task if os.path.isfile(task) else actions.find(brain, task).path
    try:
        with open(path, "rb") as handle:
            data, _ = original_of(handle.read())
    except OSError as error:
        raise UserError(f"routing {task}: {path} cannot be read: {error.strerror}.") from error
    parsed = parse_task(os.path.basename(path), data, limits=ParseLimits(file_bytes=brain.config.task_bytes))
    if isinstance(parsed, Rejection):
        raise UserError(f"routing {task}: it is no task.\n{explain(parsed)}")
    return parsed


def _print_route(found: Choice | Nobody, whole: bool) -> None:
    match found:
        case Choice(ranked=(first, *_)) if not whole:
            say(f"{_who(first)}: {first.reason}")
        case Choice(ranked=ranked):
            rows = [(str(n), one.name, one.tier.value, one.model or "-", one.reason) for n, one in enumerate(ranked, 1)]
            show(_RANKED, rows)
        case Nobody(reason=reason):
            say(f"nobody can do it now: {reason}")
    if whole and found.rejected:
        say()
        show(_REFUSED, found.rejected)


def _who(ranked: Ranked) -> str:
    model = f" with {ranked.model}" if ranked.model else ""
    return f"{ranked.name}{model} ({ranked.tier.value})"


def _route_facts(task: TaskSpec, found: Choice | Nobody, fault: str) -> dict[str, Any]:
    ranked = found.ranked if isinstance(found, Choice) else ()
    return {
        "task_id": task.id,
        "type": task.type,
        "interface": ranked[0].name if ranked else None,
        "reason": ranked[0].reason if isinstance(found, Choice) else found.reason,
        "missing_capabilities": list(found.missing_capabilities) if isinstance(found, Nobody) else [],
        "ranked": [
            {
                "interface": one.name,
                "tier": one.tier.value,
                "model": one.model,
                "permissions": one.profile.value if one.profile else None,
                "last_resort": one.last_resort,
                "reason": one.reason,
            }
            for one in ranked
        ],
        "rejected": dict(found.rejected),
        "warnings": [*found.warnings, *([fault] if fault else ())],
    }
