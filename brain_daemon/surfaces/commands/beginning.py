"""`brain init` and `brain demo`: a brain of one's own, and one that has already done something."""

import asyncio
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import click
from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.cost_row import CostRow
from brain_daemon.record.ledger import total
from brain_daemon.record.wording import cost, dollars, duration
from brain_daemon.service import creation
from brain_daemon.service.brain import Brain
from brain_daemon.service.creation import Created
from brain_daemon.service.daemon_log import logging_to
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.service.waiting import Recorded, read_recorded
from brain_daemon.store.journal import Hold, TaskRecord
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say

_WIDTH = 80
_MARKS = {"completed": "[green]completed[/]", "failed": "[red]failed[/]", "held": "[yellow]held[/]"}


@click.command("init")
@click.argument("folder", default=".", metavar="[DIR]")
@json_option
@click.pass_obj
def init_command(call: Call, folder: str, as_json: bool) -> None:
    """Make a brain in a folder (this one by default): its files, a git repository if there is none, one first commit.

    Nothing that exists is overwritten. Example: brain init ~/brain
    """
    made = creation.init(folder, call.environment)
    if as_json:
        return print_json(_created_facts(made))
    for line in _created_lines(made):
        say(line)
    return None


def _created_facts(made: Created) -> dict[str, Any]:
    return {
        "brain": made.root,
        "new_repository": made.new_repository,
        "written": list(made.written),
        "extended": list(made.extended),
        "kept": list(made.kept),
        "commit": made.commit,
        "not_committed_because": made.why_not or None,
    }


def _created_lines(made: Created) -> Iterable[str]:
    if not made.written and not made.extended:
        yield f"{made.root} is a brain already: all {len(made.kept)} of its first files are there."
    else:
        yield f"A brain in {made.root}{', with a git repository of its own' if made.new_repository else ''}"
        yield f"  {len(made.written)} files written" + (
            f", {len(made.kept)} were there and stay as they are" if made.kept else ""
        )
    if made.extended:
        yield f"  lines added to {' and '.join(made.extended)}"
    if made.commit:
        yield f"  first commit {made.commit[:7]}"
    if made.why_not:
        yield f"  not committed: {made.why_not}. `brain init` again does it later."
    yield ""
    yield "Next:"
    if made.root != os.path.realpath("."):
        yield f"  cd {shlex.quote(made.root)}"
    yield "  brain interfaces      who can work, and what the others lack"
    yield '  brain submit "What is in this brain?" --interface librarian --wait'
    yield "  brain run             and drop files into brain/tasks/pending/"


@click.command("demo")
@click.argument("folder", required=False, metavar="[DIR]")
@json_option
@click.pass_obj
def demo_command(call: Call, folder: str | None, as_json: bool) -> None:
    """Make a brain in DIR (a temporary folder by default), run six tasks in it and show what came out. No account is needed.

    Example: brain demo
    """
    root = folder or tempfile.mkdtemp(prefix="brain-demo-")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    busy = console.status("six tasks are under way") if sys.stdout.isatty() and not as_json else nullcontext()
    with busy:
        made = creation.init(root, call.environment)
        creation.fill_demo(made.root)
        began = time.monotonic()
        with closing(Brain.open(made.root, call.environment, dict(creation.DEMO_FLAGS))) as brain:
            _run(brain)
            shown = _look(brain, made, time.monotonic() - began)
    if as_json:
        print_json(_shown_facts(shown))
    else:
        _print(console, shown)
    sys.exit(0 if shown.as_expected else 1)


