"""A person's answers: what each choice does, and prompts/answered.md, where question, answer and effect are kept.

An answer comes by `brain answer`, with and without a running daemon, or from prompts/pending.md by `take`; what a setting has
answered for want of one (service/near_limit.py) is filed by `take` as well. A text of the person's own is durable in the journal before its question is withdrawn; whoever does not live to withdraw it does the
same again.

Failures: UserError and Refused say why an answer cannot be carried out. One that stood in the file is then kept with that
reason and its question withdrawn, so that it holds up nothing and no word of it is lost.
"""

import logging
import os
import time
from functools import partial

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import Refused, StorageError, Transient, UserError
from brain_daemon.policy.resuming import is_parked
from brain_daemon.record import questions
from brain_daemon.record.questions import ANSWER, Answer, Choice, Question, QuestionKind, append_answered, question_from
from brain_daemon.service import inquiries, near_limit
from brain_daemon.service.actions import approve, cancel, release, settle
from brain_daemon.service.brain import Brain
from brain_daemon.service.releases import NO_TERMS
from brain_daemon.store.locks import claims
from brain_daemon.store.queue import Queue
from brain_daemon.store.reading import read_regular

MAX_ANSWER_BYTES = 1 << 20
"""The longest text a person may answer with."""

_LOG = logging.getLogger("brain_daemon")
_MAX_PAGE_BYTES = 4 << 20
_TRIES = 20


def take(brain: Brain) -> list[Choice]:
    """Act on the boxes a person has ticked in prompts/pending.md, and on what silence has answered; the choices that were made."""
    made = [*_ticked(brain), *(_by_default(brain, one) for one in near_limit.lapsed(brain.journal))]
    return [choice for choice in made if choice is not None]


def _by_default(brain: Brain, lapsed: near_limit.Lapsed) -> Choice | None:
    """A question that the setting has answered is kept like one that a person has. Each step may be done again after a crash."""
    question = lapsed.question
    if lapsed.key == near_limit.PAID:
        _unpark(brain, question.subject)
    effect = f"{question.subject}: {lapsed.effect}"
    keep_answer(brain, Answer(question=question, key=lapsed.key, answered_at=lapsed.at, effect=effect, by="default"))
    near_limit.filed(brain.journal, lapsed)
    return next((choice for choice in question.choices if choice.key == lapsed.key), None)


def _ticked(brain: Brain) -> list[Choice | None]:
    path = os.path.join(brain.layout.prompts, "pending.md")
    try:
        ticks = questions.parse(read_regular(path, _MAX_PAGE_BYTES))
    except StorageError as error:
        _LOG.warning("the answers cannot be read", extra={"action": "answer", "error": str(error)})
        return []
    if not ticks:
        return []
    open_questions = [question_from(document) for document, _ in brain.journal.questions().values()]
    chosen, texts = questions.chosen(ticks, open_questions), questions.written(ticks)
    return [_taken(brain, one, chosen[one.id], texts.get(one.id, "")) for one in open_questions if one.id in chosen]


def _taken(brain: Brain, question: Question, choice: Choice, text: str) -> Choice | None:
    """One answer from the file carried out; one that no longer can be (its task is gone) is said and holds up nothing."""
    try:
        return answer(brain, question, choice.key, by="file", text=text)
    except (UserError, Refused) as error:
        _LOG.warning("an answer could not be carried out", extra={"action": "answer", "error": str(error)})
        _close(brain, question, choice.key, f"Not done: {error}", "file", text)
        return None


def answer(brain: Brain, question: Question, key: str, by: str, text: str = "") -> Choice:
    """Do what a choice says, and move the question to prompts/answered.md with its effect.

    `text` is the person's answer where the key is `answer`.
    """
    choice = next((choice for choice in question.choices if choice.key == key), None)
    if choice is None:
        allowed = ", ".join(choice.key for choice in question.choices)
        raise UserError(f"answering {question.id}: {key!r} is none of its choices. There are: {allowed}.")
    effect = _effect(brain, question, key, text)
    _close(brain, question, key, effect, by, text)
    settle(brain, question.subject if key == ANSWER else None)
    return choice


