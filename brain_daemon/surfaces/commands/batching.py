"""`brain batch`: a file of tasks, with a forecast before and an account after. The same file again goes on where it stopped."""

import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.model.parsing import ParseLimits
from brain_daemon.record.wording import dollars, duration
from brain_daemon.service.batch_run import BatchRun, Standing, account
from brain_daemon.service.batching import Batch, read_file
from brain_daemon.service.brain import Brain
from brain_daemon.service.forecast import forecast, told
from brain_daemon.store.locks import running_daemon
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import Column, say, show

_BY_INTERFACE = (
    Column("INTERFACE"),
    Column("ATTEMPTS", right=True),
    Column("COMPLETED", right=True),
    Column("TOKENS IN", right=True),
    Column("OUT", right=True),
    Column("COST", right=True),
)
_MOST_SAID = 10
_FIGURES = re.compile(r"[0-9][0-9.,:TZ-]*")


@click.command("batch")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("-i", "--input", "source", type=click.Path(exists=True, dir_okay=False), help="The same as FILE.")
@click.option("-o", "--output", metavar="OUT", help="Where the account goes; else FILE with the ending .results.json.")
@click.option("--yes", is_flag=True, help="Start without asking.")
@click.option(
    "--parallel", type=click.IntRange(min=1), metavar="N", help="How many of them at the same time; else `parallel`."
)
@click.option("--fail-fast", is_flag=True, help="After the first failure start no more of them.")
@json_option
@click.pass_obj
def batch_command(
    call: Call,
    file: str | None,
    source: str | None,
    output: str | None,
    yes: bool,
    parallel: int | None,
    fail_fast: bool,
    as_json: bool,
) -> None:
    """Run the tasks of a JSON, YAML or CSV file: all are checked, then forecast, then run side by side.

    Exit 1 if one has failed or does not go on. The same file again redoes nothing that has ended.

    Example: brain batch questions.csv --parallel 4
    """
    if (file is None) is (source is None):
        raise click.UsageError("name one batch file: FILE, or -i FILE")
    path = file or source or ""
    with closing(Brain.open(call.brain_root, call.environment, {"parallel": parallel})) as brain:
        batch = read_file(path, ParseLimits(file_bytes=brain.config.task_bytes))
        with _display(batch) as note:
            run = BatchRun(brain, batch, parallel=parallel or brain.config.parallel, fail_fast=fail_fast, note=note)
            _before(brain, batch, run, yes=yes)
            standing = run.run()
        facts = account(brain, standing)
        place = os.path.abspath(output or f"{os.path.splitext(path)[0]}.results.json")
        brain.files.put(place, (json.dumps(facts, indent=2, ensure_ascii=False, default=str) + "\n").encode())
    if as_json:
        print_json(facts)
    else:
        _print(facts, standing, place)
    sys.exit(0 if facts["completed"] == facts["tasks"] else 1)


def _before(brain: Brain, batch: Batch, run: BatchRun, *, yes: bool) -> None:
    """Say what is to come, and ask a person who is there."""
    done = len(run.standing.ended)
    if done:
        say(f"{done} of {len(batch.rows)} have ended in an earlier run of this file and are not done again.", err=True)
    if not run.left:
        return
    for warning in batch.warnings[:_MOST_SAID]:
        say(f"note: {warning}", err=True)
    for line in told(forecast(brain, brain.registry(), [row.task for row in run.left])):
        say(line, err=True)
    if running_daemon(brain.layout) is None:
        say("No daemon runs: this process works through the queue.", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"starting {batch.source}: nobody can be asked here, and nothing was started. --yes starts it.")
    click.confirm("Start?", default=False, abort=True, err=True)


@contextmanager
def _display(batch: Batch) -> Iterator[Callable[[Standing], None]]:
    """A bar on a terminal, drawn from the first news on; elsewhere a line for each task that ends."""
    if not sys.stderr.isatty():
        yield _lines(batch)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    bar = progress.add_task("", total=len(batch.rows))

    def note(standing: Standing) -> None:
        progress.start()
        progress.update(bar, completed=len(standing.ended), description=_state(standing))

    try:
        yield note
    finally:
        progress.stop()


def _lines(batch: Batch) -> Callable[[Standing], None]:
    rows = len(batch.rows)
    ids = {row.task.id for row in batch.rows}
    # A row that waits for another one of the file comes in its turn: that is no news.
    in_turn = {row.task.id for row in batch.rows if not ids.isdisjoint(row.task.waits_for)}
    said: set[str] = set()
    waits: set[str] = set()

    def note(standing: Standing) -> None:
        for count, (task_id, record) in enumerate(standing.ended.items(), start=1):
            if task_id not in said and task_id not in standing.earlier:
                said.add(task_id)
                reason = f" ({record.reason})" if record.reason else ""
                say(f"{count}/{rows} {task_id} {record.status}{reason}", err=True)
        for kind, (ids, why) in _by_reason(standing, without=in_turn).items():
            if kind not in waits:
                waits.add(kind)
                say(f"{_who_waits(ids)}: {clean_line(why, 300)}", err=True)

    return note


def _by_reason(standing: Standing, without: Collection[str] = ()) -> dict[str, tuple[list[str], str]]:
    """Those that wait, together where they wait for the same, which may differ in its figures; with the words of the first."""
    found: dict[str, tuple[list[str], str]] = {}
    for task_id, why in standing.waiting.items():
        if task_id not in without:
            found.setdefault(_FIGURES.sub("0", why), ([], why))[0].append(task_id)
    return found


def _who_waits(ids: Sequence[str]) -> str:
    return f"{ids[0]} waits" if len(ids) == 1 else f"{len(ids):,} tasks wait (the first is {ids[0]})"


def _state(standing: Standing) -> str:
    waiting = f", {len(standing.waiting)} wait" if standing.waiting else ""
    return f"{standing.completed} completed, {standing.failed} failed, {standing.under_way} under way{waiting}"


def _print(facts: dict[str, Any], standing: Standing, place: str) -> None:
    counts = [
        f"{facts[key]} {key.replace('_', ' ')}"
        for key in ("completed", "failed", "waiting", "under_way", "not_started")
        if facts[key]
    ]
    cost = "an unknown cost" if facts["total"]["cost_usd"] is None else dollars(Decimal(facts["total"]["cost_usd"]))
    say(
        f"{facts['batch']}: {', '.join(counts)} of {facts['tasks']}, in {duration(facts['duration_seconds'])}, for {cost}."
    )
    if facts["by_interface"]:
        say()
        show(_BY_INTERFACE, [_interface_row(one) for one in facts["by_interface"]])
    failed = [one for one in facts["results"] if one["status"] == "failed"]
    for one in failed[:_MOST_SAID]:
        say(f"row {one['row']}: {one['task_id']} failed ({one['reason']}): `brain show {one['task_id']}`", err=True)
    for ids, why in list(_by_reason(standing).values())[:_MOST_SAID]:
        say(f"{_who_waits(ids)}: {clean_line(why, 300)}", err=True)
    if facts["completed"] + facts["failed"] < facts["tasks"]:
        say("The same command goes on with what is left.", err=True)
    say(f"The account, with every result: {place}")


def _interface_row(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        one["interface"] or "(none)",
        f"{one['attempts']:,}",
        f"{one['completed']:,}",
        f"{one['input_tokens']:,}",
        f"{one['output_tokens']:,}",
        "unknown" if one["cost_usd"] is None else dollars(Decimal(one["cost_usd"])),
    )
