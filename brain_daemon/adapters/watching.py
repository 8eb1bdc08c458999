"""A program under a budget: what it tells while it runs, what that costs, and the moment when it is more than the task may cost.

The whole lines printed so far are read again whenever there are more of them, off the event loop and for at most a tenth of the time.
What a program tells of tokens counts, and what it has visibly said at the least: a client that tells nothing before its end is priced
too low here, never stopped too early. Nothing fails; where no price is known, nothing is stopped, and `warnings` say so.
"""

import asyncio
import os
import time
from dataclasses import replace
from decimal import Decimal

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.prices import cost_of
from brain_daemon.adapters.reading import Reader, SoFar
from brain_daemon.adapters.tokens import count
from brain_daemon.model.interface import Tier
from brain_daemon.model.outcome import Cost, Ended, Usage

_LOOK_SECONDS = 0.25
_REST_TIMES = 10
_TELLS_COST = "cost_usd"
_BILLED = frozenset({Tier.PAID, Tier.FALLBACK})


class Watch:
    """One run. `spent_usd` is what it had cost when it was more than allowed; None before. `charged` puts that into its end."""

    def __init__(self, invocation: Invocation, reader: Reader, stdout_path: str) -> None:
        self._invocation = invocation
        self._reader = reader
        self._path = stdout_path
        self._read_bytes = 0
        self._unpriced = False
        self._used: Usage | None = None
        self._cost: Cost | None = None
        self.spent_usd: Decimal | None = None

    async def prompt_alone(self) -> Decimal | None:
        """What sending the prompt would cost by itself, where that is more than allowed already."""
        _, cost = await asyncio.to_thread(self._priced, SoFar())
        self._unpriced = cost.usd is None and _TELLS_COST not in dict(self._invocation.interface.output.so_far)
        return self._beyond(cost)

    async def stop_when_over(self, stop: asyncio.Event) -> None:
        """Set `stop` when the budget is passed; to be cancelled when the run has ended."""
        pause_seconds = _LOOK_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            began = time.monotonic()
            looked = await asyncio.to_thread(self._look)
            if looked is not None:
                self._used, self._cost = looked
                self._unpriced, self.spent_usd = self._cost.usd is None, self._beyond(self._cost)
            if self.spent_usd is not None:
                stop.set()
                return
            pause_seconds = max(_LOOK_SECONDS, _REST_TIMES * (time.monotonic() - began))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said of a run whose cost could not be seen."""
        if not self._unpriced:
            return ()
        model = self._invocation.model or self._invocation.interface.cost.model or "its model"
        return (f"no price of {model} is known, so the budget could not end the run in the middle",)

    def charged(self, ended: Ended) -> Ended:
        """The end of a run that was stopped. What its client said last may be from before the stop: of the two the higher holds."""
        if self.spent_usd is None or (ended.cost.usd is not None and ended.cost.usd >= self.spent_usd):
            return ended
        return replace(ended, usage=self._used or ended.usage, cost=self._cost or ended.cost)

    def _look(self) -> tuple[Usage, Cost] | None:
        """What it has used and cost up to now; None where nothing was printed since the last look."""
        with open(self._path, "rb") as handle:
            if os.fstat(handle.fileno()).st_size == self._read_bytes:
                return None
            printed = handle.read()
        self._read_bytes = len(printed)
        return self._priced(self._reader.so_far(printed))

    def _priced(self, so_far: SoFar) -> tuple[Usage, Cost]:
        invocation = self._invocation
        used = used_so_far(so_far, invocation.prompt)
        return used, cost_of(invocation.interface, used, so_far.cost_usd, None, invocation.model)

    def _beyond(self, cost: Cost) -> Decimal | None:
        budget_usd = self._invocation.budget_usd
        return cost.usd if cost.usd is not None and budget_usd is not None and cost.usd > budget_usd else None


def watch_of(invocation: Invocation, reader: Reader, stdout_path: str) -> Watch | None:
    """Who looks after this run; None where its cost is no matter, or cannot be seen growing."""
    spec = invocation.interface
    if invocation.budget_usd is None or spec.cost.tier not in _BILLED or not spec.streams:
        return None
    return Watch(invocation, reader, stdout_path)


def used_so_far(so_far: SoFar, prompt: str) -> Usage:
    """What a run had used when it was ended: as it told, at the least its prompt and what it said."""
    told = so_far.usage
    return Usage(
        input_tokens=count(prompt).tokens if told.input_tokens is None else told.input_tokens,
        cached_input_tokens=told.cached_input_tokens,
        output_tokens=max(told.output_tokens or 0, count(so_far.text).tokens),
        estimated=True,
    )
