"""Commits that carry outcomes, made beside the user's own work and never through it.

A group of plans becomes one commit each: one `git fast-import` writes them on a staging ref of ours while a copy of
the user's index is given our paths. Then, under `index.lock` for a millisecond or two: look again, lock the branch,
put the copy in the place of the index, move the branch, let go. Index first, then ref: a crash between them shows our
records as staged additions; the other order shows them as deletions, and the user's next commit would carry them out.

Failures: an operation in progress, a foreign lock, a branch that keeps moving, a full disk and a git that fails all
end as `Owed`, with the user's index as it was; nothing here is fatal. A path git could never hold is a UserError.
One group at a time: another process that commits for this brain is waited for, then the group is owed.
"""

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from brain_daemon.model.errors import GitError, Transient
from brain_daemon.record.gitcmd import Git, Job, RefSwap
from brain_daemon.record.plan import Change, CommitPlan, Identity, clean_half, last_changes, parents, stream
from brain_daemon.record.repository import Repository
from brain_daemon.record.user_index import LOCK_PATIENCE_SECONDS, State, UserIndex, pause

__all__ = ["Change", "CommitPlan", "Committed", "Committer", "Owed"]

TRIES = 5
RECOVERY_PATIENCE_SECONDS = 60.0
IMPORT_DEADLINE_SECONDS = 120.0
REPACK_DEADLINE_SECONDS = 1800.0
REPACK_AFTER_GROUPS = 100
FIND_DEPTH = 5000
REFRESH_MAX_INDEX_BYTES = 4 * 1024 * 1024
NAMED_PATHS = 20
OURS = Identity(name="brain-daemon", email="brain-daemon@localhost")
_FILTER = re.compile(r"filter\.(.+)\.(?:clean|process)", re.DOTALL)
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Every plan is on the branch; one full hash a plan, in order."""

    shas: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """No plan is on the branch and nothing of the user's has changed; `reason` is for the board."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tip:
    """Where the branch stands; `sha` is None before a first commit."""

    branch: str
    sha: str | None


