"""A task file's bytes become a TaskSpec, or a Rejection that says which line, which field, what was found and what is allowed.

Any bytes whatever give one or the other, in bounded time: nothing here raises. What is odd but usable becomes a warning on
the spec (an unknown key that looks like one of ours, a word lost to a comment, a name that matches nothing); what could mean
that the person's wish is not followed becomes a Rejection. Files of other programs are read by `spellings`.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brain_daemon.model import ids
from brain_daemon.model.frontmatter import Bounds, Malformed, Parts, load_lines, split
from brain_daemon.model.outcome import Mode
from brain_daemon.model.spellings import FIELD_OF, FOREIGN, QUEUE_MARKS, SOFT, WEIGHED, squeezed, type_for
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.model.task_fields import RULES, PlaceholderError
from brain_daemon.model.task_text import check_filled, one_line, title_of

_MAX_FOUND = 120
_MAX_GUESSES = 20
_COMMENT_VALUE = re.compile(r"^[^#:]*:\s+(#\S[^\n]*)")
_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """How large a task file may be, its front matter alone, how deep that may nest and how many values it may hold."""

    file_bytes: int = 1_000_000
    head_bytes: int = 16_384
    depth: int = 8
    nodes: int = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The names that exist now. `interfaces` leads from each name and alias to the interface, `types` from alias to type."""

    interfaces: Mapping[str, str] = field(default_factory=dict)
    capabilities: frozenset[str] = frozenset()
    types: Mapping[str, str] = field(default_factory=dict)


_NO_WORDS = Vocabulary()


def parse_task(
    name: str, data: bytes, *, limits: ParseLimits = ParseLimits(), vocabulary: Vocabulary | None = None
) -> TaskSpec | Rejection:
    """The task in the file `name` (its name in pending/, with `.md`) with these bytes, or why they are none."""
    if len(data) > limits.file_bytes:
        return too_large(name, len(data), limits=limits)
    file = _File(name=name, data=data, sha256=hashlib.sha256(data).hexdigest())
    keys = _Keys()
    try:
        parts = _readable(data)
        keys.read(_front(parts, limits))
        return _spec(file, parts, keys, vocabulary or _NO_WORDS)
    except Malformed as fault:
        return Rejection(
            id=keys.fields.get("id", file.slug),
            name=name,
            sha256=file.sha256,
            size_bytes=len(data),
            message=fault.message,
            line=fault.line,
            field=fault.field,
            found=fault.found,
            allowed=fault.allowed,
        )


def too_large(name: str, size_bytes: int, *, limits: ParseLimits = ParseLimits()) -> Rejection:
    """The Rejection of a file that is larger than a task may be; its bytes need not be read."""
    allowed = f"at most {limits.file_bytes:,} bytes"
    return Rejection(
        id=_File(name=name).slug,
        name=name,
        sha256="",
        size_bytes=size_bytes,
        message=f"the file has {size_bytes:,} bytes, but a task may have {allowed}: "
        "keep the long part in a file of the brain and link it, as in [[knowledge/x.md]]",
        found=f"{size_bytes:,} bytes",
        allowed=allowed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file as it was handed in."""

    name: str
    data: bytes = b""
    sha256: str = ""

    @property
    def stem(self) -> str:
        """The name without `.md`."""
        return self.name[:-3] if self.name.lower().endswith(".md") else self.name

    @property
    def slug(self) -> str:
        """The id that the name gives."""
        return ids.slug(self.stem)


def _readable(data: bytes) -> Parts:
    """The parts of a file that is UTF-8 text, with its front matter closed; Malformed where it is not."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _not_text("the file is UTF-16: save it as UTF-8", 1, "UTF-16")
    nul = data.find(b"\0")
    if nul >= 0:
        raise _not_text("the file is not text, it holds a NUL byte", _line_at(data, nul), "NUL")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x}"
        raise _not_text(
            f"the file is not UTF-8 ({found}): save it as UTF-8", _line_at(data, error.start), found
        ) from None
    parts = split(data)
    if parts.unclosed:
        raise Malformed(
            "the front matter opened by --- is never closed: add a line of three dashes below it",
            line=parts.body_line,
            found="no closing ---",
            allowed="front matter between two lines of ---",
        )
    return parts


