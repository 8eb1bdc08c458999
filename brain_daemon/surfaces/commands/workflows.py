"""`brain workflow`: check a workflow's file, run it, see how a run stands, go on with one, end one.

Standard output has the outputs of a run and nothing else; what is said on the way goes to standard error.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import UserError
from brain_daemon.model.task import Priority
from brain_daemon.policy.workflow import Stand
from brain_daemon.record.ledger import Totals
from brain_daemon.record.wording import dollars
from brain_daemon.service import workflow_requests as requests
from brain_daemon.service.brain import Brain
from brain_daemon.service.chains import find_chain
from brain_daemon.service.waiting import Awaited, Note, Unended, wait_for
from brain_daemon.service.workflow_requests import Changes, RunView
from brain_daemon.service.workflow_runs import all_kept, definitions, read_definition, said
from brain_daemon.store.locks import running_daemon
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

_STEPS = (Column("STEP"), Column("STATE", whole=True, styles=STATE_STYLES), Column("TASKS"), Column("WHY"))
_FILES = (Column("WORKFLOW"), Column("FILE"), Column("STEPS", right=True), Column("PARAMETERS"))
_RUNS = (Column("RUN"), Column("WORKFLOW"), Column("STATE", styles=STATE_STYLES))
_STYLES = {
    "running": "cyan",
    "held": "yellow",
    "completed": "green",
    "failed": "red",
    "skipped": "dim",
    "waiting": "dim",
}
_LOOK_SECONDS = 0.3


@click.group("workflow")
def workflow_command() -> None:
    """Run workflows: steps in a YAML file that become the tasks of one chain.

    Example: brain workflow run nightly --param topic=bees
    """


def _params(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"`{value}`: write NAME=VALUE")
        found[name.strip()] = rest
    return found


@workflow_command.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
@click.pass_obj
def check_command(call: Call, files: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with workflow files, each fault with its line; exit code 1 if anything is.

    Example: brain workflow check nightly
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        agents = requests.agent_names(brain)
        found = []
        for wanted in files:
            path = requests.located(brain, wanted)
            reading, _ = read_definition(path, agents)
            found.append((wanted, reading))
    if as_json:
        print_json([_checked(wanted, reading) for wanted, reading in found])
    else:
        for wanted, reading in found:
            _say_checked(wanted, reading)
    sys.exit(1 if any(reading.workflow is None for _, reading in found) else 0)


def _checked(wanted: str, reading: Any) -> dict[str, Any]:
    return {
        "file": wanted,
        "ok": reading.workflow is not None,
        "faults": [{"line": one.line, "place": one.place, "message": one.message} for one in reading.faults],
        "warnings": list(reading.warnings),
        "order": [step.id for step in reading.workflow.in_order] if reading.workflow else [],
        "params": [param.name for param in reading.workflow.wanted_params()] if reading.workflow else [],
    }


def _say_checked(wanted: str, reading: Any) -> None:
    for fault in reading.faults:
        say(said(fault, wanted))
    for warning in reading.warnings:
        say(f"{wanted}: note: {warning}")
    if reading.workflow is not None:
        params = ", ".join(param.name for param in reading.workflow.wanted_params())
        say(f"{wanted}: ok, {len(reading.workflow.steps)} steps" + (f"; parameters: {params}" if params else ""))


@workflow_command.command("run")
@click.argument("wanted", metavar="FILE")
@click.option(
    "--param", "params", multiple=True, callback=_params, metavar="NAME=VALUE", help="The value of a parameter."
)
@click.option("--priority", type=click.Choice([word.value for word in Priority]), help="Whose turn comes first.")
@click.option("--chain", metavar="NAME", help="The chain it belongs to; else it begins one of its own.")
@click.option("--no-wait", is_flag=True, help="Drop it and return; print the run's id.")
@json_option
@click.pass_obj
def run_command(
    call: Call,
    wanted: str,
    params: dict[str, str],
    priority: str | None,
    chain: str | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Run a workflow and wait for its end: FILE, or the name of a file in brain/workflows/. Exit code 1 if it fails.

    Example: brain workflow run nightly --param topic=bees
    """
    extra = {key: value for key, value in (("priority", priority), ("chain", chain)) if value}
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        awaited = requests.ask_for(brain, wanted, params, extra)
        code = (_say_dropped if no_wait else _wait)(brain, awaited, as_json=as_json)
    sys.exit(code)


