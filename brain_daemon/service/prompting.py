"""What an attempt is sent: the task's text with what its links name, what is handed to it and what the pool knows of it.

Only interfaces of the type `llm` are told what the pool finds; links and handoffs reach every interface. A plain task on a
program stays as it is, to the byte, and costs no look at anything. Composing reads files and counts tokens, so it has a
thread. Raises HandoffMissing before anything is spent.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.tokens import count
from brain_daemon.memory.context import Composed, compose
from brain_daemon.memory.links import links_in
from brain_daemon.memory.pool import Pool
from brain_daemon.model.interface import InterfaceSpec, InterfaceType
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.resuming import Resumption
from brain_daemon.service.brain import Brain
from brain_daemon.service.remembering import budget

PARTS = "prompt.json"
"""In the attempt's folder beside prompt.md: what the prompt is made of."""

_RECORDED_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_USUAL_TOKENS = 100_000


class Prompter:
    """Composes prompts from one pool. Belongs to the event loop; the work is done in threads."""

    def __init__(self, brain: Brain, pool: Pool) -> None:
        self._brain = brain
        self._pool = pool

    async def compose(self, task: TaskSpec, spec: InterfaceSpec) -> Composed:
        """The prompt of a task for an interface. Raises HandoffMissing."""
        tokens = self._brain.config.memory_tokens if spec.type is InterfaceType.LLM else 0
        if not (tokens or task.handoff_from or links_in(task.text)):
            return Composed(prompt_text=task.text)
        for wanted in task.handoff_from:
            await self._recorded(wanted)
        limits = replace(budget(self._brain.config, _prompt_tokens(spec)), memory_tokens=tokens)
        return await asyncio.to_thread(compose, task, self._pool, limits, _counted)

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
        """Put what the prompt names into a scratch workspace, and what it is made of beside it."""
        if scratch:
            self._put_files(invocation.workspace, composed.files)
        if len(composed.parts) > 1:
            parts = {"parts": [asdict(part) for part in composed.parts], "warnings": list(composed.warnings)}
            data = json.dumps(parts, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
            self._brain.files.put(os.path.join(invocation.folder, PARTS), data + b"\n", sync=False)

    def _put_files(self, workspace: str, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self._brain.files.put(os.path.join(workspace, name), data, sync=False)


def sent(task: TaskSpec, composed: Composed, resume: Resumption | None) -> str:
    """The text that goes to the client: a session it goes on in has the context already."""
    if resume is None:
        return composed.prompt_text
    if resume.client_session is not None:
        return resume.prompt
    gathered = composed.prompt_text[len(task.text.rstrip("\n")) :] if len(composed.parts) > 1 else ""
    return resume.prompt + gathered


def _prompt_tokens(spec: InterfaceSpec) -> int:
    """Room for the whole prompt, with some of it left for the answer."""
    limit = spec.limits.tokens_per_request
    return _USUAL_TOKENS if limit is None else limit * 3 // 4


def _counted(text: str) -> int:
    return count(text).tokens
