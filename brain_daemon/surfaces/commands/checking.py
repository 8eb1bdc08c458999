"""`brain interfaces check` and `detect`: whether an interface works, and what on this machine could be one.

A check runs the interface's own commands, and those only of interfaces that may run here. `--live` sends one tiny prompt:
that is a task like any other, bound to the interface and of the type `check`, so that what it costs is in the ledger and
what it said is on record.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import click

from brain_daemon.adapters.checking import Health, examine
from brain_daemon.adapters.registry import Entry
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Refused
from brain_daemon.model.interface import InterfaceFault, InterfaceSpec, InvokeKind
from brain_daemon.model.outcome import Status
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.quantities import dollars
from brain_daemon.record.questions import QuestionKind
from brain_daemon.record.wording import duration
from brain_daemon.service import actions, inquiries
from brain_daemon.service.brain import Brain
from brain_daemon.service.detection import Detection, Program, detect, write_registration
from brain_daemon.service.snapshot import task_names
from brain_daemon.service.waiting import Awaited, Unended, read_recorded, wait_for
from brain_daemon.store.locks import running_daemon
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.approving import fault_words, named
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

_CHECK = (
    Column("INTERFACE"),
    Column("RESULT", styles=STATE_STYLES),
    Column("VERSION"),
    Column("LOGIN"),
    Column("TOOK", right=True),
)
_LIVE = (
    Column("INTERFACE"),
    Column("ANSWER", styles=STATE_STYLES),
    Column("TOKENS", right=True),
    Column("COST", right=True),
    Column("TOOK", right=True),
)
_DETECT = (Column("PROGRAM"), Column("INTERFACE"), Column("FOUND", styles=STATE_STYLES))
_PROMPT = (
    "---\ninterface: {name}\ntype: check\ntimeout: 2m\nattempts: 1\n---\n# Check of {name}\n\nReply with the word ok.\n"
)
_ANSWER_LENGTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    """How the one prompt ended. The counts are None where they are unknown."""

    task_id: str
    ok: bool
    text: str
    tokens: tuple[int | None, int | None] = (None, None)
    cost_usd: str | None = None
    cost_basis: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What came of looking at one interface; empty `fault` is good. `health` is None where nothing was looked at."""

    name: str
    fault: str
    health: Health | None = None
    live: _Live | None = None

    @property
    def seconds(self) -> float | None:
        return self.health.seconds if self.health and self.health.ran else None


