"""Day files roll before they get long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.record.day_file import MAX_ROWS, Part, file_name, place, read_name


@pytest.mark.parametrize(
    ("part", "suffix", "name"),
    [(1, "csv", "2026-11-20.csv"), (2, "csv", "2026-11-20.2.csv"), (12, "jsonl", "2026-11-20.12.jsonl")],
)
def test_a_part_has_one_name_and_the_name_one_part(part: int, suffix: str, name: str):
    """The name is read back as it was made."""
    assert file_name("2026-11-20", part, suffix) == name
    assert read_name(name) == ("2026-11-20", part)


@pytest.mark.parametrize(
    "name", ["2026-11-20.1.csv", "2026-11-20.0.csv", "notes.csv", "2026-11-20", ".2026-11-20.csv", "2026-11-20.02.csv"]
)
def test_another_name_is_no_day_file(name: str):
    """People may keep files beside ours."""
    assert read_name(name) is None


@pytest.mark.parametrize(
    ("counts", "adding", "parts"),
    [
        ((), 1, (Part(1, 1),)),
        ((), 0, ()),
        ((999,), 1, (Part(1, 1),)),
        ((1000,), 1, (Part(2, 1),)),
        ((1000, 7), 2, (Part(2, 2),)),
        ((900,), 300, (Part(1, 100), Part(2, 200))),
        ((1000,), 2100, (Part(2, 1000), Part(3, 1000), Part(4, 100))),
        ((1200,), 1, (Part(2, 1),)),
    ],
)
def test_rows_go_where_there_is_room(counts: tuple[int, ...], adding: int, parts: tuple[Part, ...]):
    """The last part is filled, then the next begins."""
    assert place(counts, adding) == parts


@given(st.lists(st.integers(0, MAX_ROWS), max_size=5), st.integers(0, 5000))
def test_every_row_has_a_place_and_no_part_overflows(counts: list[int], adding: int):
    """Nothing is lost, whatever the counts."""
    parts = place(counts, adding)
    assert sum(part.rows for part in parts) == adding
    for part in parts:
        before = counts[part.number - 1] if part.number <= len(counts) else 0
        assert 0 < part.rows <= MAX_ROWS - before
