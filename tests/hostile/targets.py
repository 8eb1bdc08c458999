"""Everything that reads bytes from outside, as functions that raise AssertionError, or anything else, where a promise breaks.

What is promised: any bytes give a value or the one error that is documented for it, with words in it; and what was rendered is
read back as it went in. How long and how much memory it may take is held by who runs them (fuzz.py, test_corpus.py).
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from brain_daemon.adapters.reading import Reader, compile_rules
from brain_daemon.memory.links import links_in
from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Decision, encode_ended
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import BrainError, Damaged, UserError
from brain_daemon.model.frontmatter import Malformed, read, split
from brain_daemon.model.ids import is_task_id
from brain_daemon.model.interface import InterfaceFault, InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import FREE, Ended, Status, Succeeded, Usage
from brain_daemon.model.parsing import Vocabulary, parse_task
from brain_daemon.model.passages import cut, front_matter_end, lines_of
from brain_daemon.model.routing_file import parse_routing
from brain_daemon.model.routing_table import RoutingFault, RoutingTable
from brain_daemon.model.session import new_session, read_session, write_session
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.model.workflow_form import read_workflow
from brain_daemon.record import activity, ledger, questions, ratings, usage
from brain_daemon.record.message import commit_message
from brain_daemon.service.batching import read_file
from brain_daemon.service.config import load
from brain_daemon.service.intake import explain
from brain_daemon.store import control
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal

_SHIPPED = Path(__file__).parents[2] / "tools" / "interfaces"
_TASK = b"""\
---
id: task-7
created: 2026-11-20T20:15:00Z
priority: high
type: code
requires: [code_execution, file_ops]
preferred_interface: claude_code
timeout: 30m
depends_on: [task-a]
budget_usd: 0.50
attempts: 2
on_limit: wait
permissions: write
note: "mine"
---
# Task: Sum it up

## Input
some words, see [[knowledge/x.md]]

```sh
true
```
"""
_FOREIGN = (
    b"---\ndeps: task-a, task-b\nplatform_hint: Claude Code\ncategory: analysis\ntimeout: 1800\nassignee: '@me'\n---\n\n# T\n\nx\n",
    b"\xef\xbb\xbf\n\n---\r\ntags: [a]\r\nstatus: ready\r\n---\r\n# T\r\n\r\nx",
    b"# Plain\n\nno front matter\n",
    b"---\nworkflow: {steps: [{id: a, prompt: 'say {topic}'}]}\nparams: {topic: x}\n---\n# W\n",
)
_WORKFLOW = b"""\
name: nightly
description: two steps
params: {topic: {default: cats}}
steps:
  - id: one
    agent: haiku-general
    prompt: "Write about {topic}, as {{json}}"
    output: text
    timeout: 5m
  - id: two
    prompt: "Judge {text}"
    depends_on: [one]
    when: "text"
    for_each: text
    on_error: retry 2
