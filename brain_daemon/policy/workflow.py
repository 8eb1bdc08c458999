"""What a run of a workflow does next, given how its steps stand: begin, skip or try again, or end.

    waiting -> running -> completed
            |          -> failed      -> running (tried again)
            -> skipped

A step is *settled* when whatever waits for it may go on: it completed, was skipped, failed and the run goes on without it, or the step
that stands in for it has settled. It is *broken* when it failed and nothing is left to be done about it: the run then begins nothing
more and fails when all that runs has ended. Pure: the same states give the same plan, so a run that was cut off goes on from its records.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from brain_daemon.model.workflow import Step, Then, Workflow


class Stand(StrEnum):
    """How a step stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """`tries` counts how often it has failed since the run was begun or resumed; `final`: trying again is no use, as after a cancel."""

    stand: Stand = Stand.WAITING
    tries: int = 0
    final: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """All steps have settled: the run has completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """These steps are broken, and nothing runs any more."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, by the steps' ids; `skip` gives the reasons. Where there is nothing to do and no end, something runs."""

    begin: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    skip: tuple[tuple[str, str], ...] = ()
    end: Finish | Fail | None = None


def next_steps(workflow: Workflow, states: Mapping[str, StepState], holds: Callable[[Step], bool]) -> Plan:
    """The plan for a run whose steps stand like this; `holds` says whether the `when` of a step that could begin does."""
    now = dict(states)
    again = tuple(step.id for step in workflow.steps if _may_try_again(now, step))
    broken = tuple(step.id for step in workflow.steps if step.id not in again and _is_broken(workflow, now, step))
    if broken:
        runs = again or any(state.stand is Stand.RUNNING for state in now.values())
        return Plan(again=again, end=None if runs else Fail(steps=broken))
    begin: list[str] = []
    skip: list[tuple[str, str]] = []
    for step in workflow.in_order:
        if now[step.id].stand is not Stand.WAITING or not _is_due(workflow, now, step):
            continue
        why = _why_not(workflow, now, step, holds)
        if why:
            skip.append((step.id, why))
            now[step.id] = StepState(stand=Stand.SKIPPED, why=why)
        else:
            begin.append(step.id)
    over = not begin and not again and all(is_settled(workflow, now, step.id) for step in workflow.steps)
    return Plan(begin=tuple(begin), again=again, skip=tuple(skip), end=Finish() if over else None)


def is_settled(workflow: Workflow, states: Mapping[str, StepState], name: str) -> bool:
    """Whether what waits for the step may go on."""
    step, state = workflow.by_id[name], states[name]
    if state.stand is not Stand.FAILED:
        return state.stand in (Stand.COMPLETED, Stand.SKIPPED)
    if step.on_error.then is Then.FALLBACK:
        return is_settled(workflow, states, step.on_error.step)
    return step.on_error.then is Then.CONTINUE


def answered_by(workflow: Workflow, states: Mapping[str, StepState], name: str) -> str | None:
    """The step whose output stands for that of `name`: itself, or who stood in for it; None where there is no output."""
    step, stand = workflow.by_id[name], states[name].stand
    if stand is Stand.FAILED and step.on_error.then is Then.FALLBACK:
        return answered_by(workflow, states, step.on_error.step)
    return name if stand is Stand.COMPLETED else None


def _may_try_again(states: Mapping[str, StepState], step: Step) -> bool:
    """A failed step is tried as often as it asks for; one that failed before the run was resumed, and nothing was done about, once more."""
    state, rule = states[step.id], step.on_error
    if state.stand is not Stand.FAILED or (state.final and state.tries):
        return False
    handled = rule.then is Then.CONTINUE or (rule.then is Then.FALLBACK and _stood_in(states, rule.step))
    return not handled and state.tries <= rule.retries


def _stood_in(states: Mapping[str, StepState], name: str) -> bool:
    """Whether the one that stands in is not known to do nothing."""
    return states[name].stand is not Stand.SKIPPED


def _is_broken(workflow: Workflow, states: Mapping[str, StepState], step: Step) -> bool:
    if states[step.id].stand is not Stand.FAILED:
        return False
    match step.on_error.then:
        case Then.CONTINUE:
            return False
        case Then.FALLBACK:
            instead = workflow.by_id[step.on_error.step]
            return not _stood_in(states, instead.id) or _is_broken(workflow, states, instead)
        case _:
            return True


def _is_due(workflow: Workflow, states: Mapping[str, StepState], step: Step) -> bool:
    """Whether all that a waiting step waits for has settled, and for one that stands in, whether it is known if it is needed."""
    if not all(is_settled(workflow, states, name) for name in workflow.waits_for[step.id]):
        return False
    guarded = [states[name].stand for name in workflow.guards.get(step.id, ())]
    return not guarded or Stand.FAILED in guarded or all(stand in (Stand.COMPLETED, Stand.SKIPPED) for stand in guarded)


def _why_not(workflow: Workflow, states: Mapping[str, StepState], step: Step, holds: Callable[[Step], bool]) -> str:
    """Why a step that could begin is skipped; empty where it begins."""
    guarded = workflow.guards.get(step.id, ())
    if guarded and not any(states[name].stand is Stand.FAILED for name in guarded):
        return f"{' and '.join(guarded)} did not fail"
    awaited = workflow.waits_for[step.id]
    if step.when is not None:
        return "" if holds(step) else f"`{step.when}` does not hold"
    if awaited and not guarded and all(states[name].stand is Stand.SKIPPED for name in awaited):
        return f"{' and '.join(awaited)} {'was' if len(awaited) == 1 else 'were'} skipped"
    return ""
