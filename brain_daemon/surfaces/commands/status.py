"""`brain status` and `brain watch`: the daemon and the queue, once or live."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.policy.budgets import Budget
from brain_daemon.record.wording import dollars, duration, until_words, utc
from brain_daemon.service.budget_standing import BudgetItem
from brain_daemon.service.config import load
from brain_daemon.service.snapshot import ActiveItem, BreakerItem, HeldItem, Snapshot, take
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import STATE_STYLES, Column, Rows, drawn, on_terminal, plain, say

if TYPE_CHECKING:
    from rich.console import Group

_LISTED = 20
_POLL_SECONDS = 0.5
_FACTS = (Column("", whole=True), Column("", styles=STATE_STYLES))
_ACTIVE = (Column("ACTIVE"), Column("BY"), Column("FOR", right=True), Column("DOING", styles=STATE_STYLES))
_HELD = (Column("HELD"), Column("WHY"))
_BREAKERS = (Column("INTERFACE"), Column("BREAKER", styles=STATE_STYLES), Column("WHY"))
_QUESTIONS = (Column("QUESTION"), Column("ABOUT"), Column("ANSWERS"))


@click.command("status")
@json_option
@click.pass_obj
def status_command(call: Call, as_json: bool) -> None:
    """Show the daemon and the queue: what runs, what waits and why, what today has brought.

    Example: brain status
    """
    picture = take(call.layout, budgets=_budgets(call))
    if as_json:
        print_json(facts(picture))
    else:
        _print(picture)


@click.command("watch")
@click.pass_obj
def watch_command(call: Call) -> None:
    """Show the queue, live, until q or Ctrl-C. In a pipe it prints one look.

    Example: brain watch
    """
    if on_terminal():
        _live(call)
    else:
        _print(take(call.layout, budgets=_budgets(call)))


def _budgets(call: Call) -> Sequence[Budget]:
    """Those of the settings; none where the settings cannot be read, which every other command says."""
    try:
        return load(call.brain_root, call.environment)[0].budgets
    except UserError:
        return ()


def facts(picture: Snapshot) -> dict[str, Any]:
    """The document of `brain status --json`, as docs/json.md describes it."""
    daemon, today = picture.daemon, picture.today
    return {
        "brain": picture.root,
        "at": utc(picture.at),
        "daemon": {
            "state": daemon.state,
            "pid": daemon.pid,
            "host": daemon.host,
            "since": _instant(daemon.since),
            "will_pause": daemon.will_pause,
        },
        "counts": {name: getattr(picture.counts, name) for name in picture.counts.__slots__},
        "active": [_active_facts(item, picture.at) for item in picture.active],
        "held": [{"task_id": item.task_id, "why": item.why, "until": _instant(item.until)} for item in picture.held],
        "questions": [
            {"id": q.id, "kind": q.kind, "subject": q.subject, "asked": utc(q.asked_at), "choices": list(q.choices)}
            for q in picture.questions
        ],
        "breakers": [
            {
                "interface": one.interface,
                "breaker": one.breaker,
                "why": one.why,
                "since": _instant(one.since),
                "until": _instant(one.until),
                "probe": one.probe,
            }
            for one in picture.breakers
        ],
        "owed": {"outcomes": picture.owed, "why": picture.why_owed},
        "today": {
            "completed": today.completed,
            "failed": today.failed,
            "attempts": today.attempts,
            "cost_usd": format(today.known_usd, "f"),
            "unknown_costs": today.unknown_costs,
        },
        "budgets": [budget_facts(one) for one in picture.budgets],
        "unapproved": list(picture.unapproved),
        "trouble": picture.trouble,
    }


def budget_facts(item: BudgetItem) -> dict[str, Any]:
    """A budget and what is spent of it, as docs/json.md describes it."""
    budget, used = item.budget, item.used
    return {
        "scope": budget.scope.value,
        "name": budget.name,
        "usd": None if budget.usd is None else format(budget.usd, "f"),
        "tokens": budget.tokens,
        "hard": budget.hard,
        "used_usd": format(used.usd, "f"),
        "used_tokens": used.tokens,
        "unknown_costs": used.unpriced,
        "share": round(item.share, 4),
        "renewed_at": _instant(item.until),
    }


def _active_facts(item: ActiveItem, now: float) -> dict[str, Any]:
    return {
        "task_id": item.task_id,
        "by": item.by,
        "model": item.model,
        "attempt": item.attempt,
        "since": _instant(item.since),
        "elapsed_seconds": None if item.since is None else round(max(now - item.since, 0.0), 1),
        "lease_until": _instant(item.lease_until),
        "doing": item.doing,
    }


def _instant(epoch_seconds: float | None) -> str | None:
    return None if epoch_seconds is None else utc(epoch_seconds)


def _print(picture: Snapshot) -> None:
    if on_terminal():
        from rich.console import Console  # noqa: PLC0415 - 80 ms that a pipe need not pay

        Console().print(_page(picture))
        return
    for name, text in _lines(picture):
        say(f"{name:<8} {clean_line(text, 1000)}")
    for columns, rows, more in _tables(picture):
        click.echo("\n" + plain(columns, rows))
        if more:
            click.echo(more)


def _lines(picture: Snapshot) -> Iterator[tuple[str, str]]:
    """The facts above the tables."""
    counts, today = picture.counts, picture.today
    yield "brain", picture.root
    yield "daemon", _daemon(picture)
    held = f" ({counts.held} held)" if counts.held else ""
    archived = f", {counts.archived} filed away" if counts.archived else ""
    queue = f"{counts.pending} pending{held}, {counts.active} active"
    yield "tasks", f"{queue}, {counts.completed} completed, {counts.failed} failed{archived}"
    unknown = f" and the unknown cost of {_number(today.unknown_costs, 'attempt')}" if today.unknown_costs else ""
    yield "today", f"{today.completed} completed, {today.failed} failed, {dollars(today.known_usd)}{unknown} (UTC)"
    for budget in picture.budgets:
        yield "budget", budget.sentence + (", hard" if budget.budget.hard else "")
    if picture.owed:
        why = f": {picture.why_owed}" if picture.why_owed else ""
        yield "git", f"{_number(picture.owed, 'outcome')} not committed yet{why}"
    if picture.questions:
        waits = "waits" if len(picture.questions) == 1 else "wait"
        yield "you", f"{_number(len(picture.questions), 'question')} {waits} for an answer: `brain questions`"
    if picture.unapproved:
        known = ", ".join(picture.unapproved)
        yield "waits", f"not approved on this machine: {known} (`brain interfaces show NAME`, then `approve NAME`)"
    if picture.trouble:
        yield "trouble", picture.trouble


def _daemon(picture: Snapshot) -> str:
    daemon = picture.daemon
    if daemon.state == "stopped":
        return "stopped" + (" (paused: `brain resume` lets the next one start tasks)" if daemon.will_pause else "")
    who = f", process {daemon.pid} on {daemon.host}" if daemon.pid else ""
    since = f", for {_elapsed(picture.at - daemon.since)}" if daemon.since else ""
    return f"{daemon.state}{who}{since}"


def _tables(picture: Snapshot) -> Iterator[tuple[tuple[Column, ...], Rows, str]]:
    """Columns, rows and a line on what is left out."""
    if picture.active:
        rows = [_active_row(item, picture.at) for item in picture.active[:_LISTED]]
        yield _ACTIVE, rows, _more(picture.counts.active, len(rows))
    if picture.held:
        held = [(item.task_id, _why(item, picture.at)) for item in picture.held[:_LISTED]]
        yield _HELD, held, _more(len(picture.held), len(held))
    if picture.breakers:
        yield _BREAKERS, [(one.interface, _breaker(one, picture.at), one.why) for one in picture.breakers], ""
    if picture.questions:
        asked = [(q.id, q.subject, ", ".join(q.choices)) for q in picture.questions[:_LISTED]]
        yield _QUESTIONS, asked, _more(len(picture.questions), len(asked))


def _active_row(item: ActiveItem, now: float) -> tuple[str, ...]:
    by = f"{item.by} ({item.model})" if item.by and item.model else item.by or "-"
    elapsed = "-" if item.since is None else _elapsed(now - item.since)
    lease = f", until {utc(item.lease_until)}" if item.lease_until and item.doing == "claimed" else ""
    again = f", attempt {item.attempt}" if item.attempt and item.attempt > 1 else ""
    return item.task_id, by, elapsed, item.doing + lease + again


def _why(item: HeldItem, now: float) -> str:
    return item.why + until_words(item.until, now)


def _breaker(item: BreakerItem, now: float) -> str:
    """What its state means for the next task."""
    if item.breaker == "half-open":
        return f"half-open, {item.probe} tries it" if item.probe else "half-open, the next task tries it"
    if item.until is None:
        return "open until its check passes"
    if item.until <= now:
        return "open, the next task tries it"
    return f"open until {utc(item.until)}, in {_elapsed(item.until - now)}"


def _elapsed(seconds: float) -> str:
    return duration(max(round(seconds), 0)).replace("0.00 s", "0 s")


def _more(total: int, shown: int) -> str:
    return f"and {total - shown} more: `brain list`" if total > shown else ""


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _page(picture: Snapshot) -> "Group":
    """What a terminal shows."""
    from rich.console import Group  # noqa: PLC0415 - 80 ms that a pipe need not pay
    from rich.text import Text  # noqa: PLC0415 - rich is slow to load, and only a terminal needs it

    head = drawn(_FACTS, list(_lines(picture)))
    head.show_header = False
    parts: list[Any] = [head]
    for columns, rows, more in _tables(picture):
        parts += [Text(), drawn(columns, rows)]
        parts += [Text(more)] if more else []
    return Group(*parts)


def _live(call: Call) -> None:
    from rich.console import Console  # noqa: PLC0415 - 80 ms that a pipe need not pay
    from rich.live import Live  # noqa: PLC0415 - rich is slow to load, and only a terminal needs it

    console = Console()
    budgets = _budgets(call)
    try:
        with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_page(take(call.layout, budgets=budgets)), refresh=True)
                if pressed(_POLL_SECONDS) in ("q", "Q"):
                    return
    except KeyboardInterrupt:
        return


@contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits so many seconds for a key, with the terminal giving keys one by one."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield _key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _key(seconds: float) -> str:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1).decode("utf-8", "replace") if ready else ""


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""
