"""People and desktop applications as lanes of the one queue: a real daemon, real files, and what they answer."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from brain_daemon.record.questions import answered, question_from
from brain_daemon.service import actions, answering

TASK = "---\ninterface: person\n---\n# Task: Colour\n\nWhich one?\n"
DESK = "---\nname: desk\ntimeout: {timeout}\nidempotent: true\ninvoke:\n  kind: file_drop\n  folder: {folder}\n---\n# Desk\n"
TO_DESK = "---\ninterface: desk\nattempts: 1\n---\n# Task: Write\n\nWrite it.\n"


def write(page: Path, text: str, *, tick: bool = True) -> None:
    """Write below the box of the only question for words, and tick it, as an editor saves."""
    data = page.read_text().replace("<!-- end of your answer", f"{text}\n<!-- end of your answer", 1)
    page.write_text(data.replace("[ ] **answer**", "[x] **answer**", 1) if tick else data)


def page_of(brain) -> str:
    return brain.questions.read_text() if brain.questions.exists() else ""


def only_question(opened):
    ((document, _),) = opened.journal.questions().values()
    return question_from(document)


async def test_a_task_is_answered_in_place(brain):
    """It waits in active/ without a slot, other tasks go on, and what was written is its result, to the letter."""
    brain.echo()
    async with brain.running(parallel=1) as running:
        brain.drop("ask.md", TASK)
        await running.until(lambda: "asked-ask" in page_of(brain), "the question")
        assert "> Which one?" in brain.questions.read_text()
        brain.drop("other.md", "---\ninterface: echo\n---\n# Other\n")
        await running.ended("other")
        write(brain.questions, "## Blüe\n\n- [x] **cancel** not this")
        await running.ended("ask")
    result = brain.recorded("ask")
    assert result.text.strip() == "## Blüe\n\n- [x] **cancel** not this"
    assert (result.values["status"], result.values["interface"], result.values["cost_basis"]) == (
        "completed",
        "person",
        "free",
    )
    assert [row.interface for row in brain.rows()].count("person") == 2
    assert brain.questions.read_text() == "# Questions for you\n\nThere is nothing to answer.\n"
    (given,) = answered((brain.root / "prompts" / "answered.md").read_bytes())
    assert given.text.startswith("## Blüe")
    assert brain.dirty() == ""


async def test_a_task_is_answered_by_command(brain):
    """Whether a daemon runs or not: here it is stopped between question and answer, and once more before the task goes on."""
    brain.drop("ask.md", TASK)
    await brain.once()
    assert brain.where("ask") == ["active"]
    await brain.once()
    opened = brain.open()
    answering.answer(opened, only_question(opened), "answer", by="command", text="blue")
    opened.close()
    assert await brain.once() == 0
    assert brain.recorded("ask").text.strip() == "blue"


async def test_a_person_may_give_the_task_up(brain):
    """It has failed then, and is asked no more."""
    brain.drop("ask.md", TASK)
    async with brain.running() as running:
        await running.until(running.brain.journal.questions, "the question")
        opened = brain.open()
        actions.cancel(opened, "ask")
        opened.close()
        await running.ended("ask")
        assert running.brain.journal.questions() == {}
    assert brain.recorded("ask").values["reason"] == "cancelled"


async def test_what_is_half_written_outlives_the_questions_of_others(brain):
    """The page is rewritten around it, git never has it, and once ticked it is the whole answer."""
    async with brain.running() as running:
        brain.drop("ask.md", TASK)
        await running.until(lambda: "asked-ask" in page_of(brain), "the question")
        write(brain.questions, "half a thought", tick=False)
        brain.drop("more.md", TASK)
        await running.until(lambda: "asked-more" in page_of(brain), "the other question")
        page = brain.questions.read_text()
        assert "\nhalf a thought\n" in page
        brain.questions.write_text(page.replace("[ ] **answer**", "[x] **answer**", 1))
        await running.ended("ask")
        assert brain.where("more") == ["active"]
    assert brain.recorded("ask").text.strip() == "half a thought"
    assert "half a thought" not in brain.git("log", "-p", "--all", "--", "prompts/pending.md")


ASKS = """
if ! ls -d asked > /dev/null 2>&1; then
  mkdir asked
  "$PYTHON" -m brain_daemon ask "Which colour?" && exit 0
