"""What happened today: logs/activity/DAY.md, one line an outcome, and logs/errors/DAY.jsonl, one object a failed attempt.

Both are keyed by the attempt's id and take a line once, however often it is given; both roll like the ledger
(`record/day_file.py`). The id stands where no text from outside can stand: at the very end of an activity line, and as
a JSON member whose quotes a text cannot bring. Neither is read back to decide anything.

Failures: none are fatal. A last line without its line feed is ended before the next one is added, and kept.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import Status
from brain_daemon.record.wording import cost, duration, markdown

MAX_MESSAGE_LENGTH = 2000
_LINE_START = b"\n- "


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An ended attempt with what the ledger does not say: the task's title, and how it failed."""

    row: CostRow
    title: str = ""
    message: str = ""
    survivors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def append_activity(existing: bytes, happenings: Iterable[Happening], *, looked: bool = False) -> bytes:
    """`existing` (b"" for a new file) with the line of each outcome it does not hold yet; `looked`: it holds none of them."""
    lines: dict[str, str] = {}
    for happening in happenings:
        key = f" `{happening.row.attempt_id}`".encode()
        if looked or (key + b"\n" not in existing and key + b"\r\n" not in existing):
            lines.setdefault(happening.row.attempt_id, activity_line(happening))
            existing = existing or f"# Activity {happening.row.day}\n\n".encode()
    return _added(existing, lines.values())


def activity_line(happening: Happening) -> str:
    """`- 20:15:04Z completed **task-001** Title (claude_code, 12.4 s, $0.0045) `task-001.a1.0123abcd``, with its line feed."""
    row = happening.row
    facts = [row.reason.value] if row.reason else []
    facts += [row.interface] if row.interface else []
    facts += [duration(row.duration_seconds), cost(row.cost_usd, row.cost_basis)]
    title = markdown(happening.title, 100)
    head = f"- {row.timestamp[11:]} {row.status.value} **{row.task_id}**"
    return f"{head}{' ' if title else ''}{title} ({', '.join(facts)}) `{row.attempt_id}`\n"


def activity_count(data: bytes) -> int:
    """How many lines an activity file holds; the heading is none."""
    return data.count(_LINE_START)


def append_errors(existing: bytes, happenings: Iterable[Happening], *, looked: bool = False) -> bytes:
    """`existing` (b"" for a new file) with the object of each failed attempt it does not hold yet; the others are left out."""
    lines: dict[str, str] = {}
    for happening in happenings:
        row = happening.row
        known = not looked and f'"attempt_id":{json.dumps(row.attempt_id)}'.encode() in existing
        if row.status is Status.FAILED and not known:
            lines.setdefault(row.attempt_id, error_line(happening))
    return _added(existing, lines.values())


def error_line(happening: Happening) -> str:
    """One JSON object with its line feed; unset members are left out."""
    row = happening.row
    members = {
        "timestamp": row.timestamp,
        "task_id": row.task_id,
        "attempt_id": row.attempt_id,
        "attempt": row.attempt,
        "reason": row.reason,
        "interface": row.interface,
        "model": row.model and clean_line(row.model),
        "chain_id": row.chain_id and clean_line(row.chain_id),
        "duration_seconds": round(row.duration_seconds, 3),
        "message": clean_line(happening.message[: 4 * MAX_MESSAGE_LENGTH], MAX_MESSAGE_LENGTH),
        "survivors": [clean_line(survivor) for survivor in happening.survivors],
        "warnings": [clean_line(warning) for warning in happening.warnings],
    }
    kept = {name: value for name, value in members.items() if value not in (None, "", [])}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")) + "\n"


def error_count(data: bytes) -> int:
    """How many objects an errors file holds."""
    return data.count(b"\n")


def _added(existing: bytes, lines: Iterable[str]) -> bytes:
    new = "".join(lines).encode()
    if not new:
        return existing
    return existing + (b"" if not existing or existing.endswith(b"\n") else b"\n") + new
