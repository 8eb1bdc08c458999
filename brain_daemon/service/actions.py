"""What a person can do to tasks from outside the daemon: submit, cancel, retry, release, approve.

Each works with and without a running daemon: files and journal are changed under the claims lock, then a running daemon
is woken, or the outcome is recorded here. Refused and UserError say what would be possible instead; a commit that cannot
be made now is owed and undoes nothing.
"""

import os
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import GitError, Occupied, Refused, Transient, UserError
from brain_daemon.model.ids import attempt_id, is_task_id
from brain_daemon.model.outcome import Reason
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.readiness import circle_words
from brain_daemon.policy.resuming import is_parked
from brain_daemon.record.questions import QuestionKind
from brain_daemon.service import inquiries, releases
from brain_daemon.service.brain import Brain
from brain_daemon.service.ending import unstarted
from brain_daemon.service.graph_checks import circle_with
from brain_daemon.service.intake import Intake, explain, original_of
from brain_daemon.service.releases import AT_ONCE, NO_TERMS, Terms
from brain_daemon.store import control
from brain_daemon.store.locks import claims, recording, running_daemon
from brain_daemon.store.offspring import offspring_of
from brain_daemon.store.queue import Queue, Seen, look, names

_RECORDING_SECONDS = 120.0
_TURN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is: its state (pending, active, completed, failed) and its file."""

    task_id: str
    state: str
    path: str


def submit(brain: Brain, text: str, task_id: str | None = None) -> Place:
    """Drop a task file as a person would; the id is made up where none is given. UserError where it is no task, or waits for itself."""
    if task_id is not None and not is_task_id(task_id):
        raise UserError(
            f"submitting a task: {task_id!r} is no id; letters, digits, dots, dashes and underscores are allowed."
        )
    name = task_id or new_id()
    _refuse_what_never_runs(brain, text, name)
    path = os.path.join(brain.layout.pending, f"{name}.md")
    try:
        brain.files.put_new(path, text.encode("utf-8", "surrogateescape"))
    except FileExistsError:
        raise UserError(f"submitting a task: {path} is there already; choose another id.") from None
    return Place(name, "pending", path)


def _refuse_what_never_runs(brain: Brain, text: str, name: str) -> None:
    task = parse_task(
        f"{name}.md", text.encode("utf-8", "surrogateescape"), limits=ParseLimits(file_bytes=brain.config.task_bytes)
    )
    if isinstance(task, Rejection):
        raise UserError(f"submitting a task: {explain(task)}")
    circle = circle_with(brain.layout, task)
    if circle:
        raise UserError(f"submitting a task: {circle_words(circle)}. Take one `depends_on` out, or give it another id.")


def new_id() -> str:
    """An id for a task that was given none: `task-20261120T201500-7f3a`."""
    return f"task-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def find(brain: Brain, task_id: str) -> Place:
    """Where a task is now. UserError if there is none of that id."""
    for place in _places(brain, task_id):
        return place
    raise UserError(f"there is no task {task_id!r} in {brain.layout.root}. `brain list` shows all tasks.")


def _places(brain: Brain, task_id: str) -> Iterator[Place]:
    """Where the task is, the surest and cheapest place first; all of pending/ is read only if it is nowhere else."""
    active = os.path.join(brain.layout.active, f"{task_id}.md")
    if os.path.lexists(active):
        yield Place(task_id, "active", active)
    search = _PendingSearch(brain, task_id)
    yield from search.among(search.likely())
    yield from _ended(brain, task_id)
    yield from search.among(sorted(names(brain.layout.pending)))
    if os.path.lexists(active):
        yield Place(task_id, "active", active)  # it was claimed while we looked
    yield from search.declined


def _ended(brain: Brain, task_id: str) -> Iterator[Place]:
    record = brain.journal.ended_task(task_id)
    if record is not None:
        yield Place(record.task_id, record.status, brain.layout.inside(record.path))
    for status in ("completed", "failed"):
        path = os.path.join(brain.layout.ended(status), f"{task_id}.md")
        if os.path.exists(path):
            yield Place(task_id, status, path)


class _PendingSearch:
    """Looks for one id in pending/, where a file's id is what the daemon called it or what its text and name ask for.

    `declined` are files of that id which may not run by themselves, such as an ended task that git brought back, and files
    of which git cannot say now whether it brought them.
    """

    def __init__(self, brain: Brain, task_id: str) -> None:
        self._brain = brain
        self._wanted = task_id.casefold()
        self._called = {hold.name: hold.task_id for hold in brain.journal.holds()}
        self._intake = Intake(brain, Redactor())
        self._intake.active.update(
            (one.casefold(), "active") for one in Queue(brain.layout, brain.files, brain.config.task_bytes).active_ids()
        )
        self._task_id = task_id
        self.declined: list[Place] = []

    def likely(self) -> list[str]:
        """The names to look at first."""
        called_so = [name for name, task_id in self._called.items() if task_id.casefold() == self._wanted]
        return [*called_so, f"{self._task_id}.md"]

    def among(self, file_names: Iterable[str]) -> Iterator[Place]:
        intake, folder = self._intake, self._brain.layout.pending
        for name in file_names:
            intake.complete(name)
            path, called = os.path.join(folder, name), self._called.get(name, "")
            if name in intake.tasks and self._wanted in (intake.tasks[name].id.casefold(), called.casefold()):
                yield Place(called or intake.tasks[name].id, "pending", path)
            elif os.path.lexists(path) and self._wanted in (_asked_id(self._brain, name), called.casefold()):
                self.declined.append(Place(self._task_id, "pending", path))


def _asked_id(brain: Brain, name: str) -> str:
    """The id that a file in pending/ asks for, casefolded; its name's where it cannot be read."""
    seen = look(brain.layout.pending, name, brain.config.task_bytes)
    data = seen.data if isinstance(seen, Seen) and seen.data is not None else b""
    return parse_task(name, original_of(data)[0]).id.casefold()


