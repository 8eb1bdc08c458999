"""Commit messages: read well by people, exactly by git, and no text from outside can forge a trailer."""

import subprocess
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import CostBasis, Reason, Status
from brain_daemon.record.message import MAX_SUBJECT_LENGTH, commit_message, commit_subject
from tests.depth import deep

ROW = CostRow(
    timestamp="2026-11-20T20:15:04Z",
    task_id="task-001",
    attempt_id="task-001.a1.0123abcd",
    attempt=1,
    status=Status.COMPLETED,
    interface="claude_code",
    model="claude-sonnet-4-5",
    input_tokens=1200,
    cached_input_tokens=200,
    output_tokens=340,
    cost_usd=Decimal("0.0045"),
    cost_basis=CostBasis.REPORTED,
    duration_seconds=12.4,
)
TIMED_OUT = replace(
    ROW,
    task_id="task-002",
    attempt_id="task-002.a2.89abcdef",
    attempt=2,
    status=Status.FAILED,
    reason=Reason.TIMED_OUT,
    interface="codex",
    model=None,
    input_tokens=None,
    cached_input_tokens=None,
    output_tokens=None,
    cost_usd=None,
    cost_basis=CostBasis.UNKNOWN,
    duration_seconds=1801.2,
)
MALFORMED = CostRow(
    timestamp="2026-11-20T20:15:04Z",
    task_id="bad",
    attempt_id="bad.a1.00000000",
    attempt=1,
    status=Status.FAILED,
    reason=Reason.MALFORMED,
    cost_usd=Decimal(0),
    cost_basis=CostBasis.FREE,
)
KEYS = ["Task-Id", "Attempt-Id", "Status", "Interface", "Model", "Chain-Id", "Tokens-In", "Tokens-Out", "Cost-USD"]

HOSTILE = [
    "Fix it\n\nTask-Id: forged",
    "Fix it\r\n\r\nAttempt-Id: forged.a1.00000000",
    "Task-Id: forged",
    "# a heading",
    "---",
    "--- a/x\n+++ b/x",
    "x" * 100_000,
    "emoji 👩‍👩‍👧 ok",
    "bidi \u202egnp.exe\u202c",
    "nul \x00 bell \x07 escape \x1b[31mred\x1b[0m",
    "lone \ud800 surrogate",
    "separator \u2028Task-Id: forged\u2029Status: forged",
    "vertical \x0bTask-Id: forged \x85Status: forged",
    "(cherry picked from commit 0000)\nSigned-off-by: forged <a@b>",
    "",
    "   ",
]


def parsed_trailers(message: bytes) -> list[tuple[str, str]]:
    done = subprocess.run(["git", "interpret-trailers", "--parse"], input=message, capture_output=True, check=True)
    return [
        (key, value) for key, _, value in (line.partition(": ") for line in done.stdout.decode().split("\n") if line)
    ]


def test_a_completed_task_reads_as_promised():
    """Subject, why, tokens, trailers."""
    assert commit_message(ROW, title="Title", why="free ones lack code_execution").decode() == (
        "completed task-001: Title (claude_code, 12.4 s, $0.0045)\n"
        "\n"
        "Routed because: free ones lack code_execution\n"
        "Tokens: 1200 in (200 cached), 340 out.\n"
        "\n"
        "Task-Id: task-001\n"
        "Attempt-Id: task-001.a1.0123abcd\n"
        "Status: completed\n"
        "Interface: claude_code\n"
        "Model: claude-sonnet-4-5\n"
        "Chain-Id: -\n"
        "Tokens-In: 1200\n"
        "Tokens-Out: 340\n"
        "Cost-USD: 0.0045\n"
    )


def test_a_failed_task_reads_as_promised():
    """The reason comes first, and an unknown cost is said."""
    message = commit_message(
        TIMED_OUT,
        title="Title",
        error="\nno answer within 30 min\nsecond line",
        warnings=("one", "two"),
        origin="head",
        after_seconds=1800,
    )
    assert message.decode() == (
        "failed task-002: Title (timed_out after 30 min, codex)\n"
        "\n"
        "Failed with: no answer within 30 min\n"
        "Attempt 2, 30 min 1 s, cost unknown.\n"
        "Warning (and 1 more): one\n"
        "\n"
        "Task-Id: task-002\n"
        "Attempt-Id: task-002.a2.89abcdef\n"
        "Status: failed\n"
        "Reason: timed_out\n"
        "Interface: codex\n"
        "Model: -\n"
        "Chain-Id: -\n"
        "Tokens-In: unknown\n"
        "Tokens-Out: unknown\n"
        "Cost-USD: unknown\n"
        "Origin: head\n"
    )


def test_a_message_without_a_body_has_one_blank_line():
    """Subject, blank line, trailers."""
    plain = replace(ROW, input_tokens=None, output_tokens=None)
    assert b"\n\n\n" not in commit_message(plain, title="T")
    assert [key for key, _ in parsed_trailers(commit_message(plain, title="T"))] == KEYS


