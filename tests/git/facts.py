"""The state of a person's repository, entry by entry, without what the daemon may write.

The daemon's are the recorded and claimed tasks of the tests, its pages, the position of the branch it commits to with the
reflogs of that, `refs/brain`, and its own files in the git folder. All else is the person's: what they staged, with stages and
flags, the bytes of the work tree, the stash, every other ref, HEAD, and each file in the git folder, whatever it is for
(MERGE_HEAD, rebase-merge, BISECT_LOG, config, hooks, COMMIT_EDITMSG and those that nobody here has heard of).
"""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TASKS = r"brain/tasks/\w+/(?:archive/.*/)?(?:job|tracked|old)\b"
_PAGES = r"(?:logs|prompts)/|context/(?:usage|board)\.md|tools/interfaces/echo\.md"
_OURS = re.compile(f"(?:{_TASKS}|{_PAGES})")
# Of the git folder: objects and the index are read by git; the rest is the daemon's, and `litter` looks for it in the end.
_NOT_READ = re.compile(
    r"(?:objects|modules|brain|refs/brain|logs/refs/brain)/"
    r"|(?:.*/)?(?:index|index\.lock|sharedindex\.\w+|brain-\w{8}\.\w+(?:\.lock)?)$"
)

_LITTER = re.compile(r"\.lock$|(?:^|/)(?:fast_import_crash|brain-\w{8}\.(?!anchor$))")
# Those of an index entry that git writes to the file: intent to add, skip-worktree, assume-unchanged (read-cache.h).
_FLAGS = 1 << 30 | 1 << 29 | 1 << 15


# The person's git runs nothing of the repository's: what runs is the daemon's doing.
_QUIET = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.hooksPath",
    "GIT_CONFIG_VALUE_0": os.devnull,
    "GIT_CONFIG_KEY_1": "core.fsmonitor",
    "GIT_CONFIG_VALUE_1": "false",
}


def git(where: Path | str, *arguments: str, data: bytes = b"", check: bool = True, **extra: str) -> str:
    """Run the person's git and return what it printed."""
    environment = {**os.environ, **_QUIET, **extra}
    done = subprocess.run(["git", *arguments], cwd=where, input=data, capture_output=True, check=False, env=environment)
    assert not check or done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode()}{done.stdout.decode()}"
    return os.fsdecode(done.stdout)


def is_ours(path: str, prefix: str = "") -> bool:
    """Whether a path in the repository is one that the daemon writes; `prefix` is where in it the brain is."""
    return path.startswith(prefix) and _OURS.match(path.removeprefix(prefix)) is not None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is compared: a fact's name -> its value. `tip` is where the branch stands, by itself."""

    entries: Mapping[str, str]
    tip: str

    def differences(self, other: "Facts") -> list[str]:
        """What `other` says otherwise, one sentence a fact."""
        keys = sorted(self.entries.keys() | other.entries.keys())
        return [
            f"{key}: {self.entries.get(key, 'absent')!r} became {other.entries.get(key, 'absent')!r}"
            for key in keys
            if self.entries.get(key) != other.entries.get(key)
        ]

    def without(self, *kinds: str) -> "Facts":
        """The same, less the facts of some kinds."""
        return Facts({key: value for key, value in self.entries.items() if key.split(" ")[0] not in kinds}, self.tip)


def facts_of(top: Path, prefix: str = "", also: str = "") -> Facts:
    """The facts of the work tree `top` and its repository; `also` is a folder that counts as the daemon's."""
    quiet = {"GIT_OPTIONAL_LOCKS": "0"}
    git_dir, common = (
        Path(line)
        for line in git(
            top, "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir", **quiet
        ).splitlines()
    )
    head = (git_dir / "HEAD").read_text().strip()
    branch = head.removeprefix("ref: ") if head.startswith("ref: ") else ""

    def ours(path: str) -> bool:
        return (also != "" and path.partition("/")[0] == also) or is_ours(path, prefix)

    entries = {
        **_index(top, ours),
        **dict(_status(top, ours)),
        **dict(_files(top, ours)),
        **dict(_git_files(common, git_dir, branch)),
        "stash": git(top, "stash", "list", "--format=%H %gs", **quiet),
    }
    return Facts(entries, git(top, "rev-parse", "--quiet", "--verify", "HEAD", check=False, **quiet).strip())


