"""The double that ships with the product: a tool that answers with the task's own text, or does what its options say.

Options: `answer` (text instead of the task's), `delay_seconds`, `fail` (a failure kind), `witness` (a file to which
each start is appended and synced before anything else happens: the outside observer of the crash lab).
"""

import os
import time

from brain_daemon.adapters.tool_api import ToolAnswer, ToolCall, ToolFailed, quick, writes_nothing
from brain_daemon.model.outcome import FailureKind

_BEAT_SECONDS = 0.02


@quick("delay_seconds", "witness")
@writes_nothing
def echo(call: ToolCall) -> ToolAnswer:
    """Answer with the task's text."""
    options = call.options
    if "witness" in options:
        _witness(str(options["witness"]), call.attempt_id)
    _wait(call, float(str(options.get("delay_seconds", 0))))
    if "fail" in options:
        raise ToolFailed(FailureKind(str(options["fail"])), f"echo was told to fail: {options['fail']}")
    return ToolAnswer(text=str(options.get("answer", call.text)))


def _witness(path: str, attempt_id: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, f"{attempt_id}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wait(call: ToolCall, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        call.stop_if_asked()
        time.sleep(min(left, _BEAT_SECONDS))
