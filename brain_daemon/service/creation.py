"""Making a brain: its files, its repository, one first commit; and a demonstration brain with tasks already in it.

Nothing that exists is overwritten, nothing that the user has staged or changed is swept in: the commit holds exactly the
template's files that git does not have yet. A brain may be a folder of an existing repository.

Failures: no git, a bare repository or a path that is no folder are a UserError before anything is written. A commit that
cannot be made now (a merge in progress, a foreign lock) is said; running init again makes it.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from brain_daemon.adapters import parsed
from brain_daemon.model.errors import StorageError, UserError
from brain_daemon.record.committing import Change, CommitPlan, Committed, Committer
from brain_daemon.record.repository import Repository
from brain_daemon.service.config import load, user_state_path
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.locate import common_git_dir, layout_of
from brain_daemon.store.template import template_files

_LISTS = frozenset({".gitignore", ".gitattributes"})
_MESSAGE = "begin a brain\n\nThe folders, the interfaces and the routing table that come with brain-daemon.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What `init` did; paths are relative to `root`.

    `extended` are lists of git's (.gitignore, .gitattributes) that got our lines added, `kept` what was there already and
    stays. `commit` is the hash of the first commit; None with `why_not` empty means that there was nothing to commit.
    """

    root: str
    new_repository: bool
    written: tuple[str, ...]
    extended: tuple[str, ...]
    kept: tuple[str, ...]
    commit: str | None
    why_not: str = ""


def init(path: str, environment: Mapping[str, str], files: Files | None = None) -> Created:
    """Make `path` (created if need be) a brain."""
    files = files or Files()
    root = os.path.realpath(path)
    _refuse_unfit(root)
    new_repository = common_git_dir(root) is None
    files.make_folder(root)
    repository = Repository.create(root) if new_repository else Repository.open(root)
    layout = layout_of(root, user_state_path())
    template = template_files()
    before = {name: _read(layout.inside(name)) for name in template}
    wanted = {name: _joined(name, before[name], data) for name, data in template.items()}
    _write(layout, files, before, wanted)
    commit, why_not = _commit(repository, layout, files, environment, before, wanted)
    _read_beforehand(layout, files, {name: template[name] for name in template if before[name] is None})
    changed = [name for name in wanted if wanted[name] != before[name]]
    return Created(
        root=root,
        new_repository=new_repository,
        written=tuple(name for name in changed if before[name] is None),
        extended=tuple(name for name in changed if before[name] is not None),
        kept=tuple(name for name in wanted if name not in changed),
        commit=commit,
        why_not=why_not,
    )


def _refuse_unfit(root: str) -> None:
    """A file cannot be a brain, and git's own folder, or a bare repository, has no place for one."""
    if os.path.lexists(root) and not os.path.isdir(root):
        raise UserError(f"making a brain at {root}: that is a file. Name a folder.")
    folder = root
    while folder != os.path.dirname(folder):
        if all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs")):
            raise UserError(
                f"making a brain at {root}: {folder} is a bare git repository or git's own folder. Name another."
            )
        folder = os.path.dirname(folder)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def _joined(name: str, present: bytes | None, ours: bytes) -> bytes:
    """What the file is to hold: an existing one stays as it is, but git's own lists get the lines of ours that they lack."""
    if present is None:
        return ours
    if name not in _LISTS:
        return present
    have = {line.strip() for line in present.splitlines()}
    missing = [line for line in ours.splitlines() if line.strip() and line.strip() not in have]
    if not any(not line.startswith(b"#") for line in missing):
        return present
    return present + (b"" if present.endswith(b"\n") or not present else b"\n") + b"\n".join(missing) + b"\n"


def _write(layout: Layout, files: Files, before: Mapping[str, bytes | None], wanted: Mapping[str, bytes]) -> None:
    for name, data in wanted.items():
        path = layout.inside(name)
        files.make_folder(os.path.dirname(path))
        if before[name] is None:
            files.put_new(path, data)
        elif before[name] != data:
            files.put(path, data)
    for folder in layout.folders():
        files.make_folder(folder)


