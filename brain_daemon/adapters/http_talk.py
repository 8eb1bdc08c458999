"""What http.py asks of a protocol, and what it gets: the seam between the daemon and a provider's own library.

The two modules behind it, http_openai and http_anthropic, import libraries that take half a second and more, so they are
themselves imported only when an interface that needs them is called.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from brain_daemon.adapters.http_events import Event

CONNECT_SECONDS = 10.0
"""For name, connection and TLS; how long an answer may take is the task's and the daemon's question."""

NO_KEY = "none"
"""What stands where a key would: the libraries look into the environment for one when they are given nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request."""

    model: str
    prompt: str
    system: str | None = None
    max_output_tokens: int | None = None


class Talk(Protocol):
    """A connection to one server."""

    def events(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """The answer as it comes. Raises ApiRefused, Unreached; ending the iteration closes the stream at once."""
        ...

    async def close(self) -> None:
        """Close every connection, whatever still runs over it."""
        ...


def why_unreached(error: BaseException) -> tuple[str, bool]:
    """A connection error's cause in words, and whether nobody listens there: the libraries hide both in the chain."""
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None and below not in chain:
        chain.append(below)
    refused = any(type(one).__name__ in ("ConnectError", "ConnectTimeout") for one in chain)
    said = next((str(one) for one in reversed(chain) if str(one)), type(error).__name__)
    return said, refused
