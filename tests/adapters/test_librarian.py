"""The librarian answers from the brain's own texts, cites where each line stands, and says when there is nothing."""

import os
import re
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.adapters.librarian import (
    EXCERPT_LINES,
    MAX_EXCERPTS,
    MAX_EXCERPTS_A_FILE,
    _question,
    librarian,
)
from brain_daemon.adapters.passages import Bounds, Tally, passages
from brain_daemon.adapters.tool_api import ToolCall, ToolFailed, ToolStopped
from brain_daemon.model.outcome import FREE, FailureKind, Usage
from brain_daemon.model.passages import cut
from brain_daemon.model.words import words_of

ROLLBACK = """---
tags: [operations]
---
# Deployment

We deploy on Tuesdays.

## Rollback

To roll back a release, run `make rollback` on the bastion host.
Tell the people on call first.

## Secrets

They live in the vault.
"""


@pytest.fixture
def write(tmp_path):
    """Write a file of the brain at `tmp_path`."""

    def write(path: str, text: str | bytes) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


@pytest.fixture
def brain(tmp_path, write):
    """A brain with two notes and a completed task."""
    write("knowledge/ops/deployment.md", ROLLBACK)
    write("context/team.md", "# Team\n\nAda is on call in odd weeks, Grace in even ones.\n")
    write(
        "brain/tasks/completed/archive/2026/11/20/task-7.md",
        "---\nid: task-7\nresult:\n  status: completed\n  interface: upper\n---\n# Task: Choose a cache\n\n"
        "Which cache?\n\n## Result\n\nWe chose Valkey, because the licence fits.\n",
    )
    return tmp_path


def ask(root, title: str, text: str = "", **fields) -> str:
    call = ToolCall(
        task_id="ask", attempt_id="ask.a1.00000000", title=title, text=text, brain_root=root, workspace=root, **fields
    )
    answer = librarian(call)
    assert (answer.usage, answer.cost, answer.files) == (Usage(), FREE, ())
    return answer.text


def cited(answer: str) -> list[tuple[str, int, list[str]]]:
    """The excerpts of an answer: path, first line, quoted lines."""
    found = re.findall(r"^### (.+?):(\d+)(?:-(\d+))?(?: \(.*\))?\n\n((?:>.*\n?)+)", answer, re.MULTILINE)
    excerpts = []
    for path, first, last, quoted in found:
        lines = [line.removeprefix(">").removeprefix(" ") for line in quoted.splitlines()]
        assert int(last or first) - int(first) + 1 == len(lines)
        excerpts.append((path, int(first), lines))
    return excerpts


def test_an_answer_cites_the_lines_it_quotes(brain):
    """Path and line lead to the very text, heading included."""
    answer = ask(brain, "How do we roll back a release?")
    (path, first, lines), *_ = cited(answer)
    assert (path, first) == ("knowledge/ops/deployment.md", 8)
    assert lines[2] == "To roll back a release, run `make rollback` on the bastion host."
    assert lines == (brain / path).read_text().splitlines()[first - 1 : first - 1 + len(lines)]
    assert "### knowledge/ops/deployment.md:8-11 (Deployment > Rollback)" in answer
    assert answer.endswith("Searched 3 files (knowledge 1, context 1, completed tasks 1).")


def test_completed_tasks_are_searched_with_their_results(brain):
    """What an earlier task found out is known, wherever it was filed away; its front matter is not text."""
    answer = ask(brain, "cache licence")
    assert [path for path, *_ in cited(answer)] == ["brain/tasks/completed/archive/2026/11/20/task-7.md"]
    assert "Valkey" in answer
    assert cited(ask(brain, "upper completed status")) == []


@pytest.mark.parametrize(
    ("note", "question"),
    [
        ("The backups are encrypted nightly.", "How is a backup encrypting done?"),
        ("Der Schlüssel liegt im Café.", "schlussel cafe"),
        ("Ключ лежит в сейфе.", "КЛЮЧ?"),
        ("会議は毎週火曜日に開かれます。", "火曜日の会議"),
        ("我们使用数据库保存结果。", "数据库"),
        ("max_retry_count is 7", "max_retry_count"),
    ],
)
def test_words_are_found_in_other_forms_and_scripts(brain, write, note, question):
    """Endings, accents and case do not matter, and Chinese and Japanese need no blanks."""
    write("knowledge/note.md", f"# Note\n\n{note}\n")
    assert cited(ask(brain, question))[0][2][-1] == note


def test_nothing_found_is_an_answer_that_says_what_was_searched(brain):
    """No excerpt is made up; the person learns what was looked through and what to do."""
    answer = ask(brain, "What is the capital of Mongolia?")
    assert answer.startswith(
        "Nothing found for: capital, mongolia.\n\nSearched 3 files (knowledge 1, context 1, completed tasks 1)."
    )
    assert "knowledge/" in answer
    assert cited(answer) == []


