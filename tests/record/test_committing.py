"""Commits beside the user's own work: what is committed, what stays untouched, what a crash leaves. Real git."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brain_daemon.model.errors import GitError, Transient, UserError
from brain_daemon.record import committing, gitcmd, user_index
from brain_daemon.record.committing import Change, CommitPlan, Committed, Committer, Owed
from brain_daemon.record.repository import Repository
from tests.depth import deep, spread

WHEN = 1_763_673_304.5
SPEC = b"# Task: one\r\n\r\nDo it.\n"


def git(where: Path, *arguments: str, data: bytes = b"", check: bool = True, **extra: str) -> str:
    """Run the user's git and return what it printed, trailing spaces and all."""
    done = subprocess.run(
        ["git", *arguments], cwd=where, input=data, capture_output=True, check=False, env={**os.environ, **extra}
    )
    assert not check or done.returncode == 0, done.stderr.decode()
    return os.fsdecode(done.stdout)


@pytest.fixture(autouse=True)
def _user(tmp_path, monkeypatch):
    """A home of its own, and none of the settings of the machine the tests run on."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (home / ".gitconfig").write_text(
        '[user]\n\tname = Ann\n\temail = ann@example.org\n[protocol "file"]\n\tallow = always\n'
        "[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
    )


class Brain:
    """A brain in `root`, a folder of the work tree `top`, and what a user does there."""

    def __init__(self, top: Path, inside: str = "") -> None:
        self.top, self.root = top, top / inside
        for folder in ("brain/tasks/pending", "brain/tasks/completed", "context"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def git(self, *arguments: str, **extra: str) -> str:
        return git(self.top, *arguments, **extra)

    def write(self, path: str, content: bytes | str) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def committer(self, kind: type[Committer] = Committer) -> Committer:
        repository = Repository.open(str(self.root))
        state = Path(repository.common_dir) / "brain" / "state"
        state.mkdir(parents=True, exist_ok=True)
        return kind(repository, str(state))

    def plan(self, name: str, **more: bytes) -> CommitPlan:
        """An outcome: the pending file is gone, the result lies in completed/."""
        result = SPEC + f"\n## Result\n{name}\n".encode()
        self.write(f"brain/tasks/completed/{name}.md", result)
        (self.root / f"brain/tasks/pending/{name}.md").unlink(missing_ok=True)
        changes = [
            Change(path=f"brain/tasks/pending/{name}.md", content=None, only_if=SPEC),
            Change(path=f"brain/tasks/completed/{name}.md", content=result),
        ]
        for path, content in more.items():
            self.write(path, content)
            changes.append(Change(path=path, content=content))
        key = f"{name}.a1.0123abcd"
        return CommitPlan(key=key, message=message(name, key), changes=tuple(changes), when=WHEN)

    def head(self) -> str:
        return self.git("rev-parse", "--verify", "HEAD").strip()

    def git_dir(self) -> Path:
        return Path(self.git("rev-parse", "--absolute-git-dir").strip())

    def files_of(self, commit: str) -> set[str]:
        said = self.git(
            "-c", "core.quotePath=false", "show", "--format=", "--name-status", "--no-renames", "-z", commit
        )
        words = said.split("\0")
        return {f"{kind} {path}" for kind, path in zip(words[::2], words[1::2], strict=False)}

    def users_work(self) -> str:
        """All that is the user's: index entries, staged and unstaged changes, stash, refs, configuration."""
        return "\n".join(
            self.git(*words)
            for words in (
                ("ls-files", "--stage", "-v", "--", ":!*brain/*"),
                ("diff", "--cached", "--no-renames", "--", ":!*brain/*"),
                ("diff", "--", ":!*brain/*"),
                ("stash", "list", "--format=%H"),
                ("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags", "refs/remotes", "refs/stash"),
                ("config", "--local", "--list"),
            )
        )

    def status(self) -> str:
        return self.git("status", "--porcelain", "--untracked-files=all", "--", "brain", "context", ":!*.tmp")


def message(name: str, key: str) -> str:
    return f"completed {name}: One (upper, 0.1 s)\n\nTask-Id: {name}\nAttempt-Id: {key}\nStatus: completed\n"


_Maker = Callable[..., Brain]


@pytest.fixture(scope="module")
def _first(tmp_path_factory) -> Callable[[tuple[str, ...], str], Path]:
    """Repositories with one commit of the user's, by how they are made: each is made once, and tests get copies."""
    kept: dict[tuple[tuple[str, ...], str], Path] = {}

    def first(options: tuple[str, ...], inside: str) -> Path:
        if (options, inside) not in kept:
            path = tmp_path_factory.mktemp("first") / "repo"
            path.mkdir()
            git(path, "init", "--quiet", "--template=", *options)
            brain = Brain(path, inside)
            brain.write(".gitattributes", "brain/tasks/** -text\n")
            for number in range(6):
                (path / f"user{number}.txt").write_text("".join(f"line {n}\n" for n in range(20)))
            brain.git("add", "-A")
            brain.git("commit", "--quiet", "-m", "first")
            kept[options, inside] = path
        return kept[options, inside]

    return first


@pytest.fixture
def make(_user, _first) -> _Maker:
    """`make(path, *options, inside="")` makes a repository with one commit of the user's and a brain in it."""

    def made(path: Path, *options: str, inside: str = "") -> Brain:
        return copied(_first(options, inside), path, inside)

    return made


def copied(kept: Path, path: Path, inside: str = "") -> Brain:
    """The same repository in another place; its index knows the files by the times and numbers they have there."""
    subprocess.run(["cp", "-a", str(kept), str(path)], check=True)
    git(path, "update-index", "-q", "--refresh", check=False)
    return Brain(path, inside)


@pytest.fixture
def brain(make, tmp_path) -> Brain:
    """A brain at the top of a repository with one commit of the user's."""
    return make(tmp_path / "repo")


def check_clean(brain: Brain) -> None:
    """Nothing of ours is left over, nothing is broken, and our paths show no change."""
    places = {path.name for path in brain.git_dir().iterdir()}
    assert not {name for name in places if name.endswith(".lock") or name.startswith("fast_import")}
    assert {name.rsplit(".")[-1] for name in places if name.startswith("brain-")} <= {"anchor"}
    assert brain.git("for-each-ref", "refs/brain") == ""
    assert brain.git("fsck", "--strict", "--no-dangling") == ""
    assert brain.status() == ""


def committed(answer: Committed | Owed) -> tuple[str, ...]:
    assert isinstance(answer, Committed), answer
    return answer.shas


def owed(answer: Committed | Owed) -> str:
    assert isinstance(answer, Owed), answer
    return answer.reason


# What a commit is.


