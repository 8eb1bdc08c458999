"""The recorded file: a task's own bytes with one result block in its front matter and one part after its text.

    <lead> ---              as it was, or `---` lines of ours where the file had no front matter
    <the person's keys>     as they were
    result:                 ours: indented lines down to the closing fence
      …
      spec_sha256: …        the hash of the original bytes
      text_bytes: …         how long the part of ours at the end of the file is
      text_sha256: …        its hash
    ---
    <the person's text>     as it was
    ## Result               ours, text_bytes long

Nothing is found by its heading or looks: the block is the last `result:` at the left edge of the front matter (all lines of
ours inside it are indented), the part at the end is cut by its length. So no output can pose as either.
A recorded file whose figures do not fit is `Damaged`: reported, kept, never guessed at. The caller writes and moves files.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brain_daemon.model.emitter import emit
from brain_daemon.model.errors import Damaged
from brain_daemon.model.frontmatter import Bounds, Malformed, Parts, load, split

TEXT_LIMIT_BYTES = 262_144
FILE_LIMIT_BYTES = 1_000_000

_RECORD_BOUNDS = Bounds(head_bytes=1_048_576, depth=16, nodes=100_000)
_OURS = ("front_matter_added", "spec_sha256", "text_cut_bytes", "text_bytes", "text_sha256")
_BLOCK = re.compile(rb"^result:[ \t]*\r?\n", re.MULTILINE)
_LEFT_EDGE = re.compile(rb"^[^ \t\r\n]", re.MULTILINE)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,40})")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:e[+-][0-9]{1,3})?")
_CONSTANTS = {
    "true": True,
    "false": False,
    "null": None,
    ".nan": float("nan"),
    ".inf": float("inf"),
    "-.inf": float("-inf"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A recorded file. `cut` says that the text was longer than the limit; the whole of it belongs into a file beside."""

    data: bytes
    spec_sha256: str
    text_bytes: int
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a recorded file says: the block as it was given to `render`, the heading and the text.

    Numbers with a fraction are floats, in keys that end in `_usd` Decimals. `intact` is False where somebody has changed
    the text since; `cut_bytes` is how long the whole text was, where only its beginning stands here.
    """

    values: dict[str, Any]
    heading: str
    text: str
    spec_sha256: str
    text_bytes: int
    intact: bool
    cut_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """A recorded file made a task again. `exact` says that these are the original bytes; warnings say what could not be."""

    data: bytes
    exact: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """A recorded file with the result block found: it is `head[start:end]` of its parts."""

    data: bytes
    parts: Parts
    start: int
    end: int
    values: dict[str, Any]

    @property
    def tail(self) -> bytes:
        """The last `text_bytes` of the file."""
        return self.data[len(self.data) - self.values["text_bytes"] :]

    @property
    def intact_tail(self) -> bool:
        """Whether that is what was written there."""
        return hashlib.sha256(self.tail).hexdigest() == self.values.get("text_sha256")

    def without_block(self, tail_bytes: int) -> bytes:
        """The file without the result block and without its last `tail_bytes`, and without fences that only it needed."""
        head = self.parts.head or b""
        kept = head[: self.start] + head[self.end :]
        body = self.data[self.parts.body_offset : len(self.data) - tail_bytes]
        closing = self.data[self.parts.body_offset - len(self.parts.closing) : len(self.data) - tail_bytes]
        if self.values.get("front_matter_added") is True and not kept.strip():
            return self.parts.lead + body
        return self.parts.lead + self.parts.opening + kept + closing


def can_hold(original: bytes, *, limit_bytes: int = FILE_LIMIT_BYTES) -> bool:
    """Whether a result block can be added to this file so that all of it stays readable and nothing else changes."""
    if len(original) > limit_bytes or b"\0" in original or not _is_utf8(original):
        return False
    parts = split(original)
    if parts.head is None:
        return True
    if not parts.closing.startswith(b"---"):
        return False
    try:
        values = load(f"{parts.head.decode()}result:{parts.newline}  probe: {parts.newline}")
    except Malformed:
        return False
    return values.get("result") == {}


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def render(
    original: bytes,
    result: Mapping[str, object],
    heading: str,
    text: str,
    *,
    text_limit_bytes: int = TEXT_LIMIT_BYTES,
) -> Rendered:
    """`original` (which `can_hold`) with the result block and, below it, `## heading` and the text.

    `heading` is one line of ours. The keys that restoring needs are added to the block; in `result` they are passed over.
    """
    parts = split(original)
    bare = not parts.head_offset and not parts.body
    gap = "" if bare else parts.newline * (1 if original.endswith(b"\n") else 2)
    tail, cut = _tail(gap, heading, text, parts.newline, text_limit_bytes)
    sha256 = hashlib.sha256(original).hexdigest()
    added = {"front_matter_added": True} if parts.head is None else {}
    given = {key: value for key, value in result.items() if key not in _OURS}
    block = _block({**given, **added, "spec_sha256": sha256, **cut}, tail, parts.newline)
    return Rendered(
        data=_with_block(parts, block) + tail,
        spec_sha256=sha256,
        text_bytes=len(tail),
        cut=bool(cut),
    )


def render_beside(
    result: Mapping[str, object], heading: str, text: str, *, text_limit_bytes: int = TEXT_LIMIT_BYTES
) -> bytes:
    """The file that stands beside an original which cannot hold a block; `result` holds the original's `spec_sha256`."""
    tail, cut = _tail("", heading, text, "\n", text_limit_bytes)
    return _with_block(split(b""), _block({"spec_sha256": "", **result, **cut}, tail, "\n")) + tail


