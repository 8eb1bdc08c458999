"""The tool `shell`: runs the fenced `sh` blocks of a task's body, one script, with /bin/sh -eu in the workspace.

The text of the answer is what the script printed, stdout and stderr in the order they were written. A script that ends
with another code than 0 is a permanent failure with the last of its output. Output is kept from both ends up to
`KEPT_BYTES`; past `OUTPUT_LIMIT_BYTES` the script is ended (output_limit).

The script leads a session and a process group of its own, and whatever it leaves behind is ended with it: first by
group, then by the tag BRAIN_ATTEMPT_ID in the environment. What sheds both is not found. It reads nothing: stdin is empty.

Not promised: a sandbox. Blocks in other languages, in quotations and in lists are not run, and a block that is never
closed is refused, since the file may not be whole.
"""

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from brain_daemon.adapters.survivors import TAG, end, identify
from brain_daemon.adapters.tool_api import ToolAnswer, ToolCall, ToolFailed
from brain_daemon.model.outcome import FailureKind

LANGUAGES = frozenset({"sh", "shell"})
SCRIPT_LIMIT_BYTES = 100_000  # Linux takes 128 KiB in one argument
KEPT_BYTES = 256 * 1024
OUTPUT_LIMIT_BYTES = 64 << 20
TAIL_LINES = 20
TAIL_LENGTH = 2_000
_GRACE_SECONDS = 1.5
_BEAT_SECONDS = 0.05
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*")
_READ_BYTES = 1 << 16
_LARGEST_PIPE_BYTES = 1 << 20
_NO_LOCK = ""


def shell(call: ToolCall) -> ToolAnswer:
    """Run the task's blocks. Raises ToolFailed (permanent, output_limit) and ToolStopped."""
    script = _script(call.text)
    call.stop_if_asked()
    output = _Output()
    with _started(call, script) as running:
        try:
            _follow(call, running, output)
        finally:
            survivors = _end(call, running)
        output.take_rest(_stdout(running))
        code = running.wait()
    if code != 0:
        raise ToolFailed(FailureKind.PERMANENT, _failure(code, output.text(), survivors))
    return ToolAnswer(
        text="\n".join((output.text() or "The script printed nothing and ended with exit code 0.", *survivors))
    )


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    text: str
    closed: bool


def _script(body: str) -> str:
    blocks = list(_blocks(body))
    ours = [block for block in blocks if block.language in LANGUAGES]
    if not ours:
        others = ", ".join(sorted({block.language or "no language" for block in blocks}))
        found = f"there are only blocks marked {others}" if blocks else "there is no fenced block"
        raise _refused(f"{found} in the task. Write the commands into one marked sh, like this:\n\n```sh\nls -l\n```")
    if not all(block.closed for block in ours):
        raise _refused("the last fenced block is not closed: end it with a line of three backticks")
    script = "\n".join(block.text for block in ours)
    if "\0" in script or len(script.encode("utf-8", "surrogatepass")) > SCRIPT_LIMIT_BYTES:
        raise _refused(
            f"the blocks hold a NUL or more than {SCRIPT_LIMIT_BYTES} bytes: put the script into a file and call it"
        )
    return script


def _refused(why: str) -> ToolFailed:
    return ToolFailed(FailureKind.PERMANENT, f"reading the script for the shell tool: {why}")


def _blocks(body: str) -> Iterator[_Block]:
    """The fenced blocks of a markdown text as CommonMark has them, those of a quotation or a list apart."""
    lines = iter(body.splitlines())
    for line in lines:
        opening = _FENCE.fullmatch(line)
        if opening is None:
            continue
        fence, language = opening.groups()
        closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*")
        inner: list[str] = []
        closed = False
        for row in lines:
            closed = closing.fullmatch(row) is not None
            if closed:
                break
            inner.append(row)
        yield _Block(language.lower(), "\n".join(inner), closed)


@contextlib.contextmanager
def _started(call: ToolCall, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """The running script; its group is ended and its leader reaped whatever happens."""
    try:
        running = subprocess.Popen(
            ["/bin/sh", "-eu", "-c", script, "task"],
            cwd=call.workspace,
            env={**call.env, TAG: call.attempt_id},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolFailed(
            FailureKind.TRANSIENT,
            f"starting /bin/sh in {call.workspace}: {error.strerror}; it may work when tried again",
        ) from error
    with running:
        os.set_blocking(_stdout(running), False)
        yield running


def _stdout(running: subprocess.Popen[bytes]) -> int:
    assert running.stdout is not None
    return running.stdout.fileno()


def _follow(call: ToolCall, running: subprocess.Popen[bytes], output: "_Output") -> None:
    """Take the output until the script has ended; what it left running may still hold the pipe."""
    with selectors.DefaultSelector() as selector:
        selector.register(_stdout(running), selectors.EVENT_READ)
        pause = 0.001
        while True:
            if selector.get_map():
                if selector.select(_BEAT_SECONDS) and not output.take(_stdout(running)):
                    selector.unregister(_stdout(running))
            else:
                time.sleep(pause)
                pause = min(pause * 2, _BEAT_SECONDS)
            if _has_ended(running):
                return
            call.stop_if_asked()


def _has_ended(running: subprocess.Popen[bytes]) -> bool:
    """Whether the script has exited. It stays a zombie, so that the number of its group is not reused."""
    living = identify(running.pid)
    return living is None or living.zombie


def _end(call: ToolCall, running: subprocess.Popen[bytes]) -> tuple[str, ...]:
    """End all that the script started; a line for each process that could not be ended."""
    _signal_group(running, signal.SIGTERM)
    left = end(call.attempt_id, _NO_LOCK, _GRACE_SECONDS)
    _signal_group(running, signal.SIGKILL)
    return tuple(f"Still running, and could not be ended: {name}" for name in left)


def _signal_group(running: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(running.pid, signum)


class _Output:
    """The first three quarters and the last quarter of what may be kept; the middle is counted and dropped."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._total_bytes = 0

    def take(self, descriptor: int) -> bool:
        """Read what is there once; False at the end. Raises ToolFailed past the limit."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return True
        self._total_bytes += len(data)
        room = KEPT_BYTES * 3 // 4 - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[: -KEPT_BYTES // 4]
        if self._total_bytes > OUTPUT_LIMIT_BYTES:
            raise ToolFailed(
                FailureKind.OUTPUT_LIMIT,
                f"the script was ended after {OUTPUT_LIMIT_BYTES >> 20} MiB of output: send it to a file below out/ instead",
            )
        return bool(data)

    def take_rest(self, descriptor: int) -> None:
        """What the pipe still holds after the end, and no more than a pipe can hold: a survivor may go on writing."""
        for _ in range(_LARGEST_PIPE_BYTES // _READ_BYTES):
            before = self._total_bytes
            if not self.take(descriptor) or self._total_bytes == before:
                return

    def text(self) -> str:
        dropped = self._total_bytes - len(self._head) - len(self._tail)
        gap = f"\n[… {dropped} bytes left out …]\n".encode() if dropped else b""
        return bytes(self._head + gap + self._tail).decode("utf-8", "replace").rstrip("\n")


def _failure(code: int, text: str, survivors: tuple[str, ...]) -> str:
    how = f"ended with exit code {code}" if code > 0 else f"was ended by {_signal_name(-code)}"
    lines = "\n".join(text.splitlines()[-TAIL_LINES:])[-TAIL_LENGTH:]
    said = f"the last of its output:\n\n{lines}" if lines else "it printed nothing."
    return "\n".join((f"the script {how}; {said}", *survivors))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
