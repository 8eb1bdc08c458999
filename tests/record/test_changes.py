"""What changed in a repository that is not ours, with real git, also where its owner means no good."""

import os
import subprocess
from pathlib import Path

import pytest

from brain_daemon.model.redaction import Redactor
from brain_daemon.record import changes


@pytest.fixture
def project(tmp_path) -> Path:
    """A repository of somebody's, with one commit."""
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q")
    (root / "f.txt").write_text("one\ntwo\n")
    (root / "mine.txt").write_text("old\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def opened(root: Path):
    found = changes.find(str(root))
    assert found is not None
    return found


def same(data: bytes) -> bytes:
    return data


def test_what_was_changed_and_committed_and_made_is_told_and_the_diff_applies(project, tmp_path):
    """Against the commit at the start, whatever HEAD is now; what git does not know is named; `git apply` takes the file."""
    before = changes.begin(opened(project))
    (project / "f.txt").write_text("one\nthree\n")
    git(project, "commit", "-qam", "second")
    (project / "mine.txt").unlink()
    (project / "new one.txt").write_text("x\n")
    found = changes.changes(opened(project), before, same)
    assert found is not None
    assert found.paths == (("M", "f.txt"), ("D", "mine.txt"), ("?", "new one.txt"))
    assert (found.branch, found.now) == ("main", git(project, "rev-parse", "HEAD"))
    said = changes.render(found, str)
    assert said.startswith(f"# on branch main, since {before.commit[:12]}, now at {found.now[:12]}\n".encode())
    assert b"\n# changed: ? new one.txt\n" in said
    assert b"-two\n+three\n" in said
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(project), str(copy))
    git(copy, "checkout", "-q", before.commit)
    (tmp_path / "patch").write_bytes(said)
    git(copy, "apply", str(tmp_path / "patch"))
    assert (copy / "f.txt").read_text() == "one\nthree\n"
    assert not (copy / "mine.txt").exists()


def test_what_a_person_had_not_committed_is_left_out_until_it_is_changed_again(project):
    """Their work is not the task's."""
    (project / "mine.txt").write_text("new\n")
    (project / "note.txt").write_text("a note\n")
    before = changes.decode(changes.encode(changes.begin(opened(project))))
    assert before is not None
    assert changes.changes(opened(project), before, same) is None
    (project / "note.txt").write_text("a longer note\n")
    (project / "f.txt").write_text("three\n")
    found = changes.changes(opened(project), before, same)
    assert found is not None
    assert found.paths == (("M", "f.txt"), ("?", "note.txt"))
    assert b"mine.txt" not in found.diff


def test_a_repository_without_a_commit_and_a_folder_without_a_repository(tmp_path):
    """Everything that was added is new; nothing can be told where there is no git."""
    root = tmp_path / "fresh"
    root.mkdir()
    assert changes.find(str(root)) is None
    git(root, "init", "-q")
    before = changes.begin(opened(root))
    (root / "f.txt").write_text("one\n")
    git(root, "add", "f.txt")
    found = changes.changes(opened(root), before, same)
    assert found is not None
    assert found.paths == (("A", "f.txt"),)
    assert b"+one\n" in found.diff


def test_a_diff_is_bounded_and_has_no_secrets(project):
    """Whole lines up to the limit, what is missing said; a secret at the cut is not left by half."""
    before = changes.begin(opened(project))
    secret = "s3cr3t-of-this-test"
    line = f"{'x' * 90} {secret}\n"
    (project / "f.txt").write_text(line * 4_000)
    redactor = Redactor([secret])
    found = changes.changes(opened(project), before, redactor.bytes)
    assert found is not None
    assert found.cut
    assert changes.MAX_DIFF_BYTES - 200 < len(found.diff) <= changes.MAX_DIFF_BYTES
    assert found.diff.endswith(b"\n")
    said = changes.render(found, redactor.text)
    assert b"# cut: the diff is longer than what stands here" in said
    assert secret.encode() not in said
    assert secret[:8].encode() not in said


def test_more_paths_than_are_listed_are_counted(project):
    """The list ends, and says so."""
    before = changes.begin(opened(project))
    for number in range(changes.MAX_PATHS + 5):
        (project / f"n{number:03}.txt").write_text("x\n")
    found = changes.changes(opened(project), before, same)
    assert found is not None
    assert len(found.paths) == changes.MAX_PATHS + 5
    assert b"# cut: 5 more paths\n" in changes.render(found, str)


def test_nothing_that_the_repository_names_is_run(project, tmp_path):
    """No hook, pager, filter, textconv, external diff or fsmonitor; the index stays to the byte."""
    witness = tmp_path / "witness"
    evil = tmp_path / "evil"
    evil.write_text(f'#!/bin/sh\necho "$0 $*" >> {witness}\ncat\n')
    evil.chmod(0o755)
    before = changes.begin(opened(project))
    (project / ".gitattributes").write_text("*.txt filter=Evil.One diff=evil\n")
    for key in (
        "filter.Evil.One.clean", "filter.Evil.One.smudge", "filter.Evil.One.process", "diff.evil.textconv",
        "diff.evil.command", "diff.external", "core.pager", "core.fsmonitor", "core.editor", "interactive.diffFilter",
    ):  # fmt: skip
        git(project, "config", key, str(evil))
    git(project, "config", "filter.Evil.One.required", "true")
    git(project, "config", "color.ui", "always")
    git(project, "config", "diff.noprefix", "true")
    git(project, "config", "diff.orderFile", "/nowhere")
    for name in ("post-index-change", "pre-commit"):
        hook = project / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_bytes(evil.read_bytes())
        hook.chmod(0o755)
    (project / "f.txt").write_text("ONE\ntwo\n")
    index = (project / ".git" / "index").read_bytes()
    found = changes.changes(opened(project), before, same)
    assert found is not None
    assert b"--- a/f.txt\n+++ b/f.txt\n" in found.diff
    assert b"-one\n+ONE\n" in found.diff
    assert not witness.exists()
    assert (project / ".git" / "index").read_bytes() == index


def test_a_name_that_looks_like_ours_forges_no_line(project):
    """A path is one line of the head, however it is spelled."""
    before = changes.begin(opened(project))
    (project / "x\n# changed: M etc").write_text("x\n")
    found = changes.changes(opened(project), before, same)
    assert found is not None
    assert [line for line in changes.render(found, str).splitlines() if line.startswith(b"# changed")] == [
        b"# changed: ? x # changed: M etc"
    ]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"top": 1, "commit": 2, "stamps": [3]}', b"\xff"])
def test_what_cannot_be_read_back_is_nothing(text):
    """A file that a power cut has left."""
    assert changes.decode(text) is None


def test_a_repository_in_a_folder_of_it_is_found_and_paths_begin_at_its_top(project):
    """A workspace may be a part of a project."""
    (project / "sub").mkdir()
    before = changes.begin(opened(project / "sub"))
    (project / "f.txt").write_text("x\n")
    (project / "sub" / "g.txt").write_text("x\n")
    found = changes.changes(opened(project / "sub"), before, same)
    assert found is not None
    assert found.paths == (("M", "f.txt"), ("?", os.path.join("sub", "g.txt")))
