"""Who should do a request: the route that its task would take.

The route is asked as the daemon asks it (`Dispatch.route`; they must agree), but for the size of the prompt, which is not counted.

Failures: UserError where text and options make no task, or an agent is not known; what the brain's parts raise when they are read.
"""

from brain_daemon.model.errors import UserError
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.routing import Nobody, route
from brain_daemon.service import composing
from brain_daemon.service.brain import Brain
from brain_daemon.service.granting import routing_policy
from brain_daemon.service.past import Past
from brain_daemon.service.requests import Asked, Directive, remember


def directive_for(brain: Brain, asked: Asked) -> Directive:
    """Who should do the request; remembered for the next one like it."""
    task = task_of(brain, composing.compose("request", asked.text, asked.front_matter), "the request")
    registry = brain.registry()
    table, fault = brain.routing_table()
    past = Past(brain)
    past.look(table, now=True)
    candidates = registry.candidates({})
    found = route(
        task,
        candidates,
        table,
        prompt_tokens=None,
        policy=routing_policy(brain.config),
        lessons=past.lessons(candidates, task, table),
        learn=past.learn,
    )
    warnings = (*found.warnings, *([fault] if fault else ()))
    task_type = table.type_of(task.type)
    if isinstance(found, Nobody):
        return Directive(
            task_type=task_type, interface=None, reason=found.reason, rejected=found.rejected, warnings=warnings
        )
    first, *others = found.ranked
    directive = Directive(
        task_type=task_type,
        interface=first.name,
        reason=first.reason,
        tier=first.tier.value,
        model=first.model,
        last_resort=first.last_resort,
        others=tuple(one.name for one in others),
        rejected=found.rejected,
        warnings=warnings,
    )
    remember(brain, asked, directive)
    return directive


def agent_fields(brain: Brain, name: str) -> dict[str, object]:
    """The front matter that an agent of context/routing.md stands for. UserError where it has none of that name."""
    table, _ = brain.routing_table()
    agent = table.agent(name)
    if agent is None:
        known = ", ".join(sorted(one for one, _ in table.agents)) or "none"
        raise UserError(f"asking the agent {name!r}: context/routing.md has no agent of that name. It has: {known}.")
    model = {"model": agent.model} if agent.model else {}
    return {"preferred_interface": agent.interface, **model}


def task_of(brain: Brain, text: str, what: str) -> TaskSpec:
    """The task that a text is. UserError that says of `what` why it is none."""
    limits = ParseLimits(file_bytes=brain.config.task_bytes)
    parsed = parse_task("request.md", text.encode("utf-8", "surrogateescape"), limits=limits)
    if isinstance(parsed, Rejection):
        place = f"line {parsed.line}: " if parsed.line else ""
        raise UserError(f"reading {what}: {place}{parsed.message}")
    return parsed
