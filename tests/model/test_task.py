"""A task file's bytes become a TaskSpec or a Rejection: every key, spelling and fault of the design."""

import hashlib
import re
from decimal import Decimal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from brain_daemon.model import frontmatter
from brain_daemon.model.frontmatter import BOM
from brain_daemon.model.outcome import Mode
from brain_daemon.model.parsing import ParseLimits, Vocabulary, parse_task, too_large
from brain_daemon.model.task import OnDependencyFailure, OnLimit, Permissions, Prefer, Priority, Rejection, TaskSpec

WORDS = Vocabulary(
    interfaces={"claude_code": "claude_code", "claude": "claude_code", "codex": "codex"},
    capabilities=frozenset({"code_execution", "file_ops"}),
    types={"code_generation": "code"},
)


def spec(front="", body="# Task: Fix the login\n", **options):
    """The TaskSpec of a file with these keys."""
    parsed = parse_task("a.md", f"---\n{front}---\n{body}".encode(), **options)
    assert isinstance(parsed, TaskSpec), parsed
    return parsed


def refused(front, body="# Task: Fix the login\n"):
    """The Rejection of a file with these keys."""
    parsed = parse_task("a.md", f"---\n{front}---\n{body}".encode())
    assert isinstance(parsed, Rejection), parsed
    return parsed


def test_every_key_of_the_design_is_read():
    """The example of the design, key by key."""
    front = """\
id: task-20261120T201500-7f3a        # optional; else from the file name
created: 2026-11-20T20:15:00Z
priority: high
type: code
requires: [code_execution, file_ops]
preferred_interface: claude_code
model: sonnet
timeout: 30m
depends_on: [task-a]
handoff_from: [task-b]
on_dependency_failure: Run
chain: nightly-report
parent: task-0
session: evening
not_before: 2026-11-21T01:00:00Z
budget_usd: 0.50
attempts: 2
on_limit: ask
idempotent: false
workspace: ~/src/app
permissions: write
verify: pytest -q
conflicts_with: [task-c]
local_only: yes
never: [codex]
status: ready
"""
    body = "# Task: Fix the login\n## Input\nIt fails.\n"
    data = f"---\n{front}---\n{body}".encode()
    assert parse_task("Fix login.md", data) == TaskSpec(
        id="task-20261120T201500-7f3a",
        explicit_id=True,
        title="Fix the login",
        text=body,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        name="Fix login.md",
        created=1795205700.0,
        priority=Priority.HIGH,
        type="code",
        requires=("code_execution", "file_ops"),
        preferred_interface="claude_code",
        model="sonnet",
        timeout_seconds=1800,
        depends_on=("task-a",),
        handoff_from=("task-b",),
        on_dependency_failure=OnDependencyFailure.RUN,
        chain="nightly-report",
        parent="task-0",
        session="evening",
        not_before=1795222800.0,
        budget_usd=Decimal("0.50"),
        attempts=2,
        on_limit=OnLimit.ASK,
        idempotent=False,
        workspace="~/src/app",
        permissions=Permissions.WRITE,
        verify="pytest -q",
        conflicts_with=("task-c",),
        local_only=True,
        never=("codex",),
    )


def test_what_waits_for_what_is_each_id_once():
    """Handoffs imply dependencies."""
    assert spec("depends_on: [x, y]\nhandoff_from: [y, z]\n").waits_for == ("x", "y", "z")


def test_a_plain_file_is_a_task():
    """No front matter is needed: all of it is the text, the name gives the id."""
    data = BOM + b"Summarise the news\r\nof today"
    parsed = parse_task("Daily Note.md", data)
    assert isinstance(parsed, TaskSpec)
    assert (parsed.id, parsed.explicit_id, parsed.title) == ("Daily-Note", False, "Daily Note")
    assert (parsed.text, parsed.type, parsed.priority) == ("Summarise the news\r\nof today", "general", Priority.MEDIUM)


