"""The words of a text that are worth looking up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.words import STOP_WORDS, apart, words_of


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How do we Roll back a release, and a release?", ["roll", "back", "release"]),
        ("what is it", ["what", "is", "it"]),
        ("x 7 y2", ["y2"]),
        ("日本語", ["日本", "本語"]),
        ("日", ["日"]),
        ("?!", []),
    ],
)
def test_words_are_folded_and_stand_once(question, expected):
    """Stop words only where there are no others; scripts without blanks by pairs."""
    assert words_of(question) == expected


@given(st.text(max_size=500))
def test_words_are_few_and_distinct(text):
    """However long the text, and whatever it holds."""
    found = words_of(text)
    assert len(found) == len(set(found)) <= 200
    assert all(word not in STOP_WORDS for word in found) or all(word in STOP_WORDS or len(word) == 1 for word in found)


def test_characters_of_scripts_without_blanks_are_set_apart():
    """Others stay as they are."""
    assert apart("plain text") == "plain text"
    assert apart("ab日本") == "ab 日  本 "
