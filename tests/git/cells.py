"""One cell of the matrix: what the daemon does while a person is in some state, and what has come of it for both.

    claim    the daemon takes two tasks, one of them in git, and is at work on them
    record   outcomes go into the files while git is held off
    commit   the whole way
    recover  the daemon is killed: in the middle of a group of commits, or while it owes one; another takes over
    archive  recorded tasks are filed away

After it the person comes out of their state, as they do where no daemon is: git may not refuse them anything. Then the daemon
has what it owes committed.
"""

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from brain_daemon.record import filing as filing_module
from brain_daemon.record import gitcmd
from brain_daemon.record import recorder as recorder_module
from brain_daemon.record.archive import Archive, ArchiveLimits
from brain_daemon.record.committing import Committer, Owed
from brain_daemon.service import actions
from tests.git.facts import Facts, attempts_committed, facts_of, foreign_paths, git, history, is_ours, litter
from tests.git.states import RECORDED, Desk, State, Templates

JOB = "# Job\n\nSay it.\n"
KEPT = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell showed: how the commit was at the end of the action, and everything that is wrong, in words."""

    commit: str
    wrong: tuple[str, ...]


class _Look:
    """One look at all that is the person's."""

    def __init__(self, desk: Desk, state: State) -> None:
        self.inner = facts_of(desk.top, state.prefix)
        self.outer = Facts({}, "")
        if state.outer:
            around = facts_of(desk.folder / state.outer, also=state.also)
            # A linked worktree has its git folder in common with the main one.
            self.outer = around if state.also else around.without("git")

    def differences(self, other: "_Look", *but: str) -> list[str]:
        return [
            *self.inner.without(*but).differences(other.inner.without(*but)),
            *(f"around it: {one}" for one in self.outer.without(*but).differences(other.outer.without(*but))),
        ]


