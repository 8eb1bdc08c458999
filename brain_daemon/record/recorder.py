"""The recorder of one brain: outcomes from the journal into the files (record/filing.py), then into git, one commit each.

`file` and `commit` may run in two threads, so that git works on one group while the next is filed. The caller holds the
recording lock from `start` on: two processes never record at the same time.

A crash anywhere leaves attempts `ended` or `recorded` in the journal, and the next recorder goes on. Failures: a commit
that cannot be made now is owed (`why_owed`), the outcome stands.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import GitError, StorageError, Transient, UserError
from brain_daemon.model.outcome import Status, TimedOut
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.archive import Archive, Move
from brain_daemon.record.committing import Committer, Owed
from brain_daemon.record.correspondence import QUIET_SECONDS
from brain_daemon.record.filing import Filing, InterfaceState, RecordLimits, said_of
from brain_daemon.record.message import commit_message
from brain_daemon.record.outbox import Filed, Outbox
from brain_daemon.record.plan import Change, CommitPlan
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Queue

HOUSEKEEPING_SECONDS = 60.0
_MOST_GROUPS = 20
_HAS_BRANCH = "committed_to_a_branch"
_LOG = logging.getLogger("brain_daemon")


class Recorder:
    """`open_journal` gives a connection for each of the two threads."""

    def __init__(
        self,
        layout: Layout,
        files: Files,
        open_journal: Callable[[], Journal],
        committer: Committer | None,
        limits: RecordLimits,
        interfaces: Callable[[], Sequence[InterfaceState]],
        daemon_state: Callable[[], str],
        redactor: Redactor,
    ) -> None:
        self._outbox = Outbox()
        self._journal = open_journal()
        self._filing = Filing(
            layout,
            files,
            open_journal(),
            self._outbox,
            limits,
            interfaces,
            daemon_state,
            redactor,
            self._why_pages_wait,
        )
        self._archive = Archive(layout, files, self._journal, limits.archive)
        self._moves: list[Move] = []
        self._groups = 0
        self._committer = committer
        self._layout = layout
        self._queue = Queue(layout, files)
        self._limits = limits
        self._last_commit = 0.0
        self._why_owed: str | None = None
        # Whether this brain has ever committed to a branch here, which its person left HEAD detached from.
        self._has_branch = self._journal.get(_HAS_BRANCH) is not None

    def remember(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An attempt this process has just ended: spares reading it back. May be called from any thread."""
        self._filing.remember(attempt, task)

    def keep(self, pages: Mapping[str, bytes]) -> None:
        """Pages that others have written, for the next commit: path relative to the brain -> bytes. Any thread."""
        self._outbox.put_wholes(pages)

    @property
    def why_owed(self) -> str | None:
        """Why git lacks what has ended, in words; None where it lacks nothing or is about to have it."""
        return self._why_owed or self._filing.why_waiting

    def start(self) -> None:
        """Before anything else: settle what a crash left, in the folders and in git, and find what is in the files but not in git."""
        # Whoever recorded before is dead by now, which was not sure before the lock was had.
        self._queue.sweep_temporaries()
        if self._committer is not None:
            self._committer.recover()
            repository = self._committer.repository
            here = self._filing.machine_files()
            known = repository.head_blobs(list(here))
            self._outbox.put_wholes({p: data for p, data in here.items() if known.get(p) != repository.blob_id(data)})
        self._moves = self._archive.settle(self._recorded_names())
        while left := self._journal.ids_in(AttemptState.RECORDED, -1)[self._outbox.attempts :]:
            self._outbox.put([self._filing.again(one) for one in left])

    def _why_pages_wait(self) -> str | None:
        """What the person is in the middle of and could not come out of over a page of ours that differs; asked by the filing thread.

        From a look at an old commit there is no way back over them. Where no branch was ever committed to (a submodule as git
        makes it), nobody is about to return, and the pages are all there is.
        """
        if self._committer is None:
            return None
        repository = self._committer.repository
        return repository.operation() or (repository.away_from_branch() if self._has_branch else None)

    @property
    def is_waiting(self) -> bool:
        """Whether a page is to be looked at again after `QUIET_SECONDS`."""
        return self._filing.is_waiting

    def file(self) -> int:
        """File one group of what has ended; how many there were."""
        return self._filing.file()

    def commit(self) -> int:
        """Commit one group of what is filed; how many attempts were settled, 0 if there were none or they are owed."""
        taken, wholes = self._outbox.take(self._limits.group_size)
        if not taken:
            self._outbox.give_back(taken, wholes)
            return 0
        settled = self._settle(taken, wholes)
        self._groups += 1
        # What has ended meanwhile goes first, but not for ever.
        if self._why_owed is None and (self.is_idle or self._groups >= _MOST_GROUPS):
            self._file_away()
        return settled

    def _settle(self, taken: Mapping[str, Filed | None], wholes: Mapping[str, bytes]) -> int:
        if self._committer is None:
            return self._mark(dict.fromkeys(taken, ""))
        return self._commit_taken(taken, wholes)

    def _commit_taken(self, taken: Mapping[str, Filed | None], wholes: Mapping[str, bytes]) -> int:
        try:
            shas = self._commit({key: one or self._filing.again(key) for key, one in taken.items()}, wholes)
        except (GitError, Transient) as error:
            shas = Owed(reason=str(error))
        except UserError as error:
            return self._commit_half(taken, wholes, error)
        if isinstance(shas, Owed):
            self._owe(shas.reason)
            self._outbox.give_back(taken, wholes)
            return 0
        marked = self._mark({key: shas.get(key, "") for key in taken})
        self._settled()
        return marked

    def _commit_half(self, taken: Mapping[str, Filed | None], wholes: Mapping[str, bytes], error: UserError) -> int:
        """One outcome of the group can never be committed: it is found by halves, stays in the files, and holds nobody up."""
        if len(taken) > 1:
            keys = list(taken)
            half = len(keys) // 2
            self._outbox.give_back({key: taken[key] for key in keys[half:]}, {})
            return self._commit_taken({key: taken[key] for key in keys[:half]}, wholes)
        _LOG.error("an outcome stays out of git", extra={"action": "commit", "error": str(error)})
        self._outbox.give_back({}, wholes)
        return self._mark(dict.fromkeys(taken, ""))

    def _mark(self, shas: Mapping[str, str]) -> int:
        """The journal learns what git has; where the disk refuses that, the next commit looks into git first."""
        try:
            self._journal.mark_committed(shas)
        except StorageError:
            self._outbox.give_back(dict.fromkeys(shas), {})
            raise
        return len(shas)

    def record(self) -> None:
        """Everything that is owed now, in this thread."""
        while self.file() or self.commit():
            pass
        self.file_last()

    def file_last(self) -> None:
        """Nobody comes after this to look at a page that a person has just saved: it is given its time to be quiet."""
        if self._filing.is_waiting:
            time.sleep(QUIET_SECONDS)
            self.file()

    def keep_house(self, *, now: bool = False) -> None:
        """Commit day files, usage and questions that no outcome carries: at most once a minute, or `now`."""
        if self._moves:
            self._file_away()
        if self._committer is None or (not now and time.monotonic() - self._last_commit < HOUSEKEEPING_SECONDS):
            return
        if not self.is_idle:
            return  # outcomes that are owed go first, with these pages
        taken, wholes = self._outbox.take(0)
        if not wholes:
            return
        when = time.time()
        plan = CommitPlan(
            key=f"housekeeping.{int(when)}",
            message="record: usage, ledger and questions\n",
            changes=_whole_changes(wholes),
            when=when,
        )
        try:
            answer = self._committer.commit([plan])
        except (GitError, Transient) as error:
            answer = Owed(reason=str(error))
        if isinstance(answer, Owed):
            self._owe(answer.reason)
            self._outbox.give_back(taken, wholes)
        else:
            self._settled()

    def _file_away(self) -> None:
        """Bring completed/ and failed/ down to their limits, in the files and then in git."""
        self._groups = 0
        # What git lacks goes first: it may not follow a second move of the same file.
        if not self._moves:
            self._moves = self._archive.file_away()
        self._moves = self._known_to_git(self._moves)
        if not self._moves or self._committer is None:
            return
        when = time.time()
        plan = CommitPlan(
            key=f"archive.{int(when)}",
            message=f"archive: {len(self._moves)} files of older tasks\n",
            changes=(),
            moves=tuple(self._moves),
            when=when,
        )
        try:
            answer = self._committer.commit([plan])
        except (GitError, Transient) as error:
            answer = Owed(reason=str(error))
        if isinstance(answer, Owed):
            self._owe(answer.reason)
        else:
            self._moves = []
            self._owe(None)

    def _known_to_git(self, moves: list[Move]) -> list[Move]:
        """What stays out of git has moved, and that is all."""
        if self._committer is None or not moves:
            return []
        known = self._committer.repository.head_blobs([old for old, _ in moves])
        return [pair for pair in moves if pair[0] in known]

    def _recorded_names(self) -> set[str]:
        """What HEAD has in completed/ and failed/."""
        if self._committer is None:
            return set()
        folders = (self._layout.relative(folder) for folder in (self._layout.completed, self._layout.failed))
        return {name for folder in folders for name in self._committer.repository.head_names(folder)}

    @property
    def is_idle(self) -> bool:
        """Whether everything filed is in git."""
        return self._outbox.attempts == 0

    def _owe(self, why: str | None) -> None:
        """Keep the reason where `brain status` finds it."""
        if why != self._why_owed:
            self._why_owed = why
            self._journal.set("why_owed", why or "")

    def _settled(self) -> None:
        self._owe(None)
        if not self._has_branch:
            self._journal.set(_HAS_BRANCH, "yes")
            self._has_branch = True
        self._last_commit = time.monotonic()
        if self._committer is not None:
            self._committer.maintain()

    def _commit(self, filed: Mapping[str, Filed], wholes: Mapping[str, bytes]) -> dict[str, str] | Owed:
        """The hashes by attempt; the day files ride in the last commit of the group."""
        assert self._committer is not None
        suspects = [key for key, one in filed.items() if one.suspect]
        found = self._committer.find(suspects, None) if suspects else set()
        plans = [
            _plan(one, self._earlier(one))
            for key, one in filed.items()
            if key not in found and one.attempt.decision is Decision.FINISH
        ]
        if not plans:
            self._outbox.give_back({}, wholes)
            return {}
        last = plans[-1]
        plans[-1] = replace(last, changes=(*last.changes, *_whole_changes(wholes)))
        answer = self._committer.commit(plans)
        if isinstance(answer, Owed):
            return answer
        return dict(zip((plan.key for plan in plans), answer.shas, strict=True))

    def _earlier(self, one: Filed) -> list[CostRow]:
        """The ledger's rows of the tries that this outcome's commit stands for as well: none of them ended the task."""
        if one.attempt.number == 1:
            return []
        before = [
            other for other in self._journal.attempts_of(one.attempt.task_id) if other.number < one.attempt.number
        ]
        tries = {
            other.attempt_id
            for other in takewhile(lambda other: other.decision is not Decision.FINISH, reversed(before))
        }
        rows = map(CostRow.from_values, self._journal.rows_of(one.attempt.task_id))
        return [row for row in rows if row.attempt_id in tries]


def _whole_changes(wholes: Mapping[str, bytes]) -> tuple[Change, ...]:
    return tuple(Change(path=path, content=data) for path, data in wholes.items())


def _plan(one: Filed, earlier: Sequence[CostRow]) -> CommitPlan:
    attempt, ended = one.attempt, one.attempt.ended
    assert ended is not None
    message = commit_message(
        one.row,
        title=one.title,
        why=str((attempt.routing or {}).get("reason", "")),
        error=said_of(attempt) if one.row.status is Status.FAILED else "",
        warnings=ended.warnings,
        origin=attempt.origin,
        after_seconds=ended.outcome.after_seconds if isinstance(ended.outcome, TimedOut) else None,
        depth=attempt.lineage.depth,
        earlier=earlier,
    )
    return CommitPlan(key=attempt.attempt_id, message=message.decode(), changes=one.changes, when=ended.finished_at)
