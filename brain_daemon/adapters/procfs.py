"""The process table as Linux shows it under /proc: who lives, whose child it is, what its environment and files say.

Nothing here raises for a process that is gone, foreign or unreadable: the answer is then None or an empty list, since
a process may end between any two reads. `pstable` answers the same questions elsewhere; `survivors` picks one of them.
"""

import os
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_ENVIRONMENT_READ_BYTES = 64 * 1024
_EXEC_LOOKS = 3
_EXEC_PAUSE_SECONDS = 0.0002
_LONGEST_NAME = 40
_EXCLUSIVE_LOCK = re.compile(rb"FLOCK\s+\S+\s+WRITE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """One row of the process table. `pid` and `start` together name a process for ever; a pid alone does not.

    `start` is in the table's own unit and only ever compared; `started_at` is epoch seconds, for people.
    """

    pid: int
    start: float
    parent: int = field(compare=False)
    group: int = field(compare=False)
    session: int = field(compare=False)
    zombie: bool = field(compare=False)
    name: str = field(compare=False)
    started_at: float = field(compare=False)

    @property
    def words(self) -> str:
        """`1234 node (npm)`: never a whole command line, which may hold a secret."""
        return f"{self.pid} {self.name}"


def everyone() -> list[int]:
    """The pid of every process."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def identify(pid: int) -> Living | None:
    """What `pid` is now, a zombie included; None when there is no such process."""
    text = _read(f"/proc/{pid}/stat").decode("utf-8", "replace")
    if ")" not in text:
        return None
    # The command name stands in parentheses and may itself hold any of ") (" and newlines: proc_pid_stat(5).
    rest = text[text.rindex(")") + 2 :].split()
    name = text[text.index("(") + 1 : text.rindex(")")]
    ticks = int(rest[19])
    return Living(
        pid=pid,
        start=ticks,
        parent=int(rest[1]),
        group=int(rest[2]),
        session=int(rest[3]),
        zombie=rest[0] in "ZX",
        name=plain(name),
        started_at=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / _TICKS_PER_SECOND,
    )


def described(living: Living) -> str:
    """The words for `living`, with the script it runs where it is an interpreter with one."""
    arguments = _read(f"/proc/{living.pid}/cmdline").split(b"\0")
    return described_by(living, [os.fsdecode(argument) for argument in arguments[:2]])


def described_by(living: Living, arguments: list[str]) -> str:
    """`arguments` are shown only as the name of a script given by its absolute path."""
    if len(arguments) < 2 or not arguments[1].startswith("/"):
        return living.words
    return f"{living.words} ({plain(os.path.basename(arguments[1]))})"


def plain(name: str) -> str:
    """`name` on one short line without control characters: processes choose their names freely."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:_LONGEST_NAME]


def children(pid: int) -> list[int] | None:
    """The living and unreaped children of `pid`; None where the kernel does not tell (CONFIG_PROC_CHILDREN)."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        text = _read(f"/proc/{pid}/task/{thread}/children")
        if not text and not _tells_children():
            return None
        found += map(int, text.split())
    return found


def given() -> list[int]:
    """The children of this process among which its orphans are: the kernel gives them to the first thread that lives (exit.c,
    `find_alive_thread`), which is the main one. What other threads have started themselves is not looked at.
    """
    return [int(child) for child in _read(_children_of_main_thread()).split()]


@lru_cache(maxsize=1)
def _tells_children() -> bool:
    return os.path.exists(_children_of_main_thread())


def _children_of_main_thread() -> str:
    pid = os.getpid()
    return f"/proc/{pid}/task/{pid}/children"


def tag(pid: int, name: str, *, settle: bool = False) -> str | None:
    """The variable `name` in the environment `pid` was started with.

    With `settle` an empty environment is looked at again: between exec and its first instruction a process has none.
    """
    text = _read(f"/proc/{pid}/environ")
    for _ in range(_EXEC_LOOKS if settle else 0):
        if text:
            break
        time.sleep(_EXEC_PAUSE_SECONDS)
        text = _read(f"/proc/{pid}/environ")
    mark = f"{name}=".encode()
    for entry in text.split(b"\0") if mark in text else ():
        if entry.startswith(mark):
            return os.fsdecode(entry[len(mark) :])
    return None


def holders(lock_path: str) -> list[int]:
    """Who holds the exclusive flock on `lock_path` by an inherited descriptor.

    Having the file open is not enough: the kernel lists a lock under the descriptor only where both share one open file
    description, so somebody who merely looks at the file is not taken for a holder.
    """
    try:
        wanted = os.stat(lock_path)
    except OSError:
        return []
    return [pid for pid in everyone() if _holds(pid, wanted)]


def _holds(pid: int, wanted: os.stat_result) -> bool:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in numbers:
        try:
            found = os.stat(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        same = (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
        if same and _EXCLUSIVE_LOCK.search(_read(f"/proc/{pid}/fdinfo/{number}")):
            return True
    return False


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        text = part = os.read(descriptor, _ENVIRONMENT_READ_BYTES)
        while len(part) == _ENVIRONMENT_READ_BYTES:
            part = os.read(descriptor, _ENVIRONMENT_READ_BYTES)
            text += part
    except OSError:
        return b""
    else:
        return text
    finally:
        os.close(descriptor)
