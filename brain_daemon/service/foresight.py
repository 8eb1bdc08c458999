"""What a dropped task may cost where it would go now, said before it starts if its prompt is long (setting estimate_tokens).

The interface is the first of the ranking as it stands; where the task runs in the end is decided at its start. Nothing fails
here: a task nobody can do has no estimate.
"""

from decimal import Decimal

from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.quotas import windows_of
from brain_daemon.policy.routing import Choice
from brain_daemon.record.wording import dollars
from brain_daemon.service.brain import Brain
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.estimates import NOTHING_SEEN, Guess, guess, kept
from brain_daemon.service.intake import Intake
from brain_daemon.service.limits import NoLimits
from brain_daemon.service.past import Past


def foresight(brain: Brain, task: TaskSpec) -> str | None:
    """The estimate in a sentence; None for a prompt that is short, or that nobody can take."""
    # A token is at least one byte.
    if task.size_bytes < brain.config.estimate_tokens:
        return None
    registry = brain.registry()
    past = Past(brain)
    table, _ = brain.routing_table()
    past.look(table, now=True)
    dispatch = Dispatch(brain.config, Intake(brain, brain.redactor(registry)), registry, NoLimits(), past)
    dispatch.interfaces_changed(table)
    choice = dispatch.route(task)
    if not isinstance(choice, Choice):
        return None
    first = choice.ranked[0]
    spec = registry.entries[first.name].spec
    guessed = guess(task.text, spec, first.model, kept(brain.journal).get(spec.name, NOTHING_SEEN))
    if guessed.prompt_tokens < brain.config.estimate_tokens:
        return None
    shares = "".join(
        f", {Decimal(guessed.tokens) / window.amount:.1%} of {window.amount:,f} tokens per {window.per}"
        for window in windows_of(spec.limits)
        if window.unit == "tokens"
    )
    return f"on {spec.name} it may need {_tokens(guessed)}, {_cost(guessed)}{shares}"


def _tokens(guessed: Guess) -> str:
    return f"{guessed.prompt_tokens:,} tokens ({guessed.basis}) and {guessed.output_tokens:,} for its answer"


def _cost(guessed: Guess) -> str:
    return "at a price nobody knows" if guessed.usd is None else f"about {dollars(guessed.usd)}"
