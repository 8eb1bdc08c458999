"""From a durable outcome in the journal to the files: result, ledger row, activity, errors, metrics, usage, questions.

Every step is keyed by the attempt's id and may be done twice. An attempt that this process did not end itself is suspect: each
step then looks first whether it has been done. When all is in the files the journal says `recorded`, and the outbox has
what git must be told.

Failures: a disk error leaves as StorageError, and what is not marked is done again.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import Damaged, StorageError
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Status
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import TaskSpec
from brain_daemon.record import activity, ledger, usage
from brain_daemon.record.archive import ArchiveLimits, day_folder
from brain_daemon.record.correspondence import Correspondence, page_of
from brain_daemon.record.day_files import DayFiles
from brain_daemon.record.metrics import DayTally
from brain_daemon.record.outbox import Filed, Outbox
from brain_daemon.record.plan import Change
from brain_daemon.record.result import KEPT_OUT, Part, cost_row, outcome_message, part
from brain_daemon.record.usage import FINDINGS, NO_FINDING, Finding, InterfaceUsage, UsageView, findings_from
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal, TaskRecord
from brain_daemon.store.layout import Layout
from brain_daemon.store.offspring import offspring_of
from brain_daemon.store.reading import read_regular

_MAX_EDIT_BYTES = 4 << 20
_WHOLE_TEXT = "result.md"


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
        self._redactor = redactor
        self._operation = operation
        self._layout = layout
        self._files = files
        self._journal = journal
        self._outbox = outbox
        self._limits = limits
        self._interfaces = interfaces
        self._daemon_state = daemon_state
        self._fresh: dict[str, tuple[Attempt, TaskSpec | None]] = {}
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
        ids = self._journal.ids_in(AttemptState.ENDED, self._limits.group_size)
        if ids:
            self._file_group([self._load(one) for one in ids])
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
                    self._files.sync_group([self._write_result(attempt, task)[0]])
                    self._remove_active(attempt)
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
            _, changes = self._write_result(attempt, task)
        return Filed(
            attempt, self._row(attempt, task, self._accounts()), self._title(attempt, task), changes, suspect=True
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
        if fresh is not None:
            return (*fresh, False)
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
                    path, changes = self._write_result(attempt, task)
                except StorageError as error:
                    refused.append(error)
                    continue
                finished.append((attempt, path))
            row = self._row(attempt, task, accounts)
            filed.append(Filed(attempt, row, self._title(attempt, task), changes, suspect))
        self._files.sync_group([path for _, path in finished])
        for attempt, _ in finished:
            self._remove_active(attempt)
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
        self._outbox.put(filed)
        if refused:
            raise refused[0]

    def _remove_active(self, attempt: Attempt) -> None:
        active = os.path.join(self._layout.active, f"{attempt.task_id}.md")
        try:
            self._files.remove(active)
        except StorageError:
            if not os.path.isdir(active):  # a folder of this name is somebody else's
                raise

    # the recorded file

    def _write_result(self, attempt: Attempt, task: TaskSpec | None) -> tuple[str, tuple[Change, ...]]:
        """The recorded file and what stands beside it; the path of the task's file and the changes for its commit."""
        folder = self._layout.ended(attempt.status or Status.FAILED)
        earlier = self._journal.attempts_of(attempt.task_id) if attempt.number > 1 else []
        kept = self._kept_files(attempt)
        warnings = self._keep_edit(attempt, folder, kept)
        beside = self._beside(attempt, folder, kept)
        kept = {f"{beside}/{name}": data for name, data in kept.items()}
        secret = self._is_secret(attempt)
        if secret:
            warnings.append(KEPT_OUT)
        spawned = offspring_of(self._journal, attempt.task_id)
        children = [str(one.task_id) for one in spawned.accepted] if spawned else []
        before = [one for one in earlier if one.number < attempt.number]
        what = part(attempt, task, before, list(kept), warnings, children)
        if not attempt.sha256:
            return self._move_unread(attempt, what, folder)
        documents = self._documents(attempt, what, beside, kept)
        for name, data in kept.items():
            self._put_beside(os.path.join(folder, name), data)
        # The first one, the task's own file, is synced with those of its group.
        put = [
            self._put_document(os.path.join(folder, name), data, attempt, sync=number > 0)
            for number, (name, data) in enumerate(documents.items())
        ]
        changes = [Change(path=self._layout.relative(path), content=data) for path, data in put if not secret]
        changes += [
            Change(path=self._layout.relative(os.path.join(folder, n)), content=data) for n, data in kept.items()
        ]
        changes += self._departures(attempt, earlier)
        return put[0][0], tuple(changes)

    def _is_secret(self, attempt: Attempt) -> bool:
        """Whether a task that was given up before any start, and that no person released, holds what must not get into git."""
        return attempt.started_at is None and self._redactor.bytes(attempt.spec) != attempt.spec

    def _title(self, attempt: Attempt, task: TaskSpec | None) -> str:
        title = task.title if task else attempt.name
        return title if attempt.started_at is not None else self._redactor.text(title)

    def _documents(self, attempt: Attempt, what: Part, beside: str, kept: dict[str, bytes]) -> dict[str, bytes]:
        """The task with its result, or the untouched task and the result beside it; a long text joins `kept`."""
        spec, stem = attempt.spec, attempt.task_id
        if not document.can_hold(spec):
            result = document.render_beside({**what.values, "spec_sha256": attempt.sha256}, what.heading, what.text)
            return {f"{stem}.md": spec, f"{stem}.{what.heading.lower()}.md": result}
        limit = self._limits.result_bytes
        rendered = document.render(spec, what.values, what.heading, what.text, text_limit_bytes=limit)
        if rendered.cut:
            kept[f"{beside}/{_WHOLE_TEXT}"] = what.text.encode("utf-8", "replace")
        return {f"{stem}.md": rendered.data}

    def _move_unread(self, attempt: Attempt, what: Part, folder: str) -> tuple[str, tuple[Change, ...]]:
        """A file too large to read is moved as it is, and stays out of git."""
        path = os.path.join(folder, f"{attempt.task_id}.md")
        active = os.path.join(self._layout.active, f"{attempt.task_id}.md")
        if os.path.lexists(active):
            if os.path.lexists(path):
                path = os.path.join(folder, f"{attempt.attempt_id}.md")
            self._files.move(active, path)
        name = f"{attempt.task_id}.{what.heading.lower()}.md"
        data = document.render_beside(what.values, what.heading, what.text)
        self._put_document(os.path.join(folder, name), data, attempt, sync=True)
        return path, (Change(path=self._layout.relative(os.path.join(folder, name)), content=data),)

    def _departures(self, attempt: Attempt, earlier: Sequence[Attempt]) -> Iterator[Change]:
        """Names under which git may still know the task: its place in pending/, and its earlier endings, filed away or not."""
        pending = os.path.join(self._layout.pending, attempt.name)
        if not os.path.lexists(pending):
            yield Change(path=self._layout.relative(pending), content=None, only_if=attempt.spec)
        if attempt.number > 1:
            ended = {one.ended.finished_at for one in earlier if one.ended and one.attempt_id != attempt.attempt_id}
            for top, heading in ((self._layout.completed, "result"), (self._layout.failed, "error")):
                for place in dict.fromkeys((top, *(day_folder(top, at) for at in ended))):
                    for path in (os.path.join(place, name) for name in _names_of(attempt, heading)):
                        if not os.path.lexists(path):
                            yield Change(path=self._layout.relative(path), content=None)

    def _put_document(self, path: str, data: bytes, attempt: Attempt, *, sync: bool) -> tuple[str, bytes]:
        """Write a recorded file without ever overwriting another one; where it stands in the end, and what it says."""
        try:
            self._files.put_new(path, data, sync=sync)
        except FileExistsError:
            found = _read(path)
            if found == data or _is_of(attempt, found):
                return path, found
            # What a power cut leaves of a file of ours: its beginning, zeros, or the one and then the other.
            if not data.startswith(found.rstrip(b"\0")):
                path = os.path.join(os.path.dirname(path), f"{attempt.attempt_id}.md")
            self._files.put(path, data, sync=sync)
        return path, data

    def _beside(self, attempt: Attempt, folder: str, kept: Mapping[str, bytes]) -> str:
        """The folder beside the recorded file: ID.files, or one of the attempt's own name where something else stands there."""
        usual = f"{attempt.task_id}.files"
        if not os.path.lexists(os.path.join(folder, usual)):
            return usual
        names = {f"{usual}/{name}": data for name, data in {**kept, _WHOLE_TEXT: b""}.items()}
        if any(_leads_elsewhere(folder, name) for name in names):
            return f"{attempt.attempt_id}.files"
        taken = any(_is_other(os.path.join(folder, f"{usual}/{name}"), data) for name, data in kept.items())
        return f"{attempt.attempt_id}.files" if taken else usual

    def _put_beside(self, path: str, data: bytes) -> None:
        self._files.make_folder(os.path.dirname(path))
        self._files.put(path, data)

    def _kept_files(self, attempt: Attempt) -> dict[str, bytes]:
        """What the agent left in its out/ folder: name -> bytes."""
        out = os.path.join(self._layout.workspace(attempt.workspace_of), "out")
        names = attempt.ended.files if attempt.ended else ()
        return {name: _read(os.path.join(out, name)) for name in names}

    def _keep_edit(self, attempt: Attempt, folder: str, kept: dict[str, bytes]) -> list[str]:
        """An active file that was edited while it ran joins `kept`, without secrets; what is to be said of it."""
        if attempt.started_at is None:
            return []
        name = "edited-while-active.md"
        path = os.path.join(self._layout.active, f"{attempt.task_id}.md")
        try:
            now = read_regular(path, max(_MAX_EDIT_BYTES, len(attempt.spec)))
        except StorageError as error:
            return [f"the file in active/ was replaced while the task ran: {error}"]
        if not now and not os.path.lexists(path):
            if os.path.exists(os.path.join(folder, f"{attempt.task_id}.md")):
                if earlier := _read(os.path.join(folder, f"{attempt.task_id}.files", name)):
                    kept[name] = earlier
                return []
            return ["the file in active/ was deleted while the task ran; `brain cancel` stops a task"]
        if now == attempt.spec or document.is_recorded(now):
            return []
        kept[name] = self._redactor.bytes(now)
        return [f"the file in active/ was edited while the task ran; the edit is kept as {name}"]

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
            self._tally = DayTally(today, map(CostRow.from_values, self._journal.outcomes(day=today)))
        for one in filed:
            ended = one.attempt.ended
            self._tally.add(one.row, None if ended is None else ended.usage.requests)
        self._put_whole(self._layout.inside("logs", "metrics", f"{today}.json"), self._tally.render(), sync=True)
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

    def _put_whole(self, path: str, data: bytes, *, sync: bool = False) -> None:
        self._files.put(path, data, sync=sync)
        self._note([(path, data)])

    def _note(self, written: Iterable[tuple[str, bytes]]) -> None:
        self._outbox.put_wholes({self._layout.relative(path): data for path, data in written})


