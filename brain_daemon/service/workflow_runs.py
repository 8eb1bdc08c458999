"""Runs of workflows as they are kept and begun: where the definition is, the task file that asks for a run, the task files of its steps.

A run is a task whose front matter has `workflow:`; its steps are tasks of its chain. What the run goes by is frozen when it
begins (one JSON file in the state folder, `RunRecord`), so a file that changes later changes no run. What has become of a
step is never kept there: the records of its tasks say it.

Failures: a definition that cannot be used is a `Refusal` with its faults; a run file that cannot be read is as if there were none, and is made anew
from the task.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from brain_daemon.model import document
from brain_daemon.model.emitter import emit
from brain_daemon.model.errors import StorageError, UserError
from brain_daemon.model.ids import MAX_ID_LENGTH, slug
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.model.workflow import MAX_FILE_BYTES, Fault, Step, Workflow, resolved_params, task_id
from brain_daemon.policy.eligibility import WIDTH
from brain_daemon.service.brain import Brain
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Seen, look
from brain_daemon.store.reading import read_regular

if TYPE_CHECKING:
    from brain_daemon.model.workflow_form import Reading

ENDINGS = (".yaml", ".yml", ".json")
_FENCE = re.compile(r"^(`{3,})\w*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_KEPT_SECONDS = 60 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run goes by. `values` are the definition's keys as they were read; `keeps` are steps that `continues` may have done."""

    run: str
    name: str
    values: Mapping[str, Any]
    params: Mapping[str, str]
    source: str = ""
    sha256: str = ""
    continues: str | None = None
    keeps: tuple[str, ...] = ()
    closed: bool = False

    def workflow(self) -> Workflow:
        """The workflow; UserError where the record is of another release that read it otherwise."""
        reading = _values_read(self.values, self.name)
        if reading.workflow is None:
            raise UserError(f"the run {self.run} was begun by another release, which read its workflow otherwise.")
        return reading.workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a definition cannot be run; `source` is the file as a person names it."""

    source: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return "\n".join(said(fault, self.source) for fault in self.faults)


def said(fault: Fault, source: str) -> str:
    """A fault in a line."""
    where = source if fault.line is None else f"{source}, line {fault.line}"
    return f"{where}: {fault.message}"


# where definitions are


def folder(layout: Layout) -> str:
    return layout.inside("brain", "workflows")


def definitions(layout: Layout) -> list[str]:
    """The workflow files of the brain, by their paths below it."""
    found = []
    for parent, _folders, names in os.walk(folder(layout)):
        found += [layout.relative(os.path.join(parent, name)) for name in names if name.lower().endswith(ENDINGS)]
    return sorted(found)


def find_definition(layout: Layout, wanted: str) -> str | None:
    """The file a person means by a path, or as `find_in_brain` finds it."""
    return os.path.abspath(wanted) if os.path.isfile(wanted) else find_in_brain(layout, wanted)


def find_in_brain(layout: Layout, wanted: str) -> str | None:
    """The file of the brain of this path below it, or of this name in brain/workflows/, with or without its ending."""
    names = [wanted, *(f"{wanted}{ending}" for ending in ENDINGS)]
    places = [layout.inside(wanted), *(os.path.join(folder(layout), name) for name in names)]
    below = os.path.join(os.path.realpath(layout.root), "")
    found = (place for place in places if os.path.isfile(place) and os.path.realpath(place).startswith(below))
    return next(found, None)


def _file_read(name: str, data: bytes, agents: Collection[str] | None) -> "Reading":
    from brain_daemon.model.workflow_form import read_workflow  # noqa: PLC0415 - pydantic: 9 MB of a daemon without workflows

    return read_workflow(name, data, agents)


def _values_read(values: Mapping[str, Any], name: str, agents: Collection[str] | None = None) -> "Reading":
    from brain_daemon.model.workflow_form import read_values  # noqa: PLC0415 - as above

    return read_values(values, name, agents)


def read_definition(path: str, agents: Collection[str] | None = None) -> "tuple[Reading, bytes]":
    """What the file says, and its bytes. UserError where it cannot be read."""
    try:
        data = read_regular(path, MAX_FILE_BYTES + 1)
    except StorageError as error:
        raise UserError(f"reading the workflow {path}: {error}") from None
    return _file_read(os.path.basename(path), data or b"", agents), data or b""


# what is kept of a run


def _runs(layout: Layout) -> str:
    return os.path.join(layout.state, "workflows")


def _record_path(layout: Layout, run: str) -> str:
    return os.path.join(_runs(layout), f"{run.casefold()}.json")


def keep(layout: Layout, files: Files, record: RunRecord) -> None:
    """Write the record of a run; durable on return."""
    files.make_folder(_runs(layout))
    files.put(_record_path(layout, record.run), json.dumps(asdict(record)).encode())


def kept(layout: Layout, run: str) -> RunRecord | None:
    """The record of a run; None where there is none that can be read."""
    try:
        with open(_record_path(layout, run), "rb") as handle:
            data = json.load(handle)
        return RunRecord(**{**data, "keeps": tuple(data["keeps"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def all_kept(layout: Layout) -> list[RunRecord]:
    """The records of all runs that this machine still has."""
    try:
        names = sorted(os.listdir(_runs(layout)))
    except FileNotFoundError:
        return []
    records = (kept(layout, name.removesuffix(".json")) for name in names if name.endswith(".json"))
    return [record for record in records if record is not None]


def forget_old(layout: Layout, files: Files) -> None:
    """Remove the records of runs that ended long ago: their tasks' results in git say what became of them."""
    for record in all_kept(layout):
        path = _record_path(layout, record.run)
        if record.closed and os.path.exists(path) and os.path.getmtime(path) < time.time() - _KEPT_SECONDS:
            files.remove(path)