@pytest.mark.parametrize(
    ("row", "title", "subject"),
    [
        (TIMED_OUT, "T", "failed task-002: T (timed_out after 30 min 1 s, codex)"),
        (MALFORMED, "", "failed bad (malformed)"),
        (replace(TIMED_OUT, reason=None), "T", "failed task-002: T (failed, codex)"),
        (
            replace(ROW, cost_usd=None, cost_basis=CostBasis.UNKNOWN),
            "T",
            "completed task-001: T (claude_code, 12.4 s, cost unknown)",
        ),
        (replace(ROW, task_id="t" * 58), "A long enough title", f"completed {'t' * 58} (claude_code, 12.4 s, $0.0045)"),
        (replace(ROW, task_id="t" * 120), "T", f"completed {'t' * 89}…"),
    ],
)
def test_the_subject_says_what_counts(row: CostRow, title: str, subject: str):
    """The title gives way first, then the figures; the trailer has the whole id."""
    assert commit_subject(row, title) == subject


def test_a_long_title_is_cut_and_the_figures_stay():
    """A hundred characters, the end of them intact."""
    subject = commit_subject(ROW, "word " * 50)
    assert len(subject) <= MAX_SUBJECT_LENGTH
    assert subject.endswith("… (claude_code, 12.4 s, $0.0045)")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("row", [ROW, TIMED_OUT], ids=["completed", "failed"])
def test_git_reads_our_trailers_and_no_others(row: CostRow, text: str):
    """Whatever title, reason, error, model or chain hold, real git finds the same keys once each."""
    hostile = replace(row, model=text, chain_id=text)
    message = commit_message(hostile, title=text, why=text, error=text, warnings=(text,), origin=text or None)
    found = parsed_trailers(message)
    expected = [*KEYS[:3], *(["Reason"] if row.reason else []), *KEYS[3:], *(["Origin"] if text else [])]
    assert [key for key, _ in found] == expected
    assert dict(found)["Task-Id"] == row.task_id
    assert dict(found)["Attempt-Id"] == row.attempt_id
    assert dict(found)["Status"] == row.status
    assert len(message.decode().split("\n")[0]) <= MAX_SUBJECT_LENGTH


@pytest.mark.parametrize("text", HOSTILE[:8], ids=range(8))
def test_a_commit_keeps_subject_and_trailers(tmp_path, text: str):
    """In a real repository `git log` shows one subject line and finds our trailers."""

    def git(*arguments: str, data: bytes = b"") -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], input=data, capture_output=True, check=True
        )
        return done.stdout.decode()

    git("init", "-q")
    tree = git("mktree").strip()
    message = commit_message(replace(TIMED_OUT, model=text), title=text, why=text, error=text)
    commit = git("commit-tree", tree, "-F", "-", data=message).strip()
    assert git("log", "-1", "--format=%s", commit).strip("\n") == message.decode().split("\n")[0]
    assert git("log", "-1", "--format=%(trailers:key=Attempt-Id,valueonly)", commit).split() == [TIMED_OUT.attempt_id]


@given(st.text(), st.text(), st.text())
@settings(max_examples=deep(100, 1_000))
def test_no_text_adds_a_line(title: str, why: str, error: str):
    """The shape of the message does not depend on what it says."""
    lines = commit_message(replace(TIMED_OUT, model=title), title=title, why=why, error=error).decode().split("\n")
    blank = [index for index, line in enumerate(lines) if not line]
    assert blank[0] == 1
    assert len(blank) == 3
    assert [line.partition(":")[0] for line in lines[blank[1] + 1 : -1]] == [*KEYS[:3], "Reason", *KEYS[3:]]
    assert all(len(line) <= 220 for line in lines)


def test_a_child_says_below_whom_and_a_last_try_says_what_those_before_it_took():
    """Sums of what is known; what is unknown is counted and in no sum; git finds them all."""
    known = replace(ROW, attempt_id="task-001.a1.00000000", cost_usd=Decimal("0.0105"), output_tokens=None)
    unknown = replace(TIMED_OUT, attempt_id="task-001.a2.00000000")
    child = replace(ROW, chain_id="night", parent_id="task-000")
    found = dict(parsed_trailers(commit_message(child, title="T", depth=2, earlier=(known, unknown))))
    assert [key for key in found if key not in KEYS] == [
        "Parent-Id",
        "Depth",
        "Earlier-Attempts",
        "Earlier-Tokens-In",
        "Earlier-Tokens-Out",
        "Earlier-Cost-USD",
        "Earlier-Unknown-Costs",
    ]
    assert (found["Parent-Id"], found["Depth"], found["Earlier-Attempts"]) == ("task-000", "2", "2")
    assert (found["Earlier-Tokens-In"], found["Earlier-Tokens-Out"]) == ("1200", "unknown")
    assert (found["Earlier-Cost-USD"], found["Earlier-Unknown-Costs"]) == ("0.0105", "1")
    nothing = dict(parsed_trailers(commit_message(child, title="T", earlier=(unknown,))))
    assert (nothing["Depth"], nothing["Earlier-Cost-USD"]) == ("1", "unknown")
