"""Finding the brain and its state with a few file reads, as git itself would."""

import os
import subprocess

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.store.locate import common_git_dir, find_root, layout_of


def git(where, *arguments):
    done = subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit and a brain in a folder of it."""
    top = tmp_path / "top"
    (top / "inside" / "brain" / "tasks").mkdir(parents=True)
    (top / "inside" / "brain" / "tasks" / "x").write_text("x")
    git(tmp_path, "init", "-q", str(top))
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "x")
    return top


def test_the_brain_is_the_nearest_folder_upwards(repository):
    """From its root, from deep inside it, through a link."""
    inside = repository / "inside"
    (repository / "link").symlink_to(inside / "brain")
    for start in (inside, inside / "brain" / "tasks", repository / "link"):
        assert find_root(str(start)) == str(inside)


def test_where_there_is_no_brain_the_way_to_one_is_said(tmp_path):
    """`brain init`, --brain, BRAIN_ROOT."""
    with pytest.raises(UserError, match="brain init"):
        find_root(str(tmp_path))


@pytest.mark.parametrize("kind", ["plain", "worktree", "submodule", "separate"])
def test_the_common_folder_is_the_one_git_names(repository, tmp_path, kind):
    """Linked worktrees share the repository's; submodules and separate git folders have their own."""
    place = repository
    if kind == "worktree":
        place = tmp_path / "tree"
        git(repository, "worktree", "add", "-q", str(place))
    elif kind == "submodule":
        git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository), "sub")
        place = repository / "sub"
    elif kind == "separate":
        place = tmp_path / "apart"
        git(tmp_path, "clone", "-q", "--separate-git-dir", str(tmp_path / "its.git"), str(repository), str(place))
    said = git(place, "rev-parse", "--path-format=absolute", "--git-common-dir")
    assert os.path.realpath(common_git_dir(str(place / "inside"))) == os.path.realpath(said)


def test_without_a_repository_the_state_is_the_users(tmp_path):
    """Nothing is written into the brain."""
    root = tmp_path / "brain-root"
    (root / "brain" / "tasks").mkdir(parents=True)
    layout = layout_of(str(root), str(tmp_path / "mine"))
    assert layout.state.startswith(str(tmp_path / "mine"))
    assert layout.work.startswith(str(tmp_path / "mine"))
    assert common_git_dir(str(root)) is None


@pytest.mark.parametrize("content", ["", "nonsense", None])
def test_a_dot_git_that_is_none_is_passed_over(repository, content):
    """An empty folder or a stray file called .git does not hide the repository above it."""
    stray = repository / "inside" / ".git"
    if content is None:
        stray.mkdir()
    else:
        stray.write_text(content)
    assert common_git_dir(str(repository / "inside")) == str(repository / ".git")


def test_two_brains_of_one_repository_have_two_states(repository):
    """Their keys come from their paths."""
    (repository / "brain" / "tasks").mkdir(parents=True)
    first, second = (layout_of(str(root), "/mine") for root in (repository, repository / "inside"))
    assert first.state != second.state
    assert os.path.dirname(first.state) == os.path.dirname(second.state)
