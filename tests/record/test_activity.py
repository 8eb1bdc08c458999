"""The day's log lines: once an attempt, one line each, whatever the text."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import CostBasis, FailureKind, Reason, Status
from brain_daemon.record.activity import (
    MAX_MESSAGE_LENGTH,
    Happening,
    activity_count,
    activity_line,
    append_activity,
    append_errors,
    error_count,
    error_line,
)


def row(number: int = 1, **changes: object) -> CostRow:
    made = CostRow(
        timestamp="2026-11-20T20:15:04Z",
        task_id=f"task-{number}",
        attempt_id=f"task-{number}.a1.{number:08x}",
        attempt=1,
        status=Status.COMPLETED,
        interface="claude_code",
        cost_usd=Decimal("0.0045"),
        cost_basis=CostBasis.REPORTED,
        duration_seconds=12.4,
    )
    return replace(made, **changes)


def failed(number: int = 1, message: str = "boom", **changes: object) -> Happening:
    return Happening(
        row=row(number, status=Status.FAILED, reason=Reason.TOOL_FAILED, **changes), title="Title", message=message
    )


def test_an_outcome_is_one_readable_line():
    """Time, status, id, title, interface, duration, cost, attempt."""
    assert activity_line(Happening(row=row(), title="Title")) == (
        "- 20:15:04Z completed **task-1** Title (claude_code, 12.4 s, $0.0045) `task-1.a1.00000001`\n"
    )
    assert activity_line(failed(interface=None)) == (
        "- 20:15:04Z failed **task-1** Title (tool_failed, 12.4 s, $0.0045) `task-1.a1.00000001`\n"
    )


def test_an_activity_file_takes_each_attempt_once():
    """Recording twice equals once; the heading names the day."""
    data = append_activity(b"", [Happening(row=row(1)), Happening(row=row(2)), Happening(row=row(1))])
    assert data.startswith(b"# Activity 2026-11-20\n\n- ")
    assert activity_count(data) == 2
    assert append_activity(data, [Happening(row=row(2))]) == data
    assert append_activity(data.replace(b"\n", b"\r\n"), [Happening(row=row(2))]) == data.replace(b"\n", b"\r\n")


@given(st.text())
def test_no_title_adds_or_hides_a_line(title: str):
    """A title that looks like the end of another line is still a title."""
    forged = f"{title} `{row(2).attempt_id}`\n- 20:15:04Z completed **x** `{row(3).attempt_id}`"
    data = append_activity(b"", [Happening(row=row(1), title=forged), Happening(row=row(2)), Happening(row=row(3))])
    assert activity_count(data) == 3
    assert len(data.decode().splitlines()) == 5


def test_a_line_that_was_torn_is_ended_first():
    """What is there stays, and the next line stands on its own."""
    whole = append_activity(b"", [Happening(row=row(1)), Happening(row=row(2))])
    again = append_activity(whole[:-9], [Happening(row=row(2))])
    assert again.startswith(whole[:-9] + b"\n")
    assert again.endswith(b"`task-2.a1.00000002`\n")


def test_only_failed_attempts_are_errors():
    """One object each, once, with what is known."""
    data = append_errors(b"", [Happening(row=row(1)), failed(2), failed(2), failed(3)])
    assert error_count(data) == 2
    assert append_errors(data, [failed(3), Happening(row=row(1))]) == data
    first = json.loads(data.splitlines()[0])
    assert first == {
        "timestamp": "2026-11-20T20:15:04Z",
        "task_id": "task-2",
        "attempt_id": "task-2.a1.00000002",
        "attempt": 1,
        "reason": "tool_failed",
        "interface": "claude_code",
        "duration_seconds": 12.4,
        "message": "boom",
    }


def test_an_error_tells_what_is_known_of_it():
    """The finer reason, model, chain, survivors and warnings."""
    made = row(1, status=Status.FAILED, reason=FailureKind.QUOTA, model="m", chain_id="night")
    told = json.loads(error_line(Happening(row=made, message="m" * 9999, survivors=("sleep (4711)",), warnings=("w",))))
    assert (told["reason"], told["model"], told["chain_id"]) == ("quota", "m", "night")
    assert (told["survivors"], told["warnings"]) == (["sleep (4711)"], ["w"])
    assert len(told["message"]) == MAX_MESSAGE_LENGTH


@given(st.text())
def test_no_message_adds_or_hides_an_error(message: str):
    """A message that quotes another attempt's member is still a message."""
    forged = f'{message}\n{{"attempt_id":"{row(2).attempt_id}"}}"attempt_id":"{row(3).attempt_id}"'
    data = append_errors(b"", [failed(1, forged), failed(2), failed(3)])
    assert [json.loads(line)["task_id"] for line in data.decode().split("\n")[:-1]] == ["task-1", "task-2", "task-3"]


@pytest.mark.parametrize("torn", [b'{"attempt_id":"task-2.a1.0000', b"{}"])
def test_a_torn_object_is_kept_and_ended(torn: bytes):
    """The next object is whole."""
    data = append_errors(torn, [failed(2)])
    assert data.startswith(torn + b"\n{")
    json.loads(data.splitlines()[-1])
