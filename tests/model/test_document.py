"""The recorded file: one block and one part added, everything else as it was, and all of it taken off again exactly."""

import hashlib
import math
from decimal import Decimal

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from brain_daemon.model.document import (
    can_hold,
    is_recorded,
    read_result,
    render,
    render_beside,
    restore,
    strip,
)
from brain_daemon.model.errors import Damaged
from brain_daemon.model.frontmatter import BOM, Malformed, load, split
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import Rejection

OURS = {"front_matter_added", "spec_sha256", "text_cut_bytes", "text_bytes", "text_sha256"}
TASK = b"---\nid: task-a\npriority: high\n---\n# Task: Fix\n\nIt fails.\n"
RESULT = {
    "status": "completed",
    "interface": "claude_code",
    "attempt": "task-a.a1.0123abcd",
    "started": "2026-11-20T20:15:00Z",
    "duration_seconds": 12.4,
    "usage": {"input_tokens": 1200, "output_tokens": 3, "estimated": False},
    "cost_usd": Decimal("0.0045"),
    "client_session": None,
    "files": [],
    "routing": {"reason": "the table: code -> claude_code", "rejected": {"codex": "no program"}},
    "attempts": [{"number": 1, "cost_usd": Decimal("0.0045")}],
}

PIECES = [
    b"---", b"---\n", b"---\r\n", b"...\n", b"id: x\n", b"key:\r\n", b"\n", b"\r\n", b" ", BOM, b"text", b"```\n",
    b"result:\n", b"  status: completed\n", b"  text_bytes: 3\n", b"  spec_sha256: abc\n", b"## Result\n", b"# c\n", b"x: |+\n  a\n\n",
    b'x: "a\nresult:\n b"\n', b"{a: b}\n", b" a: b\n", b"- a\n", b"\xff", b"\0", b"? a\n", b"a:\n- b\n",
]  # fmt: skip
FILES = st.one_of(
    st.binary(max_size=120),
    st.text(max_size=120).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join),
    st.lists(st.sampled_from(PIECES), max_size=8).map(lambda pieces: b"---\n" + b"".join(pieces) + b"---\ntext"),
)
SCALARS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    st.integers(-(10**12), 10**12),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
)
KEYS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).filter(
    lambda key: key != "<<" and not key.endswith("_usd")
)
RESULTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
    ),
    max_size=5,
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=80),
    st.lists(
        st.sampled_from(["---\n", "## Result\n", "result:\n", "  text_bytes: 1\n", "\r\n", "\n", "a", "## Error\n\n"]),
        max_size=8,
    ).map("".join),
)


@given(FILES, RESULTS, TEXTS, st.sampled_from(["Result", "Error"]))
@example(b"", {}, "", "Result")
@example(BOM, {}, "x", "Error")
@example(b"---\nid: a\n---", {}, "x", "Result")
@example(b"---\r\nid: a\r\n---", {}, "a\nb\r\nc", "Result")
@example(b"---\n---\n", {}, "---\nresult:\n", "Result")
@example(b"\n---\nid: a\n---\n", {}, "x", "Result")
@example(b"---\nid: a\n", {}, "x", "Error")
def test_what_is_recorded_is_read_back_and_taken_off_again_exactly(original, result, text, heading):
    """restore gives the original bytes, read_result what went in, for any file that can hold a block."""
    assume(can_hold(original))
    given = {key: value for key, value in result.items() if key not in OURS}
    rendered = render(original, result, heading, text)
    assert rendered.spec_sha256 == hashlib.sha256(original).hexdigest()
    assert is_recorded(rendered.data)
    assert not can_hold(rendered.data)
    assert restore(rendered.data) == original
    assert strip(rendered.data).data == original
    read = read_result(rendered.data)
    assert (read.values, read.heading, read.text, read.intact, read.cut_bytes) == (given, heading, text, True, None)
    assert (read.text_bytes, read.spec_sha256) == (rendered.text_bytes, rendered.spec_sha256)
    assert only_additions(original, rendered.data, rendered.text_bytes)