@pytest.mark.parametrize("style", ["{front}", "\ufeff{front}", "\n\n{front}"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_bom_crlf_and_a_missing_final_newline_are_accepted(style, newline):
    """Files from any editor say the same."""
    text = style.format(front="---\npriority: low\n---\n# Do it").replace("\n", newline)
    parsed = parse_task("a.md", text.encode())
    assert isinstance(parsed, TaskSpec)
    assert (parsed.priority, parsed.title) == (Priority.LOW, "Do it")


@pytest.mark.parametrize(
    ("front", "field", "value"),
    [
        ("chain_id: nightly\n", "chain", "nightly"),
        ("deps: [a1, b1]\n", "depends_on", ("a1", "b1")),
        ("Depends On: a1, b1\n", "depends_on", ("a1", "b1")),
        ("dependsOn: a1\n", "depends_on", ("a1",)),
        ("depends_on: a1\ndeps: [b1, a1]\n", "depends_on", ("a1", "b1")),
        ("depends_on: [[a1]]\n", "depends_on", ("a1",)),
        ("depends_on:\n  - [[a1]]\n  - [[b1]]\n", "depends_on", ("a1", "b1")),
        ('depends_on: "[[tasks/Fix login|the login]], [[b1.md#part]]"\n', "depends_on", ("Fix-login", "b1")),
        ('depends_on: ["[[Plan, first draft]]"]\n', "depends_on", ("Plan-first-draft",)),
        ('depends_on: "[[Plan, first draft]]"\n', "depends_on", ("Plan-first-draft",)),
        ('depends_on: ["[the plan](completed/plan.md)"]\n', "depends_on", ("plan",)),
        ("handoff_memory_id: mem-1\n", "handoff_from", ("mem-1",)),
        ("platform_hint: Claude Code\n", "preferred_interface", "claude_code"),
        ("interface: Gemini-CLI\n", "interface", "gemini_cli"),
        ("preferred_interface: any\n", "preferred_interface", None),
        ("category: Code Review\n", "type", "code_review"),
        ("requires: Code Execution, file-ops; web\n", "requires", ("code_execution", "file_ops", "web")),
        ("requires: code_execution\n", "requires", ("code_execution",)),
        ("requires:\n- a\n-\n- a\n", "requires", ("a",)),
        ("requires: []\n", "requires", ()),
        ("never: '@codex, Claude Code'\n", "never", ("codex", "claude_code")),
        ("timeout: 1800\n", "timeout_seconds", 1800.0),
        ("timeout: PT30M\n", "timeout_seconds", 1800.0),
        ("timeout:\n", "timeout_seconds", None),
        ('model: ""\n', "model", None),
        ("model: null\n", "model", None),
        ("priority: HIGH\n", "priority", Priority.HIGH),
        ("permissions: read-only\n", "permissions", Permissions.READ),
        ("permissions: full\n", "permissions", Permissions.FULL),
        ("budget: $2\n", "budget_usd", Decimal(2)),
        ("max_retries: 3\n", "attempts", 4),
        ("max_attempts: 3\n", "attempts", 3),
        ("idempotent: on\n", "idempotent", True),
        ("id: 0123\n", "id", "0123"),
        ("id: no\n", "id", "no"),
        ("id: [[task-7]]\n", "id", "task-7"),
        ("chain: '[[nightly]]'\n", "chain", "nightly"),
        ("created: '[[2026-11-20]]'\n", "created", 1795132800.0),
        ("workspace: .\n", "workspace", "brain"),
        ("status: To Do\n", "draft", False),
        ("status: Draft\n", "draft", True),
        ("draft: true\n", "draft", True),
        ("verify: a | b\n", "verify", "a | b"),
        ("name: x\n", "title", "Fix the login"),
    ],
)
def test_what_people_write_by_other_names_is_understood(front, field, value):
    """Other keys, spellings, scalars for lists, comma lists and wiki links."""
    assert getattr(spec(front), field) == value


@pytest.mark.parametrize(
    ("requires", "kind"),
    [
        ("code_execution, file_ops", "code"),
        ("file_ops, web_search", "research"),
        ("Deep Analysis", "analysis"),
        ("file_ops", "file_operations"),
        ("long_running", "long_running"),
        ("quick_query", "quick"),
        ("vision", "general"),
    ],
)
def test_a_task_without_a_type_gets_the_one_its_requirements_suggest(requires, kind):
    """The first row of the table that any capability stands in."""
    assert spec(f"requires: {requires}\n").type == kind


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ("# Task: Fix\n", "Fix"),
        ("intro\n\n# TASK:Fix   it ##\n", "Fix it"),
        ("```sh\n# comment\n```\n# Fix\n", "Fix"),
        ("~~~~\n```\n# no\n~~~\n# no\n~~~~~\n# Fix", "Fix"),
        ("## Fix\n#Fix\n", "from the front"),
        ("# Task:\ntext\n", "from the front"),
        ("# " + "x" * 300, "x" * 200),
        ("# [[Fix]] the [login](x.md)\n", "[[Fix]] the [login](x.md)"),
    ],
)
def test_the_title_is_the_first_heading_outside_of_code(body, title):
    """Without a heading it is the front matter's, else the name."""
    assert spec("title: from the front\n", body).title == title