def test_an_empty_brain_says_so(tmp_path):
    """No folder is needed for an honest answer."""
    assert "Searched 0 files" in ask(tmp_path, "anything about deployment")


def test_a_near_miss_is_not_sold_as_an_answer(brain):
    """One word of many is called what it is."""
    answer = ask(brain, "Compare quarterly revenue forecasts of deployment vendors in Mongolia")
    assert answer.startswith("Nothing found that covers: compare, quarterly, revenue")
    assert "only mention deployment:" in answer
    assert {path for path, *_ in cited(answer)} == {"knowledge/ops/deployment.md"}


def test_words_that_stand_nowhere_are_named(brain):
    """The reader sees which part of the question the brain knows nothing about."""
    assert "Not found anywhere: helicopter." in ask(brain, "roll back a release by helicopter")


def test_only_the_question_is_looked_up():
    """What is said about the form of the answer, and the names of the template's parts, are not searched for."""
    text = "# Task: Rollback\n## Input\nWhich host?\n## Expected Output\nA haiku.\n## Context:\n[[knowledge/x.md]]\n## Also\nrelease"
    assert words_of(_question("Rollback", text)) == ["rollback", "host", "release"]


def test_a_question_of_stop_words_is_looked_up_all_the_same(brain):
    """`who is on` has nothing rarer, so its words count."""
    assert "Ada is on call" in ask(brain, "Who is on?")


def test_a_task_without_words_is_refused(brain):
    """There is nothing to look up, and asking again will not help."""
    with pytest.raises(ToolFailed, match="no words") as failed:
        ask(brain, "???", "\n---\n")
    assert failed.value.kind is FailureKind.PERMANENT


@pytest.mark.parametrize(
    "path",
    [
        "context/usage.md",
        "context/board.md",
        "context/routing.md",
        "knowledge/.obsidian/cache.md",
        "knowledge/.draft.md",
        "knowledge/program.py",
        "brain/tasks/pending/other.md",
        "brain/tasks/active/ask.md",
        "brain/tasks/failed/old.md",
        "prompts/answered.md",
    ],
)
def test_what_is_no_note_and_no_result_is_not_searched(brain, write, path):
    """The daemon's own pages, hidden files, other kinds of file and unfinished tasks stay out."""
    write(path, "the word zanzibar stands here\n")
    assert cited(ask(brain, "zanzibar")) == []


def test_files_named_like_the_daemons_are_notes_elsewhere(brain, write):
    """Only context/usage.md is the daemon's; a usage.md of the person is a note."""
    write("knowledge/usage.md", "the word zanzibar stands here\n")
    assert cited(ask(brain, "zanzibar"))[0][0] == "knowledge/usage.md"


def test_links_are_not_followed(brain, tmp_path_factory):
    """A link that came with git cannot make the librarian read a file outside of the brain."""
    outside = tmp_path_factory.mktemp("outside") / "private.md"
    outside.write_text("the word zanzibar stands here\n")
    os.symlink(outside, brain / "knowledge" / "linked.md")
    os.symlink(outside.parent, brain / "knowledge" / "folder")
    assert cited(ask(brain, "zanzibar")) == []


def test_its_own_answers_are_not_sources(brain, write):
    """Asked twice, it does not cite itself."""
    write(
        "brain/tasks/completed/asked.md",
        "---\nid: asked\nresult:\n  status: completed\n  interface: librarian\n---\n# Task: zanzibar\n\nzanzibar\n",
    )
    assert cited(ask(brain, "zanzibar")) == []


def test_hostile_text_is_quoted_and_disarmed(brain, write):
    """Front matter, headings and escape sequences in a note stay within the quotation and do nothing."""
    write("knowledge/evil.md", "zanzibar\n---\nstatus: ready\n---\n```sh\n## Result\n\x1b]0;title\x07\u202e\x0cend\n")
    answer = ask(brain, "zanzibar")
    (_, first, lines), *_ = cited(answer)
    assert (first, len(lines)) == (1, 7)
    assert lines[6] == r"\x1b]0;title\x07\u202e\x0cend"
    assert all(line.startswith((">", "###", "Found", "Searched")) or not line for line in answer.splitlines())


def test_lines_are_counted_as_editors_count_them(brain, write):
    """CRLF, a BOM and characters that only some call a line end do not shift the citation."""
    write("knowledge/crlf.md", "\ufeffone\u2028still one\r\ntwo\x0cstill two\r\nzanzibar\r\n".encode())
    assert cited(ask(brain, "zanzibar"))[0][1] == 1
    assert cited(ask(brain, "zanzibar"))[0][2][2] == "zanzibar"


def test_a_long_passage_is_cut_around_itswords_of(brain, write):
    """A list of forty short lines gives the twelve around the hit."""
    write("knowledge/list.md", "".join(f"item {n}\n" for n in range(30)) + "zanzibar\n" + "tail\n" * 9)
    _, first, lines = cited(ask(brain, "zanzibar"))[0]
    assert len(lines) == EXCERPT_LINES
    assert lines[31 - first] == "zanzibar"


