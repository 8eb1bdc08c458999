"""What a call used, and what it may still cost: the server's counts where it told them, ours where it did not.

A server counts at the end, when the money is spent. To stop in the middle, tokens are counted here as they come: near enough
for text (adapters/tokens.py says how near), blind to thinking that a server does not show.
"""

from decimal import Decimal

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.http_events import Answer, Piece, usage_of
from brain_daemon.adapters.prices import cost_of
from brain_daemon.adapters.tokens import count
from brain_daemon.model.interface import HttpProtocol
from brain_daemon.model.outcome import Cost, Usage

NOTHING = Usage(input_tokens=0, output_tokens=0, requests=0)
REFUSED = Usage(input_tokens=0, output_tokens=0, requests=1)
_EVERY_CHARACTERS = 200
_BYTES_PER_TOKEN = 4


class Meter:
    """The running cost of one call under a budget. Making one counts the prompt, which takes time if that is long."""

    def __init__(self, invocation: Invocation, protocol: HttpProtocol) -> None:
        self._invocation = invocation
        self._protocol = protocol
        self._input_tokens = count(asked_text(invocation), model=invocation.model, short_bytes=0).tokens
        self._output_tokens = 0
        self._pending = ""

    def add(self, piece: Piece) -> bool:
        """Note a piece of the answer; whether enough has come to ask for the cost again."""
        self._pending += piece.text
        if len(self._pending) < _EVERY_CHARACTERS:
            return False
        self._output_tokens += count(self._pending, short_bytes=0).tokens
        self._pending = ""
        return True

    def cost(self, answer: Answer) -> Cost:
        """What the call has cost up to now."""
        told = usage_of(self._protocol, answer.usage)
        usage = Usage(
            input_tokens=self._input_tokens if told.input_tokens is None else told.input_tokens,
            cached_input_tokens=told.cached_input_tokens,
            output_tokens=max(told.output_tokens or 0, self._output_tokens),
        )
        return cost_of(self._invocation.interface, usage, None, answer.names.model, self._invocation.model)

    def over(self, answer: Answer) -> Decimal | None:
        """The US dollars spent, once they are more than the budget; None before, and where no price is known."""
        spent, budget = self.cost(answer).usd, self._invocation.budget_usd
        return spent if spent is not None and budget is not None and spent > budget else None


def used(invocation: Invocation, protocol: HttpProtocol, answer: Answer) -> Usage:
    """What a call that was answered used: as told, else counted here and marked so. May take as long as the texts are long."""
    told = usage_of(protocol, answer.usage)
    if answer.complete and told.input_tokens is not None and told.output_tokens is not None:
        return told
    counted = count(answer.text, model=invocation.model).tokens + answer.hidden_bytes // _BYTES_PER_TOKEN
    return Usage(
        input_tokens=count(asked_text(invocation), model=invocation.model).tokens
        if told.input_tokens is None
        else told.input_tokens,
        cached_input_tokens=told.cached_input_tokens,
        output_tokens=max(told.output_tokens or 0, counted),
        reasoning_tokens=told.reasoning_tokens,
        requests=1,
        estimated=True,
    )


def asked_text(invocation: Invocation) -> str:
    """Everything the model is asked."""
    endpoint = invocation.interface.invoke.endpoint
    system = endpoint.system if endpoint is not None else None
    return f"{system}\n{invocation.prompt}" if system else invocation.prompt
