"""The questions this program asks a person, in one place: their words, their choices and what each choice does."""

import time

from brain_daemon.policy.routing import Nobody
from brain_daemon.record.questions import ANSWER, Choice, Question, QuestionKind, question_id, question_to
from brain_daemon.store.journal import Journal


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


def login(name: str, fault: str) -> Question:
    """An interface is not logged in any more; asked once, until its check passes."""
    return Question(
        id=question_id(QuestionKind.AUTH, name),
        kind=QuestionKind.AUTH,
        subject=name,
        asked_at=time.time(),
        text=f"The login of {name} has expired or is missing: {fault}.\n\nTasks for it wait or go elsewhere until its check passes.",
        choices=(Choice(key="check", label="I have logged in: look again", command=f"brain interfaces check {name}"),),
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