def _tail(gap: str, heading: str, text: str, newline: str, limit_bytes: int) -> tuple[bytes, dict[str, int]]:
    """The part below the person's text, and what the block must say where not all of `text` is in it."""
    whole = text.encode("utf-8", "replace")
    shown = whole if len(whole) <= limit_bytes else whole[:limit_bytes].decode("utf-8", "ignore").encode()
    # Every \n, also one after a \r, gets its \r: so that taking it off again gives the same text back.
    written = shown if newline == "\n" else shown.replace(b"\n", b"\r\n")
    tail = f"{gap}## {heading}{newline}{newline}".encode() + written + newline.encode()
    return tail, {"text_cut_bytes": len(whole)} if len(shown) < len(whole) else {}


def _block(values: Mapping[str, object], tail: bytes, newline: str) -> bytes:
    figures = {"text_bytes": len(tail), "text_sha256": hashlib.sha256(tail).hexdigest()}
    return emit({"result": {**values, **figures}}, newline=newline).encode()


def _with_block(parts: Parts, block: bytes) -> bytes:
    if parts.head is None:
        fence = f"---{parts.newline}".encode()
        return b"".join((parts.lead, fence, block, fence, parts.body))
    return b"".join((parts.lead, parts.opening, parts.head, block, parts.closing, parts.body))


def is_recorded(data: bytes) -> bool:
    """Whether this is a file we have recorded a result in (a person's own `result:` key is not one of ours)."""
    try:
        return _find(data) is not None
    except Damaged:
        return False


def restore(recorded: bytes) -> bytes:
    """The original bytes of a recorded file, proved by their hash. Raises Damaged where that cannot be done."""
    record = _must_find(recorded)
    original = record.without_block(record.values["text_bytes"])
    if hashlib.sha256(original).hexdigest() != record.values["spec_sha256"]:
        raise Damaged(
            "restoring the original of a recorded task: the file has been edited since, so its hash does not match "
            "result.spec_sha256; `git log` has the version that was recorded"
        )
    return original


def strip(recorded: bytes) -> Stripped:
    """A recorded file moved back into pending, as a task again, also where a person has edited it since."""
    try:
        record = _find(recorded)
    except Damaged as error:
        return Stripped(data=recorded, exact=False, warnings=(str(error),))
    if record is None:
        return Stripped(data=recorded, exact=False, warnings=("there is no result block to remove",))
    data = record.without_block(record.values["text_bytes"])
    if hashlib.sha256(data).hexdigest() == record.values["spec_sha256"]:
        return Stripped(data=data, exact=True)
    if record.intact_tail:
        return Stripped(data=data, exact=False)
    warning = (
        "the part that was added below the text has been edited and stays in the task: remove it if it is not wanted"
    )
    return Stripped(data=record.without_block(0), exact=False, warnings=(warning,))


def read_result(recorded: bytes) -> Result:
    """The result block and the text of a recorded file. Raises Damaged where there is none or its figures do not fit."""
    record = _must_find(recorded)
    newline = record.parts.newline
    tail = record.tail.decode("utf-8", "replace")
    heading, _, text = tail.removeprefix(newline).removeprefix(newline).partition(newline * 2)
    text = text.removesuffix(newline)
    return Result(
        values={key: value for key, value in record.values.items() if key not in _OURS},
        heading=heading.removeprefix("## "),
        text=text if newline == "\n" else text.replace("\r\n", "\n"),
        spec_sha256=record.values["spec_sha256"],
        text_bytes=record.values["text_bytes"],
        intact=record.intact_tail,
        cut_bytes=record.values.get("text_cut_bytes"),
    )


def _must_find(data: bytes) -> _Record:
    record = _find(data)
    if record is None:
        raise Damaged(
            "reading a recorded task: there is no result block in its front matter; `git log` has earlier versions"
        )
    return record


def _find(data: bytes) -> _Record | None:
    parts = split(data)
    start = end = -1
    for match in _BLOCK.finditer(parts.head or b""):
        start, end = match.span()
    if start < 0 or parts.head is None:
        return None
    after = _LEFT_EDGE.search(parts.head, end)
    end = len(parts.head) if after is None else after.start()
    values = _block_values(parts, start, end)
    if values is None:
        return None
    if values["text_bytes"] > len(parts.closing) + len(parts.body):
        raise Damaged(
            "reading a recorded task: result.text_bytes is more than the file holds; `git log` has earlier versions"
        )
    return _Record(data=data, parts=parts, start=start, end=end, values=values)


def _block_values(parts: Parts, start: int, end: int) -> dict[str, Any] | None:
    assert parts.head is not None
    line = parts.head_line + parts.head.count(b"\n", 0, start)
    try:
        block = parts.head[start:end].decode()
        values = load(block, bounds=_RECORD_BOUNDS, first_line=line, scalar=_typed).get("result")
    except (Malformed, UnicodeDecodeError) as error:
        raise Damaged(f"reading the result block of a recorded task: {error}; `git log` has earlier versions") from None
    if not isinstance(values, dict) or not isinstance(values.get("spec_sha256"), str):
        return None
    length = values.get("text_bytes")
    return values if isinstance(length, int) and not isinstance(length, bool) and length >= 0 else None


def _typed(key: str, text: str, plain: bool) -> object:
    if not plain:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return Decimal(text) if key.endswith("_usd") else int(text)
    if _FRACTION.fullmatch(text):
        return Decimal(text) if key.endswith("_usd") else float(text)
    return text
