"""What an agent left in its out/ folder: regular files that git can hold, within the limit."""

import os

from brain_daemon.workspace.scratch import collect_out, discard


def test_files_that_fit_are_kept_in_order_of_their_names(tmp_path):
    """Folders below out/ are kept with their names."""
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "b.txt").write_text("b")
    (tmp_path / "out" / "sub" / "a.txt").write_text("a")
    assert collect_out(str(tmp_path), 100) == (("b.txt", "sub/a.txt"), ())


def test_no_folder_is_nothing_kept(tmp_path):
    """Most agents leave nothing."""
    assert collect_out(str(tmp_path), 100) == ((), ())


def test_links_git_folders_odd_names_and_what_is_too_much_are_left_and_said(tmp_path):
    """None of these may get into a commit, and none stops the others."""
    out = tmp_path / "out"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "config").write_text("x")
    (out / "new\nline").write_text("x")
    (out / "large").write_bytes(b"x" * 101)
    (out / "fine").write_text("x")
    os.symlink("/etc/hostname", out / "link")
    with open(os.fsencode(out) + b"/bad\xff", "wb") as handle:
        handle.write(b"x")
    kept, said = collect_out(str(tmp_path), 100)
    assert kept == ("fine",)
    assert all(name in said[0] for name in ("link", "large", "config"))


def test_a_discarded_folder_is_gone_and_a_missing_one_no_error(tmp_path):
    """Tidying up is never an error."""
    (tmp_path / "w" / "deep").mkdir(parents=True)
    discard(str(tmp_path / "w"))
    discard(str(tmp_path / "w"))
    assert not (tmp_path / "w").exists()