def _say_dropped(brain: Brain, awaited: Awaited, *, as_json: bool) -> int:
    daemon = running_daemon(brain.layout) is not None
    if as_json:
        print_json({"run": awaited.task_id, "daemon": daemon})
    else:
        click.echo(awaited.task_id)
        if not daemon:
            click.echo("no daemon runs: `brain run` starts one, `brain workflow resume` goes on here", err=True)
    return 0


def _wait(brain: Brain, awaited: Awaited, *, as_json: bool) -> int:
    """See the run through; 0 where it completed."""
    click.echo(f"run {awaited.task_id}", err=True)
    with _progress(brain, awaited.task_id) as note:
        found = wait_for(brain, awaited, note)
    shown = requests.view(brain, requests.record_of(brain, awaited.task_id)) if _is_known(brain, awaited) else None
    if isinstance(found, Unended):
        if as_json and shown is not None:
            print_json(_facts(brain, shown))
        why = _what_holds(shown) or found.why
        click.echo(f"brain: {awaited.task_id} {clean_line(why, 1000)}", err=True)
        return 1
    if as_json and shown is not None:
        print_json(_facts(brain, shown))
    elif shown is not None:
        _say_outputs(shown)
    if found.status != "completed":
        click.echo(
            f"brain: {awaited.task_id} failed ({found.reason}): `brain show {awaited.task_id}` says why", err=True
        )
        return 1
    return 0


def _is_known(brain: Brain, awaited: Awaited) -> bool:
    try:
        requests.record_of(brain, awaited.task_id)
    except UserError:
        return False
    return True


def _what_holds(shown: RunView | None) -> str:
    """What a run waits for that waiting does not bring: the tasks of its running steps."""
    steps = [step for step in shown.steps if step.state.stand is Stand.RUNNING] if shown else []
    held = [f"{step.id} is held: {step.held}" for step in steps if step.held]
    if held:
        return "has not ended: " + "; ".join(held[:5])
    running = [task for step in steps for task in step.tasks]
    if not running:
        return ""
    return f"has not ended: {', '.join(running[:5])} did not start or waits for you; `brain list` says why"


def _say_outputs(shown: RunView) -> None:
    for name, text in shown.outputs.items():
        whole = clean_text(text) if sys.stdout.isatty() else text
        if len(shown.outputs) > 1:
            click.echo(f"## {name}\n")
        click.echo(whole)


@contextmanager
def _progress(brain: Brain, run: str) -> Iterator[Note]:
    """The steps as they go: a live table on a terminal, elsewhere one line for each change."""
    due = 0.0
    known: dict[str, str] = {}
    terminal = sys.stderr.isatty()
    # rich's own refresh would read the journal from another thread.
    live = Live(auto_refresh=False, transient=True) if terminal else None

    def look() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + _LOOK_SECONDS
        try:
            shown = requests.view(brain, requests.record_of(brain, run))
        except UserError:
            return  # not begun yet
        if live is not None:
            live.update(_drawn(shown), refresh=True)
        else:
            _say_changes(shown, known)

    if live is not None:
        live.console.stderr = True
        with live:
            yield lambda _text: look()
    else:
        yield lambda _text: look()
        due = 0.0
        look()


def _drawn(shown: RunView) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for step in shown.steps:
        state = step.stands
        many = f"{step.completed} of {len(step.tasks)}" if len(step.tasks) > 1 else ""
        table.add_row(step.id, Text(state, style=_STYLES[state]), many, clean_line(step.why, 60))
    return table


def _say_changes(shown: RunView, known: dict[str, str]) -> None:
    for step in shown.steps:
        state = step.stands
        if step.state.stand is not Stand.WAITING and known.get(step.id) != state:
            known[step.id] = state
            why = f": {clean_line(step.why, 300)}" if step.why else ""
            click.echo(f"{step.id} {state}{why}", err=True)


