"""The codes of attempts: made from a key, never stored, and of one attempt only."""

import os
import stat

import pytest

from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.tokens import Tokens, is_token_of


@pytest.fixture
def layout(tmp_path) -> Layout:
    for name in ("root", "state", "work"):
        (tmp_path / name).mkdir()
    return Layout(root=str(tmp_path / "root"), state=str(tmp_path / "state"), work=str(tmp_path / "work"))


def test_a_code_is_of_one_attempt(layout):
    """The same each time, and of no other attempt."""
    code = Tokens(layout, Files()).of("t.a1.00000000")
    assert code == Tokens(layout, Files()).of("t.a1.00000000")
    assert is_token_of(layout, "t.a1.00000000", code)
    for attempt, wrong in [("t.a2.00000000", code), ("t.a1.00000000", code[:-1]), ("t.a1.00000000", "ü"), ("", "")]:
        assert not is_token_of(layout, attempt, wrong)


def test_without_a_key_no_code_counts(layout):
    """Nor is a key made by a question."""
    assert not is_token_of(layout, "t.a1.00000000", "")
    assert os.listdir(layout.state) == []


def test_only_the_owner_can_read_the_key(layout):
    """And it is no part of any code."""
    code = Tokens(layout, Files()).of("t.a1.00000000")
    (key,) = (os.path.join(layout.state, name) for name in os.listdir(layout.state))
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    with open(key, "rb") as handle:
        assert handle.read().hex() not in code


def test_a_damaged_key_is_made_anew(layout):
    """Old codes count no more; new ones do."""
    code = Tokens(layout, Files()).of("t.a1.00000000")
    (key,) = (os.path.join(layout.state, name) for name in os.listdir(layout.state))
    os.truncate(key, 7)
    assert not is_token_of(layout, "t.a1.00000000", code)
    again = Tokens(layout, Files()).of("t.a1.00000000")
    assert again != code
    assert is_token_of(layout, "t.a1.00000000", again)


def test_a_key_that_was_made_anew_is_used_at_once(layout):
    tokens = Tokens(layout, Files())
    before = tokens.of("t.a1.00000000")
    os.unlink(os.path.join(layout.state, "attempts.key"))
    other = Tokens(layout, Files()).of("t.a1.00000000")
    assert before != other == tokens.of("t.a1.00000000")
