"""Where things live in a brain, and which names in pending/ are tasks at all."""

import hashlib
import os
import re
from dataclasses import dataclass, field

MAX_NAME_BYTES = 200
_TEMPORARY = re.compile(
    r"""
      ^[.~\#]                                  # hidden, lock files of editors, Syncthing and Emacs temporaries
    | ~$ | ^4913$ | ___jb_(tmp|old)___          # backups, vim's probe, JetBrains
    | \.(part|partial|tmp|temp|swp|swo|swx|bak|orig|rej|crdownload|download|filepart)(\.md)?$
    | \.sync-conflict-\d{8}-\d{6}               # Syncthing
    | \(.*conflicted\ copy.*\) | \ conflicted\ copy\ | \(conflict(ed)?\b.*\)   # Dropbox, Nextcloud, Obsidian Sync
    | \.conflict[.-]                            # OneDrive, git-annex style copies
    | \.goutputstream-
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What may stand between the slashes of a path that is not spelt at its shortest.
_ODD = ("//", "/./", "/../")
_BESIDE = re.compile(r"\.(result|error)\.md$")


def is_task_name(name: str) -> bool:
    """Whether a file of this name in pending/ is meant as a task: visible, `.md`, not a temporary or a sync conflict."""
    if not name.lower().endswith(".md") or name.lower() == ".md":
        return False
    if _TEMPORARY.search(name) or _BESIDE.search(name) or name == "README.md":
        return False
    return len(os.fsencode(name)) <= MAX_NAME_BYTES and _is_unicode(name)


def _is_unicode(name: str) -> bool:
    """Whether the name's bytes are UTF-8: another name can stand neither in the journal nor in a page."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one brain: `root` is the brain's folder, `state` its runtime state, `work` the agents' workspaces.

    `aside` is where files are written before they are renamed to their place.
    """

    root: str
    state: str
    work: str
    # Asked for many times a task, so they are put together once.
    tasks: str = field(init=False, repr=False, compare=False)
    pending: str = field(init=False, repr=False, compare=False)
    active: str = field(init=False, repr=False, compare=False)
    completed: str = field(init=False, repr=False, compare=False)
    failed: str = field(init=False, repr=False, compare=False)
    interfaces: str = field(init=False, repr=False, compare=False)
    context: str = field(init=False, repr=False, compare=False)
    prompts: str = field(init=False, repr=False, compare=False)
    journal: str = field(init=False, repr=False, compare=False)
    control: str = field(init=False, repr=False, compare=False)
    aside: str = field(init=False, repr=False, compare=False)
    _top: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for path in (self.root, self.state, self.work):
            if not os.path.isabs(path):
                raise ValueError(f"a layout needs absolute paths, not {path}")
        tasks = self.inside("brain", "tasks")
        places = {
            "tasks": tasks,
            **{name: os.path.join(tasks, name) for name in ("pending", "active", "completed", "failed")},
            "interfaces": self.inside("tools", "interfaces"),
            **{name: self.inside(name) for name in ("context", "prompts")},
            "journal": os.path.join(self.state, "journal.db"),
            **{name: os.path.join(self.state, name) for name in ("control", "aside")},
            "_top": os.path.join(self.root, ""),
        }
        for name, path in places.items():
            object.__setattr__(self, name, path)

    def inside(self, *parts: str) -> str:
        """An absolute path under the brain's root."""
        return os.path.join(self.root, *parts)

    def relative(self, path: str) -> str:
        """The path relative to the root, with '/' between its parts, as git writes it."""
        below = path.removeprefix(self._top)
        framed = f"/{below}/"
        if below == path or any(odd in framed for odd in _ODD):
            below = os.path.relpath(path, self.root)
        return below.replace(os.sep, "/")

    def attempt(self, attempt_id: str) -> str:
        """The folder of one attempt: prompt, raw output, lock."""
        return os.path.join(self.state, "attempts", attempt_id)

    def workspace(self, attempt_id: str) -> str:
        """The scratch folder an agent works in."""
        return os.path.join(self.work, attempt_id)

    def ended(self, status: str) -> str:
        """completed/ or failed/."""
        return self.completed if status == "completed" else self.failed

    def folders(self) -> tuple[str, ...]:
        """Every folder that must exist before work starts."""
        logs = (self.inside("logs", name) for name in ("activity", "costs", "metrics", "errors"))
        return (
            self.pending,
            self.active,
            self.completed,
            self.failed,
            self.interfaces,
            self.context,
            self.prompts,
            *logs,
            os.path.join(self.state, "attempts"),
            self.control,
            self.aside,
        )


def brain_key(root: str) -> str:
    """The short hash that keeps the states of several brains of one repository apart."""
    return hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:12]
