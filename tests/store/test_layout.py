"""Which names are tasks, and where things live."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.store.layout import MAX_NAME_BYTES, Layout, brain_key, is_task_name


@pytest.mark.parametrize(
    "name",
    [
        "a.md",
        "A task with spaces.md",
        "größe.md",
        "日本.md",
        "a.b.md",
        "x.MD",
        "part.md",
        "temp.md",
        "readme.md",
        "tilde~x.md",
        "a" * 197 + ".md",
    ],
)
def test_visible_names_that_end_in_md_are_tasks(name):
    """Spaces, other scripts and dots are welcome, up to 200 bytes."""
    assert is_task_name(name)


@pytest.mark.parametrize(
    "name",
    [
        ".md", ".a.md", "~a.md", "#a.md#", "a.md~", "4913", "a.txt", "a", "README.md", "a.md.swp", "a.swp.md", "a.part", "a.part.md",
        "a.md.crdownload", "a.tmp.md", "a.bak.md", "a.orig.md", "a.md___jb_tmp___", "a.sync-conflict-20261120-101500-X.md",
        "a (conflicted copy 2026-11-20).md", "a (Ann's conflicted copy).md", "a (conflict).md", "a.conflict-1.md", ".goutputstream-X.md",
        "a.error.md", "a.result.md", "a" * 198 + ".md", "ä" * 99 + ".md",
    ],
)  # fmt: skip
def test_temporaries_conflicts_and_our_own_files_are_not(name):
    """Editors, browsers, sync programs and what stands beside a result."""
    assert not is_task_name(name)


@given(st.text(max_size=60))
def test_no_name_is_too_strange_to_be_judged(name):
    """The answer is yes or no, and a yes is never hidden or too long."""
    if is_task_name(name):
        assert not name.startswith(".")
        assert len(os.fsencode(name)) <= MAX_NAME_BYTES


def test_a_layout_has_absolute_paths_only():
    """A relative one would depend on where the program was started."""
    with pytest.raises(ValueError, match="absolute"):
        Layout("brain", "/state", "/agents")


def test_every_place_is_inside_its_own_tree():
    """Tasks and logs in the brain, runtime state in the state folder, workspaces apart from both."""
    layout = Layout("/brain", "/state", "/agents")
    assert layout.relative(layout.pending) == "brain/tasks/pending"
    assert layout.ended("completed") == layout.completed
    assert layout.ended("failed") == layout.failed
    assert layout.journal.startswith("/state/")
    assert layout.attempt("t.a1.x").startswith("/state/")
    assert layout.workspace("t.a1.x").startswith("/agents/")
    assert all(path.startswith(("/brain/", "/state/")) for path in layout.folders())
    assert {layout.pending, layout.active, layout.completed, layout.failed, layout.control, layout.aside} <= set(
        layout.folders()
    )


def test_the_key_of_a_brain_is_that_of_its_real_path(tmp_path):
    """A brain reached through a link is the same brain; two brains have two keys."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert brain_key(str(tmp_path / "one")) == brain_key(str(tmp_path / "two"))
    assert brain_key(str(tmp_path)) != brain_key(str(tmp_path / "one"))