class Committer:
    """Makes the commits of the brain in `repository`; `state_dir` exists and keeps the count of groups between roll-ups."""

    def __init__(self, repository: Repository, state_dir: str) -> None:
        self.repository = repository
        place = f"{os.path.relpath(repository.git_dir, repository.common_dir)}\0{repository.prefix}"
        key = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]
        self._staging = f"refs/brain/staging/{key}"
        self._index = UserIndex(repository.git_dir, key)
        self._groups = os.path.join(state_dir, "commit-groups")
        self._modes: dict[str, str] = {}

    def commit(self, plans: Sequence[CommitPlan], *, root: bool = False) -> Committed | Owed:
        """Make one commit a plan, in order, all or none. `root` allows the first commit of an empty repository.

        Raises UserError for a path that leaves the brain or that git refuses to hold.
        """
        changes = last_changes(plans)
        if not plans:
            return Committed(shas=())
        try:
            with self._index.alone(LOCK_PATIENCE_SECONDS) as descriptor:
                shas = self._commit_alone(descriptor, plans, changes, root=root)
        except (GitError, Transient, OSError) as error:
            return Owed(reason=str(error))
        self._count(self._counted() + 1)
        return Committed(shas=shas)

    def recover(self) -> None:
        """Undo what a crash left, unless the branch has moved; waits for a git that outlived the crash.

        Raises GitError or Transient when that cannot be done now; the next `commit` tries again.
        """
        with self._index.alone(RECOVERY_PATIENCE_SECONDS) as descriptor:
            self._settle(self.repository.git.holding(descriptor))

    def find(self, keys: Collection[str], since: str | None) -> set[str]:
        """Which of `keys` stand as an Attempt-Id trailer in `since`..HEAD. Raises GitError.

        With `since` None or not a commit of this repository, in the last 5,000 commits.
        """
        if not keys or self.repository.head() is None:
            return set()
        return set(keys) & set(self._attempt_ids(since))

    def maintain(self) -> bool:
        """Roll small packs up if 100 groups were committed since the last time; True if it was done. Raises GitError.

        Not in partial clones or over borrowed objects, whose packs are not ours to rewrite.
        """
        if self._counted() < REPACK_AFTER_GROUPS:
            return False
        self._count(0)
        borrowed = os.path.join(self.repository.common_dir, "objects", "info", "alternates")
        if os.path.exists(borrowed) or self.repository.setting("extensions.partialclone"):
            return False
        repack = ("-c", "repack.writeBitmaps=false", "repack", "--geometric=2", "-d", "-q")
        self.repository.git.run(*repack, deadline_seconds=REPACK_DEADLINE_SECONDS)
        return True

    # One group.

    def _commit_alone(
        self, descriptor: int, plans: Sequence[CommitPlan], changes: Mapping[str, Change], *, root: bool
    ) -> tuple[str, ...]:
        self._modes.clear()
        by = self._identity()
        settings = {"GIT_COMMITTER_NAME": by.name, "GIT_COMMITTER_EMAIL": by.email}
        git = self.repository.git.holding(descriptor).with_settings(**settings)
        if self._index.has_leftovers():
            self._settle(git)
        self._refuse_if_busy(changes, [new for plan in plans for _, new in plan.moves], root=root)
        self._index.wait_until_free()
        try:
            return self._commit_tried(git, plans, changes, by, root=root)
        except BaseException:
            self._settle(git)
            raise

    def _commit_tried(
        self, git: Git, plans: Sequence[CommitPlan], changes: Mapping[str, Change], by: Identity, *, root: bool
    ) -> tuple[str, ...]:
        why, imported_on = "", None
        moves = [pair for plan in plans for pair in plan.moves]
        shas: tuple[str, ...] = ()
        for number in range(1, TRIES + 1):
            if number == TRIES:
                # Somebody changes the index all the time: hold them off for the whole of it, once.
                self._index.take_lock()
            tip = self._tip(root=root)
            job = None if tip == imported_on else self._start_import(git, tip, plans, by)
            try:
                seen = self._prepare_index(git, tip, changes, moves)
                shas = shas if job is None else self._imported(job, len(plans))
            finally:
                self._end_import(job)
            imported_on = tip
            why = self._swap(git, tip, shas[-1], seen)
            if not why:
                return shas
            pause()
        raise Transient(f"tried {TRIES} times to commit: {why}")

    def _tip(self, *, root: bool) -> _Tip:
        branch, sha = self.repository.branch(), self.repository.head()
        if branch is None or (sha is None and not root):
            raise Transient(self.repository.in_progress() or "HEAD changed while a commit was prepared")
        return _Tip(branch=branch, sha=sha)

    # What must not be committed now.

    def _refuse_if_busy(self, changes: Mapping[str, Change], moved: Sequence[str], *, root: bool) -> None:
        repository = self.repository
        unborn = root and repository.branch() is not None and repository.head() is None
        trouble = repository.operation() if unborn else repository.in_progress()
        trouble = trouble or self._misplaced({*changes, *moved}) or self._filtered(changes)
        if trouble:
            raise Transient(trouble)

    def _misplaced(self, changed: Iterable[str]) -> str | None:
        """Git keeps nothing behind a symbolic link or inside another repository; fast-import would replace those."""
        for folder in sorted({folder for path in changed for folder in parents(path)}):
            place = os.path.join(self.repository.brain_root, folder)
            if os.path.islink(place):
                return f"{folder} is a symbolic link, and git keeps no files behind one: make it a folder"
            if os.path.lexists(os.path.join(place, ".git")):
                return f"{folder} is a git repository of its own: its files cannot be committed with the brain's"
        return None

    def _filtered(self, changes: Mapping[str, Change]) -> str | None:
        """No filter is run here, and without it what git-crypt or LFS keep out of history would go into it."""
        drivers = {match[1] for key in self.repository.settings() if (match := _FILTER.fullmatch(key))}
        written = [path for path, change in changes.items() if change.content is not None]
        if not drivers or not written:
            return None
        said = self.repository.git.run("check-attr", "-z", "--stdin", "filter", data=self._listed(written))
        words = os.fsdecode(said).split("\0")
        for path, driver in zip(words[::3], words[2::3], strict=False):
            if driver in drivers:
                return f"{path} has the filter {driver}, which is not run here: set -filter on it in .gitattributes"
        return None

    def _listed(self, paths: Iterable[str]) -> bytes:
        """Paths as git's `-z` options read them."""
        return os.fsencode("".join(f"{self.repository.prefix}{path}\0" for path in paths))

    # Without a lock: the commits, and the index as it will be.

    def _start_import(self, git: Git, tip: _Tip, plans: Sequence[CommitPlan], by: Identity) -> Job:
        prefix = self.repository.prefix
        known = self._known(tip, [old for plan in plans for old, _ in plan.moves])
        data = stream(plans, ref=self._staging, parent=tip.sha, prefix=prefix, by=by, mode=self._mode, known=known)
        flags = ("--quiet", "--force", "--done")
        return git.start("fast-import", *flags, data=data, deadline_seconds=IMPORT_DEADLINE_SECONDS)

    def _known(self, tip: _Tip, paths: Sequence[str]) -> set[str]:
        """Those of the paths that the tip has."""
        if not paths or tip.sha is None:
            return set()
        found = self.repository.lookup(f"{tip.sha}:{self.repository.prefix}{path}" for path in paths)
        return {path for path, name in zip(paths, found, strict=True) if name is not None}

    def _imported(self, job: Job, count: int) -> tuple[str, ...]:
        shas = tuple(job.result().decode().split())
        if len(shas) != count:
            raise GitError(f"git fast-import was given {count} commits and named {len(shas)}")
        return shas

    def _end_import(self, job: Job | None) -> None:
        """An import that fails leaves a report in the git folder; its complaint was all of it that matters."""
        if job is not None:
            job.end()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.repository.git_dir, f"fast_import_crash_{job.pid}"))

    def _prepare_index(
        self, git: Git, tip: _Tip, changes: Mapping[str, Change], moves: Sequence[tuple[str, str]]
    ) -> State:
        """Give the copy our paths; returns the state of the index it is a copy of."""
        seen = self._index.copy()
        on_copy = git.with_settings(GIT_INDEX_FILE=self._index.copied)
        entries = self._moved_entries(moves) + self._entries(tip, changes)
        on_copy.run("update-index", "-z", "--index-info", data=os.fsencode(entries))
        written = [path for path, change in changes.items() if change.content is not None]
        written += [new for _, new in moves]
        if written and os.stat(self._index.copied).st_size <= REFRESH_MAX_INDEX_BYTES:
            # Gives our entries their stat data, so that `git diff-index` and its like see them clean at once.
            # Where this fails or the index is large, the user's next `git status` does the same.
            refresh = ("add", "--refresh", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul")
            with contextlib.suppress(GitError):
                on_copy.run(*refresh, data=self._listed(_few(written)))
        return seen

    def _entries(self, tip: _Tip, changes: Mapping[str, Change]) -> str:
        """The input of `update-index -z --index-info`."""
        repository, kept = self.repository, self._staged_otherwise(tip, changes)
        nothing = "0" * len(repository.blob_id(b""))
        return "".join(
            f"0 {nothing}\t{repository.prefix}{path}\0"
            if change.content is None
            else f"{self._mode(path)} {repository.blob_id(change.content)}\t{repository.prefix}{path}\0"
            for path, change in changes.items()
            if path not in kept
        )

    def _moved_entries(self, moves: Sequence[tuple[str, str]]) -> str:
        """The same for moves: what is staged at the old path, be it the person's own edit, is staged at the new one."""
        if not moves:
            return ""
        repository = self.repository
        staged = repository.lookup((f":{repository.prefix}{old}" for old, _ in moves), index=self._index.copied)
        return "".join(
            f"0 {'0' * len(name)}\t{repository.prefix}{old}\0{self._mode(new)} {name}\t{repository.prefix}{new}\0"
            for (old, new), name in zip(moves, staged, strict=True)
            if name is not None
        )

    def _staged_otherwise(self, tip: _Tip, changes: Mapping[str, Change]) -> set[str]:
        """The deleted paths where the user has staged what is neither HEAD's nor the bytes the deletion is for."""
        guarded = {path: c.only_if for path, c in changes.items() if c.content is None and c.only_if is not None}
        if not guarded:
            return set()
        repository = self.repository
        staged = repository.staged_in(sorted({os.path.dirname(path) for path in guarded}), self._index.copied)
        known = {path: entry for path in guarded if (entry := staged.get(path)) is not None}
        if not known:
            return set()
        names = [f"{tip.sha}:{repository.prefix}{path}" for path in known] if tip.sha else []
        in_head = repository.lookup(names) or [None] * len(known)
        return {
            path
            for (path, entry), head in zip(known.items(), in_head, strict=True)
            if entry not in (head, *self._ids(guarded[path] or b""))
        }

    def _ids(self, claimed: bytes) -> tuple[str, str]:
        """The bytes as they are, and as `git add` stores them under autocrlf."""
        return self.repository.blob_id(claimed), self.repository.blob_id(claimed.replace(b"\r\n", b"\n"))

    # Under index.lock.

    def _swap(self, git: Git, tip: _Tip, new: str, seen: State) -> str:
        """Put the index and the branch in place; empty when done, else why it is worth another try."""
        nothing = "0" * len(new)
        move = f"update refs/heads/{tip.branch} {new} {tip.sha or nothing}"
        with RefSwap(git, "brain-daemon: outcomes", (move,)) as refs:
            if not self._index.is_ours():
                self._index.take_lock()
            why = self._moved(tip, seen) or ("" if refs.prepare() else refs.refusal() or "git update-ref ended early")
            if why:
                self._index.unlock()
                return why
            self._index.place()
            if not refs.commit() and self.repository.head() != new:
                raise GitError(f"git would not move {tip.branch} to the new commits: {refs.refusal()}")
            packed = not os.path.lexists(os.path.join(self.repository.common_dir, self._staging))
            self._unstage()
            self._index.clear()
        if packed:
            with contextlib.suppress(GitError):  # the next group writes over it
                git.run("update-ref", "-d", self._staging)
        return ""

    def _unstage(self) -> None:
        """Take the staging ref away. Git would lock packed-refs for it, and killed in that moment hold up every later git."""
        for name in (f"{self._staging}.lock", self._staging):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.repository.common_dir, name))

    def _moved(self, tip: _Tip, seen: State) -> str:
        trouble = self.repository.operation() or self.repository.open_editor()
        if trouble:
            raise Transient(trouble)
        if not self._index.is_still(seen):
            return "the index changed while a commit was prepared"
        return "" if self.repository.branch() == tip.branch else "another branch was checked out meanwhile"

    # After a failure or a crash.

    def _settle(self, git: Git) -> None:
        """Undo an unfinished group and remove what is ours; after any step of it, it may begin again."""
        # A git that was killed leaves the lock of the ref it was writing. This ref is ours alone, and so is this moment.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.repository.common_dir, f"{self._staging}.lock"))
        staged = git.run("rev-parse", "--quiet", "--verify", self._staging, accept=(0, 1)).decode().strip()
        if staged and self._index.is_placed() and self._is_behind(git, staged):
            if not self._index.is_ours():
                self._index.take_lock()
            self._index.put_back()
        if staged:
            self._free_branch(staged)
            self._unstage()
            # Where it was packed meanwhile, or refs are kept in tables, only git can.
            if git.run("rev-parse", "--quiet", "--verify", self._staging, accept=(0, 1)):
                git.run("update-ref", "-d", self._staging)
        self._index.clear()

    def _free_branch(self, staged: str) -> None:
        """Remove the locks that a killed git left while it moved the branch to our commits. Nobody else could write this value into the
        branch's; HEAD's stays empty then, which nobody else's does for longer than a moment."""
        lock = os.path.join(self.repository.common_dir, "refs", "heads", f"{self.repository.branch()}.lock")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(lock, "rb") as file:
            if file.read(100).strip() == staged.encode():
                os.unlink(lock)
        head = os.path.join(self.repository.git_dir, "HEAD.lock")
        loose = os.path.join(self.repository.common_dir, self._staging)
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(head)
            if found.st_size == 0 and found.st_ctime_ns >= os.stat(loose).st_ctime_ns:
                time.sleep(LOCK_PATIENCE_SECONDS)
                if os.path.samestat(os.stat(head), found) and os.stat(head).st_size == 0:
                    os.unlink(head)

    def _is_behind(self, git: Git, staged: str) -> bool:
        """Whether the branch stands where the group began. If the user moved it, the index is theirs by now."""
        head = self.repository.head()
        return head is None or (head != staged and git.answers("merge-base", "--is-ancestor", head, staged))

    # What is read from the repository.

    def _identity(self) -> Identity:
        """The user's if both halves are configured, else ours."""
        name = clean_half(self.repository.setting("user.name"))
        email = clean_half(self.repository.setting("user.email"))
        return Identity(name=name, email=email) if name and email else OURS

    def _mode(self, path: str) -> str:
        """The same for the commit and the index of one group."""
        found = self._modes.get(path)
        if found is None:
            found = self._modes[path] = self._mode_on_disk(path)
        return found

    def _mode_on_disk(self, path: str) -> str:
        """With the file's own executable bit where git looks at it; else status would show a change of mode."""
        if self.repository.setting("core.filemode", "true") == "false":
            return "100644"
        try:
            mode = os.lstat(os.path.join(self.repository.brain_root, path)).st_mode
        except OSError:
            return "100644"
        return "100755" if stat.S_ISREG(mode) and mode & stat.S_IXUSR else "100644"

    def _attempt_ids(self, since: str | None) -> list[str]:
        log = ("log", "--no-color", "--format=%(trailers:key=Attempt-Id,valueonly)")
        run = self.repository.git.run
        if since is not None and _HASH.fullmatch(since):
            with contextlib.suppress(GitError):  # not a commit here any more
                return run(*log, f"{since}..HEAD", "--").decode("utf-8", "replace").split()
        return run(*log, f"-n{FIND_DEPTH}", "HEAD", "--").decode("utf-8", "replace").split()

    def _counted(self) -> int:
        try:
            with open(self._groups, "rb") as file:
                return int(file.read(20))
        except (FileNotFoundError, ValueError):
            return 0

    def _count(self, groups: int) -> None:
        """A lost count only delays the next roll-up."""
        with contextlib.suppress(OSError), open(self._groups, "wb") as file:
            file.write(b"%d" % groups)


def _few(paths: Sequence[str]) -> Sequence[str]:
    """The paths, or their folders where they are many: git compares each entry of the index with each path it is given."""
    return paths if len(paths) <= NAMED_PATHS else sorted({os.path.dirname(path) or path for path in paths})
