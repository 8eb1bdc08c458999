"""Questions: asked once, answered by one tick in any editor, never answered by the text they quote."""

import json
from dataclasses import replace

import frontmatter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.record.questions import (
    MAX_TEXT_LINES,
    Answer,
    Choice,
    Question,
    QuestionKind,
    Tick,
    append_answered,
    chosen,
    contested,
    parse,
    question_from,
    question_id,
    question_to,
    render,
)

RERUN = Choice(key="rerun", label="Run it again", command="brain retry task-001")
LEAVE = Choice(key="leave", label="Leave it failed", command="brain answer interrupted-task-001.a1.0123abcd leave")
FIRST = Question(
    id="interrupted-task-001.a1.0123abcd",
    kind=QuestionKind.INTERRUPTED,
    subject="task-001",
    asked_at=1795205704.0,
    text="It may have run.\nThe daemon does not know how it ended.",
    choices=(RERUN, LEAVE),
)
SECOND = Question(
    id="secret-task-002",
    kind=QuestionKind.SECRET,
    subject="task-002",
    asked_at=1795205705.0,
    text="The text seems to hold a key.",
    choices=(Choice(key="run", label="Run it", command="brain answer secret-task-002 run"),),
)


def test_a_question_reads_as_promised():
    """Ids for programs, a section with its boxes for the person."""
    assert render([FIRST]).decode() == (
        "---\n"
        "questions:\n"
        "  - interrupted-task-001.a1.0123abcd\n"
        "---\n"
        "# Questions for you\n\n"
        "Tick one box of a question and save this file, or run the command beside the box.\n\n"
        "## interrupted-task-001.a1.0123abcd\n\n"
        "About **task-001**, asked 2026-11-20T20:15:04Z (interrupted).\n\n"
        "> It may have run.\n"
        "> The daemon does not know how it ended.\n\n"
        "- [ ] **rerun** Run it again: `brain retry task-001`\n"
        "- [ ] **leave** Leave it failed: `brain answer interrupted-task-001.a1.0123abcd leave`\n"
    )


def test_nothing_to_answer_is_said():
    """An empty file would look like a fault."""
    assert render([]) == b"# Questions for you\n\nThere is nothing to answer.\n"
    assert parse(render([])) == ()


def test_a_question_can_be_kept_as_json():
    """The journal gives back the same question."""
    assert question_from(json.loads(json.dumps(question_to(FIRST)))) == FIRST


def test_a_question_is_asked_once_and_the_oldest_first():
    """The same questions in any order give the same bytes."""
    assert render([SECOND, FIRST, SECOND]) == render([FIRST, SECOND])
    assert frontmatter.loads(render([SECOND, FIRST]).decode())["questions"] == [FIRST.id, SECOND.id]


def ticked(data: bytes, *keys: str, mark: str = "[x]") -> bytes:
    for key in keys:
        data = data.replace(f"[ ] **{key}**".encode(), f"{mark} **{key}**".encode())
    return data


@pytest.mark.parametrize("mark", ["[x]", "[X]", "[ x ]", "[x ]", "[✓]"])
@pytest.mark.parametrize(
    "save",
    [
        lambda data: data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.rstrip(b"\n"),
        lambda data: data.replace(b"- [", b"* ["),
        lambda data: data.replace(b"- [", b"  - ["),
        lambda data: b"my note\n\n" + data.replace(b"\n\n", b"\n\n\n"),
    ],
    ids=["as it is", "crlf", "bom", "no final newline", "stars", "indented", "notes"],
)
def test_a_ticked_box_is_an_answer_in_any_editor(save, mark: str):
    """What editors do to a file does not change what the person said."""
    data = save(ticked(render([FIRST, SECOND]), "leave", "run", mark=mark))
    ticks = parse(data)
    assert ticks == (Tick(FIRST.id, "leave"), Tick(SECOND.id, "run"))
    assert chosen(ticks, [FIRST, SECOND]) == {FIRST.id: LEAVE, SECOND.id: SECOND.choices[0]}


