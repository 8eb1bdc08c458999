"""What a person may be in the middle of while the daemon works, made once each and copied: how they get into it, and out.

`SITUATIONS` are the sixteen of the matrix, `KIN` some that are like them; `SETTINGS` are repositories that are set up in an odd
way, each with work of every kind half done. Each begins with one repository: a brain with four recorded tasks, a task in git
that waits, a draft, and files of the person's own; a branch `side` that conflicts with `main`; a history whose first commits
are older than the daemon's.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brain_daemon.store.layout import brain_key
from brain_daemon.store.template import template_files
from tests.conftest import BrainFolder
from tests.git.facts import git

DATES = {"GIT_AUTHOR_DATE": "2026-11-01T10:00:00Z", "GIT_COMMITTER_DATE": "2026-11-01T10:00:00Z"}
RECORDED = 4
_TASK = "# In git\n\nSay it.\n"
_LINES = "".join(f"line {number}\n" for number in range(20))
_LOG = "#!/bin/sh\necho {name} >> {witness}\n{then}\n"


class Desk:
    """A person at a repository: `folder` holds everything, `top` is the work tree with the brain, `prefix` leads to the brain."""

    def __init__(self, folder: Path, inside: str = "repo", prefix: str = "") -> None:
        self.folder = folder
        self.top = folder / inside
        self.prefix = prefix
        self.brain = BrainFolder(self.top / prefix, folder / "state")
        self.witness = folder / "witness"

    def git(self, *arguments: str, check: bool = True, **extra: str) -> str:
        """The person's git, whose clock stands still, so that the same acts give the same hashes."""
        return git(self.top, *arguments, check=check, **{**DATES, "GIT_EDITOR": "true", **extra})

    def write(self, path: str, text: str) -> None:
        place = self.top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def edit(self, path: str, line: int, text: str) -> None:
        """Change one line of a file."""
        lines = (self.top / path).read_text().splitlines()
        lines[line] = text
        self.write(path, "\n".join(lines) + "\n")

    def refused(self, *arguments: str, **extra: str) -> None:
        """A git command that stops in the middle, as it should."""
        try:
            self.git(*arguments, **extra)
        except AssertionError:
            return
        raise AssertionError(f"git {' '.join(arguments)} did not stop")


def _nothing(_: Desk) -> None:
    return


def _commit(desk: Desk) -> None:
    desk.git("commit", "-q", "-m", "mine")


