"""Tools in threads: their answers, their faults, their deadlines, and threads that never come back."""

import asyncio
import os
import threading
import time
from dataclasses import replace
from importlib import metadata

import pytest

from brain_daemon.adapters import tool as tool_module
from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.echo import echo
from brain_daemon.adapters.threads import DaemonThreads, Returns
from brain_daemon.adapters.tool import ToolAdapter
from brain_daemon.adapters.tool_api import ToolAnswer, ToolFailed, quick
from brain_daemon.adapters.tools import find_tool, is_quick_tool, is_repeatable, tool_fault
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Cancelled, Failed, FailureKind, Succeeded, TimedOut, Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.store.files import Files

INTERFACE = parse_interface(
    "mine.md", b"---\nname: mine\ntype: tool\ninvoke:\n  kind: tool\n  function: mine\n  depth: 3\n---\n# Mine\n"
)


@pytest.fixture
def adapter():
    made = ToolAdapter(Files())
    yield made
    made.close()


@pytest.fixture
def tool(monkeypatch):
    """Puts a function under the name `mine`."""

    def put(function):
        monkeypatch.setattr(tool_module, "find_tool", lambda name: function if name == "mine" else find_tool(name))
        return function

    return put


@pytest.fixture
def invocation(tmp_path):
    return Invocation(
        attempt_id="t.a1.00000000",
        task=parse_task("t.md", b"# Title\n\nbody\n"),
        interface=INTERFACE,
        prompt="everything around it",
        root=str(tmp_path),
        folder=str(tmp_path / "attempt"),
        workspace=str(tmp_path / "work"),
        environment={"PATH": os.environ["PATH"], "HOME": "/home/ann", "SECRET_KEY": "hidden"},
        timeout_seconds=20.0,
        grace_seconds=0.1,
        model="m",
    )


async def test_a_tool_gets_the_persons_text_and_its_options(adapter, tool, invocation):
    """Never the prompt gathered around it, and an environment without secrets; its workspace exists."""
    calls = []

    def mine(call):
        calls.append(call)
        assert call.workspace.is_dir()
        return ToolAnswer(text="done", usage=Usage(requests=2))

    tool(mine)
    ended = await adapter.invoke(invocation, Cancel())
    assert ended.outcome == Succeeded(text="done")
    assert (ended.text, ended.usage, ended.model) == ("done", Usage(requests=2), "m")
    (call,) = calls
    assert (call.task_id, call.title) == ("t", "Title")
    assert call.text.strip() == "# Title\n\nbody"
    assert call.options["depth"] in (3, "3")
    assert call.env["BRAIN_ATTEMPT_ID"] == "t.a1.00000000"
    assert "hidden" not in call.env.values()
    assert adapter.argv(invocation) == ("tool:mine",)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ToolFailed(FailureKind.QUOTA, "no more today"), FailureKind.QUOTA, "no more today"),
        (ZeroDivisionError("by zero"), FailureKind.PERMANENT, "ZeroDivisionError: by zero"),
        (SystemExit(3), FailureKind.PERMANENT, "SystemExit"),
        (asyncio.CancelledError(), FailureKind.PERMANENT, "CancelledError"),
    ],
)
async def test_whatever_a_tool_raises_is_the_outcome_of_its_attempt(adapter, tool, invocation, error, kind, said):
    """Never the end of the daemon."""

    def mine(_call):
        raise error

    tool(mine)
    outcome = (await adapter.invoke(invocation, Cancel())).outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is kind
    assert said in outcome.message


async def test_a_deadline_is_told_and_then_enforced(adapter, tool, invocation):
    """A tool that listens has timed out; nothing is left behind."""

    def mine(call):
        while True:
            call.stop_if_asked()
            time.sleep(0.005)

    tool(mine)
    ended = await adapter.invoke(replace(invocation, timeout_seconds=0.05), Cancel())
    assert ended.outcome == TimedOut(after_seconds=0.05)
    assert ended.survivors == ()


async def test_a_tool_that_does_not_listen_is_left_behind_and_named(adapter, tool, invocation):
    """Its late answer is dropped, and it takes no other tool's place."""
    release, started = threading.Event(), threading.Event()

    def mine(_call):
        started.set()
        release.wait()
        return ToolAnswer(text="late")

    tool(mine)
    ended = await adapter.invoke(replace(invocation, timeout_seconds=0.05), Cancel())
    assert started.is_set()
    assert ended.outcome == TimedOut(after_seconds=0.05)
    assert "thread of the tool mine" in ended.survivors[0]
    tool(lambda _call: ToolAnswer(text="next"))
    assert (await adapter.invoke(invocation, Cancel())).text == "next"
    release.set()


@pytest.mark.parametrize("answers", [True, False])
async def test_a_cancel_wins_over_what_the_tool_says(adapter, tool, invocation, answers):
    """Whether it comes back with an answer or stops as asked."""
    cancel, running = Cancel(), threading.Event()

    def mine(call):
        running.set()
        while not call.cancelled():
            time.sleep(0.005)
        if not answers:
            call.stop_if_asked()
        return ToolAnswer(text="finished anyway")

    tool(mine)
    waiting = asyncio.get_running_loop().create_task(adapter.invoke(invocation, cancel))
    await asyncio.to_thread(running.wait)
    cancel.set()
    assert isinstance((await waiting).outcome, Cancelled)


