"""A desktop application behind a shared folder: real files, and a thread that plays the application."""

import asyncio
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.file_drop import FileDropAdapter
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Cancelled, CostBasis, Failed, FailureKind, Succeeded, TimedOut
from brain_daemon.model.parsing import parse_task
from brain_daemon.store.files import Files

DEADLINE_SECONDS = 60.0
SETTLE_SECONDS = 0.05


def interface(inside: str = "", head: str = "") -> InterfaceSpec:
    text = f"---\nname: desk\n{head}invoke:\n  kind: file_drop\n  folder: ~/shared\n{inside}---\n# Desk\n"
    made = parse_interface("desk.md", text.encode())
    assert isinstance(made, InterfaceSpec), made
    assert made.warnings == ()
    return made


@pytest.fixture
def shared(tmp_path) -> Path:
    folder = tmp_path / "home" / "shared"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def call(tmp_path, shared):
    """`call(number=2)` makes an invocation of the second attempt."""

    def make(number: int = 1, task: str = "# Title\n\nbody\n", **changes) -> Invocation:
        attempt = f"t.a{number}.{number:08x}"
        invocation = Invocation(
            attempt_id=attempt,
            task=parse_task("t.md", task.encode()),
            interface=interface(),
            prompt=f"{task}\nprompt {number}",
            root=str(tmp_path / "brain"),
            folder=str(tmp_path / "attempts" / attempt),
            workspace=str(tmp_path / "work"),
            environment={"HOME": str(tmp_path / "home")},
            timeout_seconds=DEADLINE_SECONDS,
        )
        return replace(invocation, **changes)

    return make


async def run(invocation: Invocation, cancel: Cancel | None = None):
    adapter = FileDropAdapter(Files(), settle_seconds=SETTLE_SECONDS, poll_seconds=0.02)
    return await adapter.invoke(invocation, cancel or Cancel())


def until(condition) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


class Application(threading.Thread):
    """Waits for a request, then does what the test says with its path."""

    def __init__(self, request: Path, work) -> None:
        super().__init__(daemon=True)
        self.request, self.work = request, work
        self.start()

    def run(self) -> None:
        until(self.request.exists)
        self.work(self.request)


def kept(invocation: Invocation, name: str) -> str:
    """What is in the attempt's folder."""
    return Path(invocation.folder, name).read_text()


def names(folder: Path | str) -> list[str]:
    return sorted(os.listdir(folder))


async def test_the_request_is_written_and_the_answer_taken(call, shared):
    """Both files are in the attempt's folder then, and the shared folder is as it was."""
    seen = []

    def work(request: Path) -> None:
        seen.append(request.read_text())
        request.with_name("t.answer.md").write_bytes("Größe: ½\r\nja\n".encode())

    application = Application(shared / "t.md", work)
    ended = await run(call())
    application.join()
    assert ended.outcome == Succeeded(text="Größe: ½\nja\n")
    assert seen == [
        "# Title\n\nbody\n\nprompt 1\n\n---\nWrite the complete answer to `t.answer.md` in this folder, in one go.\n"
    ]
    assert names(shared) == []
    assert {"answer.md", "request.md", "prompt.md"} <= set(names(call().folder))
    assert kept(call(), "request.md") == seen[0]
    assert (ended.cost.basis, ended.usage.input_tokens, ended.warnings) == (CostBasis.FREE, None, ())


async def test_a_model_behind_it_has_its_tokens_estimated(call, shared):
    """The subscription costs nothing more, and the tokens are marked."""
    Application(shared / "t.md", lambda request: request.with_name("t.answer.md").write_text("yes, of course"))
    ended = await run(call(interface=interface(head="type: llm\ncost: subscription\n")))
    assert (ended.cost.basis, ended.usage.estimated) == (CostBasis.SUBSCRIPTION, True)
    assert ended.usage.input_tokens
    assert ended.usage.output_tokens


async def test_the_answer_may_have_its_own_name_and_folder(call, shared):
    """And the request says so."""
    replies = shared.parent / "replies"
    replies.mkdir()
    requests = []

    def work(request: Path) -> None:
        requests.append(request.read_text())
        (replies / "re-t.txt").write_text("yes")

    Application(shared / "t.md", work)
    spec = interface("  answer_file: re-{task_id}.txt\n  answer_folder: ~/replies\n")
    assert (await run(call(interface=spec))).text == "yes"
    assert requests[0].endswith(f"answer to `re-t.txt` in {replies}, in one go.\n")
    assert names(replies) == []


async def test_an_answer_that_is_still_being_written_is_waited_for(call, shared):
    """An empty file is none, and one that grows has not settled."""

    def work(request: Path) -> None:
        with request.with_name("t.answer.md").open("w") as answer:
            for word in ["", *["word "] * 20]:
                answer.write(word)
                answer.flush()
                time.sleep(SETTLE_SECONDS / 3)

    Application(shared / "t.md", work)
    assert (await run(call())).text == "word " * 20


async def test_a_timeout_takes_the_request_back(call, shared):
    """It is kept with the attempt."""
    ended = await run(call(timeout_seconds=0.1))
    assert ended.outcome == TimedOut(after_seconds=0.1)
    assert names(shared) == []
    assert "prompt 1" in kept(call(), "request.md")