def test_unknown_keys_are_kept_as_they_were_read():
    """What we do not know is neither lost nor said."""
    parsed = spec("tags: [a, {b: c}]\nflavour: '1'\nrequired: x\n")
    assert dict(parsed.extra) == {"tags": ["a", {"b": "c"}], "flavour": "1", "required": "x"}


def test_a_key_that_looks_like_a_misspelling_is_said():
    """It has no effect, and the person hears which key was meant."""
    parsed = spec("prioritty: high\nlocal_onyl: true\nlabels: [a]\nxy: 1\n")
    assert parsed.warnings == (
        "line 2: the key `prioritty` is unknown and has no effect: did you mean `priority`?",
        "line 3: the key `local_onyl` is unknown and has no effect: did you mean `local_only`?",
    )
    assert [key for key, _ in parsed.extra] == ["prioritty", "local_onyl", "labels", "xy"]


def test_the_number_of_guesses_is_bounded():
    """A file of misspellings is not read aloud."""
    many = spec("".join(f"priorit{n}: x\n" for n in range(60)))
    lost = spec("".join(f"k{n}: #x\n" for n in range(60)))
    assert (len(many.warnings), len(lost.warnings)) == (20, 20)


def test_a_word_lost_to_a_comment_is_said():
    """`#urgent` is nothing to YAML."""
    parsed = spec("priority: #urgent\nmodel: # none yet\nchain:\n")
    assert parsed.priority is Priority.MEDIUM
    assert parsed.warnings == ("line 2: `#urgent` was read as a comment, so `priority` is empty: put it in quotes",)


def test_an_id_that_had_to_be_written_differently_is_said():
    """An id is what stands in file names."""
    parsed = spec("id: Fix the login!\n")
    assert (parsed.id, parsed.explicit_id) == ("Fix-the-login", True)
    assert parsed.warnings == ("line 2: the id Fix the login! is written Fix-the-login here",)


@pytest.mark.parametrize("text", ["../../etc/passwd", "/abs", "a\\..\\b", "CON", "-rf", "a/../b", "~", "x" * 190])
def test_no_id_leads_out_of_its_folder(text):
    """Whatever is asked for, the id keeps to its grammar."""
    assert frontmatter.UNSEEN.search(spec(f"id: '{text}'\n").id) is None
    assert "/" not in spec(f"id: '{text}'\n").id
    assert not spec(f"id: '{text}'\n").id.startswith((".", "-"))


