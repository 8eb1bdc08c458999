"""Where tasks would go if they came now: the daemon's own choices and limits, asked by whoever only wants to know.

Each task that would start counts for those after it. What passes within minutes is left out (slots, memory, requests and tokens a
minute): over a queue that only says in which order. Nothing is reserved, asked or sent. Failures: StorageError and Damaged, as
the accounts of this user have them.
"""

import time
from dataclasses import replace

from brain_daemon.adapters.registry import Registry
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.policy.admission import Hold, Slots, Start, admit
from brain_daemon.policy.routing import Choice, Nobody, Ranked
from brain_daemon.service.brain import Brain
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.gate import Gate
from brain_daemon.service.intake import Intake
from brain_daemon.service.past import Past

_ONE_SLOT = Slots(total_free=1)


class Outlook:
    """For one look at one brain, closed afterwards."""

    def __init__(self, brain: Brain, registry: Registry) -> None:
        table, _ = brain.routing_table()
        past = Past(brain)
        past.look(table, now=True)
        specs = {entry.spec.name: _without_rates(entry.spec) for entry in registry.entries.values()}
        unbounded = replace(brain, config=replace(brain.config, client_memory_bytes=0))
        self._gate = Gate(unbounded, specs.values, specs.get, looks_only=True)
        self._dispatch = Dispatch(brain.config, Intake(brain, Redactor()), registry, self._gate, past)
        self._dispatch.interfaces_changed(table)
        self._on_limit = OnLimit(brain.config.on_limit)
        self._gate.open()
        self._gate.begin()

    def close(self) -> None:
        self._gate.close()

    def choice(self, task: TaskSpec) -> Choice | Nobody:
        """Who may do it, in the order of this very task."""
        task = self._gate.released(task)
        found = self._dispatch.choices.route(task)
        return found if isinstance(found, Nobody) else self._dispatch.choices.drawn(found, task)

    def admitted(self, task: TaskSpec, choice: Choice) -> Start | Hold:
        """Whether it may start, beside those that were asked about before it, and where."""
        task = self._gate.released(task)
        on_limit = task.on_limit or self._on_limit
        answer = admit(
            choice,
            slots=_ONE_SLOT,
            now=time.time(),
            on_limit=on_limit,
            closed=lambda one: self._dispatch.choices.away(one) or self._gate.closed(task, one, choice, on_limit),
        )
        if isinstance(answer, Start):
            self._gate.planned(task, answer.ranked)
        return answer


def first_of(answer: Start | Hold, choice: Choice) -> Ranked:
    """Where it goes, or what it most likely waits for."""
    return answer.ranked if isinstance(answer, Start) else choice.ranked[0]


def _without_rates(spec: InterfaceSpec) -> InterfaceSpec:
    return replace(spec, limits=replace(spec.limits, requests_per_minute=None, tokens_per_minute=None))