def test_one_outcome_is_one_commit_with_exactly_its_paths_and_bytes(brain):
    """Bytes, author, date and message are those of the plan."""
    before = brain.head()
    plan = brain.plan("one")
    (sha,) = committed(brain.committer().commit([plan]))
    assert (brain.head(), brain.git("rev-parse", "HEAD^").strip()) == (sha, before)
    assert brain.files_of(sha) == {"A brain/tasks/completed/one.md"}
    assert brain.git("cat-file", "blob", f"{sha}:brain/tasks/completed/one.md").encode() == plan.changes[1].content
    assert brain.git("show", "-s", "--format=%an <%ae> %cn <%ce> %at %ct %B", sha).startswith(
        f"Ann <ann@example.org> Ann <ann@example.org> {int(WHEN)} {int(WHEN)} {plan.message}"
    )
    check_clean(brain)


def test_a_task_in_git_is_moved_by_its_commit(brain):
    """The pending file is deleted, the result added, both in one commit."""
    brain.write("brain/tasks/pending/one.md", SPEC)
    brain.git("add", "-A")
    brain.git("commit", "--quiet", "-m", "a task")
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert brain.files_of(sha) == {"A brain/tasks/completed/one.md", "D brain/tasks/pending/one.md"}
    check_clean(brain)


def test_a_hundred_outcomes_are_a_hundred_commits(brain):
    """In order, each with its own paths, housekeeping in the last."""
    before = brain.head()
    plans = [brain.plan(f"t{number}") for number in range(99)]
    plans.append(brain.plan("last", **{"context/usage.md": b"usage\n"}))
    shas = committed(brain.committer().commit(plans))
    assert list(shas) == brain.git("rev-list", "--reverse", f"{before}..HEAD").split()
    told = brain.git(
        *("log", "--reverse", "--no-renames", "--name-status"),
        *("--format=commit %H%n%(trailers:key=Attempt-Id,valueonly,separator=)", f"{before}..HEAD"),
    )
    blocks = [block.split("\n") for block in told.split("commit ")[1:]]
    for (sha, key, *lines), ours, plan in zip(blocks[:-1], shas[:-1], plans[:-1], strict=True):
        assert (sha, key, [line for line in lines if line]) == (ours, plan.key, [f"A\t{plan.changes[1].path}"])
    assert brain.files_of(shas[-1]) == {"A brain/tasks/completed/last.md", "A context/usage.md"}
    check_clean(brain)


def test_a_path_changed_twice_in_a_group_ends_as_the_last_says(brain):
    """Written by one commit, deleted by the next: gone from HEAD and from the index."""
    plan = brain.plan("one")
    (brain.root / "brain/tasks/completed/one.md").unlink()
    undo = CommitPlan(
        key="k", message="undo\n", changes=(Change(path="brain/tasks/completed/one.md", content=None),), when=WHEN
    )
    shas = committed(brain.committer().commit([plan, undo]))
    assert brain.files_of(shas[1]) == {"D brain/tasks/completed/one.md"}
    check_clean(brain)


def test_no_plans_are_no_commits(brain):
    """And nothing is touched."""
    before = brain.head()
    assert brain.committer().commit([]) == Committed(shas=())
    assert brain.head() == before


def test_trailers_are_read_by_git_itself(brain):
    """`git interpret-trailers` sees three, so `git log` can be asked."""
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    body = brain.git("show", "-s", "--format=%B", sha)
    assert git(brain.top, "interpret-trailers", "--parse", data=body.encode()).splitlines() == [
        "Task-Id: one",
        "Attempt-Id: one.a1.0123abcd",
        "Status: completed",
    ]


NAMES = [
    "two words",
    'quo"te',
    "back\\slash",
    "line\nbreak",
    "tab\there",
    "-dash",
    ":(top)x",
    "ünï[co]de*",
    " lead",
    "\x7f",
]


def test_any_name_a_file_can_have_is_committed_under_it(brain):
    """Names are data to every git command on the way."""
    changes = [Change(path=f"brain/tasks/completed/{name}", content=name.encode()) for name in NAMES]
    gone = [Change(path=f"brain/tasks/pending/{name}", content=None, only_if=SPEC) for name in NAMES]
    for change in changes:
        brain.write(change.path, change.content)
    for change in gone:
        brain.write(change.path, SPEC)
    brain.git("add", "brain/tasks/pending")
    for change in gone:
        (brain.root / change.path).unlink()
    plan = CommitPlan(key="k", message="names\n", changes=(*changes, *gone), when=WHEN)
    (sha,) = committed(brain.committer().commit([plan]))
    assert brain.files_of(sha) == {f"A {change.path}" for change in changes}
    check_clean(brain)


@pytest.mark.parametrize("path", ["../out.md", "/etc/x", "a//b", "", "a/.git/config", "a/.GIT/x", "./a", "nul\0"])
def test_a_path_that_leaves_the_brain_is_refused(brain, path):
    """Before anything is started, with the name of the attempt."""
    plan = CommitPlan(key="one.a1", message="m\n", changes=(Change(path=path, content=b"x"),), when=WHEN)
    with pytest.raises(UserError, match=r"one\.a1"):
        brain.committer().commit([plan])


def test_an_executable_an_agent_left_stays_executable(brain):
    """Else status would show a change of mode."""
    plan = brain.plan("one", **{"brain/tasks/completed/one.files/run.sh": b"#!/bin/sh\n"})
    (brain.root / "brain/tasks/completed/one.files/run.sh").chmod(0o755)
    committed(brain.committer().commit([plan]))
    check_clean(brain)


def test_plumbing_sees_our_paths_clean_without_a_refresh(brain):
    """`git diff-index` trusts the stat data of the index and reads no file."""
    committed(brain.committer().commit([brain.plan("one")]))
    assert brain.git("diff-index", "--name-only", "HEAD") == ""
    assert brain.git("diff-files", "--name-only") == ""


def test_a_large_group_is_seen_clean_as_well_and_the_users_edits_stay_theirs(brain):
    """Many paths are refreshed by their folders, where files of the user may lie too."""
    brain.write("brain/tasks/completed/theirs.md", "committed")
    brain.git("add", "-A")
    brain.git("commit", "-qm", "theirs")
    brain.write("brain/tasks/completed/theirs.md", "edited later")
    plans = [brain.plan(f"task-{number}") for number in range(committing.NAMED_PATHS + 10)]
    committed(brain.committer().commit(plans))
    assert brain.git("diff-index", "--name-only", "HEAD").split() == ["brain/tasks/completed/theirs.md"]
    assert brain.git("diff-index", "--cached", "--name-only", "HEAD") == ""
    assert brain.git("diff-files", "--name-only").split() == ["brain/tasks/completed/theirs.md"]


# Who it is by.


