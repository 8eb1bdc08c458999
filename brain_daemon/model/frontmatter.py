"""Front matter: where it stands in a file, exactly in bytes, and what it says, read as text and nothing else.

`split` and `load` are for task files, whose bytes must survive; `read` goes through python-frontmatter with the same
hardened reader and is for interfaces, routing, usage and questions, where only the values matter.

The reader walks libyaml's events (never its composer, which recurses and expands), so nothing is built beyond the
bounds: no aliases, tags, merge keys, duplicate keys or second document; every scalar is the text that stands there.
A fault is `Malformed`, reported to the person with its line; nothing here is retried and nothing is fatal.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import frontmatter
import yaml
from frontmatter.default_handlers import YAMLHandler
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from brain_daemon.model.errors import UserError
from brain_daemon.model.yaml_hints import explain

BOM = b"\xef\xbb\xbf"
LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
ABSENT = object()

_OPENING = re.compile(rb"---[ \t]*\r?\n")
# Below blank lines a --- is more often a rule than a fence: it is one only if a key follows.
_LATE_OPENING = re.compile(rb"(?:[ \t]*\r?\n){1,64}(?=---[ \t]*\r?\n[\"']?[A-Za-z_][\w -]{0,63}[\"']?:[ \t\r\n])")
_CLOSING = re.compile(rb"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_KEY_LINE = re.compile(rb"[\"']?[A-Za-z_][\w -]{0,63}[\"']?:(?:[ \t\r\n]|\Z)")
# Controls, lone surrogates, non-characters, line ends that only YAML sees, and marks that turn the reading direction.
UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]|\r(?!\n)"
)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class Malformed(UserError):
    """Text a person wrote is not what it must be. `line` counts from 1 in the file; None where the fault has no line."""

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        field: str | None = None,
        found: str | None = None,
        allowed: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.field = field
        self.found = found
        self.allowed = allowed

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much front matter is read at most: its bytes, how deep it nests (the root is 1), how many nodes it has."""

    head_bytes: int = 16_384
    depth: int = 8
    nodes: int = 2_000