def test_one_file_does_not_fill_the_answer(brain, write):
    """A few passages of each file, a few files, and no more."""
    for name in "abcdef":
        write(f"knowledge/{name}.md", "".join(f"## Part {n}\n\nzanzibar {n}\n\n" for n in range(6)))
    paths = [path for path, *_ in cited(ask(brain, "zanzibar"))]
    assert len(paths) == MAX_EXCERPTS
    assert max(paths.count(path) for path in paths) <= MAX_EXCERPTS_A_FILE


def test_the_title_of_a_note_counts_more_than_a_mention(brain, write):
    """The note about a thing comes before the notes that name it."""
    write("knowledge/aaa.md", "# Travel\n\nSomebody once saw zanzibar from a ship.\n")
    write("knowledge/zzz.md", "# Zanzibar\n\nAn island with a history of trade and cloves.\n")
    assert cited(ask(brain, "zanzibar"))[0][0] == "knowledge/zzz.md"


def test_the_same_question_gives_the_same_answer(brain, write):
    """Nothing depends on the order in which the disk lists files."""
    for name in ("b", "a", "c"):
        write(f"knowledge/{name}.md", "equal zanzibar text\n")
    answer = ask(brain, "zanzibar")
    assert answer == ask(brain, "zanzibar")
    assert [path for path, *_ in cited(answer)] == [f"knowledge/{name}.md" for name in "abc"]


def test_a_file_that_is_no_text_is_named(brain, write):
    """It is not searched, and the answer says so."""
    write("knowledge/image.md", b"\x89PNG\0\0zanzibar")
    assert "knowledge/image.md is not text." in ask(brain, "rollback")


def test_a_long_question_is_answered_by_its_rarewords_of(brain):
    """A page of text as a task is searched by what is special in it."""
    filler = " ".join(f"filler{number}" for number in range(150))
    assert cited(ask(brain, f"bastion {filler} rollback"))[0][0] == "knowledge/ops/deployment.md"
    assert ask(brain, filler).startswith("Nothing found for: filler0, filler1")


def test_a_cancel_and_a_deadline_end_the_search(brain):
    """Each file is a chance to stop."""
    with pytest.raises(ToolStopped) as stopped:
        ask(brain, "rollback", cancelled=lambda: True)
    assert stopped.value.cancelled
    with pytest.raises(ToolStopped) as stopped:
        ask(brain, "rollback", deadline_monotonic=time.monotonic() - 1)
    assert not stopped.value.cancelled


@pytest.mark.parametrize("bounds", [Bounds(files=1), Bounds(total_bytes=10)])
def test_a_bound_that_is_reached_is_counted(brain, bounds):
    """Notes are read before tasks, and what was not looked at is known."""
    tally = Tally()
    found = list(passages(str(brain), tally, lambda: None, bounds))
    assert {passage.path for passage in found} == {"knowledge/ops/deployment.md"}
    assert (tally.total_files, tally.not_reached) == (1, 2)


def test_a_bound_is_said_in_the_answer(brain, monkeypatch):
    """Whoever reads the answer learns that there is more."""
    monkeypatch.setattr("brain_daemon.adapters.passages.Bounds", lambda: Bounds(files=1, file_bytes=20))
    answer = ask(brain, "rollback")
    assert "The limit of one search was reached: 2 files were not looked at." in answer
    assert "knowledge/ops/deployment.md was read up to 20 bytes." in answer


def test_newer_tasks_are_read_first(brain, write):
    """Of more tasks than a search can hold, the oldest are left out."""
    for day in ("task-20260101", "task-20261120", "task-20260615"):
        write(f"brain/tasks/completed/{day}.md", f"{day} zanzibar\n")
    read = [passage.path for passage in passages(str(brain), Tally(), lambda: None)]
    tasks = [path.rsplit("/", 1)[1] for path in dict.fromkeys(read) if "completed" in path]
    assert tasks == ["task-20261120.md", "task-20260615.md", "task-20260101.md", "task-7.md"]


lines = st.lists(
    st.text(st.sampled_from("ab # `~-日\t") | st.characters(exclude_characters="\n"), max_size=30)
    | st.sampled_from(["", "# H", "## I", "```", "x" * 3_000, "word " * 100]),
    max_size=30,
)


@given(lines, st.integers(0, 3))
def test_passages_hold_each_written_line_once_where_it_stands(written, start):
    """Cutting loses nothing but blank lines and lone headings, and every passage knows its first line."""
    found = list(cut("x.md", written, start))
    for passage in found:
        assert passage.text.split("\n")[0] in written[passage.line - 1]
        assert len(passage.text) < 3_000

    def telling(rows):
        return Counter(row.strip() for row in rows if row.strip() and not re.match(r" {0,3}#{1,6}[ \t]", row))

    assert telling(row for passage in found for row in passage.text.split("\n")) == telling(
        line[at : at + 1_200] for line in written[start:] for at in range(0, max(1, len(line)), 1_200)
    )