def _read_beforehand(layout: Layout, files: Files, template: Mapping[str, bytes]) -> None:
    """What comes with us is read here, so that the daemon need not load what reads it: 10 MB for as long as it lives.

    A brain that has been begun before has readings of its own, and a state folder that cannot be written costs no more than that.
    """
    if os.path.exists(parsed.interfaces_path(layout.state)):
        return
    interfaces = parsed.interfaces(parsed.interfaces_path(layout.state), files)
    table = parsed.tables(parsed.table_path(layout.state), files)
    for name, data in template.items():
        path = layout.inside(name)
        if os.path.dirname(path) == layout.interfaces:
            interfaces.read(os.path.basename(path), data)
        elif path == os.path.join(layout.context, "routing.md"):
            table.read("routing.md", data)
    with suppress(StorageError):
        files.make_folder(layout.state)
        interfaces.keep()
        table.keep()


def _commit(
    repository: Repository,
    layout: Layout,
    files: Files,
    environment: Mapping[str, str],
    before: Mapping[str, bytes | None],
    wanted: Mapping[str, bytes],
) -> tuple[str | None, str]:
    """The first commit: its hash or None, and why it could not be made."""
    names = _ours_to_commit(repository, before, wanted)
    if not names:
        return None, ""
    if not load(layout.root, environment)[0].commit:
        return None, "commits are switched off in the settings"
    files.make_folder(layout.state)
    plan = CommitPlan(
        key="init",
        message=_MESSAGE,
        changes=tuple(Change(path=name, content=wanted[name]) for name in names),
        when=time.time(),
    )
    answer = Committer(repository, layout.state).commit([plan], root=True)
    return (answer.shas[-1], "") if isinstance(answer, Committed) else (None, answer.reason)


def _ours_to_commit(
    repository: Repository, before: Mapping[str, bytes | None], wanted: Mapping[str, bytes]
) -> list[str]:
    """The template's files that git lacks; of a file the user has, only where the user's own part of it is committed and unstaged."""
    template = template_files()
    in_head = repository.head_blobs(list(wanted)) if repository.head() is not None else {}
    staged = dict(zip(wanted, repository.lookup(f":{repository.prefix}{name}" for name in wanted), strict=True))
    found = []
    for name, data in wanted.items():
        head, index = in_head.get(name), staged[name]
        if head == repository.blob_id(data):
            continue
        was = before[name]
        untouched = head is None and index is None and data == template[name]
        extended = was is not None and was != data and head == index == repository.blob_id(was)
        if untouched or extended:
            found.append(name)
    return found


# the demonstration


UPPER = """\
---
name: upper
local: true
invoke:
  kind: command
  command: [tr, a-z, A-Z]
---
# Upper

Says everything louder. A program that reads its standard input and
prints an answer needs no more than this.
"""

DEMO_TASKS: Mapping[str, str] = {
    "how-it-works": """\
---
type: knowledge
---
# Task: How does a new program or AI join this brain?

Say which file, and what is in it.
""",
    "shout": "# Task: Shout\n\nhello from a plain markdown file\n",
    "shout-again": """\
---
depends_on: [shout]
chain: demo
---
# Task: Shout once more

this one waited until the first one had completed
""",
    "urgent": """\
---
priority: high
preferred_interface: Upper
---
# Task: First in the queue

high priority goes first
""",
    "broken": """\
---
priority: whenever
---
# Task: A task with a mistake

no priority is called "whenever"
""",
    "picture": """\
---
requires: [image_generation]
---
# Task: Draw a lighthouse

a lighthouse at dusk
""",
}

DEMO_FLAGS: Mapping[str, Any] = {"settle": "0s", "group": "0.1s", "local_only": "true", "never": "ollama"}
"""Nothing of a demonstration leaves the machine, whatever accounts its owner has."""

DEMO_OUTCOMES: Mapping[str, str] = {
    "how-it-works": "completed",
    "shout": "completed",
    "shout-again": "completed",
    "urgent": "completed",
    "broken": "failed",
}
"""How the tasks of the demonstration end; `picture` is held."""


def fill_demo(root: str, files: Files | None = None) -> None:
    """Register `upper` and drop the tasks, as a person would: by writing files. UserError where they are there already."""
    files = files or Files()
    written = {os.path.join("tools", "interfaces", "upper.md"): UPPER}
    written |= {os.path.join("brain", "tasks", "pending", f"{name}.md"): text for name, text in DEMO_TASKS.items()}
    for path, text in written.items():
        try:
            files.put_new(os.path.join(root, path), text.encode())
        except FileExistsError:
            raise UserError(
                f"filling the demonstration: {os.path.join(root, path)} is there already. Name an empty folder."
            ) from None
