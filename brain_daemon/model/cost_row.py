"""CostRow: one ended attempt as the ledger keeps it, and the text form of each of its columns.

An empty cell is None. Dollars are exact decimals, never in exponent notation; durations are kept to the millisecond.
A text cell that a spreadsheet would take for a formula (it begins with = + - @ or their full-width forms) is written
with an apostrophe before it, and so is one that begins with an apostrophe; reading takes one apostrophe off again.
Text from outside is cleaned to one line of at most `MAX_TEXT_LENGTH` characters, so a row is always one line.

Failures: a value that cannot be is a ValueError of whoever built it; text that is not a row is `Damaged`, reported.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Damaged
from brain_daemon.model.interface import Tier
from brain_daemon.model.outcome import CostBasis, FailureKind, Mode, Reason, Status

MAX_TEXT_LENGTH = 200
_GUARDED = frozenset("=+-@'\uff1d\uff0b\uff0d\uff20")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_WHOLE = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[0-9]{1,13}(\.[0-9]{1,40})?")
_SMALLEST_EXPONENT = -40

Value = str | int | float | None

Why = Reason | FailureKind
"""Why an attempt failed: the task's reason, or the finer kind of no the interface gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One attempt in the ledger; the fields are its columns, in order.

    `timestamp` is when it ended, ISO 8601 in UTC to the second (`2026-11-20T20:15:04Z`). `input_tokens` is all input,
    cached included. `cost_usd` is None if and only if the basis is unknown. `overhead_seconds` is what the daemon
    added before `duration_seconds`, the time of the interface: from when the task could have started. None is: not told, or
    there is none.
    """

    timestamp: str
    task_id: str
    attempt_id: str
    attempt: int
    status: Status
    reason: Why | None = None
    interface: str | None = None
    account: str | None = None
    tier: Tier | None = None
    model: str | None = None
    task_type: str | None = None
    mode: Mode = Mode.DAEMON
    chain_id: str | None = None
    parent_id: str | None = None
    session_id: str | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    cost_basis: CostBasis = CostBasis.UNKNOWN
    duration_seconds: float = 0.0
    overhead_seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.cost_usd is None) is not (self.cost_basis is CostBasis.UNKNOWN):
            raise ValueError(f"cost_usd {self.cost_usd} does not go with the basis {self.cost_basis}")
        if self.cost_usd is not None and not is_plausible_usd(self.cost_usd):
            raise ValueError(f"cost_usd is {self.cost_usd}; a cost lies between 0 and 10^12 dollars")
        if not 0 <= self.duration_seconds < 1e12 or not 0 <= (self.overhead_seconds or 0) < 1e12:
            raise ValueError(f"{self.duration_seconds} and {self.overhead_seconds} seconds are no durations")
        for count in (self.input_tokens, self.cached_input_tokens, self.output_tokens):
            if count is not None and not 0 <= count < 10**18:
                raise ValueError(f"{count} is no number of tokens")

    @property
    def day(self) -> str:
        """The UTC day the row belongs to, `2026-11-20`: the day file it is kept in."""
        return self.timestamp[:10]

    def to_values(self) -> tuple[Value, ...]:
        """The columns as a database keeps them, texts cleaned and durations rounded as in the ledger, dollars as text."""
        return (
            self.timestamp,
            _line(self.task_id),
            _line(self.attempt_id),
            self.attempt,
            self.status.value,
            None if self.reason is None else self.reason.value,
            _line(self.interface),
            _line(self.account),
            None if self.tier is None else self.tier.value,
            _line(self.model),
            _line(self.task_type),
            self.mode.value,
            _line(self.chain_id),
            _line(self.parent_id),
            _line(self.session_id),
            self.input_tokens,
            self.cached_input_tokens,
            self.output_tokens,
            None if self.cost_usd is None else plain_decimal(self.cost_usd),
            self.cost_basis.value,
            round(float(self.duration_seconds), 3),
            None if self.overhead_seconds is None else round(float(self.overhead_seconds), 3),
        )

    def to_csv(self) -> tuple[str, ...]:
        """The cells in the order of `COLUMNS`; the csv module quotes them."""
        return tuple(map(csv_cell, self.to_values()))

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> "CostRow":
        """The row behind `to_values`; Damaged says what is no value of ours."""
        at = dict(zip(COLUMNS, values, strict=True))
        try:
            return cls(
                **at
                | {
                    "status": Status(at["status"]),
                    "reason": _why(at["reason"]),
                    "tier": Tier(at["tier"]) if at["tier"] else None,
                    "mode": Mode(at["mode"]),
                    "cost_usd": None if at["cost_usd"] is None else Decimal(at["cost_usd"]),
                    "cost_basis": CostBasis(at["cost_basis"]),
                }
            )
        except ValueError as error:
            raise Damaged(f"the row is not one of ours: {error}") from error

    @classmethod
    def from_csv(cls, cells: Sequence[str]) -> "CostRow":
        """The row behind cells in the order of `COLUMNS`; Damaged names the column, what was found and what is allowed."""
        if len(cells) != len(COLUMNS):
            raise Damaged(f"the row has {len(cells)} cells where {len(COLUMNS)} belong")
        return cls.from_values(
            [read(column, cell) for column, read, cell in zip(COLUMNS, _READERS, cells, strict=True)]
        )


COLUMNS = tuple(field.name for field in fields(CostRow))


def is_plausible_usd(usd: Decimal) -> bool:
    """Whether an amount may stand in the ledger: finite, from 0 to below 10^12, at most 40 digits after the point.

    Whoever reads a cost from a program's output asks this first and calls anything else an unknown cost.
    """
    if not usd.is_finite() or not 0 <= usd < 10**12:
        return False
    exponent = usd.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= _SMALLEST_EXPONENT


def plain_decimal(usd: Decimal) -> str:
    """Every digit of an amount, without exponent and without a minus before zero."""
    return format(usd.copy_abs(), "f")


def _line(text: str | None) -> str | None:
    return None if text is None else clean_line(text, MAX_TEXT_LENGTH) or None


def csv_cell(value: Value) -> str:
    """A value as a cell of a CSV file: no spreadsheet takes it for a formula, None is empty."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value[0] in _GUARDED else value
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _why(text: str | None) -> Why | None:
    if not text:
        return None
    return Reason(text) if text in _REASONS else FailureKind(text)