def _edit_and_commit(desk: Desk) -> None:
    desk.edit("f.txt", 0, "one more")
    desk.git("commit", "-q", "-m", "mine", "--", "f.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`owed` says that commits must wait, and `pages_wait` that git would refuse to go on over a changed file of ours.

    `born` makes the repository where it is not the usual one; `after_copy` does what cannot be copied. `outer` is another
    work tree to look at, in which the folder `also` is the brain's. `settings` are the daemon's while the state lasts.
    """

    name: str
    enter: Callable[[Desk], None] = _nothing
    leave: Callable[[Desk], None] = _edit_and_commit
    owed: bool = False
    pages_wait: bool = False
    born: Callable[[Path], Desk] | None = None
    after_copy: Callable[[Desk], None] = _nothing
    inside: str = "repo"
    prefix: str = ""
    outer: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    also: str = ""


# Where each begins.


def _plant(desk: Desk) -> None:
    """The files of a brain and those of its person."""
    root = desk.brain.root
    root.mkdir(parents=True, exist_ok=True)
    for path, data in template_files().items():
        if not path.startswith(("tools/", "knowledge/")):
            desk.brain.write(path, data)
    desk.brain.write("brain/tasks/pending/draft.md", "---\nstatus: draft\n---\n# Not yet\n")
    desk.brain.write("brain/tasks/pending/tracked.md", _TASK)
    desk.brain.write("context/notes.md", "notes\n")
    for letter in "abcdef":
        desk.write(f"{letter}.txt", _LINES)


def _give_tools(desk: Desk) -> None:
    """Interfaces that are not in git: what came with git would have to be approved."""
    common = Path(git(desk.top, "rev-parse", "--path-format=absolute", "--git-common-dir").strip())
    (common / "info").mkdir(exist_ok=True)
    (common / "info" / "exclude").write_text("**/tools/interfaces/\n")
    desk.brain.echo()


def _first(folder: Path, *options: str, prefix: str = "") -> Desk:
    """A repository with its first commits, on which a daemon has worked."""
    desk = Desk(folder, prefix=prefix)
    desk.top.mkdir(parents=True)
    desk.git("init", "-q", *options)
    shutil.rmtree(desk.top / ".git" / "hooks", ignore_errors=True)
    _plant(desk)
    _give_tools(desk)
    desk.git("add", "-A")
    desk.git("commit", "-q", "-m", "first")
    desk.git("tag", "beginning")
    _record(desk, range(RECORDED // 2))
    desk.git("checkout", "-q", "-b", "side")
    desk.edit("a.txt", 3, "theirs")
    desk.git("commit", "-q", "-a", "-m", "theirs")
    desk.edit("b.txt", 3, "theirs too")
    desk.git("commit", "-q", "-a", "-m", "theirs too")
    desk.git("checkout", "-q", "main")
    desk.edit("a.txt", 3, "ours")
    desk.git("commit", "-q", "-a", "-m", "ours")
    desk.git("tag", "middle")
    _record(desk, range(RECORDED // 2, RECORDED))
    desk.edit("c.txt", 3, "ours")
    desk.git("commit", "-q", "-a", "-m", "ours too")
    desk.edit("a.txt", 4, "ours at last")
    desk.git("commit", "-q", "-a", "-m", "ours at last")
    assert len(desk.brain.names(desk.brain.completed)) == RECORDED
    return desk


def _record(desk: Desk, numbers: Iterable[int]) -> None:
    """Tasks that the daemon has worked on, while those in git were held."""
    for number in numbers:
        desk.brain.drop(f"old-{number}.md")
    assert desk.brain.run_once(tasks_from_git="hold") == 0


class Templates:
    """Makes each state once below `folder`, and copies of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Path] = {}
        self._count = 0

    def desk(self, state: State) -> Desk:
        """A fresh copy of a state, as the person left it."""
        self._count += 1
        folder = self._folder / f"desk-{self._count}"
        _copy(self._template(state), folder)
        desk = Desk(folder, state.inside, state.prefix)
        state.after_copy(desk)
        _move_in(desk)
        for top in (desk.top, *([folder / state.outer] if state.outer else [])):
            git(top, "update-index", "-q", "--refresh", check=False)
        return desk

    def _template(self, state: State) -> Path:
        if state.name not in self._made:
            folder = self._folder / f"template-{len(self._made)}"
            if state.born is None:
                _copy(self._base(), folder)
                desk = Desk(folder, state.inside, state.prefix)
            else:
                desk = state.born(folder)
            state.enter(desk)
            self._made[state.name] = folder
        return self._made[state.name]

    def _base(self) -> Path:
        if "" not in self._made:
            self._made[""] = _first(self._folder / "base").folder
        return self._made[""]


def _move_in(desk: Desk) -> None:
    """What the daemon knows of a brain lies under a name made from the brain's place: the copy is the same brain, moved."""
    common = Path(git(desk.top, "rev-parse", "--path-format=absolute", "--git-common-dir").strip())
    for place in (common / "brain").glob("*"):
        place.rename(common / "brain" / brain_key(os.path.realpath(desk.brain.root)))


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


# Work half done.


def _stage(desk: Desk) -> None:
    desk.edit("d.txt", 1, "staged")
    desk.write("new.txt", "staged\n")
    desk.edit(f"{desk.prefix}context/notes.md", 0, "staged notes")
    desk.git("add", "d.txt", "new.txt", f"{desk.prefix}context/notes.md")
    desk.git("rm", "-q", "e.txt")
    desk.git("mv", "f.txt", "renamed.txt")


def _leave_unstaged(desk: Desk) -> None:
    desk.edit("b.txt", 1, "edited")
    desk.edit(f"{desk.prefix}brain/tasks/pending/draft.md", 3, "# Not yet, edited")
    (desk.top / "c.txt").unlink()
    (desk.top / "d.txt").chmod(0o755)


def _commit_texts(desk: Desk) -> None:
    desk.git("add", "-A", "--", "*.txt")
    _commit(desk)


