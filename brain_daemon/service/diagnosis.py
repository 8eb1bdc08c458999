"""`brain doctor`: the usual trouble of a brain, and how to mend it.

Every question is asked even where another one fails: what cannot be looked at is itself a finding. Nothing is mended
here, and nothing is changed but two empty files that come and go in the state folder, and the journal and folders of a
brain that has never run, which are made as `brain run` would.
"""

import os
import re
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import psutil

from brain_daemon.adapters import tokens
from brain_daemon.adapters.registry import Registry
from brain_daemon.memory.texts import NOTE_AREAS
from brain_daemon.model.errors import BrainError, UserError
from brain_daemon.record.gitcmd import Git, binary
from brain_daemon.record.repository import Repository
from brain_daemon.record.wording import duration
from brain_daemon.service import machine, memory_check
from brain_daemon.service.brain import Brain
from brain_daemon.service.config import Config, load, user_config_path
from brain_daemon.service.machine import Finding, Level
from brain_daemon.service.restarts import FREE_STARTS, unsettled
from brain_daemon.service.snapshot import Snapshot, take, task_names
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout

_OLDEST_GIT = (2, 32)
_STALE_LOCK_SECONDS = 60.0
_LOCKS = ("brain.lock", "claims.lock", "record.lock")
_READ_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


@dataclass(slots=True)
class _Patient:
    """What the questions are asked of; `brain` is None where it could not be opened."""

    layout: Layout
    config: Config
    picture: Snapshot
    files: Files
    brain: Brain | None = None
    registry: Registry | None = None

    @property
    def repository(self) -> Repository | None:
        return None if self.brain is None else self.brain.repository


def examine(
    layout: Layout, environment: Mapping[str, str], questions: "tuple[Question, ...]" = ()
) -> tuple[Finding, ...]:
    """Ask everything of the brain at `layout`, or these questions alone, in this order."""
    findings: list[Finding] = []
    try:
        config, _ = load(layout.root, environment)
    except UserError as error:
        findings.append(Finding(Level.BAD, "settings", str(error), "Until then the defaults are looked at."))
        config, _ = load(None, {key: value for key, value in environment.items() if not key.startswith("BRAIN_")})
    patient = _Patient(layout, config, take(layout), Files())
    try:
        for question in questions or QUESTIONS:
            findings += _asked(question, patient)
    finally:
        if patient.brain is not None:
            patient.brain.close()
    return tuple(findings)


def _asked(question: Callable[[_Patient], Iterator[Finding]], patient: _Patient) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(question(patient))
    except (BrainError, OSError, sqlite3.Error) as error:
        area = question.__name__.strip("_").replace("_", " ")
        found.append(Finding(Level.BAD, area, f"this could not be looked at: {error}"))
    return found


def _settings(patient: _Patient) -> Iterator[Finding]:
    if not patient.config.enabled:
        yield Finding(
            Level.WARN, "settings", "`enabled = false`: no task starts.", "`brain config --origin` says who says so."
        )
    daemon = patient.picture.daemon
    if daemon.state == "paused" or daemon.will_pause:
        yield Finding(Level.WARN, "daemon", "it is paused: no task starts.", "`brain resume`")
    elif daemon.state == "stopped":
        waiting = patient.picture.counts.pending
        yield Finding(Level.OK, "daemon", "it does not run." + (f" {waiting} tasks are pending." if waiting else ""))
    else:
        yield Finding(Level.OK, "daemon", f"it is {daemon.state}, process {daemon.pid} on {daemon.host}.")


def _deaths(patient: _Patient) -> Iterator[Finding]:
    """Starts that came to nothing; the newest one may be a daemon that has just begun."""
    starts = unsettled(patient.layout).starts
    if starts >= FREE_STARTS:
        what = f"the daemon has died {starts} times in a row soon after its start, and waits longer each time."
        fix = f"The end of {os.path.join(patient.layout.state, 'daemon.log')} says what it did last."
        yield Finding(Level.BAD, "daemon", what, fix)


def _folders(patient: _Patient) -> Iterator[Finding]:
    return machine.folders((*patient.layout.folders(), *filter(os.path.exists, (patient.layout.work,))))


def _disk(patient: _Patient) -> Iterator[Finding]:
    layout = patient.layout
    return machine.disk((layout.root, layout.state, layout.work), patient.config.reserve_bytes)


def _filesystem(patient: _Patient) -> Iterator[Finding]:
    return machine.filesystem(patient.layout.state, patient.layout.root)


