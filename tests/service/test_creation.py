"""Making a brain: nothing of the user's is overwritten, swept in or lost, and doing it twice is doing it once."""

import os
import subprocess
from pathlib import Path

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.service import creation
from brain_daemon.service.creation import init
from brain_daemon.store.template import template_files


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode()


def repository(folder: Path) -> Path:
    """A repository of the user's, without a commit."""
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def make(folder: Path):
    return init(str(folder), dict(os.environ))


def test_a_new_folder_becomes_a_brain_with_one_commit(tmp_path):
    """Every file of the template is in it, git is clean and whole, and the commit is the user's."""
    made = make(tmp_path / "deep" / "brain")
    root = Path(made.root)
    assert {name: (root / name).read_bytes() for name in made.written} == template_files()
    assert (made.new_repository, made.kept, made.why_not) == (True, (), "")
    assert git(root, "log", "--format=%H %an").split() == [made.commit, "Ann"]
    assert git(root, "status", "--short") == ""
    assert sorted(git(root, "ls-files").split()) == sorted(template_files())
    git(root, "fsck", "--strict")


def test_a_second_time_changes_nothing(tmp_path):
    """It says what is there; a file the user has deleted comes back, one that was edited stays."""
    root = Path(make(tmp_path / "brain").root)
    again = make(root)
    assert (again.written, again.extended, again.commit, len(again.kept)) == ((), (), None, len(template_files()))
    (root / "context" / "routing.md").write_text("mine\n")
    (root / "knowledge" / "brain-daemon.md").unlink()
    third = make(root)
    assert (third.written, third.commit) == (("knowledge/brain-daemon.md",), None)
    assert (root / "context" / "routing.md").read_text() == "mine\n"


def test_staged_and_changed_files_of_a_repository_without_a_commit_stay_as_they_are(tmp_path):
    """The first commit holds our files only."""
    root = repository(tmp_path / "mine")
    (root / "a.txt").write_text("staged\n")
    git(root, "add", "a.txt")
    (root / "a.txt").write_text("changed\n")
    made = make(root)
    assert git(root, "status", "--short") == "AM a.txt\n"
    assert "a.txt" not in git(root, "show", "--name-only", made.commit or "")
    assert git(root, "show", ":a.txt") == "staged\n"


def test_a_folder_of_an_existing_repository_becomes_a_brain(tmp_path):
    """Paths stand below the folder, the history goes on, and what was staged is still staged."""
    root = repository(tmp_path / "mine")
    (root / "a.txt").write_text("a\n")
    git(root, "add", "a.txt")
    git(root, "commit", "-q", "-m", "mine")
    (root / "b.txt").write_text("b\n")
    git(root, "add", "b.txt")
    made = make(root / "notes" / "brain")
    assert made.new_repository is False
    assert git(root, "log", "--format=%s").splitlines() == ["begin a brain", "mine"]
    assert git(root, "status", "--short") == "A  b.txt\n"
    assert all(name.startswith("notes/brain/") for name in git(root, "show", "--name-only", "--format=").split())


@pytest.mark.parametrize("ending", ["\n", ""])
def test_an_existing_gitignore_gets_our_lines_added(tmp_path, ending):
    """After the user's own, once; it is committed where the user's part is."""
    root = repository(tmp_path / "mine")
    (root / ".gitignore").write_text("*.log" + ending)
    git(root, "add", ".gitignore")
    git(root, "commit", "-q", "-m", "mine")
    assert make(root).extended == (".gitignore",)
    lines = (root / ".gitignore").read_text().splitlines()
    assert (lines[0], "brain/tasks/active/*" in lines) == ("*.log", True)
    assert git(root, "status", "--short") == ""
    assert make(root).extended == ()
    assert (root / ".gitignore").read_text().splitlines() == lines


def test_a_gitignore_the_user_has_not_committed_is_not_committed_for_them(tmp_path):
    """It has our lines, and stays the user's to commit."""
    root = repository(tmp_path / "mine")
    (root / ".gitignore").write_text("*.log\n")
    make(root)
    assert git(root, "status", "--short") == "?? .gitignore\n"


def test_a_commit_that_must_wait_is_made_the_next_time(tmp_path):
    """In the middle of a merge the files are written, the reason is said, and init again commits them."""
    root = repository(tmp_path / "mine")
    (root / "a.txt").write_text("a\n")
    git(root, "add", "a.txt")
    git(root, "commit", "-q", "-m", "mine")
    (root / ".git" / "MERGE_HEAD").write_text(git(root, "rev-parse", "HEAD"))
    made = make(root)
    assert (made.commit, "merge" in made.why_not) == (None, True)
    (root / ".git" / "MERGE_HEAD").unlink()
    assert make(root).commit == git(root, "rev-parse", "HEAD").strip()
    assert git(root, "status", "--short") == ""


def test_settings_may_leave_the_commit_to_the_user(tmp_path):
    """`commit = false` in brain.toml is heeded from the start."""
    root = repository(tmp_path / "mine")
    (root / "brain.toml").write_text("commit = false\n")
    made = make(root)
    assert (made.commit, "switched off" in made.why_not) == (None, True)


def test_what_cannot_be_a_brain_is_refused_before_anything_is_written(tmp_path):
    """A file, and a bare repository."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="that is a file"):
        make(tmp_path / "file")
    git(tmp_path, "init", "-q", "--bare", "bare")
    before = sorted((tmp_path / "bare").rglob("*"))
    with pytest.raises(UserError, match="bare"):
        make(tmp_path / "bare")
    assert sorted((tmp_path / "bare").rglob("*")) == before


def test_the_demonstration_is_files_and_never_overwrites(tmp_path):
    """Its interface is sound, its tasks lie in pending/, and a second filling is refused."""
    root = make(tmp_path / "brain").root
    creation.fill_demo(root)
    assert isinstance(parse_interface("upper.md", creation.UPPER.encode()), InterfaceSpec)
    assert {path.stem for path in Path(root, "brain/tasks/pending").glob("*.md")} == set(creation.DEMO_TASKS)
    assert set(creation.DEMO_TASKS) - set(creation.DEMO_OUTCOMES) == {"picture"}
    with pytest.raises(UserError, match="is there already"):
        creation.fill_demo(root)