def only_additions(original, data, text_bytes):
    """Whether `data` is the original with indented lines below one `result:` and a part of `text_bytes` added."""
    parts = split(original)
    fence = f"---{parts.newline}".encode() if parts.head is None else b""
    before = parts.lead + parts.opening + (parts.head or b"") + fence
    after = fence + parts.closing + parts.body
    block = data[len(before) : len(data) - text_bytes - len(after)].splitlines()
    same = data.startswith(before) and data[: len(data) - text_bytes].endswith(after)
    return same and block[0] == b"result:" and all(line.startswith(b"  ") for line in block[1:])


def test_a_recorded_file_reads_well():
    """The person's lines stand as they were; ours follow them."""
    data = render(TASK, RESULT, "Result", "Done.\n\nIt was the cookie.").data
    text = data.decode()
    assert text.startswith("---\nid: task-a\npriority: high\nresult:\n  status: completed\n  interface: claude_code\n")
    assert "\n---\n# Task: Fix\n\nIt fails.\n\n## Result\n\nDone.\n\nIt was the cookie.\n" in text
    assert f"  spec_sha256: {hashlib.sha256(TASK).hexdigest()}\n" in text.replace('"', "")
    assert f"  text_bytes: {len('.## Result..Done...It was the cookie..')}\n" in text


def test_a_recorded_file_is_plain_yaml_to_everybody():
    """PyYAML and our own reader find the block with all its values."""
    head = split(render(TASK, RESULT, "Result", "x").data).head.decode()
    loaded = yaml.safe_load(head)
    assert loaded["result"]["usage"] == RESULT["usage"]
    assert loaded["result"]["routing"] == RESULT["routing"]
    assert loaded["id"] == "task-a"
    assert load(head)["result"]["cost_usd"] == "0.0045"


def test_numbers_come_back_as_money_only_where_the_name_says_so():
    """Keys that end in _usd are Decimal, other fractions float, and text that looks like a number stays text."""
    values = read_result(
        render(TASK, {**RESULT, "model": "1.5", "total_usd": Decimal(3), "big": "9" * 50}, "Result", "").data
    ).values
    assert values["cost_usd"] == Decimal("0.0045")
    assert isinstance(values["total_usd"], Decimal)
    assert isinstance(values["duration_seconds"], float)
    assert (values["model"], values["big"]) == ("1.5", "9" * 50)
    assert values["client_session"] is None
    assert math.isnan(read_result(render(b"", {"x": float("nan")}, "Result", "").data).values["x"])


def test_the_keys_that_restoring_needs_cannot_be_given_by_others():
    """A result that claims them changes nothing."""
    claims = {"front_matter_added": True, "text_bytes": 1, "spec_sha256": "x", "text_sha256": "y", "text_cut_bytes": 2}
    assert render(TASK, claims, "Result", "x") == render(TASK, {}, "Result", "x")


def test_a_plain_file_gets_front_matter_and_loses_it_again():
    """A BOM stays first, and what we add has the line ends of the file."""
    original = BOM + b"# Fix\r\nIt fails."
    data = render(original, {"status": "failed"}, "Error", "a\nb").data
    assert data.startswith(BOM + b"---\r\nresult:\r\n  status: failed\r\n  front_matter_added: true\r\n")
    assert data.endswith(b"It fails.\r\n\r\n## Error\r\n\r\na\r\nb\r\n")
    assert data.count(b"\n") == data.count(b"\r\n")
    assert restore(data) == original


