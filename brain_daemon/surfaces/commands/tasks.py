"""What a person does with tasks: cancel, retry, release. (`submit` stands in submitting.py, `new` and `lint` in linting.py.)"""

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import click

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import BrainError
from brain_daemon.model.quantities import parse_money
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.service.releases import NO_TERMS, Terms
from brain_daemon.service.reviving import revive
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.linting import lint_command, new_command
from brain_daemon.surfaces.commands.submitting import submit_command

__all__ = ["cancel_command", "lint_command", "new_command", "release_command", "retry_command", "submit_command"]

_ids = click.argument("task_ids", nargs=-1, required=True, metavar="ID...")


@click.command("cancel")
@_ids
@click.option("--why", default="cancelled by request", metavar="TEXT", help="Kept with the outcome.")
@json_option
@click.pass_obj
def cancel_command(call: Call, task_ids: tuple[str, ...], why: str, as_json: bool) -> None:
    """End tasks that have not ended. What runs is ended with everything it has started.

    Example: brain cancel task-001
    """
    _each(call, task_ids, lambda brain, task_id: actions.cancel(brain, task_id, why), as_json=as_json)


@click.command("retry")
@_ids
@json_option
@click.pass_obj
def retry_command(call: Call, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Run ended tasks again: back into pending/ as they were asked. The earlier outcome stays in git.

    Tasks that failed only because one of these had failed come back with it.

    Example: brain retry task-001
    """
    _each(call, task_ids, _retried, as_json=as_json)


def _retried(brain: Brain, task_id: str) -> str:
    retried = actions.retry(brain, task_id).task_id
    revived = revive(brain, retried, actions.retry)
    waiting = f", and with it {', '.join(revived)}, which had failed because of it" if revived else ""
    return f"{retried}: back in pending/{waiting}"


_ANY_BUDGET = "any"


def _budget(_context: click.Context, _option: click.Parameter, text: str | None) -> Terms:
    """No budget at all, or an exact amount of US dollars."""
    if text is None:
        return NO_TERMS
    if text == _ANY_BUDGET:
        return Terms(budget=True)
    try:
        usd = parse_money(text)
    except ValueError:
        raise click.BadParameter(
            f"found {text!r}, allowed are US dollars such as 2.50, or nothing at the end"
        ) from None
    return Terms(budget=True, budget_usd=usd)


@click.command("release")
@_ids
@click.option("--paid", is_flag=True, help="It may go to a paid interface, though cheaper ones could do it later.")
@click.option(
    "--budget",
    is_flag=False,
    flag_value=_ANY_BUDGET,
    callback=_budget,
    metavar="[AMOUNT]",
    help="No budget holds it up; with an amount, that is its own in place of all others.",
)
@click.option("--now", "at_once", is_flag=True, help="Beside --paid or --budget: it need not wait either.")
@json_option
@click.pass_obj
def release_command(
    call: Call, task_ids: tuple[str, ...], paid: bool, budget: Terms, at_once: bool, as_json: bool
) -> None:
    """Let tasks start now that wait, are held for you to decide, were interrupted, or are claimed by an agent that is gone.

    A release alone ends every wait: for a reset, a rate, a breaker, or the question near the end of a quota. It opens no paid
    interface and no budget. With --paid or --budget it opens just that, and the other limits hold.

    Example: brain release task-001 --budget 2.50
    """
    terms = replace(budget, paid=paid, at_once=at_once or not (paid or budget.budget))
    _each(call, task_ids, lambda brain, task_id: actions.release(brain, task_id, terms), as_json=as_json)


def _each(call: Call, task_ids: tuple[str, ...], act: Callable[[Brain, str], str], *, as_json: bool) -> None:
    """Do it to each; one that cannot be done stops none of the others, and the first fault gives the exit code."""
    code = 0
    facts: list[dict[str, object]] = []
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        for task_id in task_ids:
            try:
                said, done = act(brain, task_id), True
            except BrainError as error:
                said, done, code = str(error), False, code or error.exit_code
            facts.append({"task_id": task_id, "done": done, "said": said})
            if not as_json:
                click.echo(clean_line(said if done else f"brain: {said}", 1000), err=not done)
    if as_json:
        print_json({"tasks": facts})
    sys.exit(code)
