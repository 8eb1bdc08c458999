"""The ledger: cost rows as CSV day files, one row an attempt, keyed by the attempt's id.

The csv module writes and reads it, rows end in a line feed, and what each cell means stands in `model/cost_row.py`.
A file whose header has more columns than ours, or ours in another order, is read and added to in its own order; the
cells of its other columns stay empty in new rows.

Failures: an empty file, a last line without its line feed (a torn write, or an editor that drops it), a row of another
length or with impossible cells, a missing column: all are `Damaged`, naming file and line. Nothing is guessed or
skipped, since a ledger may be too high but never too low. What append returns replaces the file as a whole.
"""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from brain_daemon.model.cost_row import COLUMNS, CostRow, csv_cell, plain_decimal
from brain_daemon.model.errors import Damaged
from brain_daemon.model.outcome import CostBasis

_HEADER = ",".join(COLUMNS).encode() + b"\n"


def append(existing: bytes, rows: Iterable[CostRow], name: str, *, looked: bool = False) -> bytes:
    """`existing` (b"" for a new file) with the rows it does not hold yet; `name` is the file, for the message of Damaged.

    `looked`: the caller knows that it holds none of them, and that they are of different attempts.
    """
    if existing:
        _whole(existing, name)
    new = list(rows) if looked else _unknown(existing, rows, name)
    if not new:
        return existing
    return (existing or _HEADER) + _encode(new, _columns(existing, name) if existing else COLUMNS)


def parse(data: bytes, name: str) -> tuple[CostRow, ...]:
    """Every row, in order; Damaged names the file, the line and what is wrong with it."""
    _whole(data, name)
    return tuple(_rows(data, name))


def count(data: bytes) -> int:
    """How many rows a whole file holds, without reading them: no cell holds a line feed."""
    return max(data.count(b"\n") - 1, 0)


def holds(data: bytes, attempt_id: str, name: str) -> bool:
    """Whether the attempt has its row in this part; a redo asks each part of the day before it places the row."""
    # The bytes answer "no" for certain and fast; a "yes" may be another cell's text, so the parsed rows decide.
    return attempt_id.encode() in data and any(row.attempt_id == attempt_id for row in parse(data, name))


def _unknown(existing: bytes, rows: Iterable[CostRow], name: str) -> list[CostRow]:
    new = {row.attempt_id: row for row in reversed(tuple(rows))}
    if any(attempt_id.encode() in existing for attempt_id in new):
        for row in _rows(existing, name):
            new.pop(row.attempt_id, None)
    return list(reversed(new.values()))


