"""Finding the brain around a folder, and the folder for its runtime state, with a few file reads and no git.

`brain status` must answer at once, so this follows gitrepository-layout(5) by hand: `.git` is a folder, or a file that
says `gitdir: PATH`; a `commondir` file in there leads to the repository that linked worktrees share.
"""

import os

from brain_daemon.model.errors import UserError
from brain_daemon.store.layout import Layout, brain_key


def find_root(start: str) -> str:
    """The nearest folder from `start` upwards that has brain/tasks. UserError if there is none."""
    folder = os.path.realpath(start)
    while True:
        if os.path.isdir(os.path.join(folder, "brain", "tasks")):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            raise UserError(
                f"there is no brain (a folder with brain/tasks) at {os.path.realpath(start)} or above it. "
                "`brain init DIR` makes one; --brain DIR or BRAIN_ROOT names one elsewhere."
            )
        folder = parent


def layout_of(root: str, user_state: str) -> Layout:
    """The paths of the brain at `root`: its state is inside the repository's common folder, else with the user's own state."""
    real = os.path.realpath(root)
    key = brain_key(real)
    common = common_git_dir(real)
    state = os.path.join(common, "brain", key) if common else os.path.join(user_state, "brains", key)
    return Layout(real, state, os.path.join(user_state, "workspaces", key))


def common_git_dir(root: str) -> str | None:
    """The common folder of the repository around `root`, or None where there is no repository."""
    folder = root
    while True:
        found = _git_dir(os.path.join(folder, ".git"))
        if found is not None:
            return _common(found)
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _git_dir(dot_git: str) -> str | None:
    if os.path.isdir(dot_git):
        return dot_git if os.path.exists(os.path.join(dot_git, "HEAD")) else None
    said = _line(dot_git)
    if said is None or not said.startswith("gitdir:"):
        return None
    path = said.removeprefix("gitdir:").strip()
    return os.path.normpath(os.path.join(os.path.dirname(dot_git), path))


def _common(git_dir: str) -> str:
    said = _line(os.path.join(git_dir, "commondir"))
    return git_dir if said is None else os.path.normpath(os.path.join(git_dir, said))


def _line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.readline().rstrip("\n")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
        return None