def _journal(patient: _Patient) -> Iterator[Finding]:
    """Opens the brain for the questions after it, unless that would hide that the journal is gone."""
    path = patient.layout.journal
    if not os.path.exists(path) and task_names(patient.layout.active):
        fix = "Restore it from a backup; without it `brain run` asks about each task in active/."
        yield Finding(Level.BAD, "journal", f"{path} is not there and active/ holds tasks.", fix)
        return
    patient.brain = Brain.open(patient.layout.root, patient.config.environment)
    patient.registry = patient.brain.registry()
    said = patient.brain.journal.check()
    if said is not None:
        fix = "Restore it from a backup, or move it away and run `brain reindex`."
        yield Finding(Level.BAD, "journal", f"SQLite finds {path} damaged: {said}.", fix)
    elif patient.brain.journal.born > time.time() + machine.CLOCK_SLACK_SECONDS:
        yield Finding(
            Level.WARN, "clock", "the journal was made in the future: the clock was set back.", "Check the clock."
        )
    else:
        yield Finding(Level.OK, "journal", f"it is sound ({os.path.getsize(path) / 1e3:,.0f} kB).")


def _locks(patient: _Patient) -> Iterator[Finding]:
    state = patient.layout.state
    yield from machine.lock_holders(os.path.join(state, name) for name in _LOCKS)
    if os.path.isdir(state):
        yield from machine.lock_test(state, patient.files)


def _clock(patient: _Patient) -> Iterator[Finding]:
    layout = patient.layout
    if os.path.isdir(layout.state):
        yield from machine.clock(layout.state, patient.files)
    folders = (layout.pending, layout.active)
    yield from machine.future_files(os.path.join(folder, name) for folder in folders for name in task_names(folder))


def _events(patient: _Patient) -> Iterator[Finding]:
    layout = patient.layout
    folders = (layout.tasks, *(layout.inside(area) for area in NOTE_AREAS))
    return machine.inotify(sum(1 for folder in folders for _ in os.walk(folder)) + 4)


