"""The ledger: one row an attempt, never too low, and a damaged file is named."""

import csv
import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.cost_row import COLUMNS, CostRow
from brain_daemon.model.errors import Damaged
from brain_daemon.model.outcome import CostBasis, Status
from brain_daemon.record import ledger
from brain_daemon.record.ledger import GroupBy, Totals, append, group, holds, parse, total

NAME = "logs/costs/2026-11-20.csv"
HEADER = ",".join(COLUMNS) + "\n"


def row(number: int = 1, **changes: object) -> CostRow:
    made = CostRow(
        timestamp="2026-11-20T20:15:04Z",
        task_id=f"task-{number}",
        attempt_id=f"task-{number}.a1.{number:08x}",
        attempt=1,
        status=Status.COMPLETED,
        interface="upper",
        task_type="general",
        input_tokens=10,
        output_tokens=4,
        cost_usd=Decimal("0.10"),
        cost_basis=CostBasis.PRICED,
        duration_seconds=1.5,
    )
    return replace(made, **changes)


some_rows = st.lists(
    st.builds(
        lambda number, model, chain: row(number, model=model, chain_id=chain),
        st.integers(0, 50),
        st.none() | st.text().map(clean_line).filter(bool),
        st.none() | st.text().map(clean_line).filter(bool),
    ),
    max_size=12,
    unique_by=lambda made: made.attempt_id,
)


@given(some_rows, some_rows)
def test_what_was_appended_is_what_is_read(first: list[CostRow], second: list[CostRow]):
    """In the order given, the rows already there once."""
    data = append(append(b"", first, NAME), second, NAME)
    known = {made.attempt_id for made in first}
    expected = [*first, *(made for made in second if made.attempt_id not in known)]
    assert list(parse(data, NAME) if data else ()) == expected
    assert append(data, [*second, *first], NAME) == data
    assert ledger.count(data) == len(expected)


def test_a_new_file_begins_with_its_header_and_ends_its_lines_with_line_feeds():
    """The file is plain CSV for any tool."""
    data = append(b"", [row(1), row(1), row(2)], NAME)
    assert data.startswith(HEADER.encode())
    assert b"\r" not in data
    assert [cells["task_id"] for cells in csv.DictReader(io.StringIO(data.decode()))] == ["task-1", "task-2"]


def test_nothing_to_add_leaves_the_bytes_alone():
    """A redo writes nothing."""
    assert append(b"", [], NAME) == b""
    data = append(b"", [row()], NAME)
    assert append(data, [row()], NAME) is data


@given(st.text())
def test_no_text_adds_or_hides_a_row(text: str):
    """A model called like a row is still a cell."""
    forged = f'{text}\n{",".join(row(7).to_csv())}\n"{row(8).attempt_id}'
    data = append(b"", [row(1, model=forged, session_id=forged)], NAME)
    data = append(data, [row(7), row(8)], NAME)
    assert [made.task_id for made in parse(data, NAME)] == ["task-1", "task-7", "task-8"]
    assert not holds(append(b"", [row(1, model=row(9).attempt_id)], NAME), row(9).attempt_id, NAME)


def test_a_part_says_whether_it_holds_an_attempt():
    """A redo asks before it places a row in a later part."""
    data = append(b"", [row(1)], NAME)
    assert holds(data, row(1).attempt_id, NAME)
    assert not holds(data, row(2).attempt_id, NAME)


def test_added_columns_and_another_order_are_kept():
    """A person may add a column of their own; new rows leave it empty."""
    columns = ("note", *reversed(COLUMNS))
    cells = dict(zip(COLUMNS, row(1).to_csv(), strict=True))
    line = ",".join(["mine", *(cells[column] for column in reversed(COLUMNS))])
    data = append(f"{','.join(columns)}\n{line}\n".encode(), [row(2)], NAME)
    assert parse(data, NAME) == (row(1), row(2))
    assert data.decode().splitlines()[1].startswith("mine,")
    assert data.decode().splitlines()[2].startswith(",")


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_file_that_a_spreadsheet_saved_is_read_and_added_to(bom: bytes):
    """CRLF and a byte-order mark change no row."""
    saved = bom + append(b"", [row(1), row(2)], NAME).replace(b"\n", b"\r\n")
    assert parse(append(saved, [row(1), row(3)], NAME), NAME) == (row(1), row(2), row(3))


