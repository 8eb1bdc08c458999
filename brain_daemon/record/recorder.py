"""From a durable outcome in the journal to files and one commit each.

Two passes, both idempotent by attempt id, under the recording lock:

    files    every attempt that is `ended`: result file, ledger row, activity, errors, metrics, usage, questions; the task
             leaves active/; then the journal says `recorded`
    commits  every attempt that is `recorded`: one commit each, the day files in the last of the group; then `committed`

A crash anywhere leaves attempts in `ended` or `recorded`, and the next recorder, in this process or another, goes on. An
attempt that this process did not end itself is suspect: each step then looks first whether it has been done.

Failures: a disk error leaves as StorageError and what is not marked is done again; a commit that cannot be made now is
owed (`why_owed`), the outcome stands.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import GitError, Transient
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Status, TimedOut
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.record import activity, ledger, usage
from brain_daemon.record.committing import Change, CommitPlan, Committed, Committer, Owed
from brain_daemon.record.day_files import DayFiles
from brain_daemon.record.message import commit_message
from brain_daemon.record.metrics import DayTally
from brain_daemon.record.questions import question_from
from brain_daemon.record.questions import render as render_questions
from brain_daemon.record.result import cost_row, outcome_message, part
from brain_daemon.record.usage import InterfaceUsage, UsageView
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal, TaskRecord
from brain_daemon.store.layout import Layout
from brain_daemon.store.locks import recording

HOUSEKEEPING_SECONDS = 60.0


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


@dataclass(slots=True)
class _Written:
    """What one attempt left in the files, kept until its commit is made."""

    attempt: Attempt
    row: CostRow
    title: str
    changes: tuple[Change, ...]


class Recorder:
    """Writes outcomes of one brain. Belongs to one thread; `journal` is a connection of its own."""

    def __init__(
        self,
        layout: Layout,
        files: Files,
        journal: Journal,
        committer: Committer | None,
        limits: RecordLimits,
        interfaces: Callable[[], Sequence[InterfaceState]],
        daemon_state: Callable[[], str],
    ) -> None:
        self._layout = layout
        self._files = files
        self._journal = journal
        self._committer = committer
        self._limits = limits
        self._interfaces = interfaces
        self._daemon_state = daemon_state
        self._fresh: dict[str, tuple[Attempt, TaskSpec | None]] = {}
        self._written: dict[str, _Written] = {}
        self._costs = DayFiles(layout.inside("logs", "costs"), "csv", ledger.count, files)
        self._activity = DayFiles(layout.inside("logs", "activity"), "md", activity.activity_count, files)
        self._errors = DayFiles(layout.inside("logs", "errors"), "jsonl", activity.error_count, files)
        self._tally: DayTally | None = None
        self._last_errors: dict[str, str] = {}
        self._dirty: dict[str, bytes | None] = {}
        self._questions: bytes | None = None
        self._last_housekeeping = 0.0
        self.why_owed: str | None = None

    def remember(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An attempt this process has just ended: spares reading it back. May be called from another thread."""
        self._fresh[attempt.attempt_id] = (attempt, task)

    def start(self) -> None:
        """Once per process: finish what a crash left in git, and learn which machine-written files git lacks."""
        if self._committer is not None:
            self._committer.recover()
            self._find_dirty()

    def record(self, *, housekeeping: bool = False) -> int:
        """Do all that is owed now; the number of attempts settled. `housekeeping` commits day files that stand alone."""
        with recording(self._layout):
            settled = 0
            while ids := self._journal.ids_in(AttemptState.ENDED, self._limits.group_size):
                self._to_files([self._load(one) for one in ids])
                settled += self._to_git()
            settled += self._to_git()
            self._settle_questions()
            if housekeeping:
                self._keep_house()
            return settled

    @property
    def is_clean(self) -> bool:
        """Whether git has everything that was written."""
        return not self._dirty and self.why_owed is None

    # files

    def _load(self, attempt_id: str) -> tuple[Attempt, TaskSpec | None, bool]:
        """An attempt, its task, and whether it is suspect."""
        fresh = self._fresh.pop(attempt_id, None)
        if fresh is not None:
            return (*fresh, False)
        attempt = self._journal.attempt(attempt_id)
        assert attempt is not None
        parsed = parse_task(attempt.name, attempt.spec)
        return attempt, parsed if isinstance(parsed, TaskSpec) else None, True

    def _to_files(self, group: list[tuple[Attempt, TaskSpec | None, bool]]) -> None:
        written: list[_Written] = []
        finished: list[tuple[Attempt, str]] = []
        accounts = {state.spec.name: state.spec.account for state in self._interfaces()}
        for attempt, task, _ in group:
            row = cost_row(attempt, task, accounts.get(attempt.interface or ""))
            changes: tuple[Change, ...] = ()
            if attempt.decision is Decision.FINISH:
                path, changes = self._write_result(attempt, task)
                finished.append((attempt, path))
            written.append(_Written(attempt, row, task.title if task else attempt.name, changes))
        self._files.sync_folders({os.path.dirname(path) for _, path in finished})
        for attempt, _ in finished:
            self._files.remove(os.path.join(self._layout.active, f"{attempt.task_id}.md"))
        self._write_day_files(written, suspects={a.attempt_id for a, _, suspect in group if suspect})
        self._journal.remember_ended([_record(self._layout, *one) for one in finished])
        self._journal.add_outcomes([one.row.to_values() for one in written])
        self._journal.mark_recorded([one.attempt.attempt_id for one in written])
        self._written.update({one.attempt.attempt_id: one for one in written})

    def _write_result(self, attempt: Attempt, task: TaskSpec | None) -> tuple[str, tuple[Change, ...]]:
        """The recorded file and what stands beside it; the path of the task's file and the changes for its commit."""
        folder = self._layout.ended(attempt.status or Status.FAILED)
        earlier = self._journal.attempts_of(attempt.task_id)[:-1] if attempt.number > 1 else []
        kept = self._keep_files(attempt, folder)
        warnings = self._save_edit(attempt, folder)
        what = part(attempt, task, [one for one in earlier if one.number < attempt.number], list(kept), warnings)
        spec, stem = attempt.spec, attempt.task_id
        documents: dict[str, bytes] = {}
        if document.can_hold(spec):
            rendered = document.render(
                spec, what.values, what.heading, what.text, text_limit_bytes=self._limits.result_bytes
            )
            documents[f"{stem}.md"] = rendered.data
            if rendered.cut:
                kept[f"{stem}.files/result.md"] = what.text.encode()
        else:
            documents[f"{stem}.md"] = spec
            beside = document.render_beside({**what.values, "spec_sha256": attempt.sha256}, what.heading, what.text)
            documents[f"{stem}.{what.heading.lower()}.md"] = beside
        for name, data in kept.items():
            self._put_beside(os.path.join(folder, name), data)
        paths = {
            name: self._put_document(os.path.join(folder, name), data, attempt) for name, data in documents.items()
        }
        changes = [Change(path=self._layout.relative(paths[name]), content=data) for name, data in documents.items()]
        changes += [
            Change(path=self._layout.relative(os.path.join(folder, name)), content=data) for name, data in kept.items()
        ]
        changes += self._departures(attempt, folder, spec)
        return paths[f"{stem}.md"], tuple(changes)

    def _departures(self, attempt: Attempt, folder: str, spec: bytes) -> Iterable[Change]:
        """Names under which git may still know the task: its place in pending/, and its earlier ending."""
        pending = os.path.join(self._layout.pending, attempt.name)
        if not os.path.lexists(pending):
            yield Change(path=self._layout.relative(pending), content=None, only_if=spec)
        if attempt.number > 1:
            for other in (self._layout.completed, self._layout.failed):
                path = os.path.join(other, f"{attempt.task_id}.md")
                if other != folder and not os.path.lexists(path):
                    yield Change(path=self._layout.relative(path), content=None)

    def _put_document(self, path: str, data: bytes, attempt: Attempt) -> str:
        """Write a recorded file without ever overwriting another one; where it stands in the end."""
        try:
            self._files.put_new(path, data)
        except FileExistsError:
            with open(path, "rb") as handle:
                if handle.read() == data:
                    return path
            path = os.path.join(os.path.dirname(path), f"{attempt.attempt_id}.md")
            self._files.put(path, data)
        return path

    def _put_beside(self, path: str, data: bytes) -> None:
        self._files.make_folder(os.path.dirname(path))
        self._files.put(path, data)

    def _keep_files(self, attempt: Attempt, folder: str) -> dict[str, bytes]:
        """What the agent left in its out/ folder, as name below `folder` -> bytes, within the size limit."""
        kept: dict[str, bytes] = {}
        if attempt.ended is None:
            return kept
        out = os.path.join(self._layout.workspace(attempt.attempt_id), "out")
        for name in attempt.ended.files:
            path = os.path.join(out, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as handle:
                    kept[f"{attempt.task_id}.files/{name}"] = handle.read()
        return kept

    def _save_edit(self, attempt: Attempt, folder: str) -> list[str]:
        """An active file that was edited while it ran is kept beside the result; what is to be said of it."""
        if attempt.started_at is None and attempt.interface is None:
            return []
        path = os.path.join(self._layout.active, f"{attempt.task_id}.md")
        try:
            with open(path, "rb") as handle:
                now = handle.read()
        except FileNotFoundError:
            return (
                []
                if self._ended_already(attempt)
                else ["the file in active/ was deleted while the task ran; `brain cancel` stops a task"]
            )
        if now == attempt.spec or document.is_recorded(now):
            return []
        self._put_beside(os.path.join(folder, f"{attempt.task_id}.files", "edited-while-active.md"), now)
        return [
            f"the file in active/ was edited while the task ran; the edit is kept as {attempt.task_id}.files/edited-while-active.md"
        ]

    def _ended_already(self, attempt: Attempt) -> bool:
        """Whether an earlier pass has written this attempt's file (and taken the active one away)."""
        folder = self._layout.ended(attempt.status or Status.FAILED)
        return os.path.exists(os.path.join(folder, f"{attempt.task_id}.md"))

    # day files

    def _write_day_files(self, written: list[_Written], suspects: set[str]) -> None:
        for day in dict.fromkeys(one.row.day for one in written):
            todays = [one for one in written if one.row.day == day]
            self._append_costs(day, [one.row for one in todays], suspects)
            happenings = [_happening(one) for one in todays]
            self._append(self._activity, day, happenings, suspects, activity.append_activity)
            failed = [h for h in happenings if h.row.status is Status.FAILED]
            self._append(self._errors, day, failed, suspects, activity.append_errors)
        for one in written:
            if one.row.status is Status.FAILED and one.row.interface:
                self._last_errors[one.row.interface] = _said(one.attempt)
        self._count(written)
        self._settle_questions()

    def _append_costs(self, day: str, rows: list[CostRow], suspects: set[str]) -> None:
        names = self._costs.parts(day)
        new = [
            row
            for row in rows
            if row.attempt_id not in suspects
            or not any(
                data and ledger.holds(data, row.attempt_id, path) for path in names for data in [self._costs.read(path)]
            )
        ]
        written = self._costs.add(
            day, len(new), lambda existing, first, last, path: ledger.append(existing, new[first:last], path)
        )
        self._note(written)

    def _append(
        self,
        kind: DayFiles,
        day: str,
        happenings: list[activity.Happening],
        suspects: set[str],
        append: Callable[[bytes, Iterable[activity.Happening]], bytes],
    ) -> None:
        old = b"".join(kind.read(path) for path in kind.parts(day)) if suspects else b""
        new = [h for h in happenings if h.row.attempt_id not in suspects or h.row.attempt_id.encode() not in old]
        written = kind.add(day, len(new), lambda existing, first, last, _path: append(existing, new[first:last]))
        self._note(written)

    def _count(self, written: list[_Written]) -> None:
        """Metrics and usage of the day, as wholes."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        if self._tally is None or self._tally.day != today:
            self._tally = DayTally(today, map(CostRow.from_values, self._journal.outcomes(day=today)))
        for one in written:
            ended = one.attempt.ended
            self._tally.add(one.row, None if ended is None else ended.usage.requests)
        self._put_whole(self._layout.inside("logs", "metrics", f"{today}.json"), self._tally.render())
        self.write_usage()

    def write_usage(self) -> None:
        """context/usage.md from what the ledger says of today."""
        if self._tally is None:
            return
        used = self._tally.used()
        states = self._interfaces()
        view = UsageView(
            updated=time.time(),
            day=self._tally.day,
            state=self._daemon_state(),
            interfaces=[_usage_of(state, used.get(state.spec.name), self._last_errors) for state in states],
        )
        self._put_whole(os.path.join(self._layout.context, "usage.md"), usage.render(view))

    def _settle_questions(self) -> None:
        """prompts/pending.md as a whole, if what it must say has changed."""
        open_questions = [question_from(document_) for document_, _ in self._journal.questions().values()]
        data = render_questions(open_questions)
        if data != self._questions:
            path = os.path.join(self._layout.prompts, "pending.md")
            if self._questions is None and not open_questions and not os.path.exists(path):
                self._questions = data
                return
            if self._questions is not None or _read(path) != data:
                self._put_whole(path, data)
            self._questions = data

    def _put_whole(self, path: str, data: bytes) -> None:
        self._files.put(path, data, sync=False)
        self._note([(path, data)])

    def _note(self, written: Iterable[tuple[str, bytes]]) -> None:
        for path, data in written:
            self._dirty[self._layout.relative(path)] = data

    # git

    def _to_git(self) -> int:
        """Commit what is recorded, one group; the number of attempts settled."""
        ids = self._journal.ids_in(AttemptState.RECORDED, self._limits.group_size)
        if not ids:
            return 0
        if self._committer is None:
            self._journal.mark_committed(dict.fromkeys(ids, ""))
            self._forget(ids)
            return len(ids)
        found = self._already_committed([one for one in ids if one not in self._written])
        plans = [plan for one in ids if one not in found if (plan := self._plan(one)) is not None]
        shas = self._commit(plans)
        if shas is None:
            return 0
        self._journal.mark_committed({one: shas.get(one, "") for one in ids})
        self._forget(ids)
        return len(ids)

    def _forget(self, ids: Iterable[str]) -> None:
        for one in ids:
            self._written.pop(one, None)

    def _already_committed(self, suspects: list[str]) -> set[str]:
        if not suspects or self._committer is None:
            return set()
        return self._committer.find(suspects, None)

    def _commit(self, plans: list[CommitPlan]) -> Mapping[str, str] | None:
        """The hashes by attempt, or None if the commit is owed. The day files ride in the last plan."""
        assert self._committer is not None
        if not plans:
            return {}
        dirty = dict(self._dirty)
        last = plans[-1]
        extra = tuple(Change(path=path, content=data) for path, data in dirty.items())
        try:
            answer = self._committer.commit([*plans[:-1], replace(last, changes=(*last.changes, *extra))])
        except (GitError, Transient) as error:
            answer = Owed(reason=str(error))
        if isinstance(answer, Owed):
            self.why_owed = answer.reason
            return None
        self._committed(dirty)
        return dict(zip((plan.key for plan in plans), answer.shas, strict=True))

    def _committed(self, dirty: Mapping[str, bytes | None]) -> None:
        self.why_owed = None
        self._last_housekeeping = time.monotonic()
        self._dirty = {path: data for path, data in self._dirty.items() if dirty.get(path) != data}
        if self._committer is not None:
            self._committer.maintain()

    def _plan(self, attempt_id: str) -> CommitPlan | None:
        written = self._written.get(attempt_id) or self._from_files(attempt_id)
        attempt, row = written.attempt, written.row
        if attempt.decision is not Decision.FINISH:
            return None
        ended = attempt.ended
        assert ended is not None
        message = commit_message(
            row,
            title=written.title,
            why=str((attempt.routing or {}).get("reason", "")),
            error=_said(attempt) if row.status is Status.FAILED else "",
            warnings=ended.warnings,
            origin=attempt.origin,
            after_seconds=ended.outcome.after_seconds if isinstance(ended.outcome, TimedOut) else None,
        )
        return CommitPlan(key=attempt_id, message=message.decode(), changes=written.changes, when=ended.finished_at)

    def _from_files(self, attempt_id: str) -> _Written:
        """What a process that is no more has written: the same steps again, which find their work done."""
        attempt, task, _ = self._load(attempt_id)
        changes: tuple[Change, ...] = ()
        if attempt.decision is Decision.FINISH:
            _, changes = self._write_result(attempt, task)
        accounts = {state.spec.name: state.spec.account for state in self._interfaces()}
        row = cost_row(attempt, task, accounts.get(attempt.interface or ""))
        return _Written(attempt, row, task.title if task else attempt.name, changes)

    def _keep_house(self) -> None:
        """Day files, usage and questions that no outcome carries: a commit of their own, at most once a minute."""
        if (
            self._committer is None
            or not self._dirty
            or time.monotonic() - self._last_housekeeping < HOUSEKEEPING_SECONDS
        ):
            return
        self.commit_housekeeping()

    def commit_housekeeping(self) -> None:
        """Commit what is dirty now, whatever the time since the last one."""
        if self._committer is None or not self._dirty:
            return
        dirty = dict(self._dirty)
        now = time.time()
        plan = CommitPlan(
            key=f"housekeeping.{int(now)}",
            message="record: usage, ledger and questions\n",
            changes=tuple(Change(path=path, content=data) for path, data in dirty.items()),
            when=now,
        )
        answer = self._committer.commit([plan])
        if isinstance(answer, Committed):
            self._committed(dirty)
        else:
            self.why_owed = answer.reason

    def _find_dirty(self) -> None:
        """Machine-written files whose bytes git does not have: a crash or an owed commit left them."""
        assert self._committer is not None
        repository = self._committer.repository
        kinds = (self._costs, self._activity, self._errors)
        paths = [path for kind in kinds for path in kind.all_paths()[-2:]]
        paths += [os.path.join(self._layout.context, "usage.md")]
        paths += [os.path.join(self._layout.prompts, name) for name in ("pending.md", "answered.md")]
        paths += [
            os.path.join(self._layout.inside("logs", "metrics"), name)
            for name in os.listdir(self._layout.inside("logs", "metrics"))
            if name.endswith(".json")
        ][-2:]
        here = {self._layout.relative(path): data for path in paths if (data := _read(path))}
        known = repository.head_blobs(list(here))
        self._dirty.update({path: data for path, data in here.items() if known.get(path) != repository.blob_id(data)})


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return b""


def _said(attempt: Attempt) -> str:
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


def _happening(one: _Written) -> activity.Happening:
    ended = one.attempt.ended
    return activity.Happening(
        row=one.row,
        title=one.title,
        message=_said(one.attempt),
        survivors=ended.survivors if ended else (),
        warnings=ended.warnings if ended else (),
    )


def _usage_of(
    state: InterfaceState, used: tuple[int, int, int] | None, last_errors: Mapping[str, str]
) -> InterfaceUsage:
    messages, requests, tokens = used or (0, 0, 0)
    limit = state.spec.limits.messages_per_day
    return InterfaceUsage(
        name=state.spec.name,
        messages_today=messages,
        requests_today=requests,
        tokens_today=tokens,
        limit_remaining=None if limit is None else max(0, limit - messages),
        last_error=last_errors.get(state.spec.name),
        status="available" if not state.why_not else f"offline: {state.why_not}",
    )
