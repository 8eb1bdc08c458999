"""Reading what a program left behind, whatever that is: forms, functions, failures and bounds."""

import json
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.functions import Functions

from brain_daemon.adapters import expressions
from brain_daemon.adapters.expressions import MATCH_SECONDS, MAX_MATCHES, MAX_TIMED_OUT_MATCHES, RunFunctions, Work
from brain_daemon.adapters.reading import MAX_MESSAGE_CHARACTERS, TAIL_CHARACTERS, Reading, compile_rules
from brain_daemon.model.errors import UserError
from brain_daemon.model.expression import OWN_FUNCTIONS
from brain_daemon.model.interface import ErrorRule, OutputFormat, OutputRules
from brain_daemon.model.outcome import FailureKind, Usage

NOW = 1795205700.0  # 2026-11-20T20:15:00Z
SLOW_PATTERN = "(?:x|(a|aa)+)c"
SLOW_TEXT = ("xc" + "a" * 22 + "!") * 2000


def read(
    rules: OutputRules, stdout: bytes = b"", stderr: bytes = b"", exit_code: int | None = 0, signal: int | None = None
) -> Reading:
    return compile_rules(rules).read(stdout, stderr, exit_code, signal, now=NOW)


def found(expression: str, value: object) -> str:
    """What an expression finds in a JSON output, as text; the word `null` where it finds nothing."""
    rules = OutputRules(format=OutputFormat.JSON, ok="exit_code == `0`", text=f"to_string({expression})")
    reading = read(rules, json.dumps(value).encode())
    return reading.text if reading.ok else "null"


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_a_plain_program_that_exits_with_zero_gave_its_output_as_the_answer():
    """The short form: everything printed is the text, to the byte."""
    assert read(OutputRules(), b"HELLO\n") == Reading(ok=True, text="HELLO\n")


@pytest.mark.parametrize(
    ("exit_code", "signal", "kind"),
    [
        (1, None, FailureKind.PERMANENT),
        (2, None, FailureKind.PERMANENT),
        (75, None, FailureKind.TRANSIENT),
        (126, None, FailureKind.UNAVAILABLE),
        (127, None, FailureKind.UNAVAILABLE),
        (None, 9, FailureKind.TRANSIENT),
    ],
)
def test_an_exit_that_no_rule_explains_has_a_class_of_its_own(exit_code, signal, kind):
    """A program that fails will fail again; one that is missing, asks for patience or was killed is something else."""
    reading = read(OutputRules(), b"half", b"boom\n", exit_code, signal)
    assert (reading.ok, reading.text) == (False, "half")
    assert reading.failure is not None
    assert reading.failure.kind is kind
    assert reading.failure.message.endswith(": boom")


def test_a_rule_overrides_the_class_of_an_exit():
    """The author of the file knows what exit code 1 means for this program."""
    rules = OutputRules(errors=(ErrorRule(kind="rate_limit", when="exit_code == `1`", retry_after="'90s'"),))
    failure = read(rules, exit_code=1).failure
    assert failure is not None
    assert (failure.kind, failure.retry_after_seconds) == (FailureKind.RATE_LIMIT, 90.0)


def test_the_first_rule_that_holds_counts():
    """Rules are read from the top, and one without `when` holds always."""
    rules = OutputRules(
        errors=(
            ErrorRule(kind="auth", when="match(stderr, 'login')"),
            ErrorRule(kind="transient"),
            ErrorRule(kind="quota", when="exit_code == `1`"),
        )
    )
    kinds = [read(rules, b"", text, 1).failure.kind for text in (b"please login", b"whatever")]
    assert kinds == [FailureKind.AUTH, FailureKind.TRANSIENT]


def test_a_rule_without_a_message_uses_that_of_the_default_rule():
    """The message stands once in a file, beside the default class."""
    rules = OutputRules(
        format=OutputFormat.JSON,
        errors=(ErrorRule(kind="auth", when="out.code == `401`"), ErrorRule(kind="transient", message="out.why")),
    )
    failure = read(rules, b'{"code": 401, "why": "bad key"}', exit_code=1).failure
    assert failure is not None
    assert (failure.kind, failure.message) == (FailureKind.AUTH, "bad key")


def test_a_declared_success_beats_the_exit_code_both_ways():
    """The exit code alone proves nothing: some clients exit with 0 on errors and with odd codes on success."""
    rules = OutputRules(format=OutputFormat.JSON, ok="out.ok", text="out.text")
    assert read(rules, b'{"ok": true, "text": "yes"}', exit_code=7).ok
    assert not read(rules, b'{"ok": false, "text": "no"}', exit_code=0).ok


