"""How a run stands, found out from the records of its tasks and from nothing else, so that it is the same before and after a crash.

The way of a run is walked again from its beginning: a step begins once all it waits for has settled, its conditions and
its items follow from outputs that no longer change, and the ids of its tasks follow from those. What the walk does when a step begins
is the caller's affair: the driver sees to it that the tasks exist, `brain workflow status` only looks.

Failures: an output that cannot be read any more fails the step that gave it, with the reason.
"""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from brain_daemon.adapters.expressions import compiled, is_true, run_of
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import Damaged
from brain_daemon.model.expression import looked_into, paths_in
from brain_daemon.model.outcome import Reason, Status
from brain_daemon.model.workflow import MAX_ITEMS, Step, Workflow, task_id
from brain_daemon.model.workflow_text import items_of, looked_up, shown, unpacked
from brain_daemon.policy.workflow import Plan, Stand, StepState, answered_by, next_steps
from brain_daemon.service.brain import Brain
from brain_daemon.service.results import read_recorded
from brain_daemon.service.workflow_runs import RunRecord, kept

INLINE_CHARACTERS = 32_768
"""The longest output that stands in a prompt as a whole; all outputs of one prompt together have ALL_CHARACTERS."""

ALL_CHARACTERS = 262_144
_EXCERPT = 2_000
_MAX_HANDED_OVER = 50
_UNREADABLE = "its output cannot be read any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a task left: its text without the line ends at its end, and the file that has it, below the brain."""

    task_id: str
    text: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A prompt with everything in its place; `handed_over` are tasks of which only the beginning of the output stands in it."""

    text: str
    handed_over: tuple[str, ...]


@dataclass(slots=True)
class Begun:
    """A step that has begun: its tasks in the order of its items, which are None for a step without `for_each`."""

    task_ids: tuple[str, ...]
    items: tuple[object, ...] | None = None


@dataclass(slots=True)
class _Memory:
    """What the walk has found out and does not change any more."""

    begun: dict[str, Begun] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)


class Progress:
    """One run. `since` (epoch seconds) is when it was begun or resumed: failures from before count no try."""

    def __init__(self, brain: Brain, record: RunRecord, workflow: Workflow, since: float) -> None:
        self.record = record
        self.workflow = workflow
        self._brain = brain
        self._since = since
        self._memory = _Memory()

    def walk(self, begin: Callable[[Step, Begun], None] = lambda _step, _begun: None) -> Plan:
        """Go on as far as the records lead. `begin` hears of each step that begins; the plan is what is left to do then."""
        while True:
            plan = next_steps(self.workflow, self.states(), self._holds)
            fresh = [name for name in plan.begin if name not in self._memory.begun]
            if not fresh and not plan.skip:
                return plan
            self._memory.skipped |= dict(plan.skip)
            for name in fresh:
                self._begin(self.workflow.by_id[name], begin)

    def _begin(self, step: Step, begin: Callable[[Step, Begun], None]) -> None:
        try:
            begun = self._tasks_of(step)
            begin(step, begun)
        except Damaged as error:
            self._memory.faults[step.id] = str(error)
            return
        self._memory.begun[step.id] = begun

    def _tasks_of(self, step: Step) -> Begun:
        if step.for_each is None:
            return Begun((self._task_for(step, None),))
        items = self._items(step)
        if len(items) > MAX_ITEMS:
            raise Damaged(f"`for_each` has {len(items):,} items, and {MAX_ITEMS:,} are allowed")
        return Begun(tuple(self._task_for(step, number) for number, _ in enumerate(items, 1)), items)

    def _items(self, step: Step) -> tuple[object, ...]:
        assert step.for_each is not None
        if not step.for_each.name:
            return step.for_each.items
        value = self._value(step.for_each.name)
        return tuple(value) if isinstance(value, list) else tuple(items_of(shown(value)))

    def _task_for(self, step: Step, number: int | None) -> str:
        """The task of a step: its own, or the completed one of the run that this one goes on from, where the step is unchanged."""
        own = task_id(self.record.run, step.id, number)
        earlier: RunRecord | None = self.record
        while earlier is not None and step.id in earlier.keeps and earlier.continues is not None:
            name = task_id(earlier.continues, step.id, number)
            if self.exists(own):
                break
            if self.state_of(name).stand is Stand.COMPLETED:
                return name
            earlier = kept(self._brain.layout, earlier.continues)
        return own

    # how things stand

    def states(self) -> dict[str, StepState]:
        """The state of each step."""
        return {step.id: self._state(step) for step in self.workflow.steps}

    def give_up(self, name: str, why: str) -> None:
        """The step has failed, and no task of it says so."""
        self._memory.faults[name] = why

    def begun(self, name: str) -> Begun | None:
        """The tasks of a step that has begun."""
        return self._memory.begun.get(name)

    @property
    def under_way(self) -> list[str]:
        """The tasks of begun steps of which it is not known that they completed."""
        return [one for begun in self._memory.begun.values() for one in begun.task_ids if one not in self._memory.done]

    def _state(self, step: Step) -> StepState:
        memory = self._memory
        if step.id in memory.skipped:
            return StepState(stand=Stand.SKIPPED, why=memory.skipped[step.id])
        if step.id in memory.faults:
            return StepState(stand=Stand.FAILED, tries=1, final=True, why=memory.faults[step.id])
        if step.id not in memory.begun:
            return StepState()
        return _together([self.state_of(one) for one in memory.begun[step.id].task_ids])

    def state_of(self, name: str) -> StepState:
        """How one task stands."""
        if name in self._memory.done:
            return StepState(stand=Stand.COMPLETED)
        if self._lies_in(self._brain.layout.pending, name) or self._lies_in(self._brain.layout.active, name):
            return StepState(stand=Stand.RUNNING)
        state = self._ended_state(name)
        if state.stand is Stand.COMPLETED:
            self._memory.done.add(name)
        return state

    def _ended_state(self, name: str) -> StepState:
        attempts = self._brain.journal.attempts_of(name)
        if not attempts:
            return self._recorded_state(name)
        newest = attempts[-1]
        if newest.decision is not Decision.FINISH or newest.state not in (
            AttemptState.RECORDED,
            AttemptState.COMMITTED,
        ):
            return StepState(stand=Stand.RUNNING)
        if newest.status is Status.COMPLETED:
            return StepState(stand=Stand.COMPLETED)
        tries = sum(1 for one in attempts if _failed_since(one, self._since))
        reason = newest.reason.value if newest.reason else "failed"
        why = f"{reason}: {newest.message.splitlines()[0] if newest.message else ''}".rstrip(": ")
        return StepState(stand=Stand.FAILED, tries=tries, final=newest.reason is Reason.CANCELLED, why=why)

    def _recorded_state(self, name: str) -> StepState:
        """For a task that ended on another machine, or before this journal."""
        ended = self._brain.journal.ended_task(name)
        if ended is None:
            return StepState(stand=Stand.WAITING)
        if ended.status == Status.COMPLETED:
            return StepState(stand=Stand.COMPLETED)
        return StepState(
            stand=Stand.FAILED, tries=int((ended.finished_at or 0.0) >= self._since), why=ended.reason or ""
        )

    def exists(self, name: str) -> bool:
        """Whether the task was ever put into the queue, as far as anything here remembers."""
        return self.state_of(name).stand is not Stand.WAITING

    @staticmethod
    def _lies_in(folder: str, name: str) -> bool:
        return os.path.lexists(os.path.join(folder, f"{name}.md"))

    # outputs

    def outputs(self, name: str) -> list[Output] | None:
        """What a step gave, one for each of its tasks that completed; None where nothing stands for its output. Damaged."""
        giver = answered_by(self.workflow, self.states(), name)
        begun = self._memory.begun.get(name if giver is None else giver)
        state = self._state(self.workflow.by_id[name])
        if begun is None or (giver is None and begun.items is None) or state.stand is Stand.SKIPPED:
            return None
        return [self._output(one) for one in begun.task_ids if self.state_of(one).stand is Stand.COMPLETED]

    def _output(self, name: str) -> Output:
        ended = self._brain.journal.ended_task(name)
        if ended is None:
            raise Damaged(f"{name}: {_UNREADABLE}, since nothing tells where it is. `brain reindex` looks for it.")
        recorded = read_recorded(self._brain, ended)
        return Output(task_id=name, text=recorded.text.rstrip("\r\n"), path=recorded.path)

    def is_many(self, name: str) -> bool:
        """Whether the output of a step is a list: that of a step with `for_each`, or of one like it that stood in."""
        giver = answered_by(self.workflow, self.states(), name)
        return self.workflow.by_id[name if giver is None else giver].for_each is not None

    def _value(self, name: str) -> object:
        """A parameter's text, or an output: text, a list of texts, or None."""
        if name in self.record.params:
            return self.record.params[name]
        step = self.workflow.giver[name]
        found = self.outputs(step)
        if found is None:
            return None
        return [one.text for one in found] if self.is_many(step) else "".join(one.text for one in found)

    def _holds(self, step: Step) -> bool:
        assert step.when is not None
        try:
            root = self._seen_by(step.when)
        except Damaged:
            return False
        return is_true(run_of(root, compiled([step.when]), []).ask(step.when))

    def _seen_by(self, when: str) -> dict[str, object]:
        """What a `when` sees; outputs are read only where it may use them."""
        paths = paths_in(when)
        deep = looked_into(when)
        asked = {path[1] for path in paths if path[0] == "steps" and len(path) > 1}
        wide = any(path == ("steps",) for path in paths)
        steps = {
            name: {
                "status": state.stand.value,
                "output": self._asked(("steps", name, "output"), self.workflow.by_id[name].output, paths, deep)
                if wide or name in asked
                else None,
            }
            for name, state in self.states().items()
        }
        own = {path[0] for path in paths if path[0] in self.workflow.giver} | self.record.params.keys()
        named = {name: self._asked((name,), name, paths, deep) for name in own}
        params = {name: self._asked(("params", name), name, paths, deep) for name in self.record.params}
        return {**named, "params": params, "steps": steps}

    def _asked(
        self, place: tuple[str, ...], name: str, paths: Iterable[tuple[str, ...]], deep: Collection[tuple[str, ...]]
    ) -> object:
        """What a `when` finds at a place: a text, or the JSON that it is where the `when` looks into it."""
        value = self._value(name)
        inside = place in deep or any(path[: len(place)] == place != path for path in (*paths, *deep))
        return unpacked(value) if inside else value

    # prompts

    def fill(self, step: Step, begun: Begun, at: int) -> Filled:
        """The prompt of the step's task number `at` (from 0), with long outputs cut to their beginning and a pointer. Damaged."""
        left = [ALL_CHARACTERS]
        handed_over: dict[str, None] = {}

        def value(name: str) -> str:
            root, *path = name.split(".")
            if begun.items is not None and root == "item":
                return shown(looked_up(begun.items[at], path))
            if begun.items is not None and root == "index":
                return str(at + 1)
            if path or root in self.record.params:
                return shown(looked_up(self._value(root), path))
            found = self.outputs(self.workflow.giver[root]) or []
            return "\n\n".join(_inline(one, left, handed_over) for one in found)

        return Filled(text=step.prompt.fill(value), handed_over=tuple(handed_over)[:_MAX_HANDED_OVER])

    def parent_of(self, step: Step) -> str:
        """The task a step hangs below: the first task of the first step it waits for that has one, else the run itself."""
        states = self.states()
        for name in self.workflow.waits_for[step.id]:
            begun = self._memory.begun.get(answered_by(self.workflow, states, name) or name)
            if begun is not None and begun.task_ids:
                return begun.task_ids[0]
        return self.record.run

    def final_outputs(self) -> list[tuple[str, list[Output]]]:
        """The outputs that no other step uses or waits for, by their names: what the run was for."""
        awaited = {name for needs in self.workflow.waits_for.values() for name in needs}
        stand_ins = self.workflow.guards.keys()
        found = []
        for step in self.workflow.steps:
            given = None if step.id in awaited or step.id in stand_ins else self.outputs(step.id)
            if given:
                found.append((step.output, given))
        return found