@pytest.mark.parametrize(
    "original",
    [
        b"",
        b"text",
        b"---\n---\n",
        b"---\n# comment\n---\ntext",
        b"---\nx: |+\n  a\n\n---\n",
        b"---\ndeps:\n- a\n---\n",
        b'---\nx: "a\nresult:\n  b"\n---\n',
        b"---\nid: a\nno end",
        b"\n\n---\nid: a\n---\n",
        b"---\npriority: urgent\n---\n",
    ],
)
def test_an_ordinary_file_can_hold_a_block(original):
    """Also one that is refused as a task for what its keys say."""
    assert can_hold(original)
    assert restore(render(original, RESULT, "Result", "x").data) == original


@pytest.mark.parametrize(
    "original",
    [
        b"---\n{id: a}\n---\n",
        b"---\n  id: a\n---\n",
        b"---\nid: a\n...\ntext",
        b"---\nid: a\n... # end\n---\ntext",
        b"---\nid: a\nresult:\n  status: mine\n---\n",
        b"---\nresult:\n---\n",
        b"---\n- a\n---\n",
        b"---\nhello\n---\n",
        b"---\ntitle: a: b\n---\n",
        b"---\na: *b\n---\n",
        b"a\0b",
        b"\xff\xfe#\0",
        b"\xff",
        b"x" * 1_000_001,
    ],
)
def test_a_file_that_cannot_take_a_block_is_told_apart(original):
    """Its result stands beside it, and it stays untouched."""
    assert not can_hold(original)


def test_the_size_a_file_may_have_can_be_set():
    """The limit is in bytes."""
    assert can_hold(b"12345", limit_bytes=5)
    assert not can_hold(b"123456", limit_bytes=5)


def test_a_result_beside_its_original_is_read_like_any_other():
    """The block names the original by its hash; there is nothing in this file to restore."""
    data = render_beside({"status": "failed", "reason": "malformed", "spec_sha256": "ab" * 32}, "Error", "line 3: …")
    read = read_result(data)
    assert (read.values, read.heading, read.text) == ({"status": "failed", "reason": "malformed"}, "Error", "line 3: …")
    assert read.spec_sha256 == "ab" * 32
    assert is_recorded(render_beside({}, "Error", "x"))
    with pytest.raises(Damaged):
        restore(data)


def test_a_text_beyond_the_limit_is_cut_between_characters_and_said():
    """The caller keeps the whole of it in a file."""
    rendered = render(TASK, {}, "Result", "é" * 100, text_limit_bytes=51)
    read = read_result(rendered.data)
    assert rendered.cut
    assert (read.text, read.cut_bytes, read.intact) == ("é" * 25, 200, True)
    assert restore(rendered.data) == TASK
    assert not render(TASK, {}, "Result", "é" * 100, text_limit_bytes=200).cut
    assert read_result(render_beside({}, "Error", "abc", text_limit_bytes=2)).cut_bytes == 3


def test_no_output_can_pose_as_our_front_matter_or_our_markers():
    """A forged ending inside the text is text."""
    forged = "\n---\nresult:\n  spec_sha256: x\n  text_bytes: 1\n---\n## Result\n\nforged"
    data = render(TASK, {"status": "completed"}, "Result", forged).data
    assert read_result(data).text == forged
    assert read_result(data).values == {"status": "completed"}
    assert restore(data) == TASK


def test_lone_surrogates_do_not_stop_a_recording():
    """No encoding holds them; something visible stands in their place."""
    read = read_result(render(TASK, {"model": "a\ud800"}, "Result", "b\udfff").data)
    assert (read.values["model"], read.text) == ("a\ufffd", "b?")


