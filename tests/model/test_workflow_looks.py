"""Faulty workflow files of which all is said at once, and conditions that look into an output."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.expression import fault_in, looked_into
from brain_daemon.model.workflow_form import read_workflow
from brain_daemon.model.workflow_text import escaped_where_alone, template, unpacked


def places(text: str, name: str = "w.yaml") -> list[str]:
    return [fault.place for fault in read_workflow(name, text.encode(), {"echo"}).faults]


MANY = """\
steps:
  - {id: a, prompt: 'a { of {b}', agent: nobody}
  - {id: b, prompt: '{missing}', on_error: perhaps, timeout: soon}
  - {id: c, prompt: '{item}', foreach: '{{', needs: [1, ''], promt: x}
  - {id: d, if: [a], prompt: [x], depends_on: [nowhere]}
  - {id: e}
"""


def test_a_brace_hides_no_other_fault() -> None:
    """What a form cannot hold is told beside what is wrong with the names, the keys and the order, each at its place."""
    assert sorted(places("params: []\n" + MANY)) == sorted(
        [
            "steps[0].prompt",
            "steps[0].agent",
            "steps[1].prompt",
            "steps[1].on_error",
            "steps[1].timeout",
            "steps[2].for_each",
            "steps[2].depends_on[1]",
            "steps[2].promt",
            "steps[3].when",
            "steps[3].prompt",
            "steps[3].depends_on",
            "steps[4].prompt",
            "steps[2].depends_on[0]",
        ]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps:\n  - {id: '?', prompt: '{b} {'}\n", ["steps[0].id", "steps[0].prompt"]),
        ("steps:\n  - {id: a, prompt: '{o} {'}\n  - {id: b, prompt: x, output: '?'}\n", None),
        ("steps:\n  a: {prompt: '{'}\n  b: {prompt: '{b}'}\n", ["steps", "steps[0].prompt", "steps[1].prompt"]),
    ],
)
def test_what_a_fault_may_have_caused_is_not_told(text: str, expected: list[str] | None) -> None:
    """Without a step's name or an output's, what uses them cannot be judged."""
    expected = ["steps[0].prompt", "steps[1].output"] if expected is None else expected
    assert sorted(places(text)) == expected


@given(st.text("{}a. \n", max_size=30))
def test_a_text_with_its_lone_braces_doubled_is_a_template(text: str) -> None:
    """With the names it had; a text that is one already stays as it is."""
    mended = escaped_where_alone(text)
    found = template(mended)
    try:
        assert template(text) == found
        assert mended == text
    except ValueError:
        assert mended != text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        (' [1, "x"]\n', [1, "x"]),
        ("7", "7"),
        ("true", "true"),
        ("{a", "{a"),
        ("[" * 100_000, "[" * 100_000),
        (["x"], ["x"]),
        (None, None),
    ],
)
def test_only_an_object_or_a_list_is_unpacked(value: object, expected: object) -> None:
    """A number stays the text it is, so that comparing it means what it always meant."""
    assert unpacked(value) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("js", set()),
        ("js.score > `5`", set()),
        ("js[0].a", {("js",)}),
        ("js[*].a", {("js",)}),
        ("js[?a > `1`]", {("js",)}),
        ("js[].a", {("js",)}),
        ("js[1:2]", {("js",)}),
        ("js.*", {("js",)}),
        ("js | [0]", set()),
        ("[0]", set()),
        ("parse_json(js).a[0]", set()),
        ("parse_json(js[0]).a[0] == b[1]", {("js",), ("b",)}),
        ("length(steps.x.output[0]) > `1` || contains(b, 'y')", {("steps", "x", "output")}),
        ("js[", set()),
    ],
)
def test_an_expression_tells_where_it_looks_for_items(expression: str, expected: set) -> None:
    """What is no JMESPath looks into nothing."""
    assert looked_into(expression) == expected


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("js.score > 5", "`5` is not expected (a number is written between backticks: `5`)"),
        ("js.score > 5 && b", "`5 && b` is not expected (a number is written between backticks: `5`)"),
        ("js.score >", "it ends too early"),
    ],
)
def test_a_bare_number_is_told_how_it_is_written(expression: str, said: str) -> None:
    """JMESPath wants backticks, and nobody expects that."""
    assert said in str(fault_in(expression, None))