@click.command("check")
@click.argument("name", required=False)
@click.option("--live", is_flag=True, help="Send one tiny prompt as well; it is a task, and what it costs is booked.")
@json_option
@click.pass_obj
def check_command(call: Call, name: str | None, live: bool, as_json: bool) -> None:
    """Prove that one interface works, or all that may run here: program, login, and --live an answer. Exit 1 if one fails.

    Example: brain interfaces check claude_code --live
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        registry = brain.registry()
        entries = [named(registry, name)] if name else list(registry.entries.values())
        results = _checked(entries, brain.config.environment)
        _tell(brain, results)
        if live:
            results = _with_answers(brain, results, [entry.spec for entry in entries], by_name=name is not None)
        faults = () if name else registry.faults
    if as_json:
        print_json({"checks": [_result_facts(one) for one in results], "faults": [*map(fault_facts, registry.faults)]})
    else:
        _print(results)
        for fault in faults:
            say(f"\n{fault_words(fault)}")
    failed = any(one.fault and (one.seconds is not None or name) for one in results)
    if failed or faults or any(one.live and not one.live.ok for one in results):
        sys.exit(1)


def fault_facts(fault: InterfaceFault) -> dict[str, Any]:
    """A file that is no interface, for programs."""
    return {
        "file": fault.file_name,
        "line": fault.line,
        "field": fault.field,
        "message": fault.message,
        "found": fault.found,
        "allowed": fault.allowed,
    }


def _checked(entries: Sequence[Entry], environment: Mapping[str, str]) -> list[_Result]:
    with ThreadPoolExecutor(max_workers=8) as threads:
        return list(threads.map(lambda entry: _check(entry, environment), entries))


def _check(entry: Entry, environment: Mapping[str, str]) -> _Result:
    if entry.why_not:
        return _Result(name=entry.spec.name, fault=entry.why_not)
    health = examine(entry.spec, environment)
    return _Result(name=entry.spec.name, fault=health.why_not, health=health)


def _tell(brain: Brain, results: Sequence[_Result]) -> None:
    """A login that works again is no question any more, and the daemon looks again."""
    answered = [
        one.name
        for one in results
        if one.health and not one.fault and inquiries.withdraw_about(brain.journal, one.name, QuestionKind.AUTH)
    ]
    if answered:
        actions.wake(brain)


# live


def _with_answers(
    brain: Brain, results: Sequence[_Result], specs: Sequence[InterfaceSpec], *, by_name: bool
) -> list[_Result]:
    able = {one.name for one in results if not one.fault}
    asked = [spec.name for spec in specs if spec.name in able and (by_name or _is_quick(spec))]
    if asked and running_daemon(brain.layout) is None and (others := len(task_names(brain.layout.pending))):
        raise Refused(
            f"checking live: no daemon runs, and working here would start the other {others} tasks in pending/ as well. "
            "Start the daemon with `brain run`, then check again."
        )
    dropped = {name: _drop(brain, name) for name in asked}
    answers = {name: _answer(brain, awaited) for name, awaited in dropped.items()}
    return [_Result(name=one.name, fault=one.fault, health=one.health, live=answers.get(one.name)) for one in results]


def _is_quick(spec: InterfaceSpec) -> bool:
    """Whether a prompt goes to a program or server now; a person would be asked, and a function knows no prompts."""
    return spec.invoke.kind in (InvokeKind.COMMAND, InvokeKind.HTTP)


def _drop(brain: Brain, name: str) -> Awaited:
    task_id = actions.new_id().replace("task-", f"check-{name}-", 1)
    text = _PROMPT.format(name=name)
    since = time.time()
    place = actions.submit(brain, text, task_id)
    file_name = os.path.basename(place.path)
    return Awaited(task_id=task_id, name=file_name, sha256=parse_task(file_name, text.encode()).sha256, since=since)


def _answer(brain: Brain, awaited: Awaited) -> _Live:
    found = wait_for(brain, awaited, lambda _: None)
    if isinstance(found, Unended):
        return _Live(task_id=awaited.task_id, ok=False, text=f"{found.why}; `brain cancel {awaited.task_id}`")
    recorded = read_recorded(brain, found)
    values, usage = recorded.values, recorded.values.get("usage") or {}
    return _Live(
        task_id=awaited.task_id,
        ok=found.status == Status.COMPLETED,
        text=clean_line(recorded.text, _ANSWER_LENGTH),
        tokens=(_count(usage.get("input_tokens")), _count(usage.get("output_tokens"))),
        cost_usd=None if values.get("cost_usd") is None else str(values["cost_usd"]),
        cost_basis=values.get("cost_basis"),
        seconds=None if values.get("duration_seconds") is None else float(values["duration_seconds"]),
    )


def _count(value: object) -> int | None:
    return None if value is None else int(str(value))


def _print(results: Sequence[_Result]) -> None:
    show(_CHECK, [_row(one) for one in results])
    answers = [(one.name, one.live) for one in results if one.live]
    if answers:
        say()
        show(_LIVE, [_live_row(name, live) for name, live in answers])


def _row(one: _Result) -> tuple[str, ...]:
    health = one.health or Health()
    login = "" if health.auth_fault else health.auth
    return one.name, one.fault or "ok", health.version or "-", login or "-", _took(one.seconds)


def _live_row(name: str, live: _Live) -> tuple[str, ...]:
    said = f"{'ok' if live.ok else 'failed'}: {live.text}"
    tokens = " + ".join("?" if count is None else str(count) for count in live.tokens)
    cost = dollars(Decimal(live.cost_usd)) if live.cost_usd is not None else "unknown"
    return name, said, tokens, cost, _took(live.seconds)


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _result_facts(result: _Result) -> dict[str, Any]:
    health = result.health or Health()
    return {
        "name": result.name,
        "ok": not result.fault and (result.live is None or result.live.ok),
        "fault": result.fault or None,
        "ran": result.seconds is not None,
        "seconds": None if result.seconds is None else round(result.seconds, 3),
        "version": health.version or None,
        "login": None if health.auth_fault else health.auth or None,
        "live": None if result.live is None else _live_facts(result.live),
    }


def _live_facts(live: _Live) -> dict[str, Any]:
    return {
        "task_id": live.task_id,
        "ok": live.ok,
        "text": live.text,
        "input_tokens": live.tokens[0],
        "output_tokens": live.tokens[1],
        "cost_usd": live.cost_usd,
        "cost_basis": live.cost_basis,
        "seconds": live.seconds,
    }


# detect


@click.command("detect")
@click.option(
    "--write", "written", metavar="NAME", multiple=True, help="Put the shipped registration NAME into the brain."
)
@json_option
@click.pass_obj
def detect_command(call: Call, written: tuple[str, ...], as_json: bool) -> None:
    """Say which AI programs, local servers and keys are on this machine, and which interface covers each.

    Example: brain interfaces detect --write codex
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        paths = [write_registration(brain, name) for name in written]
        entries = brain.registry().entries
        found = detect(brain.config.environment)
        healths = _healths([one.interface for one in found.programs if one.path and one.interface], brain)
    rows = [_detected(one, entries, healths) for one in found.programs]
    if as_json:
        print_json(
            {"programs": rows, "keys": _key_facts(found), "ollama": _ollama_facts(found, entries), "written": paths}
        )
        return
    for path in paths:
        say(f"written: {path}")
    show(_DETECT, [(row["program"], row["interface"] or "-", _found_words(row)) for row in rows])
    for line in _beside(found, entries):
        say(f"\n{line}")


