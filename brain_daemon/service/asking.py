"""`brain ask`: how one who works on a task puts a question to the person.

Inside a task the question is a file in the folder the task works in, found when its run has ended: the task is then parked,
and goes on with the answer. An agent that pulled its task keeps its lease and asks as often as it likes; it reads the
answers in prompts/answered.md.

Failures: Refused where there is no such attempt; UserError where the question is empty or too long.
"""

import os
from collections.abc import Mapping

from brain_daemon.adapters.survivors import TAG
from brain_daemon.model.attempt import AttemptState
from brain_daemon.model.cleaning import clean_text
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.ids import ATTEMPT_ID
from brain_daemon.record.questions import Given, Question, answered, question_from
from brain_daemon.service import actions, inquiries
from brain_daemon.service.brain import Brain
from brain_daemon.service.handing_in import attempt_of, no_longer
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular
from brain_daemon.store.tokens import VARIABLE, is_token_of
from brain_daemon.workspace.asking import MAX_QUESTION_BYTES, put_question


def ask_inside(layout: Layout, environment: Mapping[str, str], text: str) -> str:
    """Leave a question of the task this process runs for; the task's id.

    The folder to write into is the proof of a task's own: clients that keep variables called TOKEN from their shells may ask.
    """
    task_id, attempt_id = environment.get("BRAIN_TASK_ID", ""), environment.get(TAG, "")
    workspace, token = environment.get("BRAIN_WORKSPACE", ""), environment.get(VARIABLE, "")
    if not (task_id and ATTEMPT_ID.fullmatch(attempt_id) and os.path.isdir(workspace)):
        raise UserError(
            "asking a question: this is no task of the daemon. An agent says which: `brain ask ID QUESTION`."
        )
    if token and not is_token_of(layout, attempt_id, token):
        raise Refused(f"asking a question: {VARIABLE} is not that of the attempt {attempt_id}.")
    put_question(Files(), workspace, attempt_id, _checked(text))
    return task_id


def ask_about_claim(brain: Brain, wanted: str, text: str, agent: str | None = None) -> Question:
    """Put a question about a claimed task; the lease goes on. The same question is put once."""
    attempt = attempt_of(brain, wanted, agent, "asking about")
    if attempt.state is not AttemptState.CLAIMED:
        raise Refused(f"asking about {wanted}: {no_longer(attempt)} `brain claim` takes another task.")
    text = brain.redactor(brain.registry()).text(clean_text(_checked(text)))
    standing = [question_from(document) for document, _ in brain.journal.questions().values()]
    same = [one for one in standing if one.attempt_id == attempt.attempt_id and one.text == text]
    if same:
        return same[0]
    taken = {one.id for one in standing} | {one.question_id for one in answered(_answered_page(brain.layout))}
    number = 1
    while (question := inquiries.asked(attempt.task_id, attempt.attempt_id, text, number)).id in taken:
        number += 1
    inquiries.ask(brain.journal, question)
    actions.settle(brain)
    return question


def answers_to(layout: Layout, wanted: str) -> tuple[Given, ...]:
    """What the person has answered to a question, or to all that were about a task or interface; oldest first."""
    given = answered(_answered_page(layout))
    return tuple(one for one in given if wanted in (one.question_id, one.about))


def _answered_page(layout: Layout) -> bytes:
    return read_regular(os.path.join(layout.prompts, "answered.md"))


def _checked(text: str) -> str:
    if not text.strip():
        raise UserError("asking a question: it is empty. Write it after the command, in quotation marks.")
    if len(text.encode("utf-8", "replace")) > MAX_QUESTION_BYTES:
        raise UserError(f"asking a question: it is longer than {MAX_QUESTION_BYTES:,} bytes.")
    return text.strip()
