"""Opening and reading the repository a brain lives in, with real git."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.errors import GitError, UserError
from brain_daemon.record import repository
from brain_daemon.record.repository import Repository


def git(where: Path, *arguments: str, data: bytes = b"", check: bool = True) -> str:
    """Run the user's git and return what it printed."""
    done = subprocess.run(["git", *arguments], cwd=where, input=data, capture_output=True, check=False)
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
    git(home, "config", "--global", "user.name", "Ann")
    git(home, "config", "--global", "user.email", "ann@example.org")
    git(home, "config", "--global", "protocol.file.allow", "always")
    git(home, "config", "--global", "init.defaultBranch", "main")


@pytest.fixture
def top(tmp_path) -> Path:
    """A repository with one commit."""
    return make(tmp_path / "repo")


def make(path: Path, *options: str) -> Path:
    path.mkdir()
    git(path, "init", "--quiet", *options)
    (path / "a.md").write_text("a\n")
    git(path, "add", "a.md")
    git(path, "commit", "--quiet", "-m", "first")
    return path


def test_the_top_of_a_repository_opens(top):
    """All four places are absolute and the prefix is empty."""
    found = Repository.open(str(top))
    assert (found.brain_root, found.top, found.prefix) == (str(top), str(top), "")
    assert found.git_dir == found.common_dir == str(top / ".git")


def test_a_folder_in_a_repository_opens_with_its_prefix(top):
    """Paths are then relative to the folder, even one whose name needs care."""
    inside = top / "my notes" / "brün"
    inside.mkdir(parents=True)
    (inside / "x.md").write_text("x\n")
    git(top, "add", "-A")
    found = Repository.open(str(inside))
    assert (found.top, found.prefix) == (str(top), "my notes/brün/")
    assert found.tracked(["x.md", "a.md"]) == {"x.md"}


def test_a_symbolic_link_to_a_brain_opens_the_brain(top, tmp_path):
    """Links are resolved once, at opening."""
    (tmp_path / "link").symlink_to(top)
    assert Repository.open(str(tmp_path / "link")).brain_root == str(top)