def test_a_run_without_its_declared_text_is_no_success():
    """Exit 0 and a good sign without the answer is what an interrupted client looks like."""
    rules = OutputRules(format=OutputFormat.JSON, ok="out.ok", text="out.text")
    reading = read(rules, b'{"ok": true}')
    assert reading.failure is not None
    assert (reading.failure.kind, reading.failure.message) == (
        FailureKind.TRANSIENT,
        "it exited with 0 but gave no result",
    )


def test_lines_that_are_not_json_are_skipped_and_counted():
    """Notices between the JSON lines of a client cost nothing but a warning."""
    rules = OutputRules(format=OutputFormat.JSONL, text="out[-1].text")
    reading = read(rules, b"Loading...\n" + lines({"text": "a"}, 17, {"text": "b"}) + b'{"cut": ')
    assert (reading.text, reading.warnings) == ("b", ("3 of 5 output lines were not JSON and were skipped",))


def test_json_with_noise_around_it_is_found():
    """A banner above the JSON is said and read past."""
    rules = OutputRules(format=OutputFormat.JSON, text="out.a.b")
    reading = read(rules, b'banner {\n{\n  "a": {"b": "c"}\n}\nbye\n')
    assert (reading.text, reading.warnings) == (
        "c",
        ("the output is not one JSON value; its last JSON object was read",),
    )


def test_the_last_json_object_on_standard_error_is_the_error():
    """Stack traces stand before it, and a repeated object has a word in front of it."""
    rules = OutputRules(errors=(ErrorRule(kind="turn_limit", when="err.code == `53`", message="err.message"),))
    trace = (
        b'Error {\n  at x (file) {\n status: 4\n}\n{"code": 1}\n[ERROR] {\n "code": 53,\n "message": "too many"\n}\n'
    )
    failure = read(rules, b"", trace, 53).failure
    assert failure is not None
    assert (failure.kind, failure.message) == (FailureKind.TURN_LIMIT, "too many")


@pytest.mark.parametrize(
    ("expression", "value", "result"),
    [
        ("match(out.t, 'a(.)c')", {"t": "abc axc"}, '["x"]'),
        ("match(out.t, 'a.c')", {"t": "abc axc"}, '["axc"]'),
        ("match(out.t, '(a)|(b)')", {"t": "b"}, '[null,"b"]'),
        ("match(out.t, 'z')", {"t": "abc"}, "null"),
        ("match(out.t, out.t)", {"t": "("}, "null"),
        ("match(out.none, 'z') || out.t", {"t": "abc"}, "abc"),
        ("match_all(out.t, 'a(.)c')", {"t": "abc axc"}, '[["b"],["x"]]'),
        ("total(match_all(out.t, '([0-9.]+k?) sent')[*].num([0]))", {"t": "1k sent, 20 sent"}, "1020"),
        ("match_all(out.t, 'z')", {"t": "abc"}, "null"),
        ("match_all(out.none, 'z')", {}, "null"),
        ("minus(out.a, out.b)", {"a": 5, "b": 7}, "-2"),
        ("minus(out.a, out.b)", {"a": 5}, "null"),
        ("mod(out.a, `256`)", {"a": 429}, "173"),
        ("mod(out.a, `0`)", {"a": 429}, "null"),
        ("mod(out.a, `256`)", {"a": "429"}, "null"),
        ("parse_json(out.t).a", {"t": '{"a": 7}'}, "7"),
        ("parse_json(out.t)", {"t": "{"}, "null"),
        ("parse_json(out.none)", {}, "null"),
        (
            "after_last(out.l, &type == 'x')[].n",
            {"l": [{"type": "x"}, {"n": 1}, {"type": "x"}, {"n": 2}, {"n": 3}]},
            "[2,3]",
        ),
        ("after_last(out.l, &type == 'x')", {"l": [{"n": 1}]}, '[{"n":1}]'),
        ("after_last(out.none, &type)", {}, "null"),
        (
            "last_of_each(out.l, &id)[].n",
            {"l": [{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"n": 3}, {"id": "a", "n": 4}]},
            "[4,2]",
        ),
        ("last_of_each(out.none, &id)", {}, "null"),
        ("total(out.l)", {"l": [1, None, "2", 2.5, True, [9]]}, "3.5"),
        ("total(out.l)", {"l": []}, "null"),
        ("total(out.l)", {"l": [None]}, "null"),
        ("total(out.none)", {}, "null"),
        ("num(out.t)", {"t": "9,312 input"}, "9312"),
        ("num(out.t)", {"t": " 1.2k sent"}, "1200"),
        ("num(out.t)", {"t": "$0.03"}, "0.03"),
        ("num(out.t)", {"t": "3M"}, "3000000"),
        ("num(out.t)", {"t": "12px"}, "null"),
        ("num(out.t)", {"t": "none"}, "null"),
        ("num(out.t)", {"t": 5}, "5"),
        ("num(out.t)", {"t": True}, "null"),
        ("num(out.t)", {"t": "1e999"}, "null"),
        ("sort_by(out.l, &a)", {"l": [{"a": 1}, {"a": "x"}]}, "null"),
        ("sum(out.l)", {"l": ["x"]}, "null"),
    ],
)
def test_each_function_answers_null_where_there_is_nothing(expression, value, result):
    """Nothing given, nothing found and an error are one thing: null."""
    assert found(expression, value) == result


