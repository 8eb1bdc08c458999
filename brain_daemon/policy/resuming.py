"""How an attempt goes on from the one before it: where, in which session, and what its client is told.

A client goes on in its session only on the same interface and where the session was not the trouble. Without a session
the attempt starts afresh, in the same workspace if it is the same interface; what a person has answered meanwhile is told
either way. Pure: the attempts come in as the journal has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from brain_daemon.model.attempt import Attempt, Decision
from brain_daemon.model.outcome import Failed, FailureKind, Interrupted, Outcome
from brain_daemon.policy.routing import Choice

_GOES_ON = frozenset(
    {
        FailureKind.QUOTA,
        FailureKind.RATE_LIMIT,
        FailureKind.TRANSIENT,
        FailureKind.AUTH,
        FailureKind.ASKED,
        FailureKind.NOT_VERIFIED,
        FailureKind.SESSION_UNKNOWN,
        FailureKind.WAITING,
    }
)
_AFRESH = "An earlier attempt at this task was cut short ({why}). What it left is in the folder you work in."
_RESUMED = "You were cut short ({why}). Go on with the task from where you stopped."
_CHILDREN_RESUMED = "You waited for the tasks you have spawned. What came of them stands below. Go on with the task."
_CHILDREN_AFRESH = (
    "In an earlier attempt at this task, tasks were spawned and waited for. What came of them stands below; what the attempt "
    "left is in the folder you work in."
)
_CHECKED = "Your work was checked and did not pass. Correct it.\n\n{why}"
_CHECKED_AFRESH = "An earlier attempt at this task was checked and did not pass. What it left is in the folder you work in: correct it.\n\n{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """`workspace_of` is the attempt whose folder is worked in; without `client_session` the client starts afresh.

    `prompt` is what the client is sent; `answer` the person's words alone, for an interface that asked nothing but the task.
    """

    workspace_of: str
    client_session: str | None
    prompt: str
    answer: str | None = None


def resumption(earlier: Sequence[Attempt], interface: str, text: str, *, can_resume: bool) -> Resumption | None:
    """How the next attempt on `interface` goes on from the `earlier` ones of this task, oldest first; None is from nothing.

    `text` is the task's; `can_resume` says that the interface declares how to resume a session.
    """
    if not earlier or earlier[-1].ended is None:
        return None
    last, outcome = earlier[-1], earlier[-1].ended.outcome
    here = last.interface == interface
    answers = [(_said(one), one.answer) for one in earlier if one.answer is not None]
    if not (here and goes_on(outcome)) and not answers:
        return None
    session = session_of(last) if here and can_resume else None
    return Resumption(
        workspace_of=last.workspace_of if here else "",
        client_session=session,
        prompt=_resumed(last, text) if session else _afresh(last, text, answers, here=here),
        answer=last.answer if here else None,
    )


def goes_on(outcome: Outcome) -> bool:
    """Whether what an attempt had begun is worth going on with."""
    return isinstance(outcome, Interrupted) or (isinstance(outcome, Failed) and outcome.kind in _GOES_ON)


def session_of(attempt: Attempt) -> str | None:
    """The client session that an ended attempt can be gone on in; None where there is none, or where it was the trouble."""
    if attempt.ended is None or not goes_on(attempt.ended.outcome):
        return None
    outcome = attempt.ended.outcome
    lost = isinstance(outcome, Failed) and outcome.kind is FailureKind.SESSION_UNKNOWN
    return None if lost else attempt.ended.client_session


def going_on(choice: Choice, name: str | None) -> Choice:
    """The choice for a task that was at work on `name`: there alone, as long as it can do it."""
    kept = tuple(one for one in choice.ranked if one.name == name)
    return replace(choice, ranked=kept) if kept else choice


def is_parked(attempt: Attempt) -> bool:
    """Whether the attempt has ended and its task waits in active/ to go on."""
    return attempt.decision is Decision.PARK


def is_waiting(attempt: Attempt) -> bool:
    """Whether the attempt ended in order to wait for the tasks it has spawned."""
    outcome = attempt.ended.outcome if attempt.ended else None
    return isinstance(outcome, Failed) and outcome.kind is FailureKind.WAITING


def _was_checked(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Failed) and outcome.kind is FailureKind.NOT_VERIFIED


def _said(attempt: Attempt) -> str:
    outcome = attempt.ended.outcome if attempt.ended else None
    match outcome:
        case Failed(message=message):
            return message
        case Interrupted(why=why):
            return why
        case _:
            return ""


def _resumed(last: Attempt, text: str) -> str:
    """What a client that remembers the task is told."""
    outcome = last.ended.outcome if last.ended else None
    if last.answer is not None:
        return f"The answer to your question:\n\n{last.answer}\n\nGo on with the task."
    if is_waiting(last):
        return _CHILDREN_RESUMED
    if _was_checked(outcome):
        return _CHECKED.format(why=_said(last))
    return f"{_RESUMED.format(why=_said(last))}\n\nThe task, again:\n\n{text}"


def _afresh(last: Attempt, text: str, answers: Sequence[tuple[str, str | None]], *, here: bool) -> str:
    """What a client that remembers nothing is told: the task, and what came of it so far."""
    outcome = last.ended.outcome if last.ended else None
    lost = isinstance(outcome, Failed) and outcome.kind is FailureKind.SESSION_UNKNOWN
    notes = [f"You asked: {question}\n\nThe answer: {answer}" for question, answer in answers]
    if here and is_waiting(last):
        notes.append(_CHILDREN_AFRESH)
    elif here and _was_checked(outcome):
        notes.append(_CHECKED_AFRESH.format(why=_said(last)))
    elif here and not lost and not answers:
        notes = [_AFRESH.format(why=_said(last))]
    return "\n\n".join((text, "---", *notes)) if notes else text
