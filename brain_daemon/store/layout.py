"""Where things live in a brain, and which names in pending/ are tasks at all."""

import hashlib
import os
import re
from dataclasses import dataclass

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
    """The paths of one brain: `root` is the brain's folder, `state` its runtime state, `work` the agents' workspaces."""

    root: str
    state: str
    work: str

    def __post_init__(self) -> None:
        for path in (self.root, self.state, self.work):
            if not os.path.isabs(path):
                raise ValueError(f"a layout needs absolute paths, not {path}")

    def inside(self, *parts: str) -> str:
        """An absolute path under the brain's root."""
        return os.path.join(self.root, *parts)

    def relative(self, path: str) -> str:
        """The path relative to the root, with '/' between its parts, as git writes it."""
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    @property
    def tasks(self) -> str:
        return self.inside("brain", "tasks")

    @property
    def pending(self) -> str:
        return self.inside("brain", "tasks", "pending")

    @property
    def active(self) -> str:
        return self.inside("brain", "tasks", "active")

    @property
    def completed(self) -> str:
        return self.inside("brain", "tasks", "completed")

    @property
    def failed(self) -> str:
        return self.inside("brain", "tasks", "failed")

    @property
    def interfaces(self) -> str:
        return self.inside("tools", "interfaces")

    @property
    def context(self) -> str:
        return self.inside("context")

    @property
    def prompts(self) -> str:
        return self.inside("prompts")

    @property
    def journal(self) -> str:
        return os.path.join(self.state, "journal.db")

    @property
    def control(self) -> str:
        return os.path.join(self.state, "control")

    @property
    def aside(self) -> str:
        """Where files are written before they are renamed to their place."""
        return os.path.join(self.state, "aside")

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