def test_the_functions_checked_are_the_functions_there():
    """What model/expression.py lets through exists here, and the other way round."""
    ours = RunFunctions([]).FUNCTION_TABLE
    assert {
        name: len(ours[name]["signature"]) for name in ours.keys() - Functions.FUNCTION_TABLE.keys()
    } == OWN_FUNCTIONS


def test_a_pattern_that_would_take_for_ever_is_given_up_and_said():
    """Nested repeats meet a hostile text: the reading ends in time, as no match."""
    rules = OutputRules(text=f"to_string(match(stdout, '{SLOW_PATTERN}'))")
    started = time.process_time()
    reading = read(rules, SLOW_TEXT.encode())
    assert time.process_time() - started < MATCH_SECONDS * 8
    assert reading.text == "null"
    assert "was given up" in reading.warnings[0]


def test_many_slow_patterns_are_bounded_together():
    """Twenty rules with a hostile pattern cost no more than the first few of them."""
    patterns = [f"{SLOW_PATTERN}|never{n}" for n in range(20)]
    rules = OutputRules(
        errors=tuple(ErrorRule(kind="auth", when=f"match(stdout, '{pattern}')") for pattern in patterns)
    )
    started = time.process_time()
    reading = read(rules, SLOW_TEXT.replace("xc", "").encode(), exit_code=1)
    assert time.process_time() - started < MATCH_SECONDS * MAX_TIMED_OUT_MATCHES * 4
    assert len(reading.warnings) == MAX_TIMED_OUT_MATCHES
    assert reading.failure is not None
    assert reading.failure.kind is FailureKind.PERMANENT


def test_matches_are_bounded_in_number():
    """A pattern that matches everywhere fills no memory."""
    rules = OutputRules(text="to_string(length(match_all(stdout, 'x')))")
    assert read(rules, b"x" * (MAX_MATCHES + 5)).text == str(MAX_MATCHES)


def test_expressions_together_have_an_end(monkeypatch):
    """A big output asked in a foolish way: the figure is given up and said, and an error rule still gets its answer."""
    monkeypatch.setattr(expressions, "Work", lambda warnings: Work(warnings, 0.05))
    rules = OutputRules(
        format=OutputFormat.JSON,
        ok="out.ok",
        usage=(("input_tokens", "total(map(&total(map(&[0], @)), out.rows))"),),
        errors=(ErrorRule(kind="quota", when="out.why == 'spent'"),),
    )
    rows = [[[n] for n in range(500)] for _ in range(400)]
    reading = read(rules, json.dumps({"rows": rows, "ok": False, "why": "spent"}).encode())
    assert reading.usage.input_tokens is None
    assert reading.warnings == ("reading the output was given up after 0.05 s; some values are missing",)
    assert reading.failure is not None
    assert reading.failure.kind is FailureKind.QUOTA


def test_error_patterns_see_only_the_end():
    """A task about rate limits prints those words long before it fails for another reason."""
    rules = OutputRules(errors=(ErrorRule(kind="rate_limit", when="match(stdout, 'rate limit')"),))
    early, late = b"rate limit" + b"." * TAIL_CHARACTERS, b"." * TAIL_CHARACTERS + b"rate limit"
    kinds = [read(rules, text, exit_code=1).failure.kind for text in (early, late)]
    assert kinds == [FailureKind.PERMANENT, FailureKind.RATE_LIMIT]


