"""`brain report`: how well a day went, against the targets and beside the day before."""

import time
from contextlib import closing
from datetime import UTC, date, datetime

import click

from brain_daemon.model.errors import UserError
from brain_daemon.record.report import facts, render
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.service.reporting import of_days, write
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.costs import first_day
from brain_daemon.surfaces.tables import say


@click.command("report")
@click.option("--day", metavar="DAY", help="A UTC day such as 2026-11-20; else today, so far.")
@click.option(
    "--since",
    metavar="DAY",
    help="From this day until now, beside as many days before it: a day, or an age such as 7d.",
)
@json_option
@click.pass_obj
def report_command(call: Call, day: str | None, since: str | None, as_json: bool) -> None:
    """Show how well a day went: compliance, completion, quota, overhead, errors, overrides, by mode.

    The page of a day is written to context/reports/DAY.md; a longer span is only shown. The daemon writes yesterday's by itself.

    Example: brain report --since 7d
    """
    if day is not None and since is not None:
        raise UserError("reporting: --day is one day and --since a span; give one of them.")
    today = datetime.now(UTC).date()
    first = date.fromisoformat(first_day(since or day or "today", today))
    last = today if since is not None else first
    if first > today:
        raise UserError(f"reporting on {first}: that day has not come yet.")
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        found = of_days(brain.journal, brain.registry().candidates({}), first, last, time.time())
        if since is None:
            write(brain, brain.files, first.isoformat(), found)
            actions.settle(brain)
    if as_json:
        print_json(facts(found))
    else:
        say(render(found).decode().rstrip("\n"))