def _effect(brain: Brain, question: Question, key: str, text: str) -> str:
    """Do it; what was done, in a sentence."""
    if key == ANSWER:
        return _tell(brain, question, text)
    if key == "release":
        return release(brain, question.subject, NO_TERMS)
    if key == "cancel":
        return cancel(brain, question.subject, "given up by a person")
    if question.kind is QuestionKind.APPROVAL:
        return _approve_as_asked(brain, question)
    if question.kind is QuestionKind.ALERT:
        brain.journal.set(inquiries.SEEN + question.id, "yes")
        return f"{question.subject}: nothing more is said of it today"
    if question.kind is QuestionKind.AUTH:
        return f"{question.subject}: it is looked at again"
    if question.kind is QuestionKind.QUOTA:
        effect = f"{question.subject}: {near_limit.answered(brain.journal, question.id, key, time.time())}"
        if key.startswith(near_limit.PAID):
            _unpark(brain, question.subject)
        return effect
    if question.kind is QuestionKind.PRICE:
        brain.journal.set(f"price.answer.{question.subject}", key)
        return f"{question.subject}: {'used without a known price' if key == 'allow' else 'not used'} under a budget"
    raise UserError(f"answering {question.id}: nothing is known of the choice {key!r}.")


def _unpark(brain: Brain, interface: str) -> None:
    """What waits for a reset of this interface may go elsewhere now: back to pending/, where it is judged anew."""
    queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
    with claims(brain.layout):
        for one in brain.journal.newest_attempts():
            waits = is_parked(one) and one.interface == interface and one.resume_at is not None
            if waits and os.path.lexists(queue.active_path(one.task_id)):
                brain.journal.allow_again(one.attempt_id)
                queue.give_back(one.task_id, one.name)


def _tell(brain: Brain, question: Question, text: str) -> str:
    """Give the person's words to the attempt that asked."""
    if not text.strip():
        raise UserError(f"answering {question.id}: the answer is empty. Write it after the id, or give -f FILE.")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_ANSWER_BYTES:
        raise UserError(f"answering {question.id}: the answer is longer than {MAX_ANSWER_BYTES:,} bytes.")
    attempt = brain.journal.attempt(question.attempt_id) if question.attempt_id else None
    if attempt is not None and attempt.state is AttemptState.CLAIMED:
        return f"{question.subject}: kept for {attempt.claimant}"
    if attempt is None or not _is_told(brain, attempt, clean_text(text)):
        raise Refused(f"answering {question.id}: {question.subject} does not wait for this answer any more.")
    return f"{question.subject}: goes on with your answer"


def _is_told(brain: Brain, attempt: Attempt, text: str) -> bool:
    """Whether the parked attempt has this answer now; one that a crash has let come twice is the same answer."""
    if attempt.answer == text:
        return True
    newest = brain.journal.attempts_of(attempt.task_id)[-1]
    waits = newest.attempt_id == attempt.attempt_id and attempt.decision is Decision.PARK and attempt.answer is None
    return waits and brain.journal.answer(attempt.attempt_id, text)


def _approve_as_asked(brain: Brain, question: Question) -> str:
    """Only the content that the person was asked about."""
    entry = brain.registry().find(question.subject)
    if entry is not None and inquiries.approval(entry.spec.name, entry.spec.sha256).id != question.id:
        inquiries.withdraw_about(brain.journal, question.subject, QuestionKind.APPROVAL)
        raise Refused(f"approving {question.subject}: its file has changed since you were asked. Look at it again.")
    return approve(brain, question.subject, None if entry is None else entry.spec.sha256)


def _close(brain: Brain, question: Question, key: str, effect: str, by: str, text: str) -> None:
    """Withdraw a question and keep what was answered, without secrets."""
    redactor = brain.redactor(brain.registry())
    given = Answer(
        question=question,
        key=key,
        answered_at=time.time(),
        effect=redactor.text(clean_line(effect, 500)),
        by=by,
        text=redactor.text(clean_text(text)) if key == ANSWER else "",
    )
    keep_answer(brain, given)
    brain.journal.withdraw(question.id)


def keep_answer(brain: Brain, given: Answer) -> None:
    """Add an answer to prompts/answered.md; it is committed with the next group. Transient if others write it all the time."""
    path = os.path.join(brain.layout.prompts, "answered.md")
    for _ in range(_TRIES):
        existing = read_regular(path)
        added = append_answered(existing, [given])
        if added == existing or brain.files.put_if(path, added, partial(_holds, path, existing)):
            # The question is withdrawn next, and with it the only other place that knows the answer.
            brain.files.sync_folders([brain.layout.prompts])
            return
    raise Transient(f"keeping the answer to {given.question.id}: {path} is being written all the time. Answer again.")


def _holds(path: str, data: bytes) -> bool:
    return read_regular(path) == data