def _stage_partly(desk: Desk) -> None:
    desk.edit("b.txt", 1, "staged")
    desk.git("add", "b.txt")
    desk.edit("b.txt", 9, "edited after that")
    desk.git("rm", "-q", "--cached", "c.txt")


def _mean_to_add(desk: Desk) -> None:
    desk.write("meant.txt", "meant\n")
    desk.git("add", "-N", "meant.txt")


def _leave_untracked(desk: Desk) -> None:
    desk.write("loose.txt", "loose\n")
    desk.write("folder/deep.txt", "deep\n")
    desk.brain.write("brain/workflows/mine.yaml", "name: mine\n")
    (desk.top / "a link").symlink_to("a.txt")
    (desk.top / "empty").mkdir()


def _stash(desk: Desk) -> None:
    desk.edit("b.txt", 1, "stashed")
    desk.git("stash", "push", "-q")
    desk.edit("d.txt", 1, "stashed and staged")
    desk.git("add", "d.txt")
    desk.write("loose.txt", "stashed and untracked\n")
    desk.git("stash", "push", "-q", "-u", "--", "d.txt", "loose.txt")


def _pop(desk: Desk) -> None:
    desk.git("stash", "pop", "-q", "--index")
    _commit(desk)


def _everything(desk: Desk) -> None:
    """Staged, unstaged, partly staged, meant, untracked, stashed, skipped and assumed, all at once."""
    desk.edit("a.txt", 1, "stashed")
    desk.git("stash", "push", "-q")
    _stage(desk)
    _stage_partly(desk)
    _mean_to_add(desk)
    _leave_untracked(desk)
    desk.edit("a.txt", 1, "edited")
    desk.git("update-index", "--assume-unchanged", "c.txt", check=False)
    desk.write("skipped.txt", "skipped\n")
    desk.git("add", "skipped.txt")
    desk.git("update-index", "--skip-worktree", "skipped.txt")


# In the middle of something.


def _solve(desk: Desk) -> None:
    desk.edit("a.txt", 3, "solved")
    text = (desk.top / "a.txt").read_text()
    desk.write("a.txt", "".join(line for line in text.splitlines(True) if line[:7] not in _MARKS))
    desk.git("add", "a.txt")


_MARKS = ("<<<<<<<", "=======", ">>>>>>>")


def _going_on(*words: str) -> Callable[[Desk], None]:
    def leave(desk: Desk) -> None:
        _solve(desk)
        desk.git(*words)

    return leave


def _stopping(*words: str, **extra: str) -> Callable[[Desk], None]:
    return lambda desk: desk.refused(*words, **extra)


def _stop_to_edit(desk: Desk) -> None:
    desk.git("rebase", "-q", "-i", "main~2", GIT_SEQUENCE_EDITOR="sed -i '0,/^pick/s//edit/'")
    desk.edit("e.txt", 1, "amended")
    desk.git("add", "e.txt")
    desk.write("loose.txt", "loose\n")


def _amend_and_go_on(desk: Desk) -> None:
    desk.git("commit", "-q", "--amend", "--no-edit")
    desk.git("rebase", "--continue")


def _bisect(desk: Desk) -> None:
    desk.git("bisect", "start", "main", "beginning")


def _look_at_the_past(desk: Desk) -> None:
    desk.git("checkout", "-q", "--detach", "middle")
    desk.edit("e.txt", 1, "edited in the past")


def _return(desk: Desk) -> None:
    desk.git("checkout", "-q", "main")


def _orphan(desk: Desk) -> None:
    desk.git("checkout", "-q", "--orphan", "fresh")


def _am(desk: Desk) -> None:
    patch = desk.git("format-patch", "--stdout", "-1", "side~1")
    desk.write("../patch", patch)
    desk.refused("am", "-q", "../patch")


def _newborn(folder: Path) -> Desk:
    """A brain in a repository without any commit; some of it is staged for the first one."""
    desk = Desk(folder)
    desk.top.mkdir(parents=True)
    desk.git("init", "-q")
    _plant(desk)
    _give_tools(desk)
    desk.git("add", "--", "*.txt", ".gitignore", ".gitattributes")
    return desk


