"""From a durable outcome in the journal to the files: result, ledger row, activity, errors, metrics, usage, questions.

Every step is keyed by the attempt's id and may be done twice. An attempt that this process did not end itself is suspect: each
step then looks first whether it has been done. When all is in the files the journal says `recorded`, and the outbox has
what git must be told.

Failures: a disk error leaves as StorageError, and what is not marked is done again.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Status
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import TaskSpec
from brain_daemon.record import activity, ledger, usage
from brain_daemon.record.archive import ArchiveLimits
from brain_daemon.record.correspondence import Correspondence, page_of
from brain_daemon.record.day_files import DayFiles
from brain_daemon.record.metrics import DayTally
from brain_daemon.record.outbox import Filed, Outbox
from brain_daemon.record.plan import Change
from brain_daemon.record.recorded_files import RecordedFiles
from brain_daemon.record.result import cost_row, outcome_message
from brain_daemon.record.usage import FINDINGS, NO_FINDING, Finding, InterfaceUsage, UsageView, findings_from
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal, TaskRecord
from brain_daemon.store.layout import Layout


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """An interface as the registry sees it, for usage.md; `why_not` is empty where it can work."""

    spec: InterfaceSpec
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLimits:
    """The settings that bound what is recorded, in bytes and outcomes."""

    group_size: int = 500
    result_bytes: int = 256 << 10
    files_bytes: int = 20 << 20
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)


class Filing:
    """Files outcomes of one brain. Belongs to one thread, but for `remember`; `journal` is that thread's connection."""

    def __init__(
        self,
        layout: Layout,
        files: Files,
        journal: Journal,
        outbox: Outbox,
        limits: RecordLimits,
        interfaces: Callable[[], Sequence[InterfaceState]],
        daemon_state: Callable[[], str],
        redactor: Redactor,
        operation: Callable[[], str | None],
    ) -> None:
        self._operation = operation
        self._layout = layout
        self._files = files
        self._journal = journal
        self._outbox = outbox
        self._limits = limits
        self._results = RecordedFiles(layout, files, journal, redactor, result_bytes=limits.result_bytes)
        self._interfaces = interfaces
        self._daemon_state = daemon_state
        self._fresh: dict[str, tuple[Attempt, TaskSpec | None]] = {}
        self._begun: set[str] = set()
        self._ahead: set[str] = set()
        self.why_waiting: str | None = None
        self._costs = DayFiles(layout.inside("logs", "costs"), "csv", ledger.count, files)
        self._activity = DayFiles(layout.inside("logs", "activity"), "md", activity.activity_count, files)
        self._errors = DayFiles(layout.inside("logs", "errors"), "jsonl", activity.error_count, files)
        self._tally: DayTally | None = None
        self._last_errors: dict[str, str] = {}
        self._pages = Correspondence(layout, files, journal, self._note)

    def remember(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An attempt this process has just ended: spares reading it back. May be called from another thread."""
        self._fresh[attempt.attempt_id] = (attempt, task)

    @property
    def is_waiting(self) -> bool:
        """Whether a page a person has just saved is to be looked at again soon."""
        return self._pages.is_waiting

    def file(self) -> int:
        """File one group of what has ended; how many there were."""
        self._note_waiting(self._operation())
        if self.why_waiting is not None:
            self._write_ahead()
            return 0
        remembered = tuple(self._fresh)
        ids = self._journal.ids_in(AttemptState.ENDED, self._limits.group_size)
        if len(ids) < self._limits.group_size:
            for known in set(remembered).difference(ids):
                # Word of it came after it was read in the journal, and by now it is recorded.
                self._fresh.pop(known, None)
        if ids:
            self._file_group([self._load(one) for one in ids])
            self._begun.clear()
        self._pages.settle()
        return len(ids)

    def _note_waiting(self, why: str | None) -> None:
        """Keep the reason where `brain status` finds it."""
        if why != self.why_waiting:
            self.why_waiting = why
            self._journal.set("why_owed", why or "")

    def _write_ahead(self) -> None:
        """Results alone, while the person is in the middle of a merge or a rebase.

        Git refuses to go on with those while a tracked file differs from the index, as each page of ours would: the pages
        follow when the operation has ended.
        """
        refused: list[StorageError] = []
        for attempt_id in self._journal.ids_in(AttemptState.ENDED, -1):
            if attempt_id in self._ahead:
                continue
            attempt, task = self._fresh.get(attempt_id) or self._load(attempt_id)[:2]
            try:
                if attempt.decision is Decision.FINISH:
                    self._files.sync_group([self._results.write(attempt, task)[0]])
                    self._results.remove_active(attempt)
                self._ahead.add(attempt_id)
            except StorageError as error:
                refused.append(error)
        if refused:
            raise refused[0]

    def again(self, attempt_id: str) -> Filed:
        """What another process has filed: the same steps again, which find their work done."""
        attempt, task, _ = self._load(attempt_id)
        changes: tuple[Change, ...] = ()
        if attempt.decision is Decision.FINISH:
            _, changes = self._results.write(attempt, task)
        return Filed(
            attempt,
            self._row(attempt, task, self._accounts()),
            self._results.title(attempt, task),
            changes,
            suspect=True,
        )

    def machine_files(self) -> dict[str, bytes]:
        """Files this program writes as wholes, newest parts only: path relative to the brain -> bytes."""
        metrics = self._layout.inside("logs", "metrics")
        paths = [path for kind in (self._costs, self._activity, self._errors) for path in kind.all_paths()[-2:]]
        paths += sorted(os.path.join(metrics, name) for name in os.listdir(metrics) if name.endswith(".json"))[-2:]
        paths += [os.path.join(self._layout.context, "usage.md")]
        found = {path: data for path in paths if (data := page_of(path))} | self._pages.standing()
        return {self._layout.relative(path): data for path, data in found.items()}

    # one group

    def _load(self, attempt_id: str) -> tuple[Attempt, TaskSpec | None, bool]:
        """An attempt, its task, and whether it is suspect."""
        self._ahead.discard(attempt_id)
        fresh = self._fresh.pop(attempt_id, None)
        # Word of it may come only after an earlier pass has begun with it.
        is_again = attempt_id in self._begun
        self._begun.add(attempt_id)
        if fresh is not None:
            return (*fresh, is_again)
        attempt = self._journal.attempt(attempt_id)
        assert attempt is not None
        parsed = parse_task(attempt.name, attempt.spec)
        return attempt, parsed if isinstance(parsed, TaskSpec) else None, True

    def _accounts(self) -> dict[str, str | None]:
        return {state.spec.name: state.spec.account for state in self._interfaces()}

    @staticmethod
    def _row(attempt: Attempt, task: TaskSpec | None, accounts: Mapping[str, str | None]) -> CostRow:
        return cost_row(attempt, task, accounts.get(attempt.interface or ""))

    def _file_group(self, group: list[tuple[Attempt, TaskSpec | None, bool]]) -> None:
        filed: list[Filed] = []
        finished: list[tuple[Attempt, str]] = []
        accounts = self._accounts()
        refused: list[StorageError] = []
        for attempt, task, suspect in group:
            changes: tuple[Change, ...] = ()
            if attempt.decision is Decision.FINISH:
                try:
                    path, changes = self._results.write(attempt, task)
                except StorageError as error:
                    refused.append(error)
                    continue
                finished.append((attempt, path))
            row = self._row(attempt, task, accounts)
            filed.append(Filed(attempt, row, self._results.title(attempt, task), changes, suspect))
        self._files.sync_group([path for _, path in finished])
        for attempt, _ in finished:
            self._results.remove_active(attempt)
        # Renames and removals are not synced by themselves. The folder that claims go to goes first, or power lost in between
        # takes a file from both; a name that came back after its task's end would run once more.
        self._files.sync_folders(_present(self._layout.active, self._layout.pending))
        self._write_day_files(filed)
        # What the journal calls recorded is not looked for again: its rows must not go with a name that was never synced.
        logs = (self._layout.inside("logs", kind) for kind in ("costs", "activity", "errors", "metrics"))
        self._files.sync_folders(_present(*logs))
        with self._journal.transaction():
            self._journal.set_ended_tasks([_record(self._layout, *one) for one in finished])
            self._journal.insert_outcomes([one.row.to_values() for one in filed])
            self._journal.set_recorded([one.attempt.attempt_id for one in filed])
        if self._tally is not None:
            self._tally.settle()
        self._outbox.put(filed)
        if refused:
            raise refused[0]

    # day files

    def _write_day_files(self, filed: list[Filed]) -> None:
        for day in dict.fromkeys(one.row.day for one in filed):
            todays = [one for one in filed if one.row.day == day]
            self._append_costs(day, todays)
            happenings = [_happening(one) for one in todays]
            suspects = {one.attempt.attempt_id for one in todays if one.suspect}
            self._append(self._activity, day, happenings, suspects, activity.append_activity)
            failed = [h for h in happenings if h.row.status is Status.FAILED]
            self._append(self._errors, day, failed, suspects, activity.append_errors)
        for one in filed:
            if one.row.status is Status.FAILED and one.row.interface:
                self._last_errors[one.row.interface] = said_of(one.attempt)
        self._count(filed)

    def _append_costs(self, day: str, filed: list[Filed]) -> None:
        paths = self._costs.parts(day)
        new = [one.row for one in filed if not (one.suspect and self._is_booked(one.row.attempt_id, paths))]
        self._note(
            self._costs.add(
                day,
                len(new),
                lambda existing, first, last, path: ledger.append(existing, new[first:last], path, looked=True),
            )
        )

    def _is_booked(self, attempt_id: str, paths: list[str]) -> bool:
        return any(data and ledger.holds(data, attempt_id, path) for path in paths for data in [self._costs.read(path)])

    def _append(
        self,
        kind: DayFiles,
        day: str,
        happenings: list[activity.Happening],
        suspects: set[str],
        append: Callable[..., bytes],
    ) -> None:
        old = b"".join(kind.read(path) for path in kind.parts(day)) if suspects else b""
        new = [h for h in happenings if h.row.attempt_id not in suspects or h.row.attempt_id.encode() not in old]
        self._note(
            kind.add(day, len(new), lambda existing, first, last, _path: append(existing, new[first:last], looked=True))
        )

    def _count(self, filed: list[Filed]) -> None:
        """Metrics and usage of the day, as wholes."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        if self._tally is None or self._tally.day != today:
            self._tally = self._tally_of(today)
        for one in filed:
            ended = one.attempt.ended
            self._tally.add(one.row, None if ended is None else ended.usage.requests)
        self._put_metrics(self._tally)
        for day in {one.row.day for one in filed} - {today}:
            # What ended before midnight, or before a crash.
            late = self._tally_of(day)
            for one in filed:
                late.add(one.row)
            self._put_metrics(late)
        used = self._tally.used()
        found = findings_from(self._journal.get(FINDINGS))
        view = UsageView(
            updated=time.time(),
            day=today,
            state=self._daemon_state(),
            interfaces=[
                _usage_of(s, used.get(s.spec.name), self._last_errors, found.get(s.spec.name, NO_FINDING))
                for s in self._interfaces()
            ],
        )
        self._put_whole(os.path.join(self._layout.context, "usage.md"), usage.render(view))

    def _put_metrics(self, tally: DayTally) -> None:
        self._put_whole(self._layout.inside("logs", "metrics", f"{tally.day}.json"), tally.render(), sync=True)

    def _tally_of(self, day: str) -> DayTally:
        """What is recorded of a day; an index built anew from the text may know rows of what is yet to be filed."""
        owed = set(self._journal.ids_in(AttemptState.ENDED, -1))
        rows = map(CostRow.from_values, self._journal.outcomes(day=day))
        tally = DayTally(day, (row for row in rows if row.attempt_id not in owed))
        tally.settle()
        return tally

    def _put_whole(self, path: str, data: bytes, *, sync: bool = False) -> None:
        self._files.put(path, data, sync=sync)
        self._note([(path, data)])

    def _note(self, written: Iterable[tuple[str, bytes]]) -> None:
        self._outbox.put_wholes({self._layout.relative(path): data for path, data in written})


def _present(*folders: str) -> list[str]:
    """Those that are there: `git clean -d` takes folders in which nothing is left that git knows."""
    return [folder for folder in folders if os.path.isdir(folder)]


def said_of(attempt: Attempt) -> str:
    """What is to be said of how an attempt ended."""
    return attempt.message or (outcome_message(attempt.ended.outcome) if attempt.ended else "")


def _record(layout: Layout, attempt: Attempt, path: str) -> TaskRecord:
    return TaskRecord(
        task_id=attempt.task_id,
        status=(attempt.status or Status.FAILED).value,
        path=layout.relative(path),
        reason=attempt.reason.value if attempt.reason else None,
        sha256=attempt.sha256,
        finished_at=attempt.ended.finished_at if attempt.ended else None,
    )


def _happening(one: Filed) -> activity.Happening:
    ended = one.attempt.ended
    return activity.Happening(
        row=one.row,
        title=one.title,
        message=said_of(one.attempt),
        survivors=ended.survivors if ended else (),
        warnings=ended.warnings if ended else (),
    )


def _usage_of(
    state: InterfaceState, used: tuple[int, int, int] | None, last_errors: Mapping[str, str], found: Finding
) -> InterfaceUsage:
    messages, requests, tokens = used or (0, 0, 0)
    limit = state.spec.limits.messages_per_day
    own = None if limit is None else max(0, limit - messages)
    fullest = found.fullest
    return InterfaceUsage(
        name=state.spec.name,
        messages_today=messages,
        requests_today=requests,
        tokens_today=tokens,
        limit_remaining=own if found.messages_left is None else found.messages_left,
        quota_remaining=None if fullest is None else fullest.left,
        last_error=last_errors.get(state.spec.name),
        status="available" if not state.why_not else f"offline: {state.why_not}",
        breaker=found.breaker,
        quota_used=None if fullest is None else fullest.share,
        quota_resets_at=None if fullest is None else fullest.resets_at,
    )