def test_without_an_identity_it_is_by_the_daemon_and_nothing_is_configured(brain, tmp_path):
    """Half an identity is none."""
    git(tmp_path, "config", "--global", "--unset", "user.name")
    before = brain.users_work()
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert brain.git("show", "-s", "--format=%an <%ae>", sha) == "brain-daemon <brain-daemon@localhost>\n"
    assert brain.users_work() == before


def test_an_identity_with_signs_of_its_own_breaks_nothing(brain):
    """Git drops them too."""
    brain.git("config", "user.name", "An<n>\nB. ")
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert brain.git("show", "-s", "--format=%an <%ae>", sha) == "AnnB <ann@example.org>\n"


# The user's work.


def disturb(brain: Brain) -> None:
    """Everything a user can have half done, stash included."""
    (brain.top / "user0.txt").write_text("stashed\n")
    brain.git("stash", "push", "--quiet")
    (brain.top / "user0.txt").write_text("staged\n")
    brain.git("add", "user0.txt")
    (brain.top / "user1.txt").write_text("unstaged\n")
    (brain.top / "user2.txt").write_text("partly staged\n")
    brain.git("add", "user2.txt")
    (brain.top / "user2.txt").write_text("partly staged, then edited\n")
    brain.git("rm", "--quiet", "--cached", "user3.txt")
    brain.git("mv", "user4.txt", "renamed.txt")
    (brain.top / "meant.txt").write_text("meant\n")
    brain.git("add", "-N", "meant.txt")
    (brain.top / "untracked.txt").write_text("untracked\n")
    brain.git("update-index", "--skip-worktree", "user5.txt")
    brain.git("tag", "mark")