def _run(brain: Brain) -> None:
    redactor = brain.redactor(brain.registry())
    with logging_to(brain.layout.state, brain.files, brain.config.log_bytes, redactor, None):
        asyncio.run(Supervisor(brain, once=True).run())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What the demonstration left behind."""

    made: Created
    seconds: float
    ended: tuple[tuple[TaskRecord, Recorded], ...]
    held: tuple[Hold, ...]
    rows: tuple[CostRow, ...]
    log: tuple[str, ...]
    message: str
    status: str

    @property
    def as_expected(self) -> bool:
        return {record.task_id: record.status for record, _ in self.ended} == dict(creation.DEMO_OUTCOMES)


def _look(brain: Brain, made: Created, seconds: float) -> _Shown:
    records = brain.journal.ended_tasks()
    git = None if brain.repository is None else brain.repository.git
    log = "" if git is None else git.run("log", "--oneline", "--no-decorate").decode("utf-8", "replace")
    sha = brain.journal.commit_of("shout")
    message = "" if git is None or not sha else git.run("log", "-1", "--format=%B", sha).decode("utf-8", "replace")
    status = "" if git is None else git.run("status", "--short").decode("utf-8", "replace")
    return _Shown(
        made=made,
        seconds=seconds,
        ended=tuple((record, read_recorded(brain, record)) for record in reversed(records)),
        held=tuple(brain.journal.holds()),
        rows=tuple(map(CostRow.from_values, brain.journal.outcomes())),
        log=tuple(log.splitlines()),
        message=message,
        status=status,
    )


def _shown_facts(shown: _Shown) -> dict[str, Any]:
    return {
        "brain": shown.made.root,
        "seconds": round(shown.seconds, 3),
        "as_expected": shown.as_expected,
        "tasks": [
            {
                "task_id": record.task_id,
                "state": record.status,
                "reason": record.reason,
                "interface": recorded.values.get("interface"),
                "routing": (recorded.values.get("routing") or {}).get("reason"),
                "cost_usd": recorded.values.get("cost_usd"),
                "cost_basis": recorded.values.get("cost_basis"),
                "path": record.path,
                "text": recorded.text,
            }
            for record, recorded in shown.ended
        ],
        "held": [{"task_id": hold.task_id, "why": hold.reason} for hold in shown.held],
        "log": list(shown.log),
    }


# the page


def _print(console: Console, shown: _Shown) -> None:
    console.print(f"\n[bold]A brain[/] in {escape(shown.made.root)}", soft_wrap=True)
    console.print("[dim]A folder in git. All that follows is a text file in it, or a commit.[/]\n")
    _part(console, "An interface is a markdown file", "tools/interfaces/upper.md was written there:")
    console.print(_block(Text(creation.UPPER.rstrip())))
    _part(console, f"Six tasks were dropped into brain/tasks/pending/; {duration(shown.seconds)} later:")
    console.print(_outcomes(shown))
    _part(
        console,
        "Why each went where it did",
        "Kept with every result. This ran with `local_only`: no account was used.",
    )
    console.print(_reasons(shown))
    _part(console, "Two answers", "They stand in brain/tasks/completed/, below the text that asked.")
    _answers(console, shown)
    _part(console, "A mistake is explained, and stops nothing else")
    _failures(console, shown)
    _part(
        console,
        "What nobody can do yet is held",
        "It starts by itself once an interface can do it. Also in context/board.md.",
    )
    held = [f"[bold]{escape(hold.task_id)}[/]: {escape(clean_line(hold.reason, 300))}" for hold in shown.held]
    console.print(_block("\n".join(held)))
    _part(console, "What it cost", "One row an attempt in logs/costs/, today's use in context/usage.md.")
    console.print(_costs(shown))
    _part(console, "git log", "One commit an outcome, which answers for itself:")
    _commits(console, shown)
    _next(console, shown)


def _block(content: Any, *, above: int = 1, below: int = 1) -> Padding:
    """Indented, with room around it."""
    return Padding(content, (above, 0, below, 4), expand=False)


def _part(console: Console, title: str, more: str = "") -> None:
    console.print(f"[bold cyan]{escape(title)}[/]")
    if more:
        console.print(f"[dim]{escape(more)}[/]")


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def _outcomes(shown: _Shown) -> Padding:
    table = _table("TASK", "STATE", "BY", "TOOK", "COST")
    for record, recorded in shown.ended:
        row = next((row for row in shown.rows if row.task_id == record.task_id), None)
        took = _took(row.duration_seconds) if row and row.interface else "-"
        paid = cost(row.cost_usd, row.cost_basis) if row and row.interface else "-"
        table.add_row(record.task_id, _MARKS[record.status], recorded.values.get("interface") or "-", took, paid)
    for hold in shown.held:
        table.add_row(escape(hold.task_id), _MARKS["held"], "-", "-", "-")
    return _block(table)


def _reasons(shown: _Shown) -> Padding:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column()
    for record, recorded in shown.ended:
        routing = recorded.values.get("routing") or {}
        if routing:
            table.add_row(record.task_id, recorded.values.get("interface"), escape(str(routing.get("reason", ""))))
    lines: list[Any] = [table]
    rejected = _rejected(shown)
    if rejected:
        lines.append(Text(f"\nNot asked for `shout`: {rejected}", style="dim"))
    return _block(Group(*lines))


def _rejected(shown: _Shown) -> str:
    """Who else was looked at for one task, each reason once."""
    recorded = next((recorded for record, recorded in shown.ended if record.task_id == "shout"), None)
    refused = {} if recorded is None else (recorded.values.get("routing") or {}).get("rejected") or {}
    by_reason: dict[str, list[str]] = {}
    for name, why in refused.items():
        by_reason.setdefault(clean_line(str(why), 200), []).append(str(name))
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())


def _answers(console: Console, shown: _Shown) -> None:
    for task_id, most in (("shout-again", 4), ("how-it-works", 7)):
        recorded = next((recorded for record, recorded in shown.ended if record.task_id == task_id), None)
        if recorded is not None:
            lines = [line for line in clean_text(recorded.text).splitlines() if line.strip()]
            more = ["…"] if len(lines) > most else []
            console.print(_block(Text(task_id, style="bold"), below=0))
            console.print(_block(Text("\n".join([*lines[:most], *more])), above=0, below=0))
    console.print()


def _failures(console: Console, shown: _Shown) -> None:
    for record, recorded in shown.ended:
        if record.status == "failed":
            console.print(f"[dim]{escape(record.path)} ends with:[/]")
            console.print(_block(Text(f"## Error\n\n{clean_text(recorded.text).strip()}")))


def _costs(shown: _Shown) -> Padding:
    table = _table("INTERFACE", "ATTEMPTS", "WORK", "TOKENS", "COST")
    for name in sorted({row.interface for row in shown.rows if row.interface}):
        table.add_row(name, *_sums([row for row in shown.rows if row.interface == name]))
    return _block(table)


def _sums(rows: list[CostRow]) -> tuple[str, ...]:
    sums = total(rows)
    tokens = sum((row.input_tokens or 0) + (row.output_tokens or 0) for row in rows)
    return str(len(rows)), _took(sum(row.duration_seconds for row in rows)), str(tokens), dollars(sums.known_usd)


def _took(seconds: float) -> str:
    """To the millisecond where it is short."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)


def _commits(console: Console, shown: _Shown) -> None:
    console.print(_block(Text("\n".join(map(clean_line, shown.log)), no_wrap=True, overflow="ellipsis")))
    console.print("[dim]The message of one of them:[/]")
    console.print(_block(Text(clean_text(shown.message).strip())))
    if shown.status.strip():
        console.print("[dim]git status: the daemon commits its own paths and leaves yours to you:[/]")
        console.print(_block(Text(clean_text(shown.status).rstrip())))


def _next(console: Console, shown: _Shown) -> None:
    _part(console, "Now you")
    steps = (
        (f"cd {shlex.quote(shown.made.root)}", ""),
        ("brain interfaces", "who can work here, and what the others lack"),
        ('brain submit "say this loudly" --prefer upper --wait', ""),
        ("brain run", "and drop files into brain/tasks/pending/"),
        ("brain init DIR", "a brain of your own"),
    )
    console.print()
    for command, what in steps:
        line = Text("    ")
        line.append(command.ljust(22 if what else 0), style="bold")
        line.append(what, style="dim")
        console.print(line, soft_wrap=True)
    console.print()
