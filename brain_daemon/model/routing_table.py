"""context/routing.md: the person's own table of who gets which kind of task. All of it is optional.

Names of types, interfaces and agents are kept in their normal form. Whether an interface of that name exists is not judged
here. A file that cannot be read as a table is a RoutingFault, reported with its line; the caller goes on with the table it
had. Nothing here is fatal.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from brain_daemon.model.form import Flag, Form, Word, Words, fill, listed, under, unknown_keys, worded
from brain_daemon.model.frontmatter import Malformed, read
from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import DEFAULT, Tier

DEFAULT_FLOOR = 0.5
MAX_FILE_BYTES = 64 * 1024


class Strategy(StrEnum):
    """How the candidates of a task are ordered where the table leaves it open."""

    LADDER = "ladder"
    CAPABILITY = "capability"
    ROUND_ROBIN = "round_robin"
    LEAST_LOADED = "least_loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRule:
    """Who does tasks of one type: `best` in this order, then `fallback`; `strict` leaves out everybody else."""

    best: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A name that workflows and requests use for an interface and, perhaps, its model."""

    interface: str
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTable:
    """The table. A tier that `order` leaves out is used only for interfaces that are named."""

    order: tuple[Tier, ...] = tuple(Tier)
    strategy: Strategy = Strategy.LADDER
    types: tuple[tuple[str, TypeRule], ...] = ()
    floor: tuple[tuple[str, float], ...] = ()
    agents: tuple[tuple[str, Agent], ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    def type_of(self, word: str) -> str:
        """The type that `word` means: itself, or what it is another name of. A type of the table is never another's name."""
        known, others = dict(self.types), dict(self.aliases)
        name = normal_name(word)
        for _step in others:
            if name in known or name not in others:
                break
            name = others[name]
        return name

    def rule(self, task_type: str) -> TypeRule | None:
        """The rule for a type; None where the table says nothing about it."""
        return dict(self.types).get(self.type_of(task_type))

    def floor_of(self, task_type: str) -> float:
        """The expected success, 0 to 1, below which an interface is taken for this type only when nothing else can do it."""
        floors = dict(self.floor)
        return floors.get(self.type_of(task_type), floors.get(DEFAULT, DEFAULT_FLOOR))

    def agent(self, name: str) -> Agent | None:
        """The agent of this name; None where the table has none."""
        return dict(self.agents).get(normal_name(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingFault:
    """Why a file is not a routing table. Lines count from 1; None where the fault has none."""

    message: str
    line: int | None = None
    field: str | None = None
    found: str | None = None
    allowed: str | None = None


class TypeForm(Form):
    """Who does tasks of one type; the best alone may stand here as a name or a list."""

    best: Words = ()
    fallback: Words = ()
    strict: Flag = Field(default=False, description="whether nobody but those named is taken")


class AgentForm(Form):
    """An interface and, perhaps, its model; the interface alone may stand here as a name."""

    interface: Word
    model: str | None = None


class RoutingForm(Form):
    """context/routing.md: which interface gets which kind of task."""

    order: Annotated[
        tuple[Annotated[Tier, BeforeValidator(worded)], ...],
        BeforeValidator(listed, json_schema_input_type=str | list[Tier]),
    ] = tuple(Tier)
    strategy: Annotated[Strategy, BeforeValidator(worded)] = Strategy.LADDER
    types: dict[
        Word, Annotated[TypeForm, BeforeValidator(under("best"), json_schema_input_type=str | list[str] | TypeForm)]
    ] = Field(default_factory=dict)
    floor: Annotated[
        dict[Word, Annotated[float, Field(ge=0, le=1)]],
        BeforeValidator(under(DEFAULT), json_schema_input_type=float | dict[str, float]),
    ] = Field(default_factory=dict)
    agents: dict[
        Word, Annotated[AgentForm, BeforeValidator(under("interface"), json_schema_input_type=str | AgentForm)]
    ] = Field(default_factory=dict)
    aliases: dict[Word, Word] = Field(default_factory=dict, description="other words for a type")

    @field_validator("order")
    @classmethod
    def _each_once(cls, order: tuple[Tier, ...]) -> tuple[Tier, ...]:
        if len(set(order)) < len(order):
            raise ValueError("a tier stands twice: keep one")
        return order

    @field_validator("aliases")
    @classmethod
    def _no_circle(cls, aliases: dict[str, str]) -> dict[str, str]:
        for start in aliases:
            name, steps = start, 0
            while name in aliases and steps <= len(aliases):
                name, steps = aliases[name], steps + 1
            if steps > len(aliases):
                raise ValueError(f"`{start}` leads back to itself: let it name a type")
        return aliases


def parse_routing(data: bytes) -> RoutingTable | RoutingFault:
    """Read context/routing.md. A file without front matter is an empty table: everything has its default."""
    try:
        return _table(data)
    except Malformed as fault:
        where = "context/routing.md" if fault.line is None else f"context/routing.md, line {fault.line}"
        return RoutingFault(
            message=f"{where}: {fault.message}",
            line=fault.line,
            field=fault.field,
            found=fault.found,
            allowed=fault.allowed,
        )


def _table(data: bytes) -> RoutingTable:
    text = _decoded(data)
    form = fill(RoutingForm, read(text)[0], text)
    return RoutingTable(
        order=form.order,
        strategy=form.strategy,
        types=tuple(
            (name, TypeRule(best=rule.best, fallback=rule.fallback, strict=rule.strict))
            for name, rule in form.types.items()
        ),
        floor=tuple(form.floor.items()),
        agents=tuple(
            (name, Agent(interface=agent.interface, model=agent.model)) for name, agent in form.agents.items()
        ),
        aliases=tuple(form.aliases.items()),
        warnings=unknown_keys(form, text),
    )


def _decoded(data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise Malformed(
            f"it has {len(data):,} bytes, at most {MAX_FILE_BYTES:,} are read: move notes into another file"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("it is not UTF-8 text: save it as UTF-8", line=data.count(b"\n", 0, error.start) + 1) from None
