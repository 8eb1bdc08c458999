"""JMESPath expressions are judged before they run, since a mistake in one would be null for ever."""

import pytest

from brain_daemon.model.expression import fault_in


@pytest.mark.parametrize(
    "expression",
    [
        "out[?type == 'result'] | [-1].is_error == `false`",
        "total(out[?type == 'result'] | [-1].usage.[input_tokens, cache])",
        "join('', after_last(out, &type == 'tool_use')[?type == 'text'].part.text)",
        "total(values(out.stats.models)[].tokens.prompt)",
        "keys(out)[0] || exit_code == `1` && !signal",
        "not_null(err.a, out.b, stderr)",
        "{a: out, b: stderr}.a",
        "out[1:2].x",
        "out[].x | @ | [0]",
        "num(match(stdout, '([0-9]+)') | [0])",
        "match(stdout, out.pattern)",
        "!(out.error)",
    ],
)
def test_what_can_be_evaluated_has_no_fault(expression):
    """The expressions that real clients need pass."""
    assert fault_in(expression) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("out[", "at character 5: it ends too early"),
        ("out ]", "at character 5: `]` is not expected"),
        ("out == `x", "at character 8: Unclosed ` delimiter"),
        ("", "cannot be empty"),
        ("foo(out)", "there is no function `foo`; ours are match, match_all, parse_json"),
        ("out[?nope(@)]", "there is no function `nope`"),
        ("match(stdout)", "`match` takes 2 arguments, 1 were given"),
        ("keys(out, err)", "`keys` takes 1 arguments, 2 were given"),
        ("not_null()", "`not_null` takes 1 arguments, 0 were given"),
        ("match(stdout, '(')", "the regular expression `(` does not compile: missing )"),
        ("!out.error", "`!` takes only the name beside it"),
        ("result.text", "`result` is not one of out, err, stdout, stderr, exit_code, signal"),
        ("total(usage.[a, b])", "`usage` is not one of"),
        ("out.a || null", "`null` is not one of"),
        ("{a: out, b: bad}", "`bad` is not one of"),
        ("!(" * 400 + "out" + ")" * 400, "nested too deeply"),
        ("out" + " " * 5_000, "it has 5,003 characters, and 4,096 are allowed"),
    ],
)
def test_a_mistake_is_told_with_its_place(expression, words):
    """Syntax, misspelt functions, wrong arguments, bad patterns, a forgotten `out.` and too many brackets."""
    assert words in str(fault_in(expression))
