"""Folders of commits read through one git that stays."""

import os
import signal
import subprocess

import pytest

from brain_daemon.model.errors import GitError
from brain_daemon.record.gitcmd import Git, binary
from brain_daemon.record.tree_reader import TreeReader

SIZES = {"sha1": 20, "sha256": 32}


@pytest.fixture(params=SIZES)
def place(request, tmp_path):
    """A repository of each format, without a commit yet."""
    git = Git(program=binary(), cwd=str(tmp_path), settings={"GIT_DIR": str(tmp_path / ".git")})
    subprocess.run([binary(), "init", "-q", f"--object-format={request.param}", tmp_path], check=True)
    reader = TreeReader(git, SIZES[request.param])
    yield tmp_path, git, reader
    reader.close()


def signed(folder, git):
    """The same git, which says whose commits it makes."""
    return git.with_settings(
        GIT_WORK_TREE=str(folder),
        GIT_AUTHOR_NAME="a",
        GIT_AUTHOR_EMAIL="a@a",
        GIT_COMMITTER_NAME="a",
        GIT_COMMITTER_EMAIL="a@a",
    )


def commit(folder, git, **files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    here = signed(folder, git)
    here.run("add", "-A", "--", ".")
    here.run("commit", "-q", "--allow-empty", "-m", "more")


def listed(git, revision):
    rows = git.run("ls-tree", "-z", revision).split(b"\0")[:-1]
    return {os.fsdecode(name): facts.split()[2].decode() for facts, _, name in (row.partition(b"\t") for row in rows)}


def test_a_folder_holds_what_git_lists_there(place):
    """Odd names too; a commit made meanwhile is seen by the same process."""
    folder, git, reader = place
    assert reader.entries("HEAD:tasks") == {}
    commit(
        folder, git, **{"tasks/a.md": "one", "tasks/ü \x01.md": "two", "tasks/deep/b.md": "three", "other.md": "four"}
    )
    assert reader.entries("HEAD:tasks") == listed(git, "HEAD:tasks")
    assert set(reader.entries("HEAD:tasks")) == {"a.md", "ü \x01.md", "deep"}
    process = reader._process
    commit(folder, git, **{"tasks/c.md": "five"})
    git.run("repack", "-q", "-a", "-d")
    assert "c.md" in reader.entries("HEAD:tasks")
    assert reader._process is process


def test_a_large_folder_is_read_whole(place):
    """Its bytes come in many pieces."""
    folder, git, reader = place
    blob = git.run("hash-object", "-w", "--stdin", data=b"x").decode().strip()
    entries = "".join(f"100644 blob {blob}\t{n:05}-{'x' * 100}.md\n" for n in range(2_000))
    tasks = git.run("mktree", data=entries.encode()).decode().strip()
    whole = git.run("mktree", data=f"040000 tree {tasks}\ttasks\n".encode()).decode().strip()
    made = signed(folder, git).run("commit-tree", "-m", "many", whole).decode().strip()
    git.run("update-ref", "HEAD", made)
    found = reader.entries("HEAD:tasks")
    assert len(found) == 2_000
    assert found == listed(git, "HEAD:tasks")


def test_a_git_that_has_died_is_an_error_once(place):
    """The next look starts another one."""
    folder, git, reader = place
    commit(folder, git, **{"tasks/a.md": "one"})
    assert reader.entries("HEAD:tasks")
    reader._process.send_signal(signal.SIGKILL)
    reader._process.wait()
    with pytest.raises(GitError, match="has ended"):
        reader.entries("HEAD:tasks")
    assert set(reader.entries("HEAD:tasks")) == {"a.md"}


@pytest.mark.parametrize(("revision", "said"), [("HEAD:other.md", "knows no folder"), ("HEAD:a\nb", "line break")])
def test_what_is_no_folder_is_an_error(place, revision, said):
    """And leaves the reader fit for the next question."""
    folder, git, reader = place
    commit(folder, git, **{"tasks/a.md": "one", "other.md": "two"})
    with pytest.raises(GitError, match=said):
        reader.entries(revision)
    assert set(reader.entries("HEAD:tasks")) == {"a.md"}


def test_a_process_nobody_asks_ends(place):
    """After two rests without a question between them; a reader that is forgotten ends its own."""
    folder, git, reader = place
    commit(folder, git, **{"tasks/a.md": "one"})
    reader.entries("HEAD:tasks")
    process = reader._process
    reader.rest()
    assert process.poll() is None
    reader.rest()
    assert process.poll() is not None
    forgotten = TreeReader(git, reader._hash_bytes)
    forgotten.entries("HEAD:tasks")
    process = forgotten._process
    del forgotten
    assert process.poll() is not None
