"""The driver of workflows: it takes the tasks that ask for a run, puts the tasks of steps that may begin into pending/, and ends the run.

    pending/RUN.md      a task with `workflow:`                       -> begin: frozen, claimed by us, in active/
    pending/RUN-STEP.md the task of a step, put there once            -> advance, whenever one of them has ended
    active/RUN.md       all steps have settled, or one is broken      -> ended with a summary, recorded like any task

Only the daemon drives, so each step is put there by one hand; a task that exists, or has ended, is never put there again, so a crash at any
point leaves a run that goes on from its records. Not for several threads.

Failures: a definition that cannot be used fails the run's task as malformed before any step exists. A disk error leaves as
StorageError and is tried again with the next look.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import Damaged, Refused, StorageError, UserError
from brain_daemon.model.outcome import FREE, Ended, Failed, FailureKind, Mode, Outcome, Reason, Status, Succeeded
from brain_daemon.model.task import TaskSpec
from brain_daemon.model.workflow import Step
from brain_daemon.policy import retry
from brain_daemon.policy.workflow import Fail, Finish, Plan, Stand, StepState
from brain_daemon.record.redact import clean_ended
from brain_daemon.service import actions
from brain_daemon.service.attempts import claimed
from brain_daemon.service.brain import Brain
from brain_daemon.service.ending import decided
from brain_daemon.service.intake import Intake, PendingTask, original_of
from brain_daemon.service.workflow_progress import Begun, Progress
from brain_daemon.service.workflow_runs import (
    Refusal,
    RunRecord,
    all_kept,
    asked_by,
    forget_old,
    keep,
    kept,
    root_of,
    step_files,
    step_text,
)
from brain_daemon.service.workflow_summary import summary
from brain_daemon.store.locks import claims
from brain_daemon.store.queue import Queue

CLAIMANT = "workflow"
"""Who holds the task of a run, and its interface in the records."""

_CLAIM_SECONDS = 1.0
_MOST_RUNS = 10_000
_CLOSING_SECONDS = 1.0

OnEnd = Callable[[Attempt, TaskSpec | None], None]


@dataclass(slots=True)
class _Run:
    """A run under way. `seen` is how its tasks stood when it was last looked at; None before the first look."""

    root: Attempt
    task: TaskSpec
    progress: Progress
    seen: dict[str, StepState] | None = None

    @property
    def record(self) -> RunRecord:
        return self.progress.record


class Workflows:
    """The runs of one brain.

    `on_end` hears of a run's end once it is durable, `left` of the id of its task, which has left active/. `intake` knows pending/ and the
    names that steps may give as `agent`.
    """

    def __init__(self, brain: Brain, intake: Intake, on_end: OnEnd, left: Callable[[str], None]) -> None:
        self._brain = brain
        self._intake = intake
        self._on_end = on_end
        self._left = left
        self._queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
        self._runs: dict[str, _Run] = {}
        self._closing = [record for record in all_kept(brain.layout) if not record.closed]
        self._closing_due = 0.0
        self._has_met = False
        self._told: set[str] = set()
        forget_old(brain.layout, brain.files)

    # taking runs

    def begin(self, pending: Iterable[PendingTask]) -> None:
        """Take these tasks, which ask for runs and may start: they are ours until their runs have ended."""
        for one in pending:
            task = one.task
            if task is not None and task.workflow is not None:
                self._begin(one, task)

    def _begin(self, pending: PendingTask, task: TaskSpec) -> None:
        record = self._frozen(task)
        with claims(self._brain.layout, _CLAIM_SECONDS):
            root = self._claim(pending, task)
            if root is None:
                return
            try:
                self._brain.journal.add([root])
            except StorageError:
                self._queue.give_back(task.id, pending.name)
                raise
        self._intake.active[task.id.casefold()] = "active"
        if isinstance(record, Refusal):
            self._end(root, task, Failed(kind=FailureKind.PERMANENT, message=str(record)), Reason.MALFORMED)
        else:
            self._runs[task.id.casefold()] = self._run(root, task, record)

    def _frozen(self, task: TaskSpec) -> RunRecord | Refusal:
        """What the run goes by: as it was when the run was first begun, where it is the same task that comes back."""
        before = kept(self._brain.layout, task.id)
        if before is not None and self._brain.journal.attempts_of(task.id):
            record: RunRecord | Refusal = replace(before, closed=False)
        else:
            vocabulary = self._intake.vocabulary
            record = asked_by(self._brain.layout, task, None if vocabulary is None else vocabulary.interfaces.keys())
        if isinstance(record, RunRecord):
            keep(self._brain.layout, self._brain.files, record)
        return record

    def _claim(self, pending: PendingTask, task: TaskSpec) -> Attempt | None:
        """The file in active/ and an attempt for it; None if it is gone or another one by now."""
        try:
            data = self._queue.claim(pending.name, task.id)
        except FileExistsError:
            self._intake.block(pending.name, f"another task with the id {task.id} is active now")
            return None
        self._intake.forget(pending.name)
        if data is None:
            return None
        spec, _ = original_of(data)
        if hashlib.sha256(spec).hexdigest() != task.sha256:
            self._queue.give_back(task.id, pending.name)
            return None
        return replace(
            claimed(self._brain.journal, pending, task, spec, CLAIMANT),
            interface=CLAIMANT,
            routing={"reason": "its steps are tasks of their own"},
            mode=Mode.WORKFLOW,
        )

    def _run(self, root: Attempt, task: TaskSpec, record: RunRecord) -> _Run:
        return _Run(root=root, task=task, progress=Progress(self._brain, record, record.workflow(), root.claimed_at))

    # going on

    @property
    def has_news(self) -> bool:
        """Whether `advance` may find something to do: a run nobody has looked at, a task of one that has ended, a run that was ended."""
        if self._closing and time.monotonic() >= self._closing_due:
            return True
        if self._has_met and not self._runs:
            return False
        if self._held().keys() != {run.root.attempt_id for run in self._runs.values()}:
            return True
        self._has_met = True
        return any(run.seen is None or run.seen != self._standing(run) for run in self._runs.values())

    @property
    def has_work(self) -> bool:
        """Whether there is news, or is about to be: a task of a run has ended and is not recorded yet."""
        # Asked first: what is recorded between the two questions is news.
        ending = {one.rsplit(".", 2)[0] for one in self._brain.journal.ids_in(AttemptState.ENDED, _MOST_RUNS)}
        if self.has_news:
            return True
        return bool(ending) and any(not ending.isdisjoint(run.progress.under_way) for run in self._runs.values())

    @property
    def are_running(self) -> bool:
        """Whether runs are under way here, which go on once a task of theirs is recorded."""
        return bool(self._runs)

    def look_again(self) -> None:
        """Somebody else may have written to the journal: whose runs there are is asked anew."""
        self._has_met = False

    def advance(self) -> tuple[str, ...]:
        """Go on with every run as far as it goes now; the names of files that are new in pending/."""
        self._meet()
        names: list[str] = []
        for run in list(self._runs.values()):
            names += self._advance(run)
        self._close_all()
        return tuple(names)

    def _held(self) -> dict[str, Attempt]:
        """The attempts that hold the tasks of runs, by their ids."""
        ids = self._brain.journal.ids_in(AttemptState.CLAIMED, _MOST_RUNS)
        known = {run.root.attempt_id: run.root for run in self._runs.values()}
        found = (known.get(one) or self._brain.journal.attempt(one) for one in ids)
        return {one.attempt_id: one for one in found if one is not None and one.claimant == CLAIMANT}

    def _meet(self) -> None:
        """Runs of a daemon before this one are ours; those whose task somebody has taken from us are not any more."""
        held = self._held()
        for key, run in list(self._runs.items()):
            if run.root.attempt_id not in held:
                del self._runs[key]
                self._closing.append(run.record)
                self._closing_due = 0.0
        for root in held.values():
            if root.task_id.casefold() not in self._runs:
                self._adopt(root)

    def _adopt(self, root: Attempt) -> None:
        task = root_of(self._brain, root.task_id)
        record = kept(self._brain.layout, root.task_id)
        if task is None:
            return
        asked = record or asked_by(self._brain.layout, task, None)
        if isinstance(asked, Refusal):
            self._end(root, task, Failed(kind=FailureKind.PERMANENT, message=str(asked)), Reason.MALFORMED)
            return
        if record is None:
            keep(self._brain.layout, self._brain.files, asked)
        self._closing = [one for one in self._closing if one.run.casefold() != root.task_id.casefold()]
        self._intake.active[root.task_id.casefold()] = "active"
        self._runs[root.task_id.casefold()] = self._run(root, task, asked)

    @staticmethod
    def _standing(run: _Run) -> dict[str, StepState]:
        return {name: run.progress.state_of(name) for name in run.progress.under_way}

    def _advance(self, run: _Run) -> list[str]:
        names: list[str] = []
        # Looked at before the walk: what changes during it is news.
        seen, run.seen = self._standing(run), None
        plan = run.progress.walk(lambda step, begun: names.extend(self._submit(run, step, begun)))
        names += [name for step in plan.again for name in self._again(run, run.progress.workflow.by_id[step])]
        missed = [step for step in plan.begin if self._is_missed(run, step)]
        if plan.end is not None:
            self._finish(run, plan)
        # Last: what the disk refused half way is tried again with the next look.
        run.seen = None if missed else seen
        return names

    def _is_missed(self, run: _Run, step: str) -> bool:
        """A task of a step that has begun is not where we put it: renamed by a person, or taken away, and then the step has failed."""
        begun = run.progress.begun(step)
        missed = False
        for name in begun.task_ids if begun is not None else ():
            if not run.progress.exists(name):
                try:
                    actions.find(self._brain, name)
                except UserError:
                    run.progress.give_up(step, f"its task {name} was taken out of pending/")
                    missed = True
        return missed

    def _submit(self, run: _Run, step: Step, begun: Begun) -> Iterator[str]:
        """Put the tasks of a step into pending/ that were never there; the names of their files. Damaged if an output is gone."""
        missing = [at for at, name in enumerate(begun.task_ids) if not run.progress.exists(name)]
        if not missing:
            return
        texts = [(begun.task_ids[at], self._text(run, step, begun, at)) for at in missing]
        # Under the lock no agent is between taking such a file and having it on record.
        with claims(self._brain.layout, _CLAIM_SECONDS):
            for name, text in texts:
                path = os.path.join(self._brain.layout.pending, f"{name}.md")
                if run.progress.exists(name):
                    continue
                try:
                    self._brain.files.put_new(path, text.encode("utf-8", "replace"))
                except FileExistsError:
                    continue
                yield os.path.basename(path)

    def _text(self, run: _Run, step: Step, begun: Begun, at: int) -> str:
        progress = run.progress
        filled = progress.fill(step, begun, at)
        return step_text(
            run.record,
            step,
            None if begun.items is None else at + 1,
            filled.text,
            run.task,
            parent=progress.parent_of(step),
            chain=run.root.lineage.chain or run.record.run,
            handed_over=filled.handed_over,
        )

    def _again(self, run: _Run, step: Step) -> Iterator[str]:
        """Put the failed tasks of a step back into pending/; the names of their files."""
        begun = run.progress.begun(step.id)
        for name in begun.task_ids if begun is not None else ():
            if run.progress.state_of(name).stand is not Stand.FAILED:
                continue
            try:
                yield os.path.basename(actions.retry(self._brain, name).path)
            except (Refused, UserError):
                continue  # somebody else has just put it there

    # ends

    def _finish(self, run: _Run, plan: Plan) -> None:
        try:
            text = summary(run.progress)
        except (Damaged, StorageError) as error:
            text = str(error)
        match plan.end:
            case Fail(steps=steps):
                states = run.progress.states()
                why = "; ".join(f"step `{name}` failed ({states[name].why})" for name in steps)
                message = f"{why}\n\n{text}"
                self._end(
                    run.root,
                    run.task,
                    Failed(kind=FailureKind.PERMANENT, message=message),
                    _reason(states[steps[0]].why),
                )
            case Finish():
                self._end(run.root, run.task, Succeeded(text=text), None)
            case None:
                return
        del self._runs[run.root.task_id.casefold()]
        keep(self._brain.layout, self._brain.files, replace(run.record, closed=True))

    def _end(self, root: Attempt, task: TaskSpec, outcome: Outcome, reason: Reason | None) -> None:
        now = time.time()
        ended = Ended(
            outcome=outcome,
            started_at=root.claimed_at,
            finished_at=now,
            duration_seconds=max(0.0, now - root.claimed_at),
            cost=FREE,
            text=outcome.text if isinstance(outcome, Succeeded) else "",
        )
        clean = clean_ended(ended, self._intake.redactor)
        status = Status.COMPLETED if reason is None else Status.FAILED
        message = clean.outcome.message if isinstance(clean.outcome, Failed) else ""
        attempt = decided(root, clean, retry.Finish(status=status, reason=reason, message=message))
        self._brain.journal.end([attempt])
        self._on_end(attempt, task)
        self._left(root.task_id.casefold())

    def _close_all(self) -> None:
        """What is left of runs whose task was cancelled or taken away is cancelled too; then they are closed."""
        self._closing_due = time.monotonic() + _CLOSING_SECONDS
        for record in list(self._closing):
            if not self._has_root_ended(record):
                self._closing.remove(record)  # given back: it is begun again when its task is
            elif not cancel_rest(self._brain, record, self._told):
                self._closing.remove(record)
                keep(self._brain.layout, self._brain.files, replace(record, closed=True))

    def _has_root_ended(self, record: RunRecord) -> bool:
        attempts = self._brain.journal.attempts_of(record.run)
        if attempts:
            return attempts[-1].decision is Decision.FINISH
        return self._brain.journal.ended_task(record.run) is not None


def cancel_rest(brain: Brain, record: RunRecord, told: set[str]) -> int:
    """Cancel the tasks of a run that have not ended, each once (`told`); how many there still are."""
    left = list(step_files(brain, record))
    for name in left:
        if name not in told:
            told.add(name)
            try:
                actions.cancel(brain, name, f"its run {record.run} was cancelled")
            except (Refused, UserError):
                told.discard(name)  # it is just ending, or its daemon is gone: the next look tells
    return len(left)


def _reason(why: str) -> Reason:
    """The reason of the run is that of the step that broke it."""
    word = why.rpartition(" items: ")[2].partition(":")[0].strip()
    return Reason(word) if word in set(Reason) else Reason.TOOL_FAILED
