"""Texts cut into passages that know their lines."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.passages import cut, front_matter_end, lines_of

lines = st.lists(
    st.text(st.sampled_from("ab # `~-日\t") | st.characters(exclude_characters="\n"), max_size=30)
    | st.sampled_from(["", "# H", "## I", "```", "x" * 3_000, "word " * 100]),
    max_size=30,
)


@given(lines, st.integers(0, 3))
def test_passages_hold_each_written_line_once_where_it_stands(written, start):
    """Cutting loses nothing but blank lines and lone headings, and every passage knows its first line."""
    found = list(cut("x.md", written, start))
    for passage in found:
        assert passage.text.split("\n")[0] in written[passage.line - 1]
        assert len(passage.text) < 3_000

    def telling(rows):
        return Counter(row.strip() for row in rows if row.strip() and not re.match(r" {0,3}#{1,6}[ \t]", row))

    short = [line for line in written[start:] if len(line) <= 1_200]
    held = telling(line for passage in found for line in passage.text.split("\n"))
    assert all(held[line] >= number for line, number in telling(short).items())


def test_a_passage_knows_the_headings_it_stands_under():
    """Outermost first; a heading in a code block is none."""
    text = lines_of(b"# A\n\na\n\n## B\n\n```\n# no heading\n```\n\n# C\n\nc\n")
    found = [(one.line, one.heading) for one in cut("x.md", text, 0)]
    assert found == [(1, "A"), (5, "A > B"), (11, "C")]


@pytest.mark.parametrize(
    ("data", "end"),
    [(b"---\na: b\n---\nx", 3), (b"---\na: b\n", 0), (b"x\n---\n", 0), (b"", 0), (b"---\r\n---\r\n", 2)],
)
def test_front_matter_ends_at_its_fence(data, end):
    """One that never ends is text."""
    assert front_matter_end(lines_of(data)) == end
