"""What a recorded task says about its outcome: values in, a block and a text out."""

from decimal import Decimal

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.outcome import (
    FREE,
    Cancelled,
    Cost,
    CostBasis,
    Ended,
    Failed,
    FailureKind,
    Interrupted,
    Reason,
    Status,
    Succeeded,
    TimedOut,
    Usage,
)
from brain_daemon.model.parsing import parse_task
from brain_daemon.record.result import cost_row, outcome_message, part

TASK = parse_task("t.md", b"---\ntype: code\nchain: night\n---\n# Sum it up\n")
QUOTA = Failed(kind=FailureKind.QUOTA, message="no more today")


def attempt(outcome, status=Status.FAILED, reason=None, message="", **changes) -> Attempt:
    """An attempt that ended so."""
    given = {
        "started_at": 1_000_000_000.0,
        "finished_at": 1_000_000_002.5,
        "duration_seconds": 2.5004,
        "cost": FREE,
        **{
            key: changes.pop(key)
            for key in ("text", "usage", "cost", "model", "survivors", "warnings")
            if key in changes
        },
    }
    made = Attempt(
        **{
            "attempt_id": "t.a2.00000000",
            "task_id": "t",
            "number": 2,
            "state": AttemptState.STARTING,
            "name": "t.md",
            "sha256": "aa",
            "spec": b"",
            "claimant": "daemon",
            "claimed_at": 999_999_999.0,
            "started_at": 999_999_999.5,
            "interface": "echo",
            "tier": "paid",
            **changes,
        }
    )
    return made.finished(Ended(outcome=outcome, **given), Decision.FINISH, status, reason, message)


def test_a_success_is_its_text_under_result():
    """The facts stand in the block, what is unknown is left out, a zero is not."""
    done = attempt(
        Succeeded(text="answer"),
        Status.COMPLETED,
        text="answer",
        usage=Usage(input_tokens=3, output_tokens=0, requests=1, estimated=True),
        cost=Cost(usd=Decimal("0.0045"), basis=CostBasis.PRICED),
        model="big",
        routing={"reason": "free", "tier": "paid", "rejected": {"other": "no"}},
        warnings=("careful",),
    )
    found = part(done, TASK, [], ["t.files/a"], ["said"])
    assert (found.heading, found.text) == ("Result", "answer")
    assert found.values["usage"] == {"input_tokens": 3, "output_tokens": 0, "requests": 1, "estimated": True}
    assert found.values["cost_usd"] == Decimal("0.0045")
    assert found.values["started"] == "2001-09-09T01:46:40Z"
    assert found.values["duration_seconds"] == 2.5
    assert found.values["routing"]["rejected"] == {"other": "no"}
    assert found.values["files"] == ["t.files/a"]
    assert found.values["warnings"] == ["careful", "said"]
    assert found.values["chain"] == "night"
    assert not {"reason", "client_session", "survivors", "attempts", "name"} & set(found.values)


def test_an_unknown_cost_is_written_and_is_not_zero():
    """`cost_usd` is there and empty, the basis says unknown."""
    found = part(
        attempt(Succeeded(text=""), Status.COMPLETED, cost=Cost(usd=None, basis=CostBasis.UNKNOWN)), TASK, [], [], []
    )
    assert found.values["cost_usd"] is None
    assert found.values["cost_basis"] == "unknown"


@pytest.mark.parametrize(
    ("outcome", "reason", "said"),
    [
        (QUOTA, Reason.TOOL_FAILED, "no more today"),
        (TimedOut(after_seconds=90), Reason.TIMED_OUT, "1 min 30 s"),
        (TimedOut(after_seconds=30, inactive=True), Reason.TIMED_OUT, "said nothing"),
        (Cancelled(why="not needed"), Reason.CANCELLED, "not needed"),
        (Interrupted(why="power"), Reason.INTERRUPTED, "power"),
        (Failed(kind=FailureKind.PERMANENT, message=""), Reason.TOOL_FAILED, "without saying why"),
    ],
)
def test_a_failure_is_a_sentence_and_the_next_step(outcome, reason, said):
    """Under `## Error`."""
    found = part(attempt(outcome, reason=reason), None, [], [], [])
    assert found.heading == "Error"
    assert said.replace(" ", "") in found.text.replace(" ", "")
    assert "brain retry t" in found.text
    assert found.values["reason"] == reason.value


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_next_step(reason):
    """No reason leaves the person without one."""
    text = part(attempt(QUOTA, reason=reason), None, [], [], []).text
    assert "brain " in text or "pending/" in text
    assert "{" not in text