"""
_CONFIG = b"""\
parallel = 3
settle = "2s"
reserve = "200MiB"
never = ["ollama"]
budgets = [{scope = "day", usd = 5, hard = true}, {scope = "task", tokens = 1000}]
alerts = ["success_rate < 0.5"]
quota_question_at = "90%"
"""
_ROUTING = b"""\
---
order: [free, subscription, paid, fallback]
types: {code: {best: [claude_code], fallback: [codex], strict: false}}
floor: {default: 0.5, code: 0.6}
agents: {haiku-general: {interface: claude_code, model: haiku}}
aliases: {code_generation: code}
strategy: ladder
---
# Routing
"""
_BATCHES = (
    b'[{"prompt": "one", "id": "a"}, {"prompt": "two", "depends_on": "a"}]',
    b"defaults: {type: code}\ntasks:\n- prompt: one\n- text: two\n  priority: high\n",
    b'prompt,type,budget_usd\none,code,0.5\n"two, three",quick,\n',
)
_WORDS = Vocabulary(
    interfaces={"claude_code": "claude_code", "claude": "claude_code"}, capabilities=frozenset({"code_execution"})
)
_QUESTIONS = tuple(
    questions.Question(
        id=name,
        kind=kind,
        subject="task-001",
        asked_at=1795205704.0 + number,
        text="It may have run.",
        choices=tuple(questions.Choice(key=key, label="Do that", command=f"brain answer {name} {key}") for key in keys),
    )
    for number, (name, kind, keys) in enumerate(
        (
            ("interrupted-task-001.a1.0123abcd", questions.QuestionKind.INTERRUPTED, ("rerun", "leave")),
            ("asked-task-003.a1.0123abcd", questions.QuestionKind.ASKED, ("answer", "cancel")),
        )
    )
)
_ROW = CostRow(
    timestamp="2026-11-20T20:15:04Z",
    task_id="task-001",
    attempt_id="task-001.a1.0123abcd",
    attempt=1,
    status=Status.COMPLETED,
    interface="upper",
    model='m, "x"',
    input_tokens=12,
    cost_usd=FREE.usd,
    cost_basis=FREE.basis,
    duration_seconds=1.5,
)
_SPEC = b"# Sum\n\nDo it.\n"
_ATTEMPT = Attempt(
    attempt_id="t.a1.0123abcd",
    task_id="t",
    number=1,
    state=AttemptState.STARTING,
    name="t.md",
    sha256=hashlib.sha256(_SPEC).hexdigest(),
    spec=_SPEC,
    claimant="daemon",
    claimed_at=1795205700.0,
    started_at=1795205701.0,
    interface="upper",
    routing={"reason": "free", "rejected": {"codex": "paid"}},
    argv=("cat", "-"),
)
_ENDED = Ended(
    outcome=Succeeded(text="done"),
    started_at=1795205701.0,
    finished_at=1795205704.0,
    duration_seconds=3.0,
    usage=Usage(input_tokens=3, requests=1),
    cost=FREE,
    text="done",
    files=("a.txt",),
)


@dataclass(frozen=True, slots=True)
class Target:
    """`check` is given any bytes; `seeds` are good ones."""

    name: str
    seeds: tuple[bytes, ...]
    check: Callable[[bytes], None]


def _said(message: str) -> None:
    assert message.strip(), "an error without words"
    assert len(message) < 20_000, "an error as long as its cause"


# what people write


def check_task(data: bytes) -> None:
    found = parse_task("A name.md", data, vocabulary=_WORDS)
    if isinstance(found, Rejection):
        _said(found.message)
        _said(explain(found))
        assert found.line is None or 1 <= found.line <= data.count(b"\n") + 2
    else:
        assert isinstance(found, TaskSpec)
        assert found.sha256 == hashlib.sha256(data).hexdigest()
        assert is_task_id(found.id)
    assert split(data).join() == data
    check_record(data)


def check_passages(data: bytes) -> None:
    """The bytes as a note of the pool: every passage knows its line, and a link leads nowhere by itself."""
    lines = lines_of(data)
    for passage in cut("x.md", lines, front_matter_end(lines)):
        assert 1 <= passage.line <= len(lines)
    assert all(isinstance(link, str) for link in links_in(data.decode("utf-8", "replace")))


def check_record(data: bytes) -> None:
    """The bytes as a task, and as what a program answered to it."""
    if not document.can_hold(data):
        return
    text = data.decode("utf-8", "replace")
    made = document.render(data, {"status": "completed", "note": text[:300]}, "Result", text, text_limit_bytes=1 << 20)
    assert document.restore(made.data) == data
    stripped = document.strip(made.data)
    assert (stripped.data, stripped.exact) == (data, True)
    back = document.read_result(made.data)
    assert (back.text, back.heading, back.intact) == (text, "Result", True)
    assert back.values == {"status": "completed", "note": text[:300]}


def check_recorded(data: bytes) -> None:
    """The bytes as a recorded file that somebody has edited."""
    known = document.is_recorded(data)
    document.strip(data)
    for reading in (document.read_result, document.restore):
        try:
            reading(data)
        except Damaged as error:
            _said(str(error))
        else:
            assert known


def check_interface(data: bytes) -> None:
    found = parse_interface("upper.md", data)
    if isinstance(found, InterfaceFault):
        _said(found.message)
    else:
        assert isinstance(found, InterfaceSpec)
        assert found == parse_interface("upper.md", data)


def check_workflow(data: bytes) -> None:
    for name in ("w.yaml", "w.json"):
        found = read_workflow(name, data, agents=("haiku-general",))
        assert (found.workflow is None) == bool(found.faults)
        for fault in found.faults:
            _said(fault.message)


def check_routing(data: bytes) -> None:
    found = parse_routing(data)
    if isinstance(found, RoutingFault):
        _said(found.message)
    else:
        assert isinstance(found, RoutingTable)


def check_config(data: bytes) -> None:
    root = _scratch()
    path = os.path.join(root, "brain.toml")
    with open(path, "wb") as handle:
        handle.write(data)
    try:
        load(root, {})
    except UserError as error:
        _said(str(error))


def check_batch(data: bytes) -> None:
    from brain_daemon.model.parsing import ParseLimits

    for name in ("b.json", "b.yaml", "b.csv"):
        path = os.path.join(_scratch(), name)
        with open(path, "wb") as handle:
            handle.write(data)
        try:
            read_file(path, ParseLimits())
        except UserError as error:
            _said(str(error))


# what people answer


def check_answers(data: bytes) -> None:
    ticks = questions.parse(data)
    choices = questions.chosen(ticks, _QUESTIONS)
    assert choices.keys() <= {one.id for one in _QUESTIONS}
    page = questions.merged(data, _QUESTIONS)
    assert (page is None) == bool(choices)
    if page is not None:
        assert questions.parse(page) == ()
        assert questions.merged(page, _QUESTIONS) == page
        assert questions.without_texts(page) == questions.without_texts(questions.without_texts(page))
    questions.answered(data)
    asked = replace(_QUESTIONS[0], text=data.decode("utf-8", "replace"))
    assert questions.parse(questions.render([asked, _QUESTIONS[1]])) == ()


# what we write and read back


def check_ledger(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    row = replace(_ROW, model=text[:300] or None, chain_id=text[-300:] or None)
    (back,) = ledger.parse(ledger.append(b"", [row], "x.csv"), "x.csv")
    assert back.to_values() == row.to_values()
    try:
        rows = ledger.parse(data, "x.csv")
    except Damaged as error:
        _said(str(error))
    else:
        assert [CostRow.from_csv(one.to_csv()).to_values() for one in rows] == [one.to_values() for one in rows]


def check_lines(data: bytes) -> None:
    """Pages of one line an outcome: whatever a task is called and a program says is on one line and moves no cursor."""
    text = data.decode("utf-8", "replace")
    row = replace(_ROW, status=Status.FAILED)
    happening = activity.Happening(row=row, title=text, message=text, survivors=(text,), warnings=(text,))
    page = activity.append_activity(b"", [happening])
    assert activity.activity_count(page) == 1
    assert activity.append_activity(page, [happening]) == page
    errors = activity.append_errors(b"", [happening])
    assert activity.error_count(errors) == 1
    assert json.loads(errors)["attempt_id"] == row.attempt_id
    message = commit_message(row, title=text, why=text, error=text, warnings=(text,), origin="git").decode()
    trailers = message.rstrip("\n").split("\n\n")[-1].split("\n")
    assert sum(line.startswith("Attempt-Id:") for line in message.split("\n")) == 1
    assert f"Attempt-Id: {row.attempt_id}" in trailers
    for said in (page.decode(), message):
        assert clean_text(said) == said
    assert clean_line(clean_line(text)) == clean_line(text)


def check_journal(data: bytes) -> None:
    """One cell of the journal's row of an attempt, and of a question's, changed behind our back."""
    journal = _journal()
    text = data.decode("utf-8", "replace")
    for column in ("ended", "routing", "argv", "lineage"):
        journal._connection.execute(f"update attempts set {column} = ?", (text,))
        try:
            (found,) = journal.attempts_of("t")
        except Damaged as error:
            _said(str(error))
        else:
            assert found.attempt_id == _ATTEMPT.attempt_id
        journal._connection.execute(f"update attempts set {column} = ?", (_cells()[column],))
    journal._connection.execute("insert or replace into questions values ('q', ?, 1.0)", (text,))
    try:
        journal.questions()
    except Damaged as error:
        _said(str(error))


def check_sidecars(data: bytes) -> None:
    """Small files beside the text: requests to the daemon, ratings, usage, what was found of interfaces, sessions."""
    control._request("x", data)
    for one in ratings.parse(data):
        assert one.attempt_id is not None
    text = data.decode("utf-8", "replace")
    usage.findings_from(text)
    given = ratings.rating("t", "t.a1.0", good=True, why=text, at=0.0)
    assert list(ratings.parse(ratings.append(b"", given))) == [given]
    try:
        usage.parse(data)
    except Malformed as error:
        _said(str(error))
    try:
        session = read_session(data, "s.json")
    except Damaged as error:
        _said(str(error))
    else:
        assert read_session(write_session(session), "s.json") == session
    try:
        read(text)
    except Malformed as error:
        _said(str(error))


def check_journal_file(data: bytes) -> None:
    """The journal's file with bytes changed: it opens and says what it has, or says what is wrong with it."""
    import sqlite3

    path = os.path.join(_scratch(), "broken.db")
    for ending in ("-wal", "-shm"):
        if os.path.exists(path + ending):
            os.unlink(path + ending)
    with open(path, "wb") as handle:
        handle.write(data)
    try:
        with closing(Journal(path, Files())) as journal:
            journal.open_attempts()
            journal.ended_tasks()
            journal.questions()
            journal.check()
            with journal.transaction():
                journal.insert([replace(_ATTEMPT, attempt_id="n.a1.0123abce", task_id="n")])
    except (BrainError, sqlite3.DatabaseError) as error:
        _said(str(error))