@pytest.mark.parametrize(
    ("front", "line", "field", "found", "allowed"),
    [
        ("id: a1\npriority: urgent\n", 3, "priority", "urgent", "high, medium or low"),
        ("timeout: soon\n", 2, "timeout", "soon", "a duration such as 30m"),
        ("timeout: 0\n", 2, "timeout", "0", "a duration"),
        ("timeout: [1, 2]\n", 2, "timeout", "[1, 2]", "a duration"),
        ("model:\n  a: b\n", 2, "model", "{'a': 'b'}", "one model"),
        ("requires: {a: b}\n", 2, "requires", "{a: b}", "a list of names"),
        ("depends_on: '[[|x]]'\n", 2, "depends_on", "'[[|x]]'", "a list of task ids"),
        ("requires: ','\n", 2, "requires", "','", "a list of names"),
        ("not_before: tomorrow\n", 2, "not_before", "tomorrow", "an ISO date"),
        ("created: yesterday\n", 2, "created", "yesterday", "an ISO date"),
        ("budget_usd: 5 EUR\n", 2, "budget_usd", "5 EUR", "US dollars"),
        ("attempts: 0\n", 2, "attempts", "0", "from 1 to 100"),
        ("attempts: two\n", 2, "attempts", "two", "from 1 to 100"),
        ("max_retries: 100\n", 2, "max_retries", "100", "from 0 to 99"),
        ("on_limit: run\n", 2, "on_limit", "run", "wait, fallback or ask"),
        ("on_dependency_failure: skip\n", 2, "on_dependency_failure", "skip", "fail or run"),
        ("idempotent: maybe\n", 2, "idempotent", "maybe", "true or false"),
        ("local_only: 2\n", 2, "local_only", "2", "true or false"),
        ("permissions: root\n", 2, "permissions", "root", "read, write or full"),
        ("workspace: |\n  a\n  b\n", 2, "workspace", "|", "the path of a repository"),
        ("status: done\n", 2, "status", "done", "ready or draft"),
        ("status: In Progress\n", 2, "status", "In Progress", "ready or draft"),
        ("result: done\n", 2, "result", "done", "no such key"),
        ("type: " + "x" * 300 + "\n", 2, "type", "x" * 120, "one word"),
        ("chain: a\nchain_id: b\n", 3, "chain_id", "b", None),
        ("id: a1\ndepends_on: [b1, A1]\n", 3, "depends_on", "[b1, A1]", "the ids of other tasks"),
        ("handoff: [[a]]\n", 2, "handoff", "[[a]]", "the ids of other tasks"),
        ("title: Fix: x\n", 2, None, "title: Fix: x", None),
        ("a: *b\n", 2, None, "a: *b", None),
    ],
)
def test_a_fault_is_said_with_line_field_found_and_allowed(front, line, field, found, allowed):
    """Nothing that changes the person's wish is guessed."""
    rejection = refused(front)
    assert (rejection.line, rejection.field, rejection.found) == (line, field, found)
    assert (rejection.allowed or "").find(allowed or "") >= 0
    assert rejection.sha256
    assert rejection.message


def test_a_rejection_keeps_the_id_that_the_file_gives():
    """What waits for this task must learn that it failed, wherever the fault stands."""
    assert refused("priority: urgent\nid: task-9\n").id == "task-9"
    assert refused("priority: urgent\n").id == "a"
    assert refused("id: [x\n").id == "a"


