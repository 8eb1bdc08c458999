"""`brain rate`: what you think of a result. It weighs as much as three attempts where the next task is routed."""

from contextlib import closing

import click

from brain_daemon.service.brain import Brain
from brain_daemon.service.rating import rate
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say


@click.command("rate")
@click.argument("task_id", metavar="ID")
@click.argument("word", metavar="good|bad", type=click.Choice(["good", "bad"]))
@click.option("--why", default="", metavar="TEXT", help="Kept beside it, for people.")
@json_option
@click.pass_obj
def rate_command(call: Call, task_id: str, word: str, why: str, as_json: bool) -> None:
    """Say whether the result of an ended task was good. Rate it again to change your mind.

    Example: brain rate task-001 bad --why "the second table is made up"
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        given, interface = rate(brain, task_id, good=word == "good", why=why)
    if as_json:
        print_json(
            {
                "task_id": given.task_id,
                "attempt_id": given.attempt_id,
                "interface": interface,
                "good": given.good,
                "why": given.why or None,
                "at": given.at,
            }
        )
    else:
        say(
            f"{given.task_id}: {interface} did {'well' if given.good else 'badly'}; the next such task is routed with that in mind"
        )
