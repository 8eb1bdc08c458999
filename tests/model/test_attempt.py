"""An attempt and the text form of how it ended: what is written is what is read."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.attempt import Attempt, AttemptState, Decision, decode_ended, encode_ended, outcome_word
from brain_daemon.model.outcome import (
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

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
SECONDS = st.floats(0, 1e12, allow_nan=False)
COUNTS = st.none() | st.integers(0, 10**12)
OUTCOMES = st.one_of(
    st.builds(Succeeded, text=TEXTS),
    st.builds(
        Failed,
        kind=st.sampled_from(FailureKind),
        message=TEXTS,
        retry_after_seconds=st.none() | SECONDS,
        resets_at=st.none() | SECONDS,
    ),
    st.builds(TimedOut, after_seconds=SECONDS, inactive=st.booleans()),
    st.builds(Cancelled, why=TEXTS),
    st.builds(Interrupted, why=TEXTS),
)
ENDED = st.builds(
    Ended,
    outcome=OUTCOMES,
    started_at=SECONDS,
    finished_at=SECONDS,
    duration_seconds=SECONDS,
    usage=st.builds(
        Usage,
        input_tokens=COUNTS,
        cached_input_tokens=COUNTS,
        output_tokens=COUNTS,
        reasoning_tokens=COUNTS,
        requests=COUNTS,
        estimated=st.booleans(),
    ),
    cost=st.builds(
        Cost, usd=st.none() | st.decimals(0, 10**6, places=9, allow_nan=False), basis=st.sampled_from(CostBasis)
    ),
    model=st.none() | TEXTS,
    client_session=st.none() | TEXTS,
    text=TEXTS,
    files=st.lists(TEXTS).map(tuple),
    survivors=st.lists(TEXTS).map(tuple),
    warnings=st.lists(TEXTS).map(tuple),
)


@given(ENDED)
def test_an_ended_attempt_comes_back_equal_from_its_text(ended):
    """Money stays exact, the text is one line of ASCII."""
    text = encode_ended(ended)
    assert decode_ended(text) == ended
    assert text.isascii()
    assert "\n" not in text


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Succeeded(text=""), "succeeded"),
        (Failed(kind=FailureKind.QUOTA, message=""), "failed"),
        (TimedOut(after_seconds=1), "timed_out"),
        (Cancelled(), "cancelled"),
        (Interrupted(why=""), "interrupted"),
    ],
)
def test_each_outcome_has_one_word(outcome, word):
    """The word under which it is stored and shown."""
    assert outcome_word(outcome) == word


@pytest.mark.parametrize(
    "change", [{"outcome": {"is": "lost"}}, {"outcome": {"is": "failed", "kind": "tired"}}, {"usage": None}]
)
def test_text_of_another_kind_is_refused(change):
    """Damaged text is an error, never a guess."""
    document = json.loads(
        encode_ended(
            Ended(
                outcome=Cancelled(),
                started_at=0,
                finished_at=1,
                duration_seconds=1,
                cost=Cost(usd=Decimal(1), basis=CostBasis.PRICED),
            )
        )
    )
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode_ended(json.dumps({**document, **change}))


def test_a_finished_attempt_keeps_everything_but_its_end():
    """Only state, outcome and decision change."""
    attempt = Attempt(
        attempt_id="t.a1.00000000",
        task_id="t",
        number=1,
        state=AttemptState.STARTING,
        name="t.md",
        sha256="0",
        spec=b"x",
        claimant="daemon",
        claimed_at=1.0,
    )
    ended = Ended(outcome=Succeeded(text="x"), started_at=1, finished_at=2, duration_seconds=1)
    done = attempt.finished(ended, Decision.FINISH, Status.FAILED, Reason.TIMED_OUT, "why")
    assert (done.state, done.ended, done.decision, done.status, done.reason, done.message) == (
        AttemptState.ENDED,
        ended,
        Decision.FINISH,
        Status.FAILED,
        Reason.TIMED_OUT,
        "why",
    )
    assert (done.attempt_id, done.spec, done.claimed_at) == (attempt.attempt_id, attempt.spec, attempt.claimed_at)
