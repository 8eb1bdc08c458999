"""Questions: asked once, answered by one tick in any editor, never answered by the text they quote."""

import json
from dataclasses import replace

import frontmatter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cleaning import clean_text
from brain_daemon.record.questions import (
    MAX_ASKED_LINES,
    MAX_TEXT_LINES,
    Answer,
    Choice,
    Question,
    QuestionKind,
    Tick,
    answered,
    append_answered,
    chosen,
    contested,
    merged,
    parse,
    question_from,
    question_id,
    question_to,
    render,
    without_texts,
    written,
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


WORDS = Question(
    id="asked-task-003.a1.0123abcd",
    kind=QuestionKind.ASKED,
    subject="task-003",
    asked_at=1795205706.0,
    text="Which colour?",
    choices=(
        Choice(key="answer", label="Write below this line", command='brain answer task-003 "TEXT"'),
        Choice(key="cancel", label="Give this task up", command="brain cancel task-003"),
    ),
    attempt_id="task-003.a1.0123abcd",
)
OTHER = replace(
    WORDS, id="asked-task-004.a1.0123abcd", subject="task-004", asked_at=1795205707.0, attempt_id="task-004.a1.0123abcd"
)
END = "<!-- end of your answer to asked-task-003.a1.0123abcd -->"


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
    for question in (FIRST, WORDS):
        assert question_from(json.loads(json.dumps(question_to(question)))) == question


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
    later = replace(answer, question=replace(FIRST, asked_at=FIRST.asked_at + 1))
    assert append_answered(data, [later, later]).count(b"## interrupted-task-001") == 2
    second = replace(answer, question=SECOND, key="gone", by="command")
    assert append_answered(saved, [second]).startswith(saved + b"\n\n## secret-task-002\n")


# Answers in the person's own words.


def test_a_question_for_words_has_a_place_to_write():
    """The last box, a few empty lines, and the end mark."""
    assert (
        render([WORDS])
        .decode()
        .endswith(
            "> Which colour?\n\n"
            "- [ ] **cancel** Give this task up: `brain cancel task-003`\n"
            '- [ ] **answer** Write below this line: `brain answer task-003 "TEXT"`\n'
            f"\n\n\n{END}\n"
        )
    )


def written_in(page: bytes, text: str, *, tick: bool = False) -> bytes:
    """The page after the person has written under the question WORDS."""
    before, _, after = page.decode().partition(f"\n\n\n{END}")
    before = before.replace("[ ] **answer** Write", f"[{'x' if tick else ' '}] **answer** Write")
    return f"{before}\n{text}\n{END}{after}".encode("utf-8", "replace")


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from(
        ["", "blue", "    code", "# Mine", f"## {OTHER.id}", "- [x] **cancel** x", "- [ ] **answer** x", "---", "> quoted",
         "```", "<!-- end of your answer to asked-task-004.a1.0123abcd -->", "<!--", "More than one box was ticked: tick one."]
    )
).map("\n".join)  # fmt: skip