TASK_BOUNDS = Bounds()
INTERFACE_BOUNDS = Bounds(head_bytes=65_536, nodes=8_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A file cut into pieces which joined in this order are the file: lead, opening, head, closing, body.

    `lead` is a BOM and blank lines; `opening` and `closing` are the fence lines with their line ends; `head` is None
    where there is no front matter. `unclosed` says the file opens a fence, goes on like front matter and never closes it.
    """

    lead: bytes
    opening: bytes
    head: bytes | None
    closing: bytes
    body: bytes
    newline: str
    unclosed: bool = False

    @property
    def head_offset(self) -> int:
        """Where the head begins, in bytes."""
        return len(self.lead) + len(self.opening)

    @property
    def body_offset(self) -> int:
        """Where the body begins, in bytes."""
        return self.head_offset + len(self.head or b"") + len(self.closing)

    @property
    def head_line(self) -> int:
        """The line of the file, from 1, on which the head begins."""
        return self.lead.count(b"\n") + 2

    @property
    def body_line(self) -> int:
        """The line of the file, from 1, on which the body begins."""
        if self.head is None:
            return self.lead.count(b"\n") + 1
        return self.head_line + self.head.count(b"\n") + 1

    def join(self) -> bytes:
        """The file again, byte for byte."""
        return b"".join((self.lead, self.opening, self.head or b"", self.closing, self.body))


def split(data: bytes) -> Parts:
    """Cut a file at its front matter. Never fails: what has no front matter is all body."""
    lead = BOM if data.startswith(BOM) else b""
    opening = _OPENING.match(data, len(lead))
    if opening is None:
        late = _LATE_OPENING.match(data, len(lead))
        if late is None:
            return _plain(data, lead)
        lead = data[: late.end()]
        opening = _OPENING.match(data, late.end())
        assert opening is not None
    closing = _CLOSING.search(data, opening.end())
    if closing is None:
        return _plain(
            data, lead[: len(BOM)] if lead.startswith(BOM) else b"", _KEY_LINE.match(data, opening.end()) is not None
        )
    return Parts(
        lead=lead,
        opening=opening[0],
        head=data[opening.end() : closing.start()],
        closing=closing[0],
        body=data[closing.end() :],
        newline="\r\n" if opening[0].endswith(b"\r\n") else "\n",
    )


def _plain(data: bytes, lead: bytes, unclosed: bool = False) -> Parts:
    first = data.find(b"\n")
    newline = "\r\n" if first > 0 and data[first - 1] == 13 else "\n"
    return Parts(
        lead=lead, opening=b"", head=None, closing=b"", body=data[len(lead) :], newline=newline, unclosed=unclosed
    )


def text_value(_key: str, text: str, plain: bool) -> object:
    """A scalar as the text that stands there; one that is empty (nothing, `~` or `null`, unquoted) is absent."""
    if plain and text in _NULLS:
        return ABSENT
    unseen = UNSEEN.search(text)
    if unseen is not None:
        raise ValueError(f"an escape gives the invisible character U+{ord(unseen[0]):04X}: remove it")
    return text


Scalar = Callable[[str, str, bool], object]


def load(
    head: str, *, bounds: Bounds = TASK_BOUNDS, first_line: int = 2, scalar: Scalar = text_value
) -> dict[str, Any]:
    """The values of `head`, which begins on `first_line` of its file: text, lists and maps; empty properties are left out.

    `scalar(key, text, plain)` gives the value of one scalar, or `ABSENT`, or raises ValueError. Raises Malformed.
    """
    return load_lines(head, bounds=bounds, first_line=first_line, scalar=scalar)[0]


def load_lines(
    head: str, *, bounds: Bounds = TASK_BOUNDS, first_line: int = 2, scalar: Scalar = text_value
) -> tuple[dict[str, Any], dict[str, int]]:
    """As `load`, with the line of each key of the root, the empty ones included."""
    _check_head(head, bounds, first_line)
    walk = _Walk(LOADER(head), head, bounds, first_line, scalar)
    try:
        return walk.document()
    except yaml.MarkedYAMLError as error:
        message, line = explain(error, head.split("\n"))
        raise Malformed(message, line=first_line + line, found=_line_of(head, line)) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Malformed(f"the front matter cannot be read as YAML ({error})", line=first_line) from None


def _check_head(head: str, bounds: Bounds, first_line: int) -> None:
    size = len(head.encode("utf-8", "surrogatepass"))
    if size > bounds.head_bytes:
        allowed = f"at most {bounds.head_bytes:,} bytes"
        raise Malformed(
            f"the front matter has {size:,} bytes, but may have {allowed}: move long text below it",
            line=first_line,
            found=f"{size:,} bytes",
            allowed=allowed,
        )
    unseen = UNSEEN.search(head)
    if unseen is not None:
        point = f"U+{ord(unseen[0]):04X}"
        line = first_line + head.count("\n", 0, unseen.start())
        raise Malformed(
            f"the invisible character {point} stands in the front matter: remove it", line=line, found=point
        )


def _line_of(head: str, line: int) -> str:
    return head.split("\n")[line].strip()[:120]


class _Walk:
    """One pass over the events of one head, bounded at every step."""

    __slots__ = ("bounds", "first_line", "head", "left", "lines", "next", "scalar")

    def __init__(self, loader: Any, head: str, bounds: Bounds, first_line: int, scalar: Scalar) -> None:
        self.next = loader.get_event
        self.head = head
        self.bounds = bounds
        self.first_line = first_line
        self.scalar = scalar
        self.left = bounds.nodes
        self.lines: dict[str, int] = {}

    def document(self) -> tuple[dict[str, Any], dict[str, int]]:
        """The root mapping and the lines of its keys."""
        self.next()
        if isinstance(self.next(), StreamEndEvent):
            return {}, {}
        root = self.next()
        if not isinstance(root, MappingStartEvent):
            raise self.fault(
                root, "front matter is lines of `key: value`; put a blank line above the first --- if it is a rule"
            )
        values: dict[str, Any] = self.value(root, "", 1)
        end = self.next()
        while isinstance(end, DocumentEndEvent):
            end = self.next()
        if not isinstance(end, StreamEndEvent):
            raise self.fault(end, "a second YAML document begins inside the front matter: keep one")
        return values, self.lines

    def fault(self, event: Any, message: str) -> Malformed:
        """A Malformed that points to where `event` begins."""
        # What follows a last line without its end begins, to the reader, on a line that is not there.
        line = min(event.start_mark.line, self.head.count("\n"))
        return Malformed(message, line=self.first_line + line, found=_line_of(self.head, line))

    def value(self, event: Any, key: str, depth: int) -> Any:
        """The value that begins with `event`."""
        self.left -= 1
        if self.left < 0:
            raise self.fault(
                event, f"the front matter has more than {self.bounds.nodes:,} values: move them into the text"
            )
        if isinstance(event, AliasEvent):
            raise self.fault(event, f"aliases are not read: write the value out, or quote it: '*{event.anchor}'")
        if event.anchor is not None:
            raise self.fault(event, f"anchors are not read: remove it, or quote the value: '&{event.anchor} …'")
        if event.tag is not None:
            raise self.fault(
                event, f"tags are not read: remove `{event.tag[:60]}`, or quote the value if it begins with !"
            )
        if isinstance(event, ScalarEvent):
            return self.leaf(event, key)
        if depth > self.bounds.depth:
            raise self.fault(event, f"the front matter nests deeper than {self.bounds.depth} levels")
        return self.mapping(depth) if isinstance(event, MappingStartEvent) else self.sequence(key, depth)

    def leaf(self, event: Any, key: str) -> object:
        """The value of a scalar."""
        try:
            return self.scalar(key, event.value, not event.style)
        except ValueError as error:
            raise self.fault(event, f"{key}: {error}") from None

    def mapping(self, depth: int) -> dict[str, Any]:
        """A map up to its end; each key once."""
        values: dict[str, Any] = {}
        seen: set[str] = set()
        while not isinstance(event := self.next(), MappingEndEvent):
            key = self.key(event)
            if key in seen:
                raise self.fault(event, f"`{key}` stands twice: keep one")
            seen.add(key)
            if depth == 1:
                self.lines[key] = self.first_line + event.start_mark.line
            value = self.value(self.next(), key, depth + 1)
            if value is not ABSENT:
                values[key] = value
        return values

    def key(self, event: Any) -> str:
        """The text of a key; `<<` unquoted would merge, which nobody reading the file would see."""
        if not isinstance(event, ScalarEvent):
            raise self.fault(event, "a key must be a plain word: fill in the placeholder, or quote the key")
        if event.value == "<<" and not event.style:
            raise self.fault(event, "merge keys (<<) are not read: write the values out")
        self.value(event, "", 0)
        return str(event.value)

    def sequence(self, key: str, depth: int) -> list[Any]:
        """A list up to its end; empty items are left out."""
        values = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            value = self.value(event, key, depth + 1)
            if value is not ABSENT:
                values.append(value)
        return values


class HardenedHandler(YAMLHandler):
    """python-frontmatter's YAML handler with our split and our reader; one instance reads one text."""

    def __init__(self, *, bounds: Bounds = INTERFACE_BOUNDS) -> None:
        super().__init__()
        self._bounds = bounds
        self.first_line = 2

    def split(self, text: str) -> tuple[str, str]:
        """Head and body; ValueError (which python-frontmatter reads as "all body") where there is no front matter."""
        parts = split(text.encode("utf-8", "surrogatepass"))
        if parts.unclosed:
            raise Malformed(
                "the front matter opened here is never closed: add a line of three dashes", line=self.first_line - 1
            )
        if parts.head is None:
            raise ValueError("no front matter")
        return parts.head.decode("utf-8", "surrogatepass"), parts.body.decode("utf-8", "surrogatepass")

    def load(self, fm: str, **_kwargs: object) -> dict[str, Any]:
        """The values of a head, by `load` of this module."""
        return load(fm, bounds=self._bounds, first_line=self.first_line)


def read(text: str, *, bounds: Bounds = INTERFACE_BOUNDS) -> tuple[dict[str, Any], str]:
    """Metadata and body of a file of ours, through python-frontmatter. The body is stripped. Raises Malformed."""
    handler = HardenedHandler(bounds=bounds)
    visible = text.removeprefix("\ufeff")
    handler.first_line += visible.count("\n", 0, len(visible) - len(visible.lstrip()))
    metadata, body = frontmatter.parse(visible, handler=handler)
    return dict(metadata), body