# the task that asks for a run


def asked_by(layout: Layout, task: TaskSpec, agents: Collection[str] | None) -> RunRecord | Refusal:
    """What the `workflow:` of a task asks for: a file of the brain by name, the steps themselves, or the copy in the task's text."""
    wanted = task.workflow
    given = _given(dict(task.extra).get("params"))
    if isinstance(wanted, str):
        return _from_file(layout, task, wanted, given, agents)
    assert wanted is not None
    if "steps" in wanted:
        reading = _values_read({"workflow": wanted}, task.id, agents)
        return _record(task, reading, given, source=task.name, sha256=task.sha256)
    given |= _given(wanted.get("params"))
    if "sha256" in wanted:
        return _from_text(task, wanted, given, agents)
    return _from_file(layout, task, str(wanted.get("use") or wanted.get("source") or ""), given, agents)


def _given(value: object) -> dict[str, str]:
    """Parameters as a task gives them; a list or map is its JSON."""
    found = value if isinstance(value, Mapping) else {}
    return {
        str(key): one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for key, one in found.items()
    }


def _from_file(
    layout: Layout, task: TaskSpec, wanted: str, given: Mapping[str, str], agents: Collection[str] | None
) -> RunRecord | Refusal:
    path = find_in_brain(layout, wanted) if wanted else None
    if path is None:
        known = ", ".join(definitions(layout)) or "none"
        return Refusal(
            source=task.name,
            faults=(
                Fault(place="workflow", message=f"no workflow of this brain is called `{wanted}`; there are: {known}"),
            ),
        )
    try:
        reading, data = read_definition(path, agents)
    except UserError as error:
        return Refusal(source=task.name, faults=(Fault(place="workflow", message=str(error)),))
    return _record(task, reading, given, source=layout.relative(path), sha256=fingerprint(data))


def _from_text(
    task: TaskSpec, wanted: Mapping[str, Any], given: Mapping[str, str], agents: Collection[str] | None
) -> RunRecord | Refusal:
    source = str(wanted.get("source") or task.name)
    copies = (found[2].encode() for found in _FENCE.finditer(task.text))
    data = next((copy for copy in copies if fingerprint(copy) == wanted["sha256"]), None)
    if data is None:
        message = "the copy of the workflow in the text is not the one whose sha256 it names: run the file anew"
        return Refusal(source=task.name, faults=(Fault(place="workflow.sha256", message=message),))
    record = _record(task, _file_read(source, data, agents), given, source=source, sha256=str(wanted["sha256"]))
    if isinstance(record, Refusal):
        return record
    continues, keeps = wanted.get("continues"), wanted.get("keeps", [])
    return replace(record, continues=continues, keeps=tuple(keeps if isinstance(keeps, list) else [keeps]))


def _record(
    task: TaskSpec, reading: "Reading", given: Mapping[str, str], *, source: str, sha256: str
) -> RunRecord | Refusal:
    if reading.workflow is None:
        return Refusal(source=source, faults=reading.faults)
    params = resolved_params(reading.workflow, given)
    if isinstance(params, list):
        return Refusal(source=source, faults=tuple(Fault(place="params", message=message) for message in params))
    return RunRecord(
        run=task.id, name=reading.workflow.name, values=reading.values, params=params, source=source, sha256=sha256
    )


def fingerprint(data: bytes) -> str:
    """What tells one state of a definition from another: the hash of its text as a run's task holds it."""
    return hashlib.sha256(_ended(data)).hexdigest()


def new_run(name: str) -> str:
    """An id for a run: `nightly-20261121T091500-7f3a`."""
    return f"{slug(name)[:40].rstrip('-._')}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def next_run(layout: Layout, run: str) -> str:
    """The id of a run that goes on from another one with changed steps: `-r2`, `-r3`, ... after the first one's id."""
    base = re.sub(r"-r[0-9]+$", "", run)[: MAX_ID_LENGTH - 6]
    number = 2
    while kept(layout, f"{base}-r{number}") is not None:
        number += 1
    return f"{base}-r{number}"


