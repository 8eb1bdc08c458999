"""What a task with a long prompt may cost where it would go now, said before it starts (setting `estimate_tokens`).

`brain submit` says it of what it has dropped, the daemon of every task that it starts (`estimate`), into its log, onto the board
and into the result. Nothing is reserved or asked. Failures: StorageError and Damaged, as service/outlook.py has them.
"""

from collections.abc import Callable
from contextlib import closing
from decimal import Decimal

from brain_daemon.adapters.tokens import count
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.admission import Start
from brain_daemon.policy.quotas import windows_of
from brain_daemon.policy.routing import Choice, Nobody
from brain_daemon.record.wording import dollars, utc
from brain_daemon.service.brain import Brain
from brain_daemon.service.estimates import NOTHING_SEEN, Guess, guess, kept
from brain_daemon.service.outlook import Outlook, first_of

ESTIMATE = "estimate"
"""The key in an attempt's `routing` under which the sentence stands."""

_MOST_KEPT = 1_000

Find = Callable[[str], InterfaceSpec | None]


def foresight(brain: Brain, task: TaskSpec) -> str | None:
    """The estimate in a sentence, with what the task waits for, or why nobody takes it; None for a prompt that is short."""
    if not _may_be_long(brain, task):
        return None
    registry = brain.registry()
    with closing(Outlook(brain, registry)) as outlook:
        choice = outlook.choice(task)
        if isinstance(choice, Nobody):
            tokens = count(task.text).tokens
            refused = f"its prompt has {tokens:,} tokens, and nobody can take it now: {choice.reason}"
            return refused if tokens >= brain.config.estimate_tokens else None
        answer = outlook.admitted(task, choice)
    first = first_of(answer, choice)
    said = estimate(brain, task, registry.entries[first.name].spec, first.model)
    if said is None or isinstance(answer, Start):
        return said
    until = "" if answer.until is None else f" until {utc(answer.until)}"
    return f"{said}; now it waits{until}: {answer.reason}"


def estimate(brain: Brain, task: TaskSpec, spec: InterfaceSpec, model: str | None = None) -> str | None:
    """What a long prompt may need of an interface, in a sentence; None for a prompt that is short."""
    if not _may_be_long(brain, task):
        return None
    guessed = guess(task.text, spec, model, kept(brain.journal).get(spec.name, NOTHING_SEEN))
    if guessed.prompt_tokens < brain.config.estimate_tokens:
        return None
    shares = "".join(
        f", {_needed(guessed, window.unit) / window.amount:.1%} of {window.amount:,f} {window.unit} per {window.per}"
        for window in windows_of(spec.limits)
        if window.amount and (window.unit != "usd" or guessed.usd is not None)
    )
    return f"on {spec.name} it may need {_tokens(guessed)}, {_cost(guessed)}{shares}"


class Foreseen:
    """The estimates of tasks that wait, for the first of their choice as it stands, each reckoned once. For one thread."""

    def __init__(self, brain: Brain, route: Callable[[TaskSpec], Choice | Nobody], find: Find) -> None:
        self._brain = brain
        self._route = route
        self._find = find
        self._kept: dict[tuple[str, str, str | None], str] = {}

    def of(self, task: TaskSpec) -> str:
        """The sentence; empty for a prompt that is short, or that nobody can take."""
        choice = self._route(task) if _may_be_long(self._brain, task) else None
        if not isinstance(choice, Choice):
            return ""
        first = choice.ranked[0]
        spec, key = self._find(first.name), (task.sha256, first.name, first.model)
        if spec is not None and key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = estimate(self._brain, task, spec, first.model) or ""
        return self._kept.get(key, "")


def _may_be_long(brain: Brain, task: TaskSpec) -> bool:
    # A token is at least one byte.
    return task.size_bytes >= brain.config.estimate_tokens


def _needed(guessed: Guess, unit: str) -> Decimal:
    return {"messages": Decimal(1), "tokens": Decimal(guessed.tokens)}.get(unit, guessed.usd or Decimal(0))


def _tokens(guessed: Guess) -> str:
    return f"{guessed.prompt_tokens:,} tokens ({guessed.basis}) and {guessed.output_tokens:,} for its answer"


def _cost(guessed: Guess) -> str:
    return "at a price nobody knows" if guessed.usd is None else f"about {dollars(guessed.usd)}"
