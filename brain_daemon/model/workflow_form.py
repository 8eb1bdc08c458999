"""Workflow files (.yaml, .yml, .json) and the `workflow:` of a task file as forms: text in, a Workflow or all its faults out.

The keys may stand under `workflow:` or at the top. All that is wrong is told at once, each fault with its line; a key that looks like one of
ours misspelt is a fault, since what was meant would not be done, any other unknown key is a warning. Nothing here is fatal.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError
from yaml.events import MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from brain_daemon.model.form import Form, dotted, fault_of, listed, under
from brain_daemon.model.frontmatter import ABSENT, LOADER, Bounds, Malformed, load, text_value
from brain_daemon.model.task_fields import RULES, PlaceholderError
from brain_daemon.model.workflow import (
    MAX_FILE_BYTES,
    MAX_RETRIES,
    MAX_STEPS,
    Fault,
    ForEach,
    OnError,
    Param,
    Step,
    Then,
    Workflow,
    faults_in,
)
from brain_daemon.model.workflow_text import NAME, Template, escaped_where_alone, template

BOUNDS = Bounds(head_bytes=MAX_FILE_BYTES, depth=12, nodes=20_000)

ON_ERROR_ALLOWED = f"fail, continue, retry N (N up to {MAX_RETRIES}), or fallback and the id of a step"
NAME_ALLOWED = "a name of letters, digits, dashes and underscores that begins with a letter, up to 60 long"
FOR_EACH_ALLOWED = "the name of an output or a parameter, or a list"

OPTIONS = (
    "type", "requires", "timeout", "budget_usd", "verify", "model", "interface", "priority", "permissions", "workspace",
    "idempotent", "on_limit", "attempts", "local_only", "never",
)  # fmt: skip
"""Keys of a step that are keys of its task, with the same meaning."""

_ALSO = {
    "name": "id",
    "needs": "depends_on",
    "depends": "depends_on",
    "after": "depends_on",
    "if": "when",
    "foreach": "for_each",
}
_MENDABLE = ("prompt", "when", "on_error", "for_each", "depends_on", "agent")
"""Keys of a step that can be left out while the rest is judged."""

_NAME = re.compile(NAME)
_ON_ERROR = re.compile(rf"(?:(fail|continue)|retry[ :]+([0-9]{{1,3}})|fallback[ :]+({NAME}))", re.IGNORECASE)
_START = re.compile(r"\A(?:\ufeff)?---[ \t]*\r?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file says: a workflow where there is no fault. `values` are its keys as they were read, enough to read it again."""

    workflow: Workflow | None
    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def _refused(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("not_allowed", "not allowed", {"allowed": allowed})


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value.strip()):
        raise _refused(NAME_ALLOWED)
    return value.strip()


def _on_error(value: object) -> OnError:
    if isinstance(value, Mapping) and len(value) == 1:
        value = " ".join(str(part) for part in next(iter(value.items())))
    found = _ON_ERROR.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise _refused(ON_ERROR_ALLOWED)
    if found[1]:
        return OnError(then=Then(found[1].lower()))
    if found[3]:
        return OnError(then=Then.FALLBACK, step=found[3])
    if not 1 <= int(found[2]) <= MAX_RETRIES:
        raise _refused(ON_ERROR_ALLOWED)
    return OnError(then=Then.RETRY, retries=int(found[2]))


def _for_each(value: object) -> ForEach:
    if isinstance(value, list):
        return ForEach(items=tuple(value))
    text = value.strip() if isinstance(value, str) else ""
    name = text[1:-1].strip() if text.startswith("{") and text.endswith("}") else text
    if not _NAME.fullmatch(name):
        raise _refused(FOR_EACH_ALLOWED)
    return ForEach(name=name)


