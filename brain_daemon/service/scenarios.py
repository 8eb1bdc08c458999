"""What `brain simulate` works through: a queue file, or the ledger of past days, and interfaces as they have behaved so far.

A queue file is YAML or JSON (`tasks:`, and optionally `start`, `slots`, `interfaces:`), or CSV with a line for each task. The keys of a
task are those of a task file as far as routing asks for them, `input_tokens` and `output_tokens` (counted from `prompt` where
that stands there), and `at`, `count`, `every` for when it comes and how often. An interface is named, or described with
the keys of an interface file; `success` and `seconds` say how it behaves where history does not.

A file that cannot be read is a UserError that names the line and what is allowed. Keys nobody knows are warnings.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import UserError
from brain_daemon.model.form import Form, Seconds, Word, Words, fill, read_as, under, unknown_keys, worded
from brain_daemon.model.frontmatter import Bounds, Malformed, load
from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import DEFAULT, Availability, InterfaceFault, InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.quantities import (
    COUNT_ALLOWED,
    INSTANT_ALLOWED,
    MONEY_ALLOWED,
    parse_count,
    parse_duration,
    parse_instant,
    parse_money,
)
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import Priority
from brain_daemon.policy.asking import Asked
from brain_daemon.policy.evidence import GENERAL_TYPE, History
from brain_daemon.policy.learning import lesson
from brain_daemon.policy.scenario import CONTENDERS, Arrival, Contender, World
from brain_daemon.policy.simulated_limits import Rules
from brain_daemon.service.config import Config
from brain_daemon.service.harvesting import reserve_of
from brain_daemon.service.near_limit import ANSWERS, silence_of

MAX_TASKS = 5_000_000
_BOUNDS = Bounds(head_bytes=64 << 20, nodes=2_000_000)
_USUAL_INPUT, _USUAL_OUTPUT = 1_000, 500
_USUAL_SECONDS = 30.0
_BYTES_A_TOKEN = 4
_OFFERED = ("ladder", "ladder_fallback", "round_robin", "least_loaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated; `slots` None leaves them to the setting `parallel`. `warnings` are sentences for the person."""

    arrivals: tuple[Arrival, ...]
    worlds: tuple[World, ...]
    slots: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the brain itself knows: its interfaces, its table and its history."""

    specs: Mapping[str, InterfaceSpec]
    table: RoutingTable
    history: History


def _whole(text: str) -> int:
    number = parse_count(text)
    if number is None:
        raise ValueError(text)
    return number


Whole = Annotated[int, BeforeValidator(read_as(_whole, COUNT_ALLOWED), json_schema_input_type=int)]
Money = Annotated[Decimal, BeforeValidator(read_as(parse_money, MONEY_ALLOWED), json_schema_input_type=str)]
Instant = Annotated[float, BeforeValidator(read_as(parse_instant, INSTANT_ALLOWED), json_schema_input_type=str)]
Rate = Annotated[float, Field(ge=0, le=1)]


class QueuedForm(Form):
    """One task of a queue file, or `count` of them, one `every` so long."""

    id: str | None = None
    at: str | None = None
    count: Whole = 1
    every: Seconds = 0.0
    type: Word = GENERAL_TYPE
    requires: Words = ()
    priority: Annotated[Priority, BeforeValidator(worded)] = Priority.MEDIUM
    interface: Word | None = None
    preferred_interface: Word | None = None
    prompt: str | None = None
    input_tokens: Whole | None = None
    output_tokens: Whole = _USUAL_OUTPUT


class WorldForm(Form):
    """How an interface behaves; every other key is one of an interface file, which makes it a new interface."""

    name: Word
    success: Annotated[dict[Word, Rate], BeforeValidator(under(DEFAULT))] = Field(default_factory=dict)
    seconds: Annotated[dict[Word, Seconds], BeforeValidator(under(DEFAULT))] = Field(default_factory=dict)
    spread: Annotated[float, Field(ge=0, le=3)] = 0.5
    usd: Money | None = None


class ScenarioForm(Form):
    """A queue file."""

    start: Instant = 0.0
    slots: Whole | None = None
    interfaces: tuple[WorldForm, ...] = ()
    tasks: tuple[QueuedForm, ...]


def read_file(path: str, known: Known) -> Scenario:
    """The scenario in a queue file; its name's ending says what it is."""
    try:
        with open(path, "rb") as handle:
            text = handle.read(_BOUNDS.head_bytes + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"simulating {path}: it cannot be read: {error}.") from error
    name = os.path.basename(path)
    try:
        return read(name, text, known)
    except Malformed as fault:
        where = name if fault.line is None else f"{name}, line {fault.line}"
        raise UserError(f"simulating {where}: {fault.message}.") from fault


