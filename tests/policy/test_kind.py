"""The kind of a request, guessed from its words: a table of requests as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.policy.kind import kind_of

CASES = {
    "Fix the off-by-one in parser.py": "code",
    "Why does `load()` raise KeyError?": "code",
    "Refactor the session module and add tests": "code",
    "Implement an endpoint that lists users": "code",
    "Traceback (most recent call last):\n  File ...": "code",
    "Write a regex for ISO dates": "code",
    "Debug this:\n```\nfor x in y: pass\n```": "code",
    "Research the market for note apps, with sources": "research",
    "Find recent papers on retrieval and cite them": "research",
    "Survey the alternatives to Chroma": "research",
    "Analyse the tradeoffs of our pricing strategy": "analysis",
    "Assess the risks of moving to another cloud": "analysis",
    "Audit last month's spending": "analysis",
    "Rename the photos by date and move them into folders": "file_operations",
    "Find duplicates in ~/Downloads and delete them": "file_operations",
    "Convert all .heic files in this directory": "file_operations",
    "What is the capital of Peru?": "quick",
    "How many ounces are in a pound?": "quick",
    "Is 97 prime?": "quick",
    "Write a poem about the sea": None,
    "Plan my week": None,
    "continue": None,
    "yes, do that": None,
    "": None,
    "What should I say to my landlord about the broken heating, the noise and the rent that went up twice?": None,
}


@pytest.mark.parametrize(("text", "kind"), CASES.items())
def test_a_request_is_of_the_kind_its_words_tell(text, kind):
    """Where words of no kind outweigh the others, nothing is guessed."""
    assert kind_of(text) == kind


@given(st.text())
def test_any_text_has_a_kind_or_none(text):
    """Nothing in a text makes the guess fail."""
    assert kind_of(text) in {None, "code", "research", "analysis", "file_operations", "quick"}