# Other places.


def _add_worktree(desk: Desk) -> None:
    """The brain is in a linked worktree; the main one has work half done."""
    git(desk.folder / "repo", "worktree", "add", "-q", "-b", "topic", str(desk.top), "main")
    _give_tools(desk)
    desk.edit("d.txt", 1, "staged in the worktree")
    desk.git("add", "d.txt")


def _as_submodule(folder: Path) -> Desk:
    """The brain is a submodule; the repository around it has work half done."""
    first = _first(folder)
    outer = folder / "outer"
    outer.mkdir()
    git(outer, "init", "-q", **DATES)
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../repo", "sub", **DATES)
    (outer / "around.txt").write_text("around\n")
    git(outer, "add", "-A")
    git(outer, "commit", "-q", "-m", "outer", **DATES)
    (outer / "around.txt").write_text("staged around\n")
    git(outer, "add", "around.txt")
    shutil.rmtree(first.top)
    desk = Desk(folder, "outer/sub")
    _give_tools(desk)
    return desk


def _with_submodule(desk: Desk) -> None:
    """A submodule beside the brain with a commit, an edit and a new file that the repository does not have yet."""
    other = desk.folder / "other"
    other.mkdir()
    git(other, "init", "-q", **DATES)
    (other / "x.txt").write_text("x\n")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "x", **DATES)
    desk.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../other", "lib")
    desk.git("commit", "-q", "-m", "a submodule")
    git(desk.top / "lib", "commit", "-q", "--allow-empty", "-m", "y", **DATES)
    desk.write("lib/x.txt", "edited\n")
    desk.write("lib/new.txt", "new\n")


SITUATIONS = (
    State(name="clean"),
    State(name="staged", enter=_stage, leave=_commit),
    State(name="unstaged", enter=_leave_unstaged, leave=_commit_texts),
    State(name="partially staged", enter=_stage_partly, leave=_commit),
    State(name="intent to add", enter=_mean_to_add, leave=_commit_texts),
    State(name="untracked", enter=_leave_untracked, leave=_commit_texts),
    State(name="stash", enter=_stash, leave=_pop),
    State(
        name="merge",
        enter=_stopping("merge", "-q", "side"),
        leave=_going_on("merge", "--continue"),
        owed=True,
        pages_wait=True,
    ),
    State(
        name="rebase, conflict",
        enter=_stopping("rebase", "-q", "side"),
        leave=_going_on("rebase", "--continue"),
        owed=True,
        pages_wait=True,
    ),
    State(
        name="rebase, edit",
        enter=_stop_to_edit,
        leave=_amend_and_go_on,
        owed=True,
        pages_wait=True,
    ),
    State(
        name="cherry-pick",
        enter=_stopping("cherry-pick", "side~1"),
        leave=_going_on("cherry-pick", "--continue"),
        owed=True,
        pages_wait=True,
    ),
    State(name="bisect", enter=_bisect, leave=lambda desk: desk.git("bisect", "reset"), owed=True, pages_wait=True),
    State(name="detached", enter=_look_at_the_past, leave=_return, owed=True, pages_wait=True),
    State(name="unborn", born=_newborn, leave=_commit, owed=True),
    State(name="worktree", after_copy=_add_worktree, leave=_commit, inside="worktree", outer="repo"),
    State(
        name="submodule",
        born=_as_submodule,
        enter=_stage,
        leave=_commit,
        inside="outer/sub",
        outer="outer",
        also="sub",
    ),
)

# Their kin.
KIN = (
    State(
        name="revert",
        enter=_stopping("revert", "--no-edit", "middle"),
        leave=lambda desk: desk.git("revert", "--abort"),
        owed=True,
        pages_wait=True,
    ),
    State(name="am", enter=_am, leave=_going_on("am", "--continue"), owed=True, pages_wait=True),
    State(name="orphan branch", enter=_orphan, leave=_commit, owed=True, pages_wait=True),
    State(name="older branch", enter=lambda desk: desk.git("checkout", "-q", "side"), leave=_return),
    State(name="beside a submodule", enter=_with_submodule),
    State(name="everything at once", enter=_everything, leave=_commit),
)


# Repositories that are set up in an odd way.


