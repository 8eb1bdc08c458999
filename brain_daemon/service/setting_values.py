"""What may stand for a setting's value, in a file, a variable or a flag: each reader gives the value.

Failures: ValueError, whose words say what is allowed.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from brain_daemon.model.quantities import parse_duration, parse_money
from brain_daemon.policy.budgets import Budget, Scope

_SHORTEST_SECONDS = 0.05


def truth(value: Any) -> bool:
    """A yes or a no."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError("true or false")


def count(value: Any) -> int:
    """A whole number from 1."""
    return _whole(value, 1)


def tally(value: Any) -> int:
    """A whole number from 0."""
    return _whole(value, 0)


def _whole(value: Any, least: int) -> int:
    text = str(value).strip()
    if not text.isdecimal() or len(text) > 9 or int(text) < least:
        raise ValueError(f"a whole number from {least}")
    return int(text)


def duration(value: Any) -> float:
    """A duration, in seconds."""
    return float(parse_duration(str(value)))


def interval(value: Any) -> float:
    """A duration that something is done again after, in seconds."""
    seconds = duration(value)
    if seconds < _SHORTEST_SECONDS:
        raise ValueError(f"a duration of at least {_SHORTEST_SECONDS:g} s")
    return seconds


def optional_duration(value: Any) -> float | None:
    """A duration in seconds, or None."""
    return None if str(value).strip().lower() in {"none", "off"} else duration(value)


_UNITS = {
    "": 1,
    "b": 1,
    "k": 1024,
    "kb": 1000,
    "kib": 1024,
    "m": 1 << 20,
    "mb": 10**6,
    "mib": 1 << 20,
    "g": 1 << 30,
    "gb": 10**9,
    "gib": 1 << 30,
}


_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([a-z]*)")


def size(value: Any) -> int:
    """A size, in bytes."""
    match = _SIZE.fullmatch(str(value).strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError("a size such as 500000, 256KiB, 20MB")
    return int(float(match[1]) * _UNITS[match[2]])


def one_of(*words: str) -> Callable[[Any], str]:
    """One of these words."""

    def read(value: Any) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError("one of " + ", ".join(words))
        return word

    return read


def share(value: Any) -> float:
    """A share above nothing, from 0 to 1."""
    share = part(value)
    if share == 0:
        raise ValueError("a share such as 90% or 0.9")
    return share


def part(value: Any) -> float:
    """A share, from 0 to 1."""
    text = str(value).strip()
    try:
        part = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        part = -1.0
    if not 0 <= part <= 1:
        raise ValueError("a share such as 90% or 0.9")
    return part


def hours(value: Any) -> str:
    """Hours of the day, as policy/harvest.py reads them."""
    from brain_daemon.policy.harvest import hours_of  # noqa: PLC0415 - slow to import, and seldom set

    try:
        hours_of(str(value))
    except ValueError as error:
        raise ValueError(f"hours of the day such as 8-22, or 22-6 Europe/Berlin ({error})") from None
    return str(value).strip()


_BUDGET_KEYS = {"scope", "name", "usd", "tokens", "hard"}
_BUDGET_FORM = (
    'tables such as {scope = "day", usd = 5, hard = true}; scope is one of '
    + ", ".join(Scope)
    + ", and one of usd and tokens is needed"
)


def budgets(value: Any) -> tuple[Budget, ...]:
    """Budgets, as TOML tables or the same in JSON."""
    try:
        told = json.loads(value) if isinstance(value, str) else value
        return tuple(map(_budget, told))
    except (TypeError, ValueError, KeyError, AttributeError):
        raise ValueError(_BUDGET_FORM) from None


def _budget(told: Mapping[str, Any]) -> Budget:
    usd, tokens, name = told.get("usd"), told.get("tokens"), told.get("name")
    if told.keys() - _BUDGET_KEYS or (usd is None and tokens is None):
        raise ValueError(_BUDGET_FORM)
    return Budget(
        scope=Scope(str(told["scope"])),
        name=None if name is None else str(name),
        usd=None if usd is None else parse_money(_plain(usd)),
        tokens=None if tokens is None else _whole(tokens, 1),
        hard=truth(told.get("hard", False)),
    )


def _plain(amount: Any) -> str:
    """A figure as a person writes it: TOML's 0.00001 is 1e-05 to Python."""
    return format(Decimal(str(amount)), "f") if isinstance(amount, float) else str(amount)


def texts(value: Any) -> tuple[str, ...]:
    """A list, or texts between commas."""
    items = value if isinstance(value, list) else str(value).split(",")
    return tuple(str(item).strip() for item in items if str(item).strip())


def word(value: Any) -> str:
    """A text."""
    return str(value).strip()


def embedding(value: Any) -> str:
    """How the pool finds by meaning."""
    word = str(value).strip()
    if word not in ("auto", "words", "local", "chroma") and not word.startswith(("http://", "https://")):
        raise ValueError("auto, words, local, chroma, or an address such as http://localhost:11434/api/embed")
    return word


def conditions(value: Any) -> tuple[str, ...]:
    """Conditions, as record/report.py reads them."""
    found = texts(value)
    for text in found:
        from brain_daemon.record.report import condition  # noqa: PLC0415 - slow to import, and hardly ever set

        condition(text)
    return found
