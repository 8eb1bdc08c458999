"""The text form of a ledger row: exact, one line, safe in a spreadsheet, and refused where it is not one of ours."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.cost_row import COLUMNS, CostRow, is_plausible_usd
from brain_daemon.model.errors import Damaged
from brain_daemon.model.interface import Tier
from brain_daemon.model.outcome import CostBasis, FailureKind, Mode, Reason, Status

ROW = CostRow(
    timestamp="2026-11-20T20:15:04Z",
    task_id="task-001",
    attempt_id="task-001.a1.0123abcd",
    attempt=1,
    status=Status.COMPLETED,
    interface="claude_code",
    account="anthropic-max",
    tier=Tier.SUBSCRIPTION,
    model="claude-sonnet-4-5",
    task_type="code",
    chain_id="nightly",
    input_tokens=1200,
    cached_input_tokens=0,
    output_tokens=340,
    cost_usd=Decimal("0.0045"),
    cost_basis=CostBasis.REPORTED,
    duration_seconds=12.4,
    overhead_seconds=0.003,
)
KINDS = {
    **dict.fromkeys(("attempt", "input_tokens", "cached_input_tokens", "output_tokens"), "integer"),
    **dict.fromkeys(("duration_seconds", "overhead_seconds"), "real"),
}
CELLS = dict(zip(COLUMNS, ROW.to_csv(), strict=True))


def cells(**changes: str) -> list[str]:
    return list({**CELLS, **changes}.values())


texts = st.none() | st.text(max_size=60).map(clean_line).filter(bool)
counts = st.none() | st.integers(0, 10**17)
costs = st.one_of(
    st.just((None, CostBasis.UNKNOWN)),
    st.tuples(
        st.decimals(0, 10**6, allow_nan=False, allow_infinity=False).filter(is_plausible_usd),
        st.sampled_from([basis for basis in CostBasis if basis is not CostBasis.UNKNOWN]),
    ),
)
seconds = st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000)


@st.composite
def rows(draw: st.DrawFn) -> CostRow:
    usd, basis = draw(costs)
    return CostRow(
        timestamp=draw(st.datetimes().map(lambda at: at.strftime("%Y").zfill(4) + at.strftime("-%m-%dT%H:%M:%SZ"))),
        task_id="task-001",
        attempt_id=f"task-001.a1.{draw(st.integers(0, 2**32 - 1)):08x}",
        attempt=draw(st.integers(1, 99)),
        status=draw(st.sampled_from(Status)),
        reason=draw(st.none() | st.sampled_from([*Reason, *FailureKind])),
        interface=draw(texts),
        account=draw(texts),
        tier=draw(st.none() | st.sampled_from(Tier)),
        model=draw(texts),
        task_type=draw(texts),
        mode=draw(st.sampled_from(Mode)),
        chain_id=draw(texts),
        parent_id=draw(texts),
        session_id=draw(texts),
        input_tokens=draw(counts),
        cached_input_tokens=draw(counts),
        output_tokens=draw(counts),
        cost_usd=usd,
        cost_basis=basis,
        duration_seconds=draw(seconds),
        overhead_seconds=draw(st.none() | seconds),
    )


def test_the_columns_are_those_people_were_promised():
    """The order and the names are a file format."""
    promised = (
        "timestamp task_id attempt_id attempt status reason interface account tier model task_type mode chain_id "
        "parent_id session_id input_tokens cached_input_tokens output_tokens cost_usd cost_basis duration_seconds overhead_seconds"
    )
    assert promised.split() == list(COLUMNS)


def test_a_row_reads_as_a_person_expects():
    """Empty is none, figures are plain."""
    assert ",".join(ROW.to_csv()) == (
        "2026-11-20T20:15:04Z,task-001,task-001.a1.0123abcd,1,completed,,claude_code,anthropic-max,subscription,"
        "claude-sonnet-4-5,code,daemon,nightly,,,1200,0,340,0.0045,reported,12.400,0.003"
    )
    assert ROW.day == "2026-11-20"


@given(rows())
def test_a_row_survives_its_text_form(row: CostRow):
    """from_csv gives back what to_csv wrote."""
    assert CostRow.from_csv(row.to_csv()) == row


@given(rows())
def test_a_row_survives_a_database(row: CostRow):
    """A strict SQLite table gives back what to_values gave it, and the view's columns are the file's."""
    with closing(sqlite3.connect(":memory:")) as connection:
        types = ", ".join(f"{column} {KINDS.get(column, 'text')}" for column in COLUMNS)
        connection.execute(f"create table outcomes ({types}) strict")
        connection.execute(f"insert into outcomes values ({', '.join('?' * len(COLUMNS))})", row.to_values())
        assert CostRow.from_values(connection.execute("select * from outcomes").fetchone()) == row


def test_database_and_file_hold_the_same_text_and_durations():
    """A rebuild from the text changes no total and no group."""
    row = replace(ROW, model="a\n b\x1b", chain_id=" ", duration_seconds=1.23456, overhead_seconds=0.00001)
    assert CostRow.from_csv(row.to_csv()) == CostRow.from_values(row.to_values())
    assert CostRow.from_values(row.to_values()).chain_id is None


def test_values_that_are_not_ours_are_refused():
    """A word of no set is damage, not a guess."""
    with pytest.raises(Damaged, match="'gold' is not a valid Tier"):
        CostRow.from_values(
            ["gold" if column == "tier" else value for column, value in zip(COLUMNS, ROW.to_values(), strict=True)]
        )


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("1E-7", "0.0000001"),
        ("1E+3", "1000"),
        ("0.10", "0.10"),
        ("123456789.123456789012345678", "123456789.123456789012345678"),
    ],
)
def test_dollars_are_exact_and_never_in_exponent_notation(usd: str, text: str):
    """Every digit stands, also the last zero."""
    row = replace(ROW, cost_usd=Decimal(usd), cost_basis=CostBasis.PRICED)
    assert dict(zip(COLUMNS, row.to_csv(), strict=True))["cost_usd"] == text


def test_an_unknown_cost_is_an_empty_cell_that_says_unknown():
    """Unknown is never zero."""
    written = dict(zip(COLUMNS, replace(ROW, cost_usd=None, cost_basis=CostBasis.UNKNOWN).to_csv(), strict=True))
    assert (written["cost_usd"], written["cost_basis"]) == ("", "unknown")


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "'quoted", "\uff1dcmd", "@cf/meta/llama-3"])
def test_a_formula_is_written_as_text_and_read_as_it_was(formula: str):
    """No spreadsheet runs what a model is called."""
    row = replace(ROW, model=formula)
    assert dict(zip(COLUMNS, row.to_csv(), strict=True))["model"] == f"'{formula}"
    assert CostRow.from_csv(row.to_csv()).model == formula


@given(st.text())
def test_no_text_from_outside_breaks_a_line(text: str):
    """Line feeds, controls and lone surrogates never reach the file."""
    written = replace(ROW, model=text, session_id=text).to_csv()
    assert all(sign.isprintable() or sign == " " or ord(sign) > 0xA0 for sign in "".join(written))
    assert "\n" not in "".join(written)
    "".join(written).encode()
    CostRow.from_csv(written)


@pytest.mark.parametrize(
    "changes",
    [
        {"cost_usd": None},
        {"cost_basis": CostBasis.UNKNOWN},
        {"cost_usd": Decimal("NaN")},
        {"cost_usd": Decimal("Infinity")},
        {"cost_usd": Decimal("-0.01")},
        {"cost_usd": Decimal("1E-999")},
        {"cost_usd": Decimal("1E+999999")},
        {"input_tokens": -1},
        {"output_tokens": 10**18},
        {"duration_seconds": float("nan")},
        {"duration_seconds": -0.1},
        {"overhead_seconds": float("inf")},
    ],
)
def test_a_row_that_cannot_be_is_not_built(changes: dict[str, object]):
    """What the file could not hold is refused where it arises."""
    with pytest.raises(ValueError, match=r"cost_usd|tokens|durations"):
        replace(ROW, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"timestamp": "yesterday"}, "timestamp holds 'yesterday'"),
        ({"task_id": ""}, "task_id is empty"),
        ({"attempt_id": "'"}, "attempt_id is empty"),
        ({"attempt": "one"}, "attempt holds 'one'"),
        ({"status": "done"}, "'done' is not a valid Status"),
        ({"reason": "moon"}, "'moon' is not a valid FailureKind"),
        ({"tier": "gold"}, "'gold' is not a valid Tier"),
        ({"input_tokens": "-5"}, "input_tokens holds '-5'"),
        ({"output_tokens": "\u0665"}, "output_tokens holds"),
        ({"cost_usd": "1e3"}, "cost_usd holds '1e3'"),
        ({"cost_usd": ""}, "does not go with the basis"),
        ({"cost_usd": "9999999999999"}, "between 0 and 10"),
        ({"duration_seconds": ""}, "duration_seconds holds ''"),
        ({"overhead_seconds": "nan"}, "overhead_seconds holds 'nan'"),
    ],
)
def test_a_row_that_is_not_ours_says_which_cell_is_wrong(changes: dict[str, str], says: str):
    """Nothing is guessed."""
    with pytest.raises(Damaged, match=says):
        CostRow.from_csv(cells(**changes))


@pytest.mark.parametrize("length", [0, len(COLUMNS) - 1, len(COLUMNS) + 1])
def test_a_row_of_another_length_is_refused(length: int):
    """A torn row is no shorter row."""
    with pytest.raises(Damaged, match=f"{length} cells"):
        CostRow.from_csv([*cells(), "x"][:length])


def test_the_reason_may_be_the_finer_kind_of_no():
    """A rate limit is told from a bad answer in the ledger alone."""
    assert CostRow.from_csv(cells(status="failed", reason="rate_limit")).reason is FailureKind.RATE_LIMIT
    assert CostRow.from_csv(cells(status="failed", reason="timed_out")).reason is Reason.TIMED_OUT
