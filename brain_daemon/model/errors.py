"""The exception tree, classed by what the caller does next.

BrainError
├── UserError        the task, interface, setting or call is wrong   -> say what to change, exit 2
├── Refused          a policy or a state says no                     -> say until when or what frees it, exit 1
│   └── Occupied     another process holds what was asked for        -> name the holder, exit 1
├── Transient        try again later (a lock, a busy file)           -> retry by policy
├── StorageError     the disk said no                                -> stop claiming, keep what runs
│   └── Damaged      a file of ours cannot be trusted                -> stop, keep the file, say which
└── GitError         a git command failed                            -> the commit is owed, the outcome stands

Messages say what was being done, to what, and the next step.
"""


class BrainError(Exception):
    """Root of every error this program raises on purpose."""

    exit_code = 1


class UserError(BrainError):
    """The task, interface, setting or call is wrong and only the person can change it."""

    exit_code = 2


class Refused(BrainError):
    """A rule or a state forbids the action now; the message says what would allow it."""


class Occupied(Refused):
    """Another process holds what was asked for; the message names it."""


class Transient(BrainError):
    """The same call may succeed later without anybody changing anything."""


class StorageError(BrainError):
    """The disk refused a write, a sync or a rename; nothing new may be claimed until it recovers."""


class Damaged(StorageError):
    """A file of ours is missing, empty or unreadable where it must not be; it is kept as evidence."""


class GitError(BrainError):
    """A git command failed or ran past its deadline."""