def _text(_column: str, cell: str) -> str | None:
    return cell.removeprefix("'") or None


def _required(column: str, cell: str) -> str:
    text = _text(column, cell)
    if text is None or not clean_line(text):
        raise Damaged(f"the column {column} is empty")
    return text


def _matching(column: str, cell: str, pattern: re.Pattern[str], allowed: str) -> str:
    if not pattern.fullmatch(cell):
        raise Damaged(f"the column {column} holds {clean_line(cell, 60)!r} where {allowed} belongs")
    return cell


def _instant(column: str, cell: str) -> str:
    return _matching(column, cell, _TIMESTAMP, "an instant like 2026-11-20T20:15:04Z")


def _whole(column: str, cell: str) -> int:
    return int(_matching(column, cell, _WHOLE, "a whole number"))


def _count(column: str, cell: str) -> int | None:
    return _whole(column, cell) if cell else None


def _seconds(column: str, cell: str) -> float:
    return float(_matching(column, cell, _DECIMAL, "a number of seconds"))


def _maybe_seconds(column: str, cell: str) -> float | None:
    return _seconds(column, cell) if cell else None


def _amount(column: str, cell: str) -> str | None:
    return _matching(column, cell, _DECIMAL, "an amount") if cell else None


_REASONS = frozenset(reason.value for reason in Reason)
_READER_OF: dict[str, Callable[[str, str], Value]] = {
    "timestamp": _instant,
    "attempt": _whole,
    "input_tokens": _count,
    "cached_input_tokens": _count,
    "output_tokens": _count,
    "cost_usd": _amount,
    "duration_seconds": _seconds,
    "overhead_seconds": _maybe_seconds,
    **dict.fromkeys(("task_id", "attempt_id", "status", "mode", "cost_basis"), _required),
}
_READERS = tuple(_READER_OF.get(column, _text) for column in COLUMNS)
