"""The one choke point: what an interface said is freed of control characters and secrets before it reaches a disk."""

from dataclasses import replace
from typing import assert_never

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.outcome import Cancelled, Ended, Failed, Interrupted, Outcome, Succeeded, TimedOut
from brain_daemon.model.redaction import Redactor

MAX_MESSAGE_LENGTH = 4_000


def clean_ended(ended: Ended, redactor: Redactor) -> Ended:
    """The same outcome with every text in it safe to write, commit and show."""

    def text(value: str) -> str:
        return redactor.text(clean_text(value))

    def line(value: str) -> str:
        return clean_line(redactor.text(value), 500)

    said = text(ended.text)
    return replace(
        ended,
        outcome=_clean_outcome(ended, said, redactor),
        text=said,
        model=None if ended.model is None else line(ended.model),
        client_session=None if ended.client_session is None else line(ended.client_session),
        survivors=tuple(line(one) for one in ended.survivors),
        warnings=tuple(line(one) for one in ended.warnings),
    )


def _clean_outcome(ended: Ended, said: str, redactor: Redactor) -> Outcome:
    outcome = ended.outcome
    match outcome:
        case Succeeded(text=text):
            return Succeeded(text=said if text == ended.text else redactor.text(clean_text(text)))
        case Failed(message=message):
            return replace(outcome, message=redactor.text(clean_text(message))[:MAX_MESSAGE_LENGTH])
        case TimedOut():
            return outcome
        case Cancelled(why=why):
            return Cancelled(why=redactor.text(clean_line(why, 500)))
        case Interrupted(why=why):
            return Interrupted(why=redactor.text(clean_line(why, 500)))
        case _:
            assert_never(outcome)