@pytest.mark.parametrize(
    ("front", "field"),
    [
        ("priority: [high|medium|low]\n", "priority"),
        ("priority: high|medium|low\n", "priority"),
        ("type: [task type]\n", "type"),
        ("id: [name]\n", "id"),
        ("id: <name>\n", "id"),
        ("model: {model}\n", "model"),
        ("model: '{{model}}'\n", "model"),
        ("interface: '[interface]'\n", "interface"),
        ("requires: [code|research]\n", "requires"),
        ("requires: {capability}\n", "requires"),
        ("depends_on: [task-a, ...]\n", "depends_on"),
        ("depends_on: '[task-id]'\n", "depends_on"),
        ("created: YYYY-MM-DD\n", "created"),
        ("verify: <command>\n", "verify"),
    ],
)
def test_an_unfilled_key_is_told_to_be_filled_in(front, field):
    """A template's placeholder is never taken for a value."""
    rejection = refused(front)
    assert rejection.field == field
    assert rejection.message.startswith("fill in the placeholder")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("# Task: [name]\ntext\n", 3),
        ("# <title>\n", 3),
        ("# Task: Title\n## Input\n## Expected Output\n## Context\n", 3),
        ("# Fix it\n## Input\n[what is given]\n## Output\n- ...\n", 5),
        ("## Input\n## Output\n", 3),
        ("[describe the task]", 3),
    ],
)
def test_a_text_that_is_still_the_template_is_told_to_be_filled_in(body, line):
    """Headings and placeholders alone say nothing."""
    rejection = refused("", body)
    assert rejection.message.startswith("fill in the placeholder")
    assert rejection.line == line


@pytest.mark.parametrize(
    "body", ["# Fix the login\n", "## Input\nreal\n[x]\n", "<https://example.org/1>\n", "# Title\nreal\n", "[[note]]"]
)
def test_a_text_that_says_something_is_a_task(body):
    """A title alone can be the whole request."""
    assert spec("", body).text == body


def test_a_long_text_is_not_searched_for_placeholders():
    """No template is that long."""
    assert spec("", "[x]\n" * 2000).title == "a"


@pytest.mark.parametrize("data", [b"", b"\n \r\n", BOM, b"---\npriority: low\n---\n\n", b" \r\n" * 9000])
def test_a_file_that_says_nothing_is_refused(data):
    """An empty file is no request."""
    parsed = parse_task("a.md", data)
    assert isinstance(parsed, Rejection)
    assert parsed.message == "the task is empty: write what is to be done"


def test_a_title_in_the_front_matter_is_a_task_without_text():
    """It says what is to be done."""
    assert spec("title: Water the plants\n", "").title == "Water the plants"


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a\nb\0c", 2, "NUL byte"),
        (b"a\n\xff\n", 2, r"not UTF-8 \(byte 0xff\)"),
        ("# Fix".encode("utf-16"), 1, "UTF-16"),
        ("# Fix".encode("utf-16-be"), 1, "NUL"),
        (b"\xfe\xff\0#", 1, "UTF-16"),
        (b"\xed\xa0\x80", 1, "not UTF-8"),
        (b"---\nid: a\ntext\n", 1, "never closed"),
        (b"\n---\nid: a\ntext\n", 1, "never closed"),
        (b"---\nhello\n---\n", 2, "key: value"),
    ],
)
def test_what_is_not_text_or_not_closed_is_refused_with_its_line(data, line, message):
    """Binary, other encodings and half a front matter are said."""
    parsed = parse_task("a.md", data)
    assert isinstance(parsed, Rejection)
    assert parsed.line == line
    assert re.search(message, parsed.message)


def test_a_file_that_is_too_large_is_refused_unread():
    """The size alone is enough."""
    assert parse_task("Big One.md", b"x" * 1_000_001) == too_large("Big One.md", 1_000_001)
    rejection = too_large("Big One.md", 5_000_000)
    assert (rejection.id, rejection.sha256, rejection.found) == ("Big-One", "", "5,000,000 bytes")
    assert isinstance(parse_task("a", b"12345", limits=ParseLimits(file_bytes=4)), Rejection)


def test_the_limits_of_front_matter_can_be_set():
    """Size, depth and number of values."""
    for limits in (ParseLimits(head_bytes=5), ParseLimits(depth=1), ParseLimits(nodes=2)):
        assert isinstance(parse_task("a.md", b"---\ntags: [a, b]\n---\nx", limits=limits), Rejection)