def _not_text(message: str, line: int, found: str) -> Malformed:
    return Malformed(message, line=line, found=found, allowed="UTF-8 text")


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Front:
    """Front matter as it was read: values by key, the line of each key, and the text they stand in."""

    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    source: tuple[str, ...] = ()
    first_line: int = 1

    def written(self, key: str) -> str:
        """The line of the file on which a key stands."""
        return self.source[self.lines[key] - self.first_line]

    def found(self, key: str) -> str:
        """What stands after the colon of a key, as it was written; else the value that was read."""
        return (self.written(key).partition(":")[2].strip() or str(self.values[key]))[:_MAX_FOUND]

    def fault(self, key: str, message: str, allowed: str | None = None) -> Malformed:
        """A Malformed about the value of `key`."""
        return Malformed(message, line=self.lines[key], field=key, found=self.found(key), allowed=allowed)


def _front(parts: Parts, limits: ParseLimits) -> _Front:
    if parts.head is None:
        return _Front()
    head = parts.head.decode()
    bounds = Bounds(head_bytes=limits.head_bytes, depth=limits.depth, nodes=limits.nodes)
    values, lines = load_lines(head, bounds=bounds, first_line=parts.head_line)
    return _Front(values=values, lines=lines, source=tuple(head.split("\n")), first_line=parts.head_line)


class _Keys:
    """What the keys of one front matter say: our fields, the others as they were, and what the person should hear.

    The id is read first, so that it stands also where another key is at fault: what waits for this task must learn of it.
    """

    __slots__ = ("extra", "fields", "front", "key_of", "warnings")

    def __init__(self) -> None:
        self.front = _Front()
        self.fields: dict[str, Any] = {}
        self.key_of: dict[str, str] = {}
        self.extra: list[tuple[str, object]] = []
        self.warnings: list[str] = []

    def read(self, front: _Front) -> None:
        """Read all keys. Raises Malformed at the first that cannot be followed."""
        self.front = front
        self._note_comments()
        from_queue = any(squeezed(key) in QUEUE_MARKS for key in front.values)
        for key, name in sorted(((key, FIELD_OF.get(squeezed(key))) for key in front.values), key=_id_first):
            value = front.values[key]
            if name is None:
                self._keep(key, value)
            elif not _is_empty(value):
                self._take(
                    key, _meant(name, value), _queue_priority(value) if from_queue and name == "priority" else value
                )

    def _take(self, key: str, name: str, value: Any) -> None:
        try:
            self._put(key, name, self._value(key, name, value))
        except Malformed as fault:
            if squeezed(key) not in SOFT:
                raise
            self.extra.append((key, value))
            if name != "assignee":
                self.warnings.append(f"{fault} (the key is ignored)")

    def _value(self, key: str, name: str, value: Any) -> object:
        front = self.front
        if name == "result":
            raise front.fault(key, f"`{key}` is what the daemon writes when a task has ended: remove it", "no such key")
        allowed = RULES[name].allowed
        try:
            return RULES[name].read(value)
        except PlaceholderError:
            message = f"fill in the placeholder: {key} is {front.found(key)}, but must be {allowed}"
            raise front.fault(key, message, allowed) from None
        except ValueError:
            raise front.fault(key, f"{key} is {front.found(key)}, but must be {allowed}", allowed) from None

    def _put(self, key: str, name: str, value: Any) -> None:
        """Keep a value; lists under two names for one thing are joined, different single values are a fault."""
        if name in self.fields and RULES[name].many:
            value = tuple(dict.fromkeys((*self.fields[name], *value)))
        elif name in self.fields and self.fields[name] != value:
            raise self.front.fault(key, f"`{self.key_of[name]}` and `{key}` mean the same and differ: keep one")
        self.fields[name] = value
        self.key_of.setdefault(name, key)

    def _keep(self, key: str, value: object) -> None:
        """Keep a key that is not ours, and say so where it looks like a misspelling of one that is."""
        self.extra.append((key, value))
        plain = squeezed(key)
        if plain in FOREIGN or not 3 <= len(plain) <= 40 or len(self.extra) > _MAX_GUESSES:
            return
        close = difflib.get_close_matches(plain, FIELD_OF, n=1, cutoff=0.8)
        if close:
            said = f"line {self.front.lines[key]}: the key `{key}` is unknown and has no effect"
            self.warnings.append(f"{said}: did you mean `{FIELD_OF[close[0]]}`?")

    def _note_comments(self) -> None:
        """`labels: #urgent` says nothing to YAML; the person meant something by it."""
        front = self.front
        for key, line in front.lines.items():
            lost = None if key in front.values else _COMMENT_VALUE.match(front.written(key))
            if lost is not None and len(self.warnings) < _MAX_GUESSES:
                said = f"line {line}: `{lost[1].strip()[:60]}` was read as a comment, so `{key}` is empty"
                self.warnings.append(f"{said}: put it in quotes")