def as_kept(text: str) -> str:
    """The text without the empty lines around it, and with one kind of line end."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return "\n".join(lines)


@given(TEXTS)
def test_what_is_written_is_the_answer_to_that_question_alone(text: str):
    """Whatever it holds, our own marks included, it answers and breaks no other question."""
    page = written_in(render([FIRST, WORDS, OTHER]), text, tick=True)
    ticks = parse(ticked(page, "rerun"))
    kept = as_kept(text)
    assert ticks == (Tick(FIRST.id, "rerun"), Tick(WORDS.id, "answer", kept))
    answers = {FIRST.id: RERUN} | ({WORDS.id: WORDS.choices[0]} if kept else {})
    assert chosen(ticks, [FIRST, WORDS, OTHER]) == answers
    assert written(ticks) == {WORDS.id: kept}


@given(TEXTS, TEXTS)
def test_what_is_half_written_survives_every_rewriting(text: str, other: str):
    """New questions come, others go: the texts stay as they are, and the page no longer changes by itself."""
    page = written_in(render([WORDS]), text)
    again = merged(page, [WORDS, OTHER, FIRST])
    assert again == render([WORDS, OTHER, FIRST], drafts={WORDS.id: as_kept(text)})
    assert merged(again, [WORDS, OTHER, FIRST]) == again
    assert without_texts(again) == render([WORDS, OTHER, FIRST])
    ready = again.replace(b"[ ] **answer** Write", b"[x] **answer** Write", 1)
    assert written(parse(ready)) == {WORDS.id: as_kept(text)}


def test_a_page_with_an_answer_in_it_is_left_alone():
    """Until the answer has been acted on; a tick with nothing below it is none."""
    page = written_in(render([WORDS]), "blue", tick=True)
    assert merged(page, [WORDS, FIRST]) is None
    assert merged(written_in(render([WORDS]), " ", tick=True), [WORDS, FIRST]) == render([WORDS, FIRST])
    assert merged(page, [FIRST]) == render([FIRST]), "it was acted on"


def test_two_boxes_lose_no_word():
    """The question stays open and says why, for as long as nothing more is ticked."""
    page = ticked(written_in(render([WORDS]), "blue", tick=True), "cancel")
    again = merged(page, [WORDS])
    assert again == render([WORDS], contested=[WORDS.id], drafts={WORDS.id: "blue"})
    assert merged(again, [WORDS]) == again
    assert chosen(parse(ticked(again, "cancel")), [WORDS]) == {WORDS.id: WORDS.choices[1]}


def test_what_was_begun_under_a_question_that_closes_is_kept_until_it_is_ticked_away():
    """No half of an answer is thrown away by the program."""
    page = merged(written_in(render([WORDS, FIRST]), "## My plan\n\nblue"), [FIRST])
    assert b"This question is closed." in page
    assert b"## My plan\n\nblue\n" in page
    assert b"asked-task-003" not in page.split(b"# Questions")[0]
    assert merged(page, []).startswith(b"# Questions for you\n\nThere is nothing to answer.\n\n## asked-task-003")
    assert merged(ticked(page, "answer"), [FIRST]) == render([FIRST])


def test_a_text_without_its_end_mark_ends_before_the_next_question():
    """Whoever selects all and types over it has still answered, and only this."""
    page = written_in(render([WORDS, OTHER]), "blue\n## mine\ngreen", tick=True).replace(f"{END}\n".encode(), b"")
    assert parse(page) == (Tick(WORDS.id, "answer", "blue\n## mine\ngreen"),)
    alone = written_in(render([WORDS]), "blue", tick=True).replace(f"{END}\n".encode(), b"")
    assert parse(alone) == (Tick(WORDS.id, "answer", "blue"),)


@pytest.mark.parametrize("save", [lambda d: d.replace(b"\n", b"\r\n"), lambda d: b"\xef\xbb\xbf" + d, bytes.rstrip])
def test_a_text_is_read_from_any_editor(save):
    """Line ends, a byte-order mark and a missing last line feed change nothing."""
    page = save(written_in(render([WORDS]), "one\n\ntwo", tick=True))
    assert parse(page) == (Tick(WORDS.id, "answer", "one\n\ntwo"),)


def test_what_a_task_asks_is_shown_at_length():
    """Code keeps its indentation, and only a very long text is cut."""
    page = render([replace(WORDS, text="def f():\n    return 1\n" + "line\n" * 500)]).decode()
    assert "> def f():\n>     return 1\n" in page
    assert page.count("\n> line") == MAX_ASKED_LINES - 2


@given(TEXTS.filter(str.strip))
def test_an_answer_in_words_is_quoted_and_read_back(text: str):
    """Nothing in it is a heading of the page, and every word of it is there."""
    given = Answer(
        question=WORDS, key="answer", answered_at=1795209304.0, effect="It goes on.", by="command", text=text
    )
    data = append_answered(
        append_answered(b"", [given]), [Answer(question=FIRST, key="rerun", answered_at=1e9, effect="x")]
    )
    first, second = answered(data)
    assert (first.question_id, first.about, first.key, first.at) == (
        WORDS.id,
        "task-003",
        "answer",
        "2026-11-20T21:15:04Z",
    )
    assert (first.question, first.effect) == ("Which colour?", "It goes on.")
    assert first.text == "\n".join(line.rstrip() for line in clean_text(text).split("\n"))
    assert (second.question_id, second.text, second.key) == (FIRST.id, "", "rerun")
