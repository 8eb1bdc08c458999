"""A person's answers: carried out, kept with their effect, and lost by no accident."""

import os

import pytest

from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.outcome import FREE, Ended, Failed, FailureKind
from brain_daemon.record.questions import answered, question_from
from brain_daemon.service import actions, agents, answering, asking, inquiries
from brain_daemon.service.agents import Agent
from brain_daemon.store.files import Files

TASK = "# Task: one\n\nWhich colour?\n"
KEY = "ghp_" + "a1B2" * 10
ANN = Agent(name="ann", lease_seconds=3600.0)


@pytest.fixture
def here(brain):
    """The test's brain, opened; an in-process tool can do its tasks."""
    brain.echo()
    opened = brain.open()
    yield opened
    opened.close()


@pytest.fixture
def parked(brain, here):
    """The question of a task that has parked to ask it."""
    brain.drop("one.md", TASK)
    claimed = agents.claim(here, ANN)
    asked = Ended(
        outcome=Failed(kind=FailureKind.ASKED, message="Which colour?"),
        started_at=1e9, finished_at=1e9, duration_seconds=0.0, cost=FREE,
    )  # fmt: skip
    here.journal.end([claimed.attempt.finished(asked, Decision.PARK, None, None, "Which colour?")])
    question = inquiries.asked("one", claimed.attempt.attempt_id, "Which colour?")
    inquiries.ask(here.journal, question)
    actions.settle(here)
    return question


def only_question(here):
    ((document, _),) = here.journal.questions().values()
    return question_from(document)


def kept(brain):
    return answered((brain.root / "prompts" / "answered.md").read_bytes())


def write(brain, text: str, *, tick: bool = True) -> None:
    """Write an answer into prompts/pending.md as a person does."""
    page = brain.questions.read_text()
    box, end = "[ ] **answer**", "<!-- end of your answer"
    assert box in page
    page = page.replace(end, f"{text}\n{end}")
    brain.questions.write_text(page.replace(box, "[x] **answer**") if tick else page)


def test_an_answer_is_done_kept_and_committed(brain, here):
    """The effect happens, prompts/answered.md says so, and git has both."""
    brain.drop("one.md", "---\nrequires: teleport\n---\nx\n")
    brain.run_once()
    question = question_from(next(iter(here.journal.questions().values()))[0])
    with pytest.raises(UserError, match=r"'maybe' is none of its choices. There are: cancel"):
        answering.answer(here, question, "maybe", by="command")
    assert answering.answer(here, question, "cancel", by="command").key == "cancel"
    assert brain.where("one") == ["failed"]
    assert here.journal.questions() == {}
    assert question.id in brain.git("show", "HEAD:prompts/answered.md")
    assert brain.dirty() == ""


def test_an_interface_that_came_with_git_is_approved_by_an_answer(brain, here):
    """It works from then on."""
    brain.program("upper", "tr", "a-z", "A-Z")
    brain.commit()
    assert not here.registry().entries["upper"].usable
    question = inquiries.approval("upper", here.registry().entries["upper"].spec.sha256)
    brain.program("upper", "tr", "a-z", "X")
    brain.commit()
    with pytest.raises(Refused, match="has changed since you were asked"):
        answering.answer(here, question, "approve", by="command")
    assert not here.registry().entries["upper"].usable
    question = inquiries.approval("upper", here.registry().entries["upper"].spec.sha256)
    answering.answer(here, question, "approve", by="command")
    assert here.registry().entries["upper"].usable
    with pytest.raises(UserError, match="no interface is called that"):
        actions.approve(here, "nobody")


@pytest.mark.parametrize("by", ["file", "command"])
def test_words_go_to_the_attempt_that_asked(brain, here, parked, by):
    """They are durable in the journal, quoted in prompts/answered.md, and the question is gone from the page."""
    if by == "file":
        write(brain, "## Blue\n\nand *only* blue")
        assert [choice.key for choice in answering.take(here)] == ["answer"]
    else:
        answering.answer(here, parked, "answer", by="command", text="## Blue\n\nand *only* blue")
    assert here.journal.attempt(parked.attempt_id).answer == "## Blue\n\nand *only* blue"
    (given,) = kept(brain)
    assert (given.text, given.question, given.effect) == (
        "## Blue\n\nand *only* blue", "Which colour?", "one: goes on with your answer",
    )  # fmt: skip
    assert here.journal.questions() == {}
    assert answering.take(here) == []
    assert "and *only* blue" in brain.git("show", "HEAD:prompts/answered.md")


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_answer_is_none(here, parked, text):
    """The question stays open."""
    with pytest.raises(UserError, match="the answer is empty"):
        answering.answer(here, parked, "answer", by="command", text=text)
    assert only_question(here) == parked


def test_an_answer_without_end_is_refused(here, parked):
    """It would have to fit into a prompt."""
    with pytest.raises(UserError, match="longer than 1,048,576 bytes"):
        answering.answer(here, parked, "answer", by="command", text="ü" * (1 << 20))


