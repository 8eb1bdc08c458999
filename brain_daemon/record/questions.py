"""Questions to the person: prompts/pending.md asks, prompts/answered.md keeps the answers.

A question is a section with its id as the heading and one box a choice. A person answers by ticking one box and
saving, or by the command beside it. The file is written as a whole from the open questions, in the order they were
asked; a question is the same question as long as its id is, so it is asked once.

    ## interrupted-task-001.a1.0123abcd

    About **task-001**, asked 2026-11-20T20:15:04Z (interrupted).

    > It may have run: the daemon does not know how it ended.

    - [ ] **rerun** Run it again: `brain answer interrupted-task-001.a1.0123abcd rerun`

Some questions take an answer in the person's own words. Their last box is `answer`; what stands between it and the end
mark, a line of its own, belongs to the person. That text may hold anything, our headings and boxes included, except that one line:

    - [ ] **answer** Write below this line, then tick this box: `brain answer asked-task-002.a1.89abcdef "TEXT"`

    Take the blue one.

    <!-- end of your answer to asked-task-002.a1.89abcdef -->

Where the end mark is gone, the text ends before the next heading of a question, or with the file. A ticked `answer` with
nothing below it is no answer yet. `merged` carries what is written and not ticked into the next page; what was begun
under a question that is closed by now is kept at the end, until the person ticks it away.

Who must agree: the daemon reads the ticks before it writes the file, since what it writes has none. Text from outside
stands behind `>` or after the box's key on one line, so it can be neither heading nor box. Failures: none are fatal; a line that is not
understood is no answer, and two boxes of one question are none either (`contested`).
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.ids import slug
from brain_daemon.record.wording import code, markdown, utc, yaml_text

ANSWER = "answer"
"""The key of the choice that is a text of the person's own."""

MAX_TEXT_LINES = 20
MAX_ASKED_LINES = 200
_MAX_LINE_LENGTH = 300
_MAX_ASKED_LENGTH = 4_000
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEADING = re.compile(r"##[ \t]+(\S+)[ \t]*")
_BOX = re.compile(r"\s{0,3}[-*+][ \t]+\[[ \t]*([xX✓✔]?)[ \t]*\][ \t]+\*\*([^*\s]+)\*\*.*")
_LINE_ENDS = re.compile(r"\r\n?")
_ABOUT_LINE = re.compile(r"^About \*\*(.+?)\*\*, asked \S+ \(\w+\)\.$", re.MULTILINE)
_ANSWERED_LINE = re.compile(r"^Answered \*\*(\S+?)\*\*.*? at (\d{4}-\S+Z) by .+\.$", re.MULTILINE)
_NOTHING = "# Questions for you\n\nThere is nothing to answer.\n"
_AGAIN = "More than one box was ticked: tick one."
_CLOSED = "This question is closed. What you had begun to write is kept here until you tick the box."
_ANSWERED_HEAD = b"# Answered questions\n"


class QuestionKind(StrEnum):
    """What a question is about."""

    INTERRUPTED = "interrupted"
    NO_INTERFACE = "no_interface"
    SECRET = "secret"  # noqa: S105 - the kind of question, not a password
    APPROVAL = "approval"
    ORIGIN = "origin"
    ASKED = "asked"
    AUTH = "auth"
    ALERT = "alert"
    QUOTA = "quota"
    PRICE = "price"


