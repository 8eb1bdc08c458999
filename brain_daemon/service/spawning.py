"""Tasks that tasks spawn: files left in spawn/ become children in pending/, each once, labelled and bounded by their parent.

    take up    a file is whole: now and then while its attempt runs, and all of them when it has ended by itself
    decide     policy/spawning.py: accepted under an id of its own, or refused with a reason
    keep       the decisions are durable in the journal, with the texts
    deliver    the texts stand in pending/, then the journal lets go of them
    set aside  the file is out of the way, and its writer finds the answer beside it

A crash anywhere finds the same file, or the same decision, again: one file with one text is one child, whichever attempt of a run
writes it. What an attempt leaves that was interrupted, cancelled or out of time stays for the attempt that goes on there.

Failures: StorageError and Occupied; while the attempt runs they are logged, and it is looked again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

from brain_daemon.adapters.base import Invocation
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import Occupied, StorageError
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.parsing import ParseLimits, parse_task
from brain_daemon.model.task import OnLimit, Permissions, Rejection, TaskSpec
from brain_daemon.policy.charging import left_of_budget
from brain_daemon.policy.resuming import is_waiting
from brain_daemon.policy.spawning import Bounds, Parent, inherited, refusal, shares
from brain_daemon.service.brain import Brain
from brain_daemon.service.delivery import deliver, is_there
from brain_daemon.service.intake import Intake, explain
from brain_daemon.service.job import Job
from brain_daemon.service.siblings import Siblings, Wish, stamped, without_the_forlorn
from brain_daemon.store import offspring as records
from brain_daemon.store.locks import claims
from brain_daemon.store.offspring import Child, Offspring
from brain_daemon.workspace.spawn import Left, left_in, set_aside

_LOG = logging.getLogger("brain_daemon")
_LOOK_SECONDS = 0.5
_CLAIM_SECONDS = 1.0
_TRIES = 30
_MOST_REFUSED = 100


class Spawner:
    """The children of one brain's tasks. Belongs to the event loop's thread.

    `specs` are the interfaces of now; `dropped` hears the name of each file that is new in pending/.
    """

    def __init__(
        self,
        brain: Brain,
        intake: Intake,
        specs: Callable[[], Sequence[InterfaceSpec]],
        dropped: Callable[[str], None],
    ) -> None:
        self._brain = brain
        self._intake = intake
        self._specs = specs
        self._dropped = dropped
        self._siblings = Siblings(brain, intake)
        self._known = {one.parent.casefold(): one for one in records.every(brain.journal)}

    # while an attempt runs, and when it has ended

    @contextmanager
    def watching(self, job: Job, invocation: Invocation) -> Iterator[None]:
        """Take up what the attempt spawns while the block runs."""
        loop = asyncio.get_running_loop()
        due: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal due
            due = loop.call_later(_LOOK_SECONDS, look)
            self._look(job, invocation)

        due = loop.call_later(_LOOK_SECONDS, look)
        try:
            yield
        finally:
            due.cancel()

    async def collect(self, job: Job, invocation: Invocation) -> tuple[str, ...]:
        """Take up all that an ended attempt has spawned; what was refused in this run of its task, in words."""
        for tries in range(_TRIES):
            try:
                self._take_up(job, invocation, last=True)
                break
            except Occupied:
                if tries == _TRIES - 1:
                    raise
                await asyncio.sleep(_CLAIM_SECONDS / 10)
        offspring = self.of(job)
        return tuple(_said(one) for one in offspring.children if one.refused) if offspring else ()

    def _look(self, job: Job, invocation: Invocation) -> None:
        try:
            self._take_up(job, invocation, last=False)
        except (StorageError, Occupied) as error:
            _LOG.warning("spawned tasks wait", extra={"action": "spawn", "task": job.task.id, "error": str(error)})

    def _take_up(self, job: Job, invocation: Invocation, *, last: bool) -> None:
        files = list(
            left_in(
                invocation.workspace,
                invocation.attempt_id,
                self._brain.config.task_bytes,
                ours=job.task.workspace == "scratch",
                quiet_seconds=0.0 if last else self._brain.config.settle_seconds,
            )
        )
        offspring = self.of(job)
        if not files:
            return
        offspring = offspring or self._first(job)
        fresh = [one for one in files if offspring.find(one.name, one.sha256) is None]
        room = self._brain.config.spawn_children + _MOST_REFUSED - len(offspring.children)
        if fresh[:room]:
            offspring = self._decided(job, offspring, fresh[:room], last=last)
        self._deliver(offspring)
        for one in files:
            child = offspring.find(one.name, one.sha256)
            if child is not None:
                set_aside(self._brain.files, one.path, task_id=child.task_id, refused=child.refused)

    def _first(self, job: Job) -> Offspring:
        parent = self._known.get((job.attempt.lineage.parent or "").casefold())
        spawned = parent is not None and any(_is(one, job.task.id) for one in parent.accepted)
        generation = parent.generation + 1 if parent is not None and spawned else 0
        return Offspring(parent=job.task.id, run=_run(job), generation=generation)

    def _deliver(self, offspring: Offspring) -> None:
        if not offspring.undelivered:
            return
        with claims(self._brain.layout, _CLAIM_SECONDS):
            names = deliver(self._brain, offspring)
        self._known[offspring.parent.casefold()] = offspring.delivered()
        for name in names:
            self._dropped(name)

    # what is known

    def of(self, job: Job) -> Offspring | None:
        """What the present run of the job's task has spawned."""
        found = self._known.get(job.task.id.casefold())
        return found if found is not None and found.run == _run(job) else None

    def unreported(self, job: Job) -> tuple[str, ...]:
        """The children whose results the task has not been given."""
        since = max((one.number for one in job.history if is_waiting(one)), default=0)
        offspring = self.of(job)
        return tuple(str(one.task_id) for one in offspring.accepted if one.attempt > since) if offspring else ()

    def outstanding(self, parent: str) -> tuple[str, ...]:
        """The children of a task that have not ended."""
        offspring = self._known.get(parent.casefold())
        if offspring is None:
            return ()
        try:
            self._deliver(offspring)
        except (StorageError, Occupied) as error:
            _LOG.warning("spawned tasks wait", extra={"action": "spawn", "task": parent, "error": str(error)})
        return tuple(str(one.task_id) for one in offspring.accepted if self._is_outstanding(str(one.task_id)))

    def _is_outstanding(self, task_id: str) -> bool:
        stands = self._intake.statuses().get(task_id.casefold())
        return stands in ("pending", "active") or (stands is None and is_there(self._brain, task_id))

    def granted_usd(self, parent: str) -> Decimal:
        """What the children of a task have cost, and those that have not ended may cost."""
        offspring = self._known.get(parent.casefold())
        return sum((self._granted(one) for one in offspring.accepted), Decimal(0)) if offspring else Decimal(0)

    def _granted(self, child: Child) -> Decimal:
        if child.budget_usd is not None and self._is_outstanding(str(child.task_id)):
            return child.budget_usd
        rows = map(CostRow.from_values, self._brain.journal.rows_of(str(child.task_id)))
        return sum((row.cost_usd or Decimal(0) for row in rows), self.granted_usd(str(child.task_id)))

    def keep_house(self) -> None:
        """Forget the children of tasks that have ended as all of them have."""
        finishing = self._brain.journal.finishing() if self._known else set()
        for key, one in list(self._known.items()):
            # Its record names them.
            if key in finishing:
                continue
            if self._intake.statuses().get(key) in ("completed", "failed") and not self.outstanding(one.parent):
                records.forget(self._brain.journal, one.parent)
                del self._known[key]

    # decisions

    def _decided(self, job: Job, offspring: Offspring, files: Sequence[Left], *, last: bool) -> Offspring:
        """The record with a decision on each file, durable; while the attempt runs, without those that name a task nobody knows yet."""
        parent = self._parent(job, offspring)
        wishes = self._siblings.wishes(parent, offspring, files, last=last)
        budgets = shares(parent.left_usd, [one.task.budget_usd for one in wishes if one.task is not None])
        decided = offspring
        for wish in wishes:
            budget = None if wish.task is None else next(budgets)
            child = self._child(job, parent, decided, wish, budget)
            if child.task_id is not None and parent.left_usd is not None and budget is not None:
                parent = replace(parent, left_usd=parent.left_usd - budget)
            decided = replace(decided, children=(*decided.children, child))
        decided = without_the_forlorn(decided, {one.left.name: one.task.id for one in wishes if one.task is not None})
        if decided != offspring:
            records.keep(self._brain.journal, decided)
            self._known[decided.parent.casefold()] = decided
        return decided

    def _child(self, job: Job, parent: Parent, decided: Offspring, wish: Wish, budget_usd: Decimal | None) -> Child:
        child = Child(name=wish.left.name, sha256=wish.left.sha256, attempt=job.attempt.number)
        if wish.task is None:
            return replace(child, refused=wish.refused)
        config = self._brain.config
        refused = refusal(
            parent,
            wish.task,
            Bounds(depth=config.spawn_depth, children=config.spawn_children),
            spawned=len(decided.accepted),
            waits=self._waits() if wish.task.waits_for else {},
        )
        if refused is not None:
            return replace(child, refused=refused)
        text = stamped(wish, inherited(parent, wish.task, budget_usd))
        fault = parse_task(
            f"{wish.task.id}.md",
            text.encode("utf-8", "surrogateescape"),
            limits=ParseLimits(file_bytes=config.task_bytes),
        )
        if isinstance(fault, Rejection):
            return replace(child, refused=explain(fault))
        return replace(child, task_id=wish.task.id, budget_usd=budget_usd, text=text)

    def _parent(self, job: Job, offspring: Offspring) -> Parent:
        task, profile = job.task, job.ranked.profile
        may = profile or task.permissions or Permissions.WRITE
        shells = tuple(spec.name for spec in self._specs() if spec.invoke.function == "shell")
        left = left_of_budget(task.budget_usd, job.history)
        return Parent(
            task=task,
            chain=job.attempt.lineage.chain or task.id,
            session=job.attempt.lineage.session,
            generation=offspring.generation,
            above=frozenset((task.id.casefold(), *self._above(task.id, job.attempt.lineage.parent))),
            may=may,
            on_limit=task.on_limit or OnLimit(self._brain.config.on_limit),
            left_usd=None if left is None else max(Decimal(0), left - self.granted_usd(task.id)),
            shells=() if may is Permissions.FULL or job.ranked.name in shells else shells,
        )

    def _above(self, task_id: str, parent: str | None) -> Iterator[str]:
        """The ancestors that have spawned a task, casefolded."""
        while parent is not None:
            found = self._known.get(parent.casefold())
            if found is None or not any(_is(one, task_id) for one in found.accepted):
                return
            yield parent.casefold()
            lineage = self._brain.journal.lineage(parent)
            task_id, parent = parent, None if lineage is None else lineage.parent

    def _waits(self) -> Mapping[str, Sequence[str]]:
        """Whom each task that has not ended waits for: what it names, and its children where it waits for them."""
        waits: dict[str, Sequence[str]] = {
            one.id.casefold(): one.task.waits_for for one in self._intake.tasks.values() if one.task is not None
        }
        for key, one in self._known.items():
            attempts = self._brain.journal.attempts_of(one.parent)
            task = parse_task(attempts[-1].name, attempts[-1].spec) if attempts else None
            if isinstance(task, TaskSpec) and task.wait_for_children:
                waits[key] = (*waits.get(key, ()), *self.outstanding(one.parent))
        return waits


def _run(job: Job) -> int:
    """The number of the first attempt since the task last ended."""
    return (job.history[0] if job.history else job.attempt).number


def _is(child: Child, task_id: str) -> bool:
    return child.task_id is not None and child.task_id.casefold() == task_id.casefold()


def _said(child: Child) -> str:
    return clean_line(f"spawn{'' if child.name.startswith('/') else '/'}{child.name} was refused: {child.refused}", 500)
