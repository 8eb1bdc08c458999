"""Front matter: the exact split on bytes, and YAML read as text within bounds."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from brain_daemon.model import frontmatter
from brain_daemon.model.frontmatter import BOM, INTERFACE_BOUNDS, Bounds, Malformed, load, load_lines, read, split

PIECES = [
    b"---",
    b"---\n",
    b"---\r\n",
    b"--- \t\n",
    b"...\n",
    b"id: x\n",
    b"key:\r\n",
    b"\n",
    b"\r\n",
    b" ",
    BOM,
    b"text",
    b"```\n",
    b"\xff",
    b"\0",
]


@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)))
@example(b"")
@example(b"---")
@example(BOM + b"\n---\na: b\n")
def test_the_parts_of_any_bytes_join_to_the_same_bytes(data):
    """Nothing is lost in the split, whatever the file holds."""
    parts = split(data)
    assert parts.join() == data
    assert data[parts.body_offset :] == parts.body
    if parts.head is not None:
        assert data[parts.head_offset :].startswith(parts.head)
        assert data.split(b"\n")[parts.head_line - 2].strip(b" \t\r" + BOM) == b"---"
    assert parts.body_line == data[: parts.body_offset].count(b"\n") + 1 or not parts.closing.endswith(b"\n")


@pytest.mark.parametrize(
    ("data", "head", "body"),
    [
        (b"---\nid: a\n---\ntext\n", b"id: a\n", b"text\n"),
        (b"---\n---\ntext", b"", b"text"),
        (b"---\nid: a\n---", b"id: a\n", b""),
        (b"--- \nid: a\n---\t\ntext", b"id: a\n", b"text"),
        (b"---\nid: a\n...\ntext", b"id: a\n", b"text"),
        (b"---\r\nid: a\r\n---\r\ntext\r\n", b"id: a\r\n", b"text\r\n"),
        (BOM + b"---\nid: a\n---\ntext", b"id: a\n", b"text"),
        (b"\n\n---\nid: a\n---\ntext", b"id: a\n", b"text"),
        (b"---\nid: a\n---\n```\n---\n```\n", b"id: a\n", b"```\n---\n```\n"),
        (b"---\nid: a\n---- \n---\nb", b"id: a\n---- \n", b"b"),
    ],
)
def test_front_matter_is_found_between_its_fences(data, head, body):
    """BOM, CRLF, trailing blanks, blank lines above and later rules do not hide or end it."""
    parts = split(data)
    assert (parts.head, parts.body) == (head, body)


@pytest.mark.parametrize(
    ("data", "unclosed"),
    [
        (b"# Task\n---\nid: a\n---\n", False),
        (b"----\nid: a\n----\n", False),
        (b"\n---\nsome prose\n---\n", False),
        (b"---\nsome prose\n", False),
        (b"---\nid: a\nno end\n", True),
        (b"\n---\nid: a\nno end\n", True),
        (BOM + b'---\n"id":\n', True),
        (b"---", False),
        (b"", False),
    ],
)
def test_what_has_no_front_matter_is_all_body(data, unclosed):
    """Rules in the text are no fences; an opened fence with keys that never closes is told apart."""
    parts = split(data)
    assert parts.head is None
    assert parts.lead + parts.body == data
    assert parts.unclosed is unclosed


@pytest.mark.parametrize(
    ("data", "newline"),
    [
        (b"a\r\nb\n", "\r\n"),
        (b"a\nb\r\n", "\n"),
        (b"a", "\n"),
        (b"\n", "\n"),
        (b"---\r\na: b\n---\n", "\r\n"),
        (b"---\n---\r\n", "\n"),
    ],
)
def test_the_style_of_line_ends_is_that_of_the_first_line(data, newline):
    """What is added to a file follows its first line end."""
    assert split(data).newline == newline


def test_every_scalar_is_the_text_that_stands_there():
    """No implicit types: octals, Norway, switches, clocks, dates and floats stay text."""
    text = 'id: 0123\nland: no\non: yes\nat: 12:30:45\nday: 2026-11-20\nn: 1e3\nv: 3.10\nhex: 0x1F\nq: "a\\tb"\nx: a: b'.replace(
        "x: a: b", "x: 'a: b'"
    )
    assert load(text) == {
        "id": "0123",
        "land": "no",
        "on": "yes",
        "at": "12:30:45",
        "day": "2026-11-20",
        "n": "1e3",
        "v": "3.10",
        "hex": "0x1F",
        "q": "a\tb",
        "x": "a: b",
    }


def test_empty_properties_are_absent_and_quoted_emptiness_is_text():
    """Nothing, ~ and null unquoted are left out; "" and 'null' are what they say."""
    values, lines = load_lines("a:\nb: ~\nc: null\nd: \"\"\ne: 'null'\nf: [~, x,  null]\ng: {h: }\n", first_line=5)
    assert values == {"d": "", "e": "null", "f": ["x"], "g": {}}
    assert lines == {"a": 5, "b": 6, "c": 7, "d": 8, "e": 9, "f": 10, "g": 11}


@pytest.mark.parametrize("head", ["", "\n", "# only a comment\n", "  \n"])
def test_a_head_that_says_nothing_is_an_empty_map(head):
    """Front matter may be empty."""
    assert load_lines(head) == ({}, {})


def test_an_explicit_end_of_the_document_is_read():
    """`... # end` at the foot is no second document."""
    assert load("a: b\n... # end\n") == {"a": "b"}


HOSTILE = {
    "alias bomb": ("a: &a [x,x,x,x,x,x,x,x,x]\nb: [*a,*a,*a,*a]\n", 2, "anchors are not read"),
    "alias": ("requires: *all\n", 2, r"aliases are not read.*'\*all'"),
    "tag": ("a: b\nc: !!python/object/apply:os.system [id]\n", 3, "tags are not read"),
    "local tag": ("title: !important x\n", 2, "quote the value if it begins with !"),
    "bare tag": ("title: ! x\n", 2, "tags are not read"),
    "tagged map": ("a: !!omap {}\n", 2, "tags are not read"),
    "tagged key": ("!!str a: b\n", 2, "tags are not read"),
    "anchored key": ("&a a: b\n", 2, "anchors are not read"),
    "duplicate key": ("a: 1\nb: 2\na: 3\n", 4, "`a` stands twice"),
    "nested duplicate": ("a:\n  x: 1\n  x: 2\n", 4, "`x` stands twice"),
    "duplicate of an empty key": ("local_only:\nlocal_only: true\n", 3, "stands twice"),
    "merge key": ("a: {b: c}\n<<: {d: e}\n", 3, "merge keys"),
    "5,000 brackets": ("a: " + "[" * 5000 + "\n", 2, "nests deeper than 8"),
    "5,000 braces": ("a: " + "{a: " * 3000 + "\n", 2, "nests deeper than 8"),
    "deep blocks": ("".join("  " * n + "a:\n" for n in range(12)), 10, "nests deeper than 8"),
    "many values": ("a: [" + "x," * 4000 + "]\n", 2, "more than 2,000 values"),
    "many keys": ("".join(f"k{n}: v\n" for n in range(1500)), 1001, "more than 2,000 values"),
    "second document": ("a: b\n--- c\n", 3, "a second YAML document"),
    "document after its end": ("a: b\n... \nc: d\n", 4, "a second YAML document"),
    "root text": ("hello\n", 2, "lines of `key: value`"),
    "root list": ("- a\n- b\n", 2, "lines of `key: value`"),
    "list as key": ("[name]: x\n", 2, "a key must be a plain word"),
    "map as key": ("{name}: x\n", 2, "a key must be a plain word"),
    "NUL": ("a: b\nc: \0\n", 3, r"U\+0000"),
    "escape": ("a: b\nc: \x1b[31m\n", 3, r"U\+001B"),
    "C1": ("a: \x85b\n", 2, r"U\+0085"),
    "lone CR": ("a: b\rlocal_only: false\n", 2, r"U\+000D"),
    "line separator": ("a: b\u2028c: d\n", 2, r"U\+2028"),
    "bidi override": ("a: \u202ecod.exe\n", 2, r"U\+202E"),
    "lone surrogate": ("a: \ud800\n", 2, r"U\+D800"),
    "escaped bell": ('a: "\\a"\n', 2, r"a: an escape gives the invisible character U\+0007"),
    "escaped bidi": ('a: b\nc: ["\\u202e"]\n', 3, r"U\+202E"),
    "escaped key": ('"\\e": b\n', 2, r"U\+001B"),
    "16 KiB": ("a: |\n" + "  x\n" * 5000, 2, "20,005 bytes, but may have at most 16,384 bytes"),
    "directive": ("%YAML 1.2\n", 2, "not YAML"),
}


@pytest.mark.parametrize("loader", ["CBaseLoader", "BaseLoader"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_front_matter_is_refused_with_its_line(case, loader, monkeypatch):
    """Whatever expands, hides or repeats is refused at its line, by libyaml and by PyYAML's own reader alike."""
    monkeypatch.setattr(frontmatter, "LOADER", getattr(yaml, loader))
    head, line, message = HOSTILE[case]
    with pytest.raises(Malformed, match=message) as caught:
        load(head)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")