_OURS = re.compile(rf"##[ \t]+(?:{'|'.join(kind.value.replace('_', '-') for kind in QuestionKind)})-\S+[ \t]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer: its key (`rerun`), what it means, and the command that gives it."""

    key: str
    label: str
    command: str

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.key):
            raise ValueError(f"{self.key!r} is no key of a choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something only a person can decide. `subject` is a task id or an interface, `asked_at` epoch seconds.

    `attempt_id` is the attempt that asks, where one does.
    """

    id: str
    kind: QuestionKind
    subject: str
    asked_at: float
    text: str
    choices: tuple[Choice, ...]
    attempt_id: str | None = None

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.id):
            raise ValueError(f"{self.id!r} is no id of a question")

    @property
    def takes_text(self) -> bool:
        """Whether it may be answered in the person's own words."""
        return any(choice.key == ANSWER for choice in self.choices)


@dataclass(frozen=True, slots=True, order=True)
class Tick:
    """A ticked box: whose question, which key, and what the person wrote where the key is `answer`."""

    question_id: str
    key: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question with the key chosen, when (epoch seconds), by what way (`file`, `command`), and what was done then.

    `text` is what the person wrote where the key is `answer`: without secrets, since it is committed.
    """

    question: Question
    key: str
    answered_at: float
    effect: str
    by: str = "file"
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer as prompts/answered.md tells it; `at` is an instant in words."""

    question_id: str
    about: str
    question: str
    key: str
    at: str
    text: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A box in the page as it stands; `noted` if its section says already that more than one was ticked."""

    question_id: str
    key: str
    ticked: bool
    text: str = ""
    noted: bool = False


def question_id(kind: QuestionKind, about: str) -> str:
    """The id of the question of this kind about a thing (an attempt, a capability, an interface): equal things, equal ids."""
    word = slug(about)
    if word != about:
        word += f"-{hashlib.sha256(about.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return f"{kind.value.replace('_', '-')}-{word}"


def question_to(question: Question) -> dict[str, Any]:
    """The question as a JSON object, for whoever keeps it; `question_from` gives back an equal one."""
    return asdict(question)


def question_from(document: Mapping[str, Any]) -> Question:
    """The question behind `question_to`; KeyError, TypeError or ValueError on anything else."""
    choices = tuple(Choice(**choice) for choice in document["choices"])
    return Question(**{**document, "kind": QuestionKind(document["kind"]), "choices": choices})


def render(
    questions: Iterable[Question],
    contested: Collection[str] = (),
    drafts: Mapping[str, str] | None = None,
    left_over: Mapping[str, str] | None = None,
) -> bytes:
    """prompts/pending.md: the open questions, oldest first, each id once; `contested` ids had more than one box ticked.

    `drafts` are texts by the id of the open question they stand under, `left_over` those of questions that are closed.
    """
    asked = {question.id: question for question in reversed(tuple(questions))}
    ordered = sorted(asked.values(), key=lambda question: (question.asked_at, question.id))
    sections = [_section(one, one.id in contested, (drafts or {}).get(one.id, "")) for one in ordered]
    sections += [_left_over(identity, text) for identity, text in (left_over or {}).items()]
    return "\n".join([_head(ordered), *sections]).encode("utf-8", "replace")


def merged(found: bytes, questions: Sequence[Question]) -> bytes | None:
    """The page that may take the place of `found`: the open questions, with what the person has written and not ticked.

    None while an answer stands in `found` that nobody has acted on. Merging what it gives changes nothing more. Whoever
    writes it must see that the file still holds `found`: what was saved since would be lost.
    """
    boxes = tuple(_boxes(found))
    ticks = _ticks(boxes)
    if chosen(ticks, questions):
        return None
    asked = {question.id for question in questions if question.takes_text}
    drafts = {box.question_id: box.text for box in boxes if box.text and box.question_id in asked}
    left = {box.question_id: box.text for box in boxes if box.text and not box.ticked and box.question_id not in asked}
    ticked = {tick.question_id for tick in ticks}
    still = {box.question_id for box in boxes if box.noted and box.question_id not in ticked}
    return render(questions, contested(ticks, questions) | still, drafts, left)


def without_texts(page: bytes) -> bytes:
    """The page as git may have it: without what the person has begun to write."""
    lines, kept = _lines(page), list[str]()
    at = 0
    for start, end in _texts(lines):
        kept += [*lines[at:start], "", "", ""]
        at = end
    return "\n".join([*kept, *lines[at:]]).encode("utf-8", "replace")


def parse(data: bytes) -> tuple[Tick, ...]:
    """The boxes a person ticked, in the order of the file, each once. Any line ends and a byte-order mark are accepted."""
    return _ticks(_boxes(data))


def chosen(ticks: Iterable[Tick], questions: Iterable[Question]) -> dict[str, Choice]:
    """The choice per question id where exactly one box of an open question is ticked; the rest is no answer yet."""
    ticks = tuple(ticks)
    empty = {tick.question_id for tick in ticks if tick.key == ANSWER and not tick.text}
    return {
        identity: picked[0]
        for identity, picked in _picked(ticks, questions).items()
        if len(picked) == 1 and not (picked[0].key == ANSWER and identity in empty)
    }


def written(ticks: Iterable[Tick]) -> dict[str, str]:
    """What the person wrote under the ticked boxes, by question id."""
    return {tick.question_id: tick.text for tick in ticks if tick.key == ANSWER}


def contested(ticks: Iterable[Tick], questions: Iterable[Question]) -> frozenset[str]:
    """Ids of the open questions with more than one box ticked: they stay open, and `render` says so."""
    return frozenset(identity for identity, picked in _picked(ticks, questions).items() if len(picked) > 1)


def _picked(ticks: Iterable[Tick], questions: Iterable[Question]) -> dict[str, list[Choice]]:
    choices = {(question.id, choice.key): choice for question in questions for choice in question.choices}
    picked: dict[str, list[Choice]] = {}
    for place in dict.fromkeys((tick.question_id, tick.key) for tick in ticks):
        if place in choices:
            picked.setdefault(place[0], []).append(choices[place])
    return picked


def _ticks(boxes: Iterable[_Box]) -> tuple[Tick, ...]:
    return tuple(dict.fromkeys(Tick(box.question_id, box.key, box.text) for box in boxes if box.ticked))


def _lines(data: bytes) -> list[str]:
    return _LINE_ENDS.sub("\n", data.decode("utf-8-sig", "replace")).split("\n")


def _boxes(data: bytes) -> Iterator[_Box]:
    """Every box below the heading of a question, outside of what the person has written."""
    lines = _lines(data)
    current, noted, at = None, False, 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if heading := _HEADING.fullmatch(line):
            current, noted = heading[1], False
        elif line.startswith(("# ", "## ")):
            current = None
        elif line == _AGAIN:
            noted = True
        elif current and (box := _BOX.fullmatch(line)):
            end = _end_of_text(lines, at, current) if box[2] == ANSWER else at
            text = _trimmed(lines[at:end])
            yield _Box(question_id=current, key=box[2], ticked=bool(box[1]), text=text, noted=noted)
            current, at = (None if box[2] == ANSWER else current), end


def _texts(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """From and to which line each text of the person's stands."""
    current, at = None, 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if heading := _HEADING.fullmatch(line):
            current = heading[1]
        elif line.startswith(("# ", "## ")):
            current = None
        elif current and (box := _BOX.fullmatch(line)) and box[2] == ANSWER:
            end = _end_of_text(lines, at, current)
            yield at, end
            current, at = None, end


def _end_of_text(lines: Sequence[str], start: int, identity: str) -> int:
    """The line of the end mark; without one, that of the next heading of a question, or the number of lines."""
    mark = _end_mark(identity)
    numbers = range(start, len(lines))
    marked = (number for number in numbers if lines[number].strip() == mark)
    headed = (number for number in numbers if _OURS.fullmatch(lines[number]))
    return next(marked, next(headed, len(lines)))


def _end_mark(identity: str) -> str:
    return f"<!-- end of your answer to {identity} -->"


def _trimmed(lines: Sequence[str]) -> str:
    """The lines without the empty ones around them."""
    full = [number for number, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[full[0] : full[-1] + 1]) if full else ""


def append_answered(existing: bytes, answers: Sequence[Answer]) -> bytes:
    """prompts/answered.md (b"" for a new file) with each answer it does not hold yet, at its end."""
    data = existing or _ANSWERED_HEAD
    for answer in answers:
        # What is asked again under its old id, such as a quota in its next window, has another time.
        asked = f"\n## {answer.question.id}\n\n{_about(answer.question)}\n".encode()
        if asked in data or asked.replace(b"\n", b"\r\n") in data:
            continue
        data += (b"" if data.endswith(b"\n") else b"\n") + _answered(answer).encode()
    return data


def answered(data: bytes) -> tuple[Given, ...]:
    """What prompts/answered.md says was answered, oldest first; a section that a person has changed too much is left out."""
    text = _LINE_ENDS.sub("\n", data.decode("utf-8-sig", "replace"))
    sections = re.split(r"^## (\S+)$", text, flags=re.MULTILINE)[1:]
    found = (_given(identity, body) for identity, body in zip(sections[::2], sections[1::2], strict=True))
    return tuple(given for given in found if given is not None)


def _given(identity: str, body: str) -> Given | None:
    about = _ABOUT_LINE.search(body)
    said = _ANSWERED_LINE.search(body)
    if about is None or said is None:
        return None
    after = body[said.end() :].strip("\n").split("\n")
    quoted = [line for line in after if line.startswith(">")]
    return Given(
        question_id=identity,
        about=about[1],
        question=_unquoted(line for line in body[: said.start()].split("\n") if line.startswith(">")),
        key=said[1],
        at=said[2],
        text=_unquoted(quoted),
        effect="\n".join(line for line in after if not line.startswith(">")).strip(),
    )


def _unquoted(lines: Iterable[str]) -> str:
    return "\n".join(line[1:].removeprefix(" ") for line in lines)


def _head(ordered: Sequence[Question]) -> str:
    if not ordered:
        return _NOTHING
    ids = "".join(f"  - {yaml_text(question.id)}\n" for question in ordered)
    intro = "Tick one box of a question and save this file, or run the command beside the box."
    return f"---\nquestions:\n{ids}---\n# Questions for you\n\n{intro}\n"


def _section(question: Question, contested: bool, draft: str) -> str:
    boxes = "".join(_box(choice) for choice in sorted(question.choices, key=lambda choice: choice.key == ANSWER))
    again = f"{_AGAIN}\n\n" if contested else ""
    place = _place(question.id, draft) if question.takes_text else ""
    return f"## {question.id}\n\n{_about(question)}\n\n{_asked(question)}\n\n{again}{boxes}{place}"


def _box(choice: Choice) -> str:
    return f"- [ ] **{choice.key}** {markdown(choice.label)}: {code(choice.command)}\n"


def _left_over(identity: str, text: str) -> str:
    return f"## {identity}\n\n{_CLOSED}\n\n- [ ] **{ANSWER}** Throw it away\n{_place(identity, text)}"


def _place(identity: str, draft: str) -> str:
    """Where the person writes."""
    return f"\n{draft}\n\n{_end_mark(identity)}\n"


def _about(question: Question) -> str:
    return f"About **{markdown(question.subject)}**, asked {utc(question.asked_at)} ({question.kind.value})."


def _asked(question: Question) -> str:
    """The question itself; what a task or an agent asks is shown at length, since the answer depends on it."""
    if question.kind is QuestionKind.ASKED:
        return _quoted(question.text, MAX_ASKED_LINES, _MAX_ASKED_LENGTH)
    return _quoted(question.text, MAX_TEXT_LINES, _MAX_LINE_LENGTH)


def _quoted(text: str, most_lines: int, longest: int) -> str:
    lines = clean_text(text).strip().split("\n")
    kept = [f"> {_within(line, longest)}".rstrip() for line in lines[:most_lines]]
    return "\n".join([*kept, "> …"] if len(lines) > most_lines else kept)


def _within(line: str, longest: int) -> str:
    """A line of a quotation: as it is where it is short enough, so that code keeps its indentation."""
    return line if len(line) <= longest else clean_line(line, longest)


def _answered(answer: Answer) -> str:
    question = answer.question
    label = next((choice.label for choice in question.choices if choice.key == answer.key), "")
    told = "" if answer.key == ANSWER else f" {markdown(label)}"
    given = f"Answered **{markdown(answer.key)}**{told} at {utc(answer.answered_at)} by {markdown(answer.by)}."
    text = "".join(f"> {line}".rstrip() + "\n" for line in clean_text(answer.text).split("\n")) if answer.text else ""
    said = f"{given}\n\n{text}\n" if text else f"{given}\n\n"
    return f"\n## {question.id}\n\n{_about(question)}\n\n{_asked(question)}\n\n{said}{markdown(answer.effect, 300)}\n"