def read(name: str, text: str, known: Known) -> Scenario:
    """The scenario in a text; Malformed says what is wrong with it."""
    if name.endswith(".csv"):
        form = ScenarioForm(tasks=tuple(_csv_tasks(text)))
        return _scenario(form, known, ())
    values, fenced = _values(name, text), f"---\n{text}\n---\n"
    try:
        form = fill(ScenarioForm, values, fenced)
        warnings = tuple(one for one in unknown_keys(form, fenced) if "`interfaces[" not in one)
        return _scenario(form, known, warnings)
    except Malformed as fault:
        raise Malformed(
            fault.message, line=None if fault.line is None else fault.line - 1, field=fault.field, found=fault.found
        ) from None


def of_ledger(rows: Iterable[CostRow], known: Known) -> Scenario:
    """The tasks of past days as they came, each once by its first attempt. What they required is not in the ledger."""
    firsts: dict[str, CostRow] = {}
    for row in sorted(rows, key=lambda row: (row.timestamp, row.attempt)):
        firsts.setdefault(row.task_id, row)
    arrivals = tuple(_arrival(row) for row in firsts.values())
    return Scenario(arrivals=arrivals, worlds=tuple(_world(spec, known, arrivals) for spec in _registered(known)))


def rules_of(config: Config, answer: str | None = None) -> Rules:
    """The settings near the end of a quota; `answer` is what the person is taken to say when asked, one of `ANSWERS`."""
    silence = silence_of(config)
    return Rules(
        threshold=silence.threshold,
        silence=Asked(default=silence.default, after_seconds=silence.after_seconds),
        answer=None if answer is None else ANSWERS[answer],
        reserve=reserve_of(config),
        harvest=config.harvest,
        harvest_before_seconds=config.harvest_before_seconds,
    )


def contenders(names: Sequence[str], scenario: Scenario) -> tuple[Contender, ...]:
    """The policies of these names, `always:NAME` included; the usual ones and the best single interface where none is named."""
    if not names:
        best = max(scenario.worlds, key=lambda one: (_mean_rate(one, scenario.arrivals), one.spec.name), default=None)
        names = (*_OFFERED, *([f"always:{best.spec.name}"] if best else ()))
    return tuple(_contender(name, scenario) for name in names)


def _contender(name: str, scenario: Scenario) -> Contender:
    known = {one.name: one for one in CONTENDERS}
    interfaces = {one.spec.name for one in scenario.worlds}
    if name in known:
        return known[name]
    kind, _, interface = name.partition(":")
    if kind == "always" and normal_name(interface) in interfaces:
        return Contender(name=f"always:{normal_name(interface)}", always=normal_name(interface))
    allowed = ", ".join((*known, "always:NAME"))
    raise UserError(
        f"simulating: no policy is called {name}; allowed are {allowed}, NAME being one of {', '.join(sorted(interfaces))}."
    )


def _mean_rate(world: World, arrivals: Sequence[Arrival]) -> float:
    counts: dict[str, int] = {}
    for one in arrivals:
        counts[one.type] = counts.get(one.type, 0) + 1
    return sum(world.rate(kind) * number for kind, number in counts.items())


# Files


def _values(name: str, text: str) -> dict[str, Any]:
    if not name.endswith(".json"):
        return load(text, bounds=_BOUNDS, first_line=1)
    try:
        found = _as_text(json.loads(text, parse_float=str, parse_int=str))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"it is not JSON ({error})") from None
    return found if isinstance(found, dict) else {"tasks": found}