def check_output(data: bytes) -> None:
    """What a program printed, by the rules of one of the clients that are shipped."""
    readers = _readers()
    reader = readers[len(data) % len(readers)]
    found = reader.read(stdout=data, stderr=data[-4_000:], exit_code=len(data) % 3, signal=None, now=1795205704.0)
    assert found.ok == (found.failure is None)


@cache
def _readers() -> tuple[Reader, ...]:
    specs = [parse_interface(path.name, path.read_bytes()) for path in sorted(_SHIPPED.glob("*.md"))]
    return tuple(compile_rules(spec.output) for spec in specs if isinstance(spec, InterfaceSpec))


@cache
def _scratch() -> str:
    made = tempfile.TemporaryDirectory(prefix="brain-hostile-", ignore_cleanup_errors=True)
    _KEPT.append(made)
    return made.name


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def _journal() -> Journal:
    folder = _scratch()
    journal = Journal(os.path.join(folder, "journal.db"), Files(), durable=False)
    journal._connection.execute("pragma synchronous = off")
    journal.add([_ATTEMPT])
    journal.end([_ATTEMPT.finished(_ENDED, Decision.FINISH, Status.COMPLETED, None, "")])
    return journal


@cache
def _cells() -> dict[str, str | None]:
    row = _journal()._connection.execute("select ended, routing, argv, lineage from attempts").fetchone()
    return dict(zip(("ended", "routing", "argv", "lineage"), row, strict=True))