@pytest.mark.parametrize(
    ("value", "resets_at"),
    [
        (1795217810, 1795217810.0),
        (1795217810000, 1795217810.0),
        ("1795217810", 1795217810.0),
        ("2026-11-20T20:15:00Z", 1795205700.0),
        ("2026-11-20T21:15:00+01:00", 1795205700.0),
        ("2026-11-20T21:15:00", 1795209300.0),
        ("11:29 PM", 1795217400.0),
        ("8h44m7s", NOW + 31447),
        ("soon", None),
        ("nan", None),
        (0, None),
        (-5, None),
        (1e300, None),
        (None, None),
        (True, None),
        ([1], None),
    ],
)
def test_a_reset_is_an_instant_or_nothing(value, resets_at):
    """The forms that model/reset_time.py knows; a guess would park a task until the wrong day."""
    rules = OutputRules(format=OutputFormat.JSON, errors=(ErrorRule(kind="quota", resets_at="out.at"),))
    failure = read(rules, json.dumps({"at": value}).encode(), exit_code=1).failure
    assert failure is not None
    assert failure.resets_at == resets_at


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (2, 2.0),
        ("2", 2.0),
        ("41s", 41.0),
        ("8h44m7s", 31447.0),
        ("6m0s", 360.0),
        ("41.5s", 41.5),
        ("2 days 17 hours 14 minutes", 234840.0),
        ("Fri, 20 Nov 2026 20:17:00 GMT", 120.0),
        ("Fri, 20 Nov 2026 20:00:00 GMT", 0.0),
        ("soon", None),
        (-1, None),
        (None, None),
    ],
)
def test_a_retry_after_is_a_duration_or_nothing(value, seconds):
    """Seconds or a duration, as the vendors write them."""
    rules = OutputRules(format=OutputFormat.JSON, errors=(ErrorRule(kind="rate_limit", retry_after="out.after"),))
    failure = read(rules, json.dumps({"after": value}).encode(), exit_code=1).failure
    assert failure is not None
    assert failure.retry_after_seconds == seconds


USAGE_RULES = OutputRules(
    format=OutputFormat.JSON,
    text="out.text",
    usage=tuple(
        (name, f"out.{name}")
        for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "requests")
    ),
    cost_usd="out.cost",
    model="out.model",
    client_session="out.session",
)


def test_every_declared_figure_is_read():
    """Each key of `usage` reaches its field, and a float's noise does not reach the ledger."""
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "requests")
    value = dict(zip(names, (1, 2, 3.0, 4, 5), strict=True)) | {
        "text": "t",
        "cost": 0.004542000000000001,
        "model": "m",
        "session": "s",
    }
    reading = read(USAGE_RULES, json.dumps(value).encode())
    assert reading.usage == Usage(
        input_tokens=1, cached_input_tokens=2, output_tokens=3, reasoning_tokens=4, requests=5
    )
    assert (str(reading.cost_usd), reading.model, reading.client_session, reading.warnings) == (
        "0.004542",
        "m",
        "s",
        (),
    )


def test_a_figure_that_is_missing_or_no_figure_is_unknown_and_said():
    """An unknown cost stays unknown; it is never a silent zero."""
    value = {"text": "t", "input_tokens": -1, "output_tokens": "many", "requests": True, "cost": "free"}
    reading = read(USAGE_RULES, json.dumps(value).encode())
    assert (reading.usage, reading.cost_usd) == (Usage(), None)
    assert len(reading.warnings) == 6
    assert "`out.cached_input_tokens` (cached_input_tokens) found nothing in the output" in reading.warnings


def test_a_figure_that_is_said_to_be_none_is_unknown_without_a_word():
    """Some programs tell cached tokens only where there are some; `|| 'none'` in their file says that this is well."""
    rules = OutputRules(
        format=OutputFormat.JSON,
        usage=(("cached_input_tokens", "out.cached || 'none'"), ("output_tokens", "out.o || 'none'")),
        cost_usd="out.usd || 'none'",
    )
    reading = read(rules, b'{"o": 7}')
    assert (reading.usage, reading.cost_usd, reading.warnings) == (Usage(output_tokens=7), None, ())


@pytest.mark.parametrize("cost", [-0.5, "-1", [1], {"usd": 1}, True, 1e300])
def test_what_is_no_price_is_no_cost(cost):
    """Only a number of dollars counts as one."""
    reading = read(USAGE_RULES, json.dumps({"text": "t", "cost": cost}).encode())
    assert reading.cost_usd is None


def test_a_failed_run_keeps_what_it_used():
    """Tokens that were burnt are charged, whatever came of them, and what is missing then is no news."""
    reading = read(USAGE_RULES, b'{"input_tokens": 9, "cost": "0.25"}', exit_code=1)
    assert (reading.usage.input_tokens, reading.cost_usd, reading.warnings) == (9, Decimal("0.25"), ())


