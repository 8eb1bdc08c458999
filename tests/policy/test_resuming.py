"""How an attempt goes on from the earlier ones of its task."""

from dataclasses import replace

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.interface import Tier
from brain_daemon.model.outcome import Cancelled, Ended, Failed, FailureKind, Interrupted, Outcome, Succeeded, TimedOut
from brain_daemon.policy.resuming import goes_on, going_on, is_parked, is_waiting, resumption, session_of
from brain_daemon.policy.routing import Choice, Ranked

TEXT = "# Build it"


def attempt(outcome: Outcome | None, *, number: int = 1, interface: str = "claude", **fields: object) -> Attempt:
    ended = None
    if outcome is not None:
        ended = Ended(
            outcome=outcome, started_at=0.0, finished_at=1.0, duration_seconds=1.0, client_session=f"s{number}"
        )
    values = {
        "attempt_id": f"t.a{number}.x",
        "task_id": "t",
        "number": number,
        "state": AttemptState.ENDED,
        "name": "t.md",
        "sha256": "",
        "spec": b"",
        "claimant": "daemon",
        "claimed_at": 0.0,
        "interface": interface,
        "ended": ended,
    }
    return Attempt(**(values | fields))  # type: ignore[arg-type]


def failed(kind: FailureKind, message: str = "no") -> Failed:
    return Failed(kind=kind, message=message)


def test_a_first_attempt_goes_on_from_nothing() -> None:
    """Neither does one whose predecessor has no end."""
    assert resumption([], "claude", TEXT, can_resume=True) is None
    assert resumption([attempt(None)], "claude", TEXT, can_resume=True) is None


@pytest.mark.parametrize("kind", [FailureKind.QUOTA, FailureKind.RATE_LIMIT, FailureKind.TRANSIENT, FailureKind.AUTH])
def test_a_limit_or_an_outage_is_gone_on_from_in_the_same_session_and_workspace(kind: FailureKind) -> None:
    """The client is told why it was cut short, and the task again."""
    found = resumption([attempt(failed(kind))], "claude", TEXT, can_resume=True)
    assert found is not None
    assert (found.workspace_of, found.client_session, found.answer) == ("t.a1.x", "s1", None)
    assert TEXT in found.prompt
    assert "(no)" in found.prompt


def test_the_workspace_is_that_of_the_first_attempt_of_the_line() -> None:
    """However often it is resumed."""
    second = attempt(Interrupted(why="killed"), number=2, resumes="t.a1.x")
    found = resumption([attempt(failed(FailureKind.QUOTA)), second], "claude", TEXT, can_resume=True)
    assert found is not None
    assert (found.workspace_of, found.client_session) == ("t.a1.x", "s2")
    assert "(killed)" in found.prompt


def test_a_client_that_cannot_resume_starts_afresh_in_the_same_workspace() -> None:
    """It is told the whole task and that somebody was here before."""
    found = resumption([attempt(failed(FailureKind.QUOTA))], "claude", TEXT, can_resume=False)
    assert found is not None
    assert (found.workspace_of, found.client_session) == ("t.a1.x", None)
    assert found.prompt.startswith(TEXT)
    assert "cut short" in found.prompt


def test_another_interface_starts_from_nothing() -> None:
    """A session belongs to its client."""
    assert resumption([attempt(failed(FailureKind.QUOTA))], "codex", TEXT, can_resume=True) is None


@pytest.mark.parametrize(
    "outcome", [Succeeded(text=""), TimedOut(after_seconds=1.0), Cancelled(), failed(FailureKind.PERMANENT)]
)
def test_what_ended_for_good_is_not_gone_on_with(outcome: Outcome) -> None:
    """A second try of a failed or timed-out attempt is a fresh one."""
    assert not goes_on(outcome)
    assert resumption([attempt(outcome)], "claude", TEXT, can_resume=True) is None


def test_an_answer_goes_into_the_session_that_asked() -> None:
    """The client remembers its question and the task."""
    asked = attempt(failed(FailureKind.ASKED, "Which colour?"), answer="blue", decision=Decision.PARK)
    found = resumption([asked], "claude", TEXT, can_resume=True)
    assert found is not None
    assert (found.client_session, found.answer) == ("s1", "blue")
    assert "blue" in found.prompt
    assert TEXT not in found.prompt


@pytest.mark.parametrize("interface", ["claude", "codex"])
def test_without_the_session_question_and_answer_are_told_with_the_task(interface: str) -> None:
    """On the same interface without resume, and on another one."""
    asked = attempt(failed(FailureKind.ASKED, "Which colour?"), answer="blue")
    found = resumption([asked], interface, TEXT, can_resume=False)
    assert found is not None
    assert found.client_session is None
    assert all(part in found.prompt for part in (TEXT, "Which colour?", "blue"))
    assert found.workspace_of == ("t.a1.x" if interface == "claude" else "")