def _healths(specs: Sequence[InterfaceSpec], brain: Brain) -> dict[str, Health]:
    """Programs that are here and known, tried by the registration that ships."""
    with ThreadPoolExecutor(max_workers=8) as threads:
        looks = threads.map(lambda spec: examine(spec, brain.config.environment), specs)
        return {spec.name: health for spec, health in zip(specs, looks, strict=True)}


def _detected(one: Program, entries: Mapping[str, Entry], healths: Mapping[str, Health]) -> dict[str, Any]:
    name = one.interface.name if one.interface else _registered_for(one.program, entries)
    entry = entries.get(name or "")
    health = healths.get(name or "", Health())
    return {
        "program": one.program,
        "interface": name,
        "path": one.path,
        "version": health.version or None,
        "registered": entry is not None,
        "ships": one.interface is not None,
        "works": bool(one.path) and entry is not None and entry.usable and not health.why_not,
        "why_not": health.why_not or (entry.why_not if entry else "") or None,
    }


def _registered_for(program: str, entries: Mapping[str, Entry]) -> str | None:
    """An interface of the person's own that calls this program."""
    return next((name for name, entry in entries.items() if entry.spec.invoke.command[:1] == (program,)), None)


def _found_words(row: Mapping[str, Any]) -> str:
    if row["path"] is None:
        return "not on PATH"
    if row["registered"]:
        return f"ok: {row['path']}" if row["works"] else f"{row['path']}; {row['why_not']}"
    if row["ships"]:
        return f"{row['path']}; `brain interfaces detect --write {row['interface']}` registers it"
    return f"{row['path']}; no registration ships: write one, docs/interfaces.md says how"


def _beside(found: Detection, entries: Mapping[str, Entry]) -> Iterator[str]:
    if found.ollama is not None:
        covered = _covered("ollama", entries)
        yield f"Ollama {clean_line(found.ollama.version, 40)} answers at {found.ollama.address}; {covered}."
    for key in found.keys:
        yield f"{key.name} is set here; {', '.join(_covered(name, entries) for name in key.interfaces)}."


def _covered(name: str, entries: Mapping[str, Entry]) -> str:
    """Which interface uses it, or how to have one that does."""
    return f"{name} uses it" if name in entries else f"`brain interfaces detect --write {name}` registers {name}"


def _key_facts(found: Detection) -> list[dict[str, Any]]:
    return [{"name": key.name, "interfaces": list(key.interfaces)} for key in found.keys]


def _ollama_facts(found: Detection, entries: Mapping[str, Entry]) -> dict[str, Any] | None:
    if found.ollama is None:
        return None
    return {
        "address": found.ollama.address,
        "version": found.ollama.version,
        "interface": "ollama",
        "registered": "ollama" in entries,
    }
