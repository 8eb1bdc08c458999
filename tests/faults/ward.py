"""Brains for the crash lab: fresh copies of one repository whose user has work of every kind in it."""

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from brain_daemon.record.repository import Repository
from brain_daemon.store.template import template_files
from tests.faults.acts import Act, placed, work
from tests.faults.lab import run_daemon

OURS = ("brain/", "context/", "logs/", "prompts/", "knowledge/pool/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is dropped and who works: file name -> text for tasks and interfaces; `WITNESS` stands for the witness file.

    `failed` is how many tasks fail in a run without faults. `repeatable` says that all may be re-run unasked. `before` is
    dropped and worked off first; then each name in `retried` is moved from completed/ back to pending/, as a person does it.
    `excused` are attempts that were seen to fail: their tasks may be tried again unasked.

    `acts` are what happens, one after the other; `spawns` says that tasks make tasks of their own, `foreign` that the interfaces came with
    git, `crowded` that more than three tasks are too many for a folder.
    """

    name: str
    tasks: Mapping[str, str]
    interfaces: Mapping[str, str]
    failed: int = 0
    repeatable: bool = True
    before: Mapping[str, str] = field(default_factory=dict)
    retried: tuple[str, ...] = ()
    excused: frozenset[str] = frozenset()
    acts: tuple[Act, ...] = (work,)
    workflows: Mapping[str, str] = field(default_factory=dict)
    spawns: bool = False
    foreign: bool = False
    crowded: bool = False

    @property
    def size(self) -> int:
        return len(self.tasks) + len(self.before)


@dataclass(frozen=True, slots=True)
class Patient:
    """A brain under test: where it is, the witness of starts outside it, and what was in it before."""

    root: str
    witness: str
    tasks: tuple[bytes, ...]
    users: tuple[str, ...]
    stash: str


_PREPARED: dict[str, str] = {}
"""The prepared repository of this process, by the home folder whose settings it was made with: every ward copies the same."""


class Ward:
    """Makes fresh brains from one prepared repository; everything lies below `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._count = 0
        self._template = _PREPARED.get(os.environ["HOME"], "")
        if not os.path.isdir(self._template):
            self._template = _PREPARED[os.environ["HOME"]] = os.path.join(folder, "template")
            _prepare(self._template)

    def admit(self, scenario: Scenario) -> Patient:
        """A fresh brain with the scenario's files in it."""
        self._count += 1
        root = os.path.realpath(os.path.join(self._folder, f"brain-{self._count}"))
        witness = f"{root}.witness"
        shutil.copytree(self._template, root, symlinks=True)
        for name, text in scenario.interfaces.items():
            _write(os.path.join(root, "tools", "interfaces", name), placed(text, root).encode())
        for name, text in scenario.workflows.items():
            _write(os.path.join(root, "brain", "workflows", name), text.encode())
        for folder in (*(["tools"] if scenario.foreign else []), *(["brain/workflows"] if scenario.workflows else [])):
            git(root, "add", folder)
            git(root, "commit", "-q", "-m", folder, "--", folder)
        folders = os.path.join(root, "brain", "tasks")
        if scenario.before:
            _drop(folders, scenario.before)
            assert run_daemon(root).code == 0
        for name in scenario.retried:
            os.rename(os.path.join(folders, "completed", name), os.path.join(folders, "pending", name))
        _drop(folders, scenario.tasks)
        tasks = tuple(text.encode() for text in (*scenario.before.values(), *scenario.tasks.values()))
        return Patient(root, witness, tasks, users_work(root), git(root, "stash", "list"))

    def discharge(self, patient: Patient) -> None:
        """The patient is well: nothing of it is kept."""
        shutil.rmtree(patient.root)
        for beside in ("state", "shared"):
            shutil.rmtree(f"{patient.root}.{beside}", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(patient.witness)


def _drop(folders: str, tasks: Mapping[str, str]) -> None:
    for name, text in tasks.items():
        _write(os.path.join(folders, "pending", name), text.encode())


def _prepare(root: str) -> None:
    """A repository whose user has work of every kind: staged, modified, stashed, untracked."""
    Repository.create(root)
    shutil.rmtree(os.path.join(root, ".git", "hooks"), ignore_errors=True)
    for path, data in template_files().items():
        if not path.startswith(("tools/", "knowledge/")):
            _write(os.path.join(root, path), data)
    for name in ("staged.txt", "modified.txt", "both.txt"):
        _write(os.path.join(root, name), b"as committed\n")
    git(root, "config", "user.name", "A User")
    git(root, "config", "user.email", "user@example.org")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "begin")
    _write(os.path.join(root, "modified.txt"), b"stashed\n")
    git(root, "stash", "-q")
    _write(os.path.join(root, "staged.txt"), b"staged\n")
    _write(os.path.join(root, "both.txt"), b"staged\n")
    git(root, "add", "staged.txt", "both.txt")
    _write(os.path.join(root, "both.txt"), b"and modified\n")
    _write(os.path.join(root, "modified.txt"), b"modified\n")
    _write(os.path.join(root, "untracked.txt"), b"untracked\n")


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(data)


def read(path: str) -> bytes:
    with open(path, "rb") as handle:
        return handle.read()


def git(root: str, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False, encoding="utf-8")
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def users_work(root: str) -> tuple[str, ...]:
    """The user's state, entry by entry: what git says of it, the hash of each file of theirs, and the index's entries."""
    status = [line for line in status_lines(root) if not line[3:].startswith(OURS)]
    index = [line for line in git(root, "ls-files", "-s").splitlines() if not line.split("\t")[1].startswith(OURS)]
    hashes = [f"{name} {sha256(read(path))}" for name, path in _files_of_the_user(root)]
    return (*status, *index, *hashes)


def status_lines(root: str) -> list[str]:
    """What git says differs, one line a path as it is."""
    return [line for line in git(root, "status", "--porcelain", "-uall", "-z").split("\0") if line]


def _files_of_the_user(root: str) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if os.path.isfile(path):
            yield name, path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
