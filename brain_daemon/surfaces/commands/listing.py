"""`brain list`: what there is. (`brain show` and `brain logs` stand in showing.py.)

The table is made from names and the journal; only the files of the rows that are shown are read, so a queue of 20,000 is
listed as fast as one of ten.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import click

from brain_daemon.model import document
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.wording import until_words, utc
from brain_daemon.service.snapshot import (
    EndedItem,
    HeldItem,
    Snapshot,
    ended_items,
    reading,
    take,
    task_names,
)
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Seen, look
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.showing import logs_command, show_command
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

__all__ = ["list_command", "logs_command", "show_command"]

_STATES = ("pending", "active", "held", "completed", "failed", "all")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_COLUMNS = (Column("TASK"), Column("STATE", whole=True, styles=STATE_STYLES), Column("BY"), Column("SINCE", whole=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One task in the list. `at` is since when it is in this state, epoch seconds; `path` is relative to the brain."""

    task_id: str
    state: str
    path: str
    title: str = ""
    interface: str | None = None
    reason: str | None = None
    why: str | None = None
    at: float | None = None
    until: float | None = None


@click.command("list")
@click.option("--state", type=click.Choice(_STATES), default="all", show_default=True, help="Only tasks in this state.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many of each state.")
@json_option
@click.pass_obj
def list_command(call: Call, state: str, limit: int, as_json: bool) -> None:
    """List tasks: what runs, what is held and why, what waits for its turn, what has ended (newest first).

    Example: brain list --state failed
    """
    picture = take(call.layout)
    groups = {name: rows for name, rows in _groups(call.layout, picture).items() if state in (name, "all")}
    if state == "pending":
        groups["held"] = _held_rows(call.layout, [item for item in picture.held if item.name])
    shown = {name: [_read(call.layout, row) for row in rows[:limit]] for name, rows in groups.items()}
    left = {name: len(rows) - len(shown[name]) for name, rows in groups.items() if len(rows) > len(shown[name])}
    rows = [row for name in ("active", "held", "pending", "completed", "failed") for row in shown.get(name, [])]
    if as_json:
        print_json({"tasks": [_row_facts(row) for row in rows], "not_shown": left})
        return
    show((*_COLUMNS, Column("TITLE")), [_cells(row) for row in rows])
    if not rows:
        say("There is no task." if state == "all" else f"There is no {state} task.")
    for name, number in left.items():
        say(f"and {number} more {name}: `brain list --state {name} --limit N`")


def _groups(layout: Layout, picture: Snapshot) -> dict[str, list[_Row]]:
    held = {item.name for item in picture.held if item.name}
    waiting = sorted(set(task_names(layout.pending)) - held)
    return {
        "active": [
            _Row(
                task_id=item.task_id,
                state="active",
                path=_inside(layout, layout.active, f"{item.task_id}.md"),
                interface=item.by,
                why=None if item.doing == "running" else item.doing,
                at=item.since,
            )
            for item in picture.active
        ],
        "held": _held_rows(layout, picture.held),
        "pending": [
            _Row(task_id=name.removesuffix(".md"), state="pending", path=_inside(layout, layout.pending, name))
            for name in waiting
        ],
        **{status: [_ended_row(item) for item in _ended(layout, status)] for status in ("completed", "failed")},
    }


def _held_rows(layout: Layout, held: Iterable[HeldItem]) -> list[_Row]:
    return [
        _Row(
            task_id=item.task_id,
            state="held",
            path=_inside(layout, layout.pending, item.name)
            if item.name
            else _inside(layout, layout.active, f"{item.task_id}.md"),
            why=item.why,
            until=item.until,
        )
        for item in held
    ]


def _ended(layout: Layout, status: str) -> list[EndedItem]:
    """As the journal lists them; where there is no journal, as the folder does."""
    with reading(layout) as journal:
        found = [] if journal is None else ended_items(journal, status)
    known = {item.path for item in found}
    folder = layout.ended(status)
    paths = ((name, _inside(layout, folder, name)) for name in task_names(folder))
    unknown = [
        EndedItem(task_id=name.removesuffix(".md"), status=status, reason=None, path=path, finished_at=None)
        for name, path in paths
        if path not in known
    ]
    return found + sorted(unknown, key=lambda item: item.task_id)


def _ended_row(item: EndedItem) -> _Row:
    return _Row(task_id=item.task_id, state=item.status, path=item.path, reason=item.reason, at=item.finished_at)


def _inside(layout: Layout, folder: str, name: str) -> str:
    return layout.relative(os.path.join(folder, name))


def _read(layout: Layout, row: _Row) -> _Row:
    """The row with what its file says; a file that is gone by now, or cannot be read, leaves it as it is."""
    folder, name = os.path.split(layout.inside(row.path))
    found = look(folder, name, limit_bytes=4 << 20)
    if not isinstance(found, Seen) or found.data is None:
        return replace(row, why=row.why or "its file is gone")
    recorded = document.is_recorded(found.data)
    parsed = parse_task(name, document.strip(found.data).data if recorded else found.data)
    filled = replace(
        row, title=parsed.title if isinstance(parsed, TaskSpec) else "", at=row.at or found.signature.modified_at
    )
    if row.state == "pending":
        return replace(filled, task_id=parsed.id)
    if recorded and row.state in ("completed", "failed"):
        values = document.read_result(found.data).values
        return replace(filled, interface=_text(values.get("interface")), reason=_text(values.get("reason")))
    return filled


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _row_facts(row: _Row) -> dict[str, Any]:
    return {
        "task_id": row.task_id,
        "state": row.state,
        "path": row.path,
        "title": row.title,
        "interface": row.interface,
        "reason": row.reason,
        "why": row.why,
        "at": None if row.at is None else utc(row.at),
        "until": None if row.until is None else utc(row.until),
    }


def _cells(row: _Row) -> tuple[str, ...]:
    words = ": ".join(part for part in (row.title, (row.why or "") + until_words(row.until, time.time())) if part)
    state = f"failed ({row.reason})" if row.state == "failed" and row.reason else row.state
    return row.task_id, state, row.interface or "-", _ago(row.at), words


def _ago(epoch_seconds: float | None) -> str:
    if epoch_seconds is None:
        return "-"
    seconds = max(time.time() - epoch_seconds, 0.0)
    number, unit = next(((seconds // length, unit) for length, unit in _UNITS if seconds >= length), (0, ""))
    return f"{number:.0f} {unit} ago" if unit else "now"