class _Counting(yaml.BaseLoader):
    """Counts what is asked of the reader."""

    events = 0

    def get_event(self):
        type(self).events += 1
        return super().get_event()


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_front_matter_costs_a_bounded_number_of_events(case, monkeypatch):
    """No more is read than the bounds allow, and nothing is expanded."""
    monkeypatch.setattr(frontmatter, "LOADER", _Counting)
    monkeypatch.setattr(_Counting, "events", 0)
    with pytest.raises(Malformed):
        load(HOSTILE[case][0])
    assert _Counting.events <= 2_010


def test_an_escape_beyond_unicode_is_refused(monkeypatch):
    """PyYAML's own reader raises ValueError there instead of a YAML error."""
    monkeypatch.setattr(frontmatter, "LOADER", yaml.BaseLoader)
    with pytest.raises(Malformed, match="cannot be read as YAML") as caught:
        load('a: "\\Uffffffff"\n')
    assert caught.value.line == 2


@pytest.mark.parametrize("loader", ["CBaseLoader", "BaseLoader"])
@pytest.mark.parametrize(
    ("head", "line", "hint"),
    [
        ("title: Fix: x\n", 2, 'write title: "Fix: x"'),
        ("title: Fix:\n", 2, 'write title: "Fix:"'),
        ("id: a\nlimits:\n\trequests: 1\n", 4, "indent with spaces"),
        ('id: a\npath: "C:\\Users"\n', 3, "use single quotes, path: '…'"),
        ("requires: [a, b\nid: x\n", 2, "close it, or quote"),
        ("note: {a, b\nid: x\n", 2, "close it, or quote"),
        ("id: a\nassignee: @bob\n", 3, 'write assignee: "@bob"'),
        ("run: `x`\n", 2, 'write run: "`x`"'),
        ("size: %5\n", 2, 'write size: "%5"'),
        ("x: ]\n", 2, 'write x: "]"'),
        ("x: *\n", 2, 'write x: "*"'),
        ("x: > y\n", 2, 'write x: "> y"'),
        ("title: 'open\nid: a\n", 2, "close the quote"),
        ('title: "a" b\n', 2, "let nothing follow it"),
        ("tags: [#urgent, b]\n", 2, "# begins a comment"),
        ("deps: - a\n", 2, r"write deps: \[a, b\]"),
        ("id: a\nurgent\nmodel: b\n", 3, "with a colon and a space"),
        ("id: a\nmodel:b\n", 3, "with a colon and a space"),
        ("id:a\nmodel: b\n", 2, "lines of `key: value`"),
        ("limits:\n  urgent work\n  tokens: 1\n", 4, "the line above needs a colon"),
        ("id: a\n chain: b\n", 3, "begin it below the other keys"),
        ("a: b\n? c\nd: [e]: f\n", 4, "with a colon|close it, or quote"),
        ("%TAG x\n", 2, "with a colon and a space"),
    ],
)
def test_what_people_get_wrong_is_said_in_their_words(head, line, hint, loader, monkeypatch):
    """The line is the one to change, and the message says how."""
    monkeypatch.setattr(frontmatter, "LOADER", getattr(yaml, loader))
    with pytest.raises(Malformed, match=hint) as caught:
        load(head)
    assert caught.value.line == line
    assert caught.value.found