@workflow_command.command("status")
@click.argument("wanted", metavar="RUN")
@json_option
@click.pass_obj
def status_command(call: Call, wanted: str, as_json: bool) -> None:
    """Show how a run stands; RUN is its id, or the name of a workflow for its newest run.

    Example: brain workflow status nightly
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        record = requests.record_of(brain, wanted)
        shown = requests.view(brain, record)
        if as_json:
            return print_json(_facts(brain, shown))
        _say_status(brain, shown)
        found = requests.changes(brain, record) if shown.state != "completed" else None
    if found is not None:
        say(f"note: {_changed_words(shown.run, found)}")
    return None


def _totals(brain: Brain, shown: RunView) -> Totals | None:
    try:
        return find_chain(brain, shown.chain).totals
    except UserError:
        return None


def _facts(brain: Brain, shown: RunView) -> dict[str, Any]:
    totals = _totals(brain, shown)
    return {
        "run": shown.run,
        "workflow": shown.name,
        "state": shown.state,
        "source": shown.source,
        "chain": shown.chain,
        "params": dict(shown.params),
        "steps": [
            {
                "id": step.id,
                "state": step.stands,
                "why": step.why or None,
                "tasks": list(step.tasks),
                "completed": step.completed,
            }
            for step in shown.steps
        ],
        "outputs": dict(shown.outputs),
        "cost_usd": str(totals.known_usd) if totals else "0",
        "unknown_costs": totals.unknown if totals else 0,
    }


def _say_status(brain: Brain, shown: RunView) -> None:
    rows = []
    for step in shown.steps:
        tasks = f"{step.completed} of {len(step.tasks)}" if len(step.tasks) > 1 else "".join(step.tasks)
        rows.append([step.id, step.stands, tasks, step.why])
    totals = _totals(brain, shown)
    cost = f", {dollars(totals.known_usd)} so far" if totals else ""
    show(_STEPS, rows, f"Run {shown.run} of {shown.name}: {shown.state}{cost}")


@workflow_command.command("resume")
@click.argument("wanted", metavar="RUN")
@click.option(
    "--changed", "take", flag_value="changed", help="Where its file has changed: go on with the file as it is now."
)
@click.option(
    "--keep", "take", flag_value="keep", help="Where its file has changed: go on by what the run was begun with."
)
@json_option
@click.pass_obj
def resume_command(call: Call, wanted: str, take: str | None, as_json: bool) -> None:
    """Go on with a run and wait for its end; what has completed is not done again. Exit code 1 if it fails.

    Where its file has changed since, the changed steps and those that follow them are named, and you are asked.

    Example: brain workflow resume nightly
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        record = requests.record_of(brain, wanted)
        found = requests.changes(brain, record) if take != "keep" else None
        if found is not None and _takes(record.run, found, take):
            awaited = requests.resume_changed(brain, record, found)
        else:
            awaited = requests.resume(brain, record)
        code = _wait(brain, awaited, as_json=as_json)
    sys.exit(code)


def _takes(run: str, found: Changes, take: str | None) -> bool:
    """Whether to go on with the changed file. UserError where nobody can be asked."""
    words = _changed_words(run, found)
    if take == "changed":
        click.echo(words, err=True)
        return True
    if not sys.stdin.isatty():
        raise UserError(
            f"{words} Say --changed to go on with the file as it is now, or --keep with what the run began with."
        )
    click.echo(words, err=True)
    return click.confirm("Go on with the changed file?", default=False, err=True)


def _changed_words(run: str, found: Changes) -> str:
    parts = [
        f"changed: {', '.join(found.changed)}" if found.changed else "",
        f"following from them: {', '.join(found.following)}" if found.following else "",
        f"gone: {', '.join(found.gone)}" if found.gone else "",
    ]
    listed = "; ".join(part for part in parts if part)
    return f"{found.path} has changed since the run {run} began ({listed}). With it, these steps are done anew."


@workflow_command.command("cancel")
@click.argument("wanted", metavar="RUN")
@click.pass_obj
def cancel_command(call: Call, wanted: str) -> None:
    """End a run and its tasks that have not ended; what has completed stays.

    Example: brain workflow cancel nightly
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        say(requests.cancel(brain, requests.record_of(brain, wanted)))


@workflow_command.command("list")
@json_option
@click.pass_obj
def list_command(call: Call, as_json: bool) -> None:
    """List the workflows of this brain, and the runs this machine knows.

    Example: brain workflow list
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        files = [_listed(brain, path) for path in definitions(brain.layout)]
        runs = [
            {"run": one.run, "workflow": one.name, "state": requests.state_of(brain, one.run)}
            for one in all_kept(brain.layout)
        ]
    if as_json:
        return print_json({"workflows": files, "runs": runs})
    if not files and not runs:
        say("There is no workflow yet: put one into brain/workflows/, or `brain workflow run FILE`.")
    show(_FILES, [[one["name"], one["file"], str(one["steps"]), ", ".join(one["params"])] for one in files])
    show(_RUNS, [[one["run"], one["workflow"], one["state"]] for one in runs])
    return None


def _listed(brain: Brain, path: str) -> dict[str, Any]:
    reading, _ = read_definition(brain.layout.inside(path))
    found = reading.workflow
    return {
        "name": found.name if found else "(has faults)",
        "file": path,
        "steps": len(found.steps) if found else 0,
        "params": [param.name for param in found.wanted_params()] if found else [],
    }