def test_the_message_is_the_end_of_what_was_said_and_safe_to_print():
    """Bounded, without escape sequences, from standard error first."""
    noise = b"".join(b"line %d\n" % n for n in range(1000))
    failure = read(OutputRules(), b"out", noise + b"\x1b[31mred\x1b[0m \x07end\n\n", 1).failure
    assert failure is not None
    assert failure.message.endswith("red \\x07end")
    assert len(failure.message) <= MAX_MESSAGE_CHARACTERS + len("exit code 1: ")
    assert "line 900\n" not in failure.message


def test_a_program_that_says_nothing_still_gets_a_message():
    """The exit code is all there is to say; JSON lines on standard output are not for people."""
    messages = [
        read(OutputRules(), exit_code=3).failure.message,
        read(OutputRules(format=OutputFormat.JSONL), b'{"a": 1}\n', exit_code=3).failure.message,
        read(OutputRules(), b"only here\n", exit_code=3).failure.message,
    ]
    assert messages == ["exit code 3", "exit code 3", "exit code 3: only here"]


def test_text_that_no_file_can_hold_is_made_whole():
    """A lone surrogate spelled by a JSON escape, bytes that are not UTF-8 and a byte order mark all become plain text."""
    rules = OutputRules(format=OutputFormat.JSON, text="out.t")
    assert read(rules, b'{"t": "a\\ud800b \\ud83d\\ude00"}').text.encode() == "a?b 😀".encode()
    assert read(OutputRules(), b"\xef\xbb\xbfa\xffb").text == "a\ufffdb"


def test_numbers_are_an_answer_and_lists_are_none():
    """A text expression that finds a number is that number; one that finds a list asked for the wrong thing."""
    rules = OutputRules(format=OutputFormat.JSON, text="out.t")
    assert read(rules, b'{"t": 42}').text == "42"
    assert not read(rules, b'{"t": [1]}').ok


def test_an_output_of_ten_thousand_lines_is_read_quickly():
    """Big outputs are normal for agents that work for an hour."""
    rules = OutputRules(
        format=OutputFormat.JSONL, ok="out[-1].done", text="out[-1].text", usage=(("input_tokens", "total(out[].n)"),)
    )
    many = lines(*({"type": "step", "n": 1, "pad": "x" * 100} for _ in range(10_000)), {"done": True, "text": "end"})
    started = time.process_time()
    reading = read(rules, many)
    assert (reading.text, reading.usage.input_tokens) == ("end", 10_000)
    assert time.process_time() - started < 60


def test_deeply_nested_output_is_no_error_of_ours():
    """Ten thousand brackets in the output or on standard error are noise like any other."""
    rules = OutputRules(format=OutputFormat.JSON, ok="out.ok")
    reading = read(rules, b"[" * 10_000, b'{"a":' * 10_000, 1)
    assert not reading.ok


def test_braces_without_end_on_standard_error_cost_little():
    """Text full of false starts is given up after so many of them."""
    started = time.process_time()
    read(OutputRules(), b"", b"{\n" * 200_000, 1)
    assert time.process_time() - started < 60


@pytest.mark.parametrize(
    "rules", [OutputRules(ok="out["), OutputRules(errors=(ErrorRule(kind="auth", when="nope(out)"),))]
)
def test_rules_that_do_not_compile_are_refused_by_name(rules):
    """The expression stands in the message, for those who build rules without a file."""
    with pytest.raises(UserError, match=r"Cannot read output with `(out\[|nope\(out\))`"):
        compile_rules(rules)


@given(
    stdout=st.binary(max_size=400),
    stderr=st.binary(max_size=400),
    exit_code=st.none() | st.integers(0, 255),
    form=st.sampled_from(OutputFormat),
)
def test_any_bytes_whatever_give_a_reading(stdout, stderr, exit_code, form):
    """No output makes the reader fail, and a failure is there exactly when the run was not good."""
    rules = OutputRules(
        format=form,
        text="out.text || stdout",
        usage=(("input_tokens", "total(out[].n)"),),
        cost_usd="num(stdout)",
        errors=(ErrorRule(kind="auth", when="match(stderr, 'a+')", message="err.m"),),
    )
    reading = read(rules, stdout, stderr, exit_code, 9 if exit_code is None else None)
    assert reading.ok == (reading.failure is None)
    assert reading.text.encode().decode() == reading.text
    assert reading.ok == (exit_code == 0)
