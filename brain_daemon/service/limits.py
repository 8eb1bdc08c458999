"""What dispatch asks of whoever keeps the limits: service/gate.py for the daemon, `NoLimits` for those who only want the choices."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.routing import Choice, Ranked


class Limits(Protocol):
    """What may keep an interface with a free slot from a task; service/gate.py is the daemon's."""

    def begin(self) -> None:
        """A look at the whole queue begins."""
        ...

    def caps(self, names: Iterable[str]) -> Mapping[str, int]:
        """Slots of those among `names` that bear fewer now than they declare."""
        ...

    def released(self, task: TaskSpec) -> TaskSpec:
        """The task with what a person lets it do."""
        ...

    def closed(self, task: TaskSpec, ranked: Ranked, choice: Choice, on_limit: OnLimit) -> Shut | None:
        """Why it does not take this task now."""
        ...

    def planned(self, task: TaskSpec, ranked: Ranked) -> None:
        """The task will start there."""
        ...

    @property
    def ripe(self) -> Mapping[str, float]:
        """When the window ends of each interface that low-priority tasks are drawn forward to, epoch seconds."""
        ...

    def drawn(self, task: TaskSpec, ranked: Ranked, *, early: bool) -> str:
        """Why a task that starts there is drawn forward, perhaps before its turn; empty where it is not."""
        ...


class NoLimits:
    """For whoever only wants to know the order and the choices."""

    ripe: Mapping[str, float] = {}

    def begin(self) -> None:
        """Nothing to count."""

    def caps(self, names: Iterable[str]) -> Mapping[str, int]:
        """All that they declare."""
        return {}

    def released(self, task: TaskSpec) -> TaskSpec:
        """The task alone."""
        return task

    def closed(self, task: TaskSpec, ranked: Ranked, choice: Choice, on_limit: OnLimit) -> Shut | None:
        """Nothing is ever shut."""
        return None

    def planned(self, task: TaskSpec, ranked: Ranked) -> None:
        """Nothing to count."""

    def drawn(self, task: TaskSpec, ranked: Ranked, *, early: bool) -> str:
        """Nothing lapses."""
        return ""
