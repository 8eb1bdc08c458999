"""The texts of a workflow: in a prompt, what stands between braces is a name, and `{{` and `}}` are braces; an output may be a list.

A text is cut into pieces once, so what is filled in is never read for names again. A lone brace that begins no name is a
fault: a prompt that shows JSON doubles its braces. Nothing here is fatal; a fault is a ValueError whose message is a sentence.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,59}"
_BRACE = re.compile(rf"\{{\{{|\}}\}}|\{{[ \t]*({NAME}(?:\.[A-Za-z0-9_-]{{1,60}}){{0,5}})[ \t]*\}}|[{{}}]")
_FENCED = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Template:
    """A text in pieces: literal text and, between two of them, a name. There is always one literal more than names."""

    literals: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def roots(self) -> tuple[str, ...]:
        """The names without what is looked up in them (`item` of `item.path`), each once."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.names))

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with `value(name)` in place of each name."""
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            parts += (value(name), literal)
        return "".join(parts)


def template(text: str) -> Template:
    """The pieces of a text. ValueError where a brace stands alone."""
    literals: list[str] = []
    names: list[str] = []
    begun, at = "", 0
    for found in _BRACE.finditer(text):
        begun += text[at : found.start()]
        at = found.end()
        if found[1]:
            literals.append(begun)
            names.append(found[1])
            begun = ""
        elif len(found[0]) == 2:
            begun += found[0][0]
        else:
            raise ValueError(_lone(text, found.start()))
    return Template((*literals, begun + text[at:]), tuple(names))


def escaped_where_alone(text: str) -> str:
    """The text with each lone brace doubled, so that it can be read for the names in it."""
    return _BRACE.sub(lambda found: found[0] if found[1] or len(found[0]) == 2 else found[0] * 2, text)


def escaped(text: str) -> str:
    """The text as it must be written to stand for itself."""
    return text.replace("{", "{{").replace("}", "}}")


def _lone(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    shown = " ".join(text[at : at + 20].split())
    return (
        f"the brace at `{shown}` (line {line} of the text) is part of no name such as {{topic}}: "
        f"write it twice, as {text[at] * 2}, where a brace is meant"
    )


def items_of(text: str) -> list[object]:
    """What a text lists: the items of the JSON list that it is (also inside one code fence), else its lines that are not blank."""
    fenced = _FENCED.fullmatch(text.strip())
    inner = fenced[1] if fenced else text
    try:
        found = json.loads(inner)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) else [line.strip() for line in inner.splitlines() if line.strip()]


def shown(value: object) -> str:
    """A value as it stands in a prompt: a text as it is, nothing as nothing, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def unpacked(value: object) -> object:
    """The object or list that a text is as JSON; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, dict | list) else value


def looked_up(value: object, path: Sequence[str]) -> object:
    """What `path` leads to in a value, or in the JSON that a text is; None where it leads nowhere."""
    for name in path:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return None
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, Mapping):
            value = value.get(name)
        else:
            return None
    return value
