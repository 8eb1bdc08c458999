"""Reading what others may have replaced: nothing waits for ever, nothing is followed, nothing is read without end."""

import os

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.store.reading import read_regular


def test_a_file_is_read_and_a_missing_one_is_empty(tmp_path):
    """The two usual answers."""
    (tmp_path / "x").write_bytes(b"text")
    assert read_regular(str(tmp_path / "x")) == b"text"
    assert read_regular(str(tmp_path / "y")) == b""


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/hostname", path)])
def test_what_is_no_regular_file_is_an_error_at_once(tmp_path, make):
    """A FIFO would be waited for, a link would lead elsewhere."""
    make(tmp_path / "x")
    with pytest.raises(StorageError, match="Move it away"):
        read_regular(str(tmp_path / "x"))


def test_a_file_over_the_limit_is_an_error_and_not_read(tmp_path):
    """A sparse file of terabytes costs nothing."""
    with open(tmp_path / "x", "wb") as handle:
        handle.truncate(1 << 40)
    with pytest.raises(StorageError, match="larger"):
        read_regular(str(tmp_path / "x"), 1000)
