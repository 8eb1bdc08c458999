"""Where tasks would go: policy/routing.py on the interfaces of now and what the past teaches, each equal question asked once."""

from collections.abc import Sequence
from dataclasses import replace

from brain_daemon.adapters.registry import Registry
from brain_daemon.adapters.tokens import count
from brain_daemon.model.interface import Tier
from brain_daemon.model.routing_table import RoutingTable, Strategy
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.drawing import drawn
from brain_daemon.policy.eligibility import Candidate
from brain_daemon.policy.learning import Learn
from brain_daemon.policy.routing import Choice, Nobody, Ranked, route
from brain_daemon.service.config import Config
from brain_daemon.service.granting import routing_policy
from brain_daemon.service.past import Past

_DEAR = frozenset({Tier.PAID, Tier.FALLBACK})
_TAKING_TURNS = (Strategy.ROUND_ROBIN, Strategy.LEAST_LOADED)


class Choices:
    """Those of one brain, until `made_anew`. Not for several threads."""

    def __init__(self, config: Config, registry: Registry, past: Past | None) -> None:
        self._config = config
        self._registry = registry
        self._past = past
        self.table = RoutingTable()
        self._routes: dict[tuple[object, ...], Choice | Nobody] = {}
        self._last: TaskSpec | None = None
        self._turn = 0

    def made_anew(self, table: RoutingTable) -> None:
        """Other interfaces or another table."""
        self.table = table
        self._routes.clear()

    @property
    def take_turns(self) -> bool:
        """Whether the same task may go elsewhere the next time it is asked about."""
        return self.table.strategy in _TAKING_TURNS

    def route(self, task: TaskSpec) -> Choice | Nobody:
        """policy/routing.py on the interfaces of now; equal questions are asked once until something changes."""
        tokens = self._tokens(task)
        key = (
            task.type,
            task.requires,
            task.interface,
            task.preferred_interface,
            task.model,
            task.permissions,
            task.local_only,
            task.never,
            tokens,
        )
        self._last = task
        found = self._routes.get(key)
        if found is None or self.take_turns:
            self._turn += 1
            candidates = self._registry.candidates({})
            found = self._unpaid(task, candidates, tokens, self._chosen(task, candidates, tokens))
            self._routes[key] = found
        return found

    def _chosen(self, task: TaskSpec, candidates: Sequence[Candidate], tokens: int | None) -> Choice | Nobody:
        return route(
            task,
            candidates,
            self.table,
            prompt_tokens=tokens,
            policy=routing_policy(self._config),
            turn=self._turn,
            lessons={} if self._past is None else self._past.lessons(candidates, task, self.table),
            learn=Learn(self._config.learn),
        )

    def _unpaid(
        self, task: TaskSpec, candidates: Sequence[Candidate], tokens: int | None, found: Choice | Nobody
    ) -> Choice | Nobody:
        """The choice, with those in it that would do the task for nothing and only cannot work now: a login that has expired in the
        night must not send a queue to a paid interface. That such a one has worked here before tells it from one never set up."""
        if self._past is None or isinstance(found, Nobody) or found.ranked[0].tier not in _DEAR:
            return found
        served = [replace(one, usable=one.usable or self._past.has_served(one.spec.name)) for one in candidates]
        hoped = found if served == list(candidates) else self._chosen(task, served, tokens)
        return hoped if isinstance(hoped, Choice) and hoped.ranked[0].rung < found.ranked[0].rung else found

    def there(self, choice: Choice) -> Choice:
        """The choice without those that cannot work now."""
        left = tuple(one for one in choice.ranked if self.away(one) is None)
        return choice if len(left) == len(choice.ranked) else replace(choice, ranked=left)

    def away(self, ranked: Ranked) -> Shut | None:
        """Why one that is ranked cannot work now."""
        entry = self._registry.entries.get(ranked.name)
        if entry is None or entry.usable or entry.is_unchecked:
            return None
        return Shut(why=f"{entry.why_not} (it has worked here before, so nothing is paid for that unasked)")

    def drawn(self, choice: Choice, task: TaskSpec) -> Choice:
        """What `route` left open, ordered for this very task."""
        return choice if self._past is None else drawn(choice, task.id, self._past.prefers(task))

    def catch_up(self) -> None:
        """Choices are made anew when history is another one."""
        if self._past is not None and self._past.look(self.table):
            self._routes.clear()

    def rest(self) -> None:
        """Nothing waits: catch up with what has ended, and choose again for the task that came last, as the next one will be like it."""
        if self._past is not None and self._past.look(self.table, now=True):
            self._routes.clear()
            if self._last is not None and not self.take_turns:
                self.route(self._last)

    def _tokens(self, task: TaskSpec) -> int | None:
        """The prompt's tokens where some interface could refuse them; a token is at least one byte."""
        limits = [entry.spec.limits.tokens_per_request for entry in self._registry.entries.values()]
        least = min((limit for limit in limits if limit is not None), default=None)
        if least is None or task.size_bytes <= least:
            return None
        return count(task.text).tokens
