"""The adapter for a person: the task is a question to them, their answer its result. Nothing waits here meanwhile.

The first call ends with the outcome `Failed(asked)`: the task is parked, prompts/pending.md asks. The next one brings the
answer. A cancel ends the parked task, not a call. Failures: none.
"""

import time

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.model.outcome import FREE, Cancelled, Ended, Failed, FailureKind, Outcome, Succeeded
from brain_daemon.model.task import TaskSpec

# record/redact.py keeps messages of 4,000 characters, record/questions.py shows 200 lines of them.
MAX_QUESTION_CHARACTERS = 3_600
MAX_QUESTION_LINES = 180


class HumanAdapter:
    """Asks, or hands over the answer. Holds nothing."""

    def argv(self, invocation: Invocation) -> tuple[str, ...]:
        return ()

    async def invoke(self, invocation: Invocation, cancel: Cancel) -> Ended:
        now, text = time.time(), invocation.answer or ""
        outcome: Outcome = Succeeded(text=text)
        if cancel.is_set():
            outcome = Cancelled()
        elif invocation.answer is None:
            outcome = Failed(kind=FailureKind.ASKED, message=question_of(invocation.task))
        return Ended(outcome=outcome, started_at=now, finished_at=now, duration_seconds=0.0, cost=FREE, text=text)


def question_of(task: TaskSpec) -> str:
    """The task as a question: its text, or as much of it as a question holds and where the rest is."""
    text = task.text.strip()
    lines = text.splitlines()
    if len(text) <= MAX_QUESTION_CHARACTERS and len(lines) <= MAX_QUESTION_LINES:
        return text
    kept = "\n".join(lines[:MAX_QUESTION_LINES])[:MAX_QUESTION_CHARACTERS].rstrip()
    rest = f"… This is not all of it: `brain show {task.id} --original` prints the whole task."
    return f"{task.title}\n\n{kept}\n\n{rest}"
