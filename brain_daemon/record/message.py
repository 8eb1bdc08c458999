"""The commit message of an outcome: a subject to skim, a few lines to understand, trailers for programs.

The trailers are the last paragraph, always the same nine keys in the same order; Reason, Parent-Id with Depth, Origin where there
is one, and what earlier attempts took that had no commit of their own (Earlier-*), so that git alone adds up to the ledger.
`unknown` is a figure nobody told, `-` something the attempt does not have. `git interpret-trailers --parse` and
`git log --format='%(trailers:key=Cost-USD,valueonly)'` read them.

Who must agree: recovery looks for `Attempt-Id:` in the branch. Text from outside stands on one line behind a label of
ours, so it begins no line: it can forge no trailer, divider (`---`) or comment, and opens no paragraph. Pure; nothing fails.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.cost_row import CostRow, plain_decimal
from brain_daemon.model.outcome import CostBasis, Reason, Status
from brain_daemon.record.wording import cost, duration

MAX_SUBJECT_LENGTH = 100
MAX_LINE_LENGTH = 160
_SHORTEST_TITLE = 8
_LONGEST_READ = 4000


def commit_message(
    row: CostRow,
    *,
    title: str,
    why: str = "",
    error: str = "",
    warnings: tuple[str, ...] = (),
    origin: str | None = None,
    after_seconds: float | None = None,
    depth: int = 0,
    earlier: Sequence[CostRow] = (),
) -> bytes:
    """The message, UTF-8 with a final line feed.

    `why` is the router's reason for the interface, `error` what failed (its first line is used), `origin` where the
    task came from, `after_seconds` the deadline that passed where the reason is timed_out, `depth` how many parents are above it,
    `earlier` the rows of the task's attempts that were tried again and so have no commit of their own.
    """
    body = _body(row, why, error, warnings)
    subject = commit_subject(row, title, after_seconds)
    return "\n".join(
        (subject, "", *body, *([""] if body else []), *_trailers(row, origin, depth, earlier), "")
    ).encode()


def commit_subject(row: CostRow, title: str, after_seconds: float | None = None) -> str:
    """`completed task-001: Title (claude_code, 12.4 s, $0.0045)`, at most 100 characters; the title gives way first."""
    head = f"{row.status.value} {row.task_id}"
    tail = f" ({', '.join(_facts(row, after_seconds))})"
    room = MAX_SUBJECT_LENGTH - len(head) - len(tail) - 2
    line = clean_line(title, room) if room >= _SHORTEST_TITLE else ""
    return clean_line(f"{head}{': ' if line else ''}{line}{tail}", MAX_SUBJECT_LENGTH)


def _facts(row: CostRow, after_seconds: float | None) -> list[str]:
    interface = [row.interface] if row.interface else []
    if row.status is Status.COMPLETED:
        return [*interface, duration(row.duration_seconds), cost(row.cost_usd, row.cost_basis)]
    reason = row.reason.value if row.reason else "failed"
    if row.reason is Reason.TIMED_OUT:
        reason += f" after {duration(row.duration_seconds if after_seconds is None else after_seconds)}"
    return [reason, *interface]


def _body(row: CostRow, why: str, error: str, warnings: tuple[str, ...]) -> list[str]:
    lines = []
    first_line = error[:_LONGEST_READ].strip().partition("\n")[0]
    if first_line:
        lines.append(f"Failed with: {first_line}")
    if why:
        lines.append(f"Routed because: {why}")
    if row.input_tokens is not None or row.output_tokens is not None:
        lines.append(_used(row))
    if row.status is Status.FAILED or row.attempt > 1:
        lines.append(f"Attempt {row.attempt}, {duration(row.duration_seconds)}, {_paid(row)}.")
    if warnings:
        more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        lines.append(f"Warning{more}: {warnings[0]}")
    return [clean_line(line, MAX_LINE_LENGTH) for line in lines]


def _used(row: CostRow) -> str:
    cached = f" ({row.cached_input_tokens} cached)" if row.cached_input_tokens else ""
    return f"Tokens: {_told(row.input_tokens)} in{cached}, {_told(row.output_tokens)} out."


def _told(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def _paid(row: CostRow) -> str:
    words = cost(row.cost_usd, row.cost_basis)
    return words if row.cost_basis in {CostBasis.UNKNOWN, CostBasis.FREE} else f"{words} ({row.cost_basis.value})"


def _trailers(row: CostRow, origin: str | None, depth: int, earlier: Sequence[CostRow]) -> list[str]:
    pairs = [
        ("Task-Id", row.task_id),
        ("Attempt-Id", row.attempt_id),
        ("Status", row.status.value),
        *([("Reason", row.reason.value)] if row.reason else []),
        ("Interface", row.interface or "-"),
        ("Model", row.model or "-"),
        ("Chain-Id", row.chain_id or "-"),
        *([("Parent-Id", row.parent_id), ("Depth", str(max(depth, 1)))] if row.parent_id else []),
        ("Tokens-In", _told(row.input_tokens)),
        ("Tokens-Out", _told(row.output_tokens)),
        ("Cost-USD", _usd(row.cost_usd)),
        *_earlier(earlier),
        *([("Origin", origin)] if origin else []),
    ]
    return [f"{key}: {clean_line(value) or '-'}" for key, value in pairs]


def _earlier(rows: Sequence[CostRow]) -> list[tuple[str, str]]:
    """What they took together; what is unknown of some of them is in no sum, and they are counted."""
    if not rows:
        return []
    known = [row.cost_usd for row in rows if row.cost_usd is not None]
    pairs = [
        ("Earlier-Attempts", str(len(rows))),
        ("Earlier-Tokens-In", _told(_sum(row.input_tokens for row in rows))),
        ("Earlier-Tokens-Out", _told(_sum(row.output_tokens for row in rows))),
        ("Earlier-Cost-USD", _usd(sum(known, Decimal(0)) if known else None)),
    ]
    return [*pairs, ("Earlier-Unknown-Costs", str(len(rows) - len(known)))] if len(known) < len(rows) else pairs


def _sum(counts: Iterable[int | None]) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None


def _usd(usd: Decimal | None) -> str:
    return "unknown" if usd is None else plain_decimal(usd)
