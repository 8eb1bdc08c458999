"""What a commit is to hold, and how that is said to `git fast-import`. No I/O.

The stream is that of git-fast-import(1). A path that git could never hold is a UserError and names its commit.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from brain_daemon.model.errors import UserError

_QUOTED = ('"', "\\", "\n", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One path of a commit, relative to the brain's root with `/` between parts.

    `content` None deletes the path, which need not exist. `only_if` keeps a deletion from dropping what the user has
    staged at the path: the index entry goes only if it is unchanged from HEAD or holds these bytes.
    """

    path: str
    content: bytes | None
    only_if: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitPlan:
    """One commit. `key` is the attempt id, in the message as trailer Attempt-Id; `when` is epoch seconds.

    `moves` are files that the person's work tree had at the first path and has at the second: what git has of them, in HEAD
    and staged, moves along as it is.
    """

    key: str
    message: str
    changes: tuple[Change, ...]
    when: float
    moves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the commits are by; both halves as git keeps them, without `<`, `>` and control characters."""

    name: str
    email: str


def last_changes(plans: Sequence[CommitPlan]) -> dict[str, Change]:
    """What becomes of each path once all `plans` are committed. Raises UserError for a path git cannot hold."""
    for plan in plans:
        for path in (*(change.path for change in plan.changes), *(path for pair in plan.moves for path in pair)):
            _check(plan, path)
    return {change.path: change for plan in plans for change in plan.changes}


def parents(path: str) -> Iterator[str]:
    """The folders a relative path goes through, outermost first."""
    parts = path.split("/")[:-1]
    return ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def clean_half(text: str) -> str:
    """One half of an identity as git would write it."""
    return "".join(c for c in text if c.isprintable() and c not in "<>").strip(" .,:;\"'\\")


def stream(
    plans: Sequence[CommitPlan],
    *,
    ref: str,
    parent: str | None,
    prefix: str,
    by: Identity,
    mode: Callable[[str], str],
    known: Collection[str] = (),
) -> bytes:
    """The input of `git fast-import --done`: one commit a plan on `ref`, each named on standard output in order.

    `parent` is a full hash or None for a first commit; `prefix` stands before each path; `mode` gives its file mode.
    `known` are the first paths of moves that `parent` has; the other moves are none of git's business.
    """
    parts: list[bytes] = []
    for number, plan in enumerate(plans, 1):
        above = f":{number - 1}" if number > 1 else parent
        parts += _commit(plan, ref, number, above, by)
        parts += [
            b"R %s %s\n" % (_in_quotes(prefix + old), _in_quotes(prefix + new))
            for old, new in plan.moves
            if old in known
        ]
        parts += [part for change in plan.changes for part in _change(change, prefix, mode)]
    parts += [b"get-mark :%d\n" % number for number in range(1, len(plans) + 1)]
    return b"".join([*parts, b"done\n"])


def _commit(plan: CommitPlan, ref: str, number: int, above: str | None, by: Identity) -> list[bytes]:
    stamp = f"{by.name} <{by.email}> {int(plan.when)} {_offset(plan.when)}"
    head = f"commit {ref}\nmark :{number}\nauthor {stamp}\ncommitter {stamp}\n".encode("utf-8", "replace")
    start = [] if above is None else [f"from {above}\n".encode()]
    # Without a parent, a staging ref left by an earlier try would become one.
    fresh = [f"reset {ref}\n".encode()] if above is None else []
    return [*fresh, head, *_data(plan.message.encode("utf-8", "replace")), *start]


def _change(change: Change, prefix: str, mode: Callable[[str], str]) -> list[bytes]:
    path = _quoted(prefix + change.path)
    if change.content is None:
        return [b"D " + path + b"\n"]
    return [b"M " + mode(change.path).encode() + b" inline " + path + b"\n", *_data(change.content)]


def _data(content: bytes) -> list[bytes]:
    return [b"data %d\n" % len(content), content, b"\n"]


def _quoted(path: str) -> bytes:
    return _in_quotes(path) if any(character in path for character in _QUOTED) else os.fsencode(path)


def _in_quotes(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return os.fsencode(f'"{escaped}"')


def _offset(when: float) -> str:
    """The machine's offset from UTC at that time, as git writes it."""
    minutes = time.localtime(when).tm_gmtoff // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def _check(plan: CommitPlan, path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts) or "\0" in path:
        raise UserError(f"the commit of {plan.key} names the path {path!r}, which git cannot hold: rename it")