def _programs(patient: _Patient) -> Iterator[Finding]:
    yield from machine.programs()
    said = (
        Git(program=binary(), cwd=patient.layout.root, settings={}).run("--version").decode("utf-8", "replace").strip()
    )
    version = re.search(r"(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST_GIT:
        yield Finding(Level.BAD, "programs", f"{said} is too old.", "Install git 2.32 or later.")
    else:
        yield Finding(Level.OK, "programs", f"{said}.")
    fault = tokens.problem()
    if fault is not None:
        yield Finding(Level.WARN, "programs", fault, "Install brain-daemon again.")


def _memory(patient: _Patient) -> Iterator[Finding]:
    return iter(()) if patient.brain is None else memory_check.findings(patient.brain)


def _git(patient: _Patient) -> Iterator[Finding]:
    repository = patient.repository
    if not patient.config.commit:
        yield Finding(Level.OK, "git", "`commit = false`: commits are left to you.")
        return
    if repository is None:
        if patient.brain is not None:
            what = f"{patient.layout.root} is in no git repository: outcomes are not committed."
            yield Finding(Level.WARN, "git", what, "`brain init` makes one around a brain.")
        return
    why = repository.in_progress()
    if why is not None:
        fix = "Commits are owed until that has ended; outcomes are recorded all the same."
        yield Finding(Level.WARN, "git", f"{repository.top}: {why}.", fix)
    yield from _index_lock(repository)
    yield from _identity(repository)
    yield from _attributes(repository, patient.layout)
    if patient.picture.owed:
        what = f"{patient.picture.owed} outcomes are not committed yet" + (
            f": {patient.picture.why_owed}." if patient.picture.why_owed else "."
        )
        level = Level.OK if patient.picture.daemon.state != "stopped" and not patient.picture.why_owed else Level.WARN
        yield Finding(level, "git", what, "The next `brain run` commits them." if level is Level.WARN else "")


def _index_lock(repository: Repository) -> Iterator[Finding]:
    path = os.path.join(repository.git_dir, "index.lock")
    try:
        age = time.time() - os.lstat(path).st_mtime
    except FileNotFoundError:
        return
    at_work = _gits_at_work(repository.top)
    if at_work:
        what = f"{path} is held for {duration(age)}, by {', '.join(at_work)} as it seems."
        yield Finding(Level.OK if age < _STALE_LOCK_SECONDS else Level.WARN, "git", what, "Let that command end.")
    elif age >= _STALE_LOCK_SECONDS:
        what = f"{path} is {duration(age)} old and no git command works here: a crashed one left it, and nothing is committed."
        yield Finding(
            Level.BAD,
            "git",
            what,
            "Make sure that no git runs in this repository, also on other machines, and delete the file.",
        )


def _gits_at_work(top: str) -> list[str]:
    """git commands of this user in the work tree."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            name = process.info["name"] or ""
            if name.startswith("git") and os.path.join(process.cwd(), "").startswith(os.path.join(top, "")):
                found.append(f"{process.pid} {name}")
        except psutil.Error:
            continue
    return found


def _identity(repository: Repository) -> Iterator[Finding]:
    name, email = repository.setting("user.name"), repository.setting("user.email")
    if name and email:
        yield Finding(Level.OK, "git", f"commits are made as {name} <{email}>.")
    else:
        fix = "`git config user.name` and `user.email` make them yours."
        yield Finding(Level.OK, "git", "no identity is configured: commits are made as brain-daemon.", fix)


def _attributes(repository: Repository, layout: Layout) -> Iterator[Finding]:
    """What keeps git from converting line ends in tasks, and from seeing active/."""
    task = f"{repository.prefix}{layout.relative(layout.completed)}/any.md"
    said = repository.git.run("check-attr", "text", "--", task).decode("utf-8", "replace").strip()
    if not said.endswith("text: unset"):
        fix = "Add the line `brain/tasks/** -text` to the .gitattributes beside brain/."
        yield Finding(Level.WARN, "git", "git may convert the line ends of tasks, which changes their bytes.", fix)
    # git refuses check-ignore where all its paths are said to be literal.
    place = repository.git.with_settings(GIT_LITERAL_PATHSPECS="0")
    if not place.answers("check-ignore", "-q", "--", f"{repository.prefix}{layout.relative(layout.active)}/any.md"):
        fix = "Add the line `brain/tasks/active/*` to the .gitignore beside brain/."
        yield Finding(Level.WARN, "git", "git sees the files in active/, which are working state.", fix)


def _interfaces(patient: _Patient) -> Iterator[Finding]:
    if patient.brain is None or patient.registry is None:
        return
    entries = patient.registry.entries.values()
    able = sorted(entry.spec.name for entry in entries if entry.usable)
    if able:
        yield Finding(Level.OK, "interfaces", f"{len(able)} can work: {', '.join(able)}.")
    else:
        fix = "`brain interfaces` says why, `brain interfaces detect` looks for known programs."
        yield Finding(Level.BAD, "interfaces", "none can work: no task will start.", fix)
    others = [f"{entry.spec.name} ({entry.why_not})" for entry in entries if entry.approved and not entry.usable]
    if others:
        yield Finding(Level.OK, "interfaces", f"{len(others)} cannot: {'; '.join(others)}.")
    for entry in entries:
        if not entry.approved:
            fix = f"Read tools/interfaces/{entry.file_name}, then `brain interfaces approve {entry.spec.name}`."
            yield Finding(
                Level.WARN, "interfaces", f"{entry.spec.name} came with git and waits for your approval.", fix
            )
    for fault in patient.registry.faults:
        yield Finding(
            Level.WARN, "interfaces", fault.message.rstrip(".") + ".", f"Correct tools/interfaces/{fault.file_name}."
        )
    _, wrong = patient.brain.routing_table()
    if wrong:
        yield Finding(
            Level.WARN, "routing", wrong, "Correct context/routing.md; until then the built-in table is used."
        )


def _user(patient: _Patient) -> Iterator[Finding]:
    """Root is nobody's sandbox: what a client may do it may do to the whole machine."""
    if os.geteuid() != 0:
        return
    entries = patient.registry.entries.values() if patient.registry is not None else ()
    refused = [
        f"{entry.spec.name} refuses the permission `{profile.name}`"
        for entry in entries
        for profile in entry.spec.invoke.permissions
        if profile.not_as_root
    ]
    what = (
        "you are root, and a daemon started so runs its programs as root: they may change everything on this machine, what "
        "they write in a workspace belongs to root, and logins and keys are looked for in root's home."
    )
    fix = "Run the daemon as a user of its own."
    yield Finding(Level.WARN, "user", what + (f" To root {', '.join(sorted(refused))}." if refused else ""), fix)


def _secrets(patient: _Patient) -> Iterator[Finding]:
    paths = [*patient.config.secret_files, user_config_path()]
    if patient.registry is not None:
        entries = patient.registry.entries.values()
        paths += [entry.spec.auth.config_location for entry in entries if entry.spec.auth.config_location]
    home = patient.config.environment.get("HOME", "")
    loose = 0
    for path in dict.fromkeys(os.path.join(home, path[2:]) if path.startswith("~/") else path for path in paths):
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            continue
        if mode & _READ_BY_OTHERS and path != user_config_path():
            loose += 1
            yield Finding(Level.WARN, "secrets", f"{path} may be read by others.", f"`chmod 600 {path}`")
        elif mode & stat.S_IWOTH:
            loose += 1
            yield Finding(Level.BAD, "secrets", f"{path} may be written by anybody.", f"`chmod 600 {path}`")
    if not loose:
        yield Finding(Level.OK, "secrets", "no secret file known here may be read by others.")


def _waiting(patient: _Patient) -> Iterator[Finding]:
    number = len(patient.picture.questions)
    if number:
        words = "1 question waits" if number == 1 else f"{number} questions wait"
        yield Finding(Level.WARN, "questions", f"{words} for your answer.", "`brain questions` shows them.")


Question = Callable[[_Patient], Iterator[Finding]]

QUESTIONS: tuple[Question, ...] = (
    _settings,
    _deaths,
    _folders,
    _disk,
    _filesystem,
    _journal,
    _locks,
    _clock,
    _events,
    _programs,
    _memory,
    _git,
    _interfaces,
    _user,
    _secrets,
    _waiting,
)