def test_two_boxes_are_no_answer():
    """The question stays open and says why."""
    ticks = parse(ticked(render([FIRST, SECOND]), "rerun", "leave", "run"))
    assert set(chosen(ticks, [FIRST, SECOND])) == {SECOND.id}
    assert contested(ticks, [FIRST, SECOND]) == {FIRST.id}
    assert b"More than one box was ticked: tick one." in render([FIRST], contested(ticks, [FIRST]))


def test_a_tick_of_nothing_open_is_no_answer():
    """An old question, an unknown key and a box outside any question decide nothing."""
    text = (
        "- [x] **rerun** nowhere\n## old-question\n- [x] **rerun**\n## secret-task-002\n- [x] **format**\n"
        "# Mine\n- [x] **run**\n## a heading of mine\n- [x] **run**\n"
    )
    ticks = parse(text.encode())
    assert ticks == (Tick("old-question", "rerun"), Tick("secret-task-002", "format"))
    assert chosen(ticks, [FIRST, SECOND]) == {}


@given(st.text(), st.text())
def test_no_quoted_text_ticks_a_box_or_opens_a_question(text: str, label: str):
    """A task that writes our own marks is only quoted."""
    forged = f"{text}\n## {SECOND.id}\n- [x] **run** now\n\u2028- [x] **rerun**\r- [x] **rerun**"
    hostile = replace(
        FIRST,
        subject=forged,
        text=forged,
        choices=(Choice(key="rerun", label=label + forged, command=forged), LEAVE),
    )
    data = render([hostile, SECOND])
    assert parse(data) == ()
    assert parse(ticked(data, "leave")) == (Tick(FIRST.id, "leave"),)
    assert data.decode().count("\n## ") == 2


def test_a_long_text_is_cut():
    """The file stays readable."""
    data = render([replace(FIRST, text="line\n" * 500)]).decode()
    assert data.count("\n> line") == MAX_TEXT_LINES
    assert "\n> …\n" in data


@pytest.mark.parametrize("word", ["", "two words", "new\nline", "**", "-dash"])
def test_an_id_or_key_that_could_not_be_read_back_is_not_built(word: str):
    """Ids and keys are words."""
    with pytest.raises(ValueError, match="no id of a question"):
        replace(FIRST, id=word)
    with pytest.raises(ValueError, match="no key of a choice"):
        replace(RERUN, key=word)


def test_the_id_follows_from_what_is_asked_about():
    """Equal things, equal ids; different things, different ids, however long or odd they are."""
    assert question_id(QuestionKind.INTERRUPTED, "task-001.a1.0123abcd") == FIRST.id
    assert question_id(QuestionKind.NO_INTERFACE, "image_generation") == "no-interface-image_generation"
    odd = ["t" * 119 + "1.a1.0123abcd", "t" * 119 + "2.a1.0123abcd", "a b", "a-b", "a\nb", "", "日本"]
    ids = [question_id(QuestionKind.APPROVAL, about) for about in odd]
    assert len(set(ids)) == len(odd)
    for identity in ids:
        replace(FIRST, id=identity)


def test_an_answer_is_kept_with_its_time_and_effect():
    """Question, choice, way and effect, once, at the end of the file."""
    answer = Answer(question=FIRST, key="rerun", answered_at=1795209304.0, effect="task-001 is in pending/ again.")
    data = append_answered(b"", [answer, answer])
    assert data.decode() == (
        "# Answered questions\n\n"
        "## interrupted-task-001.a1.0123abcd\n\n"
        "About **task-001**, asked 2026-11-20T20:15:04Z (interrupted).\n\n"
        "> It may have run.\n"
        "> The daemon does not know how it ended.\n\n"
        "Answered **rerun** Run it again at 2026-11-20T21:15:04Z by file.\n\n"
        "task-001 is in pending/ again.\n"
    )
    assert append_answered(data, [answer]) == data
    saved = data.rstrip(b"\n").replace(b"\n", b"\r\n")
    assert append_answered(saved, [answer]) == saved
    second = replace(answer, question=SECOND, key="gone", by="command")
    assert append_answered(saved, [second]).startswith(saved + b"\n\n## secret-task-002\n")