def test_a_lost_session_is_started_afresh_with_all_answers() -> None:
    """What a person has said is not lost with it."""
    asked = attempt(failed(FailureKind.ASKED, "Which colour?"), answer="blue")
    lost = attempt(failed(FailureKind.SESSION_UNKNOWN), number=2, resumes="t.a1.x")
    found = resumption([asked, lost], "claude", TEXT, can_resume=True)
    assert found is not None
    assert (found.client_session, found.workspace_of) == (None, "t.a1.x")
    assert "blue" in found.prompt
    without = resumption([lost], "claude", TEXT, can_resume=True)
    assert without is not None
    assert without.prompt == TEXT


def test_a_failed_verification_is_shown_to_the_session_that_did_the_work() -> None:
    """Its output is what the client needs to correct it."""
    found = resumption(
        [attempt(failed(FailureKind.NOT_VERIFIED, "`pytest` exited 1"))], "claude", TEXT, can_resume=True
    )
    assert found is not None
    assert "`pytest` exited 1" in found.prompt
    assert TEXT not in found.prompt


def test_without_the_session_a_failed_verification_is_told_with_the_task() -> None:
    """As work to be corrected and not as work cut short; answers of before are told as well. Another interface has no such work."""
    checked = attempt(failed(FailureKind.NOT_VERIFIED, "`pytest` exited 1"), number=2, answer="blue")
    found = resumption([checked], "claude", TEXT, can_resume=False)
    assert found is not None
    assert all(part in found.prompt for part in (TEXT, "did not pass", "`pytest` exited 1", "blue"))
    assert "cut short" not in found.prompt
    assert found.workspace_of
    elsewhere = resumption([checked], "codex", TEXT, can_resume=False)
    assert elsewhere is not None
    assert "did not pass" not in elsewhere.prompt


def test_a_session_that_was_lost_or_never_told_cannot_be_resumed() -> None:
    """There is nothing to name to the client."""
    assert session_of(attempt(failed(FailureKind.SESSION_UNKNOWN))) is None
    assert session_of(attempt(None)) is None
    told = attempt(Interrupted(why="x"))
    assert told.ended is not None
    assert session_of(replace(told, ended=replace(told.ended, client_session=None))) is None


def test_a_parked_attempt_is_one_that_was_decided_to_wait() -> None:
    """An attempt to be tried again at once is not."""
    assert is_parked(attempt(failed(FailureKind.QUOTA), decision=Decision.PARK))
    assert not is_parked(attempt(failed(FailureKind.QUOTA), decision=Decision.AGAIN))


def test_a_task_goes_on_where_it_was_as_long_as_that_can_do_it() -> None:
    """Else everybody who can is asked again."""
    ranked = tuple(Ranked(name=name, tier=Tier.FREE, rung=0, reason="") for name in ("a", "b"))
    choice = Choice(ranked=ranked)
    assert [one.name for one in going_on(choice, "b").ranked] == ["b"]
    assert going_on(choice, "gone") is choice
    assert going_on(choice, None) is choice


def test_a_client_that_waited_for_its_children_is_told_so_in_its_session() -> None:
    """It remembers the task: what came of them follows, and is put there by whoever reads their records."""
    waited = attempt(failed(FailureKind.WAITING, "waits for 2 children"), decision=Decision.PARK)
    assert is_waiting(waited)
    told = resumption([waited], "claude", TEXT, can_resume=True)
    assert told is not None
    assert told.client_session == waited.ended.client_session
    assert "you have spawned" in told.prompt
    assert TEXT not in told.prompt


def test_a_client_without_sessions_that_waited_gets_the_task_again() -> None:
    """Afresh, in the folder it has worked in."""
    waited = attempt(failed(FailureKind.WAITING, "waits for 2 children"), decision=Decision.PARK)
    told = resumption([waited], "claude", TEXT, can_resume=False)
    assert told is not None
    assert told.client_session is None
    assert told.prompt.startswith(f"{TEXT}\n\n---\n\n")
    assert "cut short" not in told.prompt


def test_only_an_end_for_the_children_is_waiting() -> None:
    """A question is not, nor what has not ended."""
    assert not is_waiting(attempt(failed(FailureKind.ASKED, "Which?"), decision=Decision.PARK))
    assert not is_waiting(replace(attempt(failed(FailureKind.WAITING, "")), ended=None))


def test_an_answer_is_told_whatever_became_of_the_attempt_it_was_given_to() -> None:
    """One that ran out of time afterwards had asked nothing that is still known."""
    late = attempt(TimedOut(after_seconds=1.0), answer="blue")
    told = resumption([late], "claude", TEXT, can_resume=True)
    assert told is not None
    assert told.prompt.endswith("You asked: \n\nThe answer: blue")
