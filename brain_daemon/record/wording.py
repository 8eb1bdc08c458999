"""How figures, instants and names are spelt in what people read: the same in commits, logs, tables and questions. Pure."""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.outcome import CostBasis
from brain_daemon.model.quantities import dollars

__all__ = ["code", "cost", "dollars", "duration", "markdown", "until_words", "utc", "yaml_text"]

_PLAIN_SCALAR = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_NEEDS_ESCAPE = re.compile(r'["\\]|[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]')
_MARKDOWN = re.compile(r"[\\`\[\]<|]")
_TICKS = re.compile(r"`+")


def utc(epoch_seconds: float) -> str:
    """An instant to the second: `2026-11-20T20:15:04Z`."""
    return datetime.fromtimestamp(int(epoch_seconds), UTC).isoformat()[:19] + "Z"


def duration(seconds: float) -> str:
    """A duration in at most two units: `0.08 s`, `12.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 0.0995:
        return f"{max(seconds, 0.0):.2f} s"
    if seconds < 59.95:
        return f"{f'{seconds:.1f}'.removesuffix('.0')} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 86400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86400, "d", 3600, "h")


def until_words(until: float | None, now: float) -> str:
    """Until when, and how far off that is: `, until 2026-11-20T20:15:04Z, in 12 s`; nothing where nobody knows."""
    if until is None:
        return ""
    seconds = math.ceil(until - now)
    return f", until {utc(until)}" + (f", in {duration(seconds)}" if seconds > 0 else "")


def cost(usd: Decimal | None, basis: CostBasis) -> str:
    """A cost for eyes: dollars, or the word that says why there are none."""
    if usd is None:
        return "cost unknown"
    if not usd and basis in {CostBasis.FREE, CostBasis.SUBSCRIPTION}:
        return basis.value
    return dollars(usd)


def markdown(text: str, limit: int = 120) -> str:
    """Text from outside within a line of markdown: it makes no link, image, code or tag and ends no table cell."""
    return _MARKDOWN.sub(r"\\\g<0>", clean_line(text, limit))


def code(text: str) -> str:
    """Text as inline code whose fence is longer than any run of backticks in it."""
    line = clean_line(text)
    longest = max((len(run) for run in _TICKS.findall(line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def yaml_text(text: str) -> str:
    """A string as a YAML scalar that every reader takes for that string: plain where that is safe, else in quotes."""
    if _PLAIN_SCALAR.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return f'"{_NEEDS_ESCAPE.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    sign = match[0]
    return f"\\{sign}" if sign in '"\\' else f"\\U{ord(sign):08x}"


def _two(whole: int, large: int, large_word: str, small: int, small_word: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {large_word}" + (f" {rest} {small_word}" if rest else "")
