"""Text from outside holds nothing that moves, hides or forges once it is cleaned."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brain_daemon.model.cleaning import cell, clean_line, clean_text

hostile = st.text(
    st.sampled_from(
        "ab|\\<[!`]() \t\n\r\x00\x07\x1b\x9b[0;31m\x85\u00ad\u061c\u200b\u200c\u200d\u202e\u2028\u2066\ufe0f\ufeff"
    )
    | st.characters()
    | st.sampled_from("\udc80\udfff\U000e0041\U000e0101👩😀سमक"),
    max_size=60,
)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ("plain", "plain"),
        ("two\nlines\r\nand\tmore", "two lines and more"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07x", r"\x1b]0;title\x07x"),
        ("\x1b]52;c;ZXZpbA==\x1b\\", r"\x1b]52;c;ZXZpbA==\x1b" + "\\"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x1b[\x1b[0m0mjoined", r"\x1b[0mjoined"),
        ("invoice\u202efdp.exe", r"invoice\u202efdp.exe"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("pay\u200bpal", r"pay\u200bpal"),
        ("a\u200db", r"a\u200db"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("soft\u00adhyphen", r"soft\xadhyphen"),
        ("\udcff", r"\udcff"),
        ("a\u2028b\x85c\x0bd", "a b c d"),
        ("x\ufe0f\ufe0e", "x\ufe0f" + r"\ufe0e"),
        ("\ufeffbom", r"\ufeffbom"),
        ("می\u200cشود", "می\u200cشود"),
        ("👩\u200d💻 1\ufe0f\u20e3", "👩\u200d💻 1\ufe0f\u20e3"),
    ],
)
def test_a_line_shows_what_would_act_on_a_terminal(raw, line):
    """Escape sequences, reordering and invisible characters become visible; colours go; letters and emoji stay."""
    assert clean_line(raw) == line


def test_a_text_keeps_its_lines_and_tabs():
    """Newlines and tabs are content; carriage returns become newlines, so that no line overwrites another."""
    assert clean_text("a\tb\r\n10%\r20%\r\r\nend\n") == "a\tb\n10%\n20%\nend\n"


def test_a_text_never_splits_where_it_shows_no_newline():
    """Only a newline ends a line: form feeds and the separators of Unicode are shown."""
    assert clean_text("a\x0cb\u2028c\x1cd").splitlines() == [r"a\x0cb\u2028c\x1cd"]


def test_clean_text_is_returned_as_it_is():
    """What is clean is not copied."""
    text = "Ünïcödé, 日本語 and code: f(x) → y\n" * 10
    assert clean_text(text) is text


@pytest.mark.parametrize(
    ("raw", "limit", "line"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abc  defg", 6, "abc d…"),
        ("abcd efgh", 6, "abcd…"),
        ("ab", 1, "…"),
    ],
)
def test_a_long_line_is_cut_with_an_ellipsis(raw, limit, line):
    """The cut and its mark fit the limit."""
    assert clean_line(raw, limit) == line


@given(hostile)
@example("\x1b[\x1b[0m0m")
@example("x\ufe0f\x1b[m\ufe0f")
def test_cleaning_is_total_and_settles_at_once(raw):
    """No text breaks it, what comes out can be encoded and printed, and a second cleaning changes nothing."""
    text, line = clean_text(raw), clean_line(raw, 40)
    assert clean_text(text) == text
    assert clean_line(line, 40) == line
    assert len(line) <= 40
    for out, allowed in ((text, "\n\t"), (line, "")):
        out.encode("utf-8")
        assert not [c for c in out if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} and c not in allowed]
        assert not re.search("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e00ff]", out)


def cells(row: str) -> list[str]:
    """The cells of a markdown table row as GitHub reads it: a backslash takes the next character with it."""
    return re.findall(r"((?:\\.|[^|\\]|\\\Z)*)\|", row)


@given(st.lists(hostile, min_size=1, max_size=4))
@example(["a\\", "b|c", "\\|", "\\\\|"])
def test_a_row_has_as_many_cells_as_were_put_in(texts):
    """No text adds or joins cells, whatever bars and backslashes it holds."""
    row = "".join(cell(text) + "|" for text in texts)
    assert len(cells(row)) == len(texts)
    assert "\n" not in row


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),
        (r"C:\dir", r"C:\dir"),
        ("ends \\", r"ends \\"),
        ("<img src=x>", r"\<img src=x>"),
        ("![alt](http://x)", r"!\[alt](http://x)"),
        ("[link](x)", "[link](x)"),
    ],
)
def test_a_cell_escapes_only_what_a_table_would_read(raw, shown):
    """Bars, tags and images are disarmed; the rest of the text reads as it was written."""
    assert cell(raw) == shown