def root_text(
    run: str,
    name: str,
    data: bytes,
    source: str,
    given: Mapping[str, str],
    extra: Mapping[str, object],
    went_on: tuple[str, tuple[str, ...]] | None = None,
) -> str:
    """The task file that asks for a run of these bytes, which stand in its text; `extra` are further keys."""
    asked: dict[str, object] = {"source": source, "sha256": fingerprint(data)}
    if given:
        asked["params"] = dict(given)
    if went_on is not None:
        asked |= {"continues": went_on[0], "keeps": list(went_on[1])}
    copy = _ended(data).decode("utf-8")
    fence = "`" * max(3, 1 + max((len(found) for found in re.findall(r"`+", copy)), default=0))
    head = emit({"id": run, "title": f"Workflow {name}", "mode": "workflow", **extra, "workflow": asked})
    language = "json" if source.lower().endswith(".json") else "yaml"
    return f"---\n{head}---\nThe workflow {name}, as it was when this run was asked for:\n\n{fence}{language}\n{copy}{fence}\n"


def _ended(data: bytes) -> bytes:
    """The bytes without a mark of byte order or Windows' line ends, which a fenced block would not give back, ended by a line end."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    return text if text.endswith(b"\n") else text + b"\n"


# the tasks of its steps


def step_text(
    record: RunRecord,
    step: Step,
    number: int | None,
    prompt: str,
    root: TaskSpec,
    *,
    parent: str,
    chain: str,
    handed_over: tuple[str, ...],
) -> str:
    """The task file of a step, or of its item `number`: what the step says, what it inherits from the run's task, and the prompt."""
    fields: dict[str, object] = {
        "id": task_id(record.run, step.id, number),
        "title": f"{record.name}: {step.id}" + ("" if number is None else f" {number}"),
        "mode": "workflow",
        "chain": chain,
        "parent": parent,
        **inherited(root, dict(step.options)),
        **({"preferred_interface": step.agent} if step.agent else {}),
        **({"handoff_from": list(handed_over)} if handed_over else {}),
    }
    return f"---\n{emit(fields)}---\n{prompt}" + ("" if prompt.endswith("\n") else "\n")


def inherited(root: TaskSpec, options: dict[str, object]) -> dict[str, object]:
    """The options of a step with what the run's task binds it to: nothing a step says loosens that."""
    found = dict(options)
    own = {"priority": root.priority.value, "on_limit": root.on_limit, "session": root.session}
    if root.workspace != "scratch":
        own["workspace"] = root.workspace
    found = {**{key: str(value) for key, value in own.items() if value is not None}, **found}
    if root.local_only:
        found["local_only"] = "true"
    if root.never:
        said = found.get("never", [])
        found["never"] = [
            *root.never,
            *([said] if isinstance(said, str) else list(said if isinstance(said, list) else [])),
        ]
    if root.permissions is not None:
        widths = {name.value: width for name, width in WIDTH.items()}
        if widths.get(str(found.get("permissions")), 99) > WIDTH[root.permissions]:
            found["permissions"] = root.permissions.value
    return found


def step_files(brain: Brain, record: RunRecord) -> Iterator[str]:
    """The ids of the run's tasks that lie in pending/ or active/."""
    workflow = record.workflow()
    plain = {task_id(record.run, step.id).casefold() for step in workflow.steps}
    many = [re.escape(task_id(record.run, step.id)) for step in workflow.steps if step.for_each is not None]
    items = re.compile(rf"(?:{'|'.join(many)})-[0-9]+", re.IGNORECASE) if many else None
    for place in (brain.layout.pending, brain.layout.active):
        for name in sorted(os.listdir(place)):
            stem = name.removesuffix(".md")
            if stem != name and (stem.casefold() in plain or (items is not None and items.fullmatch(stem))):
                yield stem


def root_of(brain: Brain, run: str) -> TaskSpec | None:
    """The task that asked for a run, wherever its file is; None if there is no such task or it asks for no workflow."""
    attempts = brain.journal.attempts_of(run)
    data = attempts[-1].spec if attempts else b""
    if not data:
        data = _file_of(brain, run)
    task = parse_task(f"{run}.md", document.strip(data).data if document.is_recorded(data) else data)
    if not isinstance(task, TaskSpec) or task.workflow is None:
        return None
    return replace(task, id=attempts[-1].task_id if attempts else run)


def _file_of(brain: Brain, run: str) -> bytes:
    ended = brain.journal.ended_task(run)
    places = [brain.layout.inside(ended.path)] if ended is not None else []
    places += [os.path.join(place, f"{run}.md") for place in (brain.layout.active, brain.layout.pending)]
    for path in places:
        seen = look(os.path.dirname(path), os.path.basename(path), brain.config.task_bytes + brain.config.result_bytes)
        if isinstance(seen, Seen) and seen.data is not None:
            return seen.data
    return b""