def cancel(brain: Brain, task_id: str, why: str = "cancelled by request") -> str:
    """End a task that has not ended, and what it has spawned; a sentence on what was done. What runs is ended by its daemon."""
    said = _cancel(brain, task_id, why)
    count = cancel_children(brain, task_id)
    return f"{said}, with {count} that it has spawned" if count else said


def cancel_children(brain: Brain, parent: str) -> int:
    """End the tasks below one that have not ended; how many."""
    offspring = offspring_of(brain.journal, parent)
    count = 0
    for child in offspring.accepted if offspring is not None else ():
        try:
            _cancel(brain, str(child.task_id), f"its parent {parent} was cancelled")
            count += 1
        except (Refused, UserError):
            pass  # it has ended, or is about to; what it has spawned may not have
        count += cancel_children(brain, str(child.task_id))
    return count


class _JustClaimed(Refused):
    """Somebody has claimed the task between our look and our claim."""


def _cancel(brain: Brain, task_id: str, why: str) -> str:
    try:
        return _cancel_where_it_is(brain, task_id, why)
    except _JustClaimed:
        return _cancel_where_it_is(brain, task_id, why)


def _cancel_where_it_is(brain: Brain, task_id: str, why: str) -> str:
    place = find(brain, task_id)
    if place.state in ("completed", "failed"):
        raise Refused(f"cancelling {task_id}: it has {place.state} already. Nothing was changed.")
    newest = _newest(brain, place.task_id)
    if place.state == "active" and (_is_under_way(brain, newest) or _may_be_starting(brain, newest)):
        if running_daemon(brain.layout) is None:
            raise Refused(
                f"cancelling {task_id}: its daemon is gone and its end unknown. `brain run` recovers it first."
            )
        control.post(brain.layout, brain.files, "cancel", place.task_id, why)
        return f"{place.task_id}: the daemon was asked to end it"
    _end_unstarted(brain, place, why)
    return f"{place.task_id}: cancelled{_owing(settle(brain))}"


def cancel_unstarted(brain: Brain, task_id: str, why: str) -> bool:
    """What a daemon was asked to end and has not in hand: end it if nobody else has begun it; whether it was.

    For the daemon itself, which alone knows that it is not about to start it.
    """
    try:
        place = find(brain, task_id)
        if place.state != "active" or _newest(brain, place.task_id) is not None:
            return False
        _end_unstarted(brain, place, why)
    except (Refused, UserError):
        return False  # it has ended meanwhile
    return True


def _end_unstarted(brain: Brain, place: Place, why: str) -> None:
    with claims(brain.layout):
        newest = _newest(brain, place.task_id)
        _refuse_ended(newest, f"cancelling {place.task_id}")
        attempt = _taken(brain, place, newest)
        inquiries.withdraw_about(brain.journal, place.task_id)
        if newest is not None and newest.state is AttemptState.CLAIMED:
            brain.journal.release(newest.attempt_id)
        brain.journal.add([unstarted(attempt, Reason.CANCELLED, why)])


def _may_be_starting(brain: Brain, newest: Attempt | None) -> bool:
    """Whether a daemon may have claimed it a moment ago: the file is moved under the lock, the start is noted just after it."""
    return newest is None and running_daemon(brain.layout) is not None


