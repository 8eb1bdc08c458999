"""Who gets which kind of task, as a person has said it in context/routing.md (model/routing_file.py reads that): plain values."""

from dataclasses import dataclass
from enum import StrEnum

from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import DEFAULT, Tier

DEFAULT_FLOOR = 0.5


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
