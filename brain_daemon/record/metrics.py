"""logs/metrics/DAY.json: how often each interface did each type of task, and how long it took.

What an interface could not even try (a rate limit, an outage, a missing login) says nothing about how good it is: such
failures are counted as `availability`, apart from `quality`, and what was nobody's fault here (cancelled, a failed
dependency) as `other`. `success_rate` is completed / (completed + quality failures), null where there is neither.
Latencies are the durations of completed attempts, nearest-rank percentiles, in seconds. All of it follows from the ledger: a
tally fed with a day's rows in any order renders the same bytes. A row without an interface counts in the total alone. A tally
takes room for the different durations of a day, to the millisecond, not for each of its attempts.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from brain_daemon.model.cost_row import CostRow, Why
from brain_daemon.model.outcome import FailureKind, Reason, Status
from brain_daemon.policy.evidence import GENERAL_TYPE, QUALITY

AVAILABILITY: frozenset[Why] = frozenset(
    {
        Reason.AUTH,
        FailureKind.QUOTA,
        FailureKind.RATE_LIMIT,
        FailureKind.AUTH,
        FailureKind.TRANSIENT,
        FailureKind.UNAVAILABLE,
        FailureKind.SESSION_UNKNOWN,
    }
)


class Used(NamedTuple):
    """What one interface was used for: attempts sent to it, requests at the provider, tokens in and out."""

    messages: int = 0
    requests: int = 0
    tokens: int = 0

    def plus(self, row: CostRow, requests: int | None) -> "Used":
        tokens = (row.input_tokens or 0) + (row.output_tokens or 0)
        return Used(self.messages + 1, self.requests + (1 if requests is None else requests), self.tokens + tokens)


@dataclass(slots=True)
class _Tally:
    """Counts of one cell of the table; of the latencies, how many took so many milliseconds. `different` is sorted when asked for."""

    quality: int = 0
    availability: int = 0
    other: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    different: list[int] = field(default_factory=list)

    def add(self, row: CostRow) -> None:
        if row.status is Status.COMPLETED:
            # Rounded as the ledger has it, which is what a restart reads.
            took = round(round(row.duration_seconds, 3) * 1000)
            if took not in self.latencies:
                self.different.append(took)
            self.latencies[took] += 1
        elif row.reason in QUALITY:
            self.quality += 1
        elif row.reason in AVAILABILITY:
            self.availability += 1
        else:
            self.other += 1

    def facts(self) -> dict[str, Any]:
        # Sorting what is already sorted but for its end costs one pass.
        self.different.sort()
        completed = self.latencies.total()
        judged = completed + self.quality
        return {
            "count": judged + self.availability + self.other,
            "completed": completed,
            "failed": {"quality": self.quality, "availability": self.availability, "other": self.other},
            "success_rate": round(completed / judged, 4) if judged else None,
            "latency_seconds": {"p50": self._percentile(completed, 50), "p95": self._percentile(completed, 95)},
        }

    def _percentile(self, completed: int, percent: int) -> float | None:
        """As `percentile`, of counted durations."""
        left = math.ceil(completed * percent / 100)
        for took in self.different:
            left -= self.latencies[took]
            if left <= 0:
                return took / 1000
        return None


class DayTally:
    """The metrics of one UTC day, fed row by row; not for several threads at once."""

    def __init__(self, day: str, rows: Iterable[CostRow] = ()) -> None:
        self.day = day
        self._seen: set[str] = set()
        self._total = _Tally()
        self._interfaces: dict[str, _Tally] = {}
        self._types: dict[tuple[str, str], _Tally] = {}
        self._used: dict[str, Used] = {}
        for row in rows:
            self.add(row)

    def add(self, row: CostRow, requests: int | None = None) -> None:
        """Count an attempt, once however often it is given before it is settled; a row of another day is left out.

        `requests` are those it took at the provider; the ledger does not keep them, so one is counted where nobody tells.
        """
        if row.attempt_id in self._seen or row.day != self.day:
            return
        self._seen.add(row.attempt_id)
        self._total.add(row)
        if row.interface:
            self._interfaces.setdefault(row.interface, _Tally()).add(row)
            self._types.setdefault((row.interface, row.task_type or GENERAL_TYPE), _Tally()).add(row)
            self._used[row.interface] = self._used.get(row.interface, Used()).plus(row, requests)

    def settle(self) -> None:
        """What was counted until now is on record and will not be given again."""
        self._seen.clear()

    def used(self) -> dict[str, Used]:
        """What each interface was used for on this day."""
        return dict(self._used)

    def facts(self) -> dict[str, Any]:
        """What the file says, as plain values; names in alphabetical order."""
        interfaces = {name: {"all": tally.facts(), "types": {}} for name, tally in sorted(self._interfaces.items())}
        for (name, task_type), tally in sorted(self._types.items()):
            interfaces[name]["types"][task_type] = tally.facts()
        return {"day": self.day, "total": self._total.facts(), "interfaces": interfaces}

    def render(self) -> bytes:
        """The JSON file: one line a cell of the table, so that a diff shows what changed."""
        facts = self.facts()
        blocks = [f"    {_json(name)}: {_block(interface)}" for name, interface in facts["interfaces"].items()]
        interfaces = "{\n" + ",\n".join(blocks) + "\n  }" if blocks else "{}"
        head = f'{{\n  "day": {_json(facts["day"])},\n  "total": {_json(facts["total"])},\n'
        return f'{head}  "interfaces": {interfaces}\n}}\n'.encode()


def percentile(ordered: list[float], percent: int) -> float | None:
    """The nearest-rank percentile of sorted seconds, to the millisecond; None of nothing."""
    if not ordered:
        return None
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 3)


def _block(interface: dict[str, Any]) -> str:
    types = ",\n".join(f"        {_json(name)}: {_json(facts)}" for name, facts in interface["types"].items())
    return f'{{\n      "all": {_json(interface["all"])},\n      "types": {{\n{types}\n      }}\n    }}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