def _is_under_way(brain: Brain, newest: Attempt | None) -> bool:
    """Whether a daemon has this active task in hand: its tool runs, or it waits a little before the next attempt."""
    if newest is None or newest.state is AttemptState.CLAIMED:
        return False
    if newest.state is AttemptState.STARTING:
        return True
    return newest.decision is Decision.AGAIN and running_daemon(brain.layout) is not None


def _refuse_ended(newest: Attempt | None, doing: str) -> None:
    """An active file whose outcome is durable has ended; only its recording is under way."""
    if (
        newest is not None
        and newest.decision is Decision.FINISH
        and newest.state in (AttemptState.ENDED, AttemptState.RECORDED)
    ):
        raise Refused(
            f"{doing}: it has just ended and is being recorded. `brain show {newest.task_id}` shows the outcome."
        )


def _owing(reason: str | None) -> str:
    return "" if reason is None else f"; its commit is owed ({reason})"


def _newest(brain: Brain, task_id: str) -> Attempt | None:
    attempts = brain.journal.attempts_of(task_id)
    return attempts[-1] if attempts else None


def _taken(brain: Brain, place: Place, newest: Attempt | None) -> Attempt:
    """An attempt for a task that will not start: its file is in active/ afterwards."""
    queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
    name = os.path.basename(place.path)
    if place.state == "pending":
        data = queue.claim(name, place.task_id)
        if data is None:
            raise _JustClaimed(
                f"{place.task_id} has just been claimed, or its file cannot be read. `brain list` shows it."
            )
        data, _ = original_of(data)
    else:
        data = _active_bytes(place, newest)
        name = newest.name if newest is not None else name
    parsed = parse_task(name, data)
    number = brain.journal.next_number(place.task_id)
    return Attempt(
        attempt_id=attempt_id(place.task_id, number, uuid.uuid4().hex[:8]),
        task_id=place.task_id,
        number=number,
        state=AttemptState.ENDED,
        name=name,
        sha256=parsed.sha256,
        spec=data,
        claimant="person",
        claimed_at=time.time(),
    )


def _active_bytes(place: Place, newest: Attempt | None) -> bytes:
    """What the task asked when it was claimed: the journal has it, whatever became of the file since."""
    if newest is not None and newest.spec:
        return newest.spec
    with open(place.path, "rb") as handle:
        return handle.read()


def retry(brain: Brain, task_id: str) -> Place:
    """Put an ended task back into pending/ as it was asked for; its record stays in git."""
    place = find(brain, task_id)
    if place.state not in ("completed", "failed"):
        raise Refused(
            f"retrying {task_id}: it is {place.state}. `brain release {task_id}` frees a held or interrupted task."
        )
    with claims(brain.layout):
        target = os.path.join(brain.layout.pending, f"{place.task_id}.md")
        if os.path.lexists(target):
            return _retry_in_place(brain, place, target)
        if not os.path.exists(place.path):
            raise Refused(
                f"retrying {task_id}: its file {place.path} is gone. `git log -- {brain.layout.relative(place.path)}` has it."
            )
        brain.files.move(place.path, target)
        # Else lost power may bring the old record back beside the new one.
        brain.files.sync_folders([brain.layout.pending, os.path.dirname(place.path)])
        for kind in ("error", "result"):
            brain.files.remove(f"{place.path.removesuffix('.md')}.{kind}.md")
    wake(brain)
    return Place(place.task_id, "pending", target)


def _retry_in_place(brain: Brain, place: Place, target: str) -> Place:
    """Git or a backup has put the task into pending/ already: forget that it ended, so that it may run."""
    brain.journal.forget_ended(place.task_id)
    if os.path.exists(place.path):
        brain.files.remove(place.path)
    wake(brain)
    return Place(place.task_id, "pending", target)


def release(brain: Brain, task_id: str, terms: Terms = AT_ONCE) -> str:
    """Let a held, interrupted or claimed task run, on these terms; a sentence on what was done.

    Terms without `at_once` open what they name and nothing else: a task that waits for a person's word, or that an agent has, stays so.
    """
    place = find(brain, task_id)
    if place.state in ("completed", "failed"):
        raise Refused(f"releasing {task_id}: it has {place.state}. `brain retry {task_id}` runs it again.")
    if terms != NO_TERMS and not terms.at_once:
        said = _loosen(brain, place, terms)
        settle(brain)
        return said
    newest = _newest(brain, place.task_id)
    said = _release_active(brain, place, newest) if place.state == "active" else _release_pending(brain, place)
    if terms != NO_TERMS:
        with claims(brain.layout):
            releases.keep(brain.journal, place.task_id, terms)
    inquiries.withdraw_about(brain.journal, place.task_id)
    settle(brain, place.task_id)
    return said


