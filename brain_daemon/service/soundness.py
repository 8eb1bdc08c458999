"""What the journal says of attempts, beside what must be true of any: for `brain verify`, read-only.

    rows      each can be read, has an outcome once it has ended, and its bytes are those of its hash
    folders   what runs has its folder; what ran here and has its folder still has its row
    commits   the commit that a row names says the same attempt

Nothing here knows of the ledger's text or of the four folders. Findings are pairs: the attempt or task, and a sentence.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.record.repository import Repository
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout

Found = tuple[str, str]

_SETTLED_SECONDS = 60.0
_ENDED = frozenset({AttemptState.ENDED, AttemptState.RECORDED, AttemptState.COMMITTED})
_TRAILERS = "%H%x00%(trailers:key=Attempt-Id,valueonly,separator=%x2C)"


def unreadable_rows(journal: Journal, newest: int) -> list[Found]:
    """Rows of the newest attempts (-1: of all) that this program cannot have written."""
    return [
        (attempt_id, f"its row in the journal cannot be read: {why}. Restore the journal from a backup.")
        for attempt_id, why in journal.unreadable(newest)
    ]


def rows(attempts: Iterable[Attempt]) -> Iterator[Found]:
    """What one row says against itself."""
    for one in attempts:
        if one.state in _ENDED and one.ended is None:
            yield (
                one.attempt_id,
                "the journal has it as ended and has no outcome of it: restore the journal from a backup.",
            )
        elif one.spec and hashlib.sha256(one.spec).hexdigest() != one.sha256:
            yield (
                one.attempt_id,
                "the task's bytes in the journal are not those of its hash: restore the journal from a backup.",
            )


def folders(layout: Layout, journal: Journal, now: float) -> Iterator[Found]:
    """Attempts without their folder while a program of theirs may run, and folders of attempts that the journal has lost."""
    for one in journal.open_attempts():
        runs = one.state is AttemptState.STARTING and now - (one.started_at or now) > _SETTLED_SECONDS
        if runs and not os.path.isdir(layout.attempt(one.attempt_id)):
            message = (
                "it is under way and its folder in the state folder is gone, with its output and the lock that says "
                "whether it still runs: `brain cancel` ends it, or wait for its end."
            )
            yield one.attempt_id, message
    made = _made_since(os.path.dirname(layout.attempt("x")), journal.born)
    known = journal.attempt_ids() if made else set()
    for name in made:
        if name not in known:
            message = (
                "it ran here, as its folder in the state folder shows, and the journal has no row of it: "
                "was an older journal put back?"
            )
            yield name, message


def commits(repository: Repository, shas: Mapping[str, str]) -> Iterator[Found]:
    """Attempts whose commit (attempt id -> hash) is there and says that it is of another one."""
    asked = "".join(f"{sha}\n" for sha in dict.fromkeys(shas.values())).encode()
    if not asked:
        return
    said = repository.git.run(
        "log", "--no-walk=unsorted", "--ignore-missing", f"--format={_TRAILERS}", "--stdin", data=asked
    )
    named = dict(line.split("\0", 1) for line in said.decode("utf-8", "replace").split("\n") if "\0" in line)
    for attempt_id, sha in shas.items():
        if sha in named and attempt_id not in named[sha].split(","):
            other = named[sha] or "no attempt"
            message = f"the journal says that commit {sha[:12]} has it, and that commit names {other}: restore the journal from a backup."
            yield attempt_id, message


def _made_since(folder: str, instant: float) -> list[str]:
    """Names of the folders in a folder that are not older than an instant (epoch seconds)."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime > instant
            ]
    except FileNotFoundError:
        return []