def test_a_secret_in_an_answer_reaches_the_agent_and_no_page(brain, here, parked):
    """Control characters are shown in both."""
    answering.answer(here, parked, "answer", by="command", text=f"use {KEY} \x1b[2J")
    assert here.journal.attempt(parked.attempt_id).answer == f"use {KEY} \\x1b[2J"
    assert KEY not in brain.all_of_git()
    assert KEY not in (brain.root / "prompts" / "answered.md").read_text()
    assert "\\x1b[2J" in kept(brain)[0].text


def test_an_answer_that_comes_too_late_is_kept_and_said(brain, here, parked):
    """The task has been given up meanwhile: no word is lost, and nothing is held up."""
    write(brain, "blue")
    page = brain.questions.read_bytes()
    actions.cancel(here, "one")
    with pytest.raises(Refused, match="does not wait for this answer any more"):
        answering.answer(here, parked, "answer", by="command", text="blue")
    inquiries.ask(here.journal, parked)
    brain.questions.write_bytes(page)
    assert answering.take(here) == []
    (given,) = kept(brain)
    assert (given.text, "Not done" in given.effect) == ("blue", True)
    assert here.journal.questions() == {}


def test_a_crash_between_answer_and_question_is_made_good(brain, here, parked):
    """The same answer is taken once more and changes nothing; another one is refused."""
    here.journal.answer(parked.attempt_id, "blue")
    write(brain, "blue")
    assert [choice.key for choice in answering.take(here)] == ["answer"]
    inquiries.ask(here.journal, parked)
    with pytest.raises(Refused):
        answering.answer(here, parked, "answer", by="command", text="red")
    assert here.journal.attempt(parked.attempt_id).answer == "blue"


def test_giving_up_ends_the_task_that_asked(brain, here, parked):
    """As a cancel does."""
    answering.answer(here, parked, "cancel", by="command")
    assert brain.where("one") == ["failed"]


def test_an_answer_kept_while_another_is_written_loses_neither(brain, here, parked):
    """prompts/answered.md is replaced only as it was read."""

    class Meanwhile(Files):
        """Somebody adds to the page at the last moment, once."""

        done = False

        def step(self, action: str, path: str) -> None:
            if action == "replace if" and path.endswith("answered.md") and not self.done:
                self.done = True
                with open(path, "ab") as handle:
                    handle.write(b"# Answered questions\n\nmine\n")

    here.files = Meanwhile(here.files.aside)
    answering.answer(here, parked, "answer", by="command", text="blue")
    page = (brain.root / "prompts" / "answered.md").read_text()
    assert "\nmine\n" in page
    assert "> blue" in page
    assert not [name for name in os.listdir(here.layout.aside) if "answered" in name]


# agents that pull their work


@pytest.fixture
def claimed(brain, here):
    brain.drop("one.md", TASK)
    return agents.claim(here, ANN).attempt


def test_an_agent_asks_about_its_task_and_reads_the_answer(brain, here, claimed):
    """The lease goes on; each question is put once, and may be followed by others."""
    first = asking.ask_about_claim(here, "one", "Which colour?")
    assert asking.ask_about_claim(here, claimed.attempt_id, " Which colour? ", "ann") == first
    second = asking.ask_about_claim(here, "one", "Which size?")
    assert len({first.id, second.id}) == 2
    assert asking.answers_to(here.layout, "one") == ()
    answering.answer(here, second, "answer", by="command", text="42")
    assert here.journal.attempt(claimed.attempt_id).state is AttemptState.CLAIMED
    assert [given.text for given in asking.answers_to(here.layout, second.id)] == ["42"]
    assert asking.answers_to(here.layout, first.id) == ()
    assert asking.ask_about_claim(here, "one", "Which size?").id not in (first.id, second.id)
    assert asking.answers_to(here.layout, "one")[0].effect == "one: kept for ann"


def test_only_who_has_a_task_asks_about_it(brain, here, claimed):
    """Nobody else's, and none that has ended."""
    with pytest.raises(Refused, match="bob has not claimed it"):
        asking.ask_about_claim(here, "one", "Which?", "bob")
    with pytest.raises(UserError, match="it is empty"):
        asking.ask_about_claim(here, "one", " ")
    with pytest.raises(UserError, match="longer than 65,536 bytes"):
        asking.ask_about_claim(here, "one", "x" * 65_537)
    actions.cancel(here, "one")
    with pytest.raises(Refused, match="was given back"):
        asking.ask_about_claim(here, "one", "Which?")


def test_a_secret_in_a_question_is_not_committed(brain, here, claimed):
    """The page and git have it cut out."""
    asking.ask_about_claim(here, "one", f"Is {KEY} the key?")
    assert KEY not in brain.all_of_git()
    assert "Is " in brain.questions.read_text()
