"""usage.md is read by people, by our reader and by plain python-frontmatter alike."""

import frontmatter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cleaning import clean_line
from brain_daemon.record.usage import (
    Finding,
    InterfaceUsage,
    QuotaUse,
    UsageView,
    findings_from,
    findings_to,
    parse,
    render,
)

VIEW = UsageView(
    updated=1795205704.0,
    day="2026-11-20",
    state="running",
    interfaces=(
        InterfaceUsage(name="upper", messages_today=200, requests_today=200),
        InterfaceUsage(
            name="claude_code",
            messages_today=12,
            requests_today=31,
            tokens_today=48210,
            limit_remaining=1488,
            quota_remaining=0,
            last_error="rate limit: try again | later",
            status="limited",
            breaker="half-open",
            quota_used=0.95,
            quota_resets_at=1795212000.0,
        ),
    ),
)


def test_the_file_reads_as_promised():
    """Front matter for programs, a table for eyes."""
    assert render(VIEW).decode() == (
        "---\n"
        'updated: "2026-11-20T20:15:04Z"\n'
        'day: "2026-11-20"\n'
        "daemon: running\n"
        "interfaces:\n"
        "  claude_code:\n"
        "    messages_today: 12\n"
        "    requests_today: 31\n"
        "    tokens_today: 48210\n"
        "    limit_remaining: 1488\n"
        "    quota_remaining: 0\n"
        '    last_error: "rate limit: try again | later"\n'
        "    status: limited\n"
        "    breaker: half-open\n"
        "    quota_used: 0.95\n"
        '    quota_resets_at: "2026-11-20T22:00:00Z"\n'
        "  upper:\n"
        "    messages_today: 200\n"
        "    requests_today: 200\n"
        "    tokens_today: 0\n"
        "    limit_remaining: null\n"
        "    quota_remaining: null\n"
        "    last_error: null\n"
        "    status: available\n"
        "    breaker: closed\n"
        "    quota_used: null\n"
        "    quota_resets_at: null\n"
        "---\n"
        "# Usage on 2026-11-20\n"
        "\n"
        "| Interface   | Status    | Breaker   | Messages | Requests | Tokens | Limit left | Quota left | Quota used | Last error |\n"
        "| ----------- | --------- | --------- | -------: | -------: | -----: | ---------: | ---------: | ---------: | --- |\n"
        "| claude_code | limited   | half-open |       12 |       31 | 48,210 |      1,488 |          0 |        95% | rate limit: try again \\| later |\n"
        "| upper       | available | closed    |      200 |      200 |      0 |          - |          - |          - | - |\n"
    )


def test_without_interfaces_the_map_is_empty():
    """Not missing and not null."""
    data = render(UsageView(updated=0, day="1970-01-01", state="starting"))
    assert parse(data)["interfaces"] == frontmatter.loads(data.decode())["interfaces"] == {}
    assert b"No interface is registered." in data


words = st.text(max_size=40).map(clean_line)
numbers = st.integers(0, 10**15)
usages = st.builds(
    InterfaceUsage,
    name=st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True) | st.sampled_from(["no", "null", "y", "true", "on"]),
    messages_today=numbers,
    requests_today=numbers,
    tokens_today=numbers,
    limit_remaining=st.none() | numbers,
    quota_remaining=st.none() | numbers,
    last_error=st.none() | words.filter(bool),
    status=words.filter(bool),
)


@given(st.lists(usages, max_size=5, unique_by=lambda usage: usage.name))
def test_both_readers_give_back_what_was_said(interfaces: list[InterfaceUsage]):
    """Numbers as numbers, text as text, nothing as None."""
    data = render(UsageView(updated=0, day="2026-11-20", state="running", interfaces=interfaces))
    said = {
        usage.name: {
            "messages_today": usage.messages_today,
            "requests_today": usage.requests_today,
            "tokens_today": usage.tokens_today,
            "limit_remaining": usage.limit_remaining,
            "quota_remaining": usage.quota_remaining,
            "last_error": usage.last_error,
            "status": usage.status,
            "breaker": usage.breaker,
            "quota_used": usage.quota_used,
            "quota_resets_at": usage.quota_resets_at,
        }
        for usage in interfaces
    }
    assert parse(data)["interfaces"] == said
    assert frontmatter.loads(data.decode())["interfaces"] == said


@given(st.text())
def test_no_error_text_ends_the_front_matter_or_its_row(text: str):
    """One interface stays one interface."""
    error = f"{text}\n---\ninterfaces:\n  forged: {{}}\n| forged |"
    data = render(
        UsageView(
            updated=0, day="2026-11-20", state="running", interfaces=(InterfaceUsage(name="upper", last_error=error),)
        )
    )
    assert list(parse(data)["interfaces"]) == ["upper"]
    assert len(data.decode().split("\n")) == 23


@pytest.mark.parametrize("change", [lambda data: data.replace(b"\n", b"\r\n"), lambda data: b"\xef\xbb\xbf" + data])
def test_an_editor_that_saved_the_file_changed_nothing(change):
    """CRLF and a byte-order mark are read over."""
    assert parse(change(render(VIEW))) == parse(render(VIEW))


def test_what_a_person_wrote_is_read_as_far_as_it_goes():
    """A word where a number belongs stays that word, and what is no interface is left out."""
    data = b"---\ninterfaces:\n  upper: {messages_today: many, mine: x}\n  broken: 3\n---\n"
    told = parse(data)["interfaces"]
    assert list(told) == ["upper"]
    assert (told["upper"]["messages_today"], told["upper"]["mine"], told["upper"]["tokens_today"]) == (
        "many",
        "x",
        None,
    )
    assert parse(b"no front matter")["interfaces"] == {}


shares = st.floats(0, 10, allow_nan=False)
quotas = st.builds(
    QuotaUse,
    quota=st.text(),
    share=shares.map(lambda one: round(one, 4)),
    resets_at=st.none() | shares,
    left=st.none() | st.integers(0),
)
findings = st.builds(
    Finding,
    breaker=st.text(),
    why=st.text(),
    quotas=st.lists(quotas).map(tuple),
    slots=st.none() | numbers,
    messages_left=st.none() | st.integers(0),
)


@given(st.dictionaries(st.text(), findings))
def test_findings_come_back_as_they_were_kept(found):
    """Whatever their texts hold."""
    assert findings_from(findings_to(found)) == found


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"a": 1}', '{"a": ["closed", "", null, [[1]]]}'])
def test_what_is_no_finding_is_none(text):
    """A damaged note stops no command."""
    assert findings_from(text) == {}