def _is_other(path: str, data: bytes) -> bool:
    """Whether something else than `data` stands at `path`."""
    try:
        return os.path.lexists(path) and read_regular(path) != data
    except StorageError:
        return True


def _leads_elsewhere(folder: str, name: str) -> bool:
    """Whether a link on the way to `name` below `folder` leads out of its place."""
    place = os.path.dirname(os.path.join(folder, name))
    return os.path.realpath(place) != os.path.join(os.path.realpath(folder), os.path.dirname(name))


def _names_of(attempt: Attempt, heading: str) -> tuple[str, str]:
    """The names of a recorded task: its own, and what stands beside a file that cannot hold its result."""
    return f"{attempt.task_id}.md", f"{attempt.task_id}.{heading}.md"


def _present(*folders: str) -> list[str]:
    """Those that are there: `git clean -d` takes folders in which nothing is left that git knows."""
    return [folder for folder in folders if os.path.isdir(folder)]


def _read(path: str) -> bytes:
    return read_regular(path)


def _is_of(attempt: Attempt, found: bytes) -> bool:
    """Whether this is the whole recorded file of this attempt, as an earlier pass has written it."""
    try:
        result = document.read_result(found)
    except Damaged:
        return False
    return result.intact and result.values.get("attempt_id") == attempt.attempt_id


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
