"""The double that ships: it answers with the task's text, or does as it is told."""

import time
from pathlib import Path

import pytest

from brain_daemon.adapters.echo import echo
from brain_daemon.adapters.tool_api import ToolCall, ToolFailed, ToolStopped, needs_workspace
from brain_daemon.model.outcome import FailureKind


def call(cancelled=lambda: False, deadline=None, **options) -> ToolCall:
    return ToolCall(
        task_id="t",
        attempt_id="t.a1.00000000",
        title="T",
        text="the text",
        brain_root=Path("/"),
        workspace=Path("/nowhere"),
        options=options,
        cancelled=cancelled,
        deadline_monotonic=deadline,
    )


def test_it_answers_with_the_text_of_the_task():
    """Or with what `answer` says."""
    assert echo(call()).text == "the text"
    assert echo(call(answer=42)).text == "42"


@pytest.mark.parametrize("kind", FailureKind)
def test_it_fails_as_it_is_told(kind):
    """Each kind of no can be had."""
    with pytest.raises(ToolFailed) as caught:
        echo(call(fail=kind.value))
    assert caught.value.kind is kind


def test_it_witnesses_each_start_before_anything_else(tmp_path):
    """The outside observer of the crash lab sees starts that never ended."""
    path = tmp_path / "witness"
    for _ in range(2):
        with pytest.raises(ToolFailed):
            echo(call(witness=str(path), fail="quota"))
    assert path.read_text() == "t.a1.00000000\n" * 2


def test_it_waits_and_stops_when_asked():
    """A cancel and a deadline each end it early, and say which it was."""
    began = time.monotonic()
    echo(call(delay_seconds=0.05))
    assert time.monotonic() - began >= 0.05
    with pytest.raises(ToolStopped) as caught:
        echo(call(cancelled=lambda: True, delay_seconds=60))
    assert caught.value.cancelled
    with pytest.raises(ToolStopped) as caught:
        echo(call(deadline=time.monotonic(), delay_seconds=60))
    assert not caught.value.cancelled


def test_it_needs_no_workspace():
    """No folder is made for it."""
    assert not needs_workspace(echo)