@cache
def _journal_file() -> bytes:
    path = os.path.join(_scratch(), "sound.db")
    with closing(Journal(path, Files())) as journal:
        journal.add([replace(_ATTEMPT, attempt_id=f"t{n}.a1.0123abcd", task_id=f"t{n}") for n in range(40)])
        journal.ask("q", {"kind": "asked"}, 1.0)
        journal._connection.execute("pragma wal_checkpoint(truncate)")
    return Path(path).read_bytes()


def _rendered_seeds() -> tuple[bytes, ...]:
    values = {"status": "completed", "usage": {"input_tokens": 3}, "cost_usd": FREE.usd, "routing": {"reason": "free"}}
    made = [
        document.render(data, values, "Result", "An answer.\n\n---\nid: x\n---\n").data for data in (_TASK, *_FOREIGN)
    ]
    return (*made, document.render_beside(values, "Error", "it failed"))


def targets() -> dict[str, Target]:
    """Every target by its name."""
    interfaces = tuple(path.read_bytes() for path in sorted(_SHIPPED.glob("*.md")))
    pages = (
        questions.render(_QUESTIONS),
        questions.render(_QUESTIONS).replace(b"- [ ] **rerun**", b"- [x] **rerun**"),
        questions.render(
            _QUESTIONS, drafts={_QUESTIONS[1].id: "Take the blue one.\n\n## not-ours\n- [x] **rerun** no"}
        ),
        questions.append_answered(
            b"", [questions.Answer(question=_QUESTIONS[0], key="rerun", answered_at=1e9, effect="done", text="so")]
        ),
    )
    rows = ledger.append(b"", [replace(_ROW, attempt_id=f"t.a{n}.0123abcd", attempt=n) for n in range(1, 6)], "x.csv")
    extra = rows.replace(b"\n", b",z\n").replace(b",z\n", b",more\n", 1)
    sidecars = (
        json.dumps({"verb": "cancel", "task_id": "t", "why": "x"}).encode(),
        ratings.append(b"", ratings.rating("t", "t.a1.0", good=False, why="wrong year", at=0.0)),
        usage.render(
            usage.UsageView(updated=0.0, day="2026-11-20", state="running", interfaces=[usage.InterfaceUsage(name="a")])
        ),
        usage.findings_to({"a": usage.Finding(quotas=(usage.QuotaUse(quota="q", share=0.5),))}).encode(),
        write_session(new_session("00000000-0000-4000-8000-000000000000", "/p", 1.0)),
    )
    outputs = (
        b'{"type": "result", "result": "x", "is_error": false, "usage": {"input_tokens": 3}, "total_cost_usd": 0.1}\n',
        b'{"a": 1}\n{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795205704}}\n',
        b"plain words\n",
        b'{"response": "x", "stats": {"models": {"m": {"tokens": {"prompt": 1, "candidates": 2}}}}}',
    )
    found = (
        Target("task", (_TASK, *_FOREIGN), check_task),
        Target("passages", (_TASK, *_FOREIGN), check_passages),
        Target("recorded", _rendered_seeds(), check_recorded),
        Target("interface", interfaces, check_interface),
        Target("workflow", (_WORKFLOW, json.dumps({"steps": [{"id": "a", "prompt": "x"}]}).encode()), check_workflow),
        Target("routing", (_ROUTING,), check_routing),
        Target("config", (_CONFIG,), check_config),
        Target("batch", _BATCHES, check_batch),
        Target("answers", pages, check_answers),
        Target("ledger", (rows, extra), check_ledger),
        Target("lines", (_TASK, *_FOREIGN), check_lines),
        Target(
            "journal",
            (encode_ended(_ENDED).encode(), json.dumps(questions.question_to(_QUESTIONS[1])).encode()),
            check_journal,
        ),
        Target("journal_file", (_journal_file(),), check_journal_file),
        Target("sidecars", sidecars, check_sidecars),
        Target("output", outputs, check_output),
    )
    return {one.name: one for one in found}
