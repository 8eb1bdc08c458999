"""Questions to the person: prompts/pending.md asks, prompts/answered.md keeps the answers.

A question is a section with its id as the heading and one box a choice. A person answers by ticking one box and
saving, or by the command beside it. The file is written as a whole from the open questions, in the order they were
asked; a question is the same question as long as its id is, so it is asked once.

    ## interrupted-task-001.a1.0123abcd

    About **task-001**, asked 2026-11-20T20:15:04Z (interrupted).

    > It may have run: the daemon does not know how it ended.

    - [ ] **rerun** Run it again: `brain answer interrupted-task-001.a1.0123abcd rerun`

Who must agree: the daemon reads the ticks before it writes the file, since what it writes has none. Text from outside
stands behind `>` or after the box's key on one line, so it can be neither heading nor box. Failures: none are fatal; a line that is not
understood is no answer, and two boxes of one question are none either (`contested`).
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.ids import slug
from brain_daemon.record.wording import code, markdown, utc, yaml_text

MAX_TEXT_LINES = 20
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEADING = re.compile(r"##[ \t]+(\S+)[ \t]*")
_TICKED = re.compile(r"\s{0,3}[-*+][ \t]+\[[ \t]*[xX✓✔][ \t]*\][ \t]+\*\*([^*\s]+)\*\*.*")
_NOTHING = b"# Questions for you\n\nThere is nothing to answer.\n"
_ANSWERED_HEAD = b"# Answered questions\n"


class QuestionKind(StrEnum):
    """What a question is about."""

    INTERRUPTED = "interrupted"
    NO_INTERFACE = "no_interface"
    SECRET = "secret"  # noqa: S105 - the kind of question, not a password
    APPROVAL = "approval"
    ORIGIN = "origin"
    ASKED = "asked"


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
    """Something only a person can decide. `subject` is a task id or an interface, `asked_at` epoch seconds."""

    id: str
    kind: QuestionKind
    subject: str
    asked_at: float
    text: str
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.id):
            raise ValueError(f"{self.id!r} is no id of a question")


@dataclass(frozen=True, slots=True, order=True)
class Tick:
    """A ticked box: whose question, and which key."""

    question_id: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question with the key chosen, when (epoch seconds), by what way (`file`, `command`), and what was done then."""

    question: Question
    key: str
    answered_at: float
    effect: str
    by: str = "file"


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


def render(questions: Iterable[Question], contested: Collection[str] = ()) -> bytes:
    """prompts/pending.md: the open questions, oldest first, each id once; `contested` ids had more than one box ticked."""
    asked = {question.id: question for question in reversed(tuple(questions))}
    if not asked:
        return _NOTHING
    ordered = sorted(asked.values(), key=lambda question: (question.asked_at, question.id))
    ids = "".join(f"  - {yaml_text(question.id)}\n" for question in ordered)
    intro = "Tick one box of a question and save this file, or run the command beside the box.\n"
    sections = "\n".join(_section(question, question.id in contested) for question in ordered)
    return f"---\nquestions:\n{ids}---\n# Questions for you\n\n{intro}\n{sections}".encode()


def parse(data: bytes) -> tuple[Tick, ...]:
    """The boxes a person ticked, in the order of the file, each once. Any line ends and a byte-order mark are accepted."""
    ticks: dict[Tick, None] = {}
    current: str | None = None
    for line in data.decode("utf-8-sig", "replace").splitlines():
        if heading := _HEADING.fullmatch(line):
            current = heading[1]
        elif line.startswith(("# ", "## ")):
            current = None
        elif current and (box := _TICKED.fullmatch(line)):
            ticks[Tick(current, box[1])] = None
    return tuple(ticks)


def chosen(ticks: Iterable[Tick], questions: Iterable[Question]) -> dict[str, Choice]:
    """The choice per question id where exactly one box of an open question is ticked; the rest is no answer yet."""
    return {identity: picked[0] for identity, picked in _picked(ticks, questions).items() if len(picked) == 1}


def contested(ticks: Iterable[Tick], questions: Iterable[Question]) -> frozenset[str]:
    """Ids of the open questions with more than one box ticked: they stay open, and `render` says so."""
    return frozenset(identity for identity, picked in _picked(ticks, questions).items() if len(picked) > 1)


def _picked(ticks: Iterable[Tick], questions: Iterable[Question]) -> dict[str, list[Choice]]:
    choices = {Tick(question.id, choice.key): choice for question in questions for choice in question.choices}
    picked: dict[str, list[Choice]] = {}
    for tick in dict.fromkeys(ticks):
        if tick in choices:
            picked.setdefault(tick.question_id, []).append(choices[tick])
    return picked


def append_answered(existing: bytes, answers: Sequence[Answer]) -> bytes:
    """prompts/answered.md (b"" for a new file) with each answer it does not hold yet, at its end."""
    data = existing or _ANSWERED_HEAD
    for answer in answers:
        heading = f"\n## {answer.question.id}".encode()
        if heading + b"\n" in data or heading + b"\r\n" in data:
            continue
        data += (b"" if data.endswith(b"\n") else b"\n") + _answered(answer).encode()
    return data


def _section(question: Question, contested: bool) -> str:
    boxes = "".join(
        f"- [ ] **{choice.key}** {markdown(choice.label)}: {code(choice.command)}\n" for choice in question.choices
    )
    again = "More than one box was ticked: tick one.\n\n" if contested else ""
    return f"## {question.id}\n\n{_about(question)}\n\n{_quoted(question.text)}\n\n{again}{boxes}"


def _about(question: Question) -> str:
    return f"About **{markdown(question.subject)}**, asked {utc(question.asked_at)} ({question.kind.value})."


def _quoted(text: str) -> str:
    lines = clean_text(text).strip().splitlines()
    kept = [f"> {clean_line(line, 300)}".rstrip() for line in lines[:MAX_TEXT_LINES]]
    return "\n".join([*kept, "> …"] if len(lines) > MAX_TEXT_LINES else kept)


def _answered(answer: Answer) -> str:
    question = answer.question
    label = next((choice.label for choice in question.choices if choice.key == answer.key), "")
    given = (
        f"Answered **{markdown(answer.key)}** {markdown(label)} at {utc(answer.answered_at)} by {markdown(answer.by)}."
    )
    return f"\n## {question.id}\n\n{_about(question)}\n\n{_quoted(question.text)}\n\n{given}\n\n{markdown(answer.effect, 300)}\n"
