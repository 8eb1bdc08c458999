"""context/board.md: the queue at a glance. What runs, what is held and why, what is next, what was done today.

Written by the daemon as a whole and never read back; the same view gives the same bytes. Each list shows its first
`MAX_LISTED` and says how many more there are, so a queue of 20,000 is still a page. Pure; nothing fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from brain_daemon.record.wording import dollars, duration, markdown, utc

MAX_LISTED = 50
_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveTask:
    """A task being worked on since `since` (epoch seconds), by an interface or a claimant. `note` is one more sentence on it."""

    task_id: str
    title: str
    interface: str
    since: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTask:
    """A task that may not start yet: why, and until when (epoch seconds) or until what, where that is known."""

    task_id: str
    title: str
    why: str
    until: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTask:
    """A task that starts when there is room, in the order of the list."""

    task_id: str
    title: str
    priority: str
    task_type: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneToday:
    """Tasks ended today, the attempts' known cost, and how many attempts have an unknown one."""

    completed: int = 0
    failed: int = 0
    known_usd: Decimal = Decimal(0)
    unknown_costs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """All that the board shows. A list may be given in part: its total then says how long it is.

    `updated` is epoch seconds; `notices` are one-line remarks (a name that matches nothing, a file that came back).
    """

    state: str
    updated: float
    active: Sequence[ActiveTask] = ()
    held: Sequence[HeldTask] = ()
    next: Sequence[NextTask] = ()
    active_total: int | None = None
    held_total: int | None = None
    next_total: int | None = None
    done: DoneToday = DoneToday()
    questions: int = 0
    notices: Sequence[str] = ()


def render(view: BoardView) -> bytes:
    """The file, UTF-8."""
    parts = (
        f"# Board\n\nThe daemon is **{view.state}**. Written {utc(view.updated)}.",
        _questions(view.questions),
        _section("Active", view.active, view.active_total, lambda task: _active(task, view.updated)),
        _section("Held", view.held, view.held_total, _held),
        _section("Next", view.next, view.next_total, _next, ordered=True),
        f"## Done today\n\n{_done(view.done)}",
        _section("Notices", view.notices, None, lambda notice: markdown(notice, 300)) if view.notices else "",
    )
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def _questions(number: int) -> str:
    if not number:
        return ""
    words = "1 question waits" if number == 1 else f"{number} questions wait"
    return f"**{words} for you** in [prompts/pending.md](../prompts/pending.md)."


def _section(
    name: str, entries: Sequence[_Entry], total: int | None, line: Callable[[_Entry], str], *, ordered: bool = False
) -> str:
    shown = entries[:MAX_LISTED]
    count = max(len(entries), total or 0)
    lines = [f"{f'{number}.' if ordered else '-'} {line(entry)}" for number, entry in enumerate(shown, 1)]
    if count > len(shown):
        lines.append(f"\nand {count - len(shown)} more")
    return f"## {name} ({count})\n\n" + ("\n".join(lines) if lines else "Nothing.")


def _task(task_id: str, title: str) -> str:
    words = markdown(title, 100)
    return f"**{task_id}** {words}" if words else f"**{task_id}**"


def _active(task: ActiveTask, now: float) -> str:
    elapsed = duration(max(round(now - task.since), 0)) if now - task.since >= 1 else "less than a second"
    since = f"for {elapsed} (since {utc(task.since)})"
    return f"{_task(task.task_id, task.title)}: {markdown(task.interface)}, {since}{_noted(task.note)}"


def _held(task: HeldTask) -> str:
    until = f", until {utc(task.until)}" if task.until is not None else ""
    return f"{_task(task.task_id, task.title)}: {markdown(task.why, 300)}{until}{_noted(task.note)}"


def _next(task: NextTask) -> str:
    return f"{_task(task.task_id, task.title)} ({task.priority}, {markdown(task.task_type)}){_noted(task.note)}"


def _noted(note: str) -> str:
    return f"; {markdown(note, 300)}" if note else ""


def _done(done: DoneToday) -> str:
    cost = dollars(done.known_usd)
    if done.unknown_costs:
        attempts = "1 attempt" if done.unknown_costs == 1 else f"{done.unknown_costs} attempts"
        cost += f" and the unknown cost of {attempts}"
    return f"{done.completed} completed, {done.failed} failed, {cost}."
