"""The shell tool runs what a task fences, in its workspace, and leaves nothing behind."""

import os
import threading
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.adapters import shell as module
from brain_daemon.adapters.shell import shell
from brain_daemon.adapters.tool_api import ToolCall, ToolFailed, ToolStopped
from brain_daemon.model.outcome import FREE, FailureKind, Usage

FENCE = "```"


def body(script: str, language: str = "sh") -> str:
    return f"# Task: try\n\nRun this:\n\n{FENCE}{language}\n{script}\n{FENCE}\n\nThank you.\n"


@pytest.fixture
def call(tmp_path):
    """A call with the given text, in a workspace of its own, and an attempt id that no other test has."""

    def build(text: str, **fields) -> ToolCall:
        workspace = tmp_path / "workspace"
        workspace.mkdir(exist_ok=True)
        attempt = f"try.a1.{abs(hash((str(tmp_path), text))) % 16**8:08x}"
        environment = {"PATH": os.defpath, "BRAIN_TASK_ID": "try", "BRAIN_ATTEMPT_ID": attempt}
        return ToolCall(
            task_id="try",
            attempt_id=attempt,
            title="try",
            text=text,
            brain_root=tmp_path,
            **{"workspace": workspace, "env": environment, "deadline_monotonic": time.monotonic() + 60, **fields},
        )

    return build


def living(mark: str) -> list[int]:
    """The processes whose command line holds `mark`."""
    rows = (process.info for process in psutil.process_iter(["pid", "cmdline", "status"]))
    alive = (row for row in rows if row["status"] != psutil.STATUS_ZOMBIE)
    return [row["pid"] for row in alive if mark in " ".join(row["cmdline"] or ())]


def test_a_block_runs_in_the_workspace_and_its_output_is_the_answer(call):
    """stdout and stderr come back in order, free of charge."""
    asked = call(body("pwd; echo one; echo two >&2; echo three > kept.txt; cat kept.txt"))
    answer = shell(asked)
    assert answer.text == f"{os.path.realpath(asked.workspace)}\none\ntwo\nthree"
    assert (answer.usage, answer.cost) == (Usage(), FREE)
    assert (asked.workspace / "kept.txt").read_text() == "three\n"


def test_blocks_are_one_script(call):
    """A variable set in the first block is there in the second; other languages are prose."""
    text = body("name=world") + body("print('no')", "python") + "~~~shell\necho hello $name\n~~~\n"
    assert shell(call(text)).text == "hello world"


def test_the_environment_is_the_one_given_and_no_more(call, monkeypatch):
    """A key in the daemon's own environment does not reach the script; the tag of the attempt does."""
    monkeypatch.setenv("SOME_PROVIDER_KEY", "do-not-pass")
    names = {line.split("=")[0] for line in shell(call(body("env"))).text.splitlines()}
    assert {"BRAIN_TASK_ID", "BRAIN_ATTEMPT_ID", "PATH"} <= names
    assert "SOME_PROVIDER_KEY" not in names
    assert "HOME" not in names


def test_a_script_reads_an_empty_stdin(call):
    """A command that asks a question gets an end of file instead of waiting for ever."""
    assert shell(call(body("cat; echo done"))).text == "done"


def test_silence_is_said(call):
    """An answer is never empty, so a reader sees that it ran."""
    assert shell(call(body("true"))).text == "The script printed nothing and ended with exit code 0."


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo before; exit 3", "the script ended with exit code 3; the last of its output:\n\nbefore"),
        ("echo a; false; echo never", "the script ended with exit code 1; the last of its output:\n\na"),
        ("exit 4", "the script ended with exit code 4; it printed nothing."),
        ("kill -KILL $$", "the script was ended by SIGKILL; it printed nothing."),
    ],
)
def test_a_script_that_fails_is_a_permanent_failure_with_its_last_words(call, script, message):
    """The first failing command ends it, and the message says how and what it printed."""
    with pytest.raises(ToolFailed) as failed:
        shell(call(body(script)))
    assert (failed.value.kind, str(failed.value)) == (FailureKind.PERMANENT, message)