def _index(top: Path, ours) -> dict[str, str]:
    """Each entry: mode, object, stage and flags. Stat data is a cache that git itself renews."""
    said = git(top, "-c", "core.quotePath=false", "ls-files", "-s", "-v", "--debug", GIT_OPTIONAL_LOCKS="0")
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", said):
        head, _, debug = block.partition("\n")
        if not head:
            continue
        facts, _, path = head.partition("\t")
        flags = re.search(r"flags: (\w+)", debug)
        if not ours(path):
            stage = facts.split()[-1]
            found[f"index {path} {stage}"] = f"{facts} flags {int(flags[1], 16) & _FLAGS:x}" if flags else facts
    solved = git(top, "-c", "core.quotePath=false", "ls-files", "--resolve-undo", GIT_OPTIONAL_LOCKS="0")
    return {**found, "index resolve-undo": solved}


def _status(top: Path, ours) -> Iterator[tuple[str, str]]:
    said = git(top, "status", "--porcelain=v2", "-uall", "-z", "--no-renames", GIT_OPTIONAL_LOCKS="0")
    for line in filter(None, said.split("\0")):
        # Fields before the path: 8 of a changed entry, 10 of an unmerged one, 1 of an untracked one.
        path = line.split(" ", {"1": 8, "u": 10, "?": 1}[line[0]])[-1]
        if not ours(path):
            yield f"status {path}", line


def _files(top: Path, ours) -> Iterator[tuple[str, str]]:
    """Every file of the work tree: kind, mode, bytes, and when it was last written."""
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if name != ".git"]
        for name in files:
            place = Path(folder, name)
            path = place.relative_to(top).as_posix()
            if name == ".git" or ours(path):
                continue
            status = place.lstat()
            data = os.fsencode(os.readlink(place)) if place.is_symlink() else place.read_bytes()
            yield f"file {path}", f"{status.st_mode:o} {hashlib.sha256(data).hexdigest()[:16]}"
            yield f"written {path}", str(status.st_mtime_ns)


def _git_files(common: Path, git_dir: Path, branch: str) -> Iterator[tuple[str, str]]:
    moving = {common / branch} if branch else set()
    growing = {git_dir / "logs" / "HEAD", common / "logs" / branch}
    for folder, _, files in os.walk(common):
        for name in files:
            place = Path(folder, name)
            path = place.relative_to(common).as_posix()
            if place in moving or place in growing or _NOT_READ.match(path):
                continue
            yield f"git {path}", hashlib.sha256(place.read_bytes()).hexdigest()[:16]


def history(top: Path, since: str = "") -> list[str]:
    """The commits of HEAD that are not the daemon's, oldest first: message, author, date and each path with its objects."""
    said = git(
        top,
        *("log", "-m", "--reverse", "--raw", "--no-renames", "--abbrev=12", "--topo-order"),
        "--format=%x00%s%x09%an%x09%at%x09%(trailers:key=Attempt-Id,valueonly,separator=%x2C)",
        *([f"{since}..HEAD"] if since else ["HEAD"]),
    )
    return [one.strip() for one in said.split("\0")[1:] if not _is_the_daemons(one)]


def _is_the_daemons(commit: str) -> bool:
    subject, _, _, attempt = commit.partition("\n")[0].split("\t")
    return bool(attempt) or subject.startswith(("record: ", "archive: "))


def attempts_committed(top: Path, *where: str) -> list[str]:
    """The Attempt-Id of each commit in HEAD, or `where`, that has one."""
    return git(top, "log", *where, "--format=%(trailers:key=Attempt-Id,valueonly)", check=False).split()


def foreign_paths(top: Path, prefix: str, base: str) -> list[str]:
    """What commits of the daemon since `base` hold that is none of its business."""
    said = git(
        top,
        *("-c", "core.quotePath=false", "log", "--name-only", "--no-renames"),
        "--format=%x00%s%x09%an%x09%at%x09%(trailers:key=Attempt-Id,valueonly,separator=%x2C)",
        f"{base}..HEAD" if base else "HEAD",
    )
    commits = [one for one in said.split("\0")[1:] if _is_the_daemons(one)]
    return [path for one in commits for path in one.split("\n")[1:] if path and not is_ours(path, prefix)]


def litter(top: Path) -> list[str]:
    """What is left over in the git folder: locks, reports of crashes, our files but the anchor, our refs."""
    common = Path(git(top, "rev-parse", "--path-format=absolute", "--git-common-dir").strip())
    names = [path.relative_to(common).as_posix() for path in common.rglob("*")]
    left = [name for name in names if _LITTER.search(name) and not name.startswith("brain/")]
    return [*left, *git(top, "for-each-ref", "--format=%(refname)", "refs/brain").split()]
