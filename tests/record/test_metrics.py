"""The day's metrics follow from its rows, and an outage is not a bad answer."""

import json
import pickle
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cost_row import CostRow, Why
from brain_daemon.model.outcome import FailureKind, Reason, Status
from brain_daemon.record.metrics import AVAILABILITY, QUALITY, DayTally, percentile

DAY = "2026-11-20"
OTHER = {
    FailureKind.ASKED,
    FailureKind.WAITING,
    Reason.MALFORMED,
    Reason.DEPENDENCY_FAILED,
    Reason.HANDOFF_MISSING,
    Reason.BUDGET_EXCEEDED,
    Reason.INTERRUPTED,
    Reason.CANCELLED,
    Reason.NO_INTERFACE,
    FailureKind.PERMISSION_DENIED,
    FailureKind.BUDGET,
}


def row(number: int, **changes: object) -> CostRow:
    made = CostRow(
        timestamp=f"{DAY}T20:15:04Z",
        task_id=f"task-{number}",
        attempt_id=f"task-{number}.a1.{number:08x}",
        attempt=1,
        status=Status.COMPLETED,
        interface="upper",
        task_type="code",
        duration_seconds=float(number),
    )
    return replace(made, **changes)


def failed(number: int, reason: Why | None, **changes: object) -> CostRow:
    return row(number, status=Status.FAILED, reason=reason, **changes)


def test_every_reason_is_judged():
    """Whoever adds a reason decides whether it says something about quality."""
    assert {*Reason, *FailureKind} == AVAILABILITY | QUALITY | OTHER
    assert not AVAILABILITY & QUALITY


def test_an_outage_is_not_a_bad_answer():
    """Only quality failures lower the rate."""
    rows = [
        row(1),
        row(2),
        row(3),
        failed(4, Reason.TOOL_FAILED),
        failed(5, FailureKind.RATE_LIMIT),
        failed(6, Reason.AUTH),
        failed(7, Reason.CANCELLED),
        failed(8, None),
    ]
    facts = DayTally(DAY, rows).facts()["interfaces"]["upper"]["all"]
    assert facts == {
        "count": 8,
        "completed": 3,
        "failed": {"quality": 1, "availability": 2, "other": 2},
        "success_rate": 0.75,
        "latency_seconds": {"p50": 2.0, "p95": 3.0},
    }


def test_nothing_judged_has_no_rate():
    """An interface that was only down is neither good nor bad."""
    facts = DayTally(DAY, [failed(1, FailureKind.QUOTA)]).facts()["total"]
    assert facts["success_rate"] is None
    assert facts["latency_seconds"] == {"p50": None, "p95": None}


def test_types_stand_under_their_interface():
    """Names in order; no type is general; no interface counts in the total alone."""
    rows = [row(1), row(2, task_type=None), row(3, interface="codex"), failed(4, Reason.MALFORMED, interface=None)]
    facts = DayTally(DAY, rows).facts()
    assert facts["total"]["count"] == 4
    assert {name: list(told["types"]) for name, told in facts["interfaces"].items()} == {
        "codex": ["code"],
        "upper": ["code", "general"],
    }
    assert list(facts["interfaces"]) == ["codex", "upper"]


def test_an_attempt_counts_once_and_only_on_its_day():
    """A redo and yesterday's row change nothing."""
    tally = DayTally(DAY, [row(1)])
    before = tally.render()
    tally.add(row(1))
    tally.add(row(2, timestamp="2026-11-19T23:59:59Z"))
    assert tally.render() == before


def test_a_restart_counts_a_duration_as_it_was_counted_before():
    """The ledger has it to the millisecond, rounded its own way."""
    told = row(1, duration_seconds=0.0025)
    read = CostRow.from_values(told.to_values())
    assert DayTally(DAY, [told]).render() == DayTally(DAY, [read]).render()


def test_what_is_settled_takes_no_room():
    """A day of a hundred thousand attempts is kept as the durations they took."""
    tally = DayTally(DAY)
    for number in range(50):
        tally.add(row(number))
        tally.settle()
    once = sys.getsizeof(pickle.dumps(tally))
    for number in range(50, 5000):
        tally.add(row(number % 50 + 1, attempt_id=f"t{number}.a1.00000000"))
        tally.settle()
    assert tally.facts()["total"]["count"] == 5000
    assert sys.getsizeof(pickle.dumps(tally)) < once + 100


@given(st.lists(st.integers(0, 10**7), min_size=1))
def test_counted_latencies_are_those_of_the_rows(milliseconds):
    """The percentiles of a list of them, though no list is kept."""
    rows = [row(number, duration_seconds=took / 1000) for number, took in enumerate(milliseconds, 1)]
    told = DayTally(DAY, rows).facts()["total"]["latency_seconds"]
    seconds = sorted(took / 1000 for took in milliseconds)
    assert told == {"p50": percentile(seconds, 50), "p95": percentile(seconds, 95)}


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["a", "b", None]), st.text(max_size=5))), st.randoms())
def test_the_file_is_json_and_does_not_depend_on_the_order(told, random):
    """The same rows give the same bytes, which read back as the facts."""
    rows = list({number: row(number, interface=name, task_type=kind) for number, name, kind in told}.values())
    tally = DayTally(DAY, rows)
    shuffled = rows[:]
    random.shuffle(shuffled)
    late = DayTally(DAY)
    for made in shuffled:
        late.add(made)
        late.render()
    assert json.loads(tally.render()) == tally.facts()
    assert late.render() == tally.render()


def test_use_is_counted_per_interface():
    """Attempts, requests (one where nobody tells) and tokens, for usage.md."""
    tally = DayTally(DAY, [row(1, input_tokens=10, output_tokens=4), failed(2, Reason.TOOL_FAILED)])
    tally.add(row(3, interface="codex", input_tokens=5), requests=7)
    tally.add(row(3, interface="codex", input_tokens=5), requests=7)
    tally.add(failed(4, Reason.MALFORMED, interface=None))
    assert tally.used() == {"upper": (2, 2, 14), "codex": (1, 7, 5)}


def test_a_line_is_a_cell_of_the_table():
    """A diff shows what changed."""
    lines = DayTally(DAY, [row(1), row(2, interface="codex")]).render().decode().splitlines()
    assert sum('"count"' in line for line in lines) == 5
    assert lines[1] == '  "day": "2026-11-20",'


@pytest.mark.parametrize(
    ("seconds", "percent", "expected"),
    [
        ([], 50, None),
        ([7.0], 95, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([float(n) for n in range(1, 101)], 95, 95.0),
        ([0.12345], 50, 0.123),
    ],
)
def test_percentiles_are_nearest_rank(seconds: list[float], percent: int, expected: float | None):
    """A percentile is a latency that was measured."""
    assert percentile(seconds, percent) == expected