fi
cat
"""


@pytest.mark.parametrize("way", ["command", "file"])
async def test_a_program_asks_and_goes_on_with_the_answer(brain, tmp_path, monkeypatch, way):
    """Its run has ended, the task is parked, and the next run in the same folder is told the answer."""
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    by_file = 'mkdir -p questions && echo "Which colour?" > questions/q.md && exit 0'
    script = (
        ASKS if way == "command" else ASKS.replace('"$PYTHON" -m brain_daemon ask "Which colour?" && exit 0', by_file)
    )
    (tmp_path / "ask.sh").write_text(script)
    brain.program("asker", "/bin/sh", str(tmp_path / "ask.sh"), inside="  env: [PYTHON, PYTHONPATH]\n")
    brain.drop("ask.md", "---\ninterface: asker\n---\n# Paint it\n")
    async with brain.running() as running:
        await running.until(lambda: "> Which colour?" in page_of(brain), "the question")
        assert brain.where("ask") == ["active"]
        write(brain.questions, "blue")
        await running.ended("ask")
    result = brain.recorded("ask")
    assert result.values["status"] == "completed"
    assert "# Paint it" in result.text
    assert "You asked: Which colour?" in result.text
    assert "blue" in result.text


@pytest.fixture
def shared(brain, tmp_path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    brain.write("tools/interfaces/desk.md", DESK.format(folder=folder, timeout="1h"))
    return folder


def application(shared: Path, text: str) -> threading.Thread:
    """A desktop application that answers every request once."""

    def work() -> None:
        end = time.monotonic() + 30
        while not (found := sorted(shared.glob("*.md"))) and time.monotonic() < end:
            time.sleep(0.01)
        for request in found:
            request.with_name(f"{request.stem}.answer.md").write_text(text)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


async def test_a_desktop_application_answers_a_task(brain, shared):
    """What it writes is the result, and the shared folder is clean."""
    application(shared, "written")
    brain.drop("write.md", TO_DESK)
    assert await brain.once() == 0
    assert brain.recorded("write").text.strip() == "written"
    assert os.listdir(shared) == []


async def test_a_desktop_application_that_does_not_answer_is_timed_out(brain, shared):
    """The request is taken back."""
    brain.write("tools/interfaces/desk.md", DESK.format(folder=shared, timeout="200ms"))
    brain.drop("write.md", TO_DESK)
    assert await brain.once() == 1
    assert brain.recorded("write").values["reason"] == "timed_out"
    assert os.listdir(shared) == []


async def test_a_cancel_reaches_the_shared_folder(brain, shared):
    """The request is taken back."""
    async with brain.running() as running:
        brain.drop("write.md", TO_DESK)
        await running.until(lambda: os.listdir(shared) == ["write.md"], "the request")
        opened = brain.open()
        actions.cancel(opened, "write")
        opened.close()
        await running.ended("write")
    assert os.listdir(shared) == []
    assert brain.recorded("write").values["reason"] == "cancelled"


def test_a_killed_daemon_finds_its_request_and_the_answer_again(brain, daemon, shared):
    """It is not put twice, and what came meanwhile counts."""
    with daemon() as running:
        running.drop("write.md", TO_DESK)
        running.wait_for(lambda: os.listdir(shared) == ["write.md"])
        running.process.kill()
        running.process.wait()
    (shared / "write.answer.md").write_text("meanwhile")
    with daemon() as running:
        running.wait_for(lambda: brain.where("write") == ["completed"])
    assert brain.recorded("write").text.strip() == "meanwhile"
    assert os.listdir(shared) == []