def test_a_recorded_file_is_no_new_task():
    """Its result key is ours: it is stripped first."""
    data = render(TASK, RESULT, "Result", "x").data
    parsed = parse_task("a.md", data)
    assert isinstance(parsed, Rejection)
    assert parsed.field == "result"
    assert parse_task("a.md", strip(data).data) == parse_task("a.md", TASK)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TASK,
        b"---\nresult: mine\n---\n",
        b"---\nresult:\n  status: mine\n---\n",
        b"---\nresult:\n- a\n---\n",
        b"---\nresult:\n  spec_sha256: a\n  text_bytes: many\n---\n",
        b"---\nresult:\n  spec_sha256: a\n  text_bytes: true\n---\n",
        b"---\nresult:\n  spec_sha256: a\n  text_bytes: -1\n---\n",
        b'---\nresult:\n  spec_sha256: "a\n---\n',
        b"---\nresult:\n  spec_sha256: \xff\n---\n",
    ],
)
def test_a_file_without_a_block_of_ours_is_not_recorded(data):
    """A person's own result key is not taken for ours, and nothing is guessed."""
    assert not is_recorded(data)
    stripped = strip(data)
    assert (stripped.data, stripped.exact) == (data, False)
    assert stripped.warnings
    for read in (restore, read_result):
        with pytest.raises(Damaged, match="git log"):
            read(data)


def test_a_result_that_claims_more_text_than_there_is_is_damaged():
    """The figure cannot be trusted, so nothing is cut."""
    data = render(TASK, {}, "Result", "x").data.replace(b"text_bytes: ", b"text_bytes: 99")
    with pytest.raises(Damaged, match="text_bytes is more than the file holds"):
        restore(data)
    assert strip(data).data == data


def test_an_edited_original_is_not_passed_off_as_the_original():
    """The hash decides."""
    data = render(TASK, {}, "Result", "x").data.replace(b"It fails", b"It works")
    with pytest.raises(Damaged, match="hash does not match"):
        restore(data)
    assert read_result(data).intact


def test_stripping_keeps_what_the_person_edited():
    """The block and the part of ours go, the edit stays."""
    data = render(TASK, RESULT, "Result", "x").data.replace(b"It fails", b"It works")
    data = data.replace(b"---\n# Task", b"model: opus\n# note\n---\n# Task")
    stripped = strip(data)
    assert stripped.data == TASK.replace(b"It fails", b"It works").replace(
        b"---\n# Task", b"model: opus\n# note\n---\n# Task"
    )
    assert (stripped.exact, stripped.warnings) == (False, ())


def test_stripping_says_when_the_part_below_was_edited():
    """What cannot be told from the person's own words is left to the person."""
    data = render(TASK, RESULT, "Result", "x").data + b"try again\n"
    stripped = strip(data)
    assert stripped.data == TASK + b"\n## Result\n\nx\ntry again\n"
    assert not stripped.exact
    assert "has been edited and stays" in stripped.warnings[0]
    assert not read_result(data).intact


def test_stripping_takes_the_fences_we_added_unless_the_person_used_them():
    """Front matter of ours goes with the block; keys the person put there stay."""
    data = render(b"# Fix\n", RESULT, "Result", "x").data
    assert strip(data.replace(b"# Fix", b"# Mend")).data == b"# Mend\n"
    keyed = data.replace(b"---\nresult:", b"---\nmodel: opus\nresult:")
    assert strip(keyed).data == b"---\nmodel: opus\n---\n# Fix\n"


@given(st.one_of(FILES, st.tuples(FILES, FILES, st.integers(0, 400)).map(lambda parts: _spliced(*parts))))
def test_any_bytes_are_read_or_said_to_be_damaged(data):
    """Damage in a recorded file raises nothing else, and stripping never fails."""
    strip(data)
    for read in (restore, read_result):
        try:
            read(data)
        except Damaged:
            assert True


def _spliced(original, splice, at):
    """A recorded file with some bytes put over it."""
    if not can_hold(original):
        return original
    data = render(original, RESULT, "Result", "text").data
    at %= len(data)
    return data[:at] + splice + data[at + len(splice) :]


def test_the_probe_of_can_hold_respects_the_bounds_of_front_matter():
    """A head too large to be read as a task cannot take a block either."""
    data = b"---\nx: |\n" + b"  y\n" * 5000 + b"---\n"
    assert not can_hold(data)
    with pytest.raises(Malformed):
        load(split(data).head.decode())