def test_an_unset_variable_fails(call):
    """`-u`: a misspelt name is an error and not an empty word."""
    with pytest.raises(ToolFailed, match="misspelt"):
        shell(call(body("echo $misspelt")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Please list the files.\n", "there is no fenced block in the task.*\n\n```sh\nls -l\n```"),
        (body("ls", "bash") + body("x", ""), "there are only blocks marked bash, no language in the task"),
        (f"{FENCE}sh\necho half", "not closed"),
        (body("echo '" + "x" * 100_001 + "'"), "more than 100000 bytes"),
        (body("echo \0"), "NUL"),
        (f"````markdown\n{body('touch ran')}````\n", "only blocks marked markdown"),
        (f"    {FENCE}sh\n    touch ran\n    {FENCE}\n", "no fenced block"),
        (f"> {FENCE}sh\n> touch ran\n> {FENCE}\n", "no fenced block"),
    ],
)
def test_a_task_without_commands_is_refused_and_shown_how(call, text, why):
    """Nothing is guessed: prose, other languages, quoted and unfinished blocks do not run."""
    asked = call(text)
    with pytest.raises(ToolFailed, match=f"(?s){why}") as failed:
        shell(asked)
    assert failed.value.kind is FailureKind.PERMANENT
    assert list(asked.workspace.iterdir()) == []


@given(st.text(st.sampled_from("`~sh \n\t>-") | st.characters(), max_size=80))
def test_reading_the_blocks_is_total(text):
    """Any text is cut into blocks, and no line of it is in two of them."""
    blocks = list(module._blocks(text))
    assert sum(len(block.text.splitlines()) for block in blocks) <= len(text.splitlines())
    assert all(block.closed for block in blocks[:-1])


def test_a_deadline_ends_the_script_and_what_it_started(call):
    """The wait is over within moments, and no descendant is left, not even one in a session of its own."""
    script = "setsid sleep 3141.59 & sleep 3141.59 & echo started; wait"
    with pytest.raises(ToolStopped) as stopped:
        shell(call(body(script), deadline_monotonic=time.monotonic() + 0.5))
    assert not stopped.value.cancelled
    assert living("sleep 3141.59") == []


def test_a_cancel_ends_a_script_that_ignores_sigterm(call):
    """What does not listen is killed."""
    asked_to_stop = threading.Event()
    asked = call(body("trap '' TERM; touch ready; while :; do sleep 27.1828; done"), cancelled=asked_to_stop.is_set)

    def stop_when_ready():
        deadline = time.monotonic() + 30
        while not (asked.workspace / "ready").exists() and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        asked_to_stop.set()

    threading.Thread(target=stop_when_ready, daemon=True).start()
    with pytest.raises(ToolStopped) as stopped:
        shell(asked)
    assert stopped.value.cancelled
    assert living("sleep 27.1828") == []


def test_nothing_is_started_when_it_is_cancelled_already(call):
    """A cancel that came first leaves no trace."""
    asked = call(body("touch ran"), cancelled=lambda: True)
    with pytest.raises(ToolStopped):
        shell(asked)
    assert list(asked.workspace.iterdir()) == []


def test_what_a_script_leaves_running_is_ended_with_it(call):
    """A server put into the background, holding the pipe, neither delays the answer nor outlives it."""
    assert shell(call(body("sleep 1618.03 & echo answered"))).text == "answered"
    assert living("sleep 1618.03") == []


def test_a_script_may_close_its_output_and_go_on(call):
    """The end of the pipe is not the end of the script."""
    asked = call(body("exec >&- 2>&-; sleep 0.2; touch late"))
    shell(asked)
    assert (asked.workspace / "late").exists()


def test_long_output_keeps_both_ends(call):
    """The middle is left out, and how much is said."""
    text = shell(call(body("echo first; yes 0123456789 | head -c 2000000; echo; echo last"))).text
    assert text.startswith("first\n0123456789")
    assert text.endswith("last")
    assert len(text) < module.KEPT_BYTES + 100
    assert "bytes left out" in text


def test_endless_output_is_an_outcome(call, monkeypatch):
    """A program that never stops printing is ended at the limit."""
    monkeypatch.setattr(module, "OUTPUT_LIMIT_BYTES", 1 << 20)
    with pytest.raises(ToolFailed, match="out/") as failed:
        shell(call(body("yes 2.236067")))
    assert failed.value.kind is FailureKind.OUTPUT_LIMIT
    assert living("yes 2.236067") == []


def test_output_that_is_no_text_is_shown_as_far_as_it_is(call):
    """Bytes that are no UTF-8 become replacement characters."""
    assert shell(call(body("printf 'a\\377b'"))).text == "a\ufffdb"


def test_a_missing_workspace_is_a_failure_and_no_crash(call, tmp_path):
    """The message names the folder."""
    with pytest.raises(ToolFailed, match="gone") as failed:
        shell(call(body("ls"), workspace=tmp_path / "gone"))
    assert failed.value.kind is FailureKind.TRANSIENT