async def test_a_cancel_takes_the_request_back_at_once(call, shared):
    """Whatever lies there by then."""
    cancel = Cancel()
    running = asyncio.create_task(run(call(), cancel))
    await asyncio.to_thread(until, (shared / "t.md").exists)
    cancel.set()
    assert (await asyncio.wait_for(running, DEADLINE_SECONDS)).outcome == Cancelled()
    assert names(shared) == []


async def die_waiting(invocation: Invocation, shared: Path) -> None:
    """An attempt whose daemon is killed while the request lies there."""
    running = asyncio.create_task(run(invocation))
    await asyncio.to_thread(until, Path(invocation.folder, "dropped").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert names(shared) == ["t.md"]


async def test_a_restart_goes_on_with_the_request_that_lies_there(call, shared):
    """It is not written anew, even where the prompt has changed, and an answer that came meanwhile is taken."""
    await die_waiting(call(), shared)
    before = (shared / "t.md").stat()
    second = asyncio.create_task(run(call(2)))
    await asyncio.to_thread(until, Path(call(2).folder, "dropped").exists)
    assert (shared / "t.md").stat() == before
    (shared / "t.answer.md").write_text("late")
    assert (await second).text == "late"
    assert names(shared) == []


async def test_a_restart_takes_the_answer_that_came_meanwhile(call, shared):
    """Also where the application has taken the request away."""
    await die_waiting(call(), shared)
    (shared / "t.md").unlink()
    (shared / "t.answer.md").write_text("early")
    assert (await run(call(2))).text == "early"
    assert names(shared) == []


async def test_a_request_that_was_taken_up_is_not_put_twice(call, shared):
    """The application is at work on it: it would do it twice."""
    await die_waiting(call(), shared)
    (shared / "t.md").unlink()
    ended = await run(call(2, timeout_seconds=0.1))
    assert isinstance(ended.outcome, TimedOut)
    assert kept(call(2), "request.md") == ""


async def test_a_further_try_asks_again(call, shared):
    """After a timeout or an answer that did not do, the request of the earlier attempt is settled."""
    await run(call(timeout_seconds=0.05))
    Application(shared / "t.md", lambda request: request.with_name("t.answer.md").write_text("second"))
    assert (await run(call(2))).text == "second"
    assert "prompt 2" in kept(call(2), "request.md")


async def test_an_answer_that_nobody_asked_for_is_moved_aside(call, shared):
    """It belongs to another task that had the same name."""
    (shared / "t.answer.md").write_text("stale")
    Application(shared / "t.md", lambda request: request.with_name("t.answer.md").write_text("fresh"))
    assert (await run(call())).text == "fresh"
    assert kept(call(), "unasked.md") == "stale"


async def test_a_file_of_somebody_else_is_left_alone(call, shared):
    """The request is not put, and the sentence says what to do."""
    (shared / "t.md").write_text("mine")
    ended = await run(call())
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.UNAVAILABLE
    assert "move it away" in ended.outcome.message
    assert (shared / "t.md").read_text() == "mine"


@pytest.mark.parametrize("fault", ["gone", "locked"])
async def test_a_folder_that_cannot_be_used_is_said(call, shared, fault):
    """Nothing was started: another interface may do it."""
    if fault == "gone":
        shared.rmdir()
    else:
        shared.rmdir()
        shared.write_text("no folder")
    ended = await run(call())
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.UNAVAILABLE
    assert str(shared) in ended.outcome.message


async def test_an_answer_above_the_limit_is_refused_and_kept(call, shared):
    """It is left where it is."""
    Application(shared / "t.md", lambda request: request.with_name("t.answer.md").write_text("x" * 101))
    ended = await run(call(output_bytes=100))
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.OUTPUT_LIMIT
    assert names(shared) == ["t.answer.md"]


async def test_a_link_is_no_answer(call, shared, tmp_path):
    """What it leads to is not read, and the timeout says why nothing came."""
    (tmp_path / "secret").write_text("secret")
    Application(shared / "t.md", lambda request: request.with_name("t.answer.md").symlink_to(tmp_path / "secret"))
    ended = await run(call(timeout_seconds=0.3))
    assert isinstance(ended.outcome, TimedOut)
    assert "is a symbolic link" in ended.warnings[0]


def test_the_journal_is_told_which_file_is_written(call, shared):
    """Its path, with `~` resolved."""
    adapter = FileDropAdapter(Files(), settle_seconds=0)
    assert adapter.argv(call()) == (f"file_drop:{shared / 't.md'}",)


@pytest.mark.parametrize(
    ("inside", "field"),
    [("  folder: ''\n", "invoke.folder"), ("  folder: x\n  answer_file: t.md\n", "invoke.answer_file"),
     ("  folder: x\n  answer_file: '{task_id}.md'\n", "invoke.answer_file"),
     ("  folder: x\n  answer_file: '../{task_id}.x'\n", "invoke.answer_file")],
)  # fmt: skip
def test_a_declaration_that_could_not_work_is_refused(inside, field):
    """With the field that must change."""
    fault = parse_interface("desk.md", f"---\nname: desk\ninvoke:\n  kind: file_drop\n{inside}---\n# D\n".encode())
    assert fault.field == field