def _loosen(brain: Brain, place: Place, terms: Terms) -> str:
    """Keep the terms. What is parked at a limit goes back to pending/, where it is judged anew; whatever else holds a task still does."""
    with claims(brain.layout):
        newest = _newest(brain, place.task_id)
        if place.state == "active" and _is_under_way(brain, newest):
            raise Refused(f"releasing {place.task_id}: it is running. What it may do can be changed when it waits.")
        words = ", ".join(releases.keep(brain.journal, place.task_id, terms).words)
        queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
        waits = newest is not None and is_parked(newest) and newest.resume_at is not None
        if newest is None or not waits or not os.path.lexists(queue.active_path(place.task_id)):
            return f"{place.task_id}: released ({words})"
        brain.journal.allow_again(newest.attempt_id)
        queue.give_back(place.task_id, newest.name)
    return f"{place.task_id}: released ({words}), back in pending/"


def _release_active(brain: Brain, place: Place, newest: Attempt | None) -> str:
    if _is_under_way(brain, newest):
        if running_daemon(brain.layout) is None:
            raise Refused(
                f"releasing {place.task_id}: its daemon is gone and its end unknown. `brain run` recovers it first."
            )
        raise Refused(f"releasing {place.task_id}: it is running. `brain cancel {place.task_id}` ends it.")
    with claims(brain.layout):
        newest = _newest(brain, place.task_id)
        _refuse_ended(newest, f"releasing {place.task_id}")
        if newest is not None and newest.state is AttemptState.CLAIMED:
            brain.journal.release(newest.attempt_id)
        elif newest is not None:
            brain.journal.allow_again(newest.attempt_id)
        name = newest.name if newest is not None else os.path.basename(place.path)
        Queue(brain.layout, brain.files, brain.config.task_bytes).give_back(place.task_id, name)
    return f"{place.task_id}: back in pending/"


def _release_pending(brain: Brain, place: Place) -> str:
    """A person has read the text of a held task and lets it run: that content, on this host."""
    with open(place.path, "rb") as handle:
        data = handle.read()
    parsed = parse_task(os.path.basename(place.path), original_of(data)[0])
    if not isinstance(parsed, TaskSpec):
        raise Refused(f"releasing {place.task_id}: {parsed.message}")
    brain.journal.approve(parsed.sha256, place.task_id, "released by a person")
    return f"{place.task_id}: released; what still holds it is shown by `brain list`"


def approve(brain: Brain, name: str, shown_sha256: str | None = None) -> str:
    """Let an interface that came with git run on this host: the content that was shown, or as it is now. UserError, Refused."""
    registry = brain.registry()
    entry = registry.find(name)
    if entry is None:
        raise UserError(f"approving {name}: no interface is called that. `brain interfaces` lists them.")
    if shown_sha256 is not None and not entry.spec.sha256.startswith(shown_sha256):
        raise Refused(f"approving {name}: its file has changed since it was shown. `brain interfaces show {name}`")
    brain.journal.approve(entry.spec.sha256, entry.spec.name, "approved by a person")
    inquiries.withdraw_about(brain.journal, entry.spec.name, QuestionKind.APPROVAL)
    wake(brain)
    return f"{entry.spec.name}: approved on this machine"


def wake(brain: Brain, task_id: str | None = None) -> bool:
    """Tell a running daemon that something changed, and that `task_id` need wait no longer; whether there is one."""
    if running_daemon(brain.layout) is None:
        return False
    control.post(brain.layout, brain.files, "wake", task_id)
    return True


def settle(brain: Brain, task_id: str | None = None) -> str | None:
    """See that owed outcomes are recorded: by the running daemon, else here. Why a commit is still owed, if one is."""
    until = time.monotonic() + _RECORDING_SECONDS
    with ExitStack() as held:
        while not wake(brain, task_id):
            try:
                held.enter_context(recording(brain.layout, _TURN_SECONDS))
            except Occupied:
                # Whoever records may be a daemon that has started meanwhile: it keeps the lock, and the outcome is its affair.
                if time.monotonic() >= until:
                    raise
            else:
                return _record_here(brain)
    return None


def _record_here(brain: Brain) -> str | None:
    recorder = brain.recorder(brain.registry(), lambda: "stopped")
    try:
        recorder.start()
    except (GitError, Transient) as error:
        return str(error)
    recorder.record()
    recorder.keep_house(now=True)
    return recorder.why_owed
