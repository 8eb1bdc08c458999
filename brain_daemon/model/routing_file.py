"""context/routing.md: the person's own table of who gets which kind of task. All of it is optional.

Names of types, interfaces and agents are kept in their normal form. Whether an interface of that name exists is not judged
here. A file that cannot be read as a table is a RoutingFault, reported with its line; the caller goes on with the table it
had. Nothing here is fatal.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from brain_daemon.model.form import Flag, Form, Word, Words, fill, listed, under, unknown_keys, worded
from brain_daemon.model.frontmatter import Malformed, read
from brain_daemon.model.interface import DEFAULT, Tier
from brain_daemon.model.routing_table import Agent, RoutingFault, RoutingTable, Strategy, TypeRule

MAX_FILE_BYTES = 64 * 1024


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
