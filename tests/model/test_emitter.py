"""YAML as this program writes it is read back equal by every reader."""

import math
from decimal import Decimal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from brain_daemon.model.emitter import emit, scalar
from brain_daemon.model.frontmatter import UNSEEN, Bounds, load
from brain_daemon.model.outcome import Status

WIDE = Bounds(head_bytes=10**6, depth=60, nodes=10**5)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
WORDS = st.sampled_from(
    [
        "yes",
        "No",
        "null",
        "~",
        "",
        "12:30",
        "0123",
        "1e3",
        "a: b",
        "- x",
        "# y",
        "<<",
        "=",
        "---",
        "a b ",
        "y",
        "0x1",
        ".inf",
    ]
)
SCALARS = st.one_of(TEXT, WORDS, st.integers(-(10**15), 10**15), st.booleans(), st.none(), st.floats(allow_nan=False))
KEYS = st.one_of(TEXT.filter(lambda key: key != "<<"), WORDS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@example({"a": [[1, [2]], [{"b": [{}]}], [], {}]})
@example({"a": [{"b": {"c": 1}, "d": 2}]})
@example({"e": 1e16, "f": 1e-7, "g": 1.5e300, "h": -0.0})
def test_what_is_written_is_read_back_equal_with_types_by_pyyaml(values):
    """safe_load of any values that were emitted gives them again."""
    assert yaml.safe_load(emit({"root": values}))["root"] == values


def as_text(value):
    """What `load` makes of a value: text, with empty properties left out."""
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [as_text(item) for item in value if item is not None]
    return value if isinstance(value, str) else scalar(value)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read_back_equal_by_our_own_reader(values, newline):
    """`load` gives the text of the same values, whatever the line ends."""
    text = emit({"root": values}, newline=newline)
    assert UNSEEN.search(text) is None
    got = load(text, bounds=WIDE, scalar=lambda _key, said, plain: None if plain and said == "null" else said)
    assert without_none(got["root"]) == as_text(values)


def without_none(value):
    """The same without None."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value if item is not None] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("claude_code", "claude_code"),
        ("the table says so", "the table says so"),
        ("2026-11-20T20:15:00Z", '"2026-11-20T20:15:00Z"'),
        ("Off", '"Off"'),
        ("a\nb\x1b\u202e\u2028\ud800é", '"a\\nb\\u001b\\u202e\\u2028\ufffdé"'),
        (Status.COMPLETED, "completed"),
        (True, "true"),
        (7, "7"),
        (12.4, "12.4"),
        (1e16, "1.0e+16"),
        (float("-inf"), "-.inf"),
        (Decimal("0.0045"), "0.0045"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("1E+2"), "100"),
        (Decimal("2.00"), "2"),
        (Decimal("NaN"), ".nan"),
        (None, "null"),
    ],
)
def test_a_scalar_stands_plain_only_where_nobody_can_misread_it(value, text):
    """Dates, switches and anything with a special character are quoted; hidden characters are escaped."""
    assert scalar(value) == text


def test_not_a_number_is_read_back_as_such():
    """YAML has a word for it."""
    assert math.isnan(yaml.safe_load(emit({"a": float("nan")}))["a"])


def test_the_layout_is_one_a_person_can_read():
    """Maps are blocks, lists of words stand on one line, lists of maps have dashes."""
    values = {
        "status": "completed",
        "files": ["a.txt", "b: c"],
        "usage": {"requests": 1},
        "attempts": [{"number": 1, "why": {}}],
        "none": [],
    }
    assert emit({"result": values}) == (
        "result:\n"
        "  status: completed\n"
        '  files: [a.txt, "b: c"]\n'
        "  usage:\n"
        "    requests: 1\n"
        "  attempts:\n"
        "    - number: 1\n"
        "      why: {}\n"
        "  none: []\n"
    )


def test_what_has_no_form_in_yaml_is_a_fault_of_the_caller():
    """Unknown types and keys no reader would find again are refused, not written wrongly."""
    with pytest.raises(TypeError, match="a bytes cannot be written as YAML"):
        emit({"a": b"x"})
    with pytest.raises(ValueError, match="a key of 2000 characters"):
        emit({"k" * 2000: 1})
