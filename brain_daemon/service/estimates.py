"""What a task may need of an interface before it is sent: tokens, and the dollars they cost there.

The prompt is counted (adapters/tokens.py) and corrected by what this interface has made of such counts so far: its input beside
the count, and its mean output. What was learned is kept in the journal now and then; it is a guess and may be lost.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from brain_daemon.adapters.prices import cost_of
from brain_daemon.adapters.tokens import Basis, count
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Usage
from brain_daemon.store.journal import Journal

_KEY = "estimates"
_FADING = 0.97
_FIRST_OUTPUT_TOKENS = 1_000
_LONGEST_FACTOR = 1_000.0
_NEVER = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Fading sums over the attempts of one interface: tokens counted here, input and output it reported, how many."""

    counted: float = 0.0
    input: float = 0.0
    output: float = 0.0
    attempts: float = 0.0

    @property
    def factor(self) -> float:
        """What it makes of a token counted here; 1 until something was reported."""
        return 1.0 if self.counted <= 0 else min(_LONGEST_FACTOR, max(0.1, self.input / self.counted))

    @property
    def output_tokens(self) -> float:
        """What it answers with in the mean."""
        return _FIRST_OUTPUT_TOKENS if self.attempts <= 0 else self.output / self.attempts

    def with_one(self, counted: int, usage: Usage) -> "Seen":
        """After one more attempt."""
        return Seen(
            counted=self.counted * _FADING + counted,
            input=self.input * _FADING + (usage.input_tokens or 0),
            output=self.output * _FADING + (usage.output_tokens or 0),
            attempts=self.attempts * _FADING + 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What a task may need. `prompt_tokens` rest on `basis`; `usd` is None where nobody knows the price."""

    prompt_tokens: int
    basis: Basis
    output_tokens: int
    usd: Decimal | None

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.prompt_tokens + self.output_tokens


NOTHING_SEEN = Seen()


class Estimates:
    """What was learned of each interface. Not for several threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._seen = kept(journal)
        self._changed = False

    def of(self, text: str, spec: InterfaceSpec, model: str | None = None) -> Guess:
        """What sending `text` to `spec` may need."""
        return guess(text, spec, model, self._seen.get(spec.name, NOTHING_SEEN))

    def learn(self, text: str, spec: InterfaceSpec, usage: Usage) -> None:
        """An attempt has reported what it used; a count of our own teaches nothing."""
        if usage.input_tokens is None or usage.estimated:
            return
        counted = count(text, short_bytes=_NEVER).tokens
        self._seen[spec.name] = self._seen.get(spec.name, NOTHING_SEEN).with_one(counted, usage)
        self._changed = True

    def keep(self) -> None:
        """Write what was learned, if anything was."""
        if self._changed:
            told = {name: [s.counted, s.input, s.output, s.attempts] for name, s in self._seen.items()}
            self._journal.set(_KEY, json.dumps(told))
            self._changed = False


def guess(text: str, spec: InterfaceSpec, model: str | None, seen: Seen = NOTHING_SEEN) -> Guess:
    """What sending `text` to `spec` may need, given what is known of it."""
    counted = count(text, model=model or spec.cost.model)
    tokens = round(counted.tokens * seen.factor)
    output = round(seen.output_tokens)
    usage = Usage(input_tokens=tokens, output_tokens=output)
    basis = counted.basis if seen.factor == 1.0 else Basis.ESTIMATE
    cost = cost_of(spec, usage, None, model)
    return Guess(prompt_tokens=tokens, basis=basis, output_tokens=output, usd=cost.usd)


def kept(journal: Journal) -> dict[str, Seen]:
    """What the journal has of it; what cannot be read was never learned."""
    try:
        told: Mapping[str, list[float]] = json.loads(journal.get(_KEY) or "{}")
        return {
            name: replace(NOTHING_SEEN, counted=float(a), input=float(b), output=float(c), attempts=float(d))
            for name, (a, b, c, d) in told.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}