class Bench:
    """Makes cells; what a state is like without any daemon is looked up once."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self._controls: dict[str, tuple[_Look, list[str]]] = {}

    def cell(self, state: State, action: str) -> Cell:
        """Do the action in the state."""
        desk = self._templates.desk(state)
        before = _Look(desk, state)
        wrong: list[str] = []

        def look(when: str) -> None:
            now = _Look(desk, state)
            wrong.extend(f"{when}: {one}" for one in before.differences(now))
            if state.owed and now.inner.tip != before.inner.tip:
                wrong.append(f"{when}: the branch has moved")

        ACTIONS[action](desk, state, look)
        look("after the action")
        owed = _owed(desk)
        if bool(owed) != state.owed:
            wrong.append(f"owed after the action: {owed!r}")
        wrong.extend(self._come_out(desk, state))
        wrong.extend(_in_the_end(desk, state, action, before.inner.tip))
        return Cell("owed, then committed" if owed else "committed", tuple(wrong))

    def _come_out(self, desk: Desk, state: State) -> Iterator[str]:
        """The person ends what they were at: the same must come of it as without a daemon."""
        wanted, commits = self._control(state)
        try:
            state.leave(desk)
        except AssertionError as error:
            yield f"git refused the person: {error}"
            return
        # What git itself writes holds the hash of a commit of ours where one is below the person's.
        moved = ("written", "stash", "git") if not state.owed else ("written",)
        for one in wanted.differences(_Look(desk, state), *moved):
            if "COMMIT_EDITMSG" not in one:  # it lists what is in the work tree
                yield f"after the person went on: {one}"
        if (found := history(desk.top)) != commits:
            yield f"the person's commits are {found} and not {commits}"

    def _control(self, state: State) -> tuple[_Look, list[str]]:
        if state.name not in self._controls:
            desk = self._templates.desk(state)
            state.leave(desk)
            self._controls[state.name] = _Look(desk, state), history(desk.top)
        return self._controls[state.name]


def _owed(desk: Desk) -> str:
    """What `brain status` would say is not in git, and why."""
    brain = desk.brain.open()
    try:
        left = [one.attempt_id for one in brain.journal.open_attempts()]
        return f"{left}: {brain.journal.get('why_owed')}" if left else ""
    finally:
        brain.close()


def _in_the_end(desk: Desk, state: State, action: str, base: str) -> Iterator[str]:
    """All is committed, once, as soon as the state allows; the repository is sound and nothing is left over."""
    with _limits(action):
        code = desk.brain.run_once()
    if code not in (0, 1):
        yield f"the last run ended with {code}"
    if left := _owed(desk):
        yield f"still owed at the end: {left}"
    brain = desk.brain.open()
    try:
        ended = [
            one.attempt_id
            for task in ("job", "tracked")
            for one in brain.journal.attempts_of(task)
            if one.decision == "finish"
        ]
    finally:
        brain.close()
    found = [one for one in attempts_committed(desk.top, "--branches") if one.split(".")[0] in ("job", "tracked")]
    if sorted(found) != sorted(ended) or not ended:
        yield f"git has {found} of the outcomes {ended}"
    yield from (f"a commit of ours holds {path}" for path in foreign_paths(desk.top, state.prefix, base))
    yield from (f"{path} is left over" for path in litter(desk.top))
    if said := git(desk.top, "fsck", "--strict", "--no-dangling", check=False).strip():
        yield f"git fsck: {said}"
    if desk.witness.exists():
        yield f"something of the repository's ran: {desk.witness.read_text().split()}"
    dirty = git(desk.top, "-c", "core.quotePath=false", "status", "--porcelain", "-uall", "--no-renames")
    ours = [line for line in dirty.splitlines() if is_ours(line[3:].strip('"'), state.prefix)]
    if ours:
        yield f"git status shows what is ours: {ours}"
    if action == "archive" and state.name != "unborn":  # nothing has ended there yet
        subjects = git(desk.top, "log", "--branches", "--format=%s")
        if "archive: " not in subjects:
            yield f"nothing was filed away: {subjects.splitlines()}"


# The actions. Each gets the desk, the state, and a way to look at the person's state meanwhile.

Look = Callable[[str], None]


def _claim(desk: Desk, state: State, look: Look) -> None:
    asyncio.run(_claim_and_look(desk, state, look))


async def _claim_and_look(desk: Desk, state: State, look: Look) -> None:
    desk.brain.drop("job.md", JOB)
    desk.brain.echo("echo", "delay_seconds: 60")
    async with desk.brain.running(**state.settings) as daemon:
        await daemon.until((desk.brain.active / "job.md").exists, "the claim")
        await asyncio.to_thread(look, "while a task runs")
        for task in daemon.supervisor._jobs.running:
            actions.cancel(daemon.brain, task)
        await daemon.until(lambda: not daemon.supervisor._jobs.running, "the end of the tasks")
    desk.brain.echo()


def _record(desk: Desk, state: State, look: Look) -> None:
    desk.brain.drop("job.md", JOB)
    with _held_off():
        desk.brain.run_once(**state.settings)
    look("with the outcomes in the files alone")
    desk.brain.run_once(**state.settings)


def _commit(desk: Desk, state: State, look: Look) -> None:
    desk.brain.drop("job.md", JOB)
    desk.brain.run_once(**state.settings)


def _recover(desk: Desk, state: State, look: Look) -> None:
    desk.brain.drop("job.md", JOB)
    in_child(lambda: _run_and_die(desk, state))
    look("after the kill")
    desk.brain.run_once(**state.settings)


def _archive(desk: Desk, state: State, look: Look) -> None:
    desk.brain.drop("job.md", JOB)
    with _limits("archive"):
        desk.brain.run_once(**state.settings)


ACTIONS: dict[str, Callable[[Desk, State, Look], None]] = {
    "claim": _claim,
    "record": _record,
    "commit": _commit,
    "recover": _recover,
    "archive": _archive,
}


@contextlib.contextmanager
def _held_off() -> Iterator[None]:
    """Git is out of reach."""

    def refuse(*_: object, **__: object) -> Owed:
        return Owed(reason="held off by the test")

    with mock.patch.object(Committer, "commit", refuse):
        yield


@contextlib.contextmanager
def _limits(action: str) -> Iterator[None]:
    """Folders that are full with a handful of tasks."""
    if action != "archive":
        yield
        return

    def small(layout: Any, files: Any, journal: Any, _: ArchiveLimits) -> Archive:
        return Archive(layout, files, journal, ArchiveLimits(most=RECORDED - 1, kept=KEPT))

    with mock.patch.object(recorder_module, "Archive", small):
        yield


def in_child(act: Callable[[], object]) -> None:
    """Do something in a process that must kill itself at it."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), f"the daemon was not killed: {status}"


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _run_and_die(desk: Desk, state: State) -> None:
    """Killed between index and branch; where nothing may be committed, as soon as something is owed."""
    if not state.owed:
        gitcmd.RefSwap.commit = die  # type: ignore[method-assign,assignment]
    elif state.pages_wait:
        filing = filing_module.Filing
        filing._write_ahead = functools.partialmethod(_write_ahead_and_die, filing._write_ahead)  # type: ignore[method-assign,assignment]
    else:
        recorder_module.Recorder._owe = die  # type: ignore[method-assign]
    desk.brain.run_once(**state.settings)


def _write_ahead_and_die(filing: filing_module.Filing, real: Callable[[filing_module.Filing], None]) -> None:
    real(filing)
    if filing._ahead:
        die()