INDEXES: dict[str, Callable[[Brain], object]] = {
    "plain": lambda _: None,
    "version 4": lambda brain: brain.git("update-index", "--index-version", "4"),
    "split": lambda brain: brain.git("update-index", "--split-index"),
    "split by configuration": lambda brain: brain.git("config", "core.splitIndex", "true"),
    "untracked cache": lambda brain: brain.git("update-index", "--untracked-cache"),
    "autocrlf": lambda brain: brain.git("config", "core.autocrlf", "true"),
    "no file mode": lambda brain: brain.git("config", "core.fileMode", "false"),
    "no reflog": lambda brain: brain.git("config", "core.logAllRefUpdates", "false"),
    "packed refs": lambda brain: brain.git("pack-refs", "--all"),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_the_users_work_is_equal_before_and_after(brain, kind):
    """Staged, unstaged, partly staged, removed, renamed, meant, untracked, skipped and stashed; also our next group."""
    INDEXES[kind](brain)
    disturb(brain)
    before, files = brain.users_work(), {path: path.read_bytes() for path in brain.top.glob("*.txt")}
    committer = brain.committer()
    for name in ("one", "two"):
        (sha,) = committed(committer.commit([brain.plan(name)]))
        assert brain.files_of(sha) == {f"A brain/tasks/completed/{name}.md"}
        assert brain.users_work() == before
    assert {path: path.read_bytes() for path in brain.top.glob("*.txt")} == files
    check_clean(brain)


ACTS = ("none", "add", "add -N", "rm --cached", "commit", "stash", "reset", "checkout")


def test_random_work_of_the_user_is_equal_before_and_after(brain):
    """Rounds of all that a user does, in any order, one of our commits after each."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    committer = brain.committer()
    acts = list(ACTS) * deep(2, 5)
    chance.shuffle(acts)
    for turn, act in enumerate(acts):
        path = brain.top / f"user{chance.randrange(6)}.txt"
        path.write_text(f"turn {turn}\n" * chance.randrange(1, 4))
        if act in ("add", "add -N"):
            brain.git(*act.split(), path.name)
        elif act == "rm --cached":
            brain.git("rm", "--quiet", "--cached", "--ignore-unmatch", "-f", path.name)
        elif act == "commit":
            brain.git("commit", "--quiet", "--allow-empty", "-m", f"turn {turn}")
        elif act == "stash":
            brain.git("stash", "push", "--quiet", check=False)
        elif act == "reset":
            brain.git("reset", "--quiet")
        elif act == "checkout":
            brain.git("checkout", "--quiet", chance.choice(["-B", "-b"]), f"branch{turn}")
        before = brain.users_work()
        (sha,) = committed(committer.commit([brain.plan(f"t{turn}")]))
        assert brain.files_of(sha) == {f"A brain/tasks/completed/t{turn}.md"}, seed
        assert brain.users_work() == before, (seed, act)
    check_clean(brain)


def test_a_sparse_index_keeps_its_folders_closed(brain):
    """The part of the tree that is not checked out is neither opened nor lost."""
    for number in range(5):
        brain.write(f"far/away/{number}.txt", str(number))
    brain.git("add", "-A")
    brain.git("commit", "--quiet", "-m", "far")
    brain.git("sparse-checkout", "init", "--cone", "--sparse-index")
    brain.git("sparse-checkout", "set", "brain", "context")
    before = brain.git("ls-files", "--sparse", "--stage")
    assert "far/\n" in before
    committed(brain.committer().commit([brain.plan("one")]))
    after = brain.git("ls-files", "--sparse", "--stage")
    assert set(before.splitlines()) < set(after.splitlines())
    assert len(after.splitlines()) == len(before.splitlines()) + 1
    check_clean(brain)


def test_a_result_outside_the_sparse_part_is_committed_too(brain):
    """The daemon wrote the file, so it is there."""
    brain.git("sparse-checkout", "set", "--cone", "context")
    committed(brain.committer().commit([brain.plan("one")]))
    check_clean(brain)


def test_autocrlf_changes_no_byte_of_a_task(brain):
    """`.gitattributes` says so, and our blobs are the bytes."""
    brain.git("config", "core.autocrlf", "true")
    plan = brain.plan("one")
    committed(brain.committer().commit([plan]))
    assert b"\r\n" in (plan.changes[1].content or b"")
    (brain.root / "brain/tasks/completed/one.md").unlink()
    brain.git("checkout", "--", "brain")
    assert (brain.root / "brain/tasks/completed/one.md").read_bytes() == plan.changes[1].content
    check_clean(brain)


def test_a_staged_task_is_dropped_with_its_file(brain):
    """The blob is what was claimed: nothing of it remains in status."""
    brain.write("brain/tasks/pending/one.md", SPEC)
    brain.git("add", "brain")
    committed(brain.committer().commit([brain.plan("one")]))
    check_clean(brain)


def test_a_staged_task_with_other_bytes_stays_staged(brain):
    """It is the user's, whatever became of the file."""
    brain.write("brain/tasks/pending/one.md", b"# another\n")
    brain.git("add", "brain")
    entry = brain.git("ls-files", "--stage", "brain/tasks/pending/one.md")
    committed(brain.committer().commit([brain.plan("one")]))
    assert brain.git("ls-files", "--stage", "brain/tasks/pending/one.md") == entry
    assert brain.status() == "AD brain/tasks/pending/one.md\n"


def test_a_committed_task_edited_but_not_staged_is_dropped(brain):
    """Its index entry is only HEAD's, so nothing was staged that could be lost."""
    brain.write("brain/tasks/pending/one.md", b"# before the edit\n")
    brain.git("add", "brain")
    brain.git("commit", "--quiet", "-m", "a task")
    committed(brain.committer().commit([brain.plan("one")]))
    check_clean(brain)


def test_a_task_staged_with_other_line_ends_is_dropped(brain):
    """Under autocrlf, without our attributes, `git add` stores other bytes than the file's."""
    brain.write(".gitattributes", "")
    brain.git("commit", "--quiet", "-am", "no attributes")
    brain.git("config", "core.autocrlf", "input")
    brain.write("brain/tasks/pending/one.md", SPEC)
    brain.git("add", "brain")
    committed(brain.committer().commit([brain.plan("one")]))
    assert "pending" not in brain.git("ls-files")


# What must never run.


HOOKS = [
    *("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "reference-transaction", "post-index-change"),
    *("pre-auto-gc", "post-rewrite", "update", "post-update", "fsmonitor-watchman"),
]


def test_no_hook_runs_and_none_can_refuse(brain, tmp_path):
    """Not one of all there are, reference-transaction and fsmonitor included."""
    witness = tmp_path / "witness"
    hooks = brain.git_dir() / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in HOOKS:
        (hooks / name).write_text(f"#!/bin/sh\necho {name} >> {witness}\nexit 1\n")
        (hooks / name).chmod(0o755)
    brain.git("config", "core.fsmonitor", str(hooks / "fsmonitor-watchman"))
    committed(brain.committer().commit([brain.plan("one")]))
    assert not witness.exists()


def test_signing_is_not_tried(brain):
    """A broken signer would refuse, a good one would ask for a PIN."""
    brain.git("config", "commit.gpgSign", "true")
    brain.git("config", "gpg.program", "/bin/false")
    brain.git("config", "log.showSignature", "true")
    committer = brain.committer()
    committed(committer.commit([brain.plan("one")]))
    assert committer.find(["one.a1.0123abcd"], None)


def test_a_path_with_a_filter_is_owed_and_the_filter_not_run(brain, tmp_path):
    """Committing around git-crypt would publish what it hides."""
    brain.git("config", "filter.crypt.clean", f"touch {tmp_path}/ran; cat")
    brain.write(".gitattributes", "brain/tasks/** -text filter=crypt\n")
    assert "filter crypt" in owed(brain.committer().commit([brain.plan("one")]))
    assert not (tmp_path / "ran").exists()
    brain.write(".gitattributes", "brain/tasks/** -text -filter\n")
    committed(brain.committer().commit([brain.plan("one")]))


def test_a_replaced_commit_is_not_what_we_build_on(brain):
    """A `git replace` of the user's would sweep another tree into history."""
    other = brain.git("commit-tree", "-m", "other", git(brain.top, "mktree").strip()).strip()
    brain.git("replace", "HEAD", other)
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert "user0.txt" in brain.git("--no-replace-objects", "ls-tree", "--name-only", sha)


# Where the brain may be.


def test_a_brain_in_a_folder_commits_below_it(make, tmp_path):
    """Next to it the user's files are as they were."""
    brain = make(tmp_path / "repo", inside="notes/my brain")
    disturb(brain)
    before = brain.users_work()
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert brain.files_of(sha) == {"A notes/my brain/brain/tasks/completed/one.md"}
    assert brain.users_work() == before


def test_two_brains_in_one_repository_do_not_meet(make, tmp_path):
    """Each has its own staging ref and files, and the lock is shared."""
    one = make(tmp_path / "repo", inside="a")
    two = Brain(one.top, "b")
    first, second = one.committer(), two.committer()
    committed(first.commit([one.plan("one")]))
    committed(second.commit([two.plan("two")]))
    second.recover()
    assert first.find({"one.a1.0123abcd", "two.a1.0123abcd", "no"}, None) == {"one.a1.0123abcd", "two.a1.0123abcd"}
    check_clean(one)


def test_a_linked_worktree_commits_to_its_branch(brain, tmp_path):
    """The main work tree's branch and index stay."""
    main, index = brain.head(), (brain.top / ".git" / "index").read_bytes()
    brain.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    side = Brain(tmp_path / "side")
    disturb(side)
    before = side.users_work()
    (sha,) = committed(side.committer().commit([side.plan("one")]))
    assert brain.git("rev-parse", "side", "main").split() == [sha, main]
    assert (side.users_work(), (brain.top / ".git" / "index").read_bytes()) == (before, index)
    check_clean(side)


def test_a_submodule_commits_to_itself(make, brain, tmp_path):
    """The project around it only sees a newer submodule."""
    outer = make(tmp_path / "outer")
    outer.git("submodule", "--quiet", "add", str(brain.top), "inner")
    inner = Brain(outer.top / "inner")
    (sha,) = committed(inner.committer().commit([inner.plan("one")]))
    assert inner.head() == sha
    check_clean(inner)


def test_a_sha256_repository_is_committed_to(make, tmp_path):
    """With hashes of 64 digits and the user's work as it was."""
    brain = make(tmp_path / "repo", "--object-format=sha256")
    disturb(brain)
    before = brain.users_work()
    brain.write("brain/tasks/pending/one.md", SPEC)
    brain.git("add", "brain")
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert (len(sha), brain.head(), brain.users_work()) == (64, sha, before)
    check_clean(brain)


def test_a_repository_without_an_index_file_is_committed_to(brain):
    """`git worktree add --no-checkout` and the like leave none; what the user's index lacked it still lacks."""
    (brain.top / ".git" / "index").unlink()
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert brain.files_of(sha) == {"A brain/tasks/completed/one.md"}
    brain.git("reset", "--quiet")
    check_clean(brain)


def test_the_first_commit_is_the_persons_unless_asked_for(tmp_path):
    """`brain init` asks."""
    Repository.create(str(tmp_path / "new"))
    brain = Brain(tmp_path / "new")
    plan, committer = brain.plan("one"), brain.committer()
    assert "make a first commit" in owed(committer.commit([plan]))
    (sha,) = committed(committer.commit([plan], root=True))
    assert brain.git("rev-list", "HEAD").split() == [sha]
    check_clean(brain)


@pytest.mark.parametrize("trap", ["link", "repository"])
def test_a_folder_git_cannot_look_into_is_owed(brain, tmp_path, trap):
    """fast-import would put a folder in the place of the link, and the user's next checkout would follow."""
    plan = brain.plan("one")
    if trap == "link":
        (brain.root / "brain/tasks").rename(tmp_path / "elsewhere")
        (brain.root / "brain/tasks").symlink_to(tmp_path / "elsewhere")
    else:
        git(brain.root / "brain", "init", "--quiet")
    before = brain.head()
    assert "brain" in owed(brain.committer().commit([plan]))
    assert brain.head() == before


# When it is owed.


def _two_sides(brain: Brain) -> None:
    """Branch `side` and main change one line differently."""
    brain.git("checkout", "--quiet", "-b", "side")
    for number in range(2):
        (brain.top / "user0.txt").write_text(f"side {number}\n")
        brain.git("commit", "--quiet", "-am", f"side {number}")
    brain.git("checkout", "--quiet", "main")
    (brain.top / "user0.txt").write_text("main\n")
    brain.git("commit", "--quiet", "-am", "main")


def _sides(*arguments: str, **extra: str) -> Callable[[Brain], object]:
    def enter(brain: Brain) -> None:
        _two_sides(brain)
        brain.git(*arguments, check=False, **extra)

    return enter


def _am(brain: Brain) -> None:
    _two_sides(brain)
    patch = brain.git("format-patch", "--stdout", "-1", "side")
    git(brain.top, "am", "--quiet", data=patch.encode(), check=False)


def _series(brain: Brain) -> None:
    """The user committed in the middle of a series: only `sequencer` is left."""
    _two_sides(brain)
    brain.git("cherry-pick", "main..side", check=False)
    (brain.top / "user0.txt").write_text("solved\n")
    brain.git("commit", "--quiet", "-am", "solved")
    assert not (brain.git_dir() / "CHERRY_PICK_HEAD").exists()


def _bisect(brain: Brain) -> None:
    _two_sides(brain)
    brain.git("bisect", "start", "main", "main~1")
    brain.git("checkout", "--quiet", "main", check=False)


IN_PROGRESS: dict[str, Callable[[Brain], object]] = {
    "merge conflict": _sides("merge", "side"),
    "merge --no-commit": _sides("merge", "--no-ff", "--no-commit", "-s", "ours", "side"),
    "rebase conflict": _sides("rebase", "side"),
    "rebase --apply conflict": _sides("rebase", "--apply", "side"),
    "rebase edit": _sides("rebase", "-i", "HEAD~1", GIT_SEQUENCE_EDITOR="sed -i s/^pick/edit/"),
    "rebase exec": _sides("rebase", "--exec", "false", "HEAD~1"),
    "am conflict": _am,
    "cherry-pick conflict": _sides("cherry-pick", "side"),
    "cherry-pick series": _series,
    "revert conflict": _sides("revert", "--no-edit", "side"),
    "bisect": _bisect,
    "detached": lambda brain: brain.git("checkout", "--quiet", "--detach"),
    "unborn": lambda brain: brain.git("checkout", "--quiet", "--orphan", "fresh"),
    "HEAD elsewhere": lambda brain: brain.git("symbolic-ref", "HEAD", "refs/elsewhere/x"),
}


@pytest.mark.parametrize("state", IN_PROGRESS)
def test_in_the_middle_of_something_the_commit_is_owed(brain, state):
    """And nothing of git's is written: HEAD, refs and the index are as they were."""
    plan = brain.plan("one")
    IN_PROGRESS[state](brain)
    before = (
        brain.git("for-each-ref"),
        (brain.git_dir() / "HEAD").read_bytes(),
        (brain.git_dir() / "index").read_bytes(),
    )
    committer = brain.committer()
    assert committer.repository.in_progress()
    assert owed(committer.commit([plan]))
    assert before == (
        brain.git("for-each-ref"),
        (brain.git_dir() / "HEAD").read_bytes(),
        (brain.git_dir() / "index").read_bytes(),
    )


def _popped(brain: Brain) -> None:
    (brain.top / "user0.txt").write_text("stashed\n")
    brain.git("stash", "push", "--quiet")
    (brain.top / "user0.txt").write_text("committed\n")
    brain.git("commit", "--quiet", "-am", "committed")
    brain.git("stash", "pop", check=False)


@pytest.mark.parametrize(
    "enter",
    [
        _popped,
        _sides("merge", "--squash", "-s", "ours", "side"),
        _sides("cherry-pick", "-n", "side~1"),
    ],
    ids=["stash pop conflict", "merge --squash", "cherry-pick -n"],
)
def test_a_state_that_a_commit_does_not_disturb_is_no_reason_to_owe(brain, enter):
    """Conflicts in the user's index are kept, stage for stage."""
    enter(brain)
    before = brain.users_work()
    (sha,) = committed(brain.committer().commit([brain.plan("one")]))
    assert brain.files_of(sha) == {"A brain/tasks/completed/one.md"}
    assert brain.users_work() == before


@contextlib.contextmanager
def waiting_commit(brain: Brain, tmp_path: Path, where: str) -> Iterator[subprocess.Popen[bytes]]:
    """The user's `git commit`, which waits in its editor or its pre-commit hook until it is told to go on."""
    here, go = tmp_path / "here", tmp_path / "go"
    script = tmp_path / "wait.sh"
    script.write_text(
        f'#!/bin/sh\n: > {here}\nwhile [ ! -e {go} ]; do sleep 0.02; done\n[ -z "$1" ] || echo "by hand" > "$1"\n'
    )
    script.chmod(0o755)
    if where == "hook":
        (brain.git_dir() / "hooks").mkdir(exist_ok=True)
        (brain.git_dir() / "hooks" / "pre-commit").symlink_to(script)
    editor = str(script) if where == "editor" else "true"
    words = ["git", "commit", "--allow-empty", *(["-m", "by hand"] if where == "hook" else [])]
    with subprocess.Popen(
        words, cwd=brain.top, env={**os.environ, "GIT_EDITOR": editor}, stdin=-3, stdout=-3, stderr=-3
    ) as user:
        try:
            eventually(here.exists)
            yield user
        finally:
            go.touch()


def eventually(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.mark.parametrize("where", ["editor", "hook"])
def test_an_open_commit_of_the_user_is_not_broken(brain, tmp_path, where):
    """It holds no lock, and would fail at its end if HEAD had moved."""
    plan, committer = brain.plan("one"), brain.committer()
    with waiting_commit(brain, tmp_path, where) as user:
        assert "a git commit is open" in owed(committer.commit([plan]))
    assert user.wait() == 0
    committed(committer.commit([plan]))
    assert brain.git("log", "-2", "--format=%s").split("\n")[1] == "by hand"


def test_an_editor_opened_meanwhile_is_not_broken(brain, tmp_path):
    """It is looked for again under the lock."""
    plan, committer = brain.plan("one"), brain.committer(Meddled)
    with contextlib.ExitStack() as stack:
        users = []
        committer.act = lambda: users.append(stack.enter_context(waiting_commit(brain, tmp_path, "editor")))
        assert "a git commit is open" in owed(committer.commit([plan]))
        stack.close()
        assert users[0].wait() == 0
    committed(committer.commit([plan]))
    assert brain.git("log", "-2", "--format=%s").split("\n")[1] == "by hand"
    check_clean(brain)


def test_an_abandoned_commit_message_is_no_reason_to_owe(brain):
    """The file stays for ever once an editor was left without a message."""
    brain.git("commit", "--allow-empty", check=False, GIT_EDITOR="false")
    assert (brain.git_dir() / "COMMIT_EDITMSG").exists()
    committed(brain.committer().commit([brain.plan("one")]))


def test_a_foreign_lock_is_waited_for_then_owed_and_never_removed(brain, monkeypatch):
    """Once it is gone, the same plans are committed."""
    monkeypatch.setattr(user_index, "LOCK_PATIENCE_SECONDS", 0.1)
    plan, committer, lock = brain.plan("one"), brain.committer(), brain.git_dir() / "index.lock"
    lock.touch()
    assert "index.lock is held" in owed(committer.commit([plan]))
    committer.recover()
    assert lock.exists()
    lock.unlink()
    committed(committer.commit([plan]))
    check_clean(brain)


class Meddled(Committer):
    """Lets a user act while the index is prepared, `times` times."""

    act: Callable[[], object]
    times = 1

    def _prepare_index(self, *arguments):
        seen = super()._prepare_index(*arguments)
        if self.times:
            self.times -= 1
            self.act()
        return seen


RACES: dict[str, Callable[[Brain], object]] = {
    "commit": lambda brain: brain.git("commit", "--quiet", "-am", "between"),
    "empty commit": lambda brain: brain.git("commit", "--quiet", "--allow-empty", "-m", "between"),
    "add": lambda brain: brain.git("add", "user0.txt"),
    "switch": lambda brain: brain.git("checkout", "--quiet", "-B", "other"),
    "soft reset": lambda brain: brain.git("reset", "--quiet", "--soft", "HEAD~1"),
    "pack-refs": lambda brain: brain.git("pack-refs", "--all", "--prune"),
    "gc": lambda brain: brain.git("gc", "--quiet", "--prune=now"),
}


@pytest.mark.parametrize("race", RACES)
def test_what_the_user_does_meanwhile_is_built_upon(brain, race):
    """The branch, its history and the index are the user's newest, with our commit on top."""
    brain.git("commit", "--quiet", "--allow-empty", "-m", "second")
    (brain.top / "user0.txt").write_text("edited\n")
    committer = brain.committer(Meddled)
    states = []

    def act() -> None:
        RACES[race](brain)
        states.append((brain.head(), brain.users_work(), brain.git("symbolic-ref", "HEAD")))

    committer.act = act
    (sha,) = committed(committer.commit([brain.plan("one")]))
    assert (brain.git("rev-parse", "HEAD^").strip(), brain.users_work(), brain.git("symbolic-ref", "HEAD")) == states[0]
    assert brain.files_of(sha) == {"A brain/tasks/completed/one.md"}
    check_clean(brain)


def test_an_index_that_never_rests_is_held_for_the_last_try(brain):
    """Four times the user was faster; the fifth time they meet the lock."""
    committer = brain.committer(Meddled)
    committer.times = 99
    committer.act = lambda: brain.git("commit", "--quiet", "--allow-empty", "-m", "again", check=False)
    (sha,) = committed(committer.commit([brain.plan("one")]))
    assert (committer.times, brain.head()) == (94, sha)
    assert brain.git("log", "-5", "--format=%s").count("again") == 4
    check_clean(brain)


def test_a_branch_that_never_rests_is_owed_after_five_tries(brain):
    """Moved without the index, as by a fetch into it: the user's five commits are there, and ours is not."""
    committer = brain.committer(Meddled)
    committer.times = 99
    committer.act = lambda: brain.git(
        "update-ref", "HEAD", brain.git("commit-tree", "-p", "HEAD", "-m", "again", "HEAD^{tree}").strip()
    )
    plan, before = brain.plan("one"), brain.users_work()
    assert "5 times" in owed(committer.commit([plan]))
    assert (committer.times, brain.users_work()) == (94, before)
    assert set(brain.git("log", "-5", "--format=%s").split()) == {"again"}
    committer.times = 0
    committed(committer.commit([plan]))
    check_clean(brain)


def test_a_user_who_commits_all_the_time_loses_nothing(brain):
    """Both sides meet locks and say so; every commit that was made is there, each with its own paths only.

    Not promised: a turn for us beside commits without a breath between them, each of which may be one whose editor is open.
    """
    stop = brain.top / "stop.tmp"
    script = (
        "n=0; while [ ! -e stop.tmp ]; do n=$((n+1)); echo $n > user0.txt; git add user0.txt && "
        "git commit -q -m by-hand && echo made; git status -s > /dev/null; sleep 0.1; done 2>&1"
    )
    with subprocess.Popen(["sh", "-c", script], cwd=brain.top, stdin=-3, stdout=-1, text=True) as user:
        committer, ours = brain.committer(), []
        for number in range(25):
            plans = [brain.plan(f"t{number}")]
            eventually(
                lambda plans=plans: ours.append(committer.commit(plans)) or isinstance(ours[-1], Committed), 120.0
            )
        stop.touch()
        made = user.communicate()[0].count("made")
    subjects = brain.git("log", "--format=%s").splitlines()
    assert (subjects.count("by-hand"), len(subjects)) == (made, made + 25 + 1)
    assert made > 3
    for answer in ours:
        if isinstance(answer, Committed):
            assert {path.split("/")[0] for path in brain.files_of(answer.shas[0])} == {"A brain"}
    for sha in brain.git("log", "--format=%H", "--grep=by-hand").split():
        assert brain.files_of(sha) == {"M user0.txt"}
    assert brain.status() == ""


def test_a_rebase_begun_meanwhile_is_owed(brain):
    """It is looked for again under the lock."""
    committer = brain.committer(Meddled)
    committer.act = (brain.git_dir() / "rebase-merge").mkdir
    before = brain.head()
    assert "rebase" in owed(committer.commit([brain.plan("one")]))
    (brain.git_dir() / "rebase-merge").rmdir()
    assert brain.head() == before


@pytest.mark.parametrize("name", ["refs/heads/main.lock", "HEAD.lock"])
def test_a_locked_ref_is_owed_in_gits_words(brain, name):
    """Then the index is as it was, free for the person all the while but for moments, and nothing of ours is left."""
    brain.git("config", "core.packedRefsTimeout", "20")
    lock = brain.git_dir() / name
    lock.touch()
    plan, before = brain.plan("one"), brain.users_work()
    assert lock.name in owed(brain.committer().commit([plan]))
    assert brain.users_work() == before
    lock.unlink()
    committed(brain.committer().commit([plan]))
    check_clean(brain)


def test_an_object_store_that_refuses_is_owed(brain):
    """A broken tree under HEAD is git's to name; the outcome's files stay."""
    tree = brain.git("rev-parse", "HEAD^{tree}").strip()
    place = brain.git_dir() / "objects" / tree[:2] / tree[2:]
    kept = place.read_bytes()
    place.chmod(0o644)
    place.write_bytes(b"")
    plan = brain.plan("one")
    assert "is empty" in owed(brain.committer().commit([plan]))
    place.write_bytes(kept)
    assert not list(brain.git_dir().glob("fast_import_crash*"))
    committed(brain.committer().commit([plan]))


def test_a_git_that_hangs_is_stopped(brain):
    """No call waits for ever."""
    place = Repository.open(str(brain.root)).git
    with pytest.raises(GitError, match="did not end within"):
        place.run("-c", "alias.hang=!sleep 60", "hang", deadline_seconds=0.1)


# What stands in history.


def test_find_reads_trailers_since_a_commit(brain):
    """A line in the text of a message is not a trailer."""
    committer = brain.committer()
    keys = {f"t{number}.a1.0123abcd" for number in range(3)}
    first, *_ = committed(committer.commit([brain.plan(f"t{number}") for number in range(3)]))
    fake = CommitPlan(key="x", message="s\n\nAttempt-Id: fake\n\ntext\n", changes=(), when=WHEN)
    committed(committer.commit([fake]))
    assert committer.find({*keys, "fake", "no"}, None) == keys
    assert committer.find(keys, first) == keys - {"t0.a1.0123abcd"}
    assert committer.find(keys, "f" * 40) == keys
    assert committer.find(keys, "--output=x") == keys
    assert committer.find([], None) == set()


def test_packs_are_rolled_up_after_enough_groups(brain, monkeypatch):
    """And not before; afterwards all is readable, and the count begins again."""
    monkeypatch.setattr(committing, "REPACK_AFTER_GROUPS", 12)
    committer, packs = brain.committer(), brain.git_dir() / "objects" / "pack"
    for number in range(11):
        committed(committer.commit([brain.plan(f"t{number}")]))
    assert not committer.maintain()
    committed(committer.commit([brain.plan("last")]))
    assert len(list(packs.glob("*.pack"))) == 12
    assert brain.committer().maintain()
    assert len(list(packs.glob("*.pack"))) <= 2
    assert not committer.maintain()
    check_clean(brain)


def test_borrowed_objects_are_not_repacked(brain, tmp_path, monkeypatch):
    """They belong to another repository."""
    monkeypatch.setattr(committing, "REPACK_AFTER_GROUPS", 1)
    git(tmp_path, "clone", "--quiet", "--shared", str(brain.top), "shared")
    shared = Brain(tmp_path / "shared")
    committer = shared.committer()
    committed(committer.commit([shared.plan("one")]))
    assert not committer.maintain()


# Crashes.

STEPS = (
    (user_index, "link"),
    (user_index, "rename"),
    (user_index, "unlink"),
    (user_index, "copy"),
    (gitcmd.Git, "spawn"),
    (gitcmd.Job, "result"),
    (gitcmd.RefSwap, "prepare"),
    (gitcmd.RefSwap, "commit"),
)


class Steps:
    """Does `harm` at the `at`-th moment. Before each step that changes something is a moment; after it, if `after`."""

    def __init__(self, at: int, harm: Callable[[], object], *, after: bool) -> None:
        self.at, self.harm, self.after, self.now = at, harm, after, 0

    def moment(self) -> None:
        self.now += 1
        if self.now == self.at:
            self.harm()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for owner, name in STEPS:
            patch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, real: Callable) -> Callable:
        def step(*arguments, **more):
            self.moment()
            try:
                return real(*arguments, **more)
            finally:
                if self.after:
                    self.moment()

        return step


def crash_in(act: Callable[[], object], at: int) -> bool:
    """Run `act` in a process that kills itself at the given moment; False when it ended before that."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            Steps(at, lambda: os.kill(os.getpid(), signal.SIGKILL), after=True).install(patch)
            try:
                act()
            finally:
                os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def check_all_or_nothing(brain: Brain, plans: list, before: str, why: object) -> None:
    """Three commits or none; the user's work intact; then the plans that are not there can be committed."""
    assert brain.users_work() == before, why
    assert not (brain.git_dir() / "index.lock").exists(), why
    committer, keys = brain.committer(), {plan.key for plan in plans}
    found = committer.find(keys, None)
    assert found in (set(), keys), why
    staged = brain.git("diff", "--cached", "--name-only", "--", "brain")
    assert staged == "", (why, staged)
    if not found:
        committed(committer.commit(plans))
    check_clean(brain)


def moments_of(act: Callable[[], object], *, after: bool = True) -> int:
    """How many moments `act` has when nothing happens at any."""
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(0, lambda: None, after=after)
        steps.install(patch)
        act()
    return steps.now


@pytest.fixture
def disturbed(make, tmp_path) -> Brain:
    """A repository with the user's work half done, to be copied and to be left as it is."""
    brain = make(tmp_path / "disturbed")
    disturb(brain)
    return brain


@pytest.mark.slow
def test_a_crash_at_any_moment_leaves_all_or_nothing(disturbed, tmp_path):
    """Killed before and after steps, with the user's work half done; `recover` then sets it right."""
    before, ends = disturbed.users_work(), set()

    def begun(name: str) -> tuple[Brain, list]:
        brain = copied(disturbed.top, tmp_path / name)
        return brain, [brain.plan(f"t{number}") for number in range(3)]

    brain, plans = begun("whole")
    count = moments_of(lambda: brain.committer().commit(plans))
    check_all_or_nothing(brain, plans, before, "no crash")
    assert 40 < count < 199
    for at in spread(count, 20):
        brain, plans = begun(f"repo{at}")
        assert crash_in(lambda brain=brain, plans=plans: brain.committer().commit(plans), at), at
        brain.committer().recover()
        ends.add(brain.git("log", "-1", "--format=%s"))
        check_all_or_nothing(brain, plans, before, at)
    assert len(ends) == 2


@pytest.mark.slow
def test_a_crash_during_recovery_ends_the_same(disturbed, tmp_path):
    """The worst moment, the index placed and the branch not moved, then killed at steps of the recovery."""
    before = disturbed.users_work()

    def placed(name: str) -> tuple[Brain, list]:
        brain = copied(disturbed.top, tmp_path / name)
        plans = [brain.plan("one")]
        assert crash_in(lambda: _commit_until_placed(brain, plans), 0) is True
        assert "completed" in brain.git("diff", "--cached", "--name-only", "--", "brain")
        return brain, plans

    brain, plans = placed("whole")
    count = moments_of(lambda: brain.committer().recover())
    check_all_or_nothing(brain, plans, before, "no second crash")
    assert count > 10
    for at in spread(count, 8):
        brain, plans = placed(f"repo{at}")
        assert crash_in(lambda brain=brain: brain.committer().recover(), at), at
        brain.committer().recover()
        check_all_or_nothing(brain, plans, before, at)


def _commit_until_placed(brain: Brain, plans: list) -> None:
    gitcmd.RefSwap.commit = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    brain.committer().commit(plans)


def test_a_commit_after_a_crash_needs_no_recovery_first(brain):
    """What is left over is settled before the next group."""
    before, plans = brain.users_work(), [brain.plan("one")]
    assert crash_in(lambda: _commit_until_placed(brain, plans), 0)
    (sha,) = committed(brain.committer().commit(plans))
    assert (brain.head(), brain.users_work()) == (sha, before)
    check_clean(brain)


def test_a_crash_inside_git_after_the_branch_moved_is_no_reason_to_undo(brain):
    """The two refs of the swap change one after the other: the branch has our commit, staging is still there."""
    disturb(brain)
    before, plans = brain.users_work(), [brain.plan("one")]
    assert crash_in(lambda: _commit_until_placed(brain, plans), 0)
    staged = brain.git("for-each-ref", "--format=%(objectname)", "refs/brain").strip()
    brain.git("update-ref", "refs/heads/main", staged)
    brain.committer().recover()
    assert (brain.head(), brain.users_work()) == (staged, before)
    check_clean(brain)


def test_after_a_crash_the_users_own_repair_is_left_alone(brain):
    """They removed the lock as git advises and committed: the index is theirs now, our files are in their commit."""
    plans = [brain.plan("one")]
    assert crash_in(lambda: _commit_until_placed(brain, plans), 0)
    (brain.git_dir() / "index.lock").unlink()
    (brain.top / "user0.txt").write_text("mine\n")
    brain.git("commit", "--quiet", "-am", "mine")
    head, before = brain.head(), brain.users_work()
    brain.committer().recover()
    assert (brain.head(), brain.users_work()) == (head, before)
    committed(brain.committer().commit(plans))
    check_clean(brain)


def test_a_lock_with_our_name_but_not_our_file_is_not_ours(brain, monkeypatch):
    """After a crash the user removed our lock and another git holds it now."""
    monkeypatch.setattr(user_index, "LOCK_PATIENCE_SECONDS", 0.1)
    plans = [brain.plan("one")]
    assert crash_in(lambda: _commit_until_placed(brain, plans), 0)
    lock = brain.git_dir() / "index.lock"
    lock.unlink()
    lock.touch()
    with pytest.raises(Transient, match="held by another git"):
        brain.committer().recover()
    assert lock.exists()
    lock.unlink()
    brain.committer().recover()
    check_all_or_nothing(brain, plans, brain.users_work(), "foreign lock")


def test_recovery_waits_for_a_git_that_outlived_the_daemon(brain, monkeypatch):
    """While it runs, undoing could cross it; the descriptor it inherited tells."""
    committer = brain.committer()
    committed(committer.commit([brain.plan("one")]))
    (anchor,) = brain.git_dir().glob("brain-*.anchor")
    monkeypatch.setattr(committing, "RECOVERY_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(committing, "LOCK_PATIENCE_SECONDS", 0.05)
    script = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(); input()"
    with subprocess.Popen([sys.executable, "-c", script, str(anchor)], stdin=-1, stdout=-1) as orphan:
        orphan.stdout.readline()
        with pytest.raises(Transient):
            committer.recover()
        assert "another process" in owed(committer.commit([brain.plan("two")]))
        orphan.communicate(b"\n")
    committer.recover()
    committed(committer.commit([brain.plan("two")]))


def test_a_failure_at_any_step_is_owed_and_undone(disturbed):
    """A full disk: whichever step says so, the next try succeeds."""
    brain = disturbed
    before = brain.users_work()
    for name in ("first", "whole"):  # the first group also makes what is there but once
        plans = [brain.plan(name)]
        count = moments_of(lambda plans=plans: committed(brain.committer().commit(plans)), after=False)
    assert count > 15
    refused = 0
    for at in spread(count, 12):
        plans, committer = [brain.plan(f"t{at}")], brain.committer()
        with pytest.MonkeyPatch.context() as patch:
            Steps(at, _full, after=False).install(patch)
            answer = committer.commit(plans)
        assert brain.users_work() == before, at
        assert not (brain.git_dir() / "index.lock").exists(), at
        found = brain.committer().find({plans[0].key}, None)
        if isinstance(answer, Committed):  # the branch had moved already: the step was one of clearing up
            assert found, at
            brain.committer().recover()
        else:
            assert "No space left" in answer.reason, at
            refused += 1
        if not found:
            committed(brain.committer().commit(plans))
        check_clean(brain)
    assert refused > 5


def _full() -> None:
    raise OSError(28, "No space left on device")


def test_the_lock_that_a_killed_git_left_on_our_own_ref_holds_up_no_commit(make, tmp_path):
    """Git dies with its lock file in place; whoever recovers takes that one away, and the next group goes through."""
    brain = make(tmp_path / "repo")
    committed(brain.committer().commit([brain.plan("one")]))
    committer = brain.committer()
    place = brain.git_dir() / f"{committer._staging}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    assert isinstance(committer.commit([brain.plan("two")]), Owed)
    committed(committer.commit([brain.plan("two")]))
    assert not place.exists()


def test_a_lock_on_packed_refs_holds_up_no_commit(brain):
    """Nothing of a group touches packed-refs, where a killed git would leave its lock for every git after it."""
    (brain.git_dir() / "packed-refs.lock").touch()
    committed(brain.committer().commit([brain.plan("one")]))
    assert brain.git("for-each-ref", "refs/brain") == ""


@pytest.mark.parametrize("left", ["refs/heads/main.lock", "HEAD.lock"])
def test_the_locks_of_a_git_killed_while_it_moved_the_branch_are_taken_away(brain, left):
    """The branch's holds our commit, which no other git knows; HEAD's is empty and stays so. A lock of other content is left alone."""
    committer = brain.committer()
    committed(committer.commit([brain.plan("one")]))
    ours = brain.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "ours").strip()
    brain.git("update-ref", committer._staging, ours)
    lock = brain.git_dir() / left
    lock.write_text(f"{ours}\n" if "main" in left else "")
    committer.recover()
    assert not lock.exists()
    brain.git("update-ref", committer._staging, ours)
    lock.write_text(f"{brain.git('rev-parse', 'HEAD').strip()}\n")
    committer.recover()
    assert lock.exists()
    lock.unlink()
    committed(committer.commit([brain.plan("two")]))
