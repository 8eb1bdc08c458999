"""What a folder of a commit holds, read through one git process that stays: for looks that come again and again.

`git cat-file --batch` reads refs and packs anew for each question and answers in a tenth of the time in which a git could start.

Failures: GitError when git ends, says what cannot be read, or does not answer in time; the next look starts another git.
"""

import contextlib
import os
import select
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator

from brain_daemon.model.errors import GitError
from brain_daemon.record.gitcmd import DEADLINE_SECONDS, Git

_READ_BYTES = 1 << 16


class TreeReader:
    """For one thread. `hash_bytes` is 20 or 32, as the repository names its objects."""

    def __init__(self, git: Git, hash_bytes: int) -> None:
        self._git = git
        self._hash_bytes = hash_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._ender: weakref.finalize[..., TreeReader] | None = None
        self._used = False

    def entries(self, revision: str) -> dict[str, str]:
        """Name and hash of all that a folder (`HEAD:some/folder`) holds; empty where there is no such folder."""
        if "\n" in revision:
            raise GitError(f"git cannot be asked for {revision!r}: its name holds a line break")
        self._used = True
        process = self._process or self._start()
        try:
            tree = _answer(process, revision)
        except BaseException:
            self.close()
            raise
        return dict(_entries(tree, self._hash_bytes))

    def rest(self) -> None:
        """Now and then: the process ends if nothing was asked of it since the last time."""
        if not self._used:
            self.close()
        self._used = False

    def close(self) -> None:
        """End the process; another question starts one."""
        if self._ender is not None:
            self._ender()
        self._process = self._ender = None

    def _start(self) -> subprocess.Popen[bytes]:
        process = self._git.spawn("cat-file", "--batch")
        self._process, self._ender = process, weakref.finalize(self, _end, process)
        return process


def _answer(process: subprocess.Popen[bytes], revision: str) -> bytes:
    """The bytes of a tree, empty for none: `HASH tree SIZE\\n`, the bytes, `\\n`; or `REVISION missing\\n` (git-cat-file(1))."""
    assert process.stdin is not None
    try:
        os.write(process.stdin.fileno(), os.fsencode(revision) + b"\n")
    except OSError as error:
        raise GitError(f"git cat-file has ended: {error.strerror}") from error
    deadline = time.monotonic() + DEADLINE_SECONDS
    head, _, data = _until(process, b"", lambda said: b"\n" in said, deadline).partition(b"\n")
    words = head.split(b" ")
    if len(words) != 3 or words[1] != b"tree":
        if head.endswith(b" missing"):
            return b""
        raise GitError(f"git cat-file knows no folder {revision}: {head[:200]!r}")
    size = int(words[2])
    return _until(process, data, lambda said: len(said) > size, deadline)[:size]


def _until(process: subprocess.Popen[bytes], said: bytes, enough: Callable[[bytes], bool], deadline: float) -> bytes:
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    while not enough(said):
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(pipe, _READ_BYTES) if ready else b""
        if not part:
            raise GitError("git cat-file has ended" if ready else "git cat-file did not answer in time")
        said += part
    return said


def _entries(tree: bytes, hash_bytes: int) -> Iterator[tuple[str, str]]:
    """`MODE NAME\\0HASH` again and again, the hash as bytes (gitformat: tree objects)."""
    at = 0
    while at < len(tree):
        end = tree.index(b"\0", at)
        _, _, name = tree[at:end].partition(b" ")
        at = end + 1 + hash_bytes
        yield os.fsdecode(name), tree[end + 1 : at].hex()


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends by itself when nobody can ask any more."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