def test_a_fault_without_a_hint_keeps_the_words_of_the_reader():
    """Nothing is said rather than something wrong."""
    with pytest.raises(Malformed, match=r"this line is not YAML: .*expected"):
        load("a: b\n- c: d\n")


def test_bounds_can_be_wider_for_interfaces():
    """What a task may not hold, an interface may."""
    head = "a: |\n" + "  x\n" * 10_000
    assert load(head, bounds=INTERFACE_BOUNDS)["a"].count("x") == 10_000
    with pytest.raises(Malformed, match="nests deeper than 2 levels"):
        load("a: [[x]]\n", bounds=Bounds(depth=2))


def test_a_malformed_without_a_line_is_its_message():
    """Some faults belong to the whole file."""
    assert str(Malformed("the task is empty")) == "the task is empty"


def outcome_of(head):
    """The values of a head, or the fault that was found in it."""
    try:
        return load(head)
    except Malformed as fault:
        return fault


@given(st.text(max_size=300))
@example("? a\n: b")
@example("a: \ufffe")
def test_any_text_is_a_map_or_malformed(head):
    """The reader raises nothing else, and its faults lie within the text."""
    outcome = outcome_of(head)
    assert isinstance(outcome, dict) or 2 <= outcome.line <= head.count("\n") + 3


