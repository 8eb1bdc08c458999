"""What an attempt has changed in a git repository that is not ours: the paths, and a bounded diff against the commit at its start.

    begin     before the first attempt: the commit, and what was changed before it
    changes   when an attempt has ended: what differs from that, committed meanwhile or not
    render    the text form: a patch that `git apply` reads, behind lines that say where and what (memory/handoff.py reads them)

Only git's reading commands run, as in gitcmd.py; besides, no textconv, external diff or filter of the repository's, and submodules
are not entered. The index stays as it is. Files git does not know are named, and their text is not read. What a person or another
task changes in the same folder meanwhile cannot be told apart.

Failures: a folder without a repository is None; a repository that git cannot read is a GitError or UserError.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import GitError, UserError
from brain_daemon.record.gitcmd import Git
from brain_daemon.record.repository import Repository

NAME = "changes.diff"
MAX_DIFF_BYTES = 256 << 10
MAX_PATHS = 200
_MAX_LIST_BYTES = 1 << 20
_MORE_BYTES = 16 << 10
"""Read beyond the limit, so that a secret at the cut is whole when it is looked for."""

_MAX_ARGUMENT_BYTES = 100_000
_DEADLINE_SECONDS = 30.0
_QUIET = ("-c", "core.safecrlf=false", "-c", "core.quotePath=true", "--no-pager")
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-renames", "--no-color", "--ignore-submodules=dirty", "--submodule=short",
          "--no-relative", f"-O{os.devnull}")  # fmt: skip
_AS_PATCH = ("-U3", "--src-prefix=a/", "--dst-prefix=b/")
_ON, _CHANGED, _CUT = "# on ", "# changed: ", "# cut: "
_UNKNOWN = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A repository before a task began: its top folder, the commit (or the empty tree), and what was changed there already.

    `stamps` tell whether such a path was changed again: path -> what lstat said.
    """

    top: str
    commit: str
    stamps: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs: `paths` with git's letter for each (`?`: git does not know it), and their diff, `cut` where it is not all."""

    branch: str | None
    since: str
    now: str | None
    paths: tuple[tuple[str, str], ...]
    diff: bytes
    cut: bool


def find(folder: str) -> Repository | None:
    """The repository whose work tree holds the folder; None where there is none, or none that git will use."""
    try:
        return Repository.open(folder)
    except UserError:
        return None


def begin(repository: Repository) -> Begin:
    """How the repository stands now."""
    git = _git(repository)
    commit = repository.head() or git.run("hash-object", "-t", "tree", "--stdin").decode().strip()
    stamps = {path: _stamp(repository.top, path) for _, path in _differing(git, commit)}
    return Begin(top=repository.top, commit=commit, stamps=stamps)


def changes(repository: Repository, before: Begin, clean: Callable[[bytes], bytes]) -> Changes | None:
    """What differs from `before`; None if nothing does. `clean` takes the secrets out of a diff."""
    git, now = _git(repository), repository.head()
    found = [
        (letter, path)
        for letter, path in _differing(git, before.commit)
        if path not in before.stamps or list(before.stamps[path]) != _stamp(repository.top, path)
    ]
    if not found and now in (None, before.commit):
        return None
    diff, cut = _diff(git, before.commit, [path for letter, path in found if letter != _UNKNOWN], clean)
    return Changes(branch=repository.branch(), since=before.commit, now=now, paths=tuple(found), diff=diff, cut=cut)


def render(found: Changes, clean: Callable[[str], str]) -> bytes:
    """The file that is kept; `clean` takes the secrets out of a line."""
    on = f"branch {found.branch}" if found.branch else "no branch"
    now = f", now at {found.now[:12]}" if found.now and found.now != found.since else ""
    lines = [f"{_ON}{clean_line(on)}, since {found.since[:12]}{now}"]
    lines += [f"{_CHANGED}{letter} {clean_line(path, 300)}" for letter, path in found.paths[:MAX_PATHS]]
    if len(found.paths) > MAX_PATHS:
        lines.append(f"{_CUT}{len(found.paths) - MAX_PATHS} more paths")
    if found.cut:
        lines.append(f"{_CUT}the diff is longer than what stands here; `git diff {found.since[:12]}` shows it")
    return "".join(f"{clean(line)}\n" for line in lines).encode("utf-8", "replace") + found.diff