def _as_text(value: Any) -> Any:
    """JSON in the form in which YAML is read here: every scalar as its text, what is null left out."""
    if isinstance(value, Mapping):
        return {key: _as_text(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else value


def _csv_tasks(text: str) -> Iterator[QueuedForm]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            yield fill(QueuedForm, {key: cell for key, cell in row.items() if key and cell}, "")
    except (Malformed, csv.Error) as fault:
        message = fault.message if isinstance(fault, Malformed) else str(fault)
        raise Malformed(message, line=reader.line_num) from None


# Values


def _scenario(form: ScenarioForm, known: Known, warnings: tuple[str, ...]) -> Scenario:
    total = sum(task.count for task in form.tasks)
    if total > MAX_TASKS:
        raise Malformed(f"it has {total:,} tasks: at most {MAX_TASKS:,} are simulated")
    arrivals = tuple(
        one for number, task in enumerate(form.tasks, 1) for one in _arrivals(task, number, form.start, known)
    )
    if form.interfaces:
        worlds = tuple(_described(one, known, arrivals) for one in form.interfaces)
    else:
        worlds = tuple(_world(spec, known, arrivals) for spec in _registered(known))
    return Scenario(arrivals=arrivals, worlds=worlds, slots=form.slots, warnings=warnings)


def _arrivals(task: QueuedForm, number: int, start: float, known: Known) -> Iterator[Arrival]:
    tokens = task.input_tokens
    if tokens is None:
        tokens = -(-len(task.prompt.encode()) // _BYTES_A_TOKEN) if task.prompt else _USUAL_INPUT
    first = Arrival(
        id=task.id or f"task-{number}",
        at_seconds=_moment(task.at, start),
        type=known.table.type_of(task.type),
        requires=task.requires,
        priority=task.priority,
        interface=task.interface,
        preferred_interface=task.preferred_interface,
        input_tokens=tokens,
        output_tokens=task.output_tokens,
    )
    yield first
    for turn in range(1, task.count):
        yield replace(first, id=f"{first.id}.{turn + 1}", at_seconds=first.at_seconds + turn * task.every)


def _moment(text: str | None, start: float) -> float:
    """When a task comes: so long after the start, or at an instant."""
    if text is None:
        return start
    try:
        return start + parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_instant(text)
    except ValueError:
        raise Malformed(
            f"`at` is `{text}`, but must be an age after the start such as 2h30m, or {INSTANT_ALLOWED}"
        ) from None


def _described(form: WorldForm, known: Known, arrivals: Sequence[Arrival]) -> World:
    if form.model_extra:
        spec = _new_interface(form.name, form.model_extra)
    elif form.name in known.specs:
        spec = known.specs[form.name]
    else:
        names = ", ".join(sorted(known.specs)) or "none"
        raise Malformed(f"no interface is called {form.name} here ({names}): say its `cost` to describe a new one")
    learned = _world(spec, known, arrivals)
    return replace(
        learned,
        success=_over(learned.success, form.success),
        seconds=_over(learned.seconds, form.seconds),
        spread=form.spread,
        usd=learned.usd if form.usd is None else form.usd,
    )


def _over(learned: Mapping[str, float], said: Mapping[str, float]) -> Mapping[str, float]:
    """What the file says in place of what history says; a word for all types goes before all of history."""
    return said if DEFAULT in said else {**learned, **said}


def _new_interface(name: str, values: Mapping[str, Any]) -> InterfaceSpec:
    """An interface described in the queue file, by the rules of an interface file."""
    text = yaml.safe_dump({"command": "none", "type": "llm", **values, "name": name}, allow_unicode=True)
    spec = parse_interface(f"{name}.md", f"---\n{text}---\n".encode())
    if isinstance(spec, InterfaceFault):
        raise Malformed(f"the interface {name}: {spec.message.partition(': ')[2]}")
    return spec


def _registered(known: Known) -> Iterator[InterfaceSpec]:
    return (spec for _, spec in sorted(known.specs.items()) if spec.status is not Availability.OFFLINE)


def _world(spec: InterfaceSpec, known: Known, arrivals: Sequence[Arrival]) -> World:
    """The interface as history and its file say it behaves."""
    believed = {
        kind: lesson(spec, kind, requires, known.table, known.history)
        for kind, requires in {one.type: one.requires for one in arrivals}.items()
    }
    costs = [one.usd for one in believed.values() if one.usd is not None]
    usual = sum(costs) / len(costs) if costs else None
    return World(
        spec=spec,
        success={kind: one.expected for kind, one in believed.items()},
        seconds={kind: one.seconds or _USUAL_SECONDS for kind, one in believed.items()},
        usd=None if usual is None else Decimal(f"{usual:.6f}"),
    )


def _arrival(row: CostRow) -> Arrival:
    began = parse_instant(row.timestamp) - row.duration_seconds - (row.overhead_seconds or 0.0)
    return Arrival(
        id=row.task_id,
        at_seconds=began,
        type=row.task_type or GENERAL_TYPE,
        input_tokens=_USUAL_INPUT if row.input_tokens is None else row.input_tokens,
        output_tokens=_USUAL_OUTPUT if row.output_tokens is None else row.output_tokens,
    )