def test_names_resolve_against_what_exists_now():
    """Aliases become names; what matches nothing is kept and said."""
    parsed = spec(
        "interface: Claude\npreferred_interface: gemini\nnever: [claude, codx]\nrequires: [file_ops, code_exec]\ntype: code generation\n",
        vocabulary=WORDS,
    )
    assert (parsed.interface, parsed.preferred_interface, parsed.never) == (
        "claude_code",
        "gemini",
        ("claude_code", "codx"),
    )
    assert (parsed.requires, parsed.type) == (("file_ops", "code_exec"), "code")
    assert parsed.warnings == (
        "preferred_interface: there is no interface `gemini`",
        "never: there is no interface `codx`: did you mean `codex`?",
        "no interface can do `code_exec` now: did you mean `code_execution`?",
    )


def test_a_task_of_backlog_md_is_read_as_far_as_it_goes():
    """Status, dates, dependencies, parent and a known assignee are mapped; the rest is kept."""
    front = (
        "id: task-42\ntitle: 'Fix: login'\nstatus: To Do\nassignee: ['@claude']\nreporter: '@me'\ncreated_date: '2026-11-20 20:15'\n"
        "labels:\n  - cli\ndependencies: [task-41]\nparent_task_id: task-40\npriority: high\nordinal: 1000\n"
    )
    parsed = spec(front, "## Description\n\nIt fails.\n", vocabulary=WORDS)
    assert (parsed.id, parsed.title, parsed.draft, parsed.created) == ("task-42", "Fix: login", False, 1795205700.0)
    assert (parsed.depends_on, parsed.parent, parsed.priority) == (("task-41",), "task-40", Priority.HIGH)
    assert parsed.preferred_interface == "claude_code"
    assert parsed.warnings == ()
    assert dict(parsed.extra) == {"reporter": "@me", "labels": ["cli"], "ordinal": "1000"}


@pytest.mark.parametrize(
    ("assignee", "preferred"),
    [("'@sara'", None), ("[]", None), ("{a: b}", None), ("Claude\npreferred_interface: codex", "codex")],
)
def test_an_assignee_is_an_interface_only_if_there_is_one_of_that_name(assignee, preferred):
    """People are assigned too; nothing is said about them."""
    parsed = spec(f"assignee: {assignee}\n", vocabulary=WORDS)
    assert (parsed.preferred_interface, parsed.warnings) == (preferred, ())


@pytest.mark.parametrize(("number", "priority"), [("0", "high"), ("3", "medium"), ("10", "low")])
def test_a_task_of_claude_code_queue_is_read_as_far_as_it_goes(number, priority):
    """Its priorities count from 0, its retries come on top of the first attempt."""
    front = f"priority: {number}\nworking_directory: .\ncontext_files: []\nmax_retries: 2\nestimated_tokens: null\n"
    parsed = spec(front)
    assert (parsed.priority, parsed.workspace, parsed.attempts) == (Priority(priority), "brain", 3)
    assert parsed.warnings == ()


def test_numbers_are_no_priorities_elsewhere():
    """Only that program's files say which way they count."""
    assert refused("priority: 1\n").found == "1"
    assert refused("priority: [a, b]\nmax_retries: 1\n").field == "priority"


def test_a_note_of_obsidian_is_read_as_far_as_it_goes():
    """Tags, aliases and dates of other programs are no faults; a date nobody can read is said and ignored."""
    parsed = spec("tags: [a]\naliases: [b]\ncssclasses: []\ndate: last Friday\nscheduled: 2026-11-21\n")
    assert parsed.not_before == 1795219200.0
    assert parsed.created is None
    assert [key for key, _ in parsed.extra] == ["tags", "aliases", "cssclasses", "date"]
    assert len(parsed.warnings) == 1
    assert parsed.warnings[0].startswith("line 5: date is last Friday, but must be an ISO date")


@pytest.mark.parametrize("name", ["\udcff\udcfe.md", "日本.md", "..md", ".md", "a/b.MD", "x" * 250 + ".md"])
def test_any_file_name_gives_an_id(name):
    """Names that are no UTF-8 or no ASCII have an id too."""
    parsed = parse_task(name, b"text")
    assert isinstance(parsed, TaskSpec)
    assert parsed.id
    assert parsed.id == parse_task(name, b"other").id