def test_a_function_is_found_by_name_here_or_in_an_installed_package(monkeypatch):
    """What there is stands in the message; a package that cannot be imported is a sentence too."""
    assert find_tool("echo") is echo
    assert tool_fault("librarian") == ""
    with pytest.raises(UserError, match="echo, librarian, shell"):
        find_tool("nothing")

    class Broken:
        value = "package:function"

        def load(self):
            raise ImportError("no such module")

    monkeypatch.setattr(metadata, "entry_points", lambda **_: [Broken()])
    with pytest.raises(UserError, match="package:function: no such module"):
        find_tool("elsewhere")
    assert "no such module" in tool_fault("elsewhere")


@pytest.mark.parametrize(
    ("lines", "quick", "repeatable"),
    [
        ("  kind: tool\n  function: echo\n", True, True),
        ("  kind: tool\n  function: echo\n  delay_seconds: 1\n", False, False),
        ("  kind: tool\n  function: librarian\n", False, False),
        ("  kind: tool\n  function: nothing\n", False, False),
        ("  kind: command\n  command: [echo]\n", False, False),
        ("  kind: command\n  command: [echo]\nidempotent: true\n", False, True),
    ],
)
def test_a_quick_tool_touches_nothing_and_may_be_called_again(lines, quick, repeatable):
    """Whatever else there is may be called again where its file says so."""
    spec = parse_interface("mine.md", f"---\nname: mine\ninvoke:\n{lines}---\n".encode())
    assert (is_quick_tool(spec), is_repeatable(spec)) == (quick, repeatable)


def test_threads_are_used_again_and_never_waited_for():
    """One thread serves many calls in turn; as many run as are asked at once; what is stuck holds up nobody."""
    pool = DaemonThreads("test")
    gate = threading.Barrier(3)
    together = [pool.submit(gate.wait) for _ in range(2)]
    gate.wait(60)
    assert len({future.result(60) for future in together}) == 2
    with pytest.raises(KeyError):
        pool.submit({}.__getitem__, "x").result(60)
    stuck = threading.Event()
    pool.submit(stuck.wait)
    assert pool.submit(lambda: "free").result(60) == "free"
    pool.shutdown(wait=True)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "test")
    stuck.set()


async def test_a_quick_tool_is_called_without_a_thread_unless_an_option_makes_it_slow(adapter, tool, invocation):
    """The interface of these tests sets `depth`."""
    threads: list[int] = []

    def mine(_call):
        threads.append(threading.get_ident())
        return ToolAnswer(text="done")

    tool(quick("width")(mine))
    assert (await adapter.invoke(invocation, Cancel())).text == "done"
    tool(quick("depth")(mine))
    assert (await adapter.invoke(invocation, Cancel())).text == "done"
    assert threads[0] == threading.get_ident() != threads[1]


async def test_a_quick_tool_that_is_slow_has_a_thread_from_then_on(adapter, tool, invocation):
    """It has broken its word once, and holds up nobody again."""
    threads: list[int] = []

    def mine(_call):
        threads.append(threading.get_ident())
        time.sleep(tool_module.LOOP_PATIENCE_SECONDS * 1.5)
        raise ToolFailed(FailureKind.QUOTA, "no more")

    tool(quick()(mine))
    for _ in range(2):
        assert isinstance((await adapter.invoke(invocation, Cancel())).outcome, Failed)
    assert threads[0] == threading.get_ident() != threads[1]


async def test_a_cancel_is_told_to_a_quick_tool_too(adapter, tool, invocation):
    """It was set before the call."""
    cancel = Cancel()
    cancel.set()
    asked: list[bool] = []
    tool(quick()(lambda call: asked.append(call.cancelled()) or ToolAnswer(text="")))
    assert isinstance((await adapter.invoke(invocation, cancel)).outcome, Cancelled)
    assert asked == [True]


async def test_threads_that_end_together_wake_the_loop_once():
    """Each waiter gets its own end; one that no longer waits is passed over."""
    loop = asyncio.get_running_loop()
    wakes: list[object] = []

    class Counting:
        def call_soon_threadsafe(self, callback):
            wakes.append(callback)
            loop.call_soon_threadsafe(callback)

    returns = Returns(Counting())
    pool = DaemonThreads("test")
    waiting = [loop.create_future() for _ in range(3)]
    waiting[2].cancel()
    ends = [pool.submit(lambda: "found"), pool.submit({}.__getitem__, "x"), pool.submit(int)]
    for end in ends:
        end.exception(10)
    for end, waiter in zip(ends, waiting, strict=True):
        returns.bring(end, waiter)
    assert await waiting[0] == "found"
    with pytest.raises(KeyError):
        await waiting[1]
    assert len(wakes) == 1
    pool.shutdown()


def test_a_thread_that_ends_after_the_loop_has_nobody_to_tell():
    """And says nothing of it."""
    loop = asyncio.new_event_loop()
    waiter = loop.create_future()
    loop.close()
    pool = DaemonThreads("test")
    end = pool.submit(int)
    Returns(loop).bring(end, waiter)
    assert end.result(60) == 0
    pool.shutdown()
