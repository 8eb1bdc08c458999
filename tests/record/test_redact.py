"""The one choke point: every text an interface can bring is freed of secrets and control characters."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.outcome import Cancelled, Ended, Failed, FailureKind, Interrupted, Succeeded, TimedOut
from brain_daemon.model.redaction import Redactor
from brain_daemon.record.redact import MAX_MESSAGE_LENGTH, clean_ended

CANARY = "correct-horse-battery-staple"
DIRT = f"a\x1b[31m {CANARY} \x07\u202eb"
REDACTOR = Redactor([CANARY])


def ended(outcome, text="") -> Ended:
    return Ended(
        outcome=outcome,
        started_at=1.0,
        finished_at=2.0,
        duration_seconds=1.0,
        model=DIRT,
        client_session=DIRT,
        text=text,
        survivors=(DIRT,),
        warnings=(DIRT, "fine"),
    )


def texts_of(clean: Ended) -> list[str]:
    """Every text in it."""
    of_outcome = [getattr(clean.outcome, name, "") for name in ("text", "message", "why")]
    return [*of_outcome, clean.model or "", clean.client_session or "", clean.text, *clean.survivors, *clean.warnings]


@pytest.mark.parametrize(
    "outcome",
    [
        Succeeded(text=DIRT),
        Failed(kind=FailureKind.AUTH, message=DIRT),
        TimedOut(after_seconds=1.0),
        Cancelled(why=DIRT),
        Interrupted(why=DIRT),
    ],
)
@pytest.mark.parametrize("text", ["", DIRT])
def test_no_field_keeps_a_secret_or_a_control_character(outcome, text):
    """Whatever the outcome; what is harmless stays."""
    clean = clean_ended(ended(outcome, text), REDACTOR)
    assert CANARY not in repr(clean)
    assert not set("\x1b\x07\u202e") & set("".join(texts_of(clean)))
    assert type(clean.outcome) is type(outcome)
    assert clean.warnings[1] == "fine"
    assert (clean.started_at, clean.usage, clean.cost) == (
        1.0,
        Ended(outcome=outcome, started_at=0, finished_at=0, duration_seconds=0).usage,
        clean.cost,
    )


def test_nothing_told_stays_nothing():
    """No model and no session are not made up."""
    clean = clean_ended(replace(ended(Cancelled()), model=None, client_session=None), REDACTOR)
    assert (clean.model, clean.client_session) == (None, None)


def test_a_message_has_a_limit():
    """An error of a megabyte is cut."""
    clean = clean_ended(ended(Failed(kind=FailureKind.AUTH, message="x" * 1_000_000)), REDACTOR)
    assert len(clean.outcome.message) == MAX_MESSAGE_LENGTH


@given(st.text(max_size=60), st.text(max_size=60))
def test_cleaning_twice_is_cleaning_once(before, after):
    """What is clean stays as it is, wherever the secret stood."""
    once = clean_ended(ended(Succeeded(text=before + CANARY + after), before + CANARY + after), REDACTOR)
    assert CANARY not in once.text
    assert clean_ended(once, REDACTOR) == once


def test_every_text_of_an_ended_attempt_is_looked_at():
    """A field added to `Ended` must be added here: this list is the proof that somebody thought of it.

    What `reports` names stands in the interface file; the rest of it are numbers.
    """
    assert {field.name for field in fields(Ended)} == {
        "outcome", "started_at", "finished_at", "duration_seconds", "usage", "cost", "model", "client_session", "text", "files", "survivors", "warnings", "reports",
    }  # fmt: skip
