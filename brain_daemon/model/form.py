"""Front matter as a form: text in, typed values or one clear fault out, unknown keys named.

A form is a pydantic class whose fields know how to read text. `fill` gives the filled form, or raises Malformed for the
first fault with its line, its key, what was found and what is allowed; the caller makes it the fault of one file.
The line is found by looking for the keys in the text again: right for the way people write, a hint in a long flow map.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.frontmatter import Malformed, split
from brain_daemon.model.ids import normal_name
from brain_daemon.model.quantities import DURATION_ALLOWED, FLAG_ALLOWED, parse_duration, parse_flag

Place = tuple[str | int, ...]
"""Where a value stands: keys, and positions in lists counted from 0."""


class Form(BaseModel):
    """The base of all forms: frozen, and keys it does not know are kept aside to be named."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


_MOST_UNKNOWN = 20

F = TypeVar("F", bound=Form)
T = TypeVar("T")

_EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys of its own, one a line, indented below it",
    "model_type": "keys of its own, one a line, indented below it",
    "float_parsing": "a number",
    "decimal_parsing": "a number",
    "decimal_type": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "greater_than_equal": "a number not below {ge}",
    "less_than_equal": "a number not above {le}",
}


def read_as(parse: Callable[[str], T], allowed: str) -> Callable[[object], T]:
    """A reader of one text: what `parse` refuses with ValueError is a fault that says what is `allowed`."""

    refused = PydanticCustomError("not_allowed", "not allowed", {"allowed": allowed})

    def read(value: object) -> T:
        if not isinstance(value, str):
            raise refused
        try:
            return parse(value)
        except ValueError:
            raise refused from None

    return read


def listed(value: object) -> object:
    """A scalar where a list is meant is a list: `a, b` is two items."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def under(key: str) -> Callable[[object], object]:
    """A reader for a map that may be shortened to the value of its chief key."""
    return lambda value: value if isinstance(value, Mapping) else {key: value}


def worded(value: object) -> object:
    """A word in the one form we compare; what is no text is left for its field to refuse."""
    return normal_name(value) if isinstance(value, str) else value


Word = Annotated[str, BeforeValidator(worded)]
"""A name in the one form we compare."""

Words = Annotated[tuple[Word, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
"""Names, as a list or separated by commas."""

Flag = Annotated[bool, BeforeValidator(read_as(parse_flag, FLAG_ALLOWED), json_schema_input_type=bool)]
Seconds = Annotated[
    float,
    BeforeValidator(read_as(parse_duration, DURATION_ALLOWED)),
    WithJsonSchema({"type": ["string", "number"], "description": DURATION_ALLOWED, "examples": ["30m", "1h30m", 1800]}),
]


def fill(form: type[F], values: Mapping[str, Any], text: str) -> F:
    """The form filled with `values`, which stand in `text`; raises Malformed for the first fault."""
    try:
        return form.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise _malformed(faults[0], len(faults) - 1, text) from None


def unknown_keys(form: Form, text: str) -> tuple[str, ...]:
    """One sentence for each key that no form knows, in the order they stand; the first ones, where there are many."""
    extras = list(_extras(form, ()))
    found = [(line_of(text, place), place, known) for place, known in extras[:_MOST_UNKNOWN]]
    told = tuple(_unknown(*one) for one in sorted(found, key=lambda one: one[0] or 0))
    others = len(extras) - len(found)
    return (*told, f"{others} more keys are not known here and were ignored") if others else told


def dotted(place: Place) -> str:
    """`("errors", 0, "when")` as people read it: `errors[0].when`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def line_of(text: str, place: Place) -> int | None:
    """The line on which the value at `place` begins, or the deepest of its keys that is found; counted from 1."""
    parts = split(text.encode("utf-8", "surrogatepass"))
    lines = (parts.head or b"").decode("utf-8", "surrogatepass").split("\n")
    at = None
    for part in place:
        found = _next_line(lines, at, part)
        at = at if found is None else found
    return None if at is None else parts.head_line + at


def _next_line(lines: Sequence[str], at: int | None, part: str | int) -> int | None:
    if isinstance(part, int):
        items = [number for number, line in enumerate(lines) if number > (at or 0) and re.match(r"\s*- ", line)]
        return items[part] if part < len(items) else None
    key = re.compile(rf"(?:^|[\s{{,-])[\"']?{re.escape(part)}[\"']?\s*:(?:\s|$)", re.IGNORECASE)
    start = 0 if at is None else at
    return next((number for number in range(start, len(lines)) if key.search(lines[number])), None)


def fault_of(fault: ErrorDetails) -> tuple[Place, str]:
    """Where a fault of a form stands, and what is wrong in a sentence."""
    place = tuple(part for part in fault["loc"] if part != "[key]")
    field = dotted(place)
    if fault["type"] == "missing":
        return place, f"`{field}` is missing: add it"
    if fault["type"] == "value_error":
        return place, f"`{field}`: {fault['ctx']['error']}" if field else str(fault["ctx"]["error"])
    return place, f"`{field}` is {_shown(fault['input'])}, but must be {_allowed(fault)}"


def _malformed(fault: ErrorDetails, others: int, text: str) -> Malformed:
    place, message = fault_of(fault)
    field, allowed = dotted(place), _allowed(fault)
    found = None if fault["type"] == "missing" else _shown(fault["input"])
    message += f" (and {others} more below)" if others else ""
    line = line_of(text, place[:-1] if fault["type"] == "missing" else place)
    return Malformed(message, line=line, field=field or None, found=found, allowed=allowed)


def _allowed(fault: ErrorDetails) -> str | None:
    context = fault.get("ctx", {})
    if fault["type"] in ("missing", "value_error"):
        return None
    if fault["type"] in ("enum", "literal_error"):
        return "one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
    return str(context.get("allowed") or _EXPECTED.get(fault["type"], fault["msg"]).format(**context))


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f"`{clean_line(value, 80)}`"
    return "a list" if isinstance(value, list) else "a map" if isinstance(value, Mapping) else "nothing"


def _extras(form: Form, place: Place) -> Iterator[tuple[Place, Sequence[str]]]:
    known = tuple(type(form).model_fields)
    for key in form.model_extra or ():
        yield (*place, key), known
    for name in known:
        yield from _extras_in(getattr(form, name), (*place, name))


def _extras_in(value: object, place: Place) -> Iterator[tuple[Place, Sequence[str]]]:
    if isinstance(value, Form):
        yield from _extras(value, place)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _extras_in(item, (*place, index))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _extras_in(item, (*place, key))


def _unknown(line: int | None, place: Place, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(place[-1]), known, 1, 0.75)
    sentence = f"line {line}: `{dotted(place)}` is not a key known here and was ignored"
    return f"{sentence}; did you mean `{near[0]}`?" if near else sentence
