"""What people and agents do beside the daemon, for the crash lab: each act can be done again after a crash, as they would do it.

An act gets an opened brain whose file operations are counted and struck. `work` stands for the daemon's own turn.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.record.questions import question_from
from brain_daemon.service import actions, agents, answering, asking, handing_in, leases, remembering, reviving
from brain_daemon.service.agents import Agent
from brain_daemon.service.brain import Brain
from brain_daemon.service.handing_in import Report

WITNESS = "@WITNESS@"
SHARED = "@SHARED@"
Act = Callable[[Brain], object]
ANN = Agent(name="ann", lease_seconds=3600.0)


def placed(text: str, root: str) -> str:
    """The text with the paths of this brain's witness and of its application's folder."""
    return text.replace(WITNESS, f"{root}.witness").replace(SHARED, f"{root}.shared")


def work(brain: Brain) -> None:
    """The daemon's turn: `brain run --once`."""
    raise AssertionError("the lab runs a daemon here")


def _mine(brain: Brain) -> list[Attempt]:
    return [one for one in brain.journal.open_attempts() if one.state is AttemptState.CLAIMED]


def claim(brain: Brain) -> None:
    if not _mine(brain):
        agents.claim(brain, ANN)


def claim_and_vanish(brain: Brain) -> None:
    """The lease has run out as soon as it is given."""
    if not _mine(brain):
        agents.claim(brain, replace(ANN, lease_seconds=-1.0))


def renew(brain: Brain) -> None:
    for attempt in _mine(brain):
        leases.renew(brain, attempt.attempt_id, 7200.0, "ann")


def complete(brain: Brain) -> None:
    for attempt in _mine(brain):
        handing_in.complete(brain, attempt.attempt_id, Report(text="done"), folder=brain.layout.root, agent="ann")


def fail(brain: Brain) -> None:
    for attempt in _mine(brain):
        handing_in.fail(brain, attempt.attempt_id, "it cannot be done", agent="ann")


def ask(brain: Brain) -> None:
    for attempt in _mine(brain):
        asking.ask_about_claim(brain, attempt.attempt_id, "Which colour?", "ann")


def answer_all(brain: Brain) -> None:
    for document, _ in list(brain.journal.questions().values()):
        question = question_from(document)
        key = next(choice.key for choice in question.choices if choice.key in {"answer", "release", "approve"})
        answering.answer(brain, question, key, by="command", text="blue" if key == "answer" else "")


def release(name: str) -> Act:
    return lambda brain: actions.release(brain, name)


def release_all(brain: Brain) -> None:
    for name in (*_tasks_in(brain.layout.active), *_tasks_in(brain.layout.pending)):
        actions.release(brain, name)


def cancel(name: str) -> Act:
    return lambda brain: actions.cancel(brain, name)


def approve(name: str) -> Act:
    return lambda brain: actions.approve(brain, name)


def note(brain: Brain) -> None:
    remembering.add(brain, "Bees dance.", title="Bees", area="knowledge", author=None, redacted=str)
    remembering.open_pool(brain).refresh()


def mend(name: str, text: str) -> Act:
    """A person writes an interface anew."""
    return lambda brain: Path(brain.layout.interfaces, name).write_text(placed(text, brain.layout.root))


def retry(name: str) -> Act:
    """`brain retry` with what failed only because of it."""

    def again(brain: Brain) -> None:
        if os.path.exists(os.path.join(brain.layout.failed, f"{name}.md")):
            actions.retry(brain, name)
        reviving.revive(brain, name, actions.retry)

    return again


def _tasks_in(folder: str) -> list[str]:
    return sorted(name.removesuffix(".md") for name in os.listdir(folder) if name.endswith(".md"))


class Application:
    """A desktop application: it answers what is dropped into its folder, from a thread of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def __enter__(self) -> None:
        self._folder.mkdir(exist_ok=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _answer(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(FileNotFoundError):  # a patient that is well takes its folder along
                for request in self._folder.glob("*.md"):
                    answer = request.with_name(f"{request.stem}.answer.md")
                    if not request.name.endswith(".answer.md") and not answer.exists():
                        answer.write_text("written by hand\n")
            time.sleep(0.01)