def _prompt(value: object) -> Template:
    if not isinstance(value, str):
        raise _refused("text")
    return template(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _refused("text")
    return value.strip()


def _value(value: object) -> str:
    """A parameter's value: text, or a list or map as its JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _params(value: object) -> object:
    """A list of names is a map of parameters that must be given."""
    if isinstance(value, list):
        named = [item if isinstance(item, Mapping) else {"name": item} for item in value]
        return {str(one.get("name", "")): {key: what for key, what in one.items() if key != "name"} for one in named}
    return value


def _named(schema: Mapping[str, Any]) -> WithJsonSchema:
    return WithJsonSchema(dict(schema))


_NAME_SCHEMA = {"type": "string", "pattern": f"^{NAME}$", "description": NAME_ALLOWED}
Name = Annotated[str, BeforeValidator(_name), _named(_NAME_SCHEMA)]
Names = Annotated[tuple[Name, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
Text = Annotated[str, BeforeValidator(_text)]


class ParamForm(Form):
    """A parameter; its default alone may stand here."""

    default: Annotated[str, BeforeValidator(_value)] | None = None
    description: str = ""


class StepForm(Form):
    """A step. Besides these it takes keys of its task: see OPTIONS."""

    id: Name
    prompt: Annotated[
        Template,
        BeforeValidator(_prompt),
        _named(
            {
                "type": "string",
                "description": "what is asked; `{name}` is a parameter or an output, `{{` and `}}` are braces",
            }
        ),
    ]
    agent: Text | None = Field(default=None, description="an agent of context/routing.md, or an interface")
    depends_on: Names = Field(default=(), description="steps that must have settled before")
    output: Name | None = Field(default=None, description="what its output is called; else as the step itself")
    when: Text | None = Field(
        default=None,
        description="JMESPath over steps, parameters and outputs: the step is skipped where it does not hold",
    )
    on_error: Annotated[
        OnError,
        BeforeValidator(_on_error),
        _named(
            {
                "type": "string",
                "description": ON_ERROR_ALLOWED,
                "examples": ["continue", "retry 2", "fallback other_step"],
            }
        ),
    ] = OnError()
    for_each: (
        Annotated[
            ForEach, BeforeValidator(_for_each), _named({"type": ["string", "array"], "description": FOR_EACH_ALLOWED})
        ]
        | None
    ) = None

    @model_validator(mode="before")
    @classmethod
    def _by_other_names(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        return {
            _ALSO[key] if key in _ALSO and _ALSO[key] not in values else key: value for key, value in values.items()
        }


class WorkflowForm(Form):
    """A workflow: steps that become the tasks of one chain."""

    name: Text = ""
    description: str = ""
    params: (
        Annotated[
            dict[Name, Annotated[ParamForm, BeforeValidator(under("default"), json_schema_input_type=str | ParamForm)]],
            BeforeValidator(_params, json_schema_input_type=list[str] | dict[str, Any]),
        ]
        | None
    ) = Field(default=None, description="its parameters with their defaults; one without a default must be given")
    steps: tuple[StepForm, ...]

    @field_validator("steps", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        steps = _steps_in(value)
        if not 1 <= len(steps) <= MAX_STEPS:
            raise _refused(f"a list of 1 to {MAX_STEPS} steps, each with `id` and `prompt`")
        return steps


def read_workflow(file_name: str, data: bytes, agents: Collection[str] | None = None) -> Reading:
    """The workflow in a file. `agents` are the names that steps may give as `agent`; None leaves them unjudged."""
    try:
        text = _decoded(data)
        json_file = file_name.lower().endswith(".json")
        values = _json_values(text) if json_file else load(text, bounds=BOUNDS, first_line=1, scalar=_scalar)
        values = _without_nothing(values)
    except Malformed as fault:
        message = fault.message.replace("the front matter", "the file")
        return Reading(workflow=None, faults=(Fault(place="", message=message, line=fault.line),))
    return read_values(values, _stem(file_name), agents, lines_of(text))


def read_values(
    values: Mapping[str, Any], name: str, agents: Collection[str] | None = None, lines: Mapping[str, int] | None = None
) -> Reading:
    """The workflow that these keys describe; `name` is its name where they give none, `lines` leads from a place to its line."""
    inner = values.get("workflow")
    above = "workflow." if isinstance(inner, Mapping) else ""
    found: Mapping[str, Any] = inner if isinstance(inner, Mapping) else values
    if isinstance(inner, str):
        found = {"name": inner, **{key: value for key, value in values.items() if key != "workflow"}}
    faults: list[Fault] = []
    warnings: list[str] = []
    workflow = None
    form, wrong = _form(found)
    faults += wrong
    if form is not None:
        steps = tuple(_step(step, f"steps[{number}]", faults) for number, step in enumerate(form.steps))
        _judge_keys(form, faults, warnings)
        workflow = Workflow(
            name=form.name or name,
            steps=steps,
            params=tuple(
                Param(name=key, default=one.default, description=one.description)
                for key, one in (form.params or {}).items()
            ),
            declared=form.params is not None,
            description=form.description,
        )
        faults += faults_in(workflow, agents)
    placed = tuple(
        sorted((_on_its_line(fault, above, lines or {}) for fault in faults), key=lambda fault: fault.line or 0)
    )
    return Reading(workflow=None if faults else workflow, faults=placed, warnings=tuple(warnings), values=dict(values))


def _form(found: Mapping[str, Any]) -> tuple[WorkflowForm | None, list[Fault]]:
    """The form of these keys and what is wrong with it, without which it is read as well as it can be, so that the rest is judged too."""
    try:
        return WorkflowForm.model_validate(found), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    faults = [_form_fault(one) for one in errors]
    wrong = {(place[1], place[2]) for place in (one["loc"] for one in errors) if _is_mendable(place)}
    if len(wrong) < len({one["loc"][:3] for one in errors}):
        return None, faults
    steps = [
        {"prompt": ""}
        | {key: what for key, value in step.items() if (what := _mended(number, key, value, wrong)) is not None}
        for number, step in enumerate(_steps_in(found["steps"]))
    ]
    return WorkflowForm.model_validate({**found, "steps": steps}), faults


def _is_mendable(place: Sequence[int | str]) -> bool:
    """Whether a fault at this place leaves the names of steps, outputs and parameters as they are."""
    return len(place) > 2 and place[0] == "steps" and place[2] in _MENDABLE


def _mended(number: int, key: str, value: Any, wrong: Collection[tuple[int | str, int | str]]) -> Any:
    """A step's value as far as it can be understood; None for one that is left out."""
    name = _ALSO.get(key, key)
    if (number, name) not in wrong:
        return value
    if name == "prompt":
        return escaped_where_alone(value) if isinstance(value, str) else ""
    return [] if name == "for_each" else None


def _steps_in(value: Any) -> list[Any]:
    """The steps as a list, of which those of a map have the map's keys for ids."""
    if isinstance(value, Mapping):
        return [{"id": key, **step} if isinstance(step, Mapping) else step for key, step in value.items()]
    return value if isinstance(value, list) else []


def _decoded(data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise Malformed(
            f"it has {len(data):,} bytes, at most {MAX_FILE_BYTES:,} are read: keep long texts in files of the brain"
        )
    try:
        # A first `---` would be taken for a document that is empty where another one follows.
        return _START.sub("#\n", data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed("it is not UTF-8 text: save it as UTF-8", line=line) from None


def _scalar(key: str, text: str, plain: bool) -> object:
    value = text_value(key, text, plain)
    return None if value is ABSENT else value


def _without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that say nothing are left out, as everywhere; but a parameter without a value is one that must be given."""
    return {
        key: {name: {} if one is None else one for name, one in value.items()}
        if key == "params" and isinstance(value, Mapping)
        else _cleared(value)
        for key, value in values.items()
        if value is not None
    }


def _cleared(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_nothing(value)
    return [_cleared(one) for one in value if one is not None] if isinstance(value, list) else value


def _json_values(text: str) -> dict[str, Any]:
    """JSON with every scalar as the text that stands there, as the YAML reader gives it."""
    try:
        values = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise Malformed(f"it is not JSON: {error.msg}", line=error.lineno) from None
    except RecursionError:
        raise Malformed("it is nested too deeply", line=1) from None
    if not isinstance(values, dict):
        raise Malformed("a workflow is an object with `steps`", line=1)
    if _is_deeper(values, BOUNDS.depth):
        raise Malformed(f"it nests deeper than {BOUNDS.depth} levels", line=1)
    return values


def _is_deeper(values: object, levels: int) -> bool:
    """Whether lists and maps stand within each other more than `levels` deep; without recursion, since a file decides how deep."""
    layer = [values]
    for _ in range(levels):
        layer = [one for outer in layer for one in _inside(outer)]
    return any(isinstance(one, Mapping | list) for one in layer)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Malformed(f"`{key}` stands twice: keep one")
        found[key] = ("true" if value else "false") if isinstance(value, bool) else value
    return found


def _stem(file_name: str) -> str:
    return re.sub(r"\.(?:ya?ml|json|md)$", "", file_name.rpartition("/")[2], flags=re.IGNORECASE)


def _step(form: StepForm, place: str, faults: list[Fault]) -> Step:
    options = {key: value for key, value in (form.model_extra or {}).items() if key in OPTIONS}
    faults += [fault for key, value in options.items() for fault in _option_faults(place, key, value)]
    if form.agent is not None and "interface" in options:
        faults.append(
            Fault(place=f"{place}.interface", message="`agent` and `interface` both say who does it: keep one")
        )
    return Step(
        id=form.id,
        prompt=form.prompt,
        output=form.output or form.id,
        after=tuple(dict.fromkeys(form.depends_on)),
        when=form.when or None,
        on_error=form.on_error,
        agent=form.agent or None,
        for_each=form.for_each,
        options=tuple(options.items()),
    )


def _option_faults(place: str, key: str, value: object) -> Iterator[Fault]:
    try:
        RULES[key].read(value)
    except (PlaceholderError, ValueError):
        yield Fault(place=f"{place}.{key}", message=f"`{key}` is `{value}`, but must be {RULES[key].allowed}")


def _judge_keys(form: WorkflowForm, faults: list[Fault], warnings: list[str]) -> None:
    """Keys nobody knows: one like ours is a fault."""
    above = [*WorkflowForm.model_fields]
    inside = [*StepForm.model_fields, *OPTIONS]
    found = [(key, "", above) for key in form.model_extra or ()]
    for number, step in enumerate(form.steps):
        found += [(key, f"steps[{number}].", inside) for key in step.model_extra or () if key not in OPTIONS]
    for key, place, known in found:
        near = difflib.get_close_matches(key, known, 1, 0.75)
        if near:
            message = f"`{key}` is not a key known here: did you mean `{near[0]}`?"
            faults.append(Fault(place=f"{place}{key}", message=message))
        else:
            warnings.append(f"`{place}{key}` is not a key known here and is ignored")


def _form_fault(error: Any) -> Fault:
    place, message = fault_of(error)
    return Fault(place=dotted(place), message=message)


def _on_its_line(fault: Fault, above: str, lines: Mapping[str, int]) -> Fault:
    """The line of the deepest part of its place that stands in the file."""
    place = f"{above}{fault.place}".rstrip(".")
    while place and place not in lines:
        place = re.sub(r"(?:^|\.)[^.\[\]]+$|\[\d+\]$", "", place)
    return Fault(place=fault.place, message=fault.message, line=lines.get(place, fault.line))


def lines_of(text: str, first_line: int = 1) -> dict[str, int]:
    """The line on which each key and each item of a YAML text begins, by its place (`steps[2].prompt`); JSON is YAML here."""
    found: dict[str, int] = {}
    loader = LOADER(text)
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                _note_lines(loader, event, "", first_line, found)
    except (yaml.YAMLError, RecursionError):
        pass  # whoever reads the text says what is wrong with it; the lines found so far are right
    return found


def _note_lines(loader: Any, start: Any, place: str, first: int, found: dict[str, int]) -> None:
    number = 0
    mapping = isinstance(start, MappingStartEvent)
    while not isinstance(event := loader.get_event(), MappingEndEvent | SequenceEndEvent):
        if mapping:
            key = event.value if isinstance(event, ScalarEvent) else "?"
            below = f"{place}.{key}".removeprefix(".")
            found[below] = first + event.start_mark.line
            event = loader.get_event()
        else:
            below = f"{place}[{number}]"
            found[below] = first + event.start_mark.line
            number += 1
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            _note_lines(loader, event, below, first, found)