def encode(before: Begin) -> bytes:
    """JSON; `decode` gives back an equal value."""
    return json.dumps(asdict(before)).encode() + b"\n"


def decode(data: bytes) -> Begin | None:
    """None where it is not what `encode` has made."""
    try:
        told = json.loads(data)
        stamps = {str(path): [int(one) for one in stamp] for path, stamp in told["stamps"].items()}
        return Begin(top=str(told["top"]), commit=str(told["commit"]), stamps=stamps)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _git(repository: Repository) -> Git:
    """Git for this repository, with none of its filters: they are programs that its configuration names."""
    drivers = dict.fromkeys(
        key[len("filter.") :].rpartition(".")[0] for key in repository.settings() if key.startswith("filter.")
    )
    off = [
        (f"filter.{driver}.{what}", "false" if what == "required" else "")
        for driver in drivers
        for what in ("clean", "smudge", "process", "required")
    ]
    names = {f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(off)}
    values = {f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(off)}
    return repository.git.with_settings(GIT_CONFIG_COUNT=str(len(off)), **names, **values)


def _differing(git: Git, commit: str) -> Iterator[tuple[str, str]]:
    """Each path whose file differs from what the commit holds, and each that git does not know and does not ignore."""
    said, whole = _read(git, _MAX_LIST_BYTES, "diff", *_PLAIN, "--name-status", "-z", commit, "--")
    words = os.fsdecode(said).split("\0")[: None if whole else -1]
    yield from ((letter, path) for letter, path in zip(words[::2], words[1::2], strict=False) if path)
    said, whole = _read(git, _MAX_LIST_BYTES, "ls-files", "-z", "--others", "--exclude-standard")
    words = os.fsdecode(said).split("\0")[: None if whole else -1]
    yield from ((_UNKNOWN, path) for path in words if path)


def _diff(git: Git, commit: str, paths: Sequence[str], clean: Callable[[bytes], bytes]) -> tuple[bytes, bool]:
    """The diff of these paths without secrets, whole lines within the limit, and whether something is missing."""
    asked = list(_as_many_as_fit(paths))
    if not asked:
        return b"", bool(paths)
    said, whole = _read(git, MAX_DIFF_BYTES + _MORE_BYTES, "diff", *_PLAIN, *_AS_PATCH, commit, "--", *asked)
    said = clean(said)
    if whole and len(said) <= MAX_DIFF_BYTES:
        return said, len(asked) < len(paths)
    return said[: said.rfind(b"\n", 0, MAX_DIFF_BYTES) + 1], True


def _as_many_as_fit(paths: Iterable[str]) -> Iterator[str]:
    left = _MAX_ARGUMENT_BYTES
    for number, path in enumerate(paths):
        left -= len(os.fsencode(path)) + 1
        if left < 0 or number >= MAX_PATHS:
            return
        yield path


def _read(git: Git, limit_bytes: int, *arguments: str) -> tuple[bytes, bool]:
    """The beginning of what git prints, and whether that is all of it: a person's repository may differ by gigabytes."""
    process = git.spawn(*_QUIET, *arguments)
    timer = threading.Timer(_DEADLINE_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    # Leaving the block closes the pipes and waits.
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.read(limit_bytes + 1)
        if len(said) > limit_bytes:
            process.kill()
            timer.cancel()
            return said[:limit_bytes], False
        why = process.stderr.read(2_000).decode("utf-8", "replace")
        code = process.wait()
        timer.cancel()
    if code:
        raise GitError(f"git {arguments[0]} in {git.cwd} failed ({code}): {clean_line(why, 300)}")
    return said, True


def _stamp(top: str, path: str) -> list[int]:
    """What changes when the file does; nothing of one that is not there."""
    try:
        status = os.lstat(os.path.join(top, path))
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size, status.st_mode]
