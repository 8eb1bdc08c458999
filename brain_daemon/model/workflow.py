"""A workflow as values: its parameters and steps, and what makes a set of steps one that can run.

A step waits for what `depends_on` names, and for every step whose output its prompt, its `when` or its `for_each` uses. Each
step gives one output, called as `output` says, else as the step itself. `faults_in` says all that is wrong; a workflow without faults has no circle
and no name that nobody gives.
"""

import difflib
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from brain_daemon.model.expression import fault_in, paths_in
from brain_daemon.model.ids import MAX_ID_LENGTH, normal_name
from brain_daemon.model.workflow_text import Template

ITEM_NAMES = ("item", "index")
"""What the prompt of a step with `for_each` may name besides parameters and outputs."""

WHEN_ROOTS = ("steps", "params")
"""What `when` sees besides each parameter and each output by its own name."""

MAX_FILE_BYTES = 256 * 1024
MAX_STEPS = 500
MAX_ITEMS = 1_000
MAX_RETRIES = 20


class Then(StrEnum):
    """What follows a step that failed."""

    FAIL = "fail"
    CONTINUE = "continue"
    RETRY = "retry"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnError:
    """`retries` counts further tries for RETRY; `step` is the one that FALLBACK runs instead."""

    then: Then = Then.FAIL
    retries: int = 0
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEach:
    """What a step is done for: the items of the output or parameter called `name`, or those written out in the file."""

    name: str = ""
    items: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """`default` is None where the parameter must be given."""

    name: str
    default: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `options` are keys of its task as they are written; `after` are the steps that `depends_on` names."""

    id: str
    prompt: Template
    output: str
    after: tuple[str, ...] = ()
    when: str | None = None
    on_error: OnError = field(default_factory=OnError)
    agent: str | None = None
    for_each: ForEach | None = None
    options: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """`declared` says that the file lists its parameters; else every name that no step gives is one."""

    name: str
    steps: tuple[Step, ...]
    params: tuple[Param, ...] = ()
    declared: bool = False
    description: str = ""

    @cached_property
    def by_id(self) -> Mapping[str, Step]:
        return {step.id: step for step in self.steps}

    @cached_property
    def giver(self) -> Mapping[str, str]:
        """The name of each output to the id of the step that gives it."""
        return {step.output: step.id for step in self.steps}

    @cached_property
    def guards(self) -> Mapping[str, tuple[str, ...]]:
        """Each step that stands in for others, to those others."""
        found: dict[str, list[str]] = {}
        for step in self.steps:
            if step.on_error.then is Then.FALLBACK:
                found.setdefault(step.on_error.step, []).append(step.id)
        return {name: tuple(ids) for name, ids in found.items()}

    @cached_property
    def waits_for(self) -> Mapping[str, tuple[str, ...]]:
        """Each step to those that must have settled before it: named by `depends_on`, or used by it."""
        return {step.id: tuple(dict.fromkeys((*step.after, *self._used(step)))) for step in self.steps}

    @cached_property
    def in_order(self) -> tuple[Step, ...]:
        """The steps so that each stands after all it waits for, a stand-in after what it stands in for. CycleError in a circle."""
        place = {step.id: number for number, step in enumerate(self.steps)}
        sorter = TopologicalSorter(self.edges)
        sorter.prepare()
        found: list[Step] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=lambda name: place[name])
            found += [self.by_id[name] for name in ready]
            sorter.done(*ready)
        return tuple(found)

    def wanted_params(self) -> tuple[Param, ...]:
        """The parameters: those declared, or where none are, each name that no step gives."""
        if self.declared:
            return self.params
        given = {*self.giver, *self.by_id}
        free = dict.fromkeys(name for step in self.steps for name, _ in names_used(step) if name not in given)
        return tuple(Param(name=name) for name in free)

    def _used(self, step: Step) -> Iterator[str]:
        for name, _ in names_used(step):
            if name in self.giver:
                yield self.giver[name]
        for path in paths_in(step.when) if step.when else ():
            if path[0] == "steps" and len(path) > 1 and path[1] in self.by_id:
                yield path[1]

    @cached_property
    def edges(self) -> Mapping[str, set[str]]:
        """Each step to what comes before it; what waits for a step also waits for the one that may stand in for it."""
        stand_in = {one: instead for instead, ones in self.guards.items() for one in ones}
        edges = {name: set(needs) & self.by_id.keys() for name, needs in self.waits_for.items()}
        for needs in edges.values():
            needs |= {stand_in[one] for one in needs if stand_in.get(one) in self.by_id}
        for instead, ones in self.guards.items():
            if instead in edges:
                edges[instead] |= set(ones)
        return edges

    def circle(self) -> tuple[str, ...]:
        """A circle of steps, from one round to it again; empty where there is none."""
        try:
            TopologicalSorter(self.edges).prepare()
        except CycleError as error:
            return tuple(reversed(error.args[1]))
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong: where (`steps[2].prompt`) and what, with the next step. Lines count from 1."""

    place: str
    message: str
    line: int | None = None


