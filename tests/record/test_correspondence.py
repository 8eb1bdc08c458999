"""The page that a person and the daemon both write: neither loses what the other has written."""

import contextlib
import os
import time

import pytest

from brain_daemon.record.correspondence import QUIET_SECONDS, Correspondence
from brain_daemon.service import inquiries

ASKED = inquiries.asked("colour", "colour.a1.01234567", "Which colour?")
OTHER = inquiries.asked("size", "size.a1.01234567", "Which size?")


@pytest.fixture
def opened(brain):
    with contextlib.closing(brain.open()) as made:
        yield made


@pytest.fixture
def noted():
    return {}


@pytest.fixture
def pages(opened, noted):
    return Correspondence(opened.layout, opened.files, opened.journal, noted.update)


def age(page, seconds: float) -> None:
    """Let the page have stood for so long."""
    then = time.time() - seconds
    os.utime(page, (then, then))


def test_a_page_that_an_editor_has_emptied_to_save_it_is_left_to_the_editor(brain, opened, pages):
    """Another question comes up at that moment; it is on the page once the page is quiet, and so is the person's text."""
    inquiries.ask(opened.journal, ASKED)
    pages.settle()
    page = brain.questions.read_text().replace("<!-- end of your answer", "blue\n<!-- end of your answer", 1)
    with brain.questions.open("w") as editor:
        inquiries.ask(opened.journal, OTHER)
        pages.settle()
        assert pages.is_waiting
        editor.write(page)
    pages.settle()
    assert (brain.questions.read_text(), pages.is_waiting) == (page, True)
    age(brain.questions, 2 * QUIET_SECONDS)
    pages.settle()
    assert not pages.is_waiting
    assert "\nblue\n" in brain.questions.read_text()
    assert OTHER.id in brain.questions.read_text()


def test_our_own_page_is_written_again_at_once_whichever_process_wrote_it(brain, opened, pages, noted):
    inquiries.ask(opened.journal, ASKED)
    pages.settle()
    inquiries.ask(opened.journal, OTHER)
    Correspondence(opened.layout, opened.files, opened.journal, noted.update).settle()
    assert OTHER.id in brain.questions.read_text()


def test_a_page_from_the_future_is_quiet(brain, opened, pages):
    """A clock that was set back must not keep the questions from the person."""
    brain.write("prompts/pending.md", "mine\n")
    age(brain.questions, -3600)
    inquiries.ask(opened.journal, ASKED)
    pages.settle()
    assert ASKED.id in brain.questions.read_text()


def test_git_has_the_page_without_what_the_person_has_begun(brain, opened, pages, noted):
    inquiries.ask(opened.journal, ASKED)
    pages.settle()
    brain.questions.write_text(brain.questions.read_text().replace("<!-- end", "half a thought\n<!-- end", 1))
    assert b"half a thought" not in pages.standing()[str(brain.questions)]
    assert b"half a thought" not in noted[str(brain.questions)]
