"""The board: what runs, what is held and why, what is next, what was done."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.record.board import MAX_LISTED, ActiveTask, BoardView, DoneToday, HeldTask, NextTask, render

NOW = 1795205704.0
VIEW = BoardView(
    state="running",
    updated=NOW,
    active=(ActiveTask(task_id="task-001", title="Fix it", interface="claude_code", since=NOW - 200),),
    held=(
        HeldTask(task_id="task-002", title="Wait", why="quota of codex", until=NOW + 3600),
        HeldTask(task_id="task-003", title="", why="nobody can do: image_generation"),
    ),
    next=(NextTask(task_id="task-004", title="Later", priority="high", task_type="code"),),
    done=DoneToday(completed=12, failed=1, known_usd=Decimal("0.45"), unknown_costs=2),
    questions=2,
    notices=("task-009 came back through git: `brain retry task-009` runs it",),
)


def test_the_board_reads_as_promised():
    """One page, the whole of it."""
    assert render(VIEW).decode() == (
        "# Board\n\n"
        "The daemon is **running**. Written 2026-11-20T20:15:04Z.\n\n"
        "**2 questions wait for you** in [prompts/pending.md](../prompts/pending.md).\n\n"
        "## Active (1)\n\n"
        "- **task-001** Fix it: claude_code, for 3 min 20 s (since 2026-11-20T20:11:44Z)\n\n"
        "## Held (2)\n\n"
        "- **task-002** Wait: quota of codex, until 2026-11-20T21:15:04Z\n"
        "- **task-003**: nobody can do: image_generation\n\n"
        "## Next (1)\n\n"
        "1. **task-004** Later (high, code)\n\n"
        "## Done today\n\n"
        "12 completed, 1 failed, $0.45 and the unknown cost of 2 attempts.\n\n"
        "## Notices (1)\n\n"
        "- task-009 came back through git: \\`brain retry task-009\\` runs it\n"
    )


def test_an_idle_board_says_so():
    """No section is missing because it is empty, but nothing is asked for."""
    text = render(BoardView(state="stopped", updated=NOW)).decode()
    assert text.count("Nothing.") == 3
    assert "question" not in text
    assert "0 completed, 0 failed, $0." in text


@pytest.mark.parametrize(
    ("questions", "unknown", "says"),
    [(1, 0, "**1 question waits for you**"), (0, 1, "and the unknown cost of 1 attempt.")],
)
def test_one_is_not_many(questions: int, unknown: int, says: str):
    """Grammar is part of being read."""
    assert says in render(replace(VIEW, questions=questions, done=DoneToday(unknown_costs=unknown))).decode()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "less than a second"), (-5, "less than a second"), (12.4, "12 s")]
)
def test_elapsed_time_is_in_words(seconds: float, words: str):
    """Also when the clock went back."""
    active = (replace(VIEW.active[0], since=NOW - seconds),)
    assert f"for {words} " in render(replace(VIEW, active=active)).decode()


@pytest.mark.parametrize("total", [None, 20_000])
def test_a_long_queue_is_still_a_page(total: int | None):
    """The first fifty and how many more, whether all were given or only those."""
    entry = VIEW.next[0]
    given_entries = (entry,) * (20_000 if total is None else MAX_LISTED)
    text = render(replace(VIEW, next=given_entries, next_total=total)).decode()
    assert "## Next (20000)" in text
    assert f"{MAX_LISTED}. **task-004** Later (high, code)\n\nand 19950 more\n" in text


@given(st.text(), st.text())
def test_no_text_adds_a_line(title: str, why: str):
    """A title is a title."""
    held = (HeldTask(task_id="task-1", title=title, why=why),)
    text = render(replace(VIEW, held=held, notices=())).decode()
    assert len(text.split("\n")) == len(render(replace(VIEW, held=VIEW.held[:1], notices=())).decode().split("\n"))