KEY_LINES = st.sampled_from(
    [
        "id",
        "priority",
        "requires",
        "depends_on",
        "timeout",
        "interface",
        "never",
        "status",
        "created",
        "budget_usd",
        "chain",
        "assignee",
    ]
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["[a, b]", "{a: b}", "[[x]]", "'[[x|y]]'", "<x>", "1h", "[", "@x", "- a", "[[[x]]]"]),
)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: b"---\n" + tail + b"\n---\ntext")))
@example(b"---\n---")
@example(b"---\n~: x\n---\ny")
def test_any_bytes_are_a_task_or_a_rejection(data):
    """Nothing is raised, whatever the file holds."""
    parsed = parse_task("any.md", data)
    assert parsed.sha256 == hashlib.sha256(data).hexdigest()
    if isinstance(parsed, TaskSpec):
        assert data.endswith(parsed.text.encode())


@given(st.lists(st.tuples(KEY_LINES, VALUES), max_size=6))
def test_any_value_of_our_keys_is_a_task_or_a_rejection(lines):
    """Values of every shape, for every kind of key."""
    front = "".join(f"{key}: {value}\n" for key, value in lines)
    parsed = parse_task("any.md", f"---\n{front}---\ntext".encode("utf-8", "replace"), vocabulary=WORDS)
    assert isinstance(parsed, (TaskSpec, Rejection))


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 999_999,
        b"---\n" + b"a: " + b"[" * 5000 + b"\n---\nx",
        b"---\n" + b" " * 999_000,
        b"---\n" * 249_000,
        b"\n" * 999_999,
        b"# " + b" " * 999_000 + b"x",
        b"[" * 999_999,
        b"```\n" * 249_000,
        b"---\n" + b"k: " + b"a|" * 8000 + b"\n---\nx",
        b"---\ndepends_on: '" + b"[" * 16_000 + b"'\n---\nx",
        b"---\nrequires: '" + b"a," * 8_000 + b"'\n---\nx",
        b"---\n" + b"".join(b"kee%d: x\n" % n for n in range(900)) + b"---\nx",
    ],
    ids=range(12),
)
def test_the_largest_files_are_parsed_in_bounded_steps(data, monkeypatch):
    """Events are counted, not time: no file makes the YAML reader run away."""
    events = 0

    class Counting(yaml.CBaseLoader):
        def get_event(self):
            nonlocal events
            events += 1
            return super().get_event()

    monkeypatch.setattr(frontmatter, "LOADER", Counting)
    assert parse_task("a.md", data).size_bytes == len(data)
    assert events <= 2_010


@pytest.mark.parametrize(
    ("line", "prefer", "preferred"),
    [
        ("prefer: speed", Prefer.SPEED, None),
        ("prefer: Quality", Prefer.QUALITY, None),
        ("prefer: codex", None, "codex"),
        ("prefers: codex", None, "codex"),
    ],
)
def test_prefer_weighs_or_names_an_interface(line, prefer, preferred):
    """The three words go first; any other is the name that it has always been."""
    task = parse_task("a.md", f"---\n{line}\n---\n# A\n".encode())
    assert isinstance(task, TaskSpec)
    assert (task.prefer, task.preferred_interface) == (prefer, preferred)


def test_a_mode_of_ours_is_kept_and_another_word_is_left_aside_and_said():
    """Other programs have a key of that name, too."""
    ours = parse_task("a.md", b"---\nmode: batch\n---\n# A\n")
    theirs = parse_task("a.md", b"---\nmode: dark\n---\n# A\n")
    assert isinstance(ours, TaskSpec)
    assert isinstance(theirs, TaskSpec)
    assert (ours.mode, ours.warnings) == (Mode.BATCH, ())
    assert theirs.mode is Mode.DAEMON
    assert "mode is dark" in theirs.warnings[0]