def test_read_gives_values_and_body_through_python_frontmatter():
    """Interfaces and our own files: values as text, the body stripped, a BOM no obstacle."""
    text = "\ufeff---\nname: claude_code\nlimits:\n  messages_per_day: 1500\nstatus:\n---\n# Claude Code\n\n---\nrule\n"
    assert read(text) == ({"name": "claude_code", "limits": {"messages_per_day": "1500"}}, "# Claude Code\n\n---\nrule")


def test_read_of_a_file_without_front_matter_is_all_body():
    """No front matter is no fault."""
    assert read("# Notes\n") == ({}, "# Notes")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("---\nname: a\ncost: !x\n---\n", 3, "tags"),
        ("\n\n---\nname: a: b\n---\n", 4, "colon"),
        ("---\nname: a\n", 1, "never closed"),
        ("---\nhello\n---\n", 2, "key: value"),
        ("---\n- a\n---\n", 2, "key: value"),
    ],
)
def test_read_refuses_what_python_frontmatter_would_lose(text, line, message):
    """Text, lists and unclosed front matter are said with their line instead of dropped."""
    with pytest.raises(Malformed, match=message) as caught:
        read(text)
    assert caught.value.line == line


@pytest.mark.parametrize("head", ["---", "a: b\n---", "---\n---"])
def test_a_fault_behind_the_last_line_is_told_on_a_line_that_is_there(head):
    """A workflow file may be nothing but a fence."""
    with pytest.raises(Malformed) as caught:
        load(head, first_line=1)
    assert caught.value.line is not None
    assert 1 <= caught.value.line <= head.count("\n") + 1