def _encode(rows: Iterable[CostRow], columns: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if tuple(columns) == COLUMNS:
        writer.writerows([row.to_csv() for row in rows])
    else:
        for row in rows:
            cells = dict(zip(COLUMNS, row.to_csv(), strict=True))
            writer.writerow([cells.get(column, "") for column in columns])
    return text.getvalue().encode()


def _whole(data: bytes, name: str) -> None:
    if not data:
        raise Damaged(
            f"reading the ledger {name}: the file is empty. Restore it from git (`git log -- {name}`), then try again."
        )
    if not data.endswith(b"\n"):
        line = data.count(b"\n") + 1
        raise Damaged(
            f"reading the ledger {name}: line {line} does not end, so it may be torn. "
            "Compare it with git, complete or remove that line, end the file with a line feed."
        )


def _columns(data: bytes, name: str) -> tuple[str, ...]:
    if data.startswith(_HEADER):
        return COLUMNS
    header = data[: data.index(b"\n")].decode("utf-8-sig", "replace").rstrip("\r")
    try:
        columns = tuple(next(csv.reader([header]), ()))
    except csv.Error as fault:
        raise Damaged(f"reading the ledger {name}, line 1: {fault}. Restore the line from git.") from fault
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise Damaged(
            f"reading the ledger {name}: its first line lacks the columns {', '.join(missing)}. Restore the line from git."
        )
    return columns


def _rows(data: bytes, name: str) -> Iterator[CostRow]:
    columns = _columns(data, name)
    order = None if columns == COLUMNS else [columns.index(column) for column in COLUMNS]
    reader = csv.reader(io.StringIO(_text(data, name), newline=""), strict=True)
    try:
        next(reader)
        for cells in reader:
            yield CostRow.from_csv(cells if order is None else _ordered(cells, order, len(columns)))
    except (Damaged, csv.Error) as fault:
        raise Damaged(
            f"reading the ledger {name}, line {reader.line_num}: {fault}. Compare that line with git and repair it."
        ) from fault


def _ordered(cells: Sequence[str], order: Iterable[int], length: int) -> list[str]:
    if len(cells) != length:
        raise Damaged(f"the row has {len(cells)} cells where {length} belong")
    return [cells[index] for index in order]


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise Damaged(
            f"reading the ledger {name}, line {line}: not UTF-8. Compare that line with git and repair it."
        ) from fault


class GroupBy(StrEnum):
    """What `brain costs --by` may name."""

    TASK = "task"
    INTERFACE = "interface"
    CHAIN = "chain"
    TYPE = "type"
    DAY = "day"
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over attempts. `usd` is the known cost by its basis; the cost of `unknown` rows is in no sum."""

    rows: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    usd: Mapping[CostBasis, Decimal] = field(default_factory=dict)
    unknown: int = 0

    @property
    def known_usd(self) -> Decimal:
        """All that is known; where `unknown` is not zero, the true cost is higher."""
        return sum(self.usd.values(), Decimal(0))

    def plus(self, row: CostRow) -> "Totals":
        """These totals with one row more."""
        usd = self.usd
        if row.cost_usd is not None:
            usd = {**usd, row.cost_basis: usd.get(row.cost_basis, Decimal(0)) + row.cost_usd}
        return replace(
            self,
            rows=self.rows + 1,
            input_tokens=self.input_tokens + (row.input_tokens or 0),
            cached_input_tokens=self.cached_input_tokens + (row.cached_input_tokens or 0),
            output_tokens=self.output_tokens + (row.output_tokens or 0),
            usd=usd,
            unknown=self.unknown + (row.cost_usd is None),
        )


_KEYS: dict[GroupBy, Callable[[CostRow], str | None]] = {
    GroupBy.TASK: lambda row: row.task_id,
    GroupBy.INTERFACE: lambda row: row.interface,
    GroupBy.CHAIN: lambda row: row.chain_id,
    GroupBy.TYPE: lambda row: row.task_type,
    GroupBy.DAY: lambda row: row.day,
    GroupBy.SESSION: lambda row: row.session_id,
}


def total(rows: Iterable[CostRow]) -> Totals:
    """The sums, each attempt once (a merge of two branches may bring a row twice)."""
    sums = Totals()
    for row in _once(rows):
        sums = sums.plus(row)
    return sums


def chains_of(rows: Iterable[CostRow]) -> frozenset[str]:
    """The chains that rows name."""
    return frozenset(row.chain_id for row in rows if row.chain_id is not None)


def with_roots(rows: Iterable[CostRow], chains: Collection[str]) -> Iterator[CostRow]:
    """The rows, in which a task that one of `chains` is called after belongs to that chain.

    When its attempts were written down nobody knew of the tasks that would follow it, so its own rows name no chain.
    """
    for row in rows:
        is_root = row.chain_id is None and row.task_id in chains
        yield replace(row, chain_id=row.task_id) if is_root else row


def group(rows: Iterable[CostRow], by: GroupBy) -> dict[str | None, Totals]:
    """The sums per key in the order in which the keys first appear; None is: has none. Each attempt counts once."""
    key = _KEYS[by]
    groups: dict[str | None, Totals] = {}
    for row in _once(rows):
        groups[key(row)] = groups.get(key(row), Totals()).plus(row)
    return groups


def sums_csv(groups: Mapping[str | None, Totals], by: GroupBy) -> str:
    """The groups as a CSV table without a line of totals, so that its columns add up to them; cost_usd is empty where nothing is known."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    bases = [basis for basis in CostBasis if basis is not CostBasis.UNKNOWN]
    counts = ("attempts", "input_tokens", "cached_input_tokens", "output_tokens")
    writer.writerow((by.value, *counts, "cost_usd", *(f"{basis.value}_usd" for basis in bases), "unknown_costs"))
    for key, found in groups.items():
        known = None if found.unknown == found.rows else plain_decimal(found.known_usd)
        split = (plain_decimal(found.usd.get(basis, Decimal(0))) for basis in bases)
        figures = (
            found.rows,
            found.input_tokens,
            found.cached_input_tokens,
            found.output_tokens,
            known,
            *split,
            found.unknown,
        )
        writer.writerow(map(csv_cell, (key, *figures)))
    return text.getvalue()


def _once(rows: Iterable[CostRow]) -> Iterator[CostRow]:
    seen: set[str] = set()
    for row in rows:
        if row.attempt_id not in seen:
            seen.add(row.attempt_id)
            yield row
