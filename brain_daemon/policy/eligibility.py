"""May this interface do this task at all: the refusals, each in words a person understands, and the names resolved for them.

The order of the ranking is `policy.routing`'s. Nothing fails here: a refusal is text, its absence is None.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import DEFAULT, Availability, InterfaceSpec, InterfaceType
from brain_daemon.model.routing_table import RoutingTable, TypeRule
from brain_daemon.model.task import Permissions, TaskSpec

UNKNOWN_SUCCESS = 0.5
OTHER_TRADE_SUCCESS = 0.25
WIDTH = {Permissions.READ: 0, Permissions.WRITE: 1, Permissions.FULL: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An interface as the registry sees it now. `usable` is checked, approved and with its auth present; `running` counts attempts."""

    spec: InterfaceSpec
    usable: bool
    why_not: str = ""
    running: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """What brain.toml and the person's own settings say for the folder a task lies in; a task may only narrow it.

    `granted` is the most a task may have; an interface in `full_for` may be used with full permissions all the same.
    """

    local_only: bool = False
    never: tuple[str, ...] = ()
    granted: Permissions = Permissions.WRITE
    full_for: frozenset[str] = frozenset()

    def grants(self, asked: Permissions, name: str) -> bool:
        """Whether a task that asks for this may have it on the interface of that name."""
        return WIDTH[asked] <= WIDTH[self.granted] or name in self.full_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A task with every name in it resolved against the interfaces that exist."""

    task: TaskSpec
    table: RoutingTable
    policy: RoutingPolicy
    prompt_tokens: int | None
    type: str
    requires: tuple[str, ...]
    bound: str | None
    preferred: str | None
    agent_model: str | None
    best: tuple[str, ...]
    fallback: tuple[str, ...]
    strict: bool
    never: frozenset[str]
    local_only: bool
    warnings: tuple[str, ...] = ()

    def listed(self, name: str) -> bool:
        """Whether the task or routing.md names this interface, so that the person has already judged it."""
        return name in (self.bound, self.preferred) or name in self.best or name in self.fallback


def names_of(candidates: Sequence[Candidate], table: RoutingTable) -> Mapping[str, str]:
    """Every way to write an interface, in normal form, to its name: names go before aliases, and those before routing.md's agents."""
    aliases = {normal_name(alias): one.spec.name for one in candidates for alias in one.spec.aliases}
    known = aliases | {normal_name(one.spec.name): one.spec.name for one in candidates}
    agents = {name: known[agent.interface] for name, agent in table.agents if agent.interface in known}
    return agents | known


def _agent_model(wanted: str | None, names: Mapping[str, str], table: RoutingTable) -> str | None:
    """The model that comes with the name of an agent; None where the name is an interface's own."""
    agent = table.agent(wanted) if wanted else None
    if wanted is None or agent is None or resolve(agent.interface, names) != resolve(wanted, names):
        return None
    return agent.model


def meant(wanted: str | None) -> str | None:
    """The interface somebody wrote, None where they wrote nothing or `any`."""
    return None if wanted is None or normal_name(wanted) in ("", "any") else wanted


def resolve(wanted: str, names: Mapping[str, str]) -> str | None:
    return names.get(normal_name(wanted))