def test_what_it_had_said_and_what_still_runs_is_not_lost():
    """Once each."""
    found = part(
        attempt(QUOTA, reason=Reason.TOOL_FAILED, text="half an answer", survivors=("pid 7 (sleep)",)), None, [], [], []
    )
    assert "half an answer" in found.text
    assert "- pid 7 (sleep)" in found.text
    assert found.values["survivors"] == ["pid 7 (sleep)"]
    again = part(attempt(QUOTA, reason=Reason.TOOL_FAILED, text="no more today"), None, [], [], [])
    assert again.text.count("no more today") == 1


def test_earlier_attempts_are_listed_with_their_ends():
    """One that was released has no end and no cost."""
    released = Attempt(
        attempt_id="t.a1.00000000", task_id="t", number=1, state=AttemptState.RELEASED, name="t.md", sha256="", spec=b"", claimant="agent", claimed_at=0.0,
    )  # fmt: skip
    found = part(attempt(Succeeded(text=""), Status.COMPLETED), TASK, [released, attempt(QUOTA)], [], [])
    assert found.values["attempts"] == [
        {"attempt": 1, "ended": "released"},
        {"attempt": 2, "interface": "echo", "ended": "failed", "why": "no more today", "cost_usd": Decimal(0)},
    ]


def test_a_name_that_is_not_the_id_is_kept():
    """An Obsidian title can be found again."""
    found = part(attempt(Succeeded(text=""), Status.COMPLETED, name="Größe.md"), TASK, [], [], [])
    assert found.values["name"] == "Größe.md"


def test_an_attempt_that_has_not_ended_has_no_part():
    """A caller's mistake is loud."""
    open_one = Attempt(
        attempt_id="t.a1.00000000", task_id="t", number=1, state=AttemptState.STARTING, name="t.md", sha256="", spec=b"", claimant="d", claimed_at=0.0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="has not ended"):
        part(open_one, TASK, [], [], [])


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "written"),
    [
        (Succeeded(text=""), Status.COMPLETED, None, None),
        (QUOTA, None, None, FailureKind.QUOTA),
        (QUOTA, Status.FAILED, Reason.TOOL_FAILED, FailureKind.QUOTA),
        (QUOTA, Status.FAILED, Reason.AUTH, Reason.AUTH),
        (Failed(kind=FailureKind.PERMANENT, message=""), None, None, Reason.TOOL_FAILED),
        (TimedOut(after_seconds=1), None, None, Reason.TIMED_OUT),
        (Cancelled(), Status.FAILED, Reason.CANCELLED, Reason.CANCELLED),
        (Interrupted(why=""), None, None, Reason.INTERRUPTED),
    ],
)
def test_each_attempt_has_a_row_with_the_finest_reason(outcome, status, reason, written):
    """An attempt that did not end its task counts as failed, for what its interface said."""
    row = cost_row(attempt(outcome, status, reason), TASK, "max")
    assert row.reason == written
    assert row.status is (status or Status.FAILED)
    assert (row.task_type, row.chain_id, row.account, row.attempt) == ("code", "night", "max", 2)
    assert row.overhead_seconds == 0.5
    assert row.timestamp == "2001-09-09T01:46:42Z"


def test_a_row_without_a_task_or_a_start():
    """A malformed file still has its row."""
    row = cost_row(attempt(QUOTA, started_at=None, tier=None, interface=None), None, None)
    assert (row.task_type, row.tier, row.interface) == (None, None, None)
    assert row.overhead_seconds == 1.0


@pytest.mark.parametrize(("outcome", "said"), [(Succeeded(text="long"), ""), (QUOTA, "no more today")])
def test_a_success_needs_no_message(outcome, said):
    """Its text is its message."""
    assert outcome_message(outcome) == said


def test_an_attempt_that_ended_to_wait_for_its_children_has_waited():
    """And the record names those it has spawned."""
    waited = attempt(Failed(kind=FailureKind.WAITING, message="waits for 1 child"))
    done = part(attempt(Succeeded(text="x"), Status.COMPLETED, text="x"), TASK, [waited], [], [], ["t-a"])
    assert [one["ended"] for one in done.values["attempts"]] == ["waited"]
    assert done.values["children"] == ["t-a"]