def _failed_since(attempt: Attempt, since: float) -> bool:
    ended = attempt.ended
    return (
        attempt.decision is Decision.FINISH
        and attempt.status is Status.FAILED
        and ended is not None
        and ended.finished_at >= since
    )


def _together(states: Sequence[StepState]) -> StepState:
    """A step of several tasks: it runs while one of them does, and has failed where one of them has."""
    if any(one.stand in (Stand.RUNNING, Stand.WAITING) for one in states):
        waiting = all(one.stand is Stand.WAITING for one in states)
        return StepState(stand=Stand.WAITING if waiting and states else Stand.RUNNING)
    failed = [one for one in states if one.stand is Stand.FAILED]
    if not failed:
        return StepState(stand=Stand.COMPLETED)
    count = f"{len(failed)} of {len(states)} items: " if len(states) > 1 else ""
    return StepState(
        stand=Stand.FAILED,
        tries=max(one.tries for one in failed),
        final=any(one.final for one in failed),
        why=count + failed[0].why,
    )


def _inline(output: Output, left: list[int], handed_over: dict[str, None]) -> str:
    """An output as it stands in a prompt; `left` is how much all of them may still take."""
    if len(output.text) <= min(INLINE_CHARACTERS, left[0]):
        left[0] -= len(output.text)
        return output.text
    handed_over[output.task_id] = None
    return (
        f"{output.text[:_EXCERPT]}\n[...] (this is the beginning; the whole output of {output.task_id}, "
        f"{len(output.text):,} characters, stands in {output.path})"
    )