def _resolved(wanted: Iterable[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The interfaces meant, each once; names of interfaces that do not exist here fall away."""
    found = (resolve(name, names) for name in wanted)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def no_such(wanted: str, names: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(normal_name(wanted), sorted(names), n=1)
    return f"no interface is called {wanted}" + (f"; did you mean {names[close[0]]}?" if close else "")


def offers(spec: InterfaceSpec) -> frozenset[str]:
    return frozenset(map(normal_name, spec.capabilities))


def question_of(
    task: TaskSpec, names: Mapping[str, str], table: RoutingTable, policy: RoutingPolicy, prompt_tokens: int | None
) -> Question:
    task_type = table.type_of(task.type)
    rule = table.rule(task_type) or TypeRule()
    bound, preferred = meant(task.interface), meant(task.preferred_interface)
    unknown = [f"never: {no_such(name, names)}" for name in task.never if resolve(name, names) is None]
    if preferred is not None and resolve(preferred, names) is None:
        unknown.insert(0, f"the preference is left aside: {no_such(preferred, names)}")
    return Question(
        task=task,
        table=table,
        policy=policy,
        prompt_tokens=prompt_tokens,
        type=task_type,
        requires=tuple(dict.fromkeys(map(normal_name, task.requires))),
        bound=resolve(bound, names) if bound else None,
        preferred=resolve(preferred, names) if preferred else None,
        agent_model=_agent_model(bound or preferred, names, table),
        best=_resolved(rule.best, names),
        fallback=_resolved(rule.fallback, names),
        strict=rule.strict,
        never=frozenset(_resolved((*task.never, *policy.never), names)),
        local_only=task.local_only or policy.local_only,
        warnings=tuple(unknown),
    )


def refusal(question: Question, candidate: Candidate) -> str | None:
    """Why this interface cannot take the task, None if it can. The lasting reasons come before the passing ones."""
    spec = candidate.spec
    if question.bound is not None and spec.name != question.bound:
        return f"the task is bound to {question.bound}"
    lacking = [name for name in question.requires if name not in offers(spec)]
    if lacking:
        return f"does not offer {listing(lacking)}"
    return barrier(question, candidate)


def barrier(question: Question, candidate: Candidate) -> str | None:
    """Why this interface cannot take the task, its capabilities apart."""
    spec = candidate.spec
    if spec.name in question.never:
        return "named under `never` by the task or brain.toml"
    if question.local_only and not spec.local:
        return "the task may only run on this machine (local_only) and this interface is not marked `local: true`"
    if question.bound is None and (closed := _not_invited(question, spec)):
        return closed
    if spec.status is Availability.OFFLINE:
        return "its file says `status: offline`"
    if not candidate.usable:
        return candidate.why_not or "it cannot be used now"
    return _too_long(question, spec) or _no_profile(question, spec)


def _not_invited(question: Question, spec: InterfaceSpec) -> str | None:
    """What routing.md, or the interface about itself, says against a task that does not name it."""
    in_table = spec.name in question.best or spec.name in question.fallback
    if question.strict and not in_table:
        only = listing((*question.best, *question.fallback)) or "nobody that exists here"
        return f"routing.md is strict for {question.type} and names only {only}"
    if question.listed(spec.name):
        return None
    if spec.cost.tier not in question.table.order:
        return f"routing.md leaves the tier {spec.cost.tier} out of its order"
    asked_for = not offers(spec).isdisjoint((question.type, *question.requires))
    if not asked_for and expected_success(spec, question.type, question.requires, question.table) <= 0:
        return f"says of itself that it is no good at {question.type}; name it, or a capability it offers, to use it"
    return None


def _too_long(question: Question, spec: InterfaceSpec) -> str | None:
    limit = spec.limits.tokens_per_request
    if limit is None or question.prompt_tokens is None or question.prompt_tokens <= limit:
        return None
    return f"the prompt has {question.prompt_tokens} tokens and it takes {limit} a request"


def _no_profile(question: Question, spec: InterfaceSpec) -> str | None:
    wanted = question.task.permissions
    if wanted is not None and not question.policy.grants(wanted, spec.name):
        return f"your own settings do not grant it `permissions: {wanted}` (`full_permissions`)"
    if not spec.invoke.permissions or profile(question, spec) is not None:
        return None
    asked = question.task.permissions or _may_have(question)
    return f"has no profile for `permissions: {asked}` under invoke"


def profile(question: Question, spec: InterfaceSpec) -> Permissions | None:
    """The profile asked for, or for a task that asks nothing the widest one within what it may have; None if there is none."""
    declared = {one.name for one in spec.invoke.permissions}
    asked = question.task.permissions
    if asked is not None:
        return asked if asked in declared else None
    within = (one for one in WIDTH if one in declared and WIDTH[one] <= WIDTH[_may_have(question)])
    return max(within, key=WIDTH.__getitem__, default=None)


def _may_have(question: Question) -> Permissions:
    """What a task that asks nothing gets at most: full is only ever given to one that asks for it."""
    return min(question.policy.granted, Permissions.WRITE, key=WIDTH.__getitem__)


def expected_success(spec: InterfaceSpec, task_type: str, requires: Iterable[str], table: RoutingTable) -> float:
    """The share of tasks of this type the interface is expected to do well, 0 to 1. Names are in their normal form."""
    declared = {table.type_of(key): score for key, score in spec.good_at}
    for key in (task_type, DEFAULT):
        if key in declared:
            return declared[key]
    return OTHER_TRADE_SUCCESS if other_trade(spec, task_type, requires) else UNKNOWN_SUCCESS


def other_trade(spec: InterfaceSpec, task_type: str, requires: Iterable[str]) -> bool:
    """Whether this is a tool or service made for something the task does not ask for."""
    if spec.type is InterfaceType.LLM or not spec.capabilities:
        return False
    return offers(spec).isdisjoint((task_type, *requires))


def listing(names: Iterable[str]) -> str:
    return ", ".join(names)