def test_a_linked_worktree_has_its_own_git_dir(top, tmp_path):
    """Its index and HEAD stand there, the objects in the common one."""
    git(top, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    found = Repository.open(str(tmp_path / "side"))
    assert found.git_dir == str(top / ".git" / "worktrees" / "side")
    assert (found.common_dir, found.branch()) == (str(top / ".git"), "side")
    assert found.in_progress() is None


def test_a_worktree_of_a_bare_repository_opens(top, tmp_path):
    """The layout has files, though its repository says it is bare."""
    git(tmp_path, "clone", "--quiet", "--bare", str(top), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    assert Repository.open(str(tmp_path / "side")).branch() == "side"


def test_a_submodule_is_a_repository_of_its_own(top, tmp_path):
    """The brain's commits go to the submodule, not to the project around it."""
    outer = make(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(top), "brain")
    found = Repository.open(str(outer / "brain"))
    assert (found.top, found.git_dir) == (str(outer / "brain"), str(outer / ".git" / "modules" / "brain"))


def test_no_repository_is_said(tmp_path):
    """With the next step."""
    with pytest.raises(UserError, match="brain init"):
        Repository.open(str(tmp_path))


def test_a_folder_that_is_not_there_is_said(tmp_path):
    """It is the person's to correct."""
    with pytest.raises(UserError, match="nowhere"):
        Repository.open(str(tmp_path / "nowhere"))


def test_a_bare_repository_is_refused(tmp_path):
    """It has no files to work on."""
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    with pytest.raises(UserError, match="bare"):
        Repository.open(str(tmp_path / "bare.git"))


def test_the_inside_of_a_git_folder_is_refused(top):
    """`.git` is no place for a brain."""
    with pytest.raises(UserError):
        Repository.open(str(top / ".git" / "objects"))


def test_a_format_git_does_not_know_is_refused_in_its_words(top):
    """An extension of a later git must not be guessed at."""
    git(top, "config", "core.repositoryFormatVersion", "1")
    git(top, "config", "extensions.fromTheFuture", "true")
    with pytest.raises(UserError, match="fromthefuture"):
        Repository.open(str(top))


def test_a_git_hook_of_another_repository_does_not_lead_astray(top, tmp_path, monkeypatch):
    """GIT_DIR, GIT_INDEX_FILE and GIT_CONFIG_* of the environment are not believed."""
    other = make(tmp_path / "other")
    for name in ("GIT_DIR", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Mallory")
    found = Repository.open(str(top))
    assert (found.git_dir, found.setting("user.name")) == (str(top / ".git"), "Ann")
    assert found.tracked(["a.md"]) == {"a.md"}


def test_a_git_folder_that_vanishes_is_an_error_and_not_the_parent(top):
    """A repository around the brain's own must never get its commits."""
    inner = make(top / "inner")
    found = Repository.open(str(inner))
    (inner / ".git").rename(inner / "gone")
    with pytest.raises(GitError):
        found.tracked(["a.md"])


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("packed", [False, True])
def test_head_and_branch_are_those_of_git(tmp_path, object_format, packed):
    """With refs in files or packed, in both object formats."""
    top = make(tmp_path / "repo", f"--object-format={object_format}")
    git(top, "checkout", "--quiet", "-b", "feature/grün")
    if packed:
        git(top, "pack-refs", "--all")
    found = Repository.open(str(top))
    assert found.head() == git(top, "rev-parse", "HEAD").strip()
    assert found.branch() == "feature/grün"


def test_a_detached_head_has_no_branch(top):
    """And no commit may be made there."""
    git(top, "checkout", "--quiet", "--detach")
    found = Repository.open(str(top))
    assert found.branch() is None
    assert "detached" in (found.in_progress() or "")


def test_a_new_repository_has_a_branch_and_no_head(tmp_path):
    """`create` makes it on main, and says what is missing."""
    found = Repository.create(str(tmp_path / "new" / "brain"))
    assert (found.branch(), found.head()) == ("main", None)
    assert "make a first commit" in (found.in_progress() or "")


def test_being_away_from_a_branch_is_seen_each_time_and_said(top):
    """Detached, back, on a branch without a commit, back: what was found the last time is not what is answered."""
    repository = Repository.open(str(top))
    for away, words in ((["--detach"], "detached"), (["--orphan", "fresh"], "no commit yet")):
        assert repository.away_from_branch() is None
        assert repository.away_from_branch() is None
        git(top, "checkout", "-q", *away)
        assert words in repository.away_from_branch()
        assert words in repository.away_from_branch()
        git(top, "checkout", "-q", "-f", "main")
    assert repository.away_from_branch() is None


def test_create_takes_a_name_that_looks_like_an_option(tmp_path, monkeypatch):
    """A path is never read as a flag."""
    monkeypatch.chdir(tmp_path)
    assert Repository.create("--bare").top == str(tmp_path / "--bare")


def test_a_quiet_repository_has_nothing_in_progress(top):
    """The plain case."""
    found = Repository.open(str(top))
    assert found.in_progress() is None
    assert not found.index_locked()


def test_a_held_index_is_seen(top):
    """Whoever holds it."""
    (top / ".git" / "index.lock").touch()
    assert Repository.open(str(top)).index_locked()


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_blob_ids_are_those_of_git(tmp_path, object_format):
    """Also for nothing at all and for bytes that are no text."""
    top = make(tmp_path / "repo", f"--object-format={object_format}")
    found = Repository.open(str(top))
    for content in (b"", b"a\r\nb", bytes(range(256))):
        assert found.blob_id(content) == git(top, "hash-object", "--stdin", "--no-filters", data=content).strip()


@given(st.binary())
def test_a_blob_id_is_the_hash_of_a_header_and_the_bytes(content):
    """The formula of gitformat-loose; the length stands in the header."""
    found = Repository.__new__(Repository)
    found._format = "sha1"
    assert found.blob_id(content) == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.mark.parametrize("many", [True, False])
def test_head_blobs_tell_what_is_in_head_and_not_in_the_index(top, monkeypatch, many):
    """A staged file is not in HEAD; a deleted one still is. Many are read by folder."""
    monkeypatch.setattr(repository, "_MANY", 0 if many else 1000)
    (top / "new.md").write_text("new\n")
    git(top, "add", "new.md")
    git(top, "rm", "--quiet", "--cached", "a.md")
    found = Repository.open(str(top))
    assert found.head_blobs(["a.md", "new.md", "never.md"]) == {"a.md": found.blob_id(b"a\n")}


@pytest.mark.parametrize("prefix", ["", "deep/below/"])
def test_many_are_found_as_few_are(tmp_path, monkeypatch, prefix):
    """Whatever their folders are called, in a repository that has not begun as well."""
    git(tmp_path, "init", "-q")
    root = tmp_path / prefix
    names = [
        "a.md",
        "x/a.md",
        "x/y/b.md",
        "x y/[c]*?.md",
        "[c]*?/d.md",
        ":(top)e/f.md",
        "é\u2028/g\n.md",
        "x.files/h.md",
    ]
    asked = [*names, "never.md", "never/a.md", "x"]
    monkeypatch.setattr(repository, "_MANY", 0)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    found = Repository.open(str(root))
    assert found.head_blobs(asked) == {}
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "all")
    found = Repository.open(str(root))
    assert found.head_blobs(asked) == {name: found.blob_id(name.encode()) for name in names}


NAMES = [
    "plain.md",
    "two words.md",
    'quo"te.md',
    "line\nbreak.md",
    "tab\t.md",
    "-dash.md",
    ":(top)x.md",
    "ü*[a].md",
    "HEAD",
]


def test_what_is_staged_in_a_folder_is_told_with_its_hashes(top):
    """Of this index file, in this folder and below, unmerged entries left out; paths as the brain says them."""
    inside = top / "sub"
    (inside / "x").mkdir(parents=True)
    for name in ("x/one.md", "x/two\tlines\n.md", "y.md"):
        (inside / name).write_text(name)
    git(top, "add", "-A")
    repository = Repository.open(str(inside))
    index = str(top / ".git" / "index")
    expected = {name: repository.blob_id(name.encode()) for name in ("x/one.md", "x/two\tlines\n.md")}
    assert repository.staged_in(["x"], index) == expected
    assert repository.staged_in(["nothing/here"], index) == {}
    assert repository.staged_in(["x"], str(top / "no such index")) == {}


def test_tracked_reads_any_name_a_file_can_have(top):
    """Names are data: no pattern, no option, no line."""
    for name in NAMES:
        (top / name).write_text("x\n")
    git(top, "--literal-pathspecs", "add", "--", *NAMES[::2])
    found = Repository.open(str(top))
    assert found.tracked(NAMES) == set(NAMES[::2])
    assert found.tracked([]) == set()


def test_tracked_counts_intent_to_add_and_conflicts(top):
    """Both are in the index, without a plain entry."""
    (top / "meant.md").write_text("m\n")
    git(top, "add", "-N", "meant.md")
    blob = git(top, "rev-parse", ":a.md").strip()
    git(top, "update-index", "--index-info", data=f"100644 {blob} 2\ttorn.md\n100644 {blob} 3\ttorn.md\n".encode())
    assert Repository.open(str(top)).tracked(["meant.md", "torn.md", "other.md"]) == {"meant.md", "torn.md"}


def test_reading_a_repository_changes_nothing_in_it(top):
    """No ref, no index refresh, no lock, no program of the repository's."""
    hook = top / "witness.sh"
    hook.write_text(f"#!/bin/sh\ntouch {top}/seen\n")
    hook.chmod(0o755)
    git(top, "config", "core.fsmonitor", str(hook))
    before = {path: path.stat().st_mtime_ns for path in (top / ".git").rglob("*")}
    found = Repository.open(str(top))
    _ = found.head(), found.branch(), found.in_progress(), found.tracked(["a.md"]), found.head_blobs(["a.md"])
    assert {path: path.stat().st_mtime_ns for path in (top / ".git").rglob("*")} == before
    assert not (top / "seen").exists()
