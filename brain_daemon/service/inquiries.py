"""The questions this program asks a person, in one place: their words, their choices and what each choice does."""

import time

from brain_daemon.policy.routing import Nobody
from brain_daemon.record.questions import ANSWER, Choice, Question, QuestionKind, question_id, question_to
from brain_daemon.record.wording import utc
from brain_daemon.store.journal import Journal

SEEN = "seen_"
"""Before the id of an alert in the journal's notes: the person has seen it."""


def interrupted(task_id: str, attempt_id: str, text: str) -> Question:
    """An attempt may have run and nobody knows how it ended."""
    return Question(
        id=question_id(QuestionKind.INTERRUPTED, attempt_id),
        kind=QuestionKind.INTERRUPTED,
        subject=task_id,
        asked_at=time.time(),
        text=text,
        choices=(
            Choice(key="release", label="Run it again", command=f"brain release {task_id}"),
            Choice(key="cancel", label="Give it up", command=f"brain cancel {task_id}"),
        ),
    )


def nobody(task_id: str, found: Nobody) -> Question:
    """No interface can take a task; asked once for each missing capability, not for each task."""
    about = ", ".join(found.missing_capabilities) or task_id
    return Question(
        id=question_id(QuestionKind.NO_INTERFACE, about),
        kind=QuestionKind.NO_INTERFACE,
        subject=task_id,
        asked_at=time.time(),
        text=f"{found.reason}\n\nThe task waits and starts by itself once an interface in tools/interfaces/ can take it.",
        choices=(Choice(key="cancel", label="Give this task up", command=f"brain cancel {task_id}"),),
    )


def secret(task_id: str, finding: str) -> Question:
    """A task's text holds what looks like a secret and would be committed."""
    return Question(
        id=question_id(QuestionKind.SECRET, task_id),
        kind=QuestionKind.SECRET,
        subject=task_id,
        asked_at=time.time(),
        text=f"The text of {task_id} seems to contain a secret ({finding}). Recording it would put the secret into git.",
        choices=(
            Choice(
                key="release",
                label="It is none, or it may be committed: run the task",
                command=f"brain release {task_id}",
            ),
            Choice(key="cancel", label="Do not run the task", command=f"brain cancel {task_id}"),
        ),
    )


def asked(task_id: str, attempt_id: str, text: str, number: int = 1) -> Question:
    """An attempt needs a person's answer: a parked one once, one that goes on meanwhile as often as it likes (`number`)."""
    identity = question_id(QuestionKind.ASKED, attempt_id if number == 1 else f"{attempt_id}.q{number}")
    return Question(
        id=identity,
        kind=QuestionKind.ASKED,
        subject=task_id,
        asked_at=time.time(),
        text=text,
        choices=(
            Choice(
                key=ANSWER,
                label="Write your answer below this line, then tick this box and save",
                command=f'brain answer {task_id if number == 1 else identity} "TEXT"',
            ),
            Choice(key="cancel", label="Give this task up", command=f"brain cancel {task_id}"),
        ),
        attempt_id=attempt_id,
    )


def approval(name: str, sha256: str) -> Question:
    """An interface came with git. The question is about this content: another one is asked about anew."""
    short = sha256[:12]
    return Question(
        id=question_id(QuestionKind.APPROVAL, f"{name}-{short}"),
        kind=QuestionKind.APPROVAL,
        subject=name,
        asked_at=time.time(),
        text=f"The interface {name} came with git. An interface file is a program: `brain interfaces show {name}` shows what it "
        "would run on this machine. Read it first.",
        choices=(
            Choice(key="approve", label="Let it run here", command=f"brain interfaces approve {name} --sha256 {short}"),
        ),
    )


_UNNOTICED = "you have ticked the box: its own check does not notice"


def login(name: str, fault: str, *, noticed: bool = True) -> Question:
    """An interface is not logged in any more; asked once, until its check passes. `noticed`: that check has found it."""
    ends = (
        "its check passes; it is looked at again by itself, and at once when you have ticked the box"
        if noticed
        else _UNNOTICED
    )
    return Question(
        id=question_id(QuestionKind.AUTH, name),
        kind=QuestionKind.AUTH,
        subject=name,
        asked_at=time.time(),
        text=f"The login of {name} has expired or is missing: {fault}.\n\nNo task fails of it: those that {name} was to do go "
        f"elsewhere for the same money or less, or wait in pending/, until {ends}.",
        choices=(Choice(key="check", label="I have logged in: look again", command=f"brain interfaces check {name}"),),
    )