GOOD = append(b"", [row(1), row(2)], NAME)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (GOOD[:-1], "line 3 does not end"),
        (GOOD[:-30], "line 3 does not end"),
        (HEADER.encode()[:-20], "line 1 does not end"),
        (HEADER.replace("cost_usd,", "").encode(), "lacks the columns cost_usd"),
        (b"\n", "lacks the columns timestamp"),
        (GOOD + b"<<<<<<< ours\n", "line 4: the row has 1 cells where 22"),
        (GOOD + b"\n", "line 4: the row has 0 cells"),
        (GOOD.replace(b"task-2,", b",", 1), "line 3: the column task_id is empty"),
        (GOOD + b'"torn\n', "line 4: unexpected end of data"),
        (GOOD.replace(b"upper", b"\xff\xfe", 1), "line 2: not UTF-8"),
        (HEADER.replace("timestamp", "note,timestamp").encode() + b"a,b\n", "line 2: the row has 2 cells where 23"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(data: bytes, says: str):
    """Nothing is skipped and nothing is guessed."""
    with pytest.raises(Damaged, match=says) as raised:
        parse(data, NAME)
    assert NAME in str(raised.value)


@pytest.mark.parametrize("data", [GOOD[:-1], GOOD[:40], b"a,b\n"])
def test_nothing_is_added_to_a_damaged_file(data: bytes):
    """The evidence stays as it is."""
    with pytest.raises(Damaged, match=NAME):
        append(data, [row(5)], NAME)


def test_totals_add_up_and_say_what_is_unknown():
    """An unknown cost is in no sum and counted."""
    rows = [
        row(1, cached_input_tokens=3),
        row(2, cost_usd=Decimal("0.2"), cost_basis=CostBasis.REPORTED, input_tokens=None, output_tokens=None),
        row(3, cost_usd=None, cost_basis=CostBasis.UNKNOWN),
        row(1),
    ]
    sums = total(rows)
    assert sums == Totals(
        rows=3,
        input_tokens=20,
        cached_input_tokens=3,
        output_tokens=8,
        usd={CostBasis.PRICED: Decimal("0.10"), CostBasis.REPORTED: Decimal("0.2")},
        unknown=1,
    )
    assert sums.known_usd == Decimal("0.30")


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (GroupBy.TASK, ["task-1", "task-2", "task-3"]),
        (GroupBy.INTERFACE, ["upper", None]),
        (GroupBy.CHAIN, [None, "night"]),
        (GroupBy.TYPE, ["general"]),
        (GroupBy.DAY, ["2026-11-20", "2026-11-21"]),
        (GroupBy.SESSION, [None, "s1"]),
    ],
)
def test_groups_hold_each_attempt_once(by: GroupBy, keys: list[str | None]):
    """However they are cut, the groups sum to the total."""
    rows = [
        row(1),
        row(2, chain_id="night", session_id="s1"),
        row(3, interface=None, timestamp="2026-11-21T00:00:00Z"),
        row(2, chain_id="night", session_id="s1"),
    ]
    groups = group(rows, by)
    assert list(groups) == keys
    assert sum(sums.rows for sums in groups.values()) == total(rows).rows == 3
    assert sum(sums.known_usd for sums in groups.values()) == total(rows).known_usd


def test_a_task_that_a_chain_is_called_after_belongs_to_it():
    """Its rows were written before anybody named them; rows of a chain of their own, and of nobody's root, stay what they are."""
    rows = [row(1, task_id="a"), row(2, task_id="b", chain_id="a"), row(3, task_id="c")]
    found = group(ledger.with_roots(rows, ledger.chains_of(rows)), GroupBy.CHAIN)
    assert {key: sums.rows for key, sums in found.items()} == {"a": 2, None: 1}