def _configured(*pairs: str) -> Callable[[Desk], None]:
    """Settings of the repository, and work of every kind half done."""

    def enter(desk: Desk) -> None:
        _everything(desk)
        for pair in pairs:
            desk.git("config", *pair.split("=", 1))

    return enter


def _split(desk: Desk) -> None:
    _everything(desk)
    desk.git("update-index", "--split-index")


def _sparse(*options: str) -> Callable[[Desk], None]:
    """Only the brain and the files at the top are checked out."""

    def enter(desk: Desk) -> None:
        for number in range(3):
            desk.write(f"far/away/{number}.txt", str(number))
        desk.git("add", "far")
        desk.git("commit", "-q", "-m", "far")
        desk.git("sparse-checkout", "init", "--cone", *options)
        desk.git("sparse-checkout", "set", "brain", "context", "logs", "prompts", "tools")
        desk.edit("a.txt", 1, "staged")
        desk.git("add", "a.txt")

    return enter


def _hooked(then: str, *names: str) -> Callable[[Desk], None]:
    """Hooks, put in place after each copy, that leave a trace when they run."""

    def after_copy(desk: Desk) -> None:
        folder = desk.top / ".git" / "hooks"
        folder.mkdir()
        for name in names:
            hook = folder / name
            hook.write_text(_LOG.format(name=name, witness=desk.witness, then=then))
            hook.chmod(0o755)

    return after_copy


def _commit_unsigned(desk: Desk) -> None:
    desk.git("commit", "-q", "--no-gpg-sign", "-m", "mine")


_BEFORE_A_COMMIT = ("pre-commit", "prepare-commit-msg", "commit-msg", "reference-transaction", "update", "pre-auto-gc")
_AFTER_A_COMMIT = ("post-commit", "post-index-change", "post-update", "post-rewrite", "reference-transaction")

SETTINGS = (
    State(name="autocrlf", enter=_configured("core.autocrlf=true", "core.safecrlf=false"), leave=_commit),
    State(name="split index", enter=_split, leave=_commit),
    State(name="many files", enter=_configured("feature.manyFiles=true", "core.splitIndex=true"), leave=_commit),
    State(name="sparse checkout", enter=_sparse(), leave=_commit),
    State(name="sparse index", enter=_sparse("--sparse-index"), leave=_commit),
    State(
        name="SHA-256", born=lambda folder: _first(folder, "--object-format=sha256"), enter=_everything, leave=_commit
    ),
    State(
        name="brain in a folder",
        born=lambda folder: _first(folder, prefix="notes/brain/"),
        prefix="notes/brain/",
        enter=_everything,
        leave=_commit,
    ),
    State(
        name="signing, no key",
        enter=_configured("commit.gpgSign=true", "tag.gpgSign=true", "gpg.program=false"),
        leave=_commit_unsigned,
    ),
    State(
        name="fsmonitor",
        enter=_everything,
        after_copy=lambda desk: desk.git("config", "core.fsmonitor", f"echo fsmonitor >> {desk.witness}; false"),
        leave=_commit,
    ),
    State(
        name="hooks that fail",
        enter=_everything,
        after_copy=_hooked("exit 1", *_BEFORE_A_COMMIT),
        leave=_commit,
    ),
    State(
        name="hooks that hang",
        enter=_everything,
        after_copy=_hooked("sleep 600", *_BEFORE_A_COMMIT, *_AFTER_A_COMMIT),
        leave=_commit,
    ),
    State(
        name="hooks that commit",
        enter=_everything,
        after_copy=_hooked("git commit -q --allow-empty -m hooked", *_AFTER_A_COMMIT),
        leave=_commit,
    ),
    State(name="no file mode", enter=_configured("core.fileMode=false"), leave=_commit),
    State(name="packed refs", enter=lambda desk: (_everything(desk), desk.git("pack-refs", "--all")), leave=_commit),
    State(name="no reflog", enter=_configured("core.logAllRefUpdates=false"), leave=_commit),
    State(name="untracked hidden", enter=_configured("status.showUntrackedFiles=no"), leave=_commit),
)

STATES = {state.name: state for state in (*SITUATIONS, *KIN, *SETTINGS)}
