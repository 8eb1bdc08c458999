"""The git repository a brain lives in: opening it, reading it, and telling when the user is in the middle of something.

GitPython finds the repository and reads HEAD and its refs from files; git itself confirms what was found (it knows
about ownership, worktrees, submodules and formats that GitPython does not) and answers where GitPython cannot:
sha256 objects and reftable. Nothing here writes to an existing repository.

Failures: no usable repository is a UserError; a git command that fails is a GitError, to be tried again later.
"""

import hashlib
import os
import re
import time
from collections.abc import Collection, Iterable, Sequence

import git
import psutil

from brain_daemon.model.errors import GitError, UserError
from brain_daemon.record.gitcmd import Git, binary
from brain_daemon.record.tree_reader import TreeReader

SETTINGS_TTL_SECONDS = 30.0
_MARKERS = (
    ("MERGE_HEAD", "a merge is in progress"),
    ("rebase-merge", "a rebase is in progress"),
    ("rebase-apply", "a rebase or am is in progress"),
    ("CHERRY_PICK_HEAD", "a cherry-pick is in progress"),
    ("REVERT_HEAD", "a revert is in progress"),
    ("BISECT_LOG", "a bisect is in progress"),
    ("sequencer", "a series of cherry-picks or reverts is in progress"),
)
_HEADS = "refs/heads/"
_MANY = 200
_OPEN = "a git commit is open"
_HASH = re.compile(r"[0-9a-f]+")
_QUESTIONS = (
    "--path-format=absolute",
    "--is-inside-work-tree",
    "--show-object-format",
    "--absolute-git-dir",
    "--git-common-dir",
    "--show-toplevel",
    "--show-prefix",
)