def names_used(step: Step) -> Iterator[tuple[str, str]]:
    """Every name of a parameter or an output that a step uses, and the key that uses it."""
    own = ITEM_NAMES if step.for_each is not None else ()
    for name in step.prompt.roots:
        if name not in own:
            yield name, "prompt"
    for path in paths_in(step.when) if step.when else ():
        if path[0] not in WHEN_ROOTS:
            yield path[0], "when"
        elif path[0] == "params" and len(path) > 1:
            yield path[1], "when"
    if step.for_each is not None and step.for_each.name:
        yield step.for_each.name, "for_each"


def faults_in(workflow: Workflow, agents: Collection[str] | None = None) -> list[Fault]:
    """All that keeps a workflow from running. `agents` are the names of agents and interfaces that exist; None leaves them unjudged."""
    known = set(workflow.by_id)
    found = [*_twice(workflow), *_unknown_names(workflow), *_whens(workflow)]
    for number, step in enumerate(workflow.steps):
        place = f"steps[{number}]"
        found += [
            Fault(
                place=f"{place}.depends_on",
                message=f"`{step.id}` waits for `{name}`, and no step is called that{_near(name, known)}",
            )
            for name in step.after
            if name not in known
        ]
        instead = step.on_error.step
        if step.on_error.then is Then.FALLBACK and (instead not in known or instead == step.id):
            wrong = "is the step itself" if instead == step.id else f"is no step here{_near(instead, known)}"
            found.append(Fault(place=f"{place}.on_error", message=f"the fallback of `{step.id}`, `{instead}`, {wrong}"))
        if agents is not None and step.agent is not None and normal_name(step.agent) not in agents:
            found.append(
                Fault(
                    place=f"{place}.agent",
                    message=f"`{step.id}` is for `{step.agent}`, and no agent of context/routing.md and no interface is called that"
                    f"{_near(normal_name(step.agent), agents)}",
                )
            )
    circle = workflow.circle()
    if circle:
        found.append(Fault(place="steps", message=f"a circle, in which nothing can start: {' -> '.join(circle)}"))
    return found


