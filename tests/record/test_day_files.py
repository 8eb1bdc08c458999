"""Day files on disk: parts of a thousand rows, and nothing taken from memory that the disk has changed."""

import os

import pytest

from brain_daemon.record.day_file import MAX_ROWS
from brain_daemon.record.day_files import DayFiles
from brain_daemon.store.files import Files

DAY = "2026-11-20"


@pytest.fixture
def days(tmp_path):
    return DayFiles(str(tmp_path), "csv", lambda data: data.count(b"\n"), Files())


def rows(existing: bytes, first: int, last: int, _path: str) -> bytes:
    return existing + b"".join(b"%d\n" % number for number in range(first, last))


def test_a_day_begins_with_one_part(days, tmp_path):
    """Its path is known before it exists."""
    assert days.parts(DAY) == [str(tmp_path / f"{DAY}.csv")]
    assert days.read(days.parts(DAY)[0]) == b""
    assert days.all_paths() == []


def test_rows_go_on_where_the_last_part_ends(days, tmp_path):
    """A part that is full is never written again."""
    days.add(DAY, MAX_ROWS - 1, rows)
    first = tmp_path / f"{DAY}.csv"
    written = days.add(DAY, 3, rows)
    assert [os.path.basename(path) for path, _ in written] == [f"{DAY}.csv", f"{DAY}.2.csv"]
    assert first.read_bytes().endswith(b"998\n0\n")
    assert (tmp_path / f"{DAY}.2.csv").read_bytes() == b"1\n2\n"
    before = os.stat(first).st_mtime_ns
    days.add(DAY, 2 * MAX_ROWS, rows)
    assert os.stat(first).st_mtime_ns == before
    assert sum(path.read_bytes().count(b"\n") for path in tmp_path.iterdir()) == 3 * MAX_ROWS + 2
    assert [os.path.basename(path) for path in days.all_paths()] == [
        f"{DAY}.csv",
        f"{DAY}.2.csv",
        f"{DAY}.3.csv",
        f"{DAY}.4.csv",
    ]


def test_what_somebody_else_has_changed_is_read_again(days, tmp_path):
    """Another recorder, the person, git: the disk is the truth, not what was kept in memory."""
    days.add(DAY, 1, rows)
    path = tmp_path / f"{DAY}.csv"
    path.write_bytes(b"theirs\n")
    days.add(DAY, 1, rows)
    assert path.read_bytes() == b"theirs\n0\n"
    path.unlink()
    days.add(DAY, 1, rows)
    assert path.read_bytes() == b"0\n"


def test_nothing_to_add_writes_nothing(days, tmp_path):
    """No empty file appears."""
    assert days.add(DAY, 0, rows) == []
    assert list(tmp_path.iterdir()) == []


def test_parts_are_listed_in_the_order_of_their_numbers(days, tmp_path):
    """Part 10 comes after part 9, and strangers are passed over."""
    for name in (f"{DAY}.csv", *(f"{DAY}.{number}.csv" for number in range(2, 12)), "notes.csv", f"{DAY}.json"):
        (tmp_path / name).write_bytes(b"x\n")
    listed = [os.path.basename(path) for path in days.all_paths()]
    assert listed == [f"{DAY}.csv", *(f"{DAY}.{number}.csv" for number in range(2, 12))]