class Repository:
    """One brain's repository. Paths given to its methods are relative to the brain's root, with `/` between parts.

    Attributes: `brain_root`, `top`, `git_dir`, `common_dir` (absolute, links resolved), `prefix` (the brain inside
    the repository, `""` or `"sub/dir/"`), `git` (how to run git here), `trees` (what folders of commits hold).
    """

    def __init__(self, brain_root: str, answers: Sequence[str], found: git.Repo, program: str) -> None:
        self.brain_root = brain_root
        _, self._format, self.git_dir, self.common_dir, self.top, self.prefix = answers
        self.git = Git(program=program, cwd=self.top, settings={"GIT_DIR": self.git_dir, "GIT_WORK_TREE": self.top})
        self.trees = TreeReader(self.git, hashlib.new(self._format, usedforsecurity=False).digest_size)
        self._repo = found
        self._settings: tuple[float, dict[str, str]] | None = None
        self._on_branch: tuple[int, int] | None = None
        # With reftable the file HEAD never changes.
        self._head_is_a_file = not os.path.isdir(os.path.join(self.common_dir, "reftable"))

    @classmethod
    def open(cls, brain_root: str) -> "Repository":
        """The repository around the folder `brain_root`: its top, a folder in it, a linked worktree or a submodule.

        Raises UserError when there is none, when it is bare, or when git refuses to use it.
        """
        root, program = os.path.realpath(brain_root), binary()
        try:
            found = git.Repo(root, search_parent_directories=True, expand_vars=False)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
            raise UserError(f"looked for a git repository around {root} and found none; run `brain init`") from error
        answers = _ask(Git(program=program, cwd=root, settings={}), root)
        return cls(root, answers, found, program)

    @classmethod
    def create(cls, path: str) -> "Repository":
        """Make a repository on branch main in the folder `path`, which is created if need be. It has no commit yet."""
        Git(program=binary(), cwd=os.getcwd(), settings={}).run("init", "--quiet", "-b", "main", "--", path)
        return cls.open(path)

    def in_progress(self) -> str | None:
        """Why no commit may be made now, in words, or None. The dearest check comes last."""
        return self.operation() or self._trouble_with_head() or self._open_commit()

    def is_rebasing(self) -> bool:
        """Whether a rebase or am waits for its person: it refuses to go on over a file of HEAD that has left the work tree."""
        return any(os.path.lexists(os.path.join(self.git_dir, name)) for name in ("rebase-merge", "rebase-apply"))

    def operation(self) -> str | None:
        """The merge, rebase, cherry-pick, revert or bisect that has not ended; a few `stat` calls."""
        return next((why for name, why in _MARKERS if os.path.lexists(os.path.join(self.git_dir, name))), None)

    def head(self) -> str | None:
        """The full hash HEAD names, None when it names none (an unborn branch)."""
        try:
            return git.SymbolicReference.dereference_recursive(self._repo, "HEAD")
        except (ValueError, OSError):
            found = self.git.run("rev-parse", "--quiet", "--verify", "HEAD^{commit}", accept=(0, 1))
            return found.decode().strip() or None

    def branch(self) -> str | None:
        """The branch HEAD is on, without `refs/heads/`; None when HEAD is detached or points elsewhere."""
        try:
            name = self._repo.head.reference.path
        except (TypeError, ValueError, OSError):
            name = ""
        if not name or name == _HEADS + ".invalid":
            name = os.fsdecode(self.git.run("symbolic-ref", "--quiet", "HEAD", accept=(0, 1))).rstrip("\n")
        return str(name).removeprefix(_HEADS) if str(name).startswith(_HEADS) else None

    def head_blobs(self, paths: Sequence[str]) -> dict[str, str]:
        """The hash of what HEAD holds, for each of `paths` that it holds."""
        if len(paths) > _MANY:
            return self._head_blobs_of_many(set(paths))
        found = self.lookup(f"HEAD:{self.prefix}{path}" for path in paths)
        return {path: name for path, name in zip(paths, found, strict=True) if name is not None}

    def _head_blobs_of_many(self, paths: Collection[str]) -> dict[str, str]:
        """Read by folder: a lookup reads a folder anew for each of its files, which takes minutes for a day of ten thousand."""
        if self.head() is None:
            return {}
        folders = sorted({os.path.dirname(self.prefix + path) for path in paths})
        # The root has no name that could be asked for; it is read as a whole.
        asked = [] if "" in folders else [f"{folder}/" for folder in folders]
        said = os.fsdecode(self.git.run("ls-tree", "-r", "-z", "--full-tree", "HEAD", "--", *asked))
        entries = (entry.partition("\t") for entry in said.split("\0") if entry)
        told = ((path.removeprefix(self.prefix), head.split()[2]) for head, _, path in entries)
        return {path: name for path, name in told if path in paths}

    def blob_id(self, content: bytes) -> str:
        """The hash git gives these bytes as they are, without filters or line-end conversion."""
        return hashlib.new(self._format, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    def tracked(self, paths: Sequence[str]) -> set[str]:
        """Which of `paths` are in the user's index, unmerged and intent-to-add ones included."""
        found = self.lookup(f":{stage}:{self.prefix}{path}" for path in paths for stage in range(4))
        return {path for number, path in enumerate(paths) if any(found[number * 4 : number * 4 + 4])}

    def lookup(self, names: Iterable[str], index: str | None = None) -> list[str | None]:
        """The object each revision name stands for (`HEAD:path`, `:path`), read by one git process.

        A name with a line break is looked up by a process of its own. `index` is another index file than the user's.
        """
        asked = list(names)
        place = self.git if index is None else self.git.with_settings(GIT_INDEX_FILE=index)
        plain = [name for name in asked if "\n" not in name]
        query = os.fsencode("\n".join([*plain, ""]))
        said = place.run("cat-file", "--batch-check=%(objectname)", data=query) if plain else b""
        rows = iter(said.decode("utf-8", "surrogateescape").split("\n"))
        return [_found(next(rows)) if "\n" not in name else _one(place, name) for name in asked]

    def head_names(self, folder: str) -> set[str]:
        """The names of what HEAD holds in a folder, not below it."""
        found = self.git.run("ls-tree", "-z", "--name-only", f"HEAD:{self.prefix}{folder}", accept=(0, 128))
        return {name for name in os.fsdecode(found).split("\0") if name}

    def staged_in(self, folders: Iterable[str], index: str) -> dict[str, str]:
        """What the file `index` holds in these folders, paths relative to the brain: path -> hash. Unmerged ones are left out."""
        asked = [self.prefix + folder for folder in folders]
        place = self.git.with_settings(GIT_INDEX_FILE=index)
        said = os.fsdecode(place.run("ls-files", "--stage", "-z", "--full-name", "--", *asked))
        entries = (entry.partition("\t") for entry in said.split("\0") if entry)
        told = ((path, head.split()) for head, _, path in entries)
        return {path.removeprefix(self.prefix): name for path, (_, name, stage) in told if stage == "0"}

    def index_locked(self) -> bool:
        """Whether somebody holds `index.lock` now."""
        return os.path.lexists(os.path.join(self.git_dir, "index.lock"))

    def setting(self, key: str, default: str = "") -> str:
        """The user's git configuration for `section.key` in lower case, as git sees it, at most 30 s old."""
        return self.settings().get(key, default)

    def settings(self) -> dict[str, str]:
        """All of the user's git configuration as git sees it; of several values of a key, the last."""
        now = time.monotonic()
        if self._settings is None or now - self._settings[0] > SETTINGS_TTL_SECONDS:
            words = os.fsdecode(self.git.run("config", "--list", "--show-scope", "-z")).split("\0")
            told = zip(words[::2], words[1::2], strict=False)
            # What has the scope "command" is our own flags.
            pairs = (item.partition("\n") for scope, item in told if scope != "command")
            self._settings = (now, {key: value if sign else "true" for key, sign, value in pairs})
        return self._settings[1]

    def away_from_branch(self) -> str | None:
        """Why there is no branch to commit to, in words, or None. One `stat` call while HEAD stays; for one thread."""
        stamp = _stamp(os.path.join(self.git_dir, "HEAD"))
        if stamp == self._on_branch and self._head_is_a_file:
            return None
        trouble = self._trouble_with_head()
        self._on_branch = None if trouble else stamp
        return trouble

    def _trouble_with_head(self) -> str | None:
        if self.branch() is None:
            return "HEAD is detached: check out a branch"
        if self.head() is None:
            return "the branch has no commit yet: make a first commit"
        return None

    def _open_commit(self) -> str | None:
        """A `git commit` that has read HEAD and will write it later would fail if we moved HEAD in between.

        It holds no lock. While its editor is open COMMIT_EDITMSG is newer than the reflog (`open_editor`, which mostly needs two
        `stat` calls); before that, only a pre-commit hook can take long.
        """
        return self.open_editor() or (_OPEN if self._has_slow_hook() and _is_committing(self.top) else None)

    def open_editor(self) -> str | None:
        """Such a commit whose editor is open."""
        edited = _modified(os.path.join(self.git_dir, "COMMIT_EDITMSG"))
        if not edited or edited < _modified(os.path.join(self.git_dir, "logs", "HEAD")):
            return None
        return _OPEN if _is_committing(self.top) else None

    def _has_slow_hook(self) -> bool:
        folder = os.path.expanduser(self.setting("core.hookspath")) or os.path.join(self.common_dir, "hooks")
        return os.access(os.path.join(self.top, folder, "pre-commit"), os.X_OK)


def _ask(place: Git, root: str) -> list[str]:
    if place.run("rev-parse", "--is-bare-repository", accept=(0, 128)).strip() == b"true":
        raise UserError(f"{root} is in a bare git repository, which has no files; use a clone with a work tree")
    try:
        answers = os.fsdecode(place.run("rev-parse", *_QUESTIONS)).split("\n")
    except GitError as error:
        raise UserError(f"git will not use the repository around {root}: {error}") from error
    if len(answers) != len(_QUESTIONS):
        raise UserError(f"the path of the repository around {root!r} holds a line break; move it")
    return answers[:-1]


def _found(answer: str) -> str | None:
    """A hash, or None for git's `NAME missing`; nothing but a hash is free of spaces there."""
    return answer if _HASH.fullmatch(answer) else None


def _one(place: Git, name: str) -> str | None:
    return place.run("rev-parse", "--quiet", "--verify", name, accept=(0, 1, 128)).decode().strip() or None


def _stamp(path: str) -> tuple[int, int] | None:
    """Another one for each HEAD, which git puts in place by a rename."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def _is_committing(top: str) -> bool:
    """Whether a `git commit` of this user works below `top`; git changes to the top before it opens the editor."""
    for process in psutil.process_iter(["name"]):
        if not (process.info["name"] or "").startswith("git"):
            continue
        try:
            words, folder = process.cmdline(), process.cwd()
        except psutil.Error:
            continue
        if any(word in ("commit", "git-commit") for word in words) and os.path.join(folder, "").startswith(
            os.path.join(top, "")
        ):
            return True
    return False
