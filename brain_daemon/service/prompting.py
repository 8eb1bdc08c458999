"""What an attempt is sent: the task's text with what its links name, what is handed to it and what the pool knows of it.

Only interfaces of the type `llm` are told what the pool finds; links and handoffs reach every interface. A plain task on a
program stays as it is, to the byte, and costs no look at anything. Composing reads files and counts tokens, so it has a
thread. Raises HandoffMissing before anything is spent.

What was sent is kept in the attempt's folder: the text by the adapter (prompt.md), its parts here (prompt.json), unless the
text is the task's own and nothing else. `kept` reads both back for `brain show ID --prompt`.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.tokens import Basis, count
from brain_daemon.memory.context import Composed, Part, compose
from brain_daemon.memory.links import links_in
from brain_daemon.memory.pool import Pool
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceSpec, InterfaceType
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.resuming import Resumption
from brain_daemon.service.brain import Brain
from brain_daemon.service.remembering import budget
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

PROMPT = "prompt.md"
PARTS = "prompt.json"
"""In the attempt's folder: what was sent, and what it is made of."""

_RECORDED_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_NOTES_SECONDS = 0.2
_USUAL_TOKENS = 100_000
_MAX_PROMPT_BYTES = 256 << 20
_MAX_PARTS_BYTES = 1 << 20
_MOST_BYTES_A_SIGN = 4


class Prompter:
    """Composes prompts from one pool. Belongs to the event loop; the work is done in threads."""

    def __init__(self, brain: Brain, pool: Pool) -> None:
        self._brain = brain
        self._pool = pool
        self._notes_due: asyncio.TimerHandle | None = None

    async def compose(self, task: TaskSpec, spec: InterfaceSpec) -> Composed:
        """The prompt of a task for an interface. Raises HandoffMissing."""
        tokens = self._brain.config.memory_tokens if spec.type is InterfaceType.LLM else 0
        if not (tokens or task.handoff_from or links_in(task.text)):
            return Composed(prompt_text=task.text)
        for wanted in task.handoff_from:
            await self._recorded(wanted)
        limits = replace(budget(self._brain.config, prompt_tokens(spec)), memory_tokens=tokens)
        counting = _Counting()
        composed = await asyncio.to_thread(compose, task, self._pool, limits, counting)
        return replace(composed, basis=counting.basis)

    async def _recorded(self, task_id: str) -> None:
        """A task counts as completed a moment before its file stands in completed/, and the file is what is handed over."""
        deadline = time.monotonic() + _RECORDED_SECONDS
        # The file is written by the recorder's thread, which makes no event for this one.
        while self._is_being_recorded(task_id) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_being_recorded(self, task_id: str) -> bool:
        place = os.path.join(self._brain.layout.completed, f"{task_id}.md")
        return task_id.casefold() in self._brain.journal.finishing() and not os.path.exists(place)

    def keep(self, invocation: Invocation, composed: Composed, *, scratch: bool) -> None:
        """Put what the prompt names into a scratch workspace, and what it is made of beside it; notes may come from now on."""
        if self._notes_due is None:
            # Its start goes before a look at what it leaves.
            self._notes_due = asyncio.get_running_loop().call_later(_NOTES_SECONDS, self._expect_notes)
        if scratch:
            self._put_files(invocation.workspace, composed.files)
        parts = _parts_of(invocation, composed)
        if len(parts) > 1 or parts[0].kind != "task":
            told = {
                "basis": composed.basis,
                "parts": [asdict(part) for part in parts],
                "warnings": list(composed.warnings),
            }
            data = json.dumps(told, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
            self._brain.files.put(os.path.join(invocation.folder, PARTS), data + b"\n", sync=False)

    def _expect_notes(self) -> None:
        self._notes_due = None
        self._pool.on_work()

    def _put_files(self, workspace: str, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self._brain.files.put(os.path.join(workspace, name), data, sync=False)


def sent(task: TaskSpec, composed: Composed, resume: Resumption | None) -> str:
    """The text that goes to the client: a session it goes on in has the context already."""
    if resume is None:
        return composed.prompt_text
    if resume.client_session is not None:
        return resume.prompt
    return resume.prompt + _gathered(task, composed)


def _gathered(task: TaskSpec, composed: Composed) -> str:
    """What stands after the task's own text."""
    return composed.prompt_text[len(task.text.rstrip("\n")) :] if len(composed.parts) > 1 else ""


def _parts_of(invocation: Invocation, composed: Composed) -> tuple[Part, ...]:
    """The parts of what is really sent: a client that is told to go on is sent that instead of the task."""
    task, prompt = invocation.task, invocation.prompt
    own, *others = composed.parts or (Part(kind="task", source=task.id, tokens=0),)
    if prompt == composed.prompt_text:
        return own, *others
    gathered = _gathered(task, composed)
    resumed = prompt.removesuffix(gathered)
    # Here runs the event loop, which must not wait for the encoding to be read.
    tokens = count(resumed, short_bytes=len(resumed) * _MOST_BYTES_A_SIGN).tokens
    first = Part(kind="resume", source=task.id, tokens=tokens)
    return (first, *others) if gathered and len(resumed) < len(prompt) else (first,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What an attempt was sent, read back. `tokens` are all of it, counted now; the parts were counted then, on `basis`."""

    path: str
    data: bytes
    tokens: int
    basis: str
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = field(default=())


def kept(layout: Layout, attempt_id: str, task_id: str) -> Kept | None:
    """The prompt of an attempt, None where none is kept here; without parts that can be read it is one part. StorageError."""
    path = os.path.join(layout.attempt(attempt_id), PROMPT)
    if not os.path.lexists(path):
        return None
    data = read_regular(path, _MAX_PROMPT_BYTES)
    counted = count(data.decode("utf-8", "replace"), short_bytes=0)
    basis, parts, warnings = _told(os.path.join(layout.attempt(attempt_id), PARTS))
    return Kept(
        path=path,
        data=data,
        tokens=counted.tokens,
        basis=basis or counted.basis.value,
        parts=parts or (Part(kind="task", source=task_id, tokens=counted.tokens),),
        warnings=warnings,
    )


def _told(path: str) -> tuple[str, tuple[Part, ...], tuple[str, ...]]:
    """What prompt.json says; nothing where there is none, or none that can be read."""
    try:
        said = json.loads(read_regular(path, _MAX_PARTS_BYTES) or b"{}")
        parts = [
            Part(kind=str(part["kind"]), source=str(part["source"]), tokens=int(part["tokens"]))
            for part in said.get("parts", ())
        ]
        return str(said.get("basis", "")), tuple(parts), tuple(map(str, said.get("warnings", ())))
    except (StorageError, ValueError, TypeError, KeyError, AttributeError):
        return "", (), ()


def prompt_tokens(spec: InterfaceSpec) -> int:
    """Room for the whole prompt, with some of it left for the answer."""
    limit = spec.limits.tokens_per_request
    return _USUAL_TOKENS if limit is None else limit * 3 // 4


class _Counting:
    """Counts tokens, and remembers whether one of the counts was an estimate."""

    def __init__(self) -> None:
        self.basis = Basis.LOCAL.value

    def __call__(self, text: str) -> int:
        counted = count(text)
        if counted.basis is Basis.ESTIMATE:
            self.basis = Basis.ESTIMATE.value
        return counted.tokens