def _twice(workflow: Workflow) -> Iterator[Fault]:
    """Ids, outputs and parameters share the names that prompts use, and tasks of two steps must not have one id."""
    ids: dict[str, int] = {}
    outputs: dict[str, str] = {}
    params = {param.name for param in workflow.params}
    for number, step in enumerate(workflow.steps):
        place = f"steps[{number}]"
        if step.id.casefold() in ids:
            yield Fault(place=f"{place}.id", message=f"two steps are called `{step.id}`: give one another id")
        elif step.output in outputs:
            message = f"`{outputs[step.output]}` and `{step.id}` both give the output `{step.output}`: call one of them otherwise"
            yield Fault(place=f"{place}.output", message=message)
        elif step.output in params or step.output in (*ITEM_NAMES, *WHEN_ROOTS):
            taken = "a parameter" if step.output in params else "a name of this program's own"
            yield Fault(
                place=f"{place}.output",
                message=f"the output of `{step.id}`, `{step.output}`, is {taken}: call it otherwise",
            )
        head, _, tail = step.id.rpartition("-")
        other = ids.get(head.casefold())
        if tail.isdigit() and other is not None and workflow.steps[other].for_each is not None:
            message = f"`{step.id}` is what an item of the step `{head}` is called: give it another id"
            yield Fault(place=f"{place}.id", message=message)
        ids.setdefault(step.id.casefold(), number)
        outputs.setdefault(step.output, step.id)


def _unknown_names(workflow: Workflow) -> Iterator[Fault]:
    known = {*workflow.giver, *(param.name for param in workflow.wanted_params())}
    for number, step in enumerate(workflow.steps):
        for name, key in dict.fromkeys(names_used(step)):
            if name not in known and name in workflow.by_id:
                message = f"`{step.id}` uses `{name}`, a step whose output is called `{workflow.by_id[name].output}`"
                yield Fault(place=f"steps[{number}].{key}", message=message)
            elif name not in known:
                message = f"`{step.id}` uses `{name}`, which is no parameter and no step's output{_near(name, known)}"
                yield Fault(place=f"steps[{number}].{key}", message=message)
            elif workflow.giver.get(name) == step.id:
                yield Fault(place=f"steps[{number}].{key}", message=f"`{step.id}` uses its own output `{name}`")
        for path in paths_in(step.when) if step.when else ():
            if path[0] == "steps" and len(path) > 1 and path[1] not in workflow.by_id:
                message = f"`when` of `{step.id}` asks about `{path[1]}`, and no step is called that{_near(path[1], workflow.by_id)}"
                yield Fault(place=f"steps[{number}].when", message=message)


def _whens(workflow: Workflow) -> Iterator[Fault]:
    for number, step in enumerate(workflow.steps):
        wrong = fault_in(step.when, None) if step.when else None
        if wrong:
            yield Fault(place=f"steps[{number}].when", message=f"`when` of `{step.id}`: {wrong}")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.7)
    return f"; did you mean `{near[0]}`?" if near else ""


def resolved_params(workflow: Workflow, given: Mapping[str, str]) -> dict[str, str] | list[str]:
    """The value of each parameter, or one sentence for each that is missing or that nobody asks for."""
    wanted = {param.name: param for param in workflow.wanted_params()}
    wrong = [f"there is no parameter `{name}`{_near(name, wanted)}" for name in given if name not in wanted]
    missing = [name for name, param in wanted.items() if name not in given and param.default is None]
    if missing:
        options = " ".join(f"--param {name}=..." for name in missing)
        wrong.append(f"missing: {', '.join(missing)}; give {options}")
    if wrong:
        return wrong
    return {name: given.get(name, param.default or "") for name, param in wanted.items()}


def task_id(run: str, step: str, number: int | None = None) -> str:
    """The id of a step's task, or of its item `number` (from 1); one that would be too long ends in its hash."""
    whole = f"{run}-{step}" if number is None else f"{run}-{step}-{number}"
    if len(whole) <= MAX_ID_LENGTH:
        return whole
    return f"{whole[: MAX_ID_LENGTH - 11].rstrip('-._')}-{hashlib.sha256(whole.encode()).hexdigest()[:10]}"


def changed_steps(before: Workflow, now: Workflow) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The steps of `now` that are new or say something else than in `before`, and those that follow them, in their order."""
    changed = [step.id for step in now.in_order if before.by_id.get(step.id) != step]
    touched = set(changed)
    following: list[str] = []
    for step in now.in_order:
        if step.id not in touched and touched & now.edges[step.id]:
            touched.add(step.id)
            following.append(step.id)
    return tuple(changed), tuple(following)
