"""A batch file: JSON, YAML or CSV in, one task for each row out, all of them checked before the first is dropped.

A row has the task's text under `prompt` and may have every key of a task's front matter. Ids are made from the file's content and the
row's number, so the same file is the same batch: what has ended is not done again. A row's own `id` is its name within the file, by
which other rows may wait for it.

Failures: a file that cannot be read, or any row that is no task, is a UserError that names each faulty row; nothing is dropped then.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.model.frontmatter import Bounds, Malformed, load
from brain_daemon.model.outcome import Mode
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.spellings import FIELD_OF, squeezed
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.service.composing import compose
from brain_daemon.service.intake import explain

MAX_ROWS = 10_000
PROMPTS = ("prompt", "text", "task", "question", "body")
"""The keys under which a row's text may stand."""

_LINE = re.compile(r"^line \d+: ")
_BOUNDS = Bounds(head_bytes=64 << 20, nodes=2_000_000)
_MOST_FAULTS = 20
_REFERRING = frozenset({"depends_on", "handoff_from", "conflicts_with", "parent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as a task: its number (from 1), its own name where it has one, and the file that is dropped for it."""

    number: int
    name: str | None
    task: TaskSpec
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A whole file. `id` is also the chain of its tasks, unless they name another."""

    id: str
    source: str
    rows: tuple[Row, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd in the rows and stops none of them, such as a misspelt key: each once, with the rows it is said of."""
        rows: dict[str, list[int]] = {}
        for row in self.rows:
            for warning in row.task.warnings:
                # The line is one of the file that is dropped, not of the batch.
                rows.setdefault(_LINE.sub("", warning), []).append(row.number)
        return tuple(f"{_which(numbers)}: {clean_line(warning, 300)}" for warning, numbers in rows.items())


def _which(numbers: Sequence[int]) -> str:
    return f"row {numbers[0]}" if len(numbers) == 1 else f"{len(numbers):,} rows, the first is {numbers[0]}"


def read_file(path: str, limits: ParseLimits) -> Batch:
    """The batch in a file; its name's ending says what it is."""
    try:
        with open(path, "rb") as handle:
            data = handle.read(_BOUNDS.head_bytes + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"reading the batch {path}: it cannot be read: {error}.") from error
    batch_id = f"batch-{hashlib.sha256(data).hexdigest()[:10]}"
    try:
        values = _values(os.path.basename(path), text)
    except Malformed as fault:
        where = path if fault.line is None else f"{path}, line {fault.line}"
        raise UserError(f"reading the batch {where}: {fault.message}.") from fault
    if not 1 <= len(values) <= MAX_ROWS:
        raise UserError(f"reading the batch {path}: it has {len(values):,} rows; allowed are 1 to {MAX_ROWS:,}.")
    return Batch(id=batch_id, source=path, rows=_checked(path, batch_id, values, limits))


# Files


def _values(name: str, text: str) -> list[dict[str, Any]]:
    if name.lower().endswith(".csv"):
        return list(_csv(text))
    if name.lower().endswith(".json"):
        try:
            found = _as_text(json.loads(text, parse_float=str, parse_int=str))
        except (ValueError, RecursionError) as error:
            raise Malformed(f"it is not JSON ({error})") from None
    elif name.lower().endswith((".yaml", ".yml")):
        found = _yaml(text)
    else:
        raise Malformed("a batch file is named .json, .yaml or .csv")
    return _with_defaults(found)


def _yaml(text: str) -> Any:
    """The map in a text, or the list: the reader of front matter knows maps alone."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if not first.startswith("- "):
        return load(text, bounds=_BOUNDS, first_line=1)
    return load(f"tasks:\n{text}", bounds=_BOUNDS, first_line=0)["tasks"]


def _with_defaults(found: Any) -> list[dict[str, Any]]:
    """A list of rows, or a map of `tasks` and the `defaults` of each."""
    defaults: Mapping[str, Any] = {}
    if isinstance(found, Mapping):
        defaults = found.get("defaults") or {}
        unknown = sorted(found.keys() - {"tasks", "defaults"})
        if unknown or not isinstance(defaults, Mapping):
            raise Malformed(
                f"it has the keys tasks and defaults and no other: {', '.join(unknown) or 'defaults is a map'}"
            )
        found = found.get("tasks")
    if not isinstance(found, list):
        raise Malformed("it is a list of tasks, or a map with `tasks:`")
    rows = [{"prompt": row} if isinstance(row, str) else row for row in found]
    if not all(isinstance(row, Mapping) for row in rows):
        raise Malformed("each task is a map of keys, or a text")
    return [{**defaults, **row} for row in rows]


def _as_text(value: Any) -> Any:
    """JSON in the form in which YAML is read here: every scalar as its text, what is null left out."""
    if isinstance(value, Mapping):
        return {key: _as_text(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else value


def _csv(text: str) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if None in row:
                raise Malformed("the row has more cells than the head", line=reader.line_num)
            yield {key: cell for key, cell in row.items() if cell}
    except csv.Error as error:
        raise Malformed(str(error), line=reader.line_num) from None


# Rows


def _checked(path: str, batch_id: str, values: Sequence[Mapping[str, Any]], limits: ParseLimits) -> tuple[Row, ...]:
    width = len(str(len(values)))
    ids = {number: f"{batch_id}-{number:0{width}d}" for number in range(1, len(values) + 1)}
    names = _names(path, values, ids)
    rows: list[Row] = []
    faults: list[str] = []
    for number, one in enumerate(values, 1):
        try:
            rows.append(_row(number, ids[number], batch_id, one, names, limits))
        except Malformed as fault:
            faults.append(f"  row {number}: {fault.message}")
    if faults:
        more = [f"  and {len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
        told = "\n".join([*faults[:_MOST_FAULTS], *more])
        raise UserError(
            f"reading the batch {path}: {len(faults)} of {len(values)} rows are no task; nothing was started.\n{told}"
        )
    return tuple(rows)


def _names(path: str, values: Sequence[Mapping[str, Any]], ids: Mapping[int, str]) -> dict[str, str]:
    """A row's own name -> the id of its task."""
    found: dict[str, str] = {}
    for number, one in enumerate(values, 1):
        name = _own_name(one)
        if name is not None and name in found:
            raise UserError(f"reading the batch {path}: row {number} has the id {name}, which another row has too.")
        if name is not None:
            found[name] = ids[number]
    return found


def _own_name(values: Mapping[str, Any]) -> str | None:
    found = next((value for key, value in values.items() if FIELD_OF.get(squeezed(key)) == "id"), None)
    return found.strip() if isinstance(found, str) and found.strip() else None


def _row(
    number: int, task_id: str, batch_id: str, values: Mapping[str, Any], names: Mapping[str, str], limits: ParseLimits
) -> Row:
    prompts = [key for key in values if key in PROMPTS and str(values[key]).strip()]
    if len(prompts) != 1 or not isinstance(values[prompts[0]], str):
        raise Malformed(f"it needs one text under `prompt` (or {', '.join(PROMPTS[1:])}), and has {len(prompts)}")
    fields: dict[str, object] = {"id": task_id}
    for key, value in values.items():
        field = FIELD_OF.get(squeezed(key))
        if key not in PROMPTS and field != "id" and value not in ("", [], None):
            fields[key] = _referred(value, names) if field in _REFERRING else value
    if "chain" not in {FIELD_OF.get(squeezed(key)) for key in fields}:
        fields["chain"] = batch_id
    try:
        text = compose(task_id, values[prompts[0]].rstrip("\n") + "\n", {**fields, "mode": Mode.BATCH.value})
    except ValueError as error:
        raise Malformed(str(error)) from None
    parsed = parse_task(f"{task_id}.md", text.encode("utf-8", "surrogateescape"), limits=limits)
    if isinstance(parsed, Rejection):
        raise Malformed(explain(parsed).replace("\n", "; "))
    return Row(number=number, name=_own_name(values), task=parsed, text=text)


def _referred(value: Any, names: Mapping[str, str]) -> object:
    """Ids of rows of this file in place of their names; every other id is one of the brain."""
    words = value if isinstance(value, list) else str(value).replace(";", ",").split(",")
    return [names.get(str(word).strip(), str(word).strip()) for word in words if str(word).strip()]
