"""`brain questions` and `brain answer`: what waits for a person, and what is done once it is decided."""

import os
import sys
from contextlib import closing
from typing import Any

import click

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import UserError
from brain_daemon.record.questions import ANSWER, Given, Question, question_from
from brain_daemon.record.wording import utc
from brain_daemon.service import answering, asking
from brain_daemon.service.brain import Brain
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say
from brain_daemon.surfaces.texts import text_of

_OWN_WORDS = "Answer in your own words"


@click.command("questions")
@click.option("--answered", metavar="ID", help="Show what was answered to this question, or about this task.")
@json_option
@click.pass_obj
def questions_command(call: Call, answered: str | None, as_json: bool) -> None:
    """Show what waits for your answer, oldest first.

    With --answered the exit code is 1 as long as there is no answer.

    Example: brain questions
    """
    if answered is not None:
        return _show_answers(call, answered, as_json=as_json)
    asked = _asked(call.layout.journal)
    if as_json:
        return print_json({"questions": [_facts(question) for question in asked]})
    if not asked:
        return say("There is nothing to answer.")
    for question in asked:
        _page(question)
    return None


def _show_answers(call: Call, wanted: str, *, as_json: bool) -> None:
    given = asking.answers_to(call.layout, wanted)
    if as_json:
        print_json({"answered": [_answer_facts(one) for one in given]})
    elif not given:
        say(f"{wanted}: nothing was answered yet", err=True)
    for one in () if as_json else given:
        say(f"{one.question_id}  (about {one.about}, answered {one.at})")
        say(one.text or one.key)
        say()
    if not given:
        sys.exit(1)


def _answer_facts(given: Given) -> dict[str, Any]:
    return {
        "id": given.question_id,
        "about": given.about,
        "text": given.question,
        "answered": given.at,
        "choice": given.key,
        "answer": given.text or None,
        "effect": given.effect,
    }


@click.command("answer")
@click.argument("question_id", metavar="ID")
@click.argument("choice", metavar="[CHOICE]", required=False)
@click.argument("text", metavar="[TEXT]", required=False)
@click.option("-f", "--file", "source", metavar="FILE", help="The answer as a file; `-` is standard input.")
@json_option
@click.pass_obj
def answer_command(
    call: Call, /, question_id: str, choice: str | None, text: str | None, source: str | None, as_json: bool
) -> None:
    """Answer a question with one of its choices, or in your own words where it asks for them (TEXT, -f FILE, or `-`).

    ID may be the task's or interface's, where only one question is about it.

    Example: brain answer secret-task-001 release
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        question = _find(_questions(brain.journal), question_id)
        key, words = _read_answer(question, choice, text, source)
        chosen = answering.answer(brain, question, key, by="command", text=words)
    if as_json:
        print_json({"question": question.id, "about": question.subject, "choice": chosen.key, "label": chosen.label})
    else:
        say(f"{question.subject}: {'answered' if chosen.key == ANSWER else chosen.label}")


def _read_answer(question: Question, choice: str | None, text: str | None, source: str | None) -> tuple[str, str]:
    """Which choice is meant, and the person's words: a word that is no choice is the answer itself, where words are asked for."""
    if question.takes_text and choice not in {one.key for one in question.choices}:
        if text is not None:
            raise click.UsageError(
                f"{choice!r} is no choice of {question.id}: put an answer of several words in quotes"
            )
        return ANSWER, text_of(choice, source, "answer")
    if choice is None:
        raise click.UsageError(f"say which choice: {', '.join(one.key for one in question.choices)}")
    if choice == ANSWER and question.takes_text:
        return ANSWER, text_of(text, source, "answer")
    if text is not None or source is not None:
        raise click.UsageError(f"the choice {choice} takes no text")
    return choice, ""


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
    for line in clean_text(question.text).splitlines():
        say(f"    {line}" if line.strip() else "")
    for choice in question.choices:
        say(f"  {choice.key:<10} {_OWN_WORDS if choice.key == ANSWER else choice.label}")
    words = '"TEXT"|' if question.takes_text else ""
    keys = "|".join(choice.key for choice in question.choices if choice.key != ANSWER)
    say(f"  brain answer {question.id} {words}{keys}")
    say()