SILENT = "Without an answer its tasks go elsewhere for the same money or less, or wait."
"""What happens meanwhile, where no setting answers the question of a quota."""

_BY_DEFAULT = {
    "go_on": "its tasks go on here",
    "wait": "its tasks wait, or go elsewhere for the same money or less,",
    "paid": "its tasks may go to paid interfaces",
}


def silence(default: str | None, at: float) -> str:
    """What comes of no answer to the question of a quota: a choice takes effect at an instant (epoch seconds), or None does."""
    if default is None:
        return SILENT
    return (
        f"Without an answer by {utc(at)} `{default}` takes effect (settings quota_silence and quota_default): {_BY_DEFAULT[default]} until "
        "it resets. Before that they go elsewhere for the same money or less, or wait."
    )


def is_unnoticed(question: Question) -> bool:
    """Whether a question about a login waits for the person's word alone."""
    return _UNNOTICED in question.text


def quota(identity: str, interface: str, why: str, until: float | None, unanswered: str = SILENT) -> Question:
    """A quota is nearly used up; asked once for its window, before the task that would pass the share of the settings.

    `unanswered` says what comes of no answer: the last paragraph.
    """
    reset = "" if until is None else f" It has room again at {utc(until)}."
    window, always = "until it resets", "always, from now on"
    choices = (
        ("go_on", f"Go on with {interface} {window}"),
        ("wait", f"Wait {window}; tasks may go elsewhere for the same money or less"),
        ("paid", f"Go on with paid interfaces {window}"),
        ("go_on_always", f"Go on with {interface}, {always}"),
        ("wait_always", f"Wait at this limit, {always}"),
        ("paid_always", f"Go on with paid interfaces at this limit, {always}"),
    )
    return Question(
        id=identity,
        kind=QuestionKind.QUOTA,
        subject=interface,
        asked_at=time.time(),
        text=f"{interface}: {why}.{reset}\n\n{unanswered}",
        choices=tuple(Choice(key=key, label=label, command=f"brain answer {identity} {key}") for key, label in choices),
    )


def price(interface: str, label: str, why: str) -> Question:
    """A budget stands before an interface whose price nobody knows."""
    identity = question_id(QuestionKind.PRICE, interface)
    return Question(
        id=identity,
        kind=QuestionKind.PRICE,
        subject=interface,
        asked_at=time.time(),
        text=f"{interface} falls under {label}, and {why}.",
        choices=(
            Choice(
                key="allow", label=f"Use {interface} without a known price", command=f"brain answer {identity} allow"
            ),
            Choice(key="refuse", label=f"Do not use {interface} there", command=f"brain answer {identity} refuse"),
        ),
    )


def price_answer(journal: Journal, interface: str) -> str | None:
    """What the person has said of an interface without a known price: allow, refuse, or None."""
    return journal.get(f"price.answer.{interface}")


def alert(condition: str, value: float, day: str) -> Question:
    """A condition of the setting `alerts` holds today; it goes by itself when it does not any more."""
    return Question(
        id=question_id(QuestionKind.ALERT, f"{condition} {day}"),
        kind=QuestionKind.ALERT,
        subject=condition,
        asked_at=time.time(),
        text=f"Today ({day}, UTC) `{condition}` holds: it is {value:.4g}. `brain report` shows the day.",
        choices=(Choice(key="seen", label="I have seen it; say no more of it today", command="brain report"),),
    )


def ask(journal: Journal, question: Question) -> bool:
    """Put a question; False if it stands already."""
    return journal.ask(question.id, question_to(question), question.asked_at)


def withdraw_about(journal: Journal, subject: str, *kinds: QuestionKind) -> bool:
    """Withdraw the questions about a task or interface; whether there were any."""
    withdrawn = False
    for key, (document, _) in journal.questions().items():
        if document["subject"] == subject and (not kinds or document["kind"] in kinds):
            withdrawn = journal.withdraw(key) or withdrawn
    return withdrawn
