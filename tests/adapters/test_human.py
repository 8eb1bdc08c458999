"""A person: asked once, and their words are the result."""

from dataclasses import replace

import pytest

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.human import HumanAdapter, question_of
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import FREE, Cancelled, Failed, FailureKind, Succeeded, Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.record.questions import MAX_ASKED_LINES
from brain_daemon.record.redact import MAX_MESSAGE_LENGTH
from brain_daemon.store.template import shipped_interfaces

TASK = "# Task: Colour\n\nWhich one,\n\n    red or blue?\n"


@pytest.fixture
def invocation(tmp_path) -> Invocation:
    return Invocation(
        attempt_id="t.a1.00000000",
        task=parse_task("t.md", TASK.encode()),
        interface=parse_interface("person.md", shipped_interfaces()["person.md"]),
        prompt="and more",
        root=str(tmp_path),
        folder=str(tmp_path / "attempt"),
        workspace=str(tmp_path / "work"),
        environment={},
        timeout_seconds=1.0,
    )


async def test_the_task_is_the_question(invocation):
    """Nothing is used up and nothing waits."""
    ended = await HumanAdapter().invoke(invocation, Cancel())
    assert ended.outcome == Failed(kind=FailureKind.ASKED, message=TASK.strip())
    assert (ended.cost, ended.usage, ended.text) == (FREE, Usage(), "")
    assert HumanAdapter().argv(invocation) == ()


@pytest.mark.parametrize("answer", ["blue", "", "# All of it\n\n- [x] **yes**\n"])
async def test_the_answer_is_the_result(invocation, answer):
    """To the letter."""
    ended = await HumanAdapter().invoke(replace(invocation, answer=answer), Cancel())
    assert (ended.outcome, ended.text, ended.cost) == (Succeeded(text=answer), answer, FREE)


async def test_a_cancel_wins(invocation):
    """Even over an answer."""
    cancel = Cancel()
    cancel.set()
    assert (await HumanAdapter().invoke(replace(invocation, answer="blue"), cancel)).outcome == Cancelled()


@pytest.mark.parametrize("body", ["word " * 5_000, "line\n" * 2_000])
def test_a_long_task_is_cut_to_what_a_question_holds(body):
    """Its title, its beginning, and where the whole of it is."""
    question = question_of(parse_task("t.md", f"# Task: Colour\n\n{body}".encode()))
    assert question.startswith("Colour\n\n# Task: Colour\n\n")
    assert question.endswith("`brain show t --original` prints the whole task.")
    assert len(question) <= MAX_MESSAGE_LENGTH
    assert question.count("\n") < MAX_ASKED_LINES
