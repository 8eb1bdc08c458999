"""`brain questions` and `brain answer`: what waits for a person, and what is done once it is decided."""

import os
from contextlib import closing
from typing import Any

import click

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.record.questions import Question, question_from
from brain_daemon.record.wording import utc
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say


@click.command("questions")
@json_option
@click.pass_obj
def questions_command(call: Call, as_json: bool) -> None:
    """Show what waits for your answer, oldest first.

    Example: brain questions
    """
    asked = _asked(call.layout.journal)
    if as_json:
        return print_json({"questions": [_facts(question) for question in asked]})
    if not asked:
        return say("There is nothing to answer.")
    for question in asked:
        _page(question)
    return None


@click.command("answer")
@click.argument("question_id", metavar="ID")
@click.argument("choice")
@json_option
@click.pass_obj
def answer_command(call: Call, question_id: str, choice: str, as_json: bool) -> None:
    """Answer a question with one of its choices. ID may be the task's or interface's, where only one question is about it.

    Example: brain answer secret-task-001 release
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        question = _find(_questions(brain.journal), question_id)
        chosen = actions.answer(brain, question, choice, by="command")
    if as_json:
        print_json({"question": question.id, "about": question.subject, "choice": chosen.key, "label": chosen.label})
    else:
        say(f"{question.subject}: {chosen.label}")


def _asked(path: str) -> list[Question]:
    """The open questions of a brain that may never have run."""
    if not os.path.exists(path):
        return []
    with closing(Journal(path, Files())) as journal:
        return _questions(journal)


def _questions(journal: Journal) -> list[Question]:
    return [question_from(document) for document, _ in journal.questions().values()]


def _find(asked: list[Question], wanted: str) -> Question:
    """By its id, else by what it is about where that is plain."""
    found = [one for one in asked if one.id == wanted] or [one for one in asked if one.subject == wanted]
    if len(found) == 1:
        return found[0]
    open_ids = ", ".join(clean_line(one.id) for one in found or asked) or "none"
    problem = "is about several questions" if found else "is no open question"
    raise UserError(f"answering {clean_line(wanted)}: it {problem}. Open are: {open_ids}.")


def _facts(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "kind": question.kind.value,
        "about": question.subject,
        "asked": utc(question.asked_at),
        "text": question.text,
        "choices": [{"key": one.key, "label": one.label, "command": one.command} for one in question.choices],
    }


def _page(question: Question) -> None:
    say(f"{question.id}  (about {question.subject}, asked {utc(question.asked_at)})")
    for line in question.text.splitlines():
        say(f"    {line}" if line.strip() else "")
    for choice in question.choices:
        say(f"  {choice.key:<10} {choice.label}")
    say(f"  brain answer {question.id} {'|'.join(choice.key for choice in question.choices)}")
    say()