def _id_first(item: tuple[str, str | None]) -> bool:
    return item[1] != "id"


def _meant(name: str, value: Any) -> str:
    """The field behind a key that stands for two: `prefer: speed` weighs, `prefer: codex` names an interface."""
    weighs = isinstance(value, str) and value.strip().lower() in WEIGHED
    return "preferred_interface" if name == "prefer" and not weighs else name


def _is_empty(value: Any) -> bool:
    return value == [] or (isinstance(value, str) and not value.strip())


def _queue_priority(value: Any) -> Any:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return value
    return "high" if int(value) <= 1 else "medium" if int(value) <= 5 else "low"


# Fields of TaskSpec that have the name and the value of their key.
_AS_READ = frozenset(RULES) - {"id", "title", "type", "timeout", "retries", "status", "draft", "assignee"}


def _title(fields: dict[str, Any], text: str, first_line: int) -> str:
    """The task's title; a template nobody has filled in is refused. What this program has put together from outputs is none."""
    given = one_line(fields.get("title", ""))
    if given and fields.get("mode", Mode.DAEMON) is not Mode.DAEMON:
        return given
    title = title_of(text, first_line) or given
    if "workflow" not in fields:
        check_filled(text, title, first_line)
    return title


def _spec(file: _File, parts: Parts, keys: _Keys, vocabulary: Vocabulary) -> TaskSpec:
    fields = keys.fields
    text = parts.body.decode()
    title = _title(fields, text, parts.body_line)
    known: dict[str, Any] = {key: value for key, value in fields.items() if key in _AS_READ}
    known.setdefault("attempts", fields.get("retries"))
    task_id = fields.get("id") or file.slug
    _check_ids(keys, task_id)
    _use_vocabulary(known, fields.get("assignee"), vocabulary, keys.warnings)
    kind = fields.get("type") or type_for(known.get("requires", ()))
    return TaskSpec(
        id=task_id,
        explicit_id="id" in fields,
        title=title or one_line(file.stem),
        text=text,
        sha256=file.sha256,
        size_bytes=len(file.data),
        name=file.name,
        type=vocabulary.types.get(kind, kind),
        timeout_seconds=fields.get("timeout"),
        draft=bool(fields.get("status") or fields.get("draft")),
        warnings=tuple(dict.fromkeys(keys.warnings)),
        extra=tuple(keys.extra),
        **known,
    )


def _check_ids(keys: _Keys, task_id: str) -> None:
    """Refuse a task that waits for itself; say it where the id had to be written in another way."""
    for name in ("depends_on", "handoff_from"):
        if any(ids.same_id(other, task_id) for other in keys.fields.get(name, ())):
            raise keys.front.fault(
                keys.key_of[name], f"the task waits for itself ({task_id})", "the ids of other tasks"
            )
    key = keys.key_of.get("id")
    if key is not None and keys.front.values[key] != task_id:
        keys.warnings.append(f"line {keys.front.lines[key]}: the id {keys.front.found(key)} is written {task_id} here")


def _use_vocabulary(known: dict[str, Any], assignee: str | None, vocabulary: Vocabulary, warnings: list[str]) -> None:
    """Aliases become the names they stand for; a name that matches nothing stays as it is and is said."""
    names = vocabulary.interfaces
    if not names:
        return
    if assignee in names:
        known["preferred_interface"] = known.get("preferred_interface") or assignee
    for name in ("interface", "preferred_interface"):
        if known.get(name):
            known[name] = _resolved(known[name], names, name, warnings)
    if "never" in known:
        known["never"] = tuple(_resolved(each, names, "never", warnings) for each in known["never"])
    warnings += [
        f"no interface can do `{capability}` now{_nearest(capability, vocabulary.capabilities)}"
        for capability in known.get("requires", ())
        if capability not in vocabulary.capabilities
    ]


def _resolved(name: str, names: Mapping[str, str], key: str, warnings: list[str]) -> str:
    if name in names:
        return names[name]
    warnings.append(f"{key}: there is no interface `{name}`{_nearest(name, names)}")
    return name


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:64], names, n=1, cutoff=0.7)
    return f": did you mean `{close[0]}`?" if close else ""
